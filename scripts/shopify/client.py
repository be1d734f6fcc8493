"""The one door to Shopify: documents in, plain dicts out, every failure one `ShopifyError`."""

import logging
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Self

import numpy as np
import requests
from gql import GraphQLRequest
from gql.transport.exceptions import TransportConnectionFailed, TransportError
from gql.transport.requests import RequestsHTTPTransport

from scripts.shopify.answers import Answer, ShopifyError
from scripts.shopify.budget import Budget
from scripts.shopify.credentials import Credentials
from scripts.shopify.documents import load
from scripts.shopify.retry import Retry
from scripts.shopify.settings import Settings
from scripts.shopify.storage import Storage

log = logging.getLogger(__name__)


class ShopifyClient:
    """Sends the documents of `queries/` to one shop's Admin API. Not for use by several threads at a time.

    Args:
        settings: Shop and credentials.
        sleep: Called with the seconds to wait; tests pass their own.
        clock: Seconds that only ever grow.
        rng: Source of the jitter on waits.
        attempts: How often one request is sent at most.
        timeout: Seconds without an answer after which a request counts as lost.

    Attributes:
        settings: Shop and credentials.
        sleep: As given.
        clock: As given.
        budget: What is known of the shop's bucket of points.
    """

    def __init__(
        self,
        settings: Settings,
        *,
        sleep: Callable[[float], object] = time.sleep,
        clock: Callable[[], float] = time.monotonic,
        rng: np.random.Generator | None = None,
        attempts: int = 8,
        timeout: int = 60,
    ):
        self.settings = settings
        self.sleep, self.clock = sleep, clock
        self.budget = Budget(sleep, clock)
        self._timeout = timeout
        self._retry = Retry(attempts, sleep, rng or np.random.default_rng())
        self._credentials = Credentials(settings, self._send_bare, _is_lost, clock, self._retry)
        self._access: tuple[str, frozenset[str]] | None = None
        # Without redirects: requests would carry the token header over to whatever host it is sent to.
        self._transport = RequestsHTTPTransport(
            f"{settings.store_url}/admin/api/{settings.api_version}/graphql.json",
            auth=self._credentials,
            timeout=timeout,
            allow_redirects=False,
        )
        self._transport.connect()
        self._session: requests.Session = self._transport.session
        self._session.trust_env = not settings.is_local  # a proxy cannot reach this machine's own store
        self._status = 0
        # gql forgets the status of an answer whose body is JSON; 401 and 429 are told by it.
        self._session.hooks["response"].append(self._remember_status)
        local_store = settings.store_url if settings.is_local else None
        self._storage = Storage(self._send_bare, _is_lost, local_store, self._retry)

    def __repr__(self) -> str:
        return f"ShopifyClient({self.settings.store_url!r}, api_version={self.settings.api_version!r})"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Closes the connection."""
        self._transport.close()

    def execute(
        self, name: str, variables: Mapping[str, Any] | None = None, *, repeatable: bool | None = None
    ) -> dict[str, Any]:
        """Runs one document and returns its data.

        What would be throttled is held back until the bucket has filled. Where other clients drained it, THROTTLED and
        429 are waited for, since nothing was done yet. Answers of 5xx, INTERNAL_SERVER_ERROR and lost
        connections are tried again only where repeating is safe.

        Args:
            name: Document queries/<name>.graphql.
            variables: Values of its variables.
            repeatable: Whether sending it twice does no harm; by default true for queries and false for mutations.

        Returns:
            The answer's `data`.

        Raises:
            ShopifyError: It was refused, or no answer came after all attempts.
        """
        document = load(name)
        repeatable = not document.is_mutation if repeatable is None else repeatable
        request = GraphQLRequest(document.tree, variable_values=dict(variables or {}))
        page_size = (variables or {}).get("first")
        answer, attempt, renewed = Answer(), 0, False
        while attempt < self._retry.attempts:
            attempt += 1
            self._credentials.ensure()
            if "THROTTLED" not in answer.codes:  # that wait is over
                self.budget.wait_for(name, page_size)
            answer = self._send(request)
            if answer.cost or answer.interrupted:
                self.budget.note(name, page_size, answer.cost)
            if answer.status == 401 and not renewed and self._credentials.discard():
                renewed = True
                continue
            if not self._retry.again(name, answer, attempt, repeatable=repeatable, redact=self._credentials.redact):
                break
        if failure := answer.failure(self.settings.api_version):
            message, code, user_errors = failure
            tries = f" (after {attempt} attempts)" if attempt > 1 else ""
            unknown = document.is_mutation and answer.interrupted
            raise ShopifyError(self._credentials.redact(f"{name}: {message}{tries}"), code, user_errors, unknown)
        if reason := answer.headers.get("X-Shopify-API-Deprecated-Reason"):
            log.warning("%s uses something deprecated: %s", name, reason)
        return dict(answer.data or {})

    def pages(
        self, name: str, connection_path: str, variables: Mapping[str, Any] | None = None, page_size: int = 100
    ) -> Iterator[list[dict[str, Any]]]:
        """Yields the nodes of a connection, one page at a time; a page that costs too much is halved.

        Args:
            name: Document with the variables `$first` and `$after`, selecting `nodes` and
                `pageInfo { hasNextPage endCursor }`.
            connection_path: Where the connection is in the data, as in `products` or `shop.products`.
            variables: Values of its other variables.
            page_size: Nodes a page, 1 to 250.

        Yields:
            Lists of nodes.

        Raises:
            ShopifyError: As `execute`, or the cursor does not advance.
        """
        if not 1 <= page_size <= 250:
            raise ValueError(f"`page_size` should be from 1 to 250. Received: page_size = {page_size}")
        after = None
        while True:
            try:
                data: Any = self.execute(name, {**(variables or {}), "first": page_size, "after": after})
            except ShopifyError as error:
                if error.code != "MAX_COST_EXCEEDED" or page_size == 1:
                    raise
                page_size //= 2
                continue
            for key in connection_path.split("."):
                data = data[key]
            yield data["nodes"]
            if not data["pageInfo"]["hasNextPage"]:
                return
            if data["pageInfo"]["endCursor"] in (None, after):
                raise ShopifyError(f"{name}: the cursor {after!r} does not advance")
            after = data["pageInfo"]["endCursor"]

    @property
    def scopes(self) -> frozenset[str]:
        """Access scopes that the token has, with the read scope of every write scope; asked once."""
        return self._ask_access()[1]

    def require_scopes(self, *needed: str) -> str:
        """Checks what the token may do, before anything is done.

        Args:
            needed: Access scopes such as `write_products`; a write scope includes its read scope.

        Returns:
            The shop's domain.

        Raises:
            ShopifyError: Code `SCOPES`, naming the scopes that are missing.
        """
        self._access = None  # a scope may have been added since
        domain, granted = self._ask_access()
        if missing := [scope for scope in needed if scope not in granted]:
            raise ShopifyError(
                f"The token for {domain} lacks the access scopes {', '.join(missing)}: add them to the app's Admin API "
                "scopes and install it again",
                code="SCOPES",
            )
        return domain

    def upload(self, url: str, parameters: Mapping[str, str], path: Path) -> None:
        """Sends a file to a staged upload, without the token; see `Storage.upload`."""
        self._storage.upload(url, parameters, path)

    def lines(self, url: str, count: int | None = None) -> Iterator[str]:
        """Yields the lines of a bulk operation's result, fetched without the token; see `Storage.lines`."""
        return self._storage.lines(url, count)

    def _ask_access(self) -> tuple[str, frozenset[str]]:
        if self._access is None:
            data = self.execute("access")
            granted = {scope["handle"] for scope in data["currentAppInstallation"]["accessScopes"]}
            granted |= {scope.replace("write_", "read_", 1) for scope in granted if scope.startswith("write_")}
            self._access = data["shop"]["myshopifyDomain"], frozenset(granted)
        return self._access

    def _remember_status(self, response: requests.Response, **_: object) -> None:
        self._status = response.status_code

    def _send(self, request: GraphQLRequest) -> Answer:
        self._status, self._transport.response_headers = 0, None
        try:
            result = self._transport.execute(request)
        except TransportConnectionFailed as error:
            return Answer(problem=str(error), lost=_is_lost(error.__cause__))
        except TransportError as error:
            return Answer(self._status, self._transport.response_headers or {}, problem=str(error))
        errors: Any = result.errors or []
        if not isinstance(errors, list):  # outside GraphQL proper, `errors` is a string or an object
            errors = [{"message": str(errors)}]
        errors = [error if isinstance(error, dict) else {"message": str(error)} for error in errors]
        cost = (result.extensions or {}).get("cost") or {}
        return Answer(self._status, self._transport.response_headers or {}, result.data, errors, cost)

    def _send_bare(self, method: str, url: str, **arguments: Any) -> requests.Response:
        """Sends a request with neither the token nor a netrc entry, and follows no redirect."""
        arguments = {"timeout": self._timeout, "allow_redirects": False, **arguments}
        return self._session.request(method, url, auth=_no_auth, **arguments)


def _is_lost(cause: BaseException | None) -> bool:
    """Whether a connection broke, rather than a request that could not be sent at all."""
    broken = (requests.ConnectionError, requests.Timeout, requests.exceptions.ChunkedEncodingError)
    return isinstance(cause, broken) and not isinstance(cause, requests.exceptions.SSLError)


def _no_auth(request: requests.PreparedRequest) -> requests.PreparedRequest:
    return request
