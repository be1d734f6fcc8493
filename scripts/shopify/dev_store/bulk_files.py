"""Files of bulk operations: what was uploaded for them, and their results; where they are, and when they go."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from scripts.shopify.dev_store.state import State, split_gid
from scripts.shopify.dev_store.times import parse_time

RESULT_SECONDS: Final = 7 * 86_400
"""How long results can be fetched."""
USED_SECONDS: Final = 600
"""How long an upload stays after the mutation that it was for: a client that missed the answer may ask once more."""


def result_path(folder: Path, operation_id: str) -> Path:
    """Returns where the results of an operation are."""
    return folder / f"result-{split_gid(operation_id)[1]}.jsonl"


def upload_path(folder: Path, upload_id: str) -> Path:
    """Returns where the file of a staged upload is."""
    return folder / f"staged-{split_gid(upload_id)[1]}.jsonl"


def remove_expired(state: State, folder: Path, now: float, used_seconds: float = USED_SECONDS) -> None:
    """Removes the results that are too old, and the uploads that are, or whose mutation was completed.

    The upload of a mutation that failed or was canceled stays until it is too old: one may try again.

    Args:
        state: The store's state.
        folder: Of the files.
        now: UNIX seconds on the store's clock.
        used_seconds: How long an upload stays after its mutation.
    """
    used = set()
    for operation in _ended(state):
        ended = parse_time(operation["completedAt"])
        if now > ended + RESULT_SECONDS:
            result_path(folder, operation["id"]).unlink(missing_ok=True)
        if operation["status"] == "COMPLETED" and now >= ended + used_seconds:
            used.add(operation.get("upload"))
    running = {each.get("upload") for each in state.scan("BulkOperation") if each["completedAt"] is None}
    for upload in list(state.scan("StagedUpload")):
        if upload["id"] not in running and (upload["id"] in used or now > upload["expiresAt"]):
            upload_path(folder, upload["id"]).unlink(missing_ok=True)
            state.delete(upload["id"])


def remove_leftovers(state: State, folder: Path, now: float) -> None:
    """Removes, before or after all work, also the uploads that were just used, and those that did not get through."""
    remove_expired(state, folder, now, used_seconds=0)
    for part in folder.glob("*.part"):
        part.unlink(missing_ok=True)


def _ended(state: State) -> Iterator[dict[str, Any]]:
    return (operation for operation in state.scan("BulkOperation") if operation["completedAt"] is not None)
