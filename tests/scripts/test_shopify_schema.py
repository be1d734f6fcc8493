"""Our GraphQL documents and the dev store's SDL, held against Shopify's published schema (make shopify-schema)."""

import ast
import re
from functools import cache

import pytest
from conftest import require
from graphql import GraphQLSchema, build_schema, get_named_type, parse, validate_schema
from shopify_schema import (
    document_problems,
    named_scopes,
    needed_scopes,
    operations,
    published,
    subset_problems,
    with_implied,
)

from scripts.shopify.bulk_documents import bulk_text, inline_variables
from scripts.shopify.dev_store.bulk_rules import mutation_problems, query_problems
from scripts.shopify.dev_store.engine import load_resolvers, sdl
from scripts.shopify.dev_store.registry import RESOLVERS
from scripts.shopify.documents import QUERIES, load
from scripts.shopify.fetch_schema import is_fetched
from scripts.shopify.settings import API_VERSION

SHOPIFY = QUERIES.parent
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
    return build_schema(sdl(api), assume_valid=True)


def theme_script() -> str:
    (path,) = (SHOPIFY / "theme").rglob("*.js")
    return path.read_text(encoding="utf-8")


@cache
def patterns(module: str) -> frozenset[str]:
    """Texts in a module and in the modules of scripts.shopify that it imports, as patterns: f-strings have gaps."""
    found: set[str] = set()
    for node in ast.walk(ast.parse((SHOPIFY / f"{module}.py").read_text(encoding="utf-8"))):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            found.add(re.escape(node.value))
        elif isinstance(node, ast.JoinedStr):
            parts = (re.escape(part.value) if isinstance(part, ast.Constant) else "[a-z]+" for part in node.values)
            found.add("".join(parts))
        elif isinstance(node, ast.ImportFrom) and (node.module or "").startswith("scripts.shopify."):
            other = node.module.removeprefix("scripts.shopify.")
            if "." not in other and other not in COMMANDS:
                found |= patterns(other)
    return frozenset(pattern for pattern in found if len(pattern) < 100 and not pattern.startswith("[a-z]+"))


def names_used(module: str) -> list[str]:
    """Names of the documents that a module may send, itself or through what it imports."""
    return [name for name in DOCUMENTS if any(re.fullmatch(pattern, name) for pattern in patterns(module))]


def bulk_queries() -> set[str]:
    """Names of the documents that are given to `bulk_query`, as a literal."""
    calls = [
        node
        for path in SHOPIFY.glob("*.py")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Call) and ast.unparse(node.func) == "bulk_query"
    ]
    return {call.args[1].value for call in calls}


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
def test_document_holds_one_named_operation_and_is_used(name):
    (operation,) = operations(parse(text_of(name)))
    assert operation.name.value
    assert any(name in names_used(path.stem) for path in SHOPIFY.glob("*.py"))


def test_documents_of_bulk_queries_keep_the_bulk_rules():
    names = bulk_queries()
    assert names == {name for name in DOCUMENTS if re.search(r"\bedges\b", text_of(name))}
    schema = published("admin").schema
    for name in names:
        document = load(name)
        # A value for every variable, optional ones too, so that none is left out.
        values = {node.variable.name.value: "x" for node in document.operation.variable_definitions or ()}
        text = bulk_text(inline_variables(document, values), "0123456789abcdef")
        assert "$" not in text
        assert (name, query_problems(schema, text), document_problems(schema, text)) == (name, [], [])


def test_the_document_of_the_bulk_mutation_keeps_the_bulk_rules():
    assert mutation_problems(published("admin").schema, text_of("metaobject_upsert")) == []


def test_the_theme_asks_the_storefront_api_for_what_it_has():
    script = theme_script()
    (query,) = re.findall(r"`(\s*query\b[^`]*)`", script)  # a template literal
    # The directive is put in by the script, for other countries and languages than the shop's first.
    (directive,) = re.findall(r"`\) (@[^`]*) \{`", script)
    for name, value in (("country", "DE"), ("language", "PT_BR")):
        directive = directive.replace(f"${{{name}}}", value)
    for text in (query, query.replace(") {", f") {directive} {{", 1)):
        for schema in (published("storefront").schema, dev_store_schema("storefront")):
            assert document_problems(schema, text) == []
    scopes = set().union(*needed_scopes(published("storefront"), query).values())
    assert scopes == {"unauthenticated_read_metaobjects", "unauthenticated_read_product_listings"}
    assert re.findall(r"API_VERSION = '(.*)'", script) == [API_VERSION]


@pytest.mark.parametrize("api", ["admin", "storefront"])
def test_the_dev_store_is_a_true_subset_of_shopify(api):
    schema = build_schema(sdl(api))
    assert [error.message for error in validate_schema(schema)] == []
    assert subset_problems(schema, published(api).schema) == []
    assert len(schema.query_type.fields) >= 2


def test_the_dev_store_asks_for_the_scopes_that_shopify_asks_for():
    api, checked = published("admin"), 0
    load_resolvers()
    for (owner, name), entry in RESOLVERS["admin"].items():
        if owner in ("QueryRoot", "Mutation"):
            type_ = get_named_type(api.schema.type_map[owner].fields[name].type)
            item = get_named_type(type_.fields["nodes"].type) if type_.name.endswith("Connection") else type_
            for needed in (named_scopes(api, owner, name), named_scopes(api, item.name)):
                checked += bool(needed)
                assert not needed or needed & with_implied(entry.scopes), (owner, name)
    assert checked > 10


@pytest.mark.parametrize("command", COMMANDS)
def test_a_command_asks_for_the_scopes_that_its_documents_need(command):
    used = names_used(command)
    assert len(used) >= 2
    source = (SHOPIFY / f"{command}.py").read_text(encoding="utf-8")
    scopes = with_implied(re.findall(r'"((?:read|write)_[a-z_]+)"', source))
    for name in used:
        needed = needed_scopes(published("admin"), text_of(name))
        lacking = {what: set(some) for what, some in needed.items() if not some & scopes}
        assert (name, lacking) == (name, {})
