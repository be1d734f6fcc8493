"""Kills one of Spark's Python workers in the middle of its work, to see that nothing changes. Linux only."""

import os
import signal
import threading
from pathlib import Path
from typing import Any

_PROCESSES = Path("/proc")
_POLL_SECONDS = 0.05
_DAEMON = b"pyspark.daemon"  # on the command line of Spark's daemon, and of the workers that it forks


class WorkerKiller:
    """Kills (SIGKILL) the first Python worker below this process that has computed for some time.

    Attributes:
        killed: Its process id; None as long as no worker was killed.
    """

    def __init__(self, after_cpu_seconds: float) -> None:
        """Prepares it.

        Args:
            after_cpu_seconds: What the worker has computed by then. It imports MLflow in the first few seconds.
        """
        self.killed: int | None = None
        self._after = after_cpu_seconds
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="worker killer", daemon=True)

    def __enter__(self) -> "WorkerKiller":
        self._thread.start()
        return self

    def __exit__(self, *_: Any) -> None:
        self._stop.set()
        self._thread.join()

    def _watch(self) -> None:
        while self.killed is None and not self._stop.wait(_POLL_SECONDS):
            for worker, seconds in _workers(os.getpid()).items():
                if seconds >= self._after:
                    os.kill(worker, signal.SIGKILL)
                    self.killed = worker
                    break


def _workers(root: int) -> dict[int, float]:
    """CPU seconds of Spark's Python workers below a process."""
    parents: dict[int, int] = {}
    seconds: dict[int, float] = {}
    for folder in _PROCESSES.iterdir():
        if folder.name.isdecimal():
            try:
                # After the name in brackets, which may hold anything: state, parent; CPU ticks are fields 14 and 15.
                fields = (folder / "stat").read_text(encoding="utf-8", errors="replace").rsplit(")", 1)[1].split()
            except OSError:  # it has ended
                continue
            parents[int(folder.name)] = int(fields[1])
            seconds[int(folder.name)] = (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
    return {
        process: seconds[process]
        for process, parent in parents.items()
        if _is_daemon(process) and _is_daemon(parent) and _below(process, root, parents)
    }


def _is_daemon(process: int) -> bool:
    try:
        return _DAEMON in (_PROCESSES / str(process) / "cmdline").read_bytes()
    except OSError:
        return False


def _below(process: int, root: int, parents: dict[int, int]) -> bool:
    while process and process != root:
        process = parents.get(process, 0)
    return process == root
