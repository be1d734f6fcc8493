"""One Admin API request from its JSON body to its answer: cost, bucket, faults, execution, request log."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from graphql import FieldNode

from scripts.shopify.dev_store import wording
from scripts.shopify.dev_store.cost import SINGLE_LIMIT
from scripts.shopify.dev_store.engine import Prepared, engine_of

if TYPE_CHECKING:
    from scripts.shopify.dev_store import DevStore

VARIABLES_KEPT = 5_000
"""The log keeps the variables while it has fewer requests than this."""
LOG_LENGTH = 200_000
"""Requests that the log keeps at most; then the older half is forgotten."""


@dataclass(frozen=True, slots=True)
class Request:
    """An entry of the request log.

    Attributes:
        api: `admin`, `storefront`, `oauth` (a grant), `staged` (an upload) or `bulk` (a download).
        operation: Name of the GraphQL operation; empty for none.
        variables: Its variables; empty for the requests after the first 5,000.
        status: HTTP status of the answer; 0 where the connection was dropped.
        requested_cost: Points that it was admitted on, if it came that far.
        throttled: Whether the answer was THROTTLED.
        fault: The fault that was injected.
    """

    api: str
    operation: str = ""
    variables: Mapping[str, Any] = field(default_factory=dict)
    status: int = 200
    requested_cost: int | None = None
    throttled: bool = False
    fault: str | None = None


@dataclass(slots=True)
class Reply:
    """An answer on its way: HTTP status, JSON document or text, further headers; `drop` for no answer at all."""

    document: Any
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    drop: bool = False


UNAUTHORIZED = Reply({"errors": "[API] Invalid API key or access token (unrecognized login or wrong password)"}, 401)
BAD_REQUEST = Reply({"errors": {"query": "Required parameter missing or invalid"}}, 400)


def plain_fault(fault: str | None, url: str) -> Reply | None:
    """Returns the answer of a fault that needs neither document nor token; None for one that does, and for none."""
    if fault == "429":
        message = "Exceeded the rate limit for api client. Reduce request rates to resume uninterrupted service."
        return Reply({"errors": message}, 429, {"Retry-After": "2.0"})
    if fault == "redirect":
        return Reply("", 301, {"Location": f"{url}/elsewhere"})
    replies = {
        "500": Reply("<html><body>Internal error</body></html>", 500),
        "502": Reply({"errors": "Bad Gateway"}, 502),
        "404": Reply({"errors": "Not Found"}, 404),
        "html": Reply("<html><body>Opening soon</body></html>"),
        "drop": Reply("", drop=True),
    }
    return replies.get(fault or "")


def read_body(api: str, body: Any) -> tuple[Prepared | None, Mapping[str, Any]]:
    """Reads the JSON body of a GraphQL request: `query`, `variables`, `operationName`.

    Returns:
        The prepared document and the variables; None and no variables where the body is something else.
    """
    if not isinstance(body, Mapping):
        return None, {}
    text, variables, name = body.get("query"), body.get("variables"), body.get("operationName")
    if not (isinstance(text, str) and isinstance(variables, Mapping | None) and isinstance(name, str | None)):
        return None, {}
    return engine_of(api).prepare(text, name or None), variables or {}


def answer_admin(store: "DevStore", token: str | None, body: Any, fault: str | None) -> Reply:
    """Carries out an Admin API request.

    Args:
        store: The shop.
        token: Of the header X-Shopify-Access-Token.
        body: JSON body: `query`, `variables`, `operationName`.
        fault: What goes wrong.

    Returns:
        The answer; the request is in the log.
    """
    prepared, variables = read_body("admin", body)
    requested = prepared.cost.requested(variables) if prepared and prepared.cost else None
    reply = _reply(store, token, prepared, variables, requested, fault)
    errors = reply.document.get("errors") if isinstance(reply.document, Mapping) else None
    throttled = isinstance(errors, list) and any(e.get("extensions", {}).get("code") == "THROTTLED" for e in errors)
    status, name = 0 if reply.drop else reply.status, prepared.name if prepared else ""
    store.record(Request("admin", name, variables, status, requested, throttled, fault))
    return reply


def _reply(
    store: "DevStore",
    token: str | None,
    prepared: Prepared | None,
    variables: Mapping[str, Any],
    requested: int | None,
    fault: str | None,
) -> Reply:
    if reply := plain_fault(fault, store.url):
        return reply
    if fault == "expired":
        store.access.expire(token)
        return UNAUTHORIZED
    scopes = store.access.admin_scopes(token)
    if scopes is None:
        return UNAUTHORIZED
    if fault == "string":
        return Reply({"errors": "Something went wrong"})
    if prepared is None:
        return BAD_REQUEST
    if prepared.operation is None or requested is None:
        return Reply({"errors": list(prepared.errors)})
    bucket = store.bucket
    if requested > SINGLE_LIMIT:
        return _with_cost({"errors": [wording.max_cost_exceeded(requested, SINGLE_LIMIT)]}, bucket, requested, None)
    if fault == "throttled":
        bucket.drain(requested - bucket.rate)
        return _with_cost({"errors": [wording.throttled()]}, bucket, requested, None)
    if not bucket.take(requested):
        return _with_cost({"errors": [wording.throttled()]}, bucket, requested, None)
    if fault == "internal":
        answer: dict[str, Any] = {"errors": [wording.internal_error()]}
    elif fault == "denied":
        fields = [node for node in prepared.operation.selection_set.selections if isinstance(node, FieldNode)]
        denied = wording.access_denied(fields[0].name.value if fields else "", ("read_products",)).formatted
        answer = {"data": {(node.alias or node.name).value: None for node in fields}, "errors": [denied]}
    else:
        answer = store.carry_out(prepared, variables, "admin", scopes)
    if "data" not in answer and fault != "internal":  # refused because of its variables, so it has no cost
        bucket.refund(requested)
        return Reply(answer)
    actual = prepared.cost.actual(variables, answer.get("data")) if prepared.cost else 0
    bucket.refund(requested - actual)
    headers = {"X-Shopify-API-Version": "2026-01"} if fault == "old version" else {}
    reply = _with_cost(answer, bucket, requested, actual)
    return Reply(reply.document, 200, headers, drop=fault == "drop after")


def _with_cost(answer: dict[str, Any], bucket: Any, requested: int, actual: int | None) -> Reply:
    cost = {"requestedQueryCost": requested, "actualQueryCost": actual, "throttleStatus": bucket.status()}
    return Reply({**answer, "extensions": {"cost": cost}})
