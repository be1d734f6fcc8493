"""Shared by all tests."""

import os

import pytest


def require(condition: object, what: str) -> None:
    """Skips the test by name where `what` is missing on a user's machine; fails under CI=true."""
    if condition:
        return
    if os.environ.get("CI") == "true":
        pytest.fail(f"{what} is missing; .ci/run should have installed it")
    pytest.skip(f"needs {what}")
