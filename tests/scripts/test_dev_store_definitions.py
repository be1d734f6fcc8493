import pytest
from metaobject_tools import PRODUCT_SET, define, error, upsert
from store_calls import run


@pytest.fixture
def gids(store):
    define(store)
    return [run(store, PRODUCT_SET, handle=f"p{number}")["product"]["id"] for number in range(1, 4)]


def test_a_definition_is_made_and_read(store):
    payload = define(store, access={"storefront": "PUBLIC_READ"})
    products = {"name": "list.product_reference", "category": "REFERENCE"}
    assert payload == {
        "metaobjectDefinition": {
            "id": "gid://shopify/MetaobjectDefinition/1",
            "type": "liked",
            "name": "Liked",
            "access": {"admin": "PUBLIC_READ_WRITE", "storefront": "PUBLIC_READ"},
            "metaobjectsCount": 0,
            "fieldDefinitions": [
                {"key": "products", "name": "Products", "required": True, "type": products, "validations": []},
                {
                    "key": "note",
                    "name": "A note",
                    "required": False,
                    "type": {"name": "single_line_text_field", "category": "TEXT"},
                    "validations": [],
                },
            ],
        },
        "userErrors": [],
    }
    by_type = "query ($type: String!) { metaobjectDefinitionByType(type: $type) { id } }"
    assert run(store, by_type, type="liked") == {"id": "gid://shopify/MetaobjectDefinition/1"}
    assert run(store, by_type, type="hated") is None
    listed = run(store, "{ metaobjectDefinitions(first: 5) { nodes { type } } }")
    assert listed == {"nodes": [{"type": "liked"}]}


@pytest.mark.parametrize(
    ("type_name", "name", "value", "what"),
    [
        ("list.product_reference", "list.max", "abc", "an integer"),
        ("list.product_reference", "list.min", "1.5", "an integer"),
        ("single_line_text_field", "max", "٣", "an integer"),
        ("number_integer", "min", "", "an integer"),
        ("number_decimal", "max", "1e5", "a decimal"),
    ],
)
def test_a_limit_must_be_a_number(store, type_name, name, value, what):
    field = {"key": "products", "type": type_name, "validations": [{"name": name, "value": value}]}
    expected = error(
        f"Validations value for option {name} must be {what}.",
        "INVALID",
        ["definition", "fieldDefinitions", "0", "validations"],
        "products",
    )
    assert define(store, fieldDefinitions=[field]) == {"metaobjectDefinition": None, "userErrors": [expected]}
    field["validations"][0]["value"] = "2"
    assert define(store, fieldDefinitions=[field])["userErrors"] == []


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (
            {"access": {"admin": "MERCHANT_READ"}},
            error(
                "Admin access can only be specified on metaobject definitions that have an app-reserved type.",
                "ADMIN_ACCESS_INPUT_NOT_ALLOWED",
                ["definition", "access", "admin"],
            ),
        ),
        ({"type": "ab"}, error("Type is too short (minimum is 3 characters)", "TOO_SHORT", ["definition", "type"])),
        (
            {"type": "x" * 256},
            error("Type is too long (maximum is 255 characters)", "TOO_LONG", ["definition", "type"]),
        ),
        (
            {"type": "not this"},
            error(
                "Type contains one or more invalid characters. Only alphanumeric characters, underscores, and dashes "
                "are allowed.",
                "INVALID",
                ["definition", "type"],
            ),
        ),
        (
            {"fieldDefinitions": [{"key": "products", "type": "list.thing"}]},
            error(
                "Type name list.thing is not a valid type.",
                "INCLUSION",
                ["definition", "fieldDefinitions", "0", "type"],
                "products",
            ),
        ),
        (
            {"displayNameKey": "title"},
            error(
                'Field definition "title" does not exist', "UNDEFINED_OBJECT_FIELD", ["definition", "displayNameKey"]
            ),
        ),
    ],
)
def test_a_definition_that_cannot_be_made(store, given, expected):
    assert define(store, **given) == {"metaobjectDefinition": None, "userErrors": [expected]}
    assert store.state.count("MetaobjectDefinition") == 0


def test_a_type_is_defined_once(store):
    define(store)
    taken = error("Type has already been taken", "TAKEN", ["definition", "type"])
    assert define(store) == {"metaobjectDefinition": None, "userErrors": [taken]}


def test_app_reserved_types_may_have_admin_access(store):
    made = define(store, type="$app:liked", access={"admin": "MERCHANT_READ"})["metaobjectDefinition"]
    assert made["access"] == {"admin": "MERCHANT_READ", "storefront": "NONE"}
    assert made["type"] == "app--1--liked"
    assert upsert(store, "a", [], "$app:liked")["userErrors"][0]["code"] == "OBJECT_FIELD_REQUIRED"


def test_deleting_a_definition_deletes_its_metaobjects(store, gids):
    define(store, type="other")
    upsert(store, "a", gids)
    upsert(store, "a", gids, "other")
    delete = """mutation ($id: ID!) { metaobjectDefinitionDelete(id: $id) {
      deletedId userErrors { field message code } } }"""
    found = "gid://shopify/MetaobjectDefinition/1"
    assert run(store, delete, id=found) == {"deletedId": found, "userErrors": []}
    assert [entry["type"] for entry in store.state.scan("Metaobject")] == ["other"]
    missing = {"field": ["id"], "message": "Record not found", "code": "RECORD_NOT_FOUND"}
    assert run(store, delete, id=found) == {"deletedId": None, "userErrors": [missing]}
