"""How many threads rank, and how they share the work of one request."""

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

_CPUS = Path("/sys/devices/system/cpu")
_QUOTA = Path("/sys/fs/cgroup/cpu.max")
# Set by those who start several workers on one machine: Spark, and the servers that `mlflow models serve` runs on.
_THREADS_OF_A_WORKER, _WORKERS = "OMP_NUM_THREADS", "WEB_CONCURRENCY"


def default_threads() -> int:
    """Returns the physical cores that this process may use, divided among the workers of the machine.

    OMP_NUM_THREADS, which Spark sets for each of its workers, is taken as it is. Otherwise the cores are those of the
    process's CPU affinity, no more than the container's quota, divided by WEB_CONCURRENCY; at least 1.
    """
    if asked := _positive(_THREADS_OF_A_WORKER):
        return asked
    cores = _physical_cores()
    try:
        quota, period = _QUOTA.read_text(encoding="ascii").split()
        if quota != "max":
            cores = min(cores, int(quota) // int(period))
    except (OSError, ValueError):  # not Linux, or no container
        pass
    return max(1, cores // (_positive(_WORKERS) or 1))


def _physical_cores() -> int:
    logical = os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else set(range(os.cpu_count() or 1))
    try:  # hyper-threads of one core name the same siblings
        siblings = {(_CPUS / f"cpu{n}/topology/thread_siblings_list").read_text(encoding="ascii") for n in logical}
    except OSError:
        return len(logical)
    return len(siblings)


def _positive(variable: str) -> int | None:
    value = os.environ.get(variable, "")
    return int(value) if value.isdecimal() and int(value) > 0 else None


class Workers:
    """Shares numbered tasks between the calling thread and a fixed number of helpers.

    Threads that each take the next task when they are done with one keep their pace beside other processes, where the
    threads inside an ONNX Runtime call would wait for the slowest of them at every operation. However many requests
    are ranked at a time, there are no more helpers.
    """

    def __init__(self, threads: int) -> None:
        """Prepares `threads` - 1 helpers; they start with the first work."""
        self.threads = threads
        self._helpers = ThreadPoolExecutor(threads - 1, "ranking") if threads > 1 else None

    def run(self, task: Callable[[int], None], count: int) -> None:
        """Calls `task(0)` to `task(count - 1)`, in any order, and returns when all have returned.

        Raises:
            Exception: What a task raised.
        """
        numbers = iter(range(count))

        def work() -> None:
            for number in numbers:  # shared: each number goes to one thread
                task(number)

        helpers = min(self.threads, count) - 1
        futures = [self._helpers.submit(work) for _ in range(helpers)] if self._helpers else []
        try:
            work()
        finally:
            # A helper that has not begun has nothing left to do, and is not waited for.
            started = [future for future in futures if not future.cancel()]
            problems = [problem for future in started if (problem := future.exception())]
        if problems:
            raise problems[0]
