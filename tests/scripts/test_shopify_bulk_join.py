"""Joining the lines of a bulk result, and the documents that bulk queries are made from, without any server."""

import json
import re
import tracemalloc

import pytest
from graphql import parse, print_ast
from hypothesis import given, settings
from hypothesis import strategies as st

from scripts.shopify.answers import ShopifyError
from scripts.shopify.bulk_documents import Connection, bulk_text, inline_variables, root_connection
from scripts.shopify.bulk_join import join_lines
from scripts.shopify.documents import Document

ORDERS = """
query Orders($since: String!, $tag: String!) {
  orders(query: $since) {
    edges {
      node {
        __typename
        id
        customer { id }
        ... on Order { items: lineItems(filter: {tags: [$tag, $since]}) { edges { node { __typename id ...More } } } }
        fulfillments { edges { node { __typename id } } }
      }
    }
  }
}
fragment More on LineItem { discounts { edges { node { __typename id } } } }
"""


def document(text):
    tree = parse(text)
    return Document("some", tree, tree.definitions[0])


def lines(*nodes):
    return [json.dumps(node) for node in nodes]


def order(number, **fields):
    return {"__typename": "Order", "id": f"gid://shopify/Order/{number}", **fields}


def item(number, parent, kind="LineItem"):
    return {"__typename": kind, "id": f"gid://shopify/{kind}/{number}", "__parentId": parent}


def leaf(name):
    return Connection(name, {})


ITEMS = Connection("orders", {"lineItems": leaf("lineItems")})


def test_variables_are_written_into_the_text():
    values = {"since": "a \"quoted\" 'text'\n\\", "tag": "$x"}
    text = print_ast(inline_variables(document(ORDERS), values))
    since = json.dumps(values["since"])
    assert text.startswith(f"query Orders {{\n  orders(query: {since}) {{")
    assert f'tags: ["$x", {since}]' in text
    (argument,) = parse(text).definitions[0].selection_set.selections[0].arguments
    assert argument.value.value == values["since"]


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"tag": "x"}, r"some should get the variables \['since', 'tag'\]. Received: \['tag'\]"),
        ({"since": "x", "tag": "x", "more": "x"}, r"Received: \['more', 'since', 'tag'\]"),
        ({"since": None, "tag": "x"}, r"some: \$since should be text. Received: None"),
        ({"since": "x", "tag": 1}, r"some: \$tag should be text. Received: 1"),
    ],
)
def test_variables_that_do_not_fit_are_refused(values, message):
    with pytest.raises(ValueError, match=message):
        inline_variables(document(ORDERS), values)


@pytest.mark.parametrize("kind", ["String", "[String!]!", "Int!", "ProductInput"])
def test_variable_of_another_type_is_refused(kind):
    text = f"query A($input: {kind}) {{ products(a: $input) {{ edges {{ node {{ id }} }} }} }}"
    message = rf"some: \$input should be of type String!, .* Received: {re.escape(kind)}; write its value into the doc"
    with pytest.raises(ValueError, match=message):
        inline_variables(document(text), {"input": "x"})


def test_operation_is_named_for_finding_it_again():
    text = bulk_text(parse("mutation Publish($id: ID!) { publish(id: $id) { id } }"), "0a1b")
    assert text.startswith("mutation Publish_0a1b($id: ID!) {")
    assert bulk_text(parse("{ products { edges { node { id } } } }"), "0a1b").startswith("query Bulk_0a1b")


def test_connections_are_read_from_the_document():
    items = Connection("items", {"discounts": leaf("discounts")})
    assert root_connection(document(ORDERS)) == Connection(
        "orders", {"items": items, "fulfillments": leaf("fulfillments")}
    )
    for text, message in [
        ("{ shop { name } }", "one top-level connection"),
        ("{ products { nodes { id } } }", "one top-level connection"),
        (
            "{ orders { edges { node { id customer { orders { edges { node { id } } } } } } } }",
            "inside the object",
        ),
    ]:
        with pytest.raises(ValueError, match=message):
            root_connection(document(text))


def test_children_anywhere_in_the_file_come_to_their_parents():
    first, second, third = order(1, name="a"), order(2), order(3)
    file = lines(item(9, second["id"]), first, item(7, first["id"]), second, item(8, second["id"]), third)
    joined = list(join_lines(file, ITEMS, {}, root_count=3))
    kind = {"__typename": "LineItem"}
    assert joined == [
        {**first, "lineItems": {"nodes": [{**kind, "id": "gid://shopify/LineItem/7"}]}},
        {**second, "lineItems": {"nodes": [{**kind, "id": f"gid://shopify/LineItem/{n}"} for n in (9, 8)]}},
        {**third, "lineItems": {"nodes": []}},
    ]


@settings(deadline=None)
@given(st.integers(1, 6), st.lists(st.integers(0, 5), max_size=12), st.randoms())
def test_order_of_the_file_does_not_matter(count, parents, random):
    owners = [order(parent % count)["id"] for parent in parents]
    nodes = [order(number) for number in range(count)] + [item(number, owner) for number, owner in enumerate(owners)]
    random.shuffle(nodes)
    joined = list(join_lines(lines(*nodes), ITEMS, {}, root_count=count))
    assert [node["id"] for node in joined] == [node["id"] for node in nodes if "__parentId" not in node]
    for node in joined:
        expected = [child["id"] for child in nodes if child.get("__parentId") == node["id"]]
        assert [child["id"] for child in node["lineItems"]["nodes"]] == expected


def test_several_connections_are_told_apart_by_type_and_go_three_deep():
    root = root_connection(document(ORDERS))
    names = {"LineItem": "items", "Fulfillment": "fulfillments", "Discount": "discounts"}
    one, line = order(1), item(5, order(1)["id"])
    file = lines(item(1, line["id"], "Discount"), item(2, one["id"], "Fulfillment"), line, one)
    (joined,) = join_lines(file, root, names)
    assert [node["id"] for node in joined["fulfillments"]["nodes"]] == ["gid://shopify/Fulfillment/2"]
    assert [node["id"] for node in joined["items"]["nodes"]] == ["gid://shopify/LineItem/5"]
    assert joined["items"]["nodes"][0]["discounts"] == {
        "nodes": [{"__typename": "Discount", "id": "gid://shopify/Discount/1"}]
    }
    with pytest.raises(ShopifyError, match=r"__typename Fulfillment; `connections` should say which of items, fulf"):
        list(join_lines(file, root, {"LineItem": "items"}))


def test_query_without_nested_connections_is_passed_through():
    source = iter(lines(order(1), order(2)))
    joined = join_lines(source, leaf("orders"), {})
    assert next(joined) == order(1)
    assert len(list(source)) == 1  # the second line was not read ahead
    assert len(list(join_lines(lines(order(1), order(2)), leaf("orders"), {}, root_count=2))) == 2
    with pytest.raises(ShopifyError, match="2 top-level nodes instead of 3"):
        list(join_lines(lines(order(1), order(2)), leaf("orders"), {}, root_count=3))
    with pytest.raises(ShopifyError, match="a child of gid://shopify/Order/1, of which the query selects none"):
        list(join_lines(lines(item(1, order(1)["id"])), leaf("orders"), {}))


@pytest.mark.parametrize(
    ("file", "message"),
    [
        (lines(order(1), item(1, "gid://shopify/Order/2")), "a child of gid://shopify/Order/2, which it does not hold"),
        (lines(order(1)), "1 top-level nodes instead of 2"),
        ([*lines(order(1)), "[1]"], r"no JSON object: '\[1\]'"),
        ([*lines(order(1)), '{"id": '], "no JSON object"),
        (lines({"__typename": "Order"}, order(1)), "a node of orders without the id"),
    ],
)
def test_inconsistent_result_is_refused(file, message):
    with pytest.raises(ShopifyError, match=message) as caught:
        list(join_lines(file, ITEMS, {}, root_count=2))
    assert caught.value.code == "BULK_RESULT"


def test_inconsistent_result_yields_nothing_at_all():
    joined = join_lines(lines(order(1), order(2), item(1, "gid://shopify/Order/9")), ITEMS, {})
    with pytest.raises(ShopifyError):
        next(joined)


def test_memory_does_not_grow_with_the_file():
    def file():
        for number in range(8000):
            yield json.dumps(item(number, order(number % 4000)["id"]))
            if number % 2:
                yield json.dumps(order(number // 2, note="x" * 3000))

    tracemalloc.start()
    try:
        count = sum(len(node["lineItems"]["nodes"]) for node in join_lines(file(), ITEMS, {}, 4000))
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert count == 8000
    assert peak < 2_000_000  # the file has 13 MB
