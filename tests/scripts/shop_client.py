"""Clients of the local shop, for the tests of the client."""

import json

import numpy as np

from scripts.shopify.client import ShopifyClient
from scripts.shopify.documents import load
from scripts.shopify.settings import Settings


def make_client(store, fake_time, grant=False, attempts=4, **changes):
    """A client whose waits take no time, with a static token or with client credentials."""
    granted = {"client_id": store.client_id, "client_secret": store.client_secret}
    credentials = granted if grant else {"access_token": store.access_token}
    settings = Settings(store_url=store.url, **{**credentials, **changes})
    rng = np.random.default_rng(7)
    return ShopifyClient(settings, sleep=fake_time.sleep, clock=fake_time.clock, rng=rng, attempts=attempts)


def add_products(store, count, **fields):
    """Puts products p0, p1, ... into the shop; returns their GIDs."""
    gids = []
    for number in range(count):
        product = {"handle": f"p{number}", "title": f"P {number}", **fields}
        variables = {"identifier": {"handle": product["handle"]}, "input": product}
        payload = store.execute(load("product_set").tree, variables)["data"]["productSet"]
        assert not payload["userErrors"]
        gids.append(payload["product"]["id"])
    return gids


def add_collection(store, handle):
    """Puts a collection into the shop; returns its GID."""
    variables = {"collection": {"title": handle.title(), "handle": handle}}
    payload = store.execute(load("collection_create").tree, variables)["data"]["collectionCreate"]
    assert not payload["userErrors"]
    return payload["collection"]["id"]


def requests_of(store, *apis):
    """The requests to these: `admin`, `oauth` (grants), `staged` (uploads), `bulk` (downloads)."""
    return [request for request in store.requests if request.api in apis]


def echo(client, errors):
    """Makes these the `errors` of the server's next answer."""

    def replace(response, **_):
        client._session.hooks["response"].remove(replace)
        response._content = json.dumps({"errors": errors}).encode()

    client._session.hooks["response"].append(replace)
