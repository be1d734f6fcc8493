"""Faults of the local shop, as a client on a bare connection sees them."""

import http.client
import json
import time
from typing import Any

import pytest
from raw_http import ADMIN, ask, send

from scripts.shopify.dev_store import DevStore
from scripts.shopify.dev_store.faults import DEFAULT, FAULTS, Faults

SHOP = "{ shop { name } }"
UPLOAD = """
    mutation {
        stagedUploadsCreate(input: [{
            resource: BULK_MUTATION_VARIABLES, filename: "a.jsonl", mimeType: "text/jsonl", httpMethod: POST
        }]) { stagedTargets { url parameters { name value } } userErrors { message } }
    }
"""
DEFINE = """
    mutation {
        metaobjectDefinitionCreate(definition: {
            type: "thing", fieldDefinitions: [{key: "title", type: "single_line_text_field"}]
        }) { userErrors { message } }
    }
"""
DEFINITION = '{ metaobjectDefinitionByType(type: "thing") { type } }'


def post(store: DevStore, path: str, body: bytes, headers: dict[str, str]) -> tuple[int, dict[str, str], bytes]:
    connection = http.client.HTTPConnection("127.0.0.1", int(store.url.rpartition(":")[2]), timeout=10)
    try:
        connection.request("POST", path, body, headers)
        answer = connection.getresponse()
        return answer.status, dict(answer.headers), answer.read()
    finally:
        connection.close()


def raw(store: DevStore, query: str = SHOP) -> tuple[int, dict[str, str], bytes]:
    return post(store, ADMIN, json.dumps({"query": query}).encode(), {"X-Shopify-Access-Token": store.access_token})


def grant(store: DevStore) -> dict[str, Any]:
    form = {"grant_type": "client_credentials", "client_id": store.client_id, "client_secret": store.client_secret}
    return send(store, "/admin/oauth/access_token", form)[2]


def is_fine(store: DevStore) -> bool:
    status, _, body = ask(store, SHOP)
    return status == 200 and "errors" not in body


def defined(store: DevStore) -> bool:
    return store.execute(DEFINITION)["data"]["metaobjectDefinitionByType"] is not None


def test_script_is_followed_and_ends(store: DevStore) -> None:
    store.faults.script(None, "500", None, "502")
    assert [raw(store)[0] for _ in range(6)] == [200, 500, 200, 502, 200, 200]
    assert [entry.fault for entry in store.requests] == [None, "500", None, "502", None, None]
    assert store.faults.injected == {"500": 1, "502": 1}


def test_throttled_leaves_the_bucket_that_empty(store: DevStore, fake_time) -> None:
    store.set_plan("standard")
    store.faults.script("throttled")
    query = "{ products(first: 250) { nodes { id options { name } variants(first: 50) { nodes { id } } } } }"
    body = ask(store, query)[2]
    assert body["errors"][0]["extensions"]["code"] == "THROTTLED"
    cost = body["extensions"]["cost"]
    lacking = cost["requestedQueryCost"] - cost["throttleStatus"]["currentlyAvailable"]
    assert (cost["actualQueryCost"], lacking) == (None, 100)
    assert "errors" in ask(store, query)[2]
    fake_time.now += 1.0
    assert "errors" not in ask(store, query)[2]


def test_statuses_bodies_and_headers(store: DevStore) -> None:
    store.faults.script("429", "500", "502", "404", "redirect", "html", "old version")
    status, headers, _ = raw(store)
    assert (status, headers["Retry-After"]) == (429, "2.0")
    assert [raw(store)[0] for _ in range(3)] == [500, 502, 404]
    status, headers, _ = raw(store)
    assert (status, headers["Location"]) == (301, f"{store.url}/elsewhere")
    status, headers, body = raw(store)
    assert (status, headers["Content-Type"].partition(";")[0], body[:6]) == (200, "text/html", b"<html>")
    status, headers, body = raw(store)
    assert (status, headers["X-Shopify-API-Version"], "errors" in json.loads(body)) == (200, "2026-01", False)
    assert is_fine(store)


def test_errors_in_a_good_status(store: DevStore) -> None:
    store.faults.script("internal", "string", "denied")
    bodies = [ask(store, SHOP)[2] for _ in range(3)]
    assert bodies[0]["errors"][0]["extensions"]["code"] == "INTERNAL_SERVER_ERROR"
    assert bodies[1] == {"errors": "Something went wrong"}
    assert bodies[2]["data"] == {"shop": None}
    assert bodies[2]["errors"][0]["extensions"]["code"] == "ACCESS_DENIED"
    assert bodies[2]["errors"][0]["extensions"]["requiredAccess"] == "`read_products` access scope."
    assert is_fine(store)


@pytest.mark.parametrize("fault", ["throttled", "429", "500", "502", "internal", "drop", "expired", "html", "404"])
def test_nothing_is_carried_out(store: DevStore, fault: str) -> None:
    store.faults.script(fault)
    try:
        raw(store, DEFINE)
    except http.client.RemoteDisconnected:
        assert fault == "drop"
    assert not defined(store)


@pytest.mark.parametrize(("fault", "carried_out"), [("drop", False), ("drop after", True)])
def test_dropped_connection(store: DevStore, fault: str, carried_out: bool) -> None:
    store.faults.script(fault)
    with pytest.raises(http.client.RemoteDisconnected):
        raw(store, DEFINE)
    assert defined(store) is carried_out
    assert store.requests[-1].status == 0
    assert is_fine(store)


def test_dropped_on_a_connection_in_use(store: DevStore) -> None:
    store.faults.script(None, "drop")
    connection = http.client.HTTPConnection("127.0.0.1", int(store.url.rpartition(":")[2]), timeout=10)
    headers = {"X-Shopify-Access-Token": store.access_token}
    connection.request("POST", ADMIN, json.dumps({"query": SHOP}), headers)
    assert connection.getresponse().read()
    connection.request("POST", ADMIN, json.dumps({"query": SHOP}), headers)
    with pytest.raises(ConnectionError):
        connection.getresponse()
    connection.close()
    assert is_fine(store)


def test_expired_makes_a_granted_token_invalid_for_good(store: DevStore) -> None:
    token = grant(store)["access_token"]
    store.faults.script("expired")
    assert [ask(store, SHOP, token=token)[0] for _ in range(2)] == [401, 401]
    assert ask(store, SHOP, token=grant(store)["access_token"])[0] == 200
    store.faults.script("expired")
    assert [ask(store, SHOP)[0] for _ in range(2)] == [401, 200]  # a static token is refused once


def test_slow_answer_comes(store: DevStore) -> None:
    store.faults.slow_seconds = 0.2
    store.faults.script("slow")
    begin = time.monotonic()
    assert is_fine(store)
    assert time.monotonic() - begin >= 0.2


def test_grants_and_uploads_meet_faults_too(store: DevStore) -> None:
    target = store.execute(UPLOAD)["data"]["stagedUploadsCreate"]["stagedTargets"][0]
    parts = [*((item["name"], item["value"]) for item in target["parameters"]), ("file", '{"a": 1}\n')]
    head = '--limit\r\nContent-Disposition: form-data; name="{}"{}\r\n\r\n{}'
    lines = [head.format(name, "; filename=f" if name == "file" else "", value) for name, value in parts]
    body = "\r\n".join([*lines, "--limit--\r\n"]).encode()
    headers = {"Content-Type": "multipart/form-data; boundary=limit"}
    store.faults.script("500", "502", "drop", None, "500", "429", "drop")
    assert [grant_status(store) for _ in range(2)] == [500, 502]
    with pytest.raises(http.client.RemoteDisconnected):
        grant_status(store)
    assert grant_status(store) == 200
    assert [post(store, "/staged", body, headers)[0] for _ in range(2)] == [500, 429]
    with pytest.raises(http.client.RemoteDisconnected):
        post(store, "/staged", body, headers)
    assert post(store, "/staged", body, headers)[0] == 201
    assert [entry.api for entry in store.requests] == ["oauth"] * 4 + ["staged"] * 4


def grant_status(store: DevStore) -> int:
    form = {"grant_type": "client_credentials", "client_id": store.client_id, "client_secret": store.client_secret}
    return post(store, "/admin/oauth/access_token", json.dumps(form).encode(), {"Content-Type": "application/json"})[0]


def download(store: DevStore, url: str) -> bytes:
    connection = http.client.HTTPConnection("127.0.0.1", int(store.url.rpartition(":")[2]), timeout=10)
    try:
        connection.request("GET", url.removeprefix(store.url))
        return connection.getresponse().read()
    finally:
        connection.close()


def run_bulk(store: DevStore) -> dict[str, Any]:
    """Runs a bulk query over the publications and returns how it ended."""
    query = """
        mutation {
            bulkOperationRunQuery(query: "{ publications { edges { node { id } } } }") {
                bulkOperation { id }
                userErrors { message }
            }
        }
    """
    payload = ask(store, query)[2]["data"]["bulkOperationRunQuery"]
    assert payload["userErrors"] == []
    poll = "query ($id: ID!) { node(id: $id) { ... on BulkOperation { status errorCode url partialDataUrl } } }"
    for _ in range(200):
        operation = store.execute(poll, {"id": payload["bulkOperation"]["id"]})["data"]["node"]
        if operation["status"] not in ("CREATED", "RUNNING"):
            return operation
        time.sleep(0.02)
    raise AssertionError("the bulk operation did not end")


def test_download_is_cut_midway(store: DevStore) -> None:
    operation = run_bulk(store)
    assert operation["status"] == "COMPLETED"
    whole = download(store, operation["url"])
    assert sorted(json.loads(line)["id"] for line in whole.splitlines()) == [
        f"gid://shopify/Publication/{number}" for number in (1, 2, 3)
    ]
    store.faults.script("cut")
    assert is_fine(store)  # not the request that can be cut
    with pytest.raises((http.client.IncompleteRead, ConnectionError)):
        download(store, operation["url"])
    assert download(store, operation["url"]) == whole
    store.faults.script("500", "drop")
    assert b"html" in download(store, operation["url"])
    with pytest.raises(http.client.RemoteDisconnected):
        download(store, operation["url"])


def test_bulk_operation_fails_once(store: DevStore) -> None:
    store.faults.script("bulk failed")
    failed = run_bulk(store)
    assert (failed["status"], failed["errorCode"], failed["url"]) == ("FAILED", "INTERNAL_SERVER_ERROR", None)
    assert run_bulk(store)["status"] == "COMPLETED"


def test_every_nth_request_in_turn() -> None:
    faults = Faults()
    faults.every(3, ["500", "cut", "drop"])
    drawn = [faults.next("graphql") for _ in range(12)]
    assert drawn == [None, None, "500", None, None, "drop", None, None, "500", None, None, "drop"]
    assert [faults.next("download") for _ in range(2)] == ["cut", None]  # it was passed over at the sixth request
    faults.every(0)
    assert [faults.next("graphql") for _ in range(3)] == [None] * 3


def test_a_fault_that_waits_for_its_request_waits_once() -> None:
    faults = Faults()
    faults.every(10, ["cut", "drop after"])
    assert [faults.next("graphql") for _ in range(100)].count("drop after") == 10
    assert [faults.next("download") for _ in range(9)] == ["cut"] + [None] * 8


def test_every_spares_static_tokens_from_expiry() -> None:
    faults = Faults()
    faults.every(1, ["expired", "500"])
    assert [faults.next("graphql", granted=False) for _ in range(2)] == ["500", "500"]
    assert faults.next("graphql", granted=True) == "expired"


def test_names_are_checked() -> None:
    faults = Faults()
    with pytest.raises(ValueError, match="'thunder'"):
        faults.script("500", "thunder")
    assert faults.next("graphql") is None
    with pytest.raises(ValueError, match="'thunder'"):
        faults.every(2, ["thunder"])
    with pytest.raises(ValueError, match="n = -1"):
        faults.every(-1)
    assert set(DEFAULT) < set(FAULTS)


def test_clear_forgets_everything() -> None:
    faults = Faults()
    faults.script("bulk failed", "cut", "500")
    faults.every(2)
    assert [faults.next("graphql"), faults.next("graphql")] == ["bulk failed", None]
    faults.clear()
    assert [faults.next(kind) for kind in ("download", "graphql", "graphql")] == [None] * 3
    assert not faults.take_bulk_failure()


def test_crash_of_a_resolver_is_told_and_kept(store: DevStore, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object, **__: object) -> None:
        raise ZeroDivisionError("a mistake of ours")

    monkeypatch.setattr(store.state, "scan", broken)
    body = ask(store, SHOP)[2]
    assert body["errors"][0]["extensions"]["code"] == "INTERNAL_SERVER_ERROR"
    assert "mistake" not in json.dumps(body)
    assert [str(error) for error in store.crashes] == ["a mistake of ours"]
    store.crashes.clear()  # else leaving the shop raises it
