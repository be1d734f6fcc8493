"""What every request passes on its way in and out: its id, the token, the rate limit, the last error handler, figures.

Plain ASGI, so that nothing is buffered and no error below gets past it.
"""

import asyncio
import hashlib
import hmac
import ipaddress
import json
import logging
import math
import time
import uuid
from collections import OrderedDict
from collections.abc import Callable, Mapping
from typing import Any

from starlette.datastructures import MutableHeaders
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from serving.api_metrics import Metrics
from serving.api_settings import ApiSettings

logger = logging.getLogger("serving.api")

OPEN_PATHS = ("/health", "/ready")
_MOST_CLIENTS = 10_000


class Refusal(Exception):
    """A request that is answered with an error; the text is the client's to read."""

    def __init__(self, status: int, error: str, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(error)
        self.status, self.error, self.headers = status, error, dict(headers or {})


def error_response(request: Request, refusal: Refusal) -> Response:
    """Returns the answer that `ErrorAnswer` describes."""
    document = {"error": refusal.error, "request_id": request.scope["state"]["request_id"]}
    return Response(json.dumps(document), refusal.status, refusal.headers, "application/json")


async def read_body(request: Request, settings: ApiSettings) -> bytes:
    """Reads a request's body.

    Raises:
        Refusal: 413 where it is too large, 408 where it does not arrive in time.
    """
    most = settings.max_body_bytes
    too_large = Refusal(413, f"The body should have at most {most:,} bytes. Received: more.")
    length = request.headers.get("content-length", "")
    if length.isdecimal() and (len(length) > 18 or int(length) > most):
        raise too_large
    body = bytearray()
    try:
        async with asyncio.timeout(settings.body_timeout_seconds):
            async for part in request.stream():  # the length may be missing
                body += part
                if len(body) > most:
                    raise too_large
    except TimeoutError:
        # The connection cannot be used again: the rest of this body would be read as the next request.
        raise Refusal(408, "The body did not arrive in time.", {"Connection": "close"}) from None
    return bytes(body)


class Rate:
    """A token bucket a client. Not thread-safe: used from the event loop alone."""

    def __init__(self, per_second: float, burst: int, clock: Callable[[], float] = time.monotonic) -> None:
        """Sets the limit.

        Args:
            per_second: Requests that a client regains a second; 0: no limit.
            burst: Most requests at once.
            clock: Seconds.
        """
        self._per_second, self._burst, self._clock = per_second, burst, clock
        self._buckets: OrderedDict[str, tuple[float, float]] = OrderedDict()  # client -> (left, at)

    def take(self, address: str) -> float:
        """Counts a request; returns 0, or the seconds to wait where it is one too many."""
        left = self._left(address)
        if left < 1:
            return (1 - left) / self._per_second
        self.charge(address, 1)
        return 0.0

    def charge(self, address: str, requests: int) -> None:
        """Counts more requests without refusing any: a batch may put its client in debt."""
        if not self._per_second:
            return
        left = self._left(address)  # before the bucket is replaced
        self._buckets[_network(address)] = (left - requests, self._clock())
        self._buckets.move_to_end(_network(address))
        if len(self._buckets) > _MOST_CLIENTS:
            self._buckets.popitem(last=False)  # the one that asked longest ago

    def _left(self, address: str) -> float:
        left, at = self._buckets.get(_network(address), (float(self._burst), 0.0))
        return min(self._burst, left + (self._clock() - at) * self._per_second)


def _network(address: str) -> str:
    """A client: an IPv4 address, or the /64 of an IPv6 address, all of which one household has."""
    if ":" not in address:
        return address
    try:
        return str(ipaddress.ip_network((address.partition("%")[0], 64), strict=False))
    except ValueError:
        return address


class Door:
    """Middleware around the whole application."""

    def __init__(self, app: ASGIApp, settings: ApiSettings, metrics: Metrics, rate: Rate) -> None:
        self._app, self._metrics, self._rate = app, metrics, rate
        self._token = None if settings.token is None else _digest(settings.token.get_secret_value().encode())

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Passes a request through."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        request_id, status, began = uuid.uuid4().hex, 0, time.perf_counter()
        scope.setdefault("state", {})["request_id"] = request_id
        request = Request(scope, receive)

        async def send_out(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                headers = MutableHeaders(scope=message)
                headers["X-Request-ID"] = request_id
                headers["X-Content-Type-Options"] = "nosniff"
                headers.setdefault("Cache-Control", "no-store")
            await send(message)

        self._metrics.in_flight.inc()
        try:
            self._admit(request)
            await self._app(scope, receive, send_out)
        except Refusal as refusal:
            await error_response(request, refusal)(scope, receive, send_out)
        except ClientDisconnect:
            status = 499  # nobody is left to be answered
        except Exception:
            logger.exception("Request %s failed", request_id)
            if status:  # the answer has begun: the connection ends, so that half of it is not taken for the whole
                raise
            failure = Refusal(500, "The request could not be answered; the server's log has the reason.")
            await error_response(request, failure)(scope, receive, send_out)
        finally:
            self._metrics.in_flight.dec()
            self._count(scope, status, time.perf_counter() - began)

    def _admit(self, request: Request) -> None:
        if request.scope["path"] in OPEN_PATHS:
            return
        if wait := self._rate.take(client_of(request)):
            raise Refusal(429, "Too many requests. Try again later.", {"Retry-After": str(math.ceil(wait))})
        if self._token is not None:
            scheme, _, given = request.headers.get("authorization", "").partition(" ")
            right = hmac.compare_digest(_digest(given.strip().encode("latin-1")), self._token)
            if not (right and scheme.lower() == "bearer"):
                raise Refusal(401, "A valid bearer token is needed.", {"WWW-Authenticate": "Bearer"})

    def _count(self, scope: Mapping[str, Any], status: int, seconds: float) -> None:
        # Refused before a route was found, or no such route: the path itself is the client's text.
        paths: frozenset[str] = scope["app"].state.paths
        route = scope["path"] if scope["path"] in paths else "other"
        method = scope["method"] if scope["method"] in ("GET", "POST") else "other"
        self._metrics.requests.labels(method, route, str(status)).inc()
        self._metrics.seconds.labels(route).observe(seconds)


def client_of(request: Request) -> str:
    """Returns the client's address; behind a proxy that uvicorn trusts, the one that the proxy names."""
    return request.client.host if request.client else ""


def _digest(value: bytes) -> bytes:
    # Of equal length whatever was sent, so that the comparison does not tell the token's length.
    return hashlib.sha256(value).digest()
