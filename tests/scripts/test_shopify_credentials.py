"""Tokens and scopes: how they are got and renewed, and that they stay secret."""

import json
import logging
import traceback
from contextlib import ExitStack
from urllib.parse import quote

import pytest
from shop_client import echo, make_client, requests_of

from scripts.shopify.answers import ShopifyError

TOYS = {"collection": {"title": "Toys", "handle": "toys"}}


@pytest.fixture
def connect(store, fake_time):
    """Makes clients of the store with a static token, or with client credentials."""
    with ExitStack() as clients:
        yield lambda *args, **changes: clients.enter_context(make_client(store, fake_time, *args, **changes))


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
    assert len(requests_of(store, "oauth")) == 1
    fake_time.now += 2  # less than five minutes before it expires
    client.execute("access")
    assert [request.status for request in requests_of(store, "oauth")] == [200, 200]
    assert [request.status for request in requests_of(store, "admin")] == [200] * 3  # never an expired one


@pytest.mark.parametrize("lifetime", [None, "soon", "86399"])
def test_token_without_a_lifetime_lives_a_day(store, connect, fake_time, monkeypatch, lifetime):
    client = connect(grant=True)
    original = client._credentials._send

    def send(*arguments, **options):
        response = original(*arguments, **options)
        response._content = json.dumps({**response.json(), "expires_in": lifetime}).encode()
        return response

    monkeypatch.setattr(client._credentials, "_send", send)
    client.execute("access")
    fake_time.now += 86399 - 301
    client.execute("access")
    assert len(requests_of(store, "oauth")) == 1
    fake_time.now += 2
    client.execute("access")
    assert len(requests_of(store, "oauth")) == 2


def test_granted_token_is_renewed_on_401(store, connect, fake_time):
    client = connect(grant=True)
    client.execute("access")
    store.faults.script("expired")
    client.execute("collection_create", TOYS)
    assert (len(requests_of(store, "oauth")), store.state.count("Collection"), fake_time.waits) == (2, 1, [])
    store.faults.script("expired", None, "expired", "expired", "expired")
    with pytest.raises(ShopifyError, match="does not accept the token"):
        client.execute("access")
    assert len(requests_of(store, "oauth")) == 3  # once a request, not for ever


def test_grant_is_repeated_and_refused_clearly(store, connect):
    store.faults.script("500", "drop", "429")
    connect(grant=True).execute("access")
    assert [request.status for request in requests_of(store, "oauth")] == [500, 0, 429, 200]
    store.faults.script("404")
    with pytest.raises(ShopifyError, match=r"granted no token for client id .*: HTTP 404"):
        connect(grant=True).execute("access")
    with pytest.raises(
        ShopifyError, match=f"granted no token for client id {store.client_id}: HTTP 400: invalid_client"
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
    first = client._credentials._token.get_secret_value()
    if grant:
        store.faults.script("expired")
        client.execute("access")
    secrets = [first, client._credentials._token.get_secret_value(), *([store.client_secret] if grant else [])]
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
    secrets = {store.access_token, store.client_secret, client._credentials._token.get_secret_value()}
    shown = [
        repr(client),
        str(client),
        repr(vars(client)),
        repr(vars(client._transport)),
        repr(vars(client._credentials)),
    ]
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
