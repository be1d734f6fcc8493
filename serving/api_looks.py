"""Looks for a new model again and again, in a thread of its own."""

import logging
import re
import threading
from collections.abc import Callable

logger = logging.getLogger("serving.api")

_FIRST_WAIT = 1.0  # seconds; doubles as long as there is no model
_STOP_SECONDS = 5.0  # that a look may need to end what it writes


class Looks:
    """Calls `refresh` in the background; what it raises is logged, once a problem."""

    def __init__(self, name: str, refresh: Callable[[], object], has_model: Callable[[], bool], seconds: float) -> None:
        """Prepares; nothing is called before `start`.

        Args:
            name: Of the thread.
            refresh: A look.
            has_model: Whether there is a model already; until then looks come sooner.
            seconds: Between two looks.
        """
        self._refresh, self._has_model, self._seconds = refresh, has_model, seconds
        self._stop = threading.Event()
        # Daemon: a registry that does not answer must not hold up a stop.
        self._thread = threading.Thread(target=self._look, name=name, daemon=True)

    def start(self) -> None:
        """Begins to look."""
        self._thread.start()

    def stop(self) -> None:
        """Ends the looking, and waits for it a moment."""
        self._stop.set()
        if self._thread.is_alive():
            self._thread.join(_STOP_SECONDS)

    def _look(self) -> None:
        wait, reported = _FIRST_WAIT, ""
        while not self._stop.is_set():
            try:
                self._refresh()
                reported = ""
            except Exception as error:
                # One line, once a problem: the looks go on for as long as it lasts.
                problem = f"{type(error).__name__}: {without_secrets(error)}"
                if problem != reported:
                    logger.error("No new model: %s", problem)
                reported = problem
            wait = self._seconds if self._has_model() else min(2 * wait, self._seconds)
            self._stop.wait(wait)


def without_secrets(error: Exception) -> str:
    """Text of an error, on one line, without the user and password that an address may hold."""
    return re.sub(r"//[^/\s@]*@", "//", " ".join(str(error).split()))
