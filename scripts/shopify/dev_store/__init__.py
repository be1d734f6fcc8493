"""A shop on this machine: Shopify's Admin and Storefront API on a subset of their schema, state in SQLite.

For people without a shop, and for the tests. `python -m scripts.shopify.dev_store` starts it by hand. Whichever version
of the API is asked for, the schema is that of 2026-10.
"""

import logging
import os
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, Self

from graphql import DocumentNode

from scripts.shopify.dev_store import access as _access
from scripts.shopify.dev_store.access import ALL_SCOPES, Access
from scripts.shopify.dev_store.admin import LOG_LENGTH, VARIABLES_KEPT, Request
from scripts.shopify.dev_store.bucket import Bucket
from scripts.shopify.dev_store.bulk import close as close_bulk
from scripts.shopify.dev_store.connection import HOST, MAX_PORT, Server
from scripts.shopify.dev_store.engine import Prepared, engine_of
from scripts.shopify.dev_store.faults import Faults
from scripts.shopify.dev_store.registry import Context
from scripts.shopify.dev_store.server import create_app
from scripts.shopify.dev_store.state import State, StateError

__all__ = ["ALL_SCOPES", "DevStore", "Request", "StateError"]

log = logging.getLogger(__name__)


class DevStore:
    """A shop that listens on 127.0.0.1 between `start` and `stop`, or inside a `with` statement.

    Args:
        path: SQLite file of its state, or `:memory:`.
        plan: Shopify plan, which sets the bucket: `standard`, `advanced`, `plus` or `enterprise`.
        scopes: Access scopes of the app.
        clock: UNIX seconds, for the bucket, tokens and dates.
        access_token: Token that never expires.
        client_id: Of the app, for the client-credentials grant.
        client_secret: Of the app, for the client-credentials grant.
        storefront_token: Public token of the Storefront API.
        hmac_secret: Secret that the storefront page computes the handles of customers with. By default it is what
            SLIREC_HMAC_SECRET says when it is needed, else `access.HMAC_SECRET`, which is no secret.
        token_lifetime: Seconds that a granted token lives.
        port: Port to listen on; 0 takes a free one.

    Attributes:
        state: What the shop holds.
        faults: What goes wrong on demand.
        bucket: Points left to the app.
        access: Tokens and scopes.
        url: Address of the shop while it is started, else empty.
        requests: The requests so far, oldest first; see `Request`.
        crashes: Exceptions that no resolver should raise; leaving the `with` statement raises the first of them.

    Raises:
        StateError: The file cannot be used.
        ValueError: There is no such plan or port.
    """

    def __init__(
        self,
        path: str | Path = ":memory:",
        *,
        plan: str = "plus",
        scopes: Iterable[str] = ALL_SCOPES,
        clock: Callable[[], float] = time.time,
        access_token: str = _access.ACCESS_TOKEN,
        client_id: str = _access.CLIENT_ID,
        client_secret: str = _access.CLIENT_SECRET,
        storefront_token: str = _access.STOREFRONT_TOKEN,
        hmac_secret: str | None = None,
        token_lifetime: float = _access.TOKEN_LIFETIME,
        port: int = 0,
    ):
        self.access_token, self.client_id, self.client_secret = access_token, client_id, client_secret
        self.storefront_token, self._hmac_secret = storefront_token, hmac_secret
        if not 0 <= port <= MAX_PORT:
            raise ValueError(f"`port` should be from 0 to {MAX_PORT}. Received: port = {port}")
        self.clock = clock
        self.set_plan(plan)
        self.access = Access(
            clock,
            scopes,
            access_token=access_token,
            client_id=client_id,
            client_secret=client_secret,
            storefront_token=storefront_token,
            lifetime=token_lifetime,
        )
        self.faults = Faults()
        self.requests: list[Request] = []
        self.crashes: list[BaseException] = []
        self.url = ""
        self._port = port
        self._server: Server | None = None
        self._stopped = False
        self.state = State(path)

    def set_plan(self, plan: str) -> None:
        """Changes the Shopify plan; the bucket is full afterwards."""
        self.bucket = Bucket(plan, self.clock)
        self.plan = plan

    @property
    def hmac_secret(self) -> str:
        """Secret that shoppers' opaque ids are made with."""
        return self._hmac_secret or os.environ.get("SLIREC_HMAC_SECRET", "").strip() or _access.HMAC_SECRET

    def now(self) -> float:
        """Returns the shop's time, UNIX seconds."""
        return self.clock()

    def start(self) -> Self:
        """Listens from now on.

        Raises:
            OSError: The port is taken.
            RuntimeError: It was stopped; the next one on the same file goes on where it was.
        """
        if self._stopped:
            raise RuntimeError("a stopped shop does not start again; make another one on the same path")
        if self._server is None:
            self._server = Server(create_app(self), self._port)
            self.url = f"http://{HOST}:{self._server.port}"
        return self

    def stop(self) -> None:
        """Stops listening and closes the state, for good."""
        self._stopped = True
        if self._server is not None:
            self._server.stop()
            self._server, self.url = None, ""
        close_bulk(self)
        self.state.close()

    def __enter__(self) -> Self:
        try:
            return self.start()
        except BaseException:
            self.stop()
            raise

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        self.stop()
        if self.crashes and kind is None:
            raise self.crashes[0]

    def environment(self) -> dict[str, str]:
        """Returns the environment variables that point the commands at this shop.

        The credentials are of the client-credentials grant.
        """
        return {
            "SHOPIFY_STORE_URL": self.url,
            "SHOPIFY_CLIENT_ID": self.client_id,
            "SHOPIFY_CLIENT_SECRET": self.client_secret,
            "SLIREC_HMAC_SECRET": self.hmac_secret,
        }

    def execute(
        self,
        document: str | DocumentNode | Prepared,
        variables: Mapping[str, Any] | None = None,
        *,
        api: str = "admin",
        scopes: Iterable[str] | None = None,
    ) -> dict[str, Any]:
        """Carries out a document without HTTP, cost or faults, for seeding and for the lines of bulk operations.

        Args:
            document: Text, parsed document, or what `engine.Engine.prepare` returned.
            variables: Values of its variables.
            api: `admin` or `storefront`.
            scopes: Of the caller; by default all that the app, or the storefront token, has.

        Returns:
            The answer: `data`, and `errors` if there are any.
        """
        prepared = document if isinstance(document, Prepared) else engine_of(api).prepare(document)
        if scopes is not None:
            granted = _access.with_implied(scopes)
        else:
            granted = self.access.scopes if api == "admin" else frozenset(_access.STOREFRONT_SCOPES)
        return self.carry_out(prepared, variables or {}, api, granted)

    def carry_out(
        self, prepared: Prepared, variables: Mapping[str, Any], api: str, scopes: frozenset[str]
    ) -> dict[str, Any]:
        """Carries out a prepared document, one at a time; `scopes` hold the implied ones too."""
        context = Context(self, self.state, scopes, api, self.clock)
        with self.state.lock:
            return engine_of(api).execute(prepared, variables, context)

    def record(self, request: Request) -> None:
        """Appends to the request log, in bounded memory."""
        if len(self.requests) >= VARIABLES_KEPT:
            request = replace(request, variables={})
        if len(self.requests) >= LOG_LENGTH:
            del self.requests[: LOG_LENGTH // 2]
        self.requests.append(request)

    def crashed(self, error: BaseException, where: str) -> None:
        """Logs and keeps an exception that should not have been raised; the first hundred are enough.

        A request that was being answered while the shop was stopped may fail: that is nobody's mistake.

        Args:
            error: The exception.
            where: What failed, in words.
        """
        if self._stopped:
            return
        log.error("the local shop failed at %s", where, exc_info=error)
        if len(self.crashes) < 100:
            self.crashes.append(error)
