"""What the machine is, and how fast it multiplies matrices."""

import os
import platform
import time
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np

from serving.lineage import git

LIBRARIES = ("tensorflow", "keras", "tf-keras", "recommenders", "onnxruntime", "numpy", "mlflow", "duckdb")


def product_rate(seconds: float = 2.0, size: int = 1536) -> float:
    """Returns the best rate of a float32 matrix product on all cores, in operations per second.

    The best of the repeats, because the floor should be what the machine can do, not what it did while disturbed.

    Args:
        seconds: How long to measure.
        size: Rows and columns of both matrices.
    """
    rng = np.random.default_rng(0)
    left, right = (rng.standard_normal((size, size), dtype=np.float32) for _ in range(2))
    result = np.empty((size, size), np.float32)
    np.matmul(left, right, out=result)
    best, end = float("inf"), time.perf_counter() + seconds
    while (start := time.perf_counter()) < end or best == float("inf"):
        np.matmul(left, right, out=result)
        best = min(best, time.perf_counter() - start)
    return 2 * size**3 / best


def describe_machine() -> dict[str, Any]:
    """Returns cores, memory, processor and versions: nothing that names the machine, its user or its folders."""
    versions = {name: found for name in LIBRARIES if (found := _version(name)) is not None}
    return {
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "memory_gb": round(_memory() / 2**30, 1),
        "processor": _processor(),
        "system": platform.system(),
        "python": platform.python_version(),
        "versions": versions,
    }


def moment(repository: Path) -> dict[str, Any]:
    """Returns when and of which commit something was measured."""
    return {"date": datetime.now(UTC).isoformat(timespec="minutes"), "commit": _commit(repository)}


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def _memory() -> int:
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (ValueError, OSError, AttributeError):
        return 0


def _processor() -> str:
    information = Path("/proc/cpuinfo")
    if information.exists():
        for line in information.read_text(encoding="utf-8", errors="replace").splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    return platform.processor() or platform.machine()


def _commit(repository: Path) -> str:
    """Returns the short commit, with a + where files differ from it; "" without git."""
    commit = (git(repository, "rev-parse", "--short", "HEAD") or "").strip()
    changed = git(
        repository, "status", "--porcelain", "--untracked-files=no", "--", "training", "serving", "scripts/ml"
    )
    return commit + ("+" if commit and changed else "")
