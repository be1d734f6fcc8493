"""Requests to the local shop on a bare connection, so that tests see what a client sees."""

import http.client
import json
from typing import Any

from scripts.shopify.dev_store import DevStore

ADMIN = "/admin/api/2026-10/graphql.json"


def send(store: DevStore, path: str, body: Any, **headers: str) -> tuple[int, dict[str, str], Any]:
    """Posts JSON on a connection of its own; returns status, headers and JSON."""
    connection = http.client.HTTPConnection("127.0.0.1", int(store.url.rpartition(":")[2]), timeout=10)
    text = body if isinstance(body, str) else json.dumps(body)
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    connection.request("POST", path, text, {"Content-Type": "application/json", **named})
    answer = connection.getresponse()
    status, received, document = answer.status, dict(answer.headers), json.loads(answer.read())
    connection.close()
    return status, received, document


def ask(store: DevStore, query: str, variables: Any = None, path: str = ADMIN, token: str | None = None) -> Any:
    """Sends an Admin API document; returns status, headers and JSON."""
    body = {"query": query, "variables": variables or {}}
    return send(store, path, body, X_Shopify_Access_Token=token or store.access_token)
