"""Files of the local shop's bulk operations: how long they stay."""

import json
import os
from pathlib import Path

import requests
from bulk_tools import PRODUCT_SET, PRODUCTS, RUN_MUTATION, add_products, finished, lines_of, run_query, stage
from store_calls import run

from scripts.shopify.dev_store import DevStore
from scripts.shopify.dev_store.bulk_files import RESULT_SECONDS, USED_SECONDS
from scripts.shopify.dev_store.bulk_worker import worker_of
from scripts.shopify.dev_store.staged import SECONDS

LINE = json.dumps({"identifier": {"handle": "a"}, "input": {"handle": "a", "title": "A"}})


def names(store: DevStore) -> list[str]:
    return sorted(os.listdir(worker_of(store).folder))


def mutate(store: DevStore, key: str) -> dict:
    payload = run(store, RUN_MUTATION, mutation=PRODUCT_SET, path=key)
    assert payload["userErrors"] == []
    return finished(store, payload["bulkOperation"]["id"])


def test_an_upload_goes_some_time_after_its_mutation(store: DevStore, fake_time) -> None:
    key = stage(store, LINE)
    assert mutate(store, key)["status"] == "COMPLETED"
    fake_time.now += USED_SECONDS - 1
    assert mutate(store, key)["status"] == "COMPLETED"  # the client missed the first answer
    assert names(store) == ["result-1.jsonl", "result-2.jsonl", "staged-1.jsonl"]
    fake_time.now += USED_SECONDS
    assert mutate(store, stage(store, LINE))["status"] == "COMPLETED"
    assert names(store) == ["result-1.jsonl", "result-2.jsonl", "result-3.jsonl", "staged-2.jsonl"]
    gone = run(store, RUN_MUTATION, mutation=PRODUCT_SET, path=key)["userErrors"]
    assert [error["code"] for error in gone] == ["NO_SUCH_FILE"]


def test_an_upload_of_a_mutation_that_failed_stays_until_it_expires(store: DevStore, fake_time) -> None:
    key = stage(store, f"{LINE}\n{LINE}")
    store.faults.script("bulk failed")
    store.faults.next("graphql")
    assert mutate(store, key)["status"] == "FAILED"
    fake_time.now += SECONDS
    stage(store, LINE)
    assert names(store) == ["result-1.jsonl", "staged-1.jsonl", "staged-2.jsonl"]
    fake_time.now += 1
    stage(store, LINE)
    assert names(store) == ["result-1.jsonl", "staged-2.jsonl", "staged-3.jsonl"]


def test_results_go_after_seven_days(store: DevStore, fake_time) -> None:
    add_products(store, 2)
    first = run_query(store, PRODUCTS)
    fake_time.now += RESULT_SECONDS
    run_query(store, PRODUCTS)
    assert len(lines_of(store, first)) == 4
    fake_time.now += 1
    run_query(store, PRODUCTS)
    assert names(store) == ["result-2.jsonl", "result-3.jsonl"]
    assert lines_of(store, first) is None
    assert requests.get(first["url"], timeout=10).status_code == 404


def test_nothing_is_left_that_nobody_needs(tmp_path: Path) -> None:
    path, folder = tmp_path / "shop.db", tmp_path / "shop.db.bulk"
    with DevStore(path) as store:
        mutate(store, stage(store, LINE))
        (folder / "staged-9.jsonl.1234.part").write_text("an upload that was broken off")
    assert [file.name for file in folder.iterdir()] == ["result-1.jsonl"]
    with DevStore(path, clock=lambda: os.path.getmtime(path) + RESULT_SECONDS + 60) as store:
        run(store, "{ bulkOperations(first: 1) { nodes { id } } }")
    assert not folder.exists()
