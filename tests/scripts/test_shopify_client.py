import logging
import traceback

import numpy as np
import pytest
from pydantic import ValidationError
from shop_server import CLIENT_ID, CLIENT_SECRET, STATIC_TOKEN, Shop, running

from scripts.shopify.client import QUERIES, ShopifyClient, ShopifyError
from scripts.shopify.settings import Settings, SettingsError


class FakeTime:
    """Sleeping advances the clock and takes no time."""

    def __init__(self):
        self.now, self.waits = 1000.0, []

    def sleep(self, seconds):
        self.waits.append(seconds)
        self.now += seconds

    def clock(self):
        return self.now


@pytest.fixture
def shop():
    with running(Shop()) as shop:
        yield shop


@pytest.fixture
def time():
    return FakeTime()


@pytest.fixture
def connect(shop, time):
    """Makes clients of the shop with a static token, or with client credentials."""
    clients = []

    def connect(grant=False, attempts=4, **changes):
        credentials = {"client_id": CLIENT_ID, "client_secret": CLIENT_SECRET}
        settings = Settings(
            store_url=shop.url, **({**(credentials if grant else {"access_token": STATIC_TOKEN}), **changes})
        )
        rng = np.random.default_rng(7)
        client = ShopifyClient(settings, sleep=time.sleep, clock=time.clock, rng=rng, attempts=attempts)
        clients.append(client)
        return client

    yield connect
    for client in clients:
        client.close()


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


def test_pages_yield_everything_once(shop, connect):
    for number in range(23):
        shop.add_product(f"p{number}", f"P {number}")
    pages = list(connect().pages("products_page", "products", page_size=10))
    assert [len(page) for page in pages] == [10, 10, 3]
    assert [node["handle"] for page in pages for node in page] == [f"p{number}" for number in range(23)]
    assert [v["after"] for v in shop.operations("ProductsPage")] == [None, "cursor-10", "cursor-20"]


def test_page_that_costs_too_much_is_halved(shop, connect):
    shop.max_page = 30
    for number in range(40):
        shop.add_product(f"p{number}", f"P {number}")
    pages = list(connect().pages("products_page", "products"))
    assert [len(page) for page in pages] == [25, 15]
    assert [v["first"] for v in shop.operations("ProductsPage")] == [100, 50, 25, 25]
    shop.max_page = 0
    with pytest.raises(ShopifyError) as caught:
        list(connect().pages("products_page", "products"))
    assert caught.value.code == "MAX_COST_EXCEEDED"


def test_pages_stop_when_the_cursor_stands(shop, connect, monkeypatch):
    answer = {"products": {"nodes": [1], "pageInfo": {"hasNextPage": True, "endCursor": "same"}}}
    monkeypatch.setattr(ShopifyClient, "execute", lambda *_: answer)
    with pytest.raises(ShopifyError, match="'same' does not advance"):
        list(connect().pages("products_page", "products"))
    with pytest.raises(ValueError, match="Received: page_size = 251"):
        list(connect().pages("products_page", "products", page_size=251))


def test_throttled_waits_for_the_bucket(shop, connect, time):
    shop.faults = ["throttled", "throttled", None]
    variables = {"collection": {"title": "Toys", "handle": "toys"}}
    connect().execute("collection_create", variables)  # a mutation too: nothing was done yet
    assert len(time.waits) == 2
    assert all(2.0 <= wait <= 2.0 * 1.25 + 0.25 for wait in time.waits)  # (108 - 8) / 50, and jitter
    assert list(shop.collections) == ["toys"]


def test_throttled_for_ever_ends(shop, connect, time):
    shop.faults = ["throttled"] * 10
    with pytest.raises(ShopifyError, match=r"access: Throttled \(after 4 attempts\)") as caught:
        connect().execute("access")
    assert (caught.value.code, len(shop.requests), len(time.waits)) == ("THROTTLED", 4, 3)


def test_retry_after_is_honoured(shop, connect, time):
    shop.faults = ["429", "429 html"]
    connect().execute("collection_create", {"collection": {"title": "Toys", "handle": "toys"}})
    assert 2.0 <= time.waits[0] <= 2.75
    assert len(shop.requests) == 3


@pytest.mark.parametrize("fault", ["500", "502", "internal", "drop", "drop after"])
def test_interrupted_request_is_repeated_where_safe(shop, connect, time, fault):
    shop.faults = [fault, fault]
    assert connect().execute("access")["shop"]["name"] == "Test"
    assert (len(shop.requests), len(time.waits)) == (3, 2)
    assert time.waits[1] > time.waits[0] >= 1.0


@pytest.mark.parametrize("fault", ["500", "internal", "drop", "drop after"])
def test_interrupted_mutation_is_not_repeated(shop, connect, time, fault):
    shop.faults = [fault]
    with pytest.raises(ShopifyError) as caught:
        connect().execute("collection_create", {"collection": {"title": "Toys", "handle": "toys"}})
    assert caught.value.outcome_unknown
    assert (len(shop.requests), time.waits) == (1, [])
    assert len(shop.collections) == (fault == "drop after")


def test_interrupted_for_ever_ends(shop, connect):
    shop.faults = ["drop"] * 10
    with pytest.raises(ShopifyError) as caught:
        connect().execute("access")
    assert (caught.value.code, caught.value.outcome_unknown, len(shop.requests)) == ("NO_ANSWER", False, 4)


def test_user_errors_are_raised(shop, connect):
    shop.user_errors["hat"] = [
        {"field": ["input", "title"], "message": "Title can't be blank", "code": "INVALID_PRODUCT"}
    ]
    variables = {"identifier": {"handle": "hat"}, "input": {"handle": "hat", "title": ""}}
    with pytest.raises(ShopifyError, match=r"product_set: input.title: Title can't be blank$") as caught:
        connect().execute("product_set", variables)
    assert caught.value.code == "USER_ERRORS"
    assert caught.value.user_errors == tuple(shop.user_errors["hat"])


@pytest.mark.parametrize(
    ("fault", "code", "message"),
    [
        ("denied", "ACCESS_DENIED", "access denied: Access denied for products field. Needs: `read_products`"),
        ("string", "ERROR", "Something about"),
        ("old version", "VERSION", "asked for API version 2026-10, served 2026-01"),
        ("html", "ERROR", "Opening soon"),
        ("redirect", "HTTP_301", "HTTP 301"),
        ("404", "HTTP_404", "HTTP 404: Not Found"),
        ("expired", "UNAUTHORIZED", "does not accept the token"),
    ],
)
def test_refusals_are_one_clear_error(shop, connect, fault, code, message):
    shop.faults = [fault]
    with pytest.raises(ShopifyError, match=message) as caught:
        connect().execute("access")
    assert (caught.value.code, len(shop.requests)) == (code, 1)
    assert STATIC_TOKEN not in "".join(traceback.format_exception(caught.value))


def test_missing_scopes_are_named(shop, connect):
    shop.scopes = ("write_products", "read_orders")
    assert connect().require_scopes("read_products", "write_products") == "test-shop.myshopify.com"
    with pytest.raises(ShopifyError, match="lacks the access scopes write_orders, read_publications:") as caught:
        connect().require_scopes("read_products", "write_orders", "read_orders", "read_publications")
    assert caught.value.code == "SCOPES"


def test_granted_token_is_kept_and_renewed_early(shop, connect, time):
    client = connect(grant=True)
    client.execute("access")
    time.now += 86399 - 301
    client.execute("access")
    assert shop.grants == 1
    time.now += 2  # less than five minutes before it expires
    client.execute("access")
    assert shop.grants == 2
    assert shop.operations("grant") == [{"grant_type": "client_credentials"}] * 2


def test_granted_token_is_renewed_on_401(shop, connect, time):
    client = connect(grant=True)
    client.execute("access")
    shop.tokens = set()
    client.execute("collection_create", {"collection": {"title": "Toys", "handle": "toys"}})
    assert (shop.grants, list(shop.collections), time.waits) == (2, ["toys"], [])
    shop.faults = ["expired"] * 5
    with pytest.raises(ShopifyError, match="does not accept the token"):
        client.execute("access")
    assert shop.grants == 3  # once a request, not for ever


def test_grant_is_repeated_and_refused_clearly(shop, connect):
    shop.faults = ["grant 500"]
    connect(grant=True).execute("access")
    assert len(shop.operations("grant")) == 2
    with pytest.raises(
        ShopifyError, match="granted no token for client id client-id: HTTP 400 invalid_client"
    ) as caught:
        connect(grant=True, client_secret="shpss_wrong-one").execute("access")
    assert "wrong-one" not in str(caught.value)


@pytest.mark.parametrize("grant", [False, True])
def test_secrets_are_in_no_log_repr_or_exception(shop, connect, caplog, grant):
    caplog.set_level(logging.DEBUG)
    client = connect(grant=grant)
    client.execute("access")
    shown = [repr(client), str(client), repr(vars(client)), repr(vars(client._transport)), repr(vars(client._auth))]
    for fault in ("string", "drop", "html", "500", "429", "throttled", "denied"):
        shop.faults = [fault] * 4
        with pytest.raises(ShopifyError) as caught:
            client.execute("access")
        shown.append("".join(traceback.format_exception(caught.value)))
        assert caught.value.__cause__ is None
        assert caught.value.__context__ is None
    shown.append("\n".join(record.getMessage() for record in caplog.records if not record.name.startswith("gql")))
    secrets = {STATIC_TOKEN, CLIENT_SECRET, *shop.tokens}
    assert len(shown[-1]) > 100
    assert [secret for secret in secrets for text in shown if secret in text] == []
    # gql logs what the server sends; the one line with a token is the server's own, which echoes it on purpose here.
    sent = [record.getMessage() for record in caplog.records if record.getMessage().startswith(">>>")]
    assert len(sent) > 7
    assert [secret for secret in secrets for text in sent if secret in text] == []


def test_every_document_holds_one_named_operation(connect):
    from scripts.shopify.client import _load

    names = sorted(path.stem for path in QUERIES.glob("*.graphql"))
    mutations = [name for name in names if _load(name)[1]]
    assert mutations == ["collection_create", "product_set", "publish"]
    for name in names:
        camel = "".join(part.title() for part in name.split("_"))
        assert _load(name)[0].definitions[0].name.value == camel
