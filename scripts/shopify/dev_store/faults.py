"""Faults on demand: what goes wrong between a client and Shopify, at chosen requests."""

import threading
from collections import deque
from collections.abc import Sequence

_EVERYWHERE = frozenset(("graphql", "grant", "upload", "download"))
_GRAPHQL = frozenset(("graphql",))
FAULTS: dict[str, frozenset[str]] = {
    "throttled": _GRAPHQL,
    "429": _EVERYWHERE,
    "500": _EVERYWHERE,
    "502": _EVERYWHERE,
    "internal": _GRAPHQL,
    "drop": _EVERYWHERE,
    "drop after": frozenset(("graphql", "grant", "upload")),
    "expired": _GRAPHQL,
    "slow": _EVERYWHERE,
    "old version": _GRAPHQL,
    "html": frozenset(("graphql", "grant")),
    "redirect": frozenset(("graphql", "grant")),
    "404": _EVERYWHERE,
    "string": _GRAPHQL,
    "denied": _GRAPHQL,
    "bulk failed": _GRAPHQL,
    "cut": frozenset(("download",)),
}
"""Name of a fault -> the kinds of requests that it can hit.

`throttled`: THROTTLED, and the bucket is really that empty. `429`: with Retry-After 2.0. `500`, `502`: nothing done.
`internal`: INTERNAL_SERVER_ERROR in a 200, nothing done. `drop`: the connection closes before the request is carried
out; `drop after`: it is carried out first. `expired`: 401; a granted token is invalid from now on. `slow`: the answer
is delayed. `old version`: the version header names another version. `html`: HTML in a 200. `redirect`: 301. `404`: not
found. `string`: `errors` is a string. `denied`: ACCESS_DENIED. `bulk failed`: the next bulk operation that runs ends
FAILED with a partial result. `cut`: a download ends midway.
"""
DEFAULT = ("throttled", "429", "500", "502", "internal", "drop", "drop after", "expired", "slow", "cut")
"""Faults that a careful client gets over by itself."""


class Faults:
    """Decides which request meets which fault; safe to use from several threads.

    Attributes:
        slow_seconds: Delay of a slow answer, in real seconds.
        injected: How often each fault was injected.
    """

    def __init__(self) -> None:
        self.slow_seconds = 0.3
        self.injected: dict[str, int] = {}
        self._lock = threading.Lock()
        self._script: deque[str | None] = deque()
        self._held: deque[str] = deque()  # their turn came at a request that they cannot hit
        self._names: tuple[str, ...] = ()
        self._every = self._seen = self._drawn = self._bulk_failures = 0

    def script(self, *names: str | None) -> None:
        """Appends to the script, from which each Admin request takes one entry; None is a normal request.

        GraphQL requests, grants, uploads and downloads of results count as requests. A fault that cannot hit the
        request whose turn it is, as `cut` a GraphQL request, waits for the next one that it can.

        Raises:
            ValueError: A name is not in `FAULTS`.
        """
        with self._lock:
            self._script += [name if name is None else _checked(name) for name in names]

    def every(self, n: int, names: Sequence[str] = DEFAULT) -> None:
        """Makes every n-th request meet the next of these faults that can hit it, in turn; n = 0 stops it.

        A fault that is passed over hits the next request that it can, once however often it was passed over: no
        client would get over a row of them.

        Raises:
            ValueError: n is negative, or a name is not in `FAULTS`, or there is none.
        """
        if n < 0 or not names:
            raise ValueError(f"`n` should be 0 or more and `names` not empty. Received: n = {n}, names = {names!r}")
        with self._lock:
            self._names = tuple(_checked(name) for name in names)
            self._every, self._seen, self._drawn = n, 0, 0

    def clear(self) -> None:
        """Forgets the script and whatever waits, and stops `every`."""
        with self._lock:
            self._script.clear()
            self._held.clear()
            self._every = self._bulk_failures = 0

    def next(self, kind: str, granted: bool = True) -> str | None:
        """Counts a request and returns the fault that it meets.

        Args:
            kind: `graphql`, `grant`, `upload` or `download`.
            granted: Whether its token came by a grant; a static token that expires would be the end of every client,
                so `every` lets it be.
        """
        with self._lock:
            scripted = self._script.popleft() if self._script else None
            self._seen += 1
            turns = len(self._names) if self._every and self._seen % self._every == 0 else 0
            for name in (scripted,) if scripted else (self._draw() for _ in range(turns)):
                if self._fits(name, kind, granted or name == scripted):
                    return self._inject(name)
                if name == scripted or name not in self._held:
                    self._held.append(name)
            for name in self._held:
                if self._fits(name, kind, granted):
                    self._held.remove(name)
                    return self._inject(name)
            return None

    def take_bulk_failure(self) -> bool:
        """Says whether the bulk operation that runs now is to fail, and counts it as failed."""
        with self._lock:
            if not self._bulk_failures:
                return False
            self._bulk_failures -= 1
            return True

    def _draw(self) -> str:
        self._drawn += 1
        return self._names[(self._drawn - 1) % len(self._names)]

    def _fits(self, name: str, kind: str, granted: bool) -> bool:
        return kind in FAULTS[name] and (granted or name != "expired")

    def _inject(self, name: str) -> str:
        self.injected[name] = self.injected.get(name, 0) + 1
        self._bulk_failures += name == "bulk failed"
        return name


def _checked(name: str) -> str:
    if name not in FAULTS:
        raise ValueError(f"a fault should be one of {', '.join(FAULTS)}. Received: {name!r}")
    return name
