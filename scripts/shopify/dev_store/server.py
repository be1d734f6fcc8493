"""The addresses of the local shop: both APIs, grants, uploads, downloads of bulk results, and the storefront page."""

import json
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from flask import Flask, Response, request
from werkzeug.exceptions import HTTPException

from scripts.shopify.dev_store import bulk, page, staged
from scripts.shopify.dev_store.access import SUPPORTED_VERSIONS, served_version
from scripts.shopify.dev_store.admin import BAD_REQUEST, Reply, Request, answer_admin, plain_fault, read_body
from scripts.shopify.dev_store.connection import DROP, ConnectionDropped
from scripts.shopify.dev_store.strict_json import read_json
from scripts.shopify.dev_store.wording import nested_too_deeply

if TYPE_CHECKING:
    from scripts.shopify.dev_store import DevStore

MAX_BODY = staged.MAX_UPLOAD + 5_000_000
"""Bytes of a request at most: a staged upload and its form."""
_BLOCK = 65536
_NOT_FOUND = Reply({"errors": "Not Found"}, 404)


def create_app(store: "DevStore") -> Flask:
    """Builds the WSGI application of a shop.

    Args:
        store: The shop that answers.

    Returns:
        A Flask application that answers only where it is addressed as 127.0.0.1 or localhost.
    """
    app = Flask(__name__, static_folder=None)
    app.config["MAX_CONTENT_LENGTH"] = MAX_BODY
    app.before_request(_refuse_other_hosts)
    app.register_error_handler(Exception, lambda error: _on_error(store, error))

    @app.post("/admin/api/<version>/graphql.json")
    @app.post("/admin/api/graphql.json")
    def admin(version: str = SUPPORTED_VERSIONS[0]) -> Response:
        return _graphql(store, version)

    @app.post("/api/<version>/graphql.json")
    @app.post("/api/graphql.json")
    def storefront(version: str = SUPPORTED_VERSIONS[0]) -> Response:
        return _storefront(store, version)

    @app.post("/admin/oauth/access_token")
    def grant() -> Response:
        fault = _fault(store, "grant")
        reply = plain_fault(fault, store.url)
        if reply is None:
            form = _json_body() if request.is_json else request.form
            status, document = store.access.grant(form if hasattr(form, "get") else {})
            reply = Reply(document, status, drop=fault == "drop after")
        store.record(Request("oauth", "grant", status=0 if reply.drop else reply.status, fault=fault))
        return _send(reply)

    @app.post("/staged")
    def upload() -> Response:
        fault = _fault(store, "upload")
        reply = plain_fault(fault, store.url)
        if reply is None:
            status, text = staged.receive(store, request.form, request.files.get("file"))
            reply = Reply(text, status, drop=fault == "drop after")
        store.record(Request("staged", status=0 if reply.drop else reply.status, fault=fault))
        return _send(reply)

    @app.get("/bulk/<int:number>.jsonl")
    def bulk_result(number: int) -> Response:
        fault = _fault(store, "download")
        reply = plain_fault(fault, store.url)
        lines = None if reply else bulk.result_lines(store, number, request.args.get("partial") is not None)
        if lines is None:
            reply = reply or _NOT_FOUND
        store.record(Request("bulk", status=reply.status if reply else 200, fault=fault))
        if reply or lines is None:
            return _send(reply or _NOT_FOUND)
        return Response(_blocks(lines, cut=fault == "cut"), mimetype="application/jsonl")

    page.register(app, store)
    return app


def _refuse_other_hosts() -> Response | None:
    """A page of another site whose name points at this machine must not reach the shop (DNS rebinding)."""
    if request.host.rpartition(":")[0] in ("127.0.0.1", "localhost") or request.host in ("127.0.0.1", "localhost"):
        return None
    return _send(Reply({"errors": "Call this shop by http://127.0.0.1 or http://localhost"}, 403))


def _on_error(store: "DevStore", error: Exception) -> Any:
    if isinstance(error, HTTPException):
        return _send(Reply({"errors": error.name}, error.code or 500))
    if isinstance(error, RecursionError):
        return _send(Reply({"errors": [nested_too_deeply()]}))
    store.crashed(error, request.path)
    return _send(Reply({"errors": "Internal Server Error"}, 500))


def _fault(store: "DevStore", kind: str, token: str | None = None) -> str | None:
    """Draws the fault of a request, and waits if it is slow."""
    fault = store.faults.next(kind, granted=token is None or store.access.is_granted(token))
    if fault == "slow":
        time.sleep(store.faults.slow_seconds)
    return fault


def _json_body() -> Any:
    """Returns the JSON that was sent; None where it is none that can be used."""
    try:
        return read_json(request.get_data())
    except ValueError:
        return None


def _graphql(store: "DevStore", asked: str) -> Response:
    token = request.headers.get("X-Shopify-Access-Token")
    fault = _fault(store, "graphql", token or "")
    served = served_version(asked)
    if served is None:
        store.record(Request("admin", status=404, fault=fault))
        return _send(_NOT_FOUND)
    reply = answer_admin(store, token, _json_body(), fault)
    return _send(reply, {"X-Shopify-API-Version": served})


def _storefront(store: "DevStore", asked: str) -> Response:
    served = served_version(asked)
    scopes = store.access.storefront_scopes(request.headers.get("X-Shopify-Storefront-Access-Token"))
    prepared, variables = read_body("storefront", _json_body())
    if served is None:
        reply = _NOT_FOUND
    elif scopes is None:
        reply = Reply({"errors": [{"message": "", "extensions": {"code": "UNAUTHORIZED"}}]}, 401)
    elif prepared is None:
        reply = BAD_REQUEST
    else:
        reply = Reply(store.carry_out(prepared, variables, "storefront", scopes))
    name = prepared.name if prepared else ""
    store.record(Request("storefront", name, variables, reply.status))
    return _send(reply, {"X-Shopify-API-Version": served} if served else {})


def _blocks(lines: Iterator[str], cut: bool) -> Iterator[bytes]:
    """Joins lines to blocks; a cut download breaks off in the middle of the first one."""
    waiting: list[str] = []
    size = 0
    for line in lines:
        waiting.append(line if line.endswith("\n") else line + "\n")
        size += len(line)
        if size >= _BLOCK:
            if cut:
                break
            yield "".join(waiting).encode()
            waiting, size = [], 0
    rest = "".join(waiting).encode()
    yield rest[: len(rest) // 2] if cut else rest
    if cut:
        raise ConnectionDropped("cut on demand")


def _send(reply: Reply, headers: dict[str, str] | None = None) -> Response:
    if reply.drop:
        request.environ[DROP] = True
    if isinstance(reply.document, str):
        text, kind = reply.document, "text/html" if reply.document.startswith("<") else "text/plain"
    else:
        text, kind = json.dumps(reply.document, separators=(",", ":")), "application/json"
    return Response(text, reply.status, {**(headers or {}), **reply.headers}, mimetype=kind)
