"""Long work of the local shop, done by one thread in short steps, so that requests are answered in between."""

import logging
import sqlite3
import tempfile
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Final
from weakref import WeakKeyDictionary

from scripts.shopify.dev_store.state import State

if TYPE_CHECKING:
    from scripts.shopify.dev_store import DevStore

log = logging.getLogger(__name__)

Step = Iterator[None]

PAUSE: Final = 0.0005
"""Seconds between two steps: without them a request that waits for the state's lock would hardly ever get it."""


class Worker:
    """Runs steps of several tasks in turn. Its thread lives only while there is something to do.

    Args:
        state: The store's state; its lock guards what the tasks do.

    Attributes:
        folder: Where files of staged uploads and results are: beside the state's file, else a temporary folder.
    """

    def __init__(self, state: State):
        self._temporary = tempfile.TemporaryDirectory(prefix="dev-store-") if state.path == ":memory:" else None
        self.folder = Path(self._temporary.name if self._temporary else f"{state.path}.bulk").absolute()
        self.folder.mkdir(parents=True, exist_ok=True)
        self._tasks: deque[tuple[str, Step]] = deque()
        self._busy: set[str] = set()
        self._guard = threading.Lock()
        self._progress = threading.Condition(state.lock)
        self._thread: threading.Thread | None = None
        self._closed = False

    def submit(self, name: str, task: Step) -> None:
        """Takes a task on; it begins once the caller's transaction has ended.

        Args:
            name: Id of the object that shows its progress.
            task: Does a little at every `next`.
        """
        with self._guard:
            if self._closed:
                return
            self._tasks.append((name, task))
            self._busy.add(name)
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="dev-store-bulk", daemon=True)
                self._thread.start()

    def wait(self, name: str, seconds: float) -> None:
        """Waits until a task has ended, at most so many seconds of real time.

        The state's lock is let go meanwhile, however often the caller holds it; there must be no open transaction.
        """
        with self._progress:
            self._progress.wait_for(lambda: name not in self._busy or self._closed, seconds)

    def close(self, last: Callable[[Path], None]) -> None:
        """Stops after the step that is being done; what is left undone stays so. An empty folder is removed."""
        with self._guard:
            self._closed = True
            self._tasks.clear()
            thread = self._thread
        if thread is not None and thread is not threading.current_thread():
            thread.join(timeout=10.0)
        last(self.folder)
        if self._temporary is not None:
            self._temporary.cleanup()
        elif self.folder.exists() and not any(self.folder.iterdir()):
            self.folder.rmdir()

    def _run(self) -> None:
        while True:
            with self._guard:
                if not self._tasks:
                    self._thread = None
                    return
                name, task = self._tasks.popleft()
            ended = True
            try:
                next(task)
                ended = False
            except StopIteration:
                pass
            except sqlite3.ProgrammingError:
                log.debug("%s: the state was closed", name)
            except Exception:
                log.exception("%s failed", name)
            with self._guard:
                if ended or self._closed:
                    self._busy.discard(name)
                else:
                    self._tasks.append((name, task))
            with self._progress:
                self._progress.notify_all()
            time.sleep(PAUSE)


_WORKERS: "WeakKeyDictionary[DevStore, Worker]" = WeakKeyDictionary()
_WORKERS_GUARD = threading.RLock()
ON_FIRST_USE: list[Callable[["DevStore", Worker], None]] = []
"""Called with each store and its new worker: they look after what an earlier process left undone."""


def worker_of(store: "DevStore") -> Worker:
    """Returns the worker of a store, made when it is first asked for."""
    with store.state.lock, _WORKERS_GUARD:
        worker = _WORKERS.get(store)
        if worker is None:
            worker = _WORKERS[store] = Worker(store.state)
            for look_after in ON_FIRST_USE:
                look_after(store, worker)
        return worker


def close_worker(store: "DevStore", last: Callable[[Path], None]) -> None:
    """Stops the work of a store, if there is any; to be called before its state is closed.

    Args:
        store: The store.
        last: Called with the folder of its files once nothing is at work any more.
    """
    with _WORKERS_GUARD:
        worker = _WORKERS.pop(store, None)
    if worker is not None:
        worker.close(last)
