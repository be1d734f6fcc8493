"""Our GraphQL documents and the dev store's SDL, held against Shopify's published schema (make shopify-schema)."""

import ast
import importlib
import re
from functools import cache
from pathlib import Path

import pytest
from conftest import require
from graphql import GraphQLSchema, build_schema, parse
from shopify_schema import (
    document_problems,
    needed_scopes,
    operations,
    published,
    subset_problems,
    with_implied,
)

from scripts.shopify.dev_store.bulk_rules import mutation_problems, query_problems
from scripts.shopify.documents import QUERIES, bulk_text, inline_variables, load
from scripts.shopify.fetch_schema import is_fetched
from scripts.shopify.settings import API_VERSION

SHOPIFY = QUERIES.parent
SDL = SHOPIFY / "dev_store" / "sdl"
DOCUMENTS = sorted(path.stem for path in QUERIES.glob("*.graphql"))
COMMANDS = (
    "populate_inventory",
    "prepare_inventory_snapshot",
    "cleanup",
    "export_orders",
    "publish_recommendations",
)


@pytest.fixture(autouse=True)
def schema() -> None:
    require(is_fetched(), "Shopify's published schema (make shopify-schema)")


def text_of(name: str) -> str:
    return (QUERIES / f"{name}.graphql").read_text(encoding="utf-8")


@cache
def dev_store_schema(api: str) -> GraphQLSchema:
    files = sorted(SDL.glob("*.graphql"))
    wanted = [path for path in files if (path.stem == "storefront") == (api == "storefront")]
    return build_schema("\n".join(path.read_text(encoding="utf-8") for path in wanted))


def storefront_documents() -> list[str]:
    """The GraphQL documents inside the theme's JavaScript, which are template literals."""
    scripts = [path.read_text(encoding="utf-8") for path in sorted((SHOPIFY / "theme").rglob("*.js"))]
    return [text for script in scripts for text in re.findall(r"`(\s*(?:#\S*\s*)?query\b[^`]*)`", script)]


@cache
def constants(module: str) -> frozenset[str]:
    """Text constants of a module and of the modules of scripts.shopify that it imports."""
    found: set[str] = set()
    tree = ast.parse((SHOPIFY / f"{module}.py").read_text(encoding="utf-8"))
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            found.add(node.value)
        elif isinstance(node, ast.ImportFrom) and (node.module or "").startswith("scripts.shopify."):
            other = node.module.removeprefix("scripts.shopify.")
            if "." not in other and other not in COMMANDS:
                found |= constants(other)
    return frozenset(found)


def bulk_documents(function: str) -> set[str]:
    """Names of the documents that are given to `bulk_query` or `bulk_mutation` as a literal."""
    calls = [
        node
        for path in SHOPIFY.glob("*.py")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Call) and ast.unparse(node.func).rsplit(".", 1)[-1] == function
    ]
    return {call.args[1].value for call in calls if len(call.args) > 1 and isinstance(call.args[1], ast.Constant)}


def test_the_schema_is_of_our_version():
    """2026-07 brought CollectionCreateInput; only `unstable` lacks productsCount."""
    schema = published("admin").schema
    assert API_VERSION == "2026-10"
    assert "CollectionCreateInput" in schema.type_map
    assert "productsCount" in schema.type_map["Collection"].fields
    assert (schema.query_type.name, published("storefront").schema.query_type.name) == ("QueryRoot", "QueryRoot")


@pytest.mark.parametrize("name", DOCUMENTS)
def test_document_is_valid_and_nothing_in_it_deprecated(name):
    assert document_problems(published("admin").schema, text_of(name)) == []


@pytest.mark.parametrize("name", DOCUMENTS)
def test_document_is_valid_on_the_dev_store(name):
    assert document_problems(dev_store_schema("admin"), text_of(name)) == []


@pytest.mark.parametrize("name", DOCUMENTS)
def test_document_is_named_after_its_operation_and_used(name):
    (operation,) = operations(parse(text_of(name)))
    assert operation.name.value == "".join(word.capitalize() for word in name.split("_"))
    assert any(name in constants(path.stem) for path in SHOPIFY.glob("*.py"))


def test_documents_of_bulk_queries_keep_the_bulk_rules():
    names = bulk_documents("bulk_query")
    assert names == {name for name in DOCUMENTS if re.search(r"\bedges\b", text_of(name))}
    schema = published("admin").schema
    for name in names:
        document = load(name)
        # A value for every variable, optional ones too, so that none is left out.
        values = {node.variable.name.value: "x" for node in document.operation.variable_definitions}
        text = bulk_text(inline_variables(document, values), "0123456789abcdef")
        assert "$" not in text
        assert (name, query_problems(schema, text), document_problems(schema, text)) == (name, [], [])


def test_documents_of_bulk_mutations_keep_the_bulk_rules():
    names = bulk_documents("bulk_mutation")
    assert names
    for name in names:
        assert (name, mutation_problems(published("admin").schema, text_of(name))) == (name, [])


def test_the_theme_asks_the_storefront_api_for_what_it_has():
    documents = storefront_documents()
    assert documents
    for text in documents:
        for schema in (published("storefront").schema, dev_store_schema("storefront")):
            assert document_problems(schema, text) == []
        assert "unauthenticated_read_metaobjects" in set().union(*needed_scopes(published("storefront"), text).values())


@pytest.mark.parametrize("api", ["admin", "storefront"])
def test_the_dev_store_is_a_true_subset_of_shopify(api):
    schema = dev_store_schema(api)
    assert subset_problems(schema, published(api).schema) == []
    assert len(schema.query_type.fields) >= 2


@pytest.mark.parametrize("command", COMMANDS)
def test_a_command_asks_for_the_scopes_that_its_documents_need(command):
    used = [name for name in DOCUMENTS if name in constants(command)]
    assert len(used) >= 2
    scopes = with_implied(importlib.import_module(f"scripts.shopify.{command}").SCOPES)
    for name in used:
        needed = needed_scopes(published("admin"), text_of(name))
        lacking = {what: set(some) for what, some in needed.items() if not some & scopes}
        assert (name, lacking) == (name, {})


def test_theme_documents_are_found():
    """The pattern for documents in JavaScript takes template literals only, comments before the query included."""
    script = "const a = `\n  query A { b }`; const c = `not a query`; const d = `query($x: ID!) { y(id: $x) }`;"
    pattern = r"`(\s*(?:#\S*\s*)?query\b[^`]*)`"
    assert re.findall(pattern, script) == ["\n  query A { b }", "query($x: ID!) { y(id: $x) }"]
    assert Path(SHOPIFY).name == "shopify"
