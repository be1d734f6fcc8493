import traceback
from contextlib import ExitStack

import pytest
from shop_client import add_products, make_client

from scripts.shopify.answers import ShopifyError
from scripts.shopify.client import ShopifyClient
from scripts.shopify.documents import QUERIES, load

TOYS = {"collection": {"title": "Toys", "handle": "toys"}}


@pytest.fixture
def connect(store, fake_time):
    """Makes clients of the store with a static token, or with client credentials."""
    with ExitStack() as clients:
        yield lambda *args, **changes: clients.enter_context(make_client(store, fake_time, *args, **changes))


def collections(store):
    return [collection["handle"] for collection in store.state.scan("Collection")]


def test_pages_yield_everything_once(store, connect):
    add_products(store, 23)
    pages = list(connect().pages("products_page", "products", page_size=10))
    assert [len(page) for page in pages] == [10, 10, 3]
    assert [node["handle"] for page in pages for node in page] == [f"p{number}" for number in range(23)]
    cursors = [request.variables["after"] for request in store.requests]
    assert (len(cursors), len(set(cursors)), cursors[0]) == (3, 3, None)


def test_page_that_costs_too_much_is_halved(store, connect, monkeypatch):
    add_products(store, 40)
    list(connect().pages("products_page", "products", page_size=25))
    limit = store.requests[-1].requested_cost
    monkeypatch.setattr("scripts.shopify.dev_store.admin.SINGLE_LIMIT", limit)
    store.requests.clear()
    pages = list(connect().pages("products_page", "products"))
    assert [len(page) for page in pages] == [25, 15]
    assert [request.variables["first"] for request in store.requests] == [100, 50, 25, 25]
    monkeypatch.setattr("scripts.shopify.dev_store.admin.SINGLE_LIMIT", 0)
    with pytest.raises(ShopifyError) as caught:
        list(connect().pages("products_page", "products"))
    assert caught.value.code == "MAX_COST_EXCEEDED"


def test_pages_stop_when_the_cursor_stands(connect, monkeypatch):
    answer = {"products": {"nodes": [1], "pageInfo": {"hasNextPage": True, "endCursor": "same"}}}
    monkeypatch.setattr(ShopifyClient, "execute", lambda *_: answer)
    with pytest.raises(ShopifyError, match="'same' does not advance"):
        list(connect().pages("products_page", "products"))
    with pytest.raises(ValueError, match="Received: page_size = 251"):
        list(connect().pages("products_page", "products", page_size=251))


def test_requests_in_a_row_are_never_throttled(store, connect, fake_time):
    store.set_plan("standard")
    store.bucket.drain(200)
    gids = add_products(store, 30)
    client, began = connect(), fake_time.now
    for _ in range(50):
        client.execute("products_page", {"first": 100, "after": None})
        client.execute("products_existing", {"ids": gids})
        fake_time.now += 0.02
    assert len(store.requests) == 100
    assert not any(request.throttled for request in store.requests)
    # The bucket ran dry, and no more was waited for than what the requests may cost takes to refill.
    assert client.budget.available < store.bucket.capacity / 2
    points = sum(request.requested_cost for request in store.requests)
    assert 5 < fake_time.now - began < points / store.bucket.rate


def test_bucket_drained_by_another_client_is_waited_for(store, connect, fake_time):
    store.set_plan("standard")
    client = connect()
    client.execute("products_page", {"first": 100, "after": None})
    store.bucket.drain(0)
    client.execute("products_page", {"first": 100, "after": None})
    assert [request.throttled for request in store.requests] == [False, True, False]
    needed = store.requests[0].requested_cost / store.bucket.rate
    assert needed <= fake_time.waits[0] <= needed * 1.25 + 0.25
    assert len(fake_time.waits) == 1


def test_throttled_waits_for_the_bucket(store, connect, fake_time):
    store.set_plan("standard")
    store.faults.script("throttled", "throttled", None)
    list(connect().pages("products_page", "products", page_size=250))
    assert store.requests[0].requested_cost > 100
    assert len(fake_time.waits) == 2
    # The fault leaves the bucket a second short of what was asked for; the rest is jitter.
    assert all(1.0 <= wait <= 1.0 * 1.25 + 0.25 for wait in fake_time.waits)


def test_throttled_mutation_is_repeated(store, connect, fake_time):
    store.faults.script("throttled")
    connect().execute("collection_create", TOYS)  # nothing was done yet
    assert (collections(store), len(store.requests), len(fake_time.waits)) == (["toys"], 2, 1)


def test_throttled_for_ever_ends(store, connect, fake_time):
    store.faults.script(*["throttled"] * 10)
    with pytest.raises(ShopifyError, match=r"access: Throttled \(after 4 attempts\)") as caught:
        connect().execute("access")
    assert (caught.value.code, len(store.requests), len(fake_time.waits)) == ("THROTTLED", 4, 3)


def test_retry_after_is_honoured(store, connect, fake_time):
    store.faults.script("429", "429")
    connect().execute("collection_create", TOYS)
    assert all(2.0 <= wait <= 2.75 for wait in fake_time.waits)
    assert [request.status for request in store.requests] == [429, 429, 200]
    assert collections(store) == ["toys"]


@pytest.mark.parametrize("fault", ["500", "502", "internal", "drop", "drop after"])
def test_interrupted_request_is_repeated_where_safe(store, connect, fake_time, fault):
    store.faults.script(fault, fault)
    assert connect().execute("access")["shop"]["myshopifyDomain"]
    assert (len(store.requests), len(fake_time.waits)) == (3, 2)
    assert fake_time.waits[1] > fake_time.waits[0] >= 1.0


@pytest.mark.parametrize("fault", ["500", "internal", "drop", "drop after"])
def test_interrupted_mutation_is_not_repeated(store, connect, fake_time, fault):
    store.faults.script(fault)
    with pytest.raises(ShopifyError) as caught:
        connect().execute("collection_create", TOYS)
    assert caught.value.outcome_unknown
    assert (len(store.requests), fake_time.waits) == (1, [])
    assert len(collections(store)) == (fault == "drop after")


@pytest.mark.parametrize("fault", ["500", "internal", "drop", "drop after"])
def test_interrupted_mutation_is_repeated_where_that_is_said_to_be_safe(store, connect, fault):
    store.faults.script(fault)
    variables = {"identifier": {"handle": "hat"}, "input": {"handle": "hat", "title": "Hat"}}
    connect().execute("product_set", variables, repeatable=True)
    assert len(store.requests) == 2
    assert [product["handle"] for product in store.state.scan("Product")] == ["hat"]


def test_interrupted_for_ever_ends(store, connect):
    store.faults.script(*["drop"] * 10)
    with pytest.raises(ShopifyError) as caught:
        connect().execute("access")
    assert (caught.value.code, caught.value.outcome_unknown, len(store.requests)) == ("NO_ANSWER", False, 4)


def test_user_errors_are_raised(connect):
    variables = {"identifier": {"handle": "hat"}, "input": {"handle": "hat", "title": ""}}
    with pytest.raises(ShopifyError, match=r"product_set: input.title: Title can't be blank$") as caught:
        connect().execute("product_set", variables)
    assert caught.value.code == "USER_ERRORS"
    (error,) = caught.value.user_errors
    assert (error["field"], error["message"]) == (["input", "title"], "Title can't be blank")


@pytest.mark.parametrize(
    ("fault", "code", "message"),
    [
        ("denied", "ACCESS_DENIED", r"access: access denied: Access denied .* Needs: `read_"),
        ("string", "ERROR", "access: Something went wrong$"),
        ("old version", "VERSION", "asked for API version 2026-10, served 2026-01"),
        ("html", "ERROR", "Opening soon"),
        ("redirect", "HTTP_301", "HTTP 301"),
        ("404", "HTTP_404", "HTTP 404: Not Found"),
        ("expired", "UNAUTHORIZED", "does not accept the token"),
    ],
)
def test_refusals_are_one_clear_error(store, connect, fault, code, message):
    store.faults.script(fault)
    with pytest.raises(ShopifyError, match=message) as caught:
        connect().execute("access")
    assert (caught.value.code, len(store.requests)) == (code, 1)
    assert store.access_token not in "".join(traceback.format_exception(caught.value))


def test_other_version_than_asked_for_is_refused(connect):
    with pytest.raises(ShopifyError, match="asked for API version 2025-01, served 2026-01") as caught:
        connect(api_version="2025-01").execute("access")
    assert caught.value.code == "VERSION"


def test_every_document_holds_one_named_operation():
    names = sorted(path.stem for path in QUERIES.glob("*.graphql"))
    assert {"access", "bulk_operation", "products_page"} <= set(names)
    for name in names:
        camel = "".join(part.title() for part in name.split("_"))
        assert load(name).operation.name.value == camel
    assert {"product_set", "publish", "bulk_cancel"} <= {name for name in names if load(name).is_mutation}
    assert not any(load(name).is_mutation for name in names if name.endswith(("_page", "_count", "_by_handle")))
