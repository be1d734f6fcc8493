"""Waiting before a request is sent again: one rule for documents, tokens, uploads and downloads."""

import logging
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from scripts.shopify.answers import Answer

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Retry:
    """How often a request is sent, and how the time between is spent.

    Attributes:
        attempts: How often one request is sent at most.
        sleep: Called with the seconds to wait.
        rng: Source of the jitter on waits.
    """

    attempts: int
    sleep: Callable[[float], object]
    rng: np.random.Generator

    def again(
        self,
        what: str,
        answer: Answer,
        attempt: int,
        *,
        repeatable: bool = True,
        redact: Callable[[str], str] = str,
    ) -> bool:
        """Waits, where the request should be sent once more.

        Args:
            what: The request, for the log.
            answer: What came back.
            attempt: 1 after the first attempt, and so on.
            repeatable: Whether sending it twice does no harm.
            redact: Takes the secrets out of what is logged.

        Returns:
            Whether to send it again; False where the answer stands.
        """
        wait = answer.wait_before_repeat(repeatable, attempt, self.rng)
        if wait is None or attempt >= self.attempts:
            return False
        log.info("%s: %s; waiting %.1f s", what, redact(answer.reason), wait)
        self.sleep(wait)
        return True
