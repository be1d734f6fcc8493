"""The leaky bucket of points that limits an app's requests.

https://shopify.dev/docs/api/usage/limits#graphql-admin-api-rate-limits
"""

import math
import threading
from collections.abc import Callable
from typing import Any

PLANS = {"standard": (2000, 100), "advanced": (4000, 200), "plus": (20000, 1000), "enterprise": (40000, 2000)}
"""Shopify plan -> points that the bucket holds, points restored a second."""
_ROUNDING = 1e-3  # of a clock that counts since 1970, times the rate


class Bucket:
    """Points that are left to an app; safe to use from several threads.

    Args:
        plan: One of `PLANS`.
        clock: UNIX seconds.

    Raises:
        ValueError: There is no such plan.
    """

    def __init__(self, plan: str, clock: Callable[[], float]):
        if plan not in PLANS:
            raise ValueError(f"`plan` should be one of {', '.join(PLANS)}. Received: plan = {plan!r}")
        self.capacity, self.rate = map(float, PLANS[plan])
        self._clock, self._lock = clock, threading.Lock()
        self._level, self._at = self.capacity, clock()

    def available(self) -> float:
        """Returns the points that are left now."""
        with self._lock:
            return self._restore()

    def take(self, points: float) -> bool:
        """Takes points for a request; returns whether there were enough, and takes none where there were not."""
        with self._lock:
            if self._restore() < points - _ROUNDING:
                return False
            self._level -= points
            return True

    def refund(self, points: float) -> None:
        """Gives back what a request did not need."""
        with self._lock:
            self._level = min(self.capacity, self._restore() + points)

    def drain(self, level: float) -> None:
        """Leaves at most so many points."""
        with self._lock:
            self._level = min(self._restore(), max(0.0, level))

    def status(self) -> dict[str, Any]:
        """Returns `throttleStatus` of an answer."""
        left = math.floor(self.available())
        return {"maximumAvailable": self.capacity, "currentlyAvailable": left, "restoreRate": self.rate}

    def _restore(self) -> float:
        now = self._clock()
        self._level = min(self.capacity, self._level + max(0.0, now - self._at) * self.rate)
        self._at = now
        return self._level
