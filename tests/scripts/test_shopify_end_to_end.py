"""All commands one after the other against the local shop: undisturbed, with faults, killed, and in large."""

import contextlib
import importlib
import io
import json
import random
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from conftest import require
from graphql import parse
from shopify_schema import operations, published, variable_problems

from scripts.shopify.client import ShopifyClient
from scripts.shopify.dev_store import DevStore
from scripts.shopify.dev_store.access import CLIENT_SECRET
from scripts.shopify.dev_store.faults import FAULTS
from scripts.shopify.dev_store.trial import main, table
from scripts.shopify.dev_store.trial_data import inventory_of, prepare, recommendations, write_inputs, write_parquet
from scripts.shopify.dev_store.trial_faults import NAMES, trial_faults
from scripts.shopify.dev_store.trial_kills import trial_kills
from scripts.shopify.dev_store.trial_run import HMAC_SECRET, WORKFLOW, Run, Step, environment, summary
from scripts.shopify.dev_store.trial_scale import trial_scale
from scripts.shopify.dev_store.trial_state import canonical_state, differences, state_counts
from scripts.shopify.documents import QUERIES
from scripts.shopify.fetch_schema import is_fetched

SCOPES = {
    "populate_inventory": ("write_products", "write_publications"),
    "prepare_inventory_snapshot": ("read_products",),
    "export_orders": ("read_orders", "read_customers", "read_products"),
    "publish_recommendations": ("write_metaobjects", "write_metaobject_definitions", "read_products"),
    "cleanup": ("write_products", "write_metaobjects", "write_metaobject_definitions"),
}
"""Access scopes of each command, as the README has them."""


@pytest.fixture
def run(fake_time, monkeypatch):
    """Runs a step in this process, where waiting takes no time."""
    monkeypatch.setitem(ShopifyClient.__init__.__kwdefaults__, "sleep", fake_time.sleep)
    monkeypatch.setitem(ShopifyClient.__init__.__kwdefaults__, "clock", fake_time.clock)

    def run(store: DevStore, step: Step, folder: Path) -> Run:
        before, shown = len(store.requests), io.StringIO()
        with monkeypatch.context() as patch, contextlib.redirect_stdout(shown), contextlib.redirect_stderr(shown):
            patch.chdir(folder)
            for name, value in environment(store).items():
                patch.setenv(name, value)
            patch.delenv("SHOPIFY_ACCESS_TOKEN", raising=False)
            patch.delenv("SHOPIFY_API_VERSION", raising=False)
            status = importlib.import_module(f"scripts.shopify.{step.module}").main(list(step.arguments))
        return summary(store, before, status, 0.0, None, shown.getvalue())

    return run


@pytest.fixture
def folder(tmp_path):
    write_inputs(tmp_path / "run", num_products=12, num_shoppers=60)
    return tmp_path / "run"


def test_the_workflow(store, run, folder):
    counts = []
    for step in WORKFLOW:
        prepare(store, step)
        done = run(store, step, folder)
        assert (step.module, done.status, done.throttled) == (step.module, 0, 0), done.text
        counts.append(tuple(state_counts(store.state).values()))
        again = run(store, step, folder)  # safe to run twice; only export and publish have something to do again
        assert again.status == 0
        assert tuple(state_counts(store.state).values()) == counts[-1]
    # products, handles, collections, in_collections, published, metaobjects
    assert counts == [(12, 12, 1, 12, 12, 0)] * 3 + [(12, 12, 1, 12, 12, 60), (0, 0, 0, 0, 0, 0)]
    assert [record["handle"] for record in json.loads((folder / "snapshot.json").read_text())["products"]] == list(
        inventory_of(12).handles
    )
    assert len((folder / "orders.tsv").read_text().splitlines()) > 40


def test_a_second_populate_sends_no_mutation(store, run, folder):
    assert run(store, WORKFLOW[0], folder).status == 0
    before, seen = canonical_state(store.state), len(store.requests)
    assert "12 unchanged" in run(store, WORKFLOW[0], folder).text
    assert differences(before, canonical_state(store.state)) == []
    assert {request.operation for request in store.requests[seen:]}.isdisjoint(
        {"ProductSet", "CollectionCreate", "Publish"}
    )


@pytest.mark.parametrize("module", SCOPES)
def test_a_command_does_with_the_scopes_that_the_readme_names(store, run, folder, module):
    for step in WORKFLOW:
        prepare(store, step)
        if step.module != module:
            assert run(store, step, folder).status == 0
            continue
        before = canonical_state(store.state)
        for missing in SCOPES[module]:
            store.access.set_scopes(scope for scope in SCOPES[module] if scope != missing)
            done = run(store, step, folder)
            if (module, missing) == ("cleanup", "write_metaobject_definitions"):  # products only, then
                assert (done.status, state_counts(store.state)["metaobjects"]) == (0, 60)
                assert "recommendations were not looked for" in done.text
                continue
            assert done.status == 1
            assert missing in done.text.splitlines()[-1]
            assert differences(before, canonical_state(store.state)) == []
        store.access.set_scopes(SCOPES[module])
        done = run(store, step, folder)
        assert done.status == 0, done.text
        return


def test_every_request_is_valid_on_the_published_schema(store, run, folder):
    require(is_fetched(), "Shopify's published schema (make shopify-schema)")
    documents = {}
    for path in QUERIES.glob("*.graphql"):
        (operation,) = operations(document := parse(path.read_text(encoding="utf-8")))
        documents[operation.name.value] = document
    for step in WORKFLOW:
        prepare(store, step)
        assert run(store, step, folder).status == 0
    sent = [request for request in store.requests if request.operation in documents]
    assert {"ProductSet", "CollectionCreate", "Publish", "MetaobjectUpsert"} <= {request.operation for request in sent}
    for request in sent:
        document, variables = documents[request.operation], request.variables or {}
        problems = variable_problems(published("admin").schema, document, variables)
        assert (request.operation, variables, problems) == (request.operation, variables, [])


@pytest.mark.slow
def test_a_fault_in_every_tenth_request_changes_nothing(tmp_path, fake_time, run):
    rows = trial_faults(tmp_path, run=run, make_store=lambda path: DevStore(path, clock=fake_time.clock))
    assert [row["problems"] for row in rows] == [[]] * 5
    by_command = {row["what"]: row for row in rows}
    full = {"products": 240, "handles": 240, "collections": 10, "in_collections": 240, "published": 240}
    for command, metaobjects in (("populate_inventory", 0), ("export_orders", 0), ("publish_recommendations", 300)):
        expected = full | {"metaobjects": metaobjects}
        assert {key: by_command[command][key] for key in expected} == expected
    assert {key: by_command["cleanup"][key] for key in full} == dict.fromkeys(full, 0)
    assert sum(row["faults"] for row in rows) >= 100


@pytest.mark.parametrize("every", [3, 5])
def test_more_faults_change_nothing(tmp_path, fake_time, run, every):
    stores = []

    def make_store(path):
        stores.append(DevStore(path, clock=fake_time.clock))
        return stores[-1]

    rows = trial_faults(tmp_path, num_products=12, num_shoppers=210, every=every, run=run, make_store=make_store)
    assert [row["problems"] for row in rows] == [[]] * 5
    assert all(row["faults"] for row in rows)
    injected = [set(store.faults.injected) for store in stores]
    assert injected[0] == set()
    assert injected[1] >= set(NAMES) - {"cut"}
    assert set(NAMES) <= set(FAULTS)


def test_the_trial_of_faults_notices_what_is_wrong(tmp_path, fake_time, run):
    """A command that loses a product when it meets faults."""

    def careless(store, step, folder):
        done = run(store, step, folder)
        if step.module == "populate_inventory" and folder.name == "rough":
            store.state.delete("gid://shopify/Product/5")
        return done

    rows = trial_faults(
        tmp_path,
        num_products=12,
        num_shoppers=20,
        run=careless,
        make_store=lambda path: DevStore(path, clock=fake_time.clock),
    )
    assert "Product gid://shopify/Product/5: missing" in rows[0]["problems"]
    assert "snapshot.json differs" in rows[1]["problems"]


@pytest.mark.slow
def test_killed_commands_go_on_to_the_same_end(tmp_path):
    rows = trial_kills(tmp_path, rng=random.Random(7), num_kills=20)
    assert [row["problems"] for row in rows] == [[]] * 5
    assert [row["kills"] for row in rows] == [4] * 5
    assert [row["products"] for row in rows] == [240, 240, 240, 240, 0]
    assert [row["metaobjects"] for row in rows] == [0, 0, 0, 300, 0]
    left_behind = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert len(left_behind) > 20
    for path in left_behind:
        for secret in (HMAC_SECRET, CLIENT_SECRET):
            assert secret.encode() not in path.read_bytes()


@pytest.mark.slow
def test_a_small_shop_is_read_alike_by_paging_and_by_bulk(tmp_path):
    rows = trial_scale(tmp_path, num_products=600)
    assert [row["problems"] for row in rows] == [[]] * 10
    populated = [row for row in rows if row["what"].startswith("populate")]
    assert [(row["products"], row["throttled"]) for row in populated] == [(6, 0), (600, 0)]
    assert populated[1]["waited_s"] > 60  # the bucket of the Standard plan was empty long before the end


@pytest.mark.slow
def test_every_shopper_of_a_bulk_mutation_is_accounted_for(tmp_path, capsys):
    output = tmp_path / "trial.json"
    arguments = ["publish", "--shoppers", "2000", "--products", "40", "--output", str(output)]
    assert main(arguments) == 0
    (row,) = json.loads(output.read_text())["publish"]
    assert (row["shoppers"], row["published"], row["problems"]) == (2000, 1998, [])  # two have an unknown product only
    assert "1,998" in capsys.readouterr().out


def test_recommendations_of_the_trial(tmp_path):
    rows = list(recommendations(1000, 40))
    known = {f"gid://shopify/Product/{number}" for number in range(1, 41)}
    lacking = [number for number, row in enumerate(rows) if not known.issuperset(row["itemIds"])]
    assert lacking == list(range(49, 1000, 50))
    assert [number for number, row in enumerate(rows) if known.isdisjoint(row["itemIds"])] == [999]
    path = tmp_path / "recommendations.parquet"
    write_parquet(path, num_products=40, num_shoppers=20_001)
    assert pq.read_table(path)["userId"].to_pylist() == [f"shopper-{number}" for number in range(20_001)]


def test_differences_name_what_is_missing_too_much_or_changed(store):
    one = store.state.insert("Product", {"handle": "a", "title": "A", "updatedAt": "2026-01-01"}, "a")
    before = canonical_state(store.state)
    store.state.put({**one, "updatedAt": "2026-02-02"})
    assert differences(before, canonical_state(store.state)) == []
    store.state.put({**one, "title": "B"})
    collection = store.state.insert("Collection", {"handle": "c"}, "c")
    store.state.link("collection", collection["id"], one["id"])
    lines = differences(before, canonical_state(store.state))
    assert lines[0] == "Collection gid://shopify/Collection/1: too much"
    assert any(line.startswith("Product gid://shopify/Product/1: {") for line in lines)
    assert "collection gid://shopify/Product/1: ['gid://shopify/Collection/1'] instead of []" in lines
    assert differences(canonical_state(store.state), before)[0] == "Collection gid://shopify/Collection/1: missing"


def test_table():
    rows = [{"what": "a", "requests": 12345, "faults": 0}, {"what": "bcd", "requests": 6, "problems": ["x", "y"]}]
    assert table(rows) == "what  requests  problems\na     12,345\nbcd   6         x; y"
