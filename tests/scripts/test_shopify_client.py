import json
import logging
import traceback
from urllib.parse import quote

import numpy as np
import pytest
from pydantic import ValidationError

from scripts.shopify.answers import ShopifyError
from scripts.shopify.client import ShopifyClient
from scripts.shopify.documents import QUERIES, load
from scripts.shopify.settings import Settings, SettingsError

TOYS = {"collection": {"title": "Toys", "handle": "toys"}}


@pytest.fixture
def connect(store, fake_time):
    """Makes clients of the store with a static token, or with client credentials."""
    clients = []

    def connect(grant=False, attempts=4, **changes):
        granted = {"client_id": store.client_id, "client_secret": store.client_secret}
        credentials = granted if grant else {"access_token": store.access_token}
        settings = Settings(store_url=store.url, **{**credentials, **changes})
        rng = np.random.default_rng(7)
        client = ShopifyClient(settings, sleep=fake_time.sleep, clock=fake_time.clock, rng=rng, attempts=attempts)
        clients.append(client)
        return client

    yield connect
    for client in clients:
        client.close()


def operations(store, name):
    """Requests for this operation, in order; grants are named `grant`."""
    return [request for request in store.requests if (request.operation or request.api) == name]


def grants(store):
    return [request for request in store.requests if request.api == "oauth"]


def add_products(store, count):
    for number in range(count):
        handle = f"p{number}"
        variables = {"identifier": {"handle": handle}, "input": {"handle": handle, "title": f"P {number}"}}
        assert not store.execute(load("product_set").tree, variables)["data"]["productSet"]["userErrors"]


def collections(store):
    return [collection["handle"] for collection in store.state.scan("Collection")]


def echo(client, text):
    """Makes the server's next answer an error that repeats `text`."""

    def replace(response, **_):
        client._session.hooks["response"].remove(replace)
        response._content = json.dumps({"errors": text}).encode()

    client._session.hooks["response"].append(replace)


def test_settings_normalise_the_shop():
    for text in ("my-shop.myshopify.com", "https://my-shop.myshopify.com", " HTTPS://My-Shop.myshopify.com/ "):
        settings = Settings.from_environment({"SHOPIFY_STORE_URL": text, "SHOPIFY_ACCESS_TOKEN": "shpat_1"})
        assert (settings.store_url, settings.api_version, settings.is_local) == (
            "https://my-shop.myshopify.com",
            "2026-10",
            False,
        )
    local = Settings(store_url="http://localhost:8080/", access_token="x")
    assert (local.store_url, local.is_local) == ("http://localhost:8080", True)


@pytest.mark.parametrize(
    "url",
    [
        "http://my-shop.myshopify.com",  # the token would travel in clear text
        "evil.com",
        "my-shop.myshopify.com.evil.com",
        "my-shop.myshopify.com@evil.com",
        "https://evil.com/my-shop.myshopify.com",
        "https://my-shop.myshopify.com/admin",
        "https://my-shop.myshopify.com:8443",
        "http://127.0.0.1.evil.com:80",
        "http://user:password@127.0.0.1:80",
        "http://192.168.0.1:80",
        "http://127.0.0.1:port",
        "https://[",
        "ftp://my-shop.myshopify.com",
    ],
)
def test_settings_refuse_other_hosts(url):
    with pytest.raises(SettingsError, match=r"SHOPIFY_STORE_URL.*should be NAME.myshopify.com"):
        Settings.from_environment({"SHOPIFY_STORE_URL": url, "SHOPIFY_ACCESS_TOKEN": "shpat_1"})


def test_settings_name_everything_missing():
    with pytest.raises(SettingsError, match=r"SHOPIFY_STORE_URL.*SHOPIFY_ACCESS_TOKEN, or .*_ID and .*_SECRET"):
        Settings.from_environment({"SHOPIFY_ACCESS_TOKEN": " "})
    with pytest.raises(SettingsError, match="SHOPIFY_ACCESS_TOKEN, or SHOPIFY_CLIENT_SECRET of"):
        Settings.from_environment({"SHOPIFY_STORE_URL": "a.myshopify.com", "SHOPIFY_CLIENT_ID": "1"})
    with pytest.raises(SettingsError, match=r"SHOPIFY_API_VERSION.*Received: '2026-11'"):
        Settings.from_environment(
            {"SHOPIFY_STORE_URL": "a.myshopify.com", "SHOPIFY_ACCESS_TOKEN": "1", "SHOPIFY_API_VERSION": "2026-11"}
        )
    with pytest.raises(ValidationError, match="`access_token`, or `client_id`"):
        Settings(store_url="a.myshopify.com")


def test_settings_never_show_a_secret():
    env = {
        "SHOPIFY_STORE_URL": "shpat_0a1b2c",  # pasted into the wrong variable
        "SHOPIFY_ACCESS_TOKEN": "shpat_0a1b\n2c",
        "SHOPIFY_CLIENT_ID": "1",
        "SHOPIFY_CLIENT_SECRET": "shpss_ 0a1b2c",
    }
    with pytest.raises(SettingsError) as caught:
        Settings.from_environment(env)
    shown = "".join(traceback.format_exception(caught.value))
    assert "plain ASCII" in shown
    assert "looks like a token" in shown
    assert "0a1b" not in shown
    settings = Settings(store_url="a.myshopify.com", access_token="shpat_1", client_secret="shpss_2")
    assert "shp" not in f"{settings!r}{settings}{settings.model_dump()}".replace("shopify", "")


def test_pages_yield_everything_once(store, connect):
    add_products(store, 23)
    pages = list(connect().pages("products_page", "products", page_size=10))
    assert [len(page) for page in pages] == [10, 10, 3]
    assert [node["handle"] for page in pages for node in page] == [f"p{number}" for number in range(23)]
    cursors = [request.variables["after"] for request in operations(store, "ProductsPage")]
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


@pytest.mark.parametrize("plan", ["standard", "advanced"])
def test_requests_in_a_row_are_never_throttled(store, connect, fake_time, plan):
    store.set_plan(plan)
    client = connect()
    for number in range(150):
        client.execute("products_page", {"first": 100, "after": None})
        client.execute("product_by_handle", {"handle": f"p{number}", "withPublication": False})
        fake_time.now += 0.1
    assert len(store.requests) == 300
    assert not any(request.throttled for request in store.requests)
    # The bucket did run dry: the waits are what it lacked, and took no longer than what is asked for at its rate.
    actual = sum(request.requested_cost for request in store.requests)
    assert 0 < sum(fake_time.waits) < actual / store.bucket.rate
    assert client.budget.available < store.bucket.capacity / 2


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
    store.faults.script("throttled", "throttled", None)
    connect().execute("collection_create", TOYS)  # a mutation too: nothing was done yet
    assert len(fake_time.waits) == 2
    # The fault leaves the bucket a second short of what was asked for.
    assert all(1.0 <= wait <= 1.0 * 1.25 + 0.25 for wait in fake_time.waits)
    assert collections(store) == ["toys"]


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
    assert connect().execute("access")["shop"]["name"]
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


def test_missing_scopes_are_named(store, connect):
    store.access.set_scopes(("write_products", "read_orders"))
    client = connect()
    assert client.require_scopes("read_products", "write_products").endswith(".myshopify.com")
    with pytest.raises(ShopifyError, match="lacks the access scopes write_orders, read_publications:") as caught:
        client.require_scopes("read_products", "write_orders", "read_orders", "read_publications")
    assert caught.value.code == "SCOPES"


def test_granted_scopes_include_the_read_scopes(store, connect):
    store.access.set_scopes(("write_products", "read_orders"))
    client = connect()
    assert client.scopes == {"write_products", "read_products", "read_orders"}
    assert client.scopes == client.scopes
    assert len(store.requests) == 1  # asked once
    store.access.set_scopes(("write_orders",))
    client.require_scopes("read_orders")
    assert client.scopes == {"write_orders", "read_orders"}


def test_granted_token_is_kept_and_renewed_early(store, connect, fake_time):
    client = connect(grant=True)
    client.execute("access")
    fake_time.now += 86399 - 301
    client.execute("access")
    assert len(grants(store)) == 1
    fake_time.now += 2  # less than five minutes before it expires
    client.execute("access")
    assert [request.status for request in grants(store)] == [200, 200]
    assert [request.status for request in operations(store, "Access")] == [200] * 3  # never an expired one


def test_granted_token_is_renewed_on_401(store, connect, fake_time):
    client = connect(grant=True)
    client.execute("access")
    store.faults.script("expired")
    client.execute("collection_create", TOYS)
    assert (len(grants(store)), collections(store), fake_time.waits) == (2, ["toys"], [])
    store.faults.script("expired", None, "expired", "expired", "expired")
    with pytest.raises(ShopifyError, match="does not accept the token"):
        client.execute("access")
    assert len(grants(store)) == 3  # once a request, not for ever


def test_grant_is_repeated_and_refused_clearly(store, connect):
    store.faults.script("500", "drop", "429")
    connect(grant=True).execute("access")
    assert [request.status for request in grants(store)] == [500, 0, 429, 200]
    store.faults.script("404")
    with pytest.raises(ShopifyError, match="granted no token for client id .*: HTTP 404"):
        connect(grant=True).execute("access")
    with pytest.raises(
        ShopifyError, match=f"granted no token for client id {store.client_id}: HTTP 400 invalid_client"
    ) as caught:
        connect(grant=True, client_secret="shpss_wrong-one").execute("access")
    assert caught.value.code == "UNAUTHORIZED"
    assert "wrong-one" not in str(caught.value)


def test_redirect_is_not_followed_with_the_token(store, connect):
    store.faults.script("redirect")
    client, sent = connect(), []
    client._session.hooks["response"].append(lambda response, **_: sent.append(response.request.url))
    with pytest.raises(ShopifyError):
        client.execute("access")
    assert sent == [f"{store.url}/admin/api/2026-10/graphql.json"]


def test_storage_gets_no_token(store, connect, tmp_path):
    client, headers = connect(grant=True), []
    client.execute("access")
    client._session.hooks["response"].append(lambda response, **_: headers.append(dict(response.request.headers)))
    (tmp_path / "some.jsonl").write_text("{}\n")
    for ask in (
        lambda: client.upload(f"{store.url}/staged", {"key": "unknown"}, tmp_path / "some.jsonl"),
        lambda: list(client.lines(f"{store.url}/bulk/1.jsonl")),
    ):
        with pytest.raises(ShopifyError, match=r"HTTP 40[34]"):
            ask()
    assert len(headers) == 2
    assert not any("token" in name.lower() or name == "Authorization" for sent in headers for name in sent)


@pytest.mark.parametrize("grant", [False, True])
def test_what_the_server_echoes_is_redacted(store, connect, caplog, grant):
    caplog.set_level(logging.INFO)
    client = connect(grant=grant)
    client.execute("access")
    first = client._auth.token.get_secret_value()
    if grant:
        store.faults.script("expired")
        client.execute("access")
    secrets = [first, client._auth.token.get_secret_value(), *([store.client_secret] if grant else [])]
    for secret in secrets:  # the token that was replaced, too
        echo(client, f"Something about {secret} and {quote(secret, safe='')}")
        with pytest.raises(ShopifyError, match=r"Something about \*\*\* and \*\*\*$"):
            client.execute("access")
        echo(client, [{"message": f"About {secret}", "extensions": {"code": "INTERNAL_SERVER_ERROR"}}])
        client.execute("access")
        assert "About ***" in caplog.text
    assert [secret for secret in secrets if secret in caplog.text] == []


@pytest.mark.parametrize("grant", [False, True])
def test_secrets_are_in_no_log_repr_or_exception(store, connect, caplog, grant):
    caplog.set_level(logging.DEBUG)
    client = connect(grant=grant)
    client.execute("access")
    secrets = {store.access_token, store.client_secret, client._auth.token.get_secret_value()}
    shown = [repr(client), str(client), repr(vars(client)), repr(vars(client._transport)), repr(vars(client._auth))]
    for fault in ("string", "drop", "html", "500", "429", "throttled", "denied"):
        store.faults.clear()
        store.faults.script(*[fault] * 4)
        with pytest.raises(ShopifyError) as caught:
            client.execute("access")
        shown.append("".join(traceback.format_exception(caught.value)))
        assert caught.value.__cause__ is None
        assert caught.value.__context__ is None
    shown.append("\n".join(record.getMessage() for record in caplog.records if not record.name.startswith("gql")))
    assert len(shown[-1]) > 100
    assert [secret for secret in secrets for text in shown if secret in text] == []
    # gql logs what the server sends; what is sent to it holds no secret.
    sent = [record.getMessage() for record in caplog.records if record.getMessage().startswith(">>>")]
    assert len(sent) > 7
    assert [secret for secret in secrets for text in sent if secret in text] == []


def test_every_document_holds_one_named_operation():
    names = sorted(path.stem for path in QUERIES.glob("*.graphql"))
    assert {"access", "bulk_operation", "products_page"} <= set(names)
    for name in names:
        camel = "".join(part.title() for part in name.split("_"))
        assert load(name).operation.name.value == camel
    assert {"product_set", "publish", "bulk_cancel"} <= {name for name in names if load(name).is_mutation}
    assert not any(load(name).is_mutation for name in names if name.endswith(("_page", "_count", "_by_handle")))
