import json

import pytest
from metaobject_tools import BULK_DELETE, BY_HANDLE, FIELDS, PRODUCT_SET, UPSERT, define, error, upsert
from store_calls import run


@pytest.fixture
def gids(store):
    define(store)
    return [run(store, PRODUCT_SET, handle=f"p{number}")["product"]["id"] for number in range(1, 4)]


def test_an_upsert_makes_and_changes_by_handle(store, gids, fake_time):
    first = upsert(store, "shopper", gids[:2], note="hello")
    assert first["userErrors"] == []
    assert first["metaobject"] == {
        "id": "gid://shopify/Metaobject/1",
        "handle": "shopper",
        "displayName": "shopper",
        "updatedAt": "2026-11-18T11:06:40Z",
        "fields": [
            {"key": "products", "type": "list.product_reference", "value": json.dumps(gids[:2])},
            {"key": "note", "type": "single_line_text_field", "value": "hello"},
        ],
    }
    fake_time.now += 60
    second = upsert(store, "shopper", gids[2:])["metaobject"]
    assert (second["id"], second["updatedAt"]) == ("gid://shopify/Metaobject/1", "2026-11-18T11:07:40Z")
    assert [field["value"] for field in second["fields"]] == [json.dumps(gids[2:]), "hello"]  # what is not given stays
    assert store.state.find("Metaobject", "liked/shopper")["fields"][1] == {
        "key": "note",
        "type": "single_line_text_field",
        "value": "hello",
    }


def test_values_replace_everything(store, gids):
    upsert(store, "shopper", gids, note="hello")
    handle = {"type": "liked", "handle": "shopper"}
    payload = run(store, UPSERT, handle=handle, values={"products": gids[:1]})
    assert [field["value"] for field in payload["metaobject"]["fields"]] == [json.dumps(gids[:1]), None]
    bad = run(store, UPSERT, handle=handle, values={"products": ["gid://shopify/Product/77"]})
    assert bad["userErrors"] == [
        error("Value must be a valid product reference.", "INVALID_VALUE", ["values", "products"], "products", 0)
    ]


def test_a_metaobject_shows_its_references(store, gids):
    upsert(store, "shopper", [gids[1], gids[0]])
    handle = {"type": "liked", "handle": "shopper"}
    shown = run(store, BY_HANDLE, handle=handle)
    assert shown == {
        "id": "gid://shopify/Metaobject/1",
        "values": {"products": [gids[1], gids[0]], "note": None},
        "field": {
            "jsonValue": [gids[1], gids[0]],
            "references": {"nodes": [{"id": gids[1], "title": "p2"}, {"id": gids[0], "title": "p1"}]},
        },
        "definition": {"type": "liked", "metaobjectsCount": 1},
    }
    run(store, "mutation ($id: ID!) { productDelete(input: {id: $id}) { deletedProductId } }", id=gids[1])
    after = run(store, BY_HANDLE, handle=handle)["field"]
    assert after["references"] == {"nodes": [{"id": gids[0], "title": "p1"}]}
    assert after["jsonValue"] == [gids[1], gids[0]]
    assert run(store, BY_HANDLE, handle={**handle, "handle": "nobody"}) is None


def test_one_unknown_product_rejects_the_whole_entry(store, gids):
    path = ["metaobject", "fields", "0"]
    message = "Value must be a valid product reference."
    for position, unknown in enumerate(["gid://shopify/Product/99", "gid://shopify/Collection/1", "hat"]):
        given = [*gids[:position], unknown, *gids[position:]]
        expected = error(message, "INVALID_VALUE", path, "products", position)
        assert upsert(store, "shopper", given) == {"metaobject": None, "userErrors": [expected]}
    assert store.state.count("Metaobject") == 0


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ([], error("Products can't be blank", "OBJECT_FIELD_REQUIRED", ["metaobject"], "products")),
        (
            [{"key": "products", "value": "[]"}],
            error("Products can't be blank", "OBJECT_FIELD_REQUIRED", ["metaobject"], "products"),
        ),
        (
            [{"key": "products", "value": "gid"}],
            error("Value is invalid JSON.", "INVALID_VALUE", ["metaobject", "fields", "0"], "products"),
        ),
        (
            [{"key": "products", "value": json.dumps(["gid://shopify/Product/1"] * 129)}],
            error("Value has more than 128 elements.", "INVALID_VALUE", ["metaobject", "fields", "0"], "products"),
        ),
        (
            [{"key": "products", "value": '["gid://shopify/Product/1"]'}, {"key": "color", "value": "red"}],
            error(
                'Field definition "color" does not exist',
                "UNDEFINED_OBJECT_FIELD",
                ["metaobject", "fields", "1"],
                "color",
            ),
        ),
    ],
)
def test_what_an_upsert_refuses(store, gids, fields, expected):
    payload = run(store, UPSERT, handle={"type": "liked", "handle": "a"}, metaobject={"fields": fields})
    assert payload == {"metaobject": None, "userErrors": [expected]}


def test_128_elements_are_taken(store, gids):
    assert upsert(store, "a", [gids[0]] * 128)["userErrors"] == []


def test_a_definition_may_set_a_lower_limit(store, gids):
    few = {**FIELDS[0], "validations": [{"name": "list.max", "value": "2"}]}
    define(store, type="few", fieldDefinitions=[few])
    assert upsert(store, "a", gids[:2], "few")["userErrors"] == []
    (refused,) = upsert(store, "a", gids, "few")["userErrors"]
    assert (refused["message"], refused["code"]) == ("Value has more than 2 elements.", "INVALID_VALUE")


def test_a_type_without_a_definition(store):
    expected = error('No metaobject definition exists for type "liked"', "UNDEFINED_OBJECT_TYPE", ["handle", "type"])
    assert upsert(store, "a", []) == {"metaobject": None, "userErrors": [expected]}


@pytest.mark.parametrize(
    ("type_name", "good", "bad"),
    [
        ("number_integer", "12", "1.5"),
        ("number_integer", "-9007199254740991", "9007199254740992"),
        *(("number_integer", "0", bad) for bad in ("1_000", " 12", "٣", "+5", "007", "9" * 5000)),
        ("number_decimal", "1.5", "x"),
        *(("number_decimal", "-0.5", bad) for bad in ("nan", "1e999", "1_0.5", "inf", ".5")),
        ("boolean", "true", "yes"),
        ("date", "2026-11-22", "22/11/2026"),
        ("date", "2026-11-22", "20261122"),
        ("date_time", "2026-11-22T08:00:00Z", "2026-11-22"),
        ("json", '{"a": 1}', "{"),
        *(("json", "null", bad) for bad in ("NaN", "1e999", '"\\ud800"', "[" * 5000 + "]" * 5000)),
        ("url", "https://example.com/", "example.com"),
        ("single_line_text_field", "one line", "two\nlines"),
        ("list.number_integer", "[1, 2]", '["x"]'),
        ("list.single_line_text_field", '["a"]', '"a"'),
    ],
)
def test_values_fit_their_types(store, type_name, good, bad):
    define(store, fieldDefinitions=[{"key": "value", "type": type_name}])
    assert upsert(store, "good", value=good)["userErrors"] == []
    (refused,) = upsert(store, "bad", value=bad)["userErrors"]
    assert refused["code"] == "INVALID_VALUE"
    shown = '{ metaobjects(type: "liked", first: 2) { nodes { values fields { jsonValue } } } }'
    assert len(run(store, shown)["nodes"]) == 1


def test_metaobjects_are_paged_by_type(store, gids, fake_time):
    define(store, type="other")
    for number in range(5):
        upsert(store, f"a{number}", gids)
        upsert(store, f"b{number}", gids, "other")
        fake_time.now += 10
    upsert(store, "a0", gids[:1])
    page = """query ($after: String, $sort: String, $query: String) {
      metaobjects(type: "liked", first: 2, after: $after, sortKey: $sort, query: $query) {
        nodes { handle } pageInfo { hasNextPage endCursor } } }"""
    for sort, expected in ((None, "a0 a1 a2 a3 a4"), ("updated_at", "a1 a2 a3 a4 a0")):
        handles, after = [], None
        for _ in range(3):
            found = run(store, page, after=after, sort=sort)
            handles += [node["handle"] for node in found["nodes"]]
            after = found["pageInfo"]["endCursor"]
        assert handles == expected.split()
        assert not found["pageInfo"]["hasNextPage"]
    assert run(store, page, query="handle:a3")["nodes"] == [{"handle": "a3"}]


def test_one_metaobject_is_deleted(store, gids):
    upsert(store, "a", gids)
    delete = "mutation ($id: ID!) { metaobjectDelete(id: $id) { deletedId userErrors { field message code } } }"
    found = "gid://shopify/Metaobject/1"
    assert run(store, delete, id=found) == {"deletedId": found, "userErrors": []}
    missing = {"field": ["id"], "message": "Record not found", "code": "RECORD_NOT_FOUND"}
    assert run(store, delete, id=found) == {"deletedId": None, "userErrors": [missing]}
    assert run(store, '{ metaobjectDefinitionByType(type: "liked") { metaobjectsCount } }') == {"metaobjectsCount": 0}


def test_all_metaobjects_of_a_type_are_deleted_by_a_job(store, gids):
    define(store, type="other")
    for number in range(250):
        upsert(store, f"a{number}", gids)
    upsert(store, "b", gids, "other")
    payload = run(store, BULK_DELETE, where={"type": "liked"})
    assert payload == {"job": {"id": "gid://shopify/Job/1", "done": False}, "userErrors": []}
    job = "query ($id: ID!) { job(id: $id) { id done } }"
    for _ in range(100):
        if run(store, job, id="gid://shopify/Job/1")["done"]:
            break
    assert run(store, job, id="gid://shopify/Job/1") == {"id": "gid://shopify/Job/1", "done": True}
    assert [entry["handle"] for entry in store.state.scan("Metaobject")] == ["b"]
    assert run(store, '{ metaobjectDefinitionByType(type: "liked") { metaobjectsCount } }') == {"metaobjectsCount": 0}
    assert run(store, job, id="gid://shopify/Job/2") is None
    unknown = {
        "field": ["where", "type"],
        "message": 'No metaobject definition exists for type "hated"',
        "code": "RECORD_NOT_FOUND",
    }
    assert run(store, BULK_DELETE, where={"type": "hated"}) == {"job": None, "userErrors": [unknown]}


def test_metaobjects_are_deleted_by_id(store, gids):
    for number in range(3):
        upsert(store, f"a{number}", gids)
    ids = ["gid://shopify/Metaobject/1", "gid://shopify/Metaobject/3", "gid://shopify/Metaobject/8", gids[0]]
    job = run(store, BULK_DELETE, where={"ids": ids})["job"]
    for _ in range(100):
        if run(store, "query ($id: ID!) { job(id: $id) { done } }", id=job["id"])["done"]:
            break
    assert [entry["handle"] for entry in store.state.scan("Metaobject")] == ["a1"]
    assert store.state.count("Product") == 3


@pytest.mark.parametrize(
    ("document", "scope"),
    [
        ('{ metaobjects(type: "liked", first: 1) { nodes { id } } }', "read_metaobjects"),
        ('{ metaobjectDefinitionByType(type: "liked") { id } }', "read_metaobject_definitions"),
        (
            'mutation { metaobjectUpsert(handle: {type: "liked", handle: "a"}, values: {}) { userErrors { code } } }',
            "write_metaobjects",
        ),
        (
            'mutation { metaobjectDefinitionCreate(definition: {type: "liked"}) { userErrors { code } } }',
            "write_metaobject_definitions",
        ),
    ],
)
def test_every_door_has_its_scope(store, document, scope):
    (refused,) = store.execute(document, scopes=["read_products"])["errors"]
    assert refused["extensions"]["code"] == "ACCESS_DENIED"
    assert scope in refused["extensions"]["requiredAccess"]
    assert "errors" not in store.execute(document, scopes=[scope])
