"""Staged uploads: where the file of a bulk mutation goes before the mutation runs.

https://shopify.dev/docs/api/admin-graphql/latest/mutations/stagedUploadsCreate
"""

import hmac
import re
import secrets
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Protocol
from xml.sax.saxutils import escape

from scripts.shopify.dev_store.bulk_files import remove_expired, upload_path
from scripts.shopify.dev_store.bulk_worker import worker_of
from scripts.shopify.dev_store.registry import Context, resolver

if TYPE_CHECKING:
    from scripts.shopify.dev_store import DevStore

MAX_UPLOAD: Final = 100_000_000
"""Bytes of a file at most."""
SECONDS: Final = 86_400
"""How long a target can be used."""
_CHUNK: Final = 1 << 20

Json = dict[str, Any]


class Readable(Protocol):
    """A file that was uploaded."""

    def read(self, size: int, /) -> bytes:
        """Returns the next bytes, at most `size`."""
        ...


@resolver("Mutation", "stagedUploadsCreate")
def create_targets(source: Any, info: Any, input: list[Json]) -> Json:
    """Makes one target for each file, with the parameters that must come with it."""
    context: Context = info.context
    errors = [
        {"field": ["input", str(index), "httpMethod"], "message": "Only POST is supported by this shop"}
        for index, given in enumerate(input)
        if given["httpMethod"] != "POST"
    ]
    if errors:
        return {"stagedTargets": None, "userErrors": errors}
    remove_expired(context.state, worker_of(context.store).folder, context.now())
    return {"stagedTargets": [_target(context, given) for given in input], "userErrors": []}


def _target(context: Context, given: Json) -> Json:
    name = re.sub(r"[^A-Za-z0-9._-]", "_", given["filename"])
    parameters = {
        "Content-Type": given["mimeType"],
        "success_action_status": "201",
        "acl": "private",
        "key": f"tmp/1/bulk/{secrets.token_hex(16)}/{name}",
        "x-goog-signature": secrets.token_hex(32),
    }
    fields = {"parameters": parameters, "expiresAt": context.now() + SECONDS, "size": None}
    context.state.insert("StagedUpload", fields, parameters["key"])
    return {
        "url": f"{context.store.url}/staged",
        "resourceUrl": None,
        "parameters": [{"name": name, "value": value} for name, value in parameters.items()],
    }


def receive(store: "DevStore", form: Mapping[str, str], file: Readable | None) -> tuple[int, str]:
    """Takes an uploaded file, as the storage service behind Shopify's staged uploads does.

    Args:
        store: The shop.
        form: The parameters that came before the file.
        file: The file; None if there was none.

    Returns:
        HTTP status and XML body.
    """
    found = store.state.find("StagedUpload", form.get("key", ""))
    if found is None:
        return _error(403, "AccessDenied", "There is no staged upload with this key.")
    if file is None:
        return _error(400, "InvalidArgument", "POST requires exactly one file upload per request.")
    for name, value in found["parameters"].items():
        if not hmac.compare_digest(form.get(name, "").encode(), value.encode()):
            return _error(403, "AccessDenied", f"The parameter {name} should be as stagedUploadsCreate gave it.")
    if store.clock() > found["expiresAt"]:
        return _error(400, "ExpiredToken", "The staged upload has expired.")
    path, size = upload_path(worker_of(store).folder, found["id"]), 0
    partial = path.with_suffix(f".{secrets.token_hex(4)}.part")
    try:
        with partial.open("wb") as out:
            while chunk := file.read(_CHUNK):
                size += len(chunk)
                if size > MAX_UPLOAD:
                    return _error(400, "EntityTooLarge", f"The file is larger than {MAX_UPLOAD} bytes.")
                out.write(chunk)
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)
    store.state.put({**found, "size": size})
    key = escape(form["key"])
    return 201, f"<?xml version='1.0' encoding='UTF-8'?><PostResponse><Key>{key}</Key></PostResponse>"


def uploaded_file(store: "DevStore", key: str) -> tuple[str, Path] | None:
    """Returns the id of a staged upload and its file; None where nothing was uploaded under that key."""
    found = store.state.find("StagedUpload", key)
    if found is None or found["size"] is None:
        return None
    path = upload_path(worker_of(store).folder, found["id"])
    return (found["id"], path) if path.exists() else None


def _error(status: int, code: str, message: str) -> tuple[int, str]:
    body = f"<?xml version='1.0' encoding='UTF-8'?><Error><Code>{code}</Code><Message>{message}</Message></Error>"
    return status, body
