"""One bulk operation: its document, its file of results, and how it runs to its end."""

import json
import logging
import sqlite3
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, Final

from scripts.shopify.dev_store.bulk_files import result_path
from scripts.shopify.dev_store.state import State
from scripts.shopify.dev_store.times import utc_text

log = logging.getLogger(__name__)

RUNNING: Final = ("CREATED", "RUNNING", "CANCELING")
"""Statuses of an operation that has not ended."""

Json = dict[str, Any]


class AccessDenied(RuntimeError):
    """The operation's document asks for what the token may not."""


@dataclass(frozen=True)
class Batch:
    """Results of one step.

    Attributes:
        lines: JSON objects, one a line of the file.
        roots: How many of them are of the outermost level.
    """

    lines: Sequence[Json]
    roots: int


def new_operation(state: State, kind: str, document: str, now: float, upload: str | None = None) -> Json:
    """Stores a new operation of type QUERY or MUTATION; the latter with the id of its staged upload."""
    fields = {
        "type": kind,
        "status": "CREATED",
        "errorCode": None,
        "query": document,
        "createdAt": utc_text(now),
        "completedAt": None,
        "objectCount": "0",
        "rootObjectCount": "0",
        "fileSize": None,
        "result": None,
        "upload": upload,
    }
    return state.insert("BulkOperation", fields)


def carry_out(
    state: State,
    operation_id: str,
    batches: Iterator[Batch],
    path: Path,
    now: Callable[[], float],
    *,
    fails: bool = False,
    cut: bool = False,
) -> Iterator[None]:
    """Runs an operation, one batch a step, and leaves it COMPLETED, FAILED or CANCELED.

    Args:
        state: The store's state.
        operation_id: GID of the stored operation.
        batches: Does the work; raises `AccessDenied`.
        path: File for the results.
        now: The store's clock.
        fails: Let it end FAILED.
        cut: Keep only the first half of the results.
    """
    objects = roots = 0
    error = None
    if not _update(state, operation_id, status="RUNNING"):
        return
    yield
    with path.open("wb") as out:
        try:
            for batch in batches:
                for line in batch.lines:
                    out.write(json.dumps(line, ensure_ascii=False, separators=(",", ":")).encode() + b"\n")
                out.flush()
                objects, roots = objects + len(batch.lines), roots + batch.roots
                counts = {"objectCount": str(objects), "rootObjectCount": str(roots)}
                if _update(state, operation_id, **counts)["status"] == "CANCELING":
                    break
                yield
        except AccessDenied:
            error = "ACCESS_DENIED"
        except sqlite3.ProgrammingError:  # the shop was closed: the next one on this state finds it RUNNING
            raise
        except Exception:
            log.exception("bulk operation %s failed", operation_id)
            error = "INTERNAL_SERVER_ERROR"
    if cut:
        _keep_lines(path, objects // 2)
    if fails:
        error = error or "INTERNAL_SERVER_ERROR"
    with state.transaction():
        canceled = (state.get(operation_id) or {}).get("status") == "CANCELING"
        status = "CANCELED" if canceled else "FAILED" if error else "COMPLETED"
        end(state, operation_id, status, None if canceled else error, path, now())


def end(state: State, operation_id: str, status: str, error: str | None, path: Path, now: float) -> None:
    """Stores how an operation ended.

    Args:
        state: The store's state.
        operation_id: GID of the operation.
        status: COMPLETED, FAILED or CANCELED.
        error: Error code of a failed one.
        path: File of its results, if there is one.
        now: UNIX seconds.
    """
    size = path.stat().st_size if path.exists() else 0
    result = None if size == 0 else "final" if status == "COMPLETED" else "partial"
    _update(
        state,
        operation_id,
        status=status,
        errorCode=error,
        completedAt=utc_text(now),
        fileSize=str(size) if size else None,
        result=result,
    )


def _update(state: State, operation_id: str, **changes: Any) -> Json:
    """Changes an operation; a cancellation that came meanwhile is not taken back. Returns {} where it is gone."""
    with state.transaction():
        found = state.get(operation_id)
        if found is None:
            return {}
        if found["status"] == "CANCELING" and changes.get("status") == "RUNNING":
            changes.pop("status")
        found.update(changes)
        state.put(found)
        return found


def _keep_lines(path: Path, count: int) -> None:
    """Cuts a file down to its first lines."""
    with path.open("rb+") as file:
        size = sum(len(line) for line in islice(file, count))
        file.truncate(size)


def tidy_up(state: State, folder: Path, now: float) -> None:
    """Ends what an earlier process left running, as Shopify would after a crash of its own."""
    for found in list(state.scan("BulkOperation")):
        if found["status"] in RUNNING:
            canceled = found["status"] == "CANCELING"
            status, error = ("CANCELED", None) if canceled else ("FAILED", "INTERNAL_SERVER_ERROR")
            end(state, found["id"], status, error, result_path(folder, found["id"]), now)
