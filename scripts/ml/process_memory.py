"""Runs a command and measures its time and the peak memory of all its processes."""

import subprocess
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import psutil

INTERVAL = 0.1  # seconds between looks


@dataclass(frozen=True)
class Measured:
    """What a command took.

    Attributes:
        seconds: From its start to its end.
        peak_bytes: Most resident memory of all its processes together, at one moment. What they share counts twice.
        peak_by_kind: The same of each kind of process alone: `main`, `java`, `other`; each at its own moment.
        output: What it wrote to standard output.
    """

    seconds: float
    peak_bytes: int
    peak_by_kind: Mapping[str, int]
    output: str


def measure(command: Sequence[str], folder: Path, progress: Callable[[float, int], object] | None = None) -> Measured:
    """Runs a command to its end.

    Args:
        command: Program and arguments.
        folder: Folder to run it in.
        progress: Told seconds and bytes from time to time.

    Raises:
        RuntimeError: If it failed; with the last line that it wrote to standard error.
    """
    started = time.perf_counter()
    with subprocess.Popen(
        command, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, encoding="utf-8"
    ) as process:
        watched = _Watched(process.pid)
        texts = {}

        def drain(name: str) -> None:
            texts[name] = getattr(process, name).read()

        readers = [threading.Thread(target=drain, args=(name,)) for name in ("stdout", "stderr")]
        for reader in readers:
            reader.start()
        while process.poll() is None:
            watched.look()
            if progress is not None:
                progress(time.perf_counter() - started, watched.peak)
            time.sleep(INTERVAL)
        seconds = time.perf_counter() - started
        for reader in readers:
            reader.join()
    if process.returncode:
        last = (texts["stderr"].strip().splitlines() or ["nothing on standard error"])[-1]
        raise RuntimeError(f"{' '.join(command)} ended with status {process.returncode}: {last}")
    return Measured(seconds, watched.peak, dict(watched.by_kind), texts["stdout"])


class _Watched:
    """Peaks of a process and all that descend from it."""

    def __init__(self, pid: int) -> None:
        self.peak = 0
        self.by_kind: dict[str, int] = {}
        self._root = psutil.Process(pid)

    def look(self) -> None:
        now: dict[str, int] = {}
        try:
            processes = [self._root, *self._root.children(recursive=True)]
        except psutil.NoSuchProcess:
            return
        for process in processes:
            try:
                kind = "main" if process == self._root else "java" if process.name() == "java" else "other"
                now[kind] = now.get(kind, 0) + process.memory_info().rss
            except (psutil.NoSuchProcess, psutil.ZombieProcess):
                continue
        self.peak = max(self.peak, sum(now.values()))
        self.by_kind |= {kind: max(size, self.by_kind.get(kind, 0)) for kind, size in now.items()}
