"""The rules that our documents are held to, on documents that are known to be bad or good."""

import re

import pytest
from conftest import require
from graphql import build_schema, parse
from shopify_schema import (
    document_problems,
    needed_scopes,
    published,
    subset_problems,
    variable_problems,
    with_implied,
)

from scripts.shopify.dev_store.bulk_rules import mutation_problems, query_problems
from scripts.shopify.fetch_schema import is_fetched


@pytest.fixture(autouse=True)
def schema() -> None:
    require(is_fetched(), "Shopify's published schema (make shopify-schema)")


BAD = [
    ("{ collections(first: 1) { nodes { productsCount } } }", "must have a selection of subfields"),
    ("{ products(first: 1) { nodes { nothing } } }", "Cannot query field 'nothing' on type 'Product'"),
    ("{ products(first: 1, colour: RED) { nodes { id } } }", "Unknown argument 'colour'"),
    ("{ products(first: 1) ", "Syntax Error"),
    ("{ publications(first: 1) { nodes { name } } }", "deprecated field Publication.name"),
    ('mutation { productCreate(input: {title: "x"}) { product { id } } }', "deprecated argument input"),
    (
        'mutation { publishablePublish(id: "1", input: [{channelId: "2"}]) { userErrors { message } } }',
        "deprecated input field PublicationInput.channelId",
    ),
    (
        "{ metafieldDefinitions(first: 1, ownerType: MEDIA_IMAGE) { nodes { id } } }",
        "deprecated enum value MEDIA_IMAGE",
    ),
]
BAD_BULK = [
    ("{ products { nodes { id } } }", "Invalid connection fields: 'products'"),
    ("{ products { edges { node { id } } nodes { id } } }", "Invalid connection fields: 'products'"),
    ("{ shop { name } }", "at least one connection"),
    ("query ($q: String) { products(query: $q) { edges { node { id } } } }", "no variables"),
    (
        "{ products { edges { node { title collections { edges { node { id } } } } } } }",
        "Connection fields without 'id': products",
    ),
    (
        "{ products { edges { node { other: id collections { edges { node { id } } } } } } }",
        "Connection fields without 'id': products",
    ),
    ("{ a: products { edges { node { id } } } b: products { edges { node { id } } } }", "more than one top level"),
    ('{ node(id: "1") { ... on Collection { products { edges { node { id } } } } } }', "top level `node`"),
    (
        "{ orders { edges { node { id fulfillments { fulfillmentLineItems { edges { node { id } } } } } } } }",
        "a connection field within a list field",
    ),
    (
        "{ collections { edges { node { id products { edges { node { id variants { edges { node { id metafields "
        "{ edges { node { id } } } } } } } } } } } } }",
        "nesting depth greater than 2",
    ),
    (
        'mutation { bulkOperationRunQuery(query: "{ x }") { bulkOperation { id } } }',
        "allowed mutation name",
    ),
    (
        'mutation { a: productDelete(input: {id: "1"}) { deletedProductId } b: productDelete(input: {id: "2"}) '
        "{ deletedProductId } }",
        "single top level",
    ),
    ("fragment F on Product { id } query { products { nodes { ...F } } }", "Invalid connection fields: 'products'"),
    ("{ products { edges { node { id } } } }" + " " * 65_535, "too large"),
]


@pytest.mark.parametrize(("text", "expected"), BAD)
def test_validator_finds_what_is_bad(text, expected):
    problems = document_problems(published("admin").schema, text)
    assert [problem for problem in problems if expected in problem] != [], problems


@pytest.mark.parametrize(("text", "expected"), BAD_BULK)
def test_bulk_rules_find_what_is_bad(text, expected):
    rules = mutation_problems if text.startswith("mutation") else query_problems
    problems = rules(published("admin").schema, text)
    assert [message for _, message, _ in problems if expected in message] != [], problems


def test_bulk_rules_allow_what_is_good():
    schema = published("admin").schema
    inner = "products { edges { node { id variants { edges { node { id } } } } } }"
    three = f"{{ collections {{ edges {{ node {{ id {inner} }} }} }} }}"
    upsert = (
        "mutation ($handle: MetaobjectHandleInput!, $metaobject: MetaobjectUpsertInput!) "
        "{ metaobjectUpsert(handle: $handle, metaobject: $metaobject) { userErrors { message } } }"
    )
    assert (query_problems(schema, three), mutation_problems(schema, upsert)) == ([], [])


def test_validator_finds_bad_values_of_variables():
    schema = published("admin").schema
    create = parse("mutation M($p: ProductCreateInput!) { productCreate(product: $p) { product { id } } }")
    publish = parse("mutation M($i: [PublicationInput!]!) { publishablePublish(id: 1, input: $i) { shop { id } } }")
    assert variable_problems(schema, create, {"p": {"title": "x"}}) == []
    assert "unknown field 'name'" in variable_problems(schema, create, {"p": {"name": "x"}})[0]
    assert variable_problems(schema, create, {"p": {}, "q": 1}) == ["$q is not a variable of M"]
    (problem,) = variable_problems(schema, publish, {"i": [{"channelId": "gid://shopify/Channel/1"}]})
    assert problem == "deprecated input field PublicationInput.channelId at $i[0]"


def test_scopes_are_read_from_the_schema():
    text = "{ orders(first: 1) { nodes { id customer { id } lineItems(first: 1) { nodes { product { id } } } } } }"
    assert needed_scopes(published("admin"), text) == {
        "Order": {"read_orders", "read_marketplace_orders", "read_quick_sale"},
        "Customer": {"read_customers"},
        "LineItem": {"read_orders", "read_marketplace_orders"},
        "Product": {"read_products"},
    }
    assert with_implied(["write_products"]) == {"write_products", "read_products"}


@pytest.mark.parametrize(
    ("real", "problem"),
    [
        ("type QueryRoot { a(n: Int = 5): String! b: Int }", None),
        ("type QueryRoot { a(n: Int = 5): String }", "QueryRoot.a changed type from String! to String."),
        ("type QueryRoot { b: Int }", "QueryRoot.a was removed."),
        ("type QueryRoot { a(n: Int = 7): String! }", "QueryRoot.a(n:) has changed defaultValue from 5 to 7."),
        ("type QueryRoot { a(n: Int = 5, m: Int!): String! }", "required argument"),
        ("type Query { a(n: Int = 5): String! }", "query_type is QueryRoot, which Shopify calls Query"),
    ],
)
def test_subset_rule(real, problem):
    small = build_schema("schema { query: QueryRoot } type QueryRoot { a(n: Int = 5): String! }")
    root = re.search(r"type (\w+)", real)[1]
    problems = subset_problems(small, build_schema(f"schema {{ query: {root} }} {real}"))
    assert (problems == []) if problem is None else [text for text in problems if problem in text]
