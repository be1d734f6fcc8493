"""The local shop's ground: schema, tokens, scopes, versions, the request log."""

import re
from pathlib import Path

import pytest
from graphql import build_schema, validate_schema
from raw_http import ADMIN, ask, send

from scripts.shopify.dev_store import DevStore, Request, engine
from scripts.shopify.dev_store.access import HMAC_SECRET, served_version
from scripts.shopify.dev_store.engine import build_api, sdl, unknown_fields
from scripts.shopify.dev_store.state import gid
from scripts.shopify.shopper_ids import ShopperIds


@pytest.mark.parametrize("api", ["admin", "storefront"])
def test_schema_is_valid_and_has_every_field_that_is_resolved(api: str) -> None:
    assert validate_schema(build_schema(sdl(api))) == []
    assert unknown_fields(api, build_api(api)) == []


def test_every_module_with_resolvers_is_loaded() -> None:
    folder = Path(engine.__file__).parent
    decorated = re.compile(r"^@(resolver|node_loader)\(", re.MULTILINE)
    found = {path.stem for path in folder.glob("*.py") if decorated.search(path.read_text(encoding="utf-8"))}
    assert sorted(found) == sorted(engine.RESOLVER_MODULES)


def test_shop_and_app_have_all_their_fields(store: DevStore) -> None:
    query = """{
        shop {
            id name email createdAt currencyCode ianaTimezone myshopifyDomain url
            plan { partnerDevelopment publicDisplayName shopifyPlus } primaryDomain { id host url }
        }
        app { id handle title }
        online: app(id: "gid://shopify/App/2") { handle }
        none: app(id: "gid://shopify/App/9") { handle }
        currentAppInstallation { id app { handle } }
        publicApiVersions { handle displayName supported }
        nodes(ids: ["gid://shopify/Shop/1", "gid://shopify/Product/9"]) { id }
    }"""
    data = store.execute(query)["data"]
    assert (data["shop"]["url"], data["shop"]["primaryDomain"]["host"]) == (
        store.url,
        store.url.removeprefix("http://"),
    )
    assert data["shop"]["plan"] == {"partnerDevelopment": False, "publicDisplayName": "Plus", "shopifyPlus": True}
    assert (data["app"]["handle"], data["online"], data["none"]) == ("local-app", {"handle": "online_store"}, None)
    assert data["publicApiVersions"][3] == {"handle": "2026-10", "displayName": "2026 October", "supported": True}
    assert data["nodes"] == [{"id": "gid://shopify/Shop/1"}, None]


def test_hmac_secret_is_the_given_one_or_the_environments_or_none_at_all(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SLIREC_HMAC_SECRET", raising=False)
    plain, given = DevStore(), DevStore(hmac_secret="given" * 8)
    assert plain.environment()["SLIREC_HMAC_SECRET"] == plain.hmac_secret == HMAC_SECRET
    assert ShopperIds.from_environment(plain.environment()).handle_of("someone")  # long enough
    monkeypatch.setenv("SLIREC_HMAC_SECRET", "mine" * 8)
    assert (plain.hmac_secret, given.hmac_secret) == ("mine" * 8, "given" * 8)
    plain.stop()
    given.stop()


def test_token_is_asked_for(store: DevStore) -> None:
    for headers in ({}, {"X_Shopify_Access_Token": "shpat_wrong"}):
        status, _, body = send(store, ADMIN, {"query": "{ shop { name } }"}, **headers)
        assert (status, type(body["errors"])) == (401, str)
    assert ask(store, "{ shop { name } }")[2]["data"] == {"shop": {"name": "Local development shop"}}


def test_granted_token_expires_on_the_shops_clock(store: DevStore, fake_time) -> None:
    form = {"grant_type": "client_credentials", "client_id": store.client_id, "client_secret": store.client_secret}
    status, _, grant = send(store, "/admin/oauth/access_token", form)
    assert (status, grant["expires_in"]) == (200, 86399)
    assert "write_products" in grant["scope"].split(",")
    token = grant["access_token"]
    assert token != send(store, "/admin/oauth/access_token", form)[2]["access_token"]
    fake_time.now += 86398
    assert ask(store, "{ shop { name } }", token=token)[0] == 200
    fake_time.now += 1
    assert ask(store, "{ shop { name } }", token=token)[0] == 401
    assert ask(store, "{ shop { name } }")[0] == 200


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"client_secret": "x"}, "invalid_client"),
        ({"client_id": ""}, "invalid_client"),
        ({"grant_type": "password"}, "unsupported_grant_type"),
    ],
)
def test_grant_is_refused(store: DevStore, change: dict[str, str], code: str) -> None:
    form = {"grant_type": "client_credentials", "client_id": store.client_id, "client_secret": store.client_secret}
    status, _, body = send(store, "/admin/oauth/access_token", form | change)
    assert (status, body["error"]) == (400, code)


def test_missing_scope_denies_the_field(store: DevStore) -> None:
    store.access.set_scopes(["write_publications"])
    body = ask(store, '{ shop { name } product(id: "gid://shopify/Product/1") { id } }')[2]
    (error,) = body["errors"]
    assert error["extensions"]["code"] == "ACCESS_DENIED"
    assert error["extensions"]["requiredAccess"] == "`read_products` access scope."
    assert error["path"] == ["product"]
    assert body["data"] == {"shop": {"name": "Local development shop"}, "product": None}
    # A write scope includes its read scope, and is listed alone.
    body = ask(store, "{ publications(first: 5) { nodes { id } } currentAppInstallation { accessScopes { handle } } }")[
        2
    ]
    assert len(body["data"]["publications"]["nodes"]) == 3
    assert body["data"]["currentAppInstallation"]["accessScopes"] == [{"handle": "write_publications"}]


def test_node_asks_for_the_scope_of_the_kind(store: DevStore) -> None:
    publication = gid("Publication", 3)
    query = "query ($id: ID!) { node(id: $id) { __typename id } }"
    assert store.execute(query, {"id": publication}) == {
        "data": {"node": {"__typename": "Publication", "id": publication}}
    }
    denied = store.execute(query, {"id": publication}, scopes=["read_products"])
    assert denied["errors"][0]["extensions"]["code"] == "ACCESS_DENIED"
    assert store.execute(query, {"id": gid("Product", 7)}) == {"data": {"node": None}}
    assert store.execute(query, {"id": gid("Nonsense", 7)}) == {"data": {"node": None}}
    assert "Invalid global id 'x'" in store.execute(query, {"id": "x"})["errors"][0]["message"]


def test_storefront_has_its_own_token(store: DevStore) -> None:
    path, body = "/api/2026-10/graphql.json", {"query": "{ shop { name } }"}
    assert send(store, path, body)[0] == 401
    assert send(store, path, body, X_Shopify_Storefront_Access_Token=store.access_token)[0] == 401
    status, headers, answer = send(store, path, body, X_Shopify_Storefront_Access_Token=store.storefront_token)
    assert (status, headers["X-Shopify-API-Version"]) == (200, "2026-10")
    assert answer["data"]["shop"]["name"] == "Local development shop"
    assert "extensions" not in answer


@pytest.mark.parametrize(
    ("asked", "served"),
    [
        ("2026-10", "2026-10"),
        ("2026-01", "2026-01"),
        ("unstable", "unstable"),
        ("2025-10", "2026-01"),
        ("2023-10", "2026-01"),
        ("2027-01", None),
        ("2026-02", None),
        ("2018-01", None),
        ("latest", None),
    ],
)
def test_version_that_is_served(store: DevStore, asked: str, served: str | None) -> None:
    assert served_version(asked) == served
    status, headers, body = ask(store, "{ shop { name } }", path=f"/admin/api/{asked}/graphql.json")
    assert status == (200 if served else 404)
    assert headers.get("X-Shopify-API-Version") == served
    if served is None:
        assert body == {"errors": "Not Found"}


def test_path_without_version_is_served_as_the_oldest(store: DevStore) -> None:
    assert ask(store, "{ shop { name } }", path="/admin/api/graphql.json")[1]["X-Shopify-API-Version"] == "2026-01"


def test_other_host_names_are_refused(store: DevStore) -> None:
    headers = {"X_Shopify_Access_Token": store.access_token}
    body = {"query": "{ shop { name } }"}
    for host, status in (("evil.example", 403), ("127.0.0.1.evil.example:80", 403), ("localhost:1", 200)):
        assert send(store, ADMIN, body, Host=host, **headers)[0] == status
    assert store.requests[-1].status == 200


def test_requests_are_logged(store: DevStore) -> None:
    ask(store, "query Named($id: ID!) { node(id: $id) { id } }", {"id": "gid://shopify/Product/1"})
    ask(store, "{ shop { name } }", token="shpat_wrong")
    first, second = store.requests
    assert (first.api, first.operation, first.variables) == ("admin", "Named", {"id": "gid://shopify/Product/1"})
    assert (first.status, first.requested_cost, first.fault) == (200, 1, None)
    assert (second.operation, second.status) == ("", 401)


def test_request_log_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("scripts.shopify.dev_store.VARIABLES_KEPT", 3)
    monkeypatch.setattr("scripts.shopify.dev_store.LOG_LENGTH", 6)
    store = DevStore()
    for number in range(8):
        store.record(Request("admin", str(number), {"n": number}))
    assert [request.operation for request in store.requests] == ["3", "4", "5", "6", "7"]
    assert [request.variables for request in store.requests] == [{}] * 5
    store.requests.clear()
    store.record(Request("admin", "again", {"n": 1}))
    assert store.requests == [Request("admin", "again", {"n": 1})]
