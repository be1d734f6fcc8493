"""Bulk operations: queries and mutations that run by themselves and leave their results in a file.

https://shopify.dev/docs/api/usage/bulk-operations/queries and
https://shopify.dev/docs/api/usage/bulk-operations/imports
"""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from scripts.shopify.dev_store.bulk_files import (
    RESULT_SECONDS,
    remove_expired,
    remove_leftovers,
    result_path,
)
from scripts.shopify.dev_store.bulk_operations import RUNNING, carry_out, new_operation, tidy_up
from scripts.shopify.dev_store.bulk_rules import mutation_problems, query_problems, user_errors
from scripts.shopify.dev_store.bulk_work import mutation_batches, query_batches
from scripts.shopify.dev_store.bulk_worker import ON_FIRST_USE, Worker, close_worker, worker_of
from scripts.shopify.dev_store.metaobjects import delete_in_batches
from scripts.shopify.dev_store.pagination import Listed, page
from scripts.shopify.dev_store.registry import Context, node_loader, resolver
from scripts.shopify.dev_store.search import Field, compile_search
from scripts.shopify.dev_store.staged import uploaded_file
from scripts.shopify.dev_store.state import gid, split_gid
from scripts.shopify.dev_store.times import parse_time

if TYPE_CHECKING:
    from scripts.shopify.dev_store import DevStore

AT_A_TIME: Final = 5
"""Operations of one type that run at the same time at most."""
POLL_SECONDS: Final = 0.1
"""Real seconds for which the answer to a poll may wait for the end; a client on a fake clock would spin without."""
_SEARCHED = {
    "status": Field(lambda operation: operation["status"]),
    "operation_type": Field(lambda operation: operation["type"]),
    "created_at": Field(lambda operation: operation["createdAt"], "time"),
    "completed_at": Field(lambda operation: operation["completedAt"], "time"),
    "id": Field(lambda operation: operation["id"], "number"),
}

Json = dict[str, Any]

__all__ = ["close", "result_lines"]


def close(store: "DevStore") -> None:
    """Stops the bulk operations of a store; to be called before its state is closed."""
    close_worker(store, last=lambda folder: remove_leftovers(store.state, folder, store.clock()))


def _look_after(store: "DevStore", worker: Worker) -> None:
    """Ends the operations that an earlier process left running, and takes up its jobs again."""
    tidy_up(store.state, worker.folder, store.clock())
    remove_leftovers(store.state, worker.folder, store.clock())
    for job in list(store.state.scan("Job")):
        if not job["done"]:
            worker.submit(job["id"], delete_in_batches(store.state, job["id"]))


ON_FIRST_USE.append(_look_after)


@resolver("Mutation", "bulkOperationRunQuery")
def run_query(source: Any, info: Any, query: str, groupObjects: bool) -> Json:
    """Starts a bulk query, or says why not."""
    context: Context = info.context
    worker = worker_of(context.store)
    problems = query_problems(info.schema, query) or _in_progress(context, "QUERY", "query")
    if problems:
        return {"bulkOperation": None, "userErrors": user_errors(problems)}
    operation = new_operation(context.state, "QUERY", query, context.now())
    number = split_gid(operation["id"])[1]
    batches = query_batches(context, query, groupObjects, seed=number)
    fails = context.store.faults.take_bulk_failure()
    _start(context, worker, operation, batches, fails=fails, cut=fails)
    return {"bulkOperation": operation, "userErrors": []}


@resolver("Mutation", "bulkOperationRunMutation")
def run_mutation(
    source: Any, info: Any, mutation: str, stagedUploadPath: str, clientIdentifier: str | None = None
) -> Json:
    """Starts a bulk mutation, or says why not."""
    context: Context = info.context
    worker = worker_of(context.store)
    upload, path = uploaded_file(context.store, stagedUploadPath) or (None, None)
    problems = mutation_problems(info.schema, mutation) or _file_problems(path)
    problems = problems or _in_progress(context, "MUTATION", "mutation")
    if problems or path is None:
        return {"bulkOperation": None, "userErrors": user_errors(problems)}
    operation = new_operation(context.state, "MUTATION", mutation, context.now(), upload)
    fails = context.store.faults.take_bulk_failure()
    batches = mutation_batches(context.store, context.scopes, mutation, path, _half_of(path) if fails else None)
    _start(context, worker, operation, batches, fails=fails)
    return {"bulkOperation": operation, "userErrors": []}


def _start(context: Context, worker: Worker, operation: Json, batches: Iterator[Any], **failure: bool) -> None:
    remove_expired(context.state, worker.folder, context.now())
    path = result_path(worker.folder, operation["id"])
    steps = carry_out(context.state, operation["id"], batches, path, context.now, **failure)
    worker.submit(operation["id"], steps)


def _file_problems(path: Path | None) -> list[tuple[None, str, str]]:
    if path is None:
        message = (
            "The JSONL file could not be found. Try uploading the file again, and check that you've entered the URL "
            "correctly for the stagedUploadPath mutation argument."
        )
        return [(None, message, "NO_SUCH_FILE")]
    if path.stat().st_size == 0:
        return [(None, "The input file is empty.", "INVALID_STAGED_UPLOAD_FILE")]
    return []


def _half_of(path: Path) -> int:
    with path.open("rb") as file:
        return sum(1 for line in file if line.strip()) // 2


def _in_progress(context: Context, kind: str, word: str) -> list[tuple[None, str, str]]:
    running = [each["id"] for each in _operations(context) if each["type"] == kind and each["status"] in RUNNING]
    if len(running) < AT_A_TIME:
        return []
    message = f"A bulk {word} operation for this app and shop is already in progress: {', '.join(running)}."
    return [(None, message, "OPERATION_IN_PROGRESS")]


def _operations(context: Context) -> list[Json]:
    return list(context.state.scan("BulkOperation"))


@resolver("Mutation", "bulkOperationCancel")
def cancel(source: Any, info: Any, id: str) -> Json:
    """Asks an operation to stop; what it did stays done."""
    context: Context = info.context
    worker_of(context.store)
    found = context.state.get(id) if "/BulkOperation/" in id else None
    if found is None:
        error = {"field": ["id"], "message": "Bulk operation does not exist"}
        return {"bulkOperation": None, "userErrors": [error]}
    if found["status"] not in RUNNING:
        message = f"A bulk operation cannot be canceled when it is {found['status'].lower()}"
        return {"bulkOperation": found, "userErrors": [{"field": None, "message": message}]}
    found["status"] = "CANCELING"
    context.state.put(found)
    return {"bulkOperation": found, "userErrors": []}


@node_loader("BulkOperation")
def polled(context: Context, id: str) -> Json | None:
    """Returns an operation or a job; while it is at work, after a moment of waiting for its end."""
    worker_of(context.store).wait(id, POLL_SECONDS)
    return context.state.get(id)


@resolver("QueryRoot", "bulkOperation")
def bulk_operation(source: Any, info: Any, id: str) -> Json | None:
    """Returns a bulk operation by its id."""
    return polled(info.context, id) if "/BulkOperation/" in id else None


@resolver("QueryRoot", "bulkOperations")
def bulk_operations(
    source: Any, info: Any, query: str | None = None, sortKey: str = "CREATED_AT", **arguments: Any
) -> Json:
    """Returns a page of the bulk operations."""
    context: Context = info.context
    worker_of(context.store)
    field = "createdAt" if sortKey == "CREATED_AT" else "completedAt"
    found = filter(compile_search(query, _SEARCHED), _operations(context))
    return page(info, Listed(list(found), key=lambda operation: operation[field] or ""), arguments)


@resolver("QueryRoot", "job")
def job(source: Any, info: Any, id: str) -> Json | None:
    """Returns a job by its id."""
    return polled(info.context, id) if "/Job/" in id else None


@resolver("Job", "query")
def job_query(source: Json, info: Any) -> Json:
    """Returns the root of all queries, to be read once the job is done."""
    return {}


@resolver("BulkOperation", "url")
def url(source: Json, info: Any) -> str | None:
    """Returns where the results are; null while it runs, where it did not complete, or found nothing."""
    return _url(info.context, source, "final")


@resolver("BulkOperation", "partialDataUrl")
def partial_url(source: Json, info: Any) -> str | None:
    """Returns where the results are of an operation that did not complete."""
    return _url(info.context, source, "partial")


def _url(context: Context, operation: Json, result: str) -> str | None:
    if operation["result"] != result:
        return None
    number = split_gid(operation["id"])[1]
    return f"{context.store.url}/bulk/{number}.jsonl" + ("?partial=true" if result == "partial" else "")


def result_lines(store: "DevStore", number: int, partial: bool) -> Iterator[str] | None:
    """Returns the results of an operation.

    Args:
        store: The shop.
        number: In the GID of the operation.
        partial: What `partialDataUrl` leads to, instead of `url`.

    Returns:
        The lines of the file, each with its line break, read as they are taken; None if there is no such file, or it
        is older than seven days.
    """
    worker = worker_of(store)
    found = store.state.get(gid("BulkOperation", number)) if number > 0 else None
    if found is None or found["result"] != ("partial" if partial else "final"):
        return None
    path = result_path(worker.folder, found["id"])
    if not path.exists() or store.clock() > parse_time(found["completedAt"]) + RESULT_SECONDS:
        return None
    return _lines(path)


def _lines(path: Path) -> Iterator[str]:
    with path.open(encoding="utf-8", newline="\n") as file:
        yield from file
