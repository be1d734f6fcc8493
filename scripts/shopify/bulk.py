"""Large reads and writes: Shopify does the work in the background and hands over one JSONL file.

Nothing partial is taken for the whole: a result has to come without a transport error, to end with a whole line, to
hold the parent of every child and as many top-level nodes as Shopify says; and every input line of a mutation is
accounted for.
https://shopify.dev/docs/api/usage/bulk-operations/queries and .../imports.
"""

import json
import logging
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

from scripts.shopify.answers import ShopifyError
from scripts.shopify.bulk_documents import Connection, inline_variables, name_of, root_connection
from scripts.shopify.bulk_join import join_lines, parse_line
from scripts.shopify.bulk_operations import Bar, Operation, end_running, run
from scripts.shopify.client import ShopifyClient
from scripts.shopify.documents import Document, load
from scripts.shopify.payloads import EMPTY, returned

log = logging.getLogger(__name__)

QUERY_DEADLINE = 4 * 3600.0
"""Seconds that a bulk query may take by default."""
MUTATION_DEADLINE = 24 * 3600.0
"""Seconds that a bulk mutation may take by default; Shopify's own limit."""
UPLOAD_BYTES = 95_000_000
"""Bytes of one upload; Shopify takes 100 MB."""
_RUNS = 3
_INTERMITTENT = frozenset(("INTERNAL_SERVER_ERROR", "TIMEOUT"))


@dataclass(frozen=True)
class BulkLine:
    """What became of one line of a bulk mutation.

    Attributes:
        number: Its place in the input, from 0.
        data: The mutation's `data`, as `ShopifyClient.execute` would return it; None where there is none.
        user_errors: Its `userErrors`: why Shopify refused the line.
        problem: Why there is no usable result, else None. The line may have been carried out all the same.
    """

    number: int
    data: Mapping[str, Any] | None
    user_errors: tuple[Mapping[str, Any], ...] = ()
    problem: str | None = None


def bulk_query(
    client: ShopifyClient,
    name: str,
    variables: Mapping[str, str] | None = None,
    *,
    connections: Mapping[str, str] = MappingProxyType({}),
    progress: Bar | None = None,
    deadline: float = QUERY_DEADLINE,
) -> Iterator[dict[str, Any]]:
    """Reads everything that a query selects, however much it is, in bounded memory.

    A query that fails at Shopify for no fault of its own is run again, twice at most.

    Args:
        client: Client of the shop.
        name: Document queries/<name>.graphql: one top-level connection, each connection by `edges { node }`, `id` and
            `__typename` on every node.
        variables: Values of its variables, all of type `String!`; they are written into the text.
        connections: `__typename` -> name of the connection that such nodes come from; needed only where a node has
            several connections.
        progress: Bar that follows the objects that Shopify has processed, children included.
        deadline: Seconds that one run may take.

    Returns:
        Iterator of the top-level nodes. Each connection on them is `{"nodes": [...]}`, the shape that paging gives.

    Raises:
        ShopifyError: It failed (the code is Shopify's errorCode or the status), took too long, or the result is not
            complete. It may come while the result is iterated.
        ValueError: The document or its variables do not fit a bulk query.
    """
    document = load(name)
    if document.is_mutation:
        raise ValueError(f"`bulk_query` should get a query. Received: the mutation {name}")
    root, tree = root_connection(document), inline_variables(document, variables or {})
    return _query(client, name, tree, root, connections, progress, deadline)


def bulk_mutation(
    client: ShopifyClient,
    name: str,
    variables: Iterable[Mapping[str, Any]],
    *,
    progress: Bar | None = None,
    deadline: float = MUTATION_DEADLINE,
    max_bytes: int = UPLOAD_BYTES,
) -> Iterator[BulkLine]:
    """Runs one mutation for each set of variables, however many there are, in bounded memory.

    Args:
        client: Client of the shop.
        name: Document queries/<name>.graphql: a mutation that may be repeated without harm.
        variables: One set for each line; taken from the iterable as they are uploaded.
        progress: Bar that follows the lines that Shopify has processed.
        deadline: Seconds that one upload's worth may take.
        max_bytes: Size of one upload; what does not fit goes into further ones, run one after the other.

    Returns:
        Iterator with exactly one entry for each set of variables, in any order. A line that Shopify gave no result for
        comes with a `problem`; sending it again is up to the caller.

    Raises:
        ShopifyError: The upload or the operation could not be started or did not end, or a scope is missing. Lines of
            uploads before that one have been yielded.
        ValueError: The document is no mutation, or one set of variables is larger than `max_bytes`.
    """
    document = load(name)
    if not document.is_mutation:
        raise ValueError(f"`bulk_mutation` should get a mutation. Received: the query {name}")
    return _mutate(client, document, variables, progress, deadline, max_bytes)


def end_earlier_mutations(client: ShopifyClient, name: str) -> None:
    """Ends what an earlier run of a bulk mutation has left running, so that it overwrites nothing that comes now.

    A command that was killed could not cancel its operation. One that runs at this moment loses its operation too.

    Args:
        client: Client of the shop.
        name: Document queries/<name>.graphql of the mutation.

    Raises:
        ShopifyError: It does not end in time, or Shopify does not answer.
    """
    end_running(client, "mutation", name_of(load(name).operation))


def _query(
    client: ShopifyClient,
    name: str,
    tree: Any,
    root: Connection,
    connections: Mapping[str, str],
    progress: Bar | None,
    deadline: float,
) -> Iterator[dict[str, Any]]:
    for again in range(_RUNS - 1, -1, -1):
        operation = run(client, "query", tree, deadline=deadline, progress=progress)
        if operation.status == "COMPLETED":
            break
        if operation.error_code not in _INTERMITTENT or not again:
            raise ShopifyError(
                f"{name}: {operation.ended_as} after {operation.object_count} objects; nothing of it is used",
                code=operation.error_code or operation.status,
            )
        log.info("%s: %s; running it again", name, operation.ended_as)
        if progress is not None:
            progress.update(-operation.object_count)
    if operation.url is None and operation.root_count:
        raise ShopifyError(f"{name}: {operation.ended_as} without a result", code="BULK_RESULT")
    lines = client.lines(operation.url, operation.object_count) if operation.url else iter(())
    yield from join_lines(lines, root, connections, operation.root_count)


def _mutate(
    client: ShopifyClient,
    document: Document,
    variables: Iterable[Mapping[str, Any]],
    progress: Bar | None,
    deadline: float,
    max_bytes: int,
) -> Iterator[BulkLine]:
    first = 0
    with tempfile.TemporaryDirectory(prefix="shopify-bulk-") as folder:
        path = Path(folder) / f"{document.name}.jsonl"
        for count in _write_parts(variables, path, max_bytes):
            key = _upload(client, path)
            operation = run(
                client, "mutation", document.tree, deadline=deadline, progress=progress, stagedUploadPath=key
            )
            if operation.error_code == "ACCESS_DENIED":
                raise ShopifyError(f"{document.name}: {operation.ended_as}", code="ACCESS_DENIED")
            yield from _results(client, operation, first, count)
            first += count


def _write_parts(variables: Iterable[Mapping[str, Any]], path: Path, max_bytes: int) -> Iterator[int]:
    """Fills `path` with lines up to `max_bytes`, over and over, and yields how many there are each time."""
    waiting: list[bytes] = []
    numbered = enumerate(variables)
    while True:
        count = size = 0
        with path.open("wb") as stream:
            for line in waiting:
                stream.write(line)
                count, size = 1, len(line)
            waiting.clear()
            for number, row in numbered:
                line = json.dumps(row, ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode() + b"\n"
                if len(line) > max_bytes:
                    raise ValueError(
                        f"line {number} should have at most {max_bytes} bytes. Received: {len(line)} bytes"
                    )
                if size + len(line) > max_bytes:
                    waiting.append(line)
                    break
                stream.write(line)
                count, size = count + 1, size + len(line)
        if count:
            yield count
        if not waiting:
            return


def _upload(client: ShopifyClient, path: Path) -> str:
    """Sends the file to Shopify's storage and returns the key by which it is named there."""
    wanted = {"resource": "BULK_MUTATION_VARIABLES", "filename": path.name, "mimeType": "text/jsonl"}
    data = client.execute("staged_uploads_create", {"input": [{**wanted, "httpMethod": "POST"}]}, repeatable=True)
    targets = returned(data, "stagedUploadsCreate", "stagedTargets")
    if len(targets) != 1:
        raise ShopifyError(f"stagedUploadsCreate: Shopify returned {len(targets)} places for one file", code=EMPTY)
    (target,) = targets
    parameters = {entry["name"]: entry["value"] for entry in target["parameters"]}
    if "key" not in parameters:
        raise ShopifyError(f"The staged upload has no parameter `key`, only {', '.join(parameters)}")
    client.upload(target["url"], parameters, path)
    return parameters["key"]


def _results(client: ShopifyClient, operation: Operation, first: int, count: int) -> Iterator[BulkLine]:
    """Yields what became of the lines `first` to `first + count - 1`, which were 0 to `count - 1` of the upload."""
    seen, why = bytearray(count), operation.ended_as
    url = operation.url or operation.partial_url
    try:
        for text in client.lines(url) if url else ():
            row = parse_line(text)
            number = row.pop("__lineNumber", None)
            if not isinstance(number, int) or not 0 <= number < count:
                raise ShopifyError(
                    f"the result of {operation.id} names line {number} of {count}: {text[:80]}", code="BULK_RESULT"
                )
            if not seen[number]:
                seen[number] = 1
                yield _line(first + number, row)
    except ShopifyError as error:
        # What is left has no result; that it is asked for again does no harm, unlike losing what was reported.
        why = f"{why}; {error}"
        log.warning("%s", why)
    for number in range(count):
        if not seen[number]:
            yield BulkLine(first + number, None, (), f"no result: {why}")


def _line(number: int, row: Mapping[str, Any]) -> BulkLine:
    data, errors = row.get("data"), row.get("errors") or []
    payloads = [payload for payload in (data or {}).values() if payload is not None]
    user_errors = tuple(error for payload in payloads for error in payload.get("userErrors") or ())
    problem = None
    if errors or not payloads:
        texts = [str(error.get("message", error)) if isinstance(error, dict) else str(error) for error in errors]
        problem = "; ".join(texts) or "no data"
    return BulkLine(number, data, user_errors, problem)
