import base64
import json

import pytest
from graphql import GraphQLError

from scripts.shopify.dev_store.pagination import Listed, Scanned, connection
from scripts.shopify.dev_store.search import Field, compile_search
from scripts.shopify.dev_store.state import State, gid, split_gid
from scripts.shopify.dev_store.times import parse_time, utc_text


@pytest.fixture
def state():
    state = State()
    for number in range(1, 24):
        state.insert("Product", {"title": f"t{number % 7}"})
    yield state
    state.close()


def numbers(page):
    return [split_gid(node["id"])[1] for node in page["nodes"]]


SOURCES = {
    "all": (lambda state: Scanned(state, "Product"), range(1, 24)),
    "every third": (
        lambda state: Scanned(state, "Product", lambda node: split_gid(node["id"])[1] % 3 == 0),
        range(3, 24, 3),
    ),
    "none": (lambda state: Scanned(state, "Product", lambda node: False), ()),
    "ascending": (lambda state: list(state.scan("Product")), range(1, 24)),
    "list": (lambda state: list(state.scan("Product", reverse=True)), range(23, 0, -1)),
    "ids": (lambda state: Listed([gid("Product", n) for n in (5, 2, 9)], load=state.get), (5, 2, 9)),
    "sorted": (
        lambda state: Listed(list(state.scan("Product")), key=lambda node: node["title"]),
        sorted(range(1, 24), key=lambda number: (number % 7, number)),
    ),
}


@pytest.mark.parametrize("size", [1, 2, 7, 22, 23, 24, 250])
@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("name", SOURCES)
def test_pages_from_either_end_hold_every_node_once(state, name, reverse, size):
    make, order = SOURCES[name]
    order = list(order)[::-1] if reverse else list(order)
    forward, backward = [], []
    page = connection(make(state), first=size, reverse=reverse)
    while True:
        assert page["pageInfo"]["hasPreviousPage"] == bool(forward)
        assert len(page["nodes"]) == size or not page["pageInfo"]["hasNextPage"]
        forward += numbers(page)
        if not page["pageInfo"]["hasNextPage"]:
            break
        page = connection(make(state), first=size, after=page["pageInfo"]["endCursor"], reverse=reverse)
    page = connection(make(state), last=size, reverse=reverse)
    while True:
        assert page["pageInfo"]["hasNextPage"] == bool(backward)
        backward = numbers(page) + backward
        if not page["pageInfo"]["hasPreviousPage"]:
            break
        page = connection(make(state), last=size, before=page["pageInfo"]["startCursor"], reverse=reverse)
    assert forward == backward == order


def test_shape_of_a_page(state):
    page = connection(Scanned(state, "Product"), first=2)
    assert [edge["node"] for edge in page["edges"]] == page["nodes"]
    cursors = [edge["cursor"] for edge in page["edges"]]
    assert json.loads(base64.b64decode(cursors[1])) == {"last_id": 2, "last_value": 2}
    info = {"hasNextPage": True, "hasPreviousPage": False, "startCursor": cursors[0], "endCursor": cursors[1]}
    assert page["pageInfo"] == info
    empty = connection([], first=2)
    assert empty["pageInfo"] == {
        "hasNextPage": False,
        "hasPreviousPage": False,
        "startCursor": None,
        "endCursor": None,
    }


@pytest.mark.parametrize("name", ["all", "ascending", "sorted"])
def test_a_page_goes_on_where_its_cursor_was_although_the_node_is_gone(state, name):
    make, order = SOURCES[name]
    page = connection(make(state), first=10)
    for number in list(order)[8:11]:
        state.delete(gid("Product", number))
    rest = connection(make(state), first=250, after=page["pageInfo"]["endCursor"])
    assert numbers(rest) == list(order)[11:]


def test_a_list_in_an_order_of_its_own_goes_on_where_its_cursor_was(state):
    ids = [gid("Product", number) for number in (5, 2, 9, 1, 7)]
    page = connection(Listed(ids, load=state.get), first=3)
    rest = connection(Listed([*ids[:2], *ids[3:]], load=state.get), first=3, after=page["pageInfo"]["endCursor"])
    assert numbers(rest) == [1, 7]


def test_a_page_reads_no_more_than_it_needs(state, monkeypatch):
    read = []
    scan = State.scan

    def counted(self, *arguments, **options):
        for document in scan(self, *arguments, **options):
            read.append(document)
            yield document

    monkeypatch.setattr(State, "scan", counted)
    page = connection(Scanned(state, "Product"), first=3)
    assert len(read) == 4
    connection(Scanned(state, "Product"), first=3, after=page["pageInfo"]["endCursor"])
    assert len(read) == 4 + 4 + 1  # the last one says whether there is a page before


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({}, "you must provide one of first or last"),
        ({"first": 1, "last": 1}, "providing both first and last is not supported"),
        ({"first": 251}, "first cannot be greater than 250. Received: 251"),
        ({"last": 251}, "last cannot be greater than 250. Received: 251"),
        ({"first": -1}, "first cannot be less than 0. Received: -1"),
        ({"first": 1, "after": "nonsense"}, "Invalid cursor for current pagination sort."),
        (
            {"first": 1, "after": base64.b64encode(b'{"last_id": "x", "last_value": 1}').decode()},
            "Invalid cursor for current pagination sort.",
        ),
    ],
)
def test_impossible_pages(state, arguments, message):
    with pytest.raises(GraphQLError) as caught:
        connection(Scanned(state, "Product"), **arguments)
    assert caught.value.message == message
    assert caught.value.extensions == {"code": "BAD_REQUEST"}


def test_cursor_of_another_sort_order(state):
    cursor = connection(Scanned(state, "Product"), first=1)["pageInfo"]["endCursor"]
    with pytest.raises(GraphQLError, match="Invalid cursor for current pagination sort"):
        connection(SOURCES["sorted"][0](state), first=1, after=cursor)


def test_without_a_limit_everything_comes_at_once(state):
    assert numbers(connection(Scanned(state, "Product"), limit=None)) == list(range(1, 24))


FIELDS = {
    "handle": Field(lambda node: node["handle"]),
    "id": Field(lambda node: node["id"], "number"),
    "sku": Field(lambda node: node.get("sku")),
    "status": Field(lambda node: node["status"]),
    "tag": Field(lambda node: node["tags"]),
    "test": Field(lambda node: node["test"], "boolean"),
    "title": Field(lambda node: node["title"], "text"),
    "updated_at": Field(lambda node: node["updatedAt"], "time"),
}
HAT = {
    "id": "gid://shopify/Product/12",
    "handle": "red-hat",
    "status": "ACTIVE",
    "tags": ["slirec-demo", "a b"],
    "test": False,
    "title": "Red Wool Hat",
    "updatedAt": "2026-03-01T10:30:00Z",
}


@pytest.mark.parametrize(
    ("query", "found"),
    [
        (None, True),
        (" ", True),
        ("tag:slirec-demo", True),
        ("tag:SLIREC-demo", True),
        ("tag:'a b'", True),
        ('tag:"a b"', True),
        ("tag:a", False),
        ("tag_not:'a b'", False),
        ("tag_not:x", True),
        ("-tag:slirec-demo", False),
        ("NOT tag:slirec-demo", False),
        ("NOT NOT tag:slirec-demo", True),
        ("tag:x handle:red-hat", False),
        ("tag:x AND handle:red-hat", False),
        ("tag:x OR handle:red-hat", True),
        ("tag:x OR handle:red-hat status:draft", False),
        ("(tag:x OR handle:red-hat) AND status:active", True),
        ("-(tag:x OR handle:red-hat)", False),
        ("(tag:x OR (status:active -tag:y))", True),
        ("status:draft,active", True),
        ("handle:red*", True),
        ("handle:hat*", False),
        ("handle:*", True),
        ("sku:*", False),
        ("sku:1", False),
        ("test:false", True),
        ("test:true", False),
        ("id:12", True),
        ("id:>=13", False),
        ("id:<13 id:>11", True),
        ("updated_at:>='2026-03-01T10:30:00Z' AND test:false", True),
        ("updated_at:>'2026-03-01T10:30:00Z'", False),
        ("updated_at:<='2026-03-01T11:30:00+01:00'", True),
        ("updated_at:<2026-03-01", False),
        ("updated_at:>2026-03-01", True),
        ("title:'wool hat'", True),
        ("title:'red hat'", False),
        ("wool", True),
        ("woo", False),
        ("woo*", True),
        ("-wool", False),
        ("'red wool'", True),
        ("tag:x OR", False),
        ("status:active)", True),
        (") (", True),
        ("NOT", True),
    ],
)
def test_search(query, found, caplog):
    assert compile_search(query, FIELDS, ["title"])(HAT) is found
    assert caplog.messages == []


def test_a_filter_that_makes_no_sense_is_ignored_and_told(caplog):
    assert compile_search("tga:x", FIELDS)(HAT)
    assert caplog.messages == ["search 'tga:x': filter tga is ignored: Invalid search field for this query."]
    assert not compile_search("tga:x AND status:draft", FIELDS)(HAT)
    caplog.clear()
    query = "updated_at:>=yesterday test:1"
    assert compile_search(query, FIELDS)(HAT)
    assert caplog.messages == [
        f"search '{query}': filter updated_at is ignored: Input `yesterday` is not an accepted value.",
        f"search '{query}': filter test is ignored: Input `1` is not an accepted value.",
    ]


def test_a_time_without_quotes_ends_at_its_colon(caplog):
    query = "updated_at:>=2026-03-01T10:45:00Z"
    assert compile_search(query, FIELDS)(HAT)  # at 10:30, after 10 o'clock
    assert caplog.messages == [f"search '{query}': filter 45 is ignored: Invalid search field for this query."]


def test_times():
    assert utc_text(86399.9) == "1970-01-01T23:59:59Z"
    assert parse_time("1970-01-02") == 86400
    assert parse_time("1970-01-01T01:00:00+01:00") == 0
    with pytest.raises(ValueError, match="tomorrow"):
        parse_time("tomorrow")
