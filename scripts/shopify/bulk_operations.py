"""One bulk operation at Shopify, from its start to its end: it is started once, watched for a finite time, cancelled.

https://shopify.dev/docs/api/usage/bulk-operations/queries; five of a kind may run at a time for one app and shop.
"""

import logging
import re
from dataclasses import dataclass
from typing import Any, Literal, Protocol
from uuid import uuid4

from graphql import DocumentNode

from scripts.shopify.answers import ShopifyError
from scripts.shopify.bulk_documents import bulk_text
from scripts.shopify.client import ShopifyClient

log = logging.getLogger(__name__)

STALL = 1800.0
"""Seconds without any progress after which an operation is given up."""
QUEUE = 3600.0
"""Seconds that an operation is waited for at most to be let in, while others of this app are running."""
DOCUMENT_LIMIT = 65_535
"""Bytes of the document of a bulk operation at most."""
_STARTS = 5
_LABEL = 12  # hexadecimal digits that tell one run from another
_LONGEST_PAUSE = 10.0
_ENDED = frozenset(("COMPLETED", "FAILED", "CANCELED", "EXPIRED"))
_BUSY = frozenset(("OPERATION_IN_PROGRESS", "LIMIT_REACHED"))


class Bar(Protocol):
    """The part of a `tqdm` bar that is used: it follows the objects that Shopify has processed."""

    def update(self, n: float | None = 1) -> object:
        """Moves the bar on by `n`."""


@dataclass(frozen=True)
class Operation:
    """State of a bulk operation.

    Attributes:
        id: Its GID.
        status: `CREATED`, `RUNNING`, `COMPLETED`, `FAILED`, `CANCELING`, `CANCELED` or `EXPIRED`.
        error_code: Why it failed, else None.
        object_count: Objects processed so far, children included.
        root_count: Top-level objects processed so far.
        url: Address of the result; None while it runs and where it is empty.
        partial_url: Address of what a failed one has done.
    """

    id: str
    status: str
    error_code: str | None
    object_count: int
    root_count: int
    url: str | None
    partial_url: str | None

    @property
    def ended_as(self) -> str:
        """What became of it, in words."""
        return f"bulk operation {self.id} ended as {self.status}" + (f" ({self.error_code})" if self.error_code else "")


def run(
    client: ShopifyClient,
    kind: Literal["query", "mutation"],
    tree: DocumentNode,
    *,
    deadline: float,
    progress: Bar | None = None,
    **variables: str,
) -> Operation:
    """Runs one bulk operation to its end, good or bad.

    Args:
        client: Client of the shop.
        kind: `query` or `mutation`.
        tree: The document to run in bulk.
        deadline: Seconds it may take.
        progress: Bar that is moved on by the objects processed.
        variables: Further variables of queries/bulk_run_<kind>.graphql.

    Returns:
        The operation after it ended.

    Raises:
        ShopifyError: It could not be started, or did not end in time; it is cancelled then.
        ValueError: The document is too long.
    """
    label = uuid4().hex[:_LABEL]
    text = bulk_text(tree, label)
    if (size := len(text.encode())) > DOCUMENT_LIMIT:
        raise ValueError(f"the document should have at most {DOCUMENT_LIMIT} bytes. Received: {size}")
    identity = None
    try:
        identity = _start(client, kind, {kind: text, **variables}, label)
        return _watch(client, identity, deadline, progress)
    except BaseException as error:  # KeyboardInterrupt too: nobody is left to read the result
        if identity is None and not (isinstance(error, ShopifyError) and not error.outcome_unknown):
            identity = _search(client, kind, label)
        if identity is not None:
            _cancel(client, identity)
        raise


def end_running(client: ShopifyClient, kind: Literal["query", "mutation"], name: str) -> None:
    """Cancels the running operations of an earlier `run` of a document, and waits until they have ended.

    Args:
        client: Client of the shop.
        kind: `query` or `mutation`.
        name: Name of the document's operation.

    Raises:
        ShopifyError: One does not end in `STALL` seconds, or Shopify does not answer.
    """
    ours = re.compile(rf"\b{re.escape(name)}_[0-9a-f]{{{_LABEL}}}\b")
    # By status: among the newest of all, one that has run for hours may not be listed any more.
    running = [node for status in ("created", "running", "canceling") for node in _newest(client, kind, status)]
    for node in running:
        if node["status"] not in _ENDED and ours.search(node["query"]):
            log.warning("bulk operation %s of an earlier run is %s; it is cancelled", node["id"], node["status"])
            _cancel(client, node["id"])
            log.info("%s", _watch(client, node["id"], STALL, None).ended_as)


def _start(client: ShopifyClient, kind: str, variables: dict[str, str], label: str) -> str:
    """Returns the id of the operation, which waits for others where need be.

    Where the answer is lost, the operation is looked for by the label in its document's name. If Shopify does not list
    it, it is started again: a second query only reads, and bulk mutations may be run here only if each line may be.
    """
    name, began, pause, starts = f"bulk_run_{kind}", client.clock(), 1.0, 0
    while True:
        try:
            (payload,) = client.execute(name, variables).values()
        except ShopifyError as error:
            failure = error
        else:
            if operation := (payload or {}).get("bulkOperation"):
                return operation["id"]
            raise ShopifyError(
                f"{name}: Shopify neither names an operation nor says why it started none; start again",
                code="BULK_START",
                outcome_unknown=True,
            )
        codes = {error.get("code") for error in failure.user_errors}
        waited = client.clock() - began
        if codes & _BUSY and waited < QUEUE:
            log.info("%s: %s; waiting %.0f s", name, failure, pause)
        elif codes & _BUSY:
            running = [node["id"] for node in _newest(client, kind) if node["status"] not in _ENDED]
            raise ShopifyError(
                f"{failure} Still so after {waited:.0f} s. Running: {', '.join(running) or 'none that is listed'}",
                code="OPERATION_IN_PROGRESS",
            )
        else:
            starts += 1
            if not (failure.outcome_unknown or "INTERNAL_FILE_SERVER_ERROR" in codes) or starts == _STARTS:
                raise failure
            log.info("%s: %s; looking whether it runs in %.0f s", name, failure, pause)
        client.sleep(pause)
        pause = min(3 * _LONGEST_PAUSE, 2 * pause)
        if failure.outcome_unknown and (found := _find(client, kind, label)):
            return found


def _find(client: ShopifyClient, kind: str, label: str) -> str | None:
    return next((node["id"] for node in _newest(client, kind) if f"_{label}" in node["query"]), None)


def _search(client: ShopifyClient, kind: str, label: str) -> str | None:
    """Returns the operation of a start that was broken off; Shopify may be about to carry it out."""
    try:
        if found := _find(client, kind, label):
            return found
        client.sleep(1.0)
        return _find(client, kind, label)
    except ShopifyError as error:
        log.warning("whether the bulk operation %s was started could not be found out: %s", label, error)
        return None


def _newest(client: ShopifyClient, kind: str, status: str = "") -> list[dict[str, Any]]:
    query = f"operation_type:{kind}" + (f" AND status:{status}" if status else "")
    return client.execute("bulk_running", {"filter": query})["bulkOperations"]["nodes"]


def _watch(client: ShopifyClient, identity: str, deadline: float, progress: Bar | None) -> Operation:
    began = changed = client.clock()
    before, shown, pause = None, 0, 0.5
    while True:
        node = client.execute("bulk_operation", {"id": identity})["bulkOperation"]
        if node is None:
            raise ShopifyError(f"Shopify does not know bulk operation {identity}", code="BULK_UNKNOWN")
        operation = Operation(
            identity,
            node["status"],
            node["errorCode"],
            int(node["objectCount"]),
            int(node["rootObjectCount"]),
            node["url"],
            node["partialDataUrl"],
        )
        if progress is not None:
            progress.update(operation.object_count - shown)
            shown = operation.object_count
        if operation.status in _ENDED:
            return operation
        now = client.clock()
        if (operation.status, operation.object_count) != before:
            before, changed = (operation.status, operation.object_count), now
        for limit, since, what in ((STALL, changed, "no progress"), (deadline, began, "no end")):
            if now - since >= limit:
                raise ShopifyError(
                    f"bulk operation {identity} is {operation.status} with {operation.object_count} objects: {what} in "
                    f"{now - since:.0f} s, so it is given up",
                    code="BULK_TIMEOUT",
                )
        client.sleep(pause)
        pause = min(_LONGEST_PAUSE, 1.5 * pause)


def _cancel(client: ShopifyClient, identity: str) -> None:
    try:
        client.execute("bulk_cancel", {"id": identity}, repeatable=True)
    except ShopifyError as error:
        log.warning("bulk operation %s was not cancelled: %s", identity, error)
