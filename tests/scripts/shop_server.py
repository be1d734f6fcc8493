"""A shop on 127.0.0.1 for the tests: the Admin operations that the commands use, and faults by script.

Answers hold only the fields that a document selects, so code that reads an unselected field fails here as well.
"""

import json
import re
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs

from graphql import FieldNode, InlineFragmentNode, OperationDefinitionNode, parse

STATIC_TOKEN = "shpat_0123456789abcdef-static"
CLIENT_ID, CLIENT_SECRET = "client-id", "shpss_fedcba9876543210-secret"
ONLINE_STORE = "gid://shopify/Publication/7"
VERSION = "2026-10"
ALL_SCOPES = ("write_products", "write_publications", "read_publications")


def error(code: str, message: str, **extensions: Any) -> dict[str, Any]:
    return {"message": message, "extensions": {"code": code, **extensions}}


class Shop:
    """State of the shop; tests read and change it directly.

    `faults` is consumed one entry a request: None is a normal answer, else the name of a fault (see `_fault`).
    """

    def __init__(self, *, scopes: tuple[str, ...] = ALL_SCOPES, online_store: bool = True, max_page: int = 250):
        self.scopes, self.online_store, self.max_page = scopes, online_store, max_page
        self.url = ""
        self.products: dict[str, dict[str, Any]] = {}  # by handle
        self.collections: dict[str, dict[str, Any]] = {}  # by handle
        self.tokens = {STATIC_TOKEN}
        self.grants = 0
        self.expires_in = 86399
        self.requests: list[tuple[str, dict[str, Any]]] = []  # operation, variables
        self.faults: list[str | None] = []
        self.crashes: list[Exception] = []  # raised when the shop closes
        self.user_errors: dict[str, list[dict[str, Any]]] = {}  # by product handle

    def operations(self, *names: str) -> list[dict[str, Any]]:
        """Variables of the requests for these operations, in order."""
        return [variables for operation, variables in self.requests if operation in names]

    def add_collection(self, handle: str, title: str) -> str:
        gid = f"gid://shopify/Collection/{len(self.collections) + 1}"
        self.collections[handle] = {"id": gid, "handle": handle, "title": title, "published": set(), "metafields": []}
        return gid

    def add_product(self, handle: str, title: str, price: str = "0.00", **fields: Any) -> dict[str, Any]:
        product = self.products.setdefault(
            handle,
            {
                "id": f"gid://shopify/Product/{len(self.products) + 1}",
                "handle": handle,
                **{"vendor": "", "productType": "", "status": "ACTIVE", "tags": [], "collections": []},
                "prices": [price],
                "published": set(),
            },
        )
        product.update(title=title, **fields)
        return product

    # Operations, named as in the documents; each returns the whole object, selected from afterwards.

    def Access(self, _: Mapping[str, Any]) -> dict[str, Any]:
        scopes = [{"handle": scope} for scope in self.scopes]
        shop = {"name": "Test", "myshopifyDomain": "test-shop.myshopify.com"}
        return {"shop": shop, "currentAppInstallation": {"accessScopes": scopes}}

    def ProductsPage(self, v: Mapping[str, Any]) -> dict[str, Any]:
        return {"products": self._page(list(self.products.values()), v, self._product)}

    def PublicationsPage(self, v: Mapping[str, Any]) -> dict[str, Any]:
        nodes = [{"id": "gid://shopify/Publication/5", "catalog": None}]
        nodes.append({"id": "gid://shopify/Publication/6", "catalog": {"apps": {"nodes": [{"handle": "pos"}]}}})
        if self.online_store:
            nodes.append({"id": ONLINE_STORE, "catalog": {"apps": {"nodes": [{"handle": "online_store"}]}}})
        return {"publications": self._page(nodes, v, dict)}

    def ProductByHandle(self, v: Mapping[str, Any]) -> dict[str, Any]:
        product = self.products.get(v["handle"])
        return {"productByIdentifier": product and self._product(product)}

    def CollectionByHandle(self, v: Mapping[str, Any]) -> dict[str, Any]:
        found = self.collections.get(v["handle"])
        shown = found and {**found, "publishedOnPublication": ONLINE_STORE in found["published"]}
        return {"collectionByIdentifier": shown}

    def CollectionCreate(self, v: Mapping[str, Any]) -> dict[str, Any]:
        handle, number = v["collection"]["handle"], 0
        while (taken := f"{handle}-{number}" if number else handle) in self.collections:
            number += 1
        self.add_collection(taken, v["collection"]["title"])
        self.collections[taken]["metafields"] = v["collection"].get("metafields", [])
        return {"collectionCreate": {"collection": self.collections[taken], "userErrors": []}}

    def ProductSet(self, v: Mapping[str, Any]) -> dict[str, Any]:
        given, handle = dict(v["input"]), v["identifier"]["handle"]
        assert given.pop("handle") == handle
        if errors := self.user_errors.get(handle):
            return {"productSet": {"product": None, "userErrors": errors}}
        gids = {collection["id"] for collection in self.collections.values()}
        assert set(given["collections"]) <= gids, "unknown collection"
        assert ("variants" in given) == ("productOptions" in given)
        if "variants" in given:
            given["prices"] = [variant["price"] for variant in given.pop("variants")]
            given.pop("productOptions")
        product = self.add_product(handle, **given)
        return {"productSet": {"product": product, "userErrors": []}}

    def Publish(self, v: Mapping[str, Any]) -> dict[str, Any]:
        if v["publicationId"] != ONLINE_STORE:
            message = "Publication does not exist or is not publishable"
            return {"publishablePublish": {"userErrors": [{"field": ["input", "0"], "message": message}]}}
        everything = [*self.products.values(), *self.collections.values()]
        next(item for item in everything if item["id"] == v["id"])["published"].add(v["publicationId"])
        return {"publishablePublish": {"userErrors": []}}

    def _product(self, product: Mapping[str, Any]) -> dict[str, Any]:
        collections = [c for c in self.collections.values() if c["id"] in product["collections"]]
        return {
            **product,
            "collections": {"nodes": collections},
            "variants": {"nodes": [{"price": price} for price in product["prices"]]},
            "priceRangeV2": {"minVariantPrice": {"amount": min(product["prices"], key=float).rstrip("0") + "0"}},
            "publishedOnPublication": ONLINE_STORE in product["published"],
        }

    def _page(self, items: list[Any], v: Mapping[str, Any], shape: Any) -> dict[str, Any]:
        start = int(v["after"].removeprefix("cursor-")) if v["after"] else 0
        stop = start + v["first"]
        info = {"hasNextPage": stop < len(items), "endCursor": f"cursor-{stop}"}
        return {"nodes": [shape(item) for item in items[start:stop]], "pageInfo": info}

    def answer(self, body: Mapping[str, Any]) -> dict[str, Any]:
        """Carries out a GraphQL request."""
        (operation,) = (n for n in parse(body["query"]).definitions if isinstance(n, OperationDefinitionNode))
        variables = body.get("variables", {})
        if variables.get("first", 0) > self.max_page:
            return {
                "errors": [error("MAX_COST_EXCEEDED", "Query cost is 1200, which exceeds the single query max cost")]
            }
        data = getattr(self, operation.name.value)(variables)
        return {"data": _select(data, operation.selection_set, variables)}


def _select(value: Any, selections: Any, variables: Mapping[str, Any]) -> Any:
    if selections is None or value is None:
        return value
    if isinstance(value, list):
        return [_select(item, selections, variables) for item in value]
    chosen: dict[str, Any] = {}
    for node in selections.selections:
        if isinstance(node, InlineFragmentNode):
            chosen |= _select(value, node.selection_set, variables)
        elif isinstance(node, FieldNode) and _included(node, variables):
            chosen[node.name.value] = _select(value[node.name.value], node.selection_set, variables)
    return chosen


def _included(node: FieldNode, variables: Mapping[str, Any]) -> bool:
    """Whether every `@include(if: $variable)` on the field holds."""
    return all(variables[directive.arguments[0].value.name.value] for directive in node.directives or ())


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True  # else each answer waits 40 ms for an acknowledgement
    shop: Shop

    def log_message(self, *_: Any) -> None:
        pass

    def do_POST(self) -> None:
        text = self.rfile.read(int(self.headers["Content-Length"])).decode()
        if self.path == "/admin/oauth/access_token":
            return self._grant({key: values[0] for key, values in parse_qs(text).items()})
        body = json.loads(text)
        name = re.search(r"(?:query|mutation) (\w+)", body["query"])
        self.shop.requests.append((name[1] if name else "", body.get("variables", {})))
        fault = self.shop.faults.pop(0) if self.shop.faults else None
        if fault == "drop":
            return self._drop()
        token = self.headers["X-Shopify-Access-Token"]
        if token not in self.shop.tokens or fault == "expired":
            return self._send(401, {"errors": f"[API] Invalid API key or access token {token} (unrecognized login)"})
        if fault and fault != "drop after":
            return self._fault(fault, token)
        try:
            answer = self.shop.answer(body)
        except Exception as error:  # the server is at fault, or was asked for what it does not have
            self.shop.crashes.append(error)
            return self._send(400, {"errors": repr(error)})
        return self._drop() if fault == "drop after" else self._send(200, answer)

    def _grant(self, form: Mapping[str, str]) -> None:
        self.shop.requests.append(("grant", {"grant_type": form["grant_type"]}))
        if self.shop.faults and self.shop.faults[0] == "grant 500":
            self.shop.faults.pop(0)
            return self._send(500, "<html>Internal error</html>")
        if (form["client_id"], form["client_secret"]) != (CLIENT_ID, CLIENT_SECRET):
            description = f"unknown client or secret {form['client_secret']}"
            return self._send(400, {"error": "invalid_client", "error_description": description})
        self.shop.grants += 1
        token = f"shpat_granted-{self.shop.grants:04d}-fedcba"
        self.shop.tokens.add(token)
        return self._send(200, {"access_token": token, "scope": "", "expires_in": self.shop.expires_in})

    def _fault(self, fault: str, token: str) -> None:
        bucket = {"maximumAvailable": 2000.0, "currentlyAvailable": 8, "restoreRate": 50.0}
        cost = {"requestedQueryCost": 108, "actualQueryCost": None, "throttleStatus": bucket}
        denied = error(
            "ACCESS_DENIED", "Access denied for products field.", requiredAccess="`read_products` access scope."
        )
        answers: dict[str, tuple[int, Any, dict[str, str]]] = {
            "throttled": (200, {"errors": [error("THROTTLED", "Throttled")], "extensions": {"cost": cost}}, {}),
            "internal": (200, {"errors": [error("INTERNAL_SERVER_ERROR", "Internal error. Request ID 1")]}, {}),
            "denied": (200, {"data": {"products": None}, "errors": [denied]}, {}),
            "string": (200, {"errors": f"Something about {token}"}, {}),
            "old version": (200, {"data": {}}, {"X-Shopify-API-Version": "2026-01"}),
            "html": (200, "<html>Opening soon</html>", {}),
            "redirect": (301, "", {"Location": f"{self.shop.url}/elsewhere"}),
            "429": (429, {"errors": "Exceeded 40 calls per second"}, {"Retry-After": "2.0"}),
            "429 html": (429, "<html>Too many</html>", {}),
            "404": (404, {"errors": "Not Found"}, {}),
            "500": (500, "<html>Internal error</html>", {}),
            "502": (502, {"errors": "Bad gateway"}, {}),
        }
        status, answer, headers = answers[fault]
        self._send(status, answer, headers)

    def _drop(self) -> None:
        self.close_connection = True
        self.connection.close()

    def _send(self, status: int, document: Any, headers: Mapping[str, str] | None = None) -> None:
        payload = (document if isinstance(document, str) else json.dumps(document)).encode()
        self.send_response(status)
        versioned = {"X-Shopify-API-Version": VERSION} if "graphql" in self.path else {}
        for name, value in {**versioned, **(headers or {}), "Content-Length": str(len(payload))}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(payload)


@contextmanager
def running(shop: Shop) -> Iterator[Shop]:
    """Serves the shop on a free port of 127.0.0.1."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (_Handler,), {"shop": shop}))
    server.daemon_threads = True
    shop.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    try:
        yield shop
    finally:
        server.shutdown()
        server.server_close()
    if shop.crashes:
        raise shop.crashes[0]
