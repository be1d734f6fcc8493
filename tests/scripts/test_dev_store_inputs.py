"""Input that no client should send: refused as Shopify would, and never a crash of the local shop."""

import json

import pytest
from bulk_tools import PRODUCT_SET as BULK_PRODUCT_SET
from bulk_tools import RUN_MUTATION, RUN_QUERY, finished, lines_of, stage
from raw_http import ADMIN, ask, send
from store_calls import run

from scripts.shopify.dev_store import DevStore, engine
from scripts.shopify.dev_store.engine import engine_of
from scripts.shopify.dev_store.strict_json import read_json

PRODUCT_SET = """mutation ($input: ProductSetInput!) { productSet(input: $input) {
  product { variants(first: 1) { nodes { price } } } userErrors { field message code } } }"""
METAFIELD = """mutation ($type: String!, $value: String!) {
  productSet(input: {title: "Hat", metafields: [{namespace: "test", key: "value", type: $type, value: $value}]}) {
    product { metafield(namespace: "test", key: "value") { jsonValue } } userErrors { message } } }"""
TOO_DEEP = {"message": "The request is nested too deeply"}


def priced(price: str) -> dict:
    return {
        "title": "Hat",
        "productOptions": [{"name": "Title", "values": [{"name": "Default Title"}]}],
        "variants": [{"optionValues": [{"optionName": "Title", "name": "Default Title"}], "price": price}],
    }


@pytest.mark.parametrize(
    ("price", "kept"), [("1e3", "1000.00"), ("1e-9", "0.00"), ("-0", "0.00"), ("9" * 17, "9" * 17 + ".00")]
)
def test_price_that_is_taken(store: DevStore, price: str, kept: str) -> None:
    payload = run(store, PRODUCT_SET, input=priced(price))
    assert payload["product"]["variants"]["nodes"] == [{"price": kept}]


@pytest.mark.parametrize(
    ("price", "message"),
    [
        ("abc", "Price is not a number"),
        ("nan", "Price is not a number"),
        ("1_000", "Price is not a number"),
        ("٣", "Price is not a number"),
        ("-1", "Price must be greater than or equal to 0"),
        ("1e30", "Price must be less than 1000000000000000000"),
        ("9" * 30, "Price must be less than 1000000000000000000"),
    ],
)
def test_price_that_is_refused(store: DevStore, price: str, message: str) -> None:
    payload = run(store, PRODUCT_SET, input=priced(price))
    field = ["input", "variants", "0", "price"]
    assert payload == {
        "product": None,
        "userErrors": [{"field": field, "message": message, "code": "INVALID_VARIANT"}],
    }


@pytest.mark.parametrize(
    ("kind", "good", "shown", "bad"),
    [
        ("number_integer", "12", 12, "1e5"),
        ("number_decimal", "1.50", 1.5, "NaN"),
        ("boolean", "true", True, "1"),
        ("json", "[1]", [1], '["\\ud800"]'),
        ("list.number_integer", "[1]", [1], "1"),
    ],
)
def test_metafield_fits_its_type(store: DevStore, kind: str, good: str, shown: object, bad: str) -> None:
    payload = run(store, METAFIELD, type=kind, value=good)
    assert (payload["userErrors"], payload["product"]["metafield"]["jsonValue"]) == ([], shown)
    refused = run(store, METAFIELD, type=kind, value=bad)
    assert refused["userErrors"] == [{"message": f"Value must be of type {kind}."}]


@pytest.mark.parametrize("text", ["NaN", "-Infinity", "[1e999]", '"\\ud800"', b'["\\uDFFF"]', "[" * 100_000, b"\xff"])
def test_what_is_no_json(text: str | bytes) -> None:
    with pytest.raises(ValueError):
        read_json(text)


def test_what_is_json() -> None:
    assert read_json(b'["\\ud83d\\ude00", "\xc3\xa9", 1e5, null]') == ["😀", "é", 1e5, None]


def test_a_grant_with_half_a_character_is_refused(store: DevStore) -> None:
    form = '{"grant_type": "client_credentials", "client_id": "\\ud800", "client_secret": "x"}'
    assert send(store, "/admin/oauth/access_token", form)[0] == 400


def nested(levels: int) -> str:
    """Returns a document that goes from a product to its variant and back so many times."""
    begin, end = "product {} {{ variants(first: 1) {{ nodes {{ ", " } } }"
    inner = begin.format("") * levels + "id" + end * levels
    return "{ " + begin.format('(id: "gid://shopify/Product/1")') + inner + end + " }"


@pytest.mark.parametrize(
    ("document", "message"),
    [
        (nested(60), TOO_DEEP["message"]),
        (nested(500), "Parse error: Document is nested too deeply. Parsing aborted."),
        ("{ nodes(ids: " + "[" * 2000 + "]" * 2000 + ") { id } }", "Parse error: Document is nested too deeply."),
    ],
)
def test_a_document_that_is_nested_too_deeply(store: DevStore, document: str, message: str) -> None:
    run(store, PRODUCT_SET, input={"title": "Hat"})
    assert "errors" not in ask(store, nested(10))[2]
    status, _, body = ask(store, document)
    assert (status, len(body["errors"])) == (200, 1)
    assert body["errors"][0]["message"].startswith(message)
    assert run(store, RUN_QUERY, query=document)["userErrors"][0]["code"] == "INVALID"
    mutation = run(store, RUN_MUTATION, mutation="mutation " + document, path="x")
    assert mutation["userErrors"][0]["code"] == "INVALID_MUTATION"


def test_variables_that_are_nested_too_deeply(store: DevStore) -> None:
    document = """mutation ($values: JSON) {
      metaobjectUpsert(handle: {type: "liked", handle: "a"}, values: $values) { userErrors { code } } }"""
    for depth in range(0, 1200, 50):
        body = f'{{"query": {json.dumps(document)}, "variables": {{"values": {"[" * depth}{"]" * depth}}}}}'
        status, _, answer = send(store, ADMIN, body, X_Shopify_Access_Token=store.access_token)
        assert status in (200, 400)
        assert status == 400 or "data" in answer or answer["errors"] == [TOO_DEEP]


def test_bulk_lines_are_read_as_strictly(store: DevStore) -> None:
    lines = [
        '{"identifier": {"handle": "a"}, "input": {"handle": "a", "title": "half a pair \\ud800"}}',
        '{"identifier": {"handle": "b"}, "input": {"handle": "b", "title": "B"}}',
    ]
    started = run(store, RUN_MUTATION, mutation=BULK_PRODUCT_SET, path=stage(store, "\n".join(lines)))
    first, second = lines_of(store, finished(store, started["bulkOperation"]["id"]))
    assert first["errors"] == [{"message": "The line is not valid JSON."}]
    assert second["data"]["productSet"]["userErrors"] == []


def test_large_documents_are_not_kept(store: DevStore) -> None:
    admin = engine_of("admin")
    small, large = "{ shop { id name } }", "{ shop { id name } }" + " " * engine._LARGEST_KEPT
    assert admin.prepare(small) is admin.prepare(small)
    before = len(admin._prepared)
    assert ask(store, large)[2]["data"]["shop"]["id"] == "gid://shopify/Shop/1"
    assert len(admin._prepared) == before
