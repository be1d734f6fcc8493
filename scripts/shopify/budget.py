"""Waits before a request that Shopify would throttle, instead of being refused and asking again.

Every answer says how full the shop's bucket is and how fast it refills. A request is admitted on its *requested* cost:
https://shopify.dev/docs/api/usage/limits#graphql-admin-api-rate-limits.
"""

import logging
import time
from collections.abc import Callable, Mapping
from typing import Any

log = logging.getLogger(__name__)

SINGLE_QUERY_LIMIT = 1000.0
"""Points of the dearest request that Shopify accepts, whatever the plan; the guess for one that was never sent."""
_MARGIN = 1.0
"""Points beyond the cost that are waited for, since Shopify rounds what it tells."""


class Budget:
    """What one client knows of its shop's bucket.

    The bucket fills by itself at the rate that the last answer named, up to its maximum. Before the first answer
    nothing is known and nothing is waited for. Other clients of the same app drain the same bucket unseen, so being
    throttled stays possible.

    Args:
        sleep: Called with the seconds to wait.
        clock: Seconds that only ever grow.
    """

    def __init__(
        self, sleep: Callable[[float], object] = time.sleep, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._sleep, self._clock = sleep, clock
        self._costs: dict[tuple[str, int | None], float] = {}
        self._maximum = self._rate = self._level = self._at = 0.0

    @property
    def available(self) -> float | None:
        """Points in the bucket now, or None before the first answer."""
        if not self._rate:
            return None
        return min(self._maximum, self._level + self._rate * max(0.0, self._clock() - self._at))

    def expected(self, name: str, page_size: int | None = None) -> float:
        """Returns the points to expect of a document: the most that it has cost so far at this page size."""
        return self._costs.get((name, page_size), SINGLE_QUERY_LIMIT)

    def wait_for(self, name: str, page_size: int | None = None) -> float:
        """Sleeps until the bucket holds what the document is expected to cost; where it never can, until it is full.

        Args:
            name: The document's name.
            page_size: Its variable `first`, if it has one.

        Returns:
            Seconds waited.
        """
        available = self.available
        if available is None:
            return 0.0
        needed = min(self.expected(name, page_size), self._maximum)
        if available >= needed:
            return 0.0
        wait = (needed + _MARGIN - available) / self._rate
        log.info("%s: up to %.0f points, of which %.0f are there; waiting %.1f s", name, needed, available, wait)
        self._sleep(wait)
        return wait

    def note(self, name: str, page_size: int | None, cost: Mapping[str, Any]) -> None:
        """Learns from an answer.

        Args:
            name: The document's name.
            page_size: Its variable `first`, if it has one.
            cost: The answer's `extensions.cost`; empty where none came. Such a request may have been charged all the
                same, so what it was expected to cost is taken off.
        """
        key = (name, page_size)
        if requested := float(cost.get("requestedQueryCost") or 0):
            self._costs[key] = max(requested, self._costs.get(key, 0.0))
        bucket = cost.get("throttleStatus") or {}
        rate, maximum = float(bucket.get("restoreRate") or 0), float(bucket.get("maximumAvailable") or 0)
        if rate > 0 and maximum > 0:
            self._rate, self._maximum = rate, maximum
            level = float(bucket.get("currentlyAvailable") or 0)
        elif (available := self.available) is not None:
            level = available - min(self.expected(*key), self._maximum)
        else:
            return
        self._level, self._at = max(0.0, level), self._clock()
