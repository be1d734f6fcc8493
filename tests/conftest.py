"""Shared by all tests."""

import os
import sys

import pytest

os.environ.setdefault("PYSPARK_PYTHON", sys.executable)  # Spark's workers run in this environment too


def require(condition: object, what: str) -> None:
    """Skips the test by name where `what` is missing on a user's machine; fails under CI=true."""
    if condition:
        return
    if os.environ.get("CI") == "true":
        pytest.fail(f"{what} is missing; .ci/run should have installed it")
    pytest.skip(f"needs {what}")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Runs the tests marked `slow` last, so that a mistake shows soon."""
    items.sort(key=lambda item: item.get_closest_marker("slow") is not None)
