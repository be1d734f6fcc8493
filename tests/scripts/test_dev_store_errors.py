"""Errors of the local shop outside `userErrors`: codes and words as Shopify's."""

from typing import Any

import pytest
from raw_http import ADMIN, ask, send

from scripts.shopify.dev_store import DevStore


@pytest.mark.parametrize(
    ("query", "message", "extensions"),
    [
        (
            "query A { shop { nope } }",
            "Field 'nope' doesn't exist on type 'Shop'",
            {"code": "undefinedField", "typeName": "Shop", "fieldName": "nope"},
        ),
        (
            "{ shop }",
            "Field must have selections (field 'shop' returns Shop but has no selections. "
            "Did you mean 'shop { ... }'?)",
            {"code": "selectionMismatch", "nodeName": "field 'shop'", "typeName": "Shop!"},
        ),
        (
            "{ shop { name { x } } }",
            "Selections can't be made on scalars (field 'name' returns String but has selections)",
            {"code": "selectionMismatch", "nodeName": "field 'name'", "typeName": "String!"},
        ),
        (
            "{ shop(size: 1) { name } }",
            "Field 'shop' doesn't accept argument 'size'",
            {"code": "argumentNotAccepted", "name": "shop", "typeName": "Field", "argumentName": "size"},
        ),
        (
            "{ node { id } }",
            "Field 'node' is missing required arguments: id",
            {"code": "missingRequiredArguments", "className": "Field", "name": "node", "arguments": "id"},
        ),
        ("{ node(id: $id) { id } }", "$id is used but not declared", {"code": "variableNotDefined"}),
        ("query ($x: ID) { shop { name } }", "$x is declared but not used", {"code": "variableNotUsed"}),
        (
            "query ($x: ID) { node(id: $x) { id } }",
            "Type mismatch on variable $x (ID / ID!)",
            {"code": "variableMismatch"},
        ),
        ("query ($x: Nope) { node(id: $x) { id } }", "No such type Nope", {"code": "undefinedType"}),
        ("{ shop { ...F } }", "Fragment F was used, but not defined", {"code": "useAndDefineFragment"}),
        (
            "mutation { publishablePublish(id: 1, input: [{size: 2}]) { userErrors { field } } }",
            "InputObject 'PublicationInput' doesn't accept argument 'size'",
            {"code": "argumentNotAccepted"},
        ),
        (
            "{ node(id: 1.5) { id } }",
            "ID cannot represent a non-string and non-integer value: 1.5",
            {"code": "argumentLiteralsIncompatible"},
        ),
    ],
)
def test_invalid_document(store: DevStore, query: str, message: str, extensions: dict[str, str]) -> None:
    status, _, body = ask(store, query)
    assert status == 200
    assert "data" not in body
    assert (body["errors"][0]["message"], body["errors"][0]["extensions"]) == (message, extensions)
    assert store.bucket.available() == 20000


def test_invalid_document_has_the_path_of_the_field(store: DevStore) -> None:
    query = "query A { s: shop { ...F } } fragment F on Shop { plan { ... on ShopPlan { nope } } }"
    (error,) = ask(store, query)[2]["errors"]
    assert error["path"] == ["fragment F", "plan", "... on ShopPlan", "nope"]
    assert error["locations"] == [{"line": 1, "column": query.index("nope") + 1}]


def test_document_that_cannot_be_parsed_or_chosen(store: DevStore) -> None:
    assert ask(store, "{ shop {")[2]["errors"][0]["message"].startswith("Parse error:")
    two = "query A { shop { name } } query B { shop { id } }"
    assert ask(store, two)[2]["errors"] == [{"message": "An operation name is required"}]
    token = {"X_Shopify_Access_Token": store.access_token}
    assert "id" in send(store, ADMIN, {"query": two, "operationName": "B"}, **token)[2]["data"]["shop"]
    assert send(store, ADMIN, {"query": two, "operationName": "C"}, **token)[2]["errors"] == [
        {"message": 'No operation named "C"'}
    ]
    bodies = ("no json", "[]", "{}", '{"query": 1}', '{"query": "{shop{name}}", "variables": [1]}')
    variables = ('{"t": "half a pair \\ud800"}', '{"t": NaN}', '{"t": 1e999}', '{"t": ' + "[" * 5000 + "]" * 5000 + "}")
    bodies += tuple(f'{{"query": "{{shop{{name}}}}", "variables": {given}}}' for given in variables)
    for wrong in (*bodies, '{"query": "{shop{name}}", "operationName": {}}'):
        status, _, body = send(store, ADMIN, wrong, **token)
        assert (status, body) == (400, {"errors": {"query": "Required parameter missing or invalid"}})


PUBLISH = """
    mutation P($id: ID!, $input: [PublicationInput!]!) {
        publishablePublish(id: $id, input: $input) { userErrors { field } }
    }
"""


@pytest.mark.parametrize(
    ("variables", "messages", "problems"),
    [
        (
            {"input": []},
            ["Variable $id of type ID! was provided invalid value"],
            [[{"path": [], "explanation": "Expected value to not be null"}]],
        ),
        (
            {"id": "1", "input": [{"publicationId": "1"}, {"size": 2}]},
            [
                "Variable $input of type [PublicationInput!]! was provided invalid value for "
                "1.size (Field is not defined on PublicationInput)"
            ],
            [[{"path": [1, "size"], "explanation": "Field is not defined on PublicationInput"}]],
        ),
        (
            {"id": {}, "input": "x"},
            [
                "Variable $id of type ID! was provided invalid value",
                "Variable $input of type [PublicationInput!]! was provided invalid value for "
                '0 (Expected "x" to be a key-value object)',
            ],
            [
                [{"path": [], "explanation": "Could not coerce value {} to ID"}],
                [{"path": [0], "explanation": 'Expected "x" to be a key-value object'}],
            ],
        ),
    ],
)
def test_invalid_variables(store: DevStore, variables: Any, messages: list[str], problems: list[Any]) -> None:
    errors = ask(store, PUBLISH, variables)[2]["errors"]
    assert [error["message"] for error in errors] == messages
    assert [error["extensions"]["problems"] for error in errors] == problems
    assert {error["extensions"]["code"] for error in errors} == {"INVALID_VARIABLE"}
    assert errors[0]["locations"][0]["line"] == 2
    assert store.bucket.available() == 20000


def test_unknown_enum_value_names_the_known_ones(store: DevStore) -> None:
    (error,) = ask(
        store, "query ($k: ProductSortKeys) { products(first: 1, sortKey: $k) { nodes { id } } }", {"k": "X"}
    )[2]["errors"]
    assert error["extensions"]["value"] == "X"
    assert error["extensions"]["problems"][0]["explanation"].startswith('Expected "X" to be one of: ')


@pytest.mark.parametrize(
    ("document", "count", "most"),
    [
        ("{{ nodes(ids: [{}]) {{ id }} }}", 250, 250),
        ("{{ nodes(ids: [{}]) {{ id }} }}", 251, 250),
        ("query ($ids: [ID!]! = [{}]) {{ nodes(ids: $ids) {{ id }} }}", 251, 250),
        ("mutation {{ productSet(input: {{tags: [{}]}}) {{ userErrors {{ code }} }} }}", 251, 250),
        ("mutation {{ productSet(input: {{variants: [{}]}}) {{ userErrors {{ code }} }} }}", 2048, 2048),
        ("mutation {{ productSet(input: {{variants: [{}]}}) {{ userErrors {{ code }} }} }}", 2049, 2048),
    ],
)
def test_list_in_the_document_that_is_too_long(store: DevStore, document: str, count: int, most: int) -> None:
    entry = "{optionValues: []}" if "variants" in document else '"gid://shopify/Product/1"'
    errors = store.execute(document.format(",".join([entry] * count))).get("errors", [])
    messages = [error["message"] for error in errors if error["extensions"]["code"] == "MAX_INPUT_SIZE_EXCEEDED"]
    told = f"The input array size of {count} is greater than the maximum allowed of {most}."
    assert messages == ([told] if count > most else [])


def test_input_list_of_more_than_250_entries(store: DevStore) -> None:
    for count, refused in ((250, False), (251, True)):
        body = ask(store, PUBLISH, {"id": "1", "input": [{"publicationId": str(n)} for n in range(count)]})[2]
        codes = [error["extensions"]["code"] for error in body.get("errors", []) if "extensions" in error]
        assert ("MAX_INPUT_SIZE_EXCEEDED" in codes) is refused
