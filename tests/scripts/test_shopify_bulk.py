"""Bulk queries and mutations from end to end, against the local shop."""

import gc
import json

import pytest
from shop_client import add_collection, add_products, make_client, requests_of

from scripts.shopify.answers import ShopifyError
from scripts.shopify.bulk import bulk_mutation, bulk_query
from scripts.shopify.documents import load

COUNT = 40


class Bar:
    def __init__(self):
        self.n, self.highest = 0, 0

    def update(self, n=1):
        self.n += n
        self.highest = max(self.highest, self.n)


@pytest.fixture
def catalogue(store):
    """40 products; every third is in one collection, every sixth in two."""
    hats, toys = add_collection(store, "hats"), add_collection(store, "toys")
    gids = add_products(store, COUNT)
    for number in range(0, COUNT, 3):
        handle = f"p{number}"
        member = {"handle": handle, "title": f"P {number}", "collections": [hats] if number % 2 else [hats, toys]}
        store.execute(load("product_set").tree, {"identifier": {"handle": handle}, "input": member})
    store.requests.clear()
    return gids


def operations(store):
    return sorted(store.state.scan("BulkOperation"), key=lambda operation: operation["id"])


def titles(store):
    return {product["handle"]: product["title"] for product in store.state.scan("Product")}


def product_rows(count, title="New {}"):
    for number in range(count):
        handle = f"p{number}"
        yield {"identifier": {"handle": handle}, "input": {"handle": handle, "title": title.format(number)}}


def read_products(client, **options):
    return list(bulk_query(client, "products_bulk", **options))


def test_bulk_query_gives_what_paging_gives(store, client, catalogue):
    bar = Bar()
    read = read_products(client, progress=bar)
    (paged,) = client.pages("products_page", "products", page_size=COUNT)
    assert [node["id"] for node in read] == catalogue
    for node, other in zip(read, paged, strict=True):
        assert node.pop("__typename") == "Product"
        mine, theirs = node.pop("collections")["nodes"], other.pop("collections")["nodes"]
        assert {frozenset(child.items()) for child in mine} == {
            frozenset({**child, "__typename": "Collection"}.items()) for child in theirs
        }
        assert {key: value for key, value in other.items() if key in node} == node
    assert bar.n == bar.highest == COUNT + 14 + 7
    assert len(operations(store)) == 1


def test_bulk_query_that_finds_nothing_is_empty(store, client):
    assert read_products(client) == []
    assert requests_of(store, "bulk") == []


def test_bulk_query_is_not_begun_before_it_is_asked(store, client):
    nodes = bulk_query(client, "products_bulk")
    assert store.requests == []
    with pytest.raises(ValueError, match=r"should get a query. Received: the mutation product_set"):
        bulk_query(client, "product_set")
    with pytest.raises(ValueError, match=r"should get the variables \[\]. Received: \['query'\]"):
        bulk_query(client, "products_bulk", {"query": "x"})
    assert next(nodes, None) is None


@pytest.mark.parametrize("failures", [1, 2])
def test_failed_query_is_run_again(store, client, catalogue, failures):
    store.faults.script(*["bulk failed"] * failures)
    bar = Bar()
    assert [node["id"] for node in read_products(client, progress=bar)] == catalogue
    assert [operation["status"] for operation in operations(store)] == ["FAILED"] * failures + ["COMPLETED"]
    assert bar.n == COUNT + 14 + 7


def test_query_that_always_fails_gives_nothing(store, client, catalogue):
    store.faults.script(*["bulk failed"] * 3)
    with pytest.raises(ShopifyError, match=r"FAILED \(INTERNAL_SERVER_ERROR\) .* nothing of it is used") as caught:
        next(bulk_query(client, "products_bulk"))
    assert caught.value.code == "INTERNAL_SERVER_ERROR"
    assert [operation["status"] for operation in operations(store)] == ["FAILED"] * 3
    assert requests_of(store, "bulk") == []


def test_query_without_the_scope_fails_at_once(store, client, catalogue):
    store.access.set_scopes(("read_orders",))
    with pytest.raises(ShopifyError) as caught:
        read_products(client)
    assert caught.value.code == "ACCESS_DENIED"
    assert len(operations(store)) <= 1


@pytest.mark.parametrize("fault", ["cut", "drop", "500", "429"])
def test_broken_download_is_completed(store, client, catalogue, fault):
    nodes = bulk_query(client, "products_bulk")
    started = False
    original = client.lines

    def lines(*arguments):
        nonlocal started
        started = True
        store.faults.script(fault, fault)
        return original(*arguments)

    client.lines = lines
    assert [node["id"] for node in nodes] == catalogue
    assert started
    assert len(requests_of(store, "bulk")) == 3
    assert len(operations(store)) == 1


@pytest.mark.parametrize("fault", ["drop", "drop after", "500", "internal"])
def test_query_whose_start_was_not_answered_runs_once(store, client, catalogue, fault):
    store.faults.script(fault)
    assert len(read_products(client)) == COUNT
    assert len(operations(store)) == 1


def test_query_survives_a_token_that_expires_meanwhile(store, fake_time, catalogue):
    with make_client(store, fake_time, grant=True, attempts=8) as client:
        client.execute("access")
        store.faults.script("expired", None, None, "expired")  # at the start, and at the first look at its status
        assert len(read_products(client)) == COUNT
    assert len(requests_of(store, "oauth")) == 3
    assert len(operations(store)) == 1


def miscount(client, monkeypatch, key, by):
    """Makes one of Shopify's counts differ from what it delivers."""
    original = client.execute

    def execute(name, *arguments, **options):
        data = original(name, *arguments, **options)
        if name == "bulk_operation":
            data["bulkOperation"][key] = str(int(data["bulkOperation"][key]) + by)
        return data

    monkeypatch.setattr(client, "execute", execute)


@pytest.mark.parametrize("by", [-1, 1])
def test_count_of_objects_that_is_no_count_of_lines_is_no_obstacle(store, client, catalogue, monkeypatch, caplog, by):
    miscount(client, monkeypatch, "objectCount", by)
    assert [node["id"] for node in read_products(client)] == catalogue
    assert (len(requests_of(store, "bulk")), len(operations(store))) == (2, 1)
    assert f"a bulk result has 61 lines, where Shopify counts {61 + by} objects" in caplog.text


def test_result_with_missing_nodes_is_refused(store, client, catalogue, monkeypatch):
    miscount(client, monkeypatch, "rootObjectCount", 1)
    with pytest.raises(ShopifyError, match="holds 40 top-level nodes instead of 41") as caught:
        next(bulk_query(client, "products_bulk"))
    assert caught.value.code == "BULK_RESULT"


def test_bulk_mutation_accounts_for_every_line(store, client):
    bar = Bar()
    results = list(bulk_mutation(client, "product_set", product_rows(COUNT), progress=bar))
    assert sorted(line.number for line in results) == list(range(COUNT))
    assert all(line.problem is None and line.user_errors == () for line in results)
    assert {line.data["productSet"]["product"]["handle"] for line in results} == set(titles(store))
    assert titles(store) == {f"p{number}": f"New {number}" for number in range(COUNT)}
    assert (bar.n, len(requests_of(store, "staged")), len(operations(store))) == (COUNT, 1, 1)


def test_bulk_mutation_without_lines_asks_nothing(store, client):
    assert list(bulk_mutation(client, "product_set", [])) == []
    assert store.requests == []


def test_refused_line_keeps_its_number_and_reason(client):
    rows = [*product_rows(3), {"identifier": {"handle": "bad"}, "input": {"handle": "bad", "title": ""}}]
    rows.insert(1, {"identifier": {"handle": "é 日本"}, "input": {"handle": "x"}})  # handles differ
    results = {line.number: line for line in bulk_mutation(client, "product_set", rows)}
    assert sorted(results) == [0, 1, 2, 3, 4]
    assert [error["message"] for error in results[4].user_errors] == ["Title can't be blank"]
    assert results[1].user_errors or results[1].problem
    assert [bool(results[number].user_errors or results[number].problem) for number in (0, 2, 3)] == [False] * 3


def test_line_with_errors_is_a_problem(store, client):
    rows = [{"identifier": {"handle": "a"}, "input": {"handle": "a", "title": "A"}}, {"input": {"title": "B"}}]
    results = {line.number: line for line in bulk_mutation(client, "product_set", rows)}
    assert (results[0].problem, results[0].user_errors) == (None, ())
    assert results[1].problem
    assert list(titles(store)) == ["a"]


def test_large_input_is_split_and_numbered_through(store, client):
    rows, taken = list(product_rows(COUNT)), []
    size = max(len(json.dumps(row, separators=(",", ":"))) for row in rows) + 1

    def source():
        for row in rows:
            taken.append(len(requests_of(store, "staged")))
            yield row

    bar = Bar()
    results = list(bulk_mutation(client, "product_set", source(), max_bytes=15 * size, progress=bar))
    assert [line.number for line in sorted(results, key=lambda line: line.number)] == list(range(COUNT))
    assert {line.number: line.data["productSet"]["product"]["handle"] for line in results} == {
        number: f"p{number}" for number in range(COUNT)
    }
    assert (len(operations(store)), len(titles(store)), bar.n) == (3, COUNT, COUNT)
    assert taken[0] == 0
    assert taken[-1] == 2  # taken as it is uploaded, not all at once
    with pytest.raises(ValueError, match="line 3 should have at most 100 bytes"):
        list(bulk_mutation(client, "product_set", [*rows[:3], {"x": "y" * 100}], max_bytes=100))


@pytest.mark.parametrize("fault", ["drop", "drop after", "500", "429"])
def test_broken_upload_and_start_run_the_mutation_once(store, client, fault):
    store.faults.script(None, fault, fault, None, fault)
    results = list(bulk_mutation(client, "product_set", product_rows(5)))
    assert sorted(line.number for line in results) == list(range(5))
    assert not any(line.problem for line in results)
    assert (len(operations(store)), len(titles(store))) == (1, 5)


def test_failed_mutation_reports_what_it_did_and_names_the_rest(store, client):
    store.faults.script("bulk failed")
    results = sorted(bulk_mutation(client, "product_set", product_rows(COUNT)), key=lambda line: line.number)
    assert [line.number for line in results] == list(range(COUNT))
    done = [line for line in results if line.problem is None]
    left = [line for line in results if line.problem]
    assert 0 < len(done) < COUNT
    assert all(line.data is None and line.problem.startswith("no result: bulk operation gid:") for line in left)
    assert "ended as FAILED (INTERNAL_SERVER_ERROR)" in left[0].problem
    assert {f"p{line.number}" for line in done} == set(titles(store))


def test_mutation_without_the_scope_is_one_error(store, client):
    store.access.set_scopes(("read_products",))
    with pytest.raises(ShopifyError) as caught:
        list(bulk_mutation(client, "product_set", product_rows(3)))
    assert caught.value.code == "ACCESS_DENIED"


def test_query_is_no_bulk_mutation(client):
    with pytest.raises(ValueError, match=r"should get a mutation. Received: the query products_bulk"):
        bulk_mutation(client, "products_bulk", [])


def test_upload_leaves_no_file_behind(client, tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    results = bulk_mutation(client, "product_set", product_rows(5))
    next(results)
    assert [path.name for path in tmp_path.glob("shopify-bulk-*/*")] == ["product_set.jsonl"]
    del results
    gc.collect()
    assert list(tmp_path.glob("shopify-bulk-*")) == []


def test_interrupted_command_cancels_its_operation(store, client, monkeypatch):
    def interrupt(_):
        raise KeyboardInterrupt

    monkeypatch.setattr("scripts.shopify.dev_store.bulk.POLL_SECONDS", 0.0)
    monkeypatch.setattr(client, "sleep", interrupt)
    with pytest.raises(KeyboardInterrupt):
        list(bulk_mutation(client, "product_set", product_rows(2000)))
    assert store.requests[-1].operation == "BulkCancel"
    (operation,) = operations(store)
    assert operation["status"] in ("CANCELING", "CANCELED")


def test_everything_fails_now_and_then_and_nothing_is_lost(store, fake_time):
    """Every fourth request of a whole round meets a fault."""
    with make_client(store, fake_time, grant=True, attempts=8) as client:
        store.faults.every(4)
        for title in ("First {}", "Second {}"):
            results = list(bulk_mutation(client, "product_set", product_rows(60, title), max_bytes=2000))
            assert sorted(line.number for line in results) == list(range(60))
            assert [line for line in results if line.problem or line.user_errors] == []
        read = read_products(client)
    assert [node["title"] for node in read] == [f"Second {number}" for number in range(60)]
    assert sum(store.faults.injected.values()) > 10
