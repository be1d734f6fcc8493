"""A process that measures on request, so that two of them can be timed in alternation.

The parent writes one JSON line, `{"call": name, "arguments": {...}}`, and reads one line, `{"result": ...}` or
`{"error": traceback}`. What libraries print goes to the log and cannot disturb the conversation.
"""

import contextlib
import gc
import json
import os
import resource
import subprocess
import sys
import time
import traceback
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

REPOSITORY = Path(__file__).resolve().parents[2]
# Of an epoch, before its clock starts: a process that the other one has kept waiting finds its code and data again.
SETTLING_STEPS = 5


class WorkerError(RuntimeError):
    """A measuring process failed; the message holds its traceback."""


def peak_memory() -> int:
    """Returns the largest resident size of this process so far, in bytes."""
    status = Path("/proc/self/status")
    if status.exists():  # ru_maxrss of a new process starts from its parent's size, this one does not
        return next(int(line.split()[1]) * 1024 for line in status.read_text().splitlines() if line.startswith("VmHWM"))
    used = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return used if sys.platform == "darwin" else used * 1024


def resident_memory() -> int:
    """Returns the present resident size of this process in bytes (its largest, where the system does not say)."""
    status = Path("/proc/self/status")
    if status.exists():
        return next(int(line.split()[1]) * 1024 for line in status.read_text().splitlines() if line.startswith("VmRSS"))
    return peak_memory()


def timed(function: Callable[[], Any], repeats: int) -> list[float]:
    """Returns the seconds of each of `repeats` calls, with the garbage collector out of the way."""
    gc.collect()
    gc.disable()
    seconds: list[float] = []
    try:
        for _ in range(repeats):
            start = time.perf_counter()
            function()
            seconds.append(time.perf_counter() - start)
    finally:
        gc.enable()
    return seconds


class Worker:
    """A measuring process, seen from the parent. Use as a context manager; leaving it ends the process.

    Args:
        module: Module whose `main()` calls `serve`.
        log: File for what the process prints.
        environment: Environment variables beside this process's.
    """

    def __init__(self, module: str, log: Path, environment: Mapping[str, str] | None = None):
        self.module = module
        self.started = time.perf_counter()
        with log.open("ab") as stream:
            self._process = subprocess.Popen(
                [sys.executable, "-m", module],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=stream,
                cwd=REPOSITORY,
                env=os.environ | {"TF_CPP_MIN_LOG_LEVEL": "3"} | dict(environment or {}),
                text=True,
            )

    def __enter__(self) -> "Worker":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def call(self, function: str, /, **arguments: Any) -> Any:
        """Calls a function of the process and returns its answer.

        Raises:
            WorkerError: The function raised, or the process died.
        """
        assert self._process.stdin is not None and self._process.stdout is not None
        try:
            self._process.stdin.write(json.dumps({"call": function, "arguments": arguments}) + "\n")
            self._process.stdin.flush()
            line = self._process.stdout.readline()
        except BrokenPipeError:
            line = ""
        if not line:
            raise WorkerError(
                f"{self.module} died in {function!r} with exit status {self._process.wait()}; see its log"
            )
        answer = json.loads(line)
        if "error" in answer:
            raise WorkerError(f"{self.module} failed in {function!r}:\n{answer['error']}")
        return answer["result"]

    def close(self) -> None:
        """Ends the process."""
        if self._process.poll() is None:
            assert self._process.stdin is not None
            with contextlib.suppress(BrokenPipeError):  # it died with something unread
                self._process.stdin.close()  # its loop ends there
            try:
                self._process.wait(timeout=10)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
        for stream in (self._process.stdin, self._process.stdout):
            if stream is not None:
                with contextlib.suppress(BrokenPipeError):
                    stream.close()


def serve(functions: Mapping[str, Callable[..., Any]]) -> None:
    """Answers requests from standard input until it ends; `memory` is always one of them.

    Args:
        functions: Name to function of keyword arguments that `json` can carry.
    """
    known = {"memory": lambda: {"peak": peak_memory(), "resident": resident_memory()}, **functions}
    # Libraries print to standard output as they please: the conversation gets a descriptor of its own.
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    for line in sys.stdin:
        request = json.loads(line)
        try:
            answer: dict[str, Any] = {"result": known[request["call"]](**request["arguments"])}
        except Exception:
            answer = {"error": traceback.format_exc()}
        answers.write(json.dumps(answer) + "\n")
        answers.flush()
