import json
import threading
import time
from pathlib import Path

import pytest
import requests
from bulk_tools import (
    DEFINE,
    PRODUCT_SET,
    PRODUCTS,
    RUN_MUTATION,
    STAGE,
    STATUS,
    UPSERT,
    add_products,
    finished,
    lines_of,
    run,
    run_query,
    stage,
)

from scripts.shopify.dev_store import DevStore, bulk, bulk_worker


def test_every_line_of_a_bulk_mutation_has_its_result(store):
    add_products(store, 20)
    run(store, DEFINE)
    rows = []
    for number in range(2000):
        gids = [f"gid://shopify/Product/{1 + (number + place) % 20}" for place in range(4)]
        if number % 10 == 9:
            gids[2] = "gid://shopify/Product/999"
        fields = [{"key": "products", "value": json.dumps(gids)}]
        rows.append({"handle": {"type": "liked", "handle": f"shopper-{number}"}, "metaobject": {"fields": fields}})
    key = stage(store, "".join(json.dumps(row) + "\n" for row in rows))
    payload = run(store, RUN_MUTATION, mutation=UPSERT, path=key)
    assert payload == {
        "bulkOperation": {"id": "gid://shopify/BulkOperation/1", "status": "CREATED", "type": "MUTATION"},
        "userErrors": [],
    }
    operation = finished(store, payload["bulkOperation"]["id"])
    assert (operation["status"], operation["objectCount"]) == ("COMPLETED", "2000")
    lines = lines_of(store, operation)
    assert [line["__lineNumber"] for line in lines] == list(range(2000))
    bad = {"message": "Value must be a valid product reference.", "code": "INVALID_VALUE", "elementIndex": 2}
    for number, line in enumerate(lines):
        good = {"metaobject": {"handle": f"shopper-{number}"}, "userErrors": []}
        expected = good if number % 10 != 9 else {"metaobject": None, "userErrors": [bad]}
        assert line["data"] == {"metaobjectUpsert": expected}
    assert store.state.count("Metaobject") == 1800


def test_lines_that_cannot_be_carried_out_say_so(store):
    good = {"identifier": {"handle": "a"}, "input": {"handle": "a", "title": "A"}}
    text = (
        f'{json.dumps(good)}\n{{"identifier": \n[1]\n\n{{"identifier": {{"handle": "b"}}, "input": {{"title": 3}}}}\n'
    )
    key = stage(store, text)
    operation = finished(store, run(store, RUN_MUTATION, mutation=PRODUCT_SET, path=key)["bulkOperation"]["id"])
    lines = lines_of(store, operation)
    assert [line["__lineNumber"] for line in lines] == [0, 1, 2, 3]
    assert lines[0]["data"]["productSet"]["product"] == {"id": "gid://shopify/Product/1", "handle": "a"}
    assert lines[1]["errors"] == [{"message": "The line is not valid JSON."}]
    assert lines[2]["errors"] == [{"message": "The line should be a JSON object of the mutation's variables."}]
    assert lines[3]["errors"][0]["extensions"]["code"] == "INVALID_VARIABLE"
    assert [line.get("data") for line in lines[1:]] == [None] * 3


def test_a_mutation_that_fails_has_done_the_first_half_of_its_lines(store):
    rows = [{"identifier": {"handle": f"p{n}"}, "input": {"handle": f"p{n}", "title": "P"}} for n in range(9)]
    key = stage(store, "\n".join(json.dumps(row) for row in rows))
    store.faults.script("bulk failed")
    assert store.faults.next("graphql") == "bulk failed"
    operation = finished(store, run(store, RUN_MUTATION, mutation=PRODUCT_SET, path=key)["bulkOperation"]["id"])
    assert (operation["status"], operation["errorCode"]) == ("FAILED", "INTERNAL_SERVER_ERROR")
    done = [line["data"]["productSet"]["product"]["handle"] for line in lines_of(store, operation, partial=True)]
    assert done == ["p0", "p1", "p2", "p3"]
    assert store.state.count("Product") == 4


@pytest.mark.parametrize(
    ("mutation", "field", "message", "code"),
    [
        (
            "mutation { not real syntax",
            None,
            "Failed to parse the mutation - syntax error, Expected Name, found <EOF>. at [1, 27]",
            "INVALID_MUTATION",
        ),
        (
            "{ shop { id } }",
            ["mutation"],
            "Invalid operation type. Only `mutation` operations are supported.",
            "INVALID_MUTATION",
        ),
        (
            "mutation ($id: ID!) { bulkOperationCancel(id: $id) { userErrors { message } } }",
            ["mutation"],
            "You must use an allowed mutation name.",
            None,
        ),
        (
            "mutation { a: metaobjectDelete(id: 1) { deletedId } b: metaobjectDelete(id: 2) { deletedId } }",
            ["mutation"],
            "You must specify a single top level mutation.",
            None,
        ),
        (
            PRODUCT_SET,
            None,
            "The JSONL file could not be found. Try uploading the file again, and check that you've entered the URL "
            "correctly for the stagedUploadPath mutation argument.",
            "NO_SUCH_FILE",
        ),
    ],
)
def test_refused_mutations_are_worded_as_shopify_words_them(store, mutation, field, message, code):
    payload = run(store, RUN_MUTATION, mutation=mutation, path="tmp/1/bulk/missing.jsonl")
    assert payload == {
        "bulkOperation": None,
        "userErrors": [{"field": field, "message": message, "code": code}],
    }


def test_an_empty_file_is_refused(store):
    payload = run(store, RUN_MUTATION, mutation=PRODUCT_SET, path=stage(store, ""))
    assert payload["userErrors"] == [
        {"field": None, "message": "The input file is empty.", "code": "INVALID_STAGED_UPLOAD_FILE"}
    ]


def test_a_mutation_without_the_scope_is_denied(store):
    key = stage(store, json.dumps({"identifier": {"handle": "a"}, "input": {"handle": "a", "title": "A"}}))
    started = run(store, RUN_MUTATION, ["read_products"], mutation=PRODUCT_SET, path=key)
    operation = finished(store, started["bulkOperation"]["id"])
    assert (operation["status"], operation["errorCode"], operation["objectCount"]) == ("FAILED", "ACCESS_DENIED", "0")
    assert store.state.count("Product") == 0


def test_an_upload_needs_the_parameters_it_was_given(store):
    wanted = {"resource": "BULK_MUTATION_VARIABLES", "filename": "a/b.jsonl", "mimeType": "text/jsonl"}
    refused = run(store, STAGE, input=[wanted])
    assert refused["userErrors"] == [
        {"field": ["input", "0", "httpMethod"], "message": "Only POST is supported by this shop"}
    ]
    (target,) = run(store, STAGE, input=[{**wanted, "httpMethod": "POST"}])["stagedTargets"]
    assert target["url"] == f"{store.url}/staged"
    parameters = {each["name"]: each["value"] for each in target["parameters"]}
    assert parameters["key"].endswith("/a_b.jsonl")
    for change in ({"key": "tmp/other"}, {"x-goog-signature": "0"}, {"acl": "public"}):
        answer = requests.post(target["url"], data=parameters | change, files={"file": b"{}"}, timeout=10)
        assert answer.status_code == 403
    assert requests.post(target["url"], data=parameters, timeout=10).status_code == 400
    payload = run(store, RUN_MUTATION, mutation=PRODUCT_SET, path=parameters["key"])
    assert payload["userErrors"][0]["code"] == "NO_SUCH_FILE"


def test_a_file_that_is_too_large_is_refused(store, monkeypatch):
    from scripts.shopify.dev_store import staged

    monkeypatch.setattr(staged, "MAX_UPLOAD", 10)
    wanted = {"resource": "BULK_MUTATION_VARIABLES", "filename": "a.jsonl", "mimeType": "text/jsonl"}
    (target,) = run(store, STAGE, input=[{**wanted, "httpMethod": "POST"}])["stagedTargets"]
    parameters = {each["name"]: each["value"] for each in target["parameters"]}
    answer = requests.post(target["url"], data=parameters, files={"file": b"x" * 11}, timeout=10)
    assert (answer.status_code, "EntityTooLarge" in answer.text) == (400, True)


def test_other_requests_are_answered_while_an_operation_runs(store):
    rows = ({"identifier": {"handle": f"p{n}"}, "input": {"handle": f"p{n}", "title": "P"}} for n in range(1500))
    key = stage(store, "\n".join(json.dumps(row) for row in rows))
    operation_id = run(store, RUN_MUTATION, mutation=PRODUCT_SET, path=key)["bulkOperation"]["id"]
    counts = set()
    while store.state.get(operation_id)["status"] in ("CREATED", "RUNNING"):
        counts.add(run(store, "{ productsCount(limit: null) { count } }")["count"])
        time.sleep(0.002)
    assert len(counts) >= 3  # what is done so far, again and again
    assert finished(store, operation_id)["objectCount"] == "1500"
    assert run(store, "{ productsCount(limit: null) { count } }") == {"count": 1500}


def test_an_operation_that_was_running_when_the_store_stopped_has_failed(tmp_path: Path):
    path = tmp_path / "shop.sqlite"
    rows = ({"identifier": {"handle": f"p{n}"}, "input": {"handle": f"p{n}", "title": "P"}} for n in range(3000))
    with DevStore(path) as store:
        key = stage(store, "\n".join(json.dumps(row) for row in rows))
        operation_id = run(store, RUN_MUTATION, mutation=PRODUCT_SET, path=key)["bulkOperation"]["id"]
        while store.state.get(operation_id)["objectCount"] == "0":
            time.sleep(0.01)
    with DevStore(path) as store:
        operation = run(store, STATUS, id=operation_id)
        assert (operation["status"], operation["errorCode"]) == ("FAILED", "INTERNAL_SERVER_ERROR")
        lines = lines_of(store, operation, partial=True)
        assert 0 < int(operation["objectCount"]) <= len(lines) == store.state.count("Product") < 3000
        assert run(store, RUN_MUTATION, mutation=PRODUCT_SET, path=key)["userErrors"] == []  # the upload is still there


def test_no_thread_and_no_file_is_left_behind(tmp_path: Path):
    store = DevStore()
    with store:
        add_products(store, 2)
        assert run_query(store, PRODUCTS)["status"] == "COMPLETED"
        folder = bulk_worker.worker_of(store).folder
        assert list(folder.iterdir())
        bulk.close(store)
    assert not folder.exists()
    assert not [thread for thread in threading.enumerate() if thread.name == "dev-store-bulk"]
