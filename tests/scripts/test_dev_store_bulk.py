import json
import threading
import time
from pathlib import Path

import pytest
import requests

from scripts.shopify.dev_store import DevStore, bulk, bulk_worker

RUN_QUERY = """mutation ($query: String!, $grouped: Boolean! = false) {
  bulkOperationRunQuery(query: $query, groupObjects: $grouped) {
    bulkOperation { id status type query objectCount url } userErrors { field message code } } }"""
RUN_MUTATION = """mutation ($mutation: String!, $path: String!) {
  bulkOperationRunMutation(mutation: $mutation, stagedUploadPath: $path) {
    bulkOperation { id status type } userErrors { field message code } } }"""
STATUS = """query ($id: ID!) { bulkOperation(id: $id) {
  id status errorCode objectCount rootObjectCount fileSize url partialDataUrl completedAt } }"""
STAGE = """mutation ($input: [StagedUploadInput!]!) { stagedUploadsCreate(input: $input) {
  stagedTargets { url resourceUrl parameters { name value } } userErrors { field message } } }"""
PRODUCT_SET = """mutation ($identifier: ProductSetIdentifiers!, $input: ProductSetInput!) {
  productSet(identifier: $identifier, input: $input) { product { id handle } userErrors { field message code } } }"""
UPSERT = """mutation ($handle: MetaobjectHandleInput!, $metaobject: MetaobjectUpsertInput!) {
  metaobjectUpsert(handle: $handle, metaobject: $metaobject) {
    metaobject { handle } userErrors { message code elementIndex } } }"""
DEFINE = """mutation { metaobjectDefinitionCreate(definition: {type: "liked", fieldDefinitions: [
  {key: "products", type: "list.product_reference", required: true}]}) { userErrors { message } } }"""
PRODUCTS = "{ products(first: 2) { edges { node { id variants { edges { node { id price } } } } } } }"


def run(store, document, scopes=None, **variables):
    answer = store.execute(document, variables, scopes=scopes)
    assert "errors" not in answer, answer
    return next(iter(answer["data"].values()))


def add_products(store, count):
    for number in range(1, count + 1):
        handle = f"product-{number}"
        payload = run(
            store, PRODUCT_SET, identifier={"handle": handle}, input={"handle": handle, "title": f"Product {number}"}
        )
        assert payload["userErrors"] == []


def variant_of(store, handle):
    document = """query ($handle: String!) {
      productByIdentifier(identifier: {handle: $handle}) { variants(first: 1) { nodes { id } } } }"""
    return run(store, document, handle=handle)["variants"]["nodes"][0]["id"]


def finished(store, operation_id, scopes=None):
    for _ in range(600):
        operation = run(store, STATUS, scopes, id=operation_id)
        if operation["status"] not in ("CREATED", "RUNNING", "CANCELING"):
            return operation
    raise AssertionError(f"still {operation['status']}")


def lines_of(store, operation, partial=False):
    found = bulk.result_lines(store, int(operation["id"].rsplit("/", 1)[1]), partial)
    return None if found is None else [json.loads(line) for line in found]


def run_query(store, query, grouped=False, scopes=None):
    payload = run(store, RUN_QUERY, scopes, query=query, grouped=grouped)
    assert payload["userErrors"] == []
    assert payload["bulkOperation"]["status"] == "CREATED"
    return finished(store, payload["bulkOperation"]["id"], scopes)


def stage(store, text):
    wanted = {"resource": "BULK_MUTATION_VARIABLES", "filename": "lines.jsonl", "mimeType": "text/jsonl"}
    (target,) = run(store, STAGE, input=[{**wanted, "httpMethod": "POST"}])["stagedTargets"]
    parameters = {each["name"]: each["value"] for each in target["parameters"]}
    upload = requests.post(target["url"], data=parameters, files={"file": ("lines.jsonl", text.encode())}, timeout=10)
    assert upload.status_code == 201
    return parameters["key"]


def refusals(store, query):
    payload = run(store, RUN_QUERY, query=query)
    assert payload["bulkOperation"] is None
    assert all(error["field"] == ["query"] and error["code"] == "INVALID" for error in payload["userErrors"])
    return [error["message"] for error in payload["userErrors"]]


# ---------------------------------------------------------------------------------------------- queries


def test_a_bulk_query_returns_every_object_with_its_parent(store):
    add_products(store, 60)
    operation = run_query(store, PRODUCTS)
    lines = lines_of(store, operation)
    size = sum(len(line) for line in bulk.result_lines(store, 1, False))
    assert operation == {
        "id": "gid://shopify/BulkOperation/1",
        "status": "COMPLETED",
        "errorCode": None,
        "objectCount": "120",
        "rootObjectCount": "60",
        "fileSize": str(size),
        "url": f"{store.url}/bulk/1.jsonl",
        "partialDataUrl": None,
        "completedAt": "2026-11-18T11:06:40Z",
    }
    roots = [line for line in lines if "__parentId" not in line]
    children = [line for line in lines if "__parentId" in line]
    assert roots == [{"id": f"gid://shopify/Product/{number}"} for number in range(1, 61)]
    assert sorted(int(child["__parentId"].rsplit("/", 1)[1]) for child in children) == list(range(1, 61))
    assert all(child.keys() == {"id", "price", "__parentId"} for child in children)


def test_children_come_before_or_far_from_their_parents_unless_grouped():
    first, second = DevStore(), DevStore()
    for each in (first, second):
        add_products(each, 60)
    lines = lines_of(first, run_query(first, PRODUCTS))
    assert lines == lines_of(second, run_query(second, PRODUCTS))
    place = {line["id"]: index for index, line in enumerate(lines)}
    distances = [place[line["id"]] - place[line["__parentId"]] for line in lines if "__parentId" in line]
    assert min(distances) < 0 < 20 < max(distances)
    grouped = lines_of(first, run_query(first, PRODUCTS, grouped=True))
    assert [line.get("__parentId") for line in grouped[1::2]] == [line["id"] for line in grouped[::2]]
    assert sorted(map(str, grouped)) == sorted(map(str, lines))


def test_connections_below_objects_and_in_fragments_are_found(store):
    add_products(store, 3)
    query = """query Q { found: products(query: "title:'Product 2'", first: 1, sortKey: ID) { edges { node {
      ...P id } } } }
      fragment P on Product { handle variants(first: 1) { edges { node { ... on ProductVariant { id
        product { id variants { edges { node { id title } } } } } } } } }"""
    lines = lines_of(store, run_query(store, query, grouped=True))
    product, variant = "gid://shopify/Product/2", variant_of(store, "product-2")
    assert lines == [
        {"handle": "product-2", "id": product},
        {"id": variant, "product": {"id": product}, "__parentId": product},
        {"id": variant, "title": "Default Title", "__parentId": variant},
    ]


def test_connections_of_a_single_root_object_have_no_parent(store):
    add_products(store, 2)
    query = '{ product(id: "gid://shopify/Product/2") { title variants { edges { node { id } } } } }'
    operation = run_query(store, query)
    assert lines_of(store, operation) == [{"id": variant_of(store, "product-2")}]
    gone = run_query(store, query.replace("Product/2", "Product/9"))
    assert (gone["status"], gone["url"], gone["fileSize"], gone["objectCount"]) == ("COMPLETED", None, None, "0")
    assert bulk.result_lines(store, 2, False) is None


def test_refused_queries_are_worded_as_shopify_words_them(store):
    deep = "{ collections { edges { node { id products { edges { node { id %s } } } } } } }"
    variants = "variants { edges { node { id } } }"
    assert refusals(store, "{ products { nodes { id title } } }") == [
        "All connection fields in a bulk query must select their contents using 'edges' > 'node', e.g: 'products { "
        "edges { node {'. Selecting via 'nodes' is not supported. Invalid connection fields: 'products'."
    ]
    assert refusals(store, '{ node(id: "gid://shopify/Product/0") { id } }') == [
        "Bulk queries cannot contain a top level `node` field.",
        "Bulk queries must contain at least one connection.",
    ]
    assert refusals(store, "{ shop { id } }") == ["Bulk queries must contain at least one connection."]
    assert refusals(store, "{ products { edges { node { title " + variants + " } } } }") == [
        "The parent 'node' field for a nested connection must select the 'id' field without an alias and must be of "
        "'ID' return type. Connection fields without 'id': products."
    ]
    assert refusals(store, deep % "collections { edges { node { id products { edges { node { id } } } } } }") == [
        "Bulk queries cannot contain connections with a nesting depth greater than 2."
    ]
    six = " ".join(f"{letter}: {variants}" for letter in "abcde")
    assert refusals(store, "{ products { edges { node { id " + six + " } } } }") == [
        "Bulk queries cannot contain more than 5 connections."
    ]
    assert refusals(store, "mutation { productDelete(input: {id: 1}) { deletedProductId } }") == [
        "Invalid operation type. Only `query` operations are supported."
    ]
    assert refusals(store, "") == ["Invalid bulk query: syntax error, Unexpected <EOF>. at [1, 1]"]
    assert len(refusals(store, "{ products { edges { node { id prise } } } }")) == 1
    assert refusals(store, "{ products { edges { node { id } } } # " + "x" * 65536 + "\n}") == [
        "Query is too large (65577 bytes; maximum is 65535 bytes)"
    ]
    listed = "{ products { edges { node { id } } } orders { edges { node { id } } } }"
    assert refusals(store, listed) == ["Bulk queries cannot contain more than one top level field."]
    ok = run(store, RUN_QUERY, query=deep % variants)
    assert ok["userErrors"] == []  # two levels of nesting are allowed


def test_the_scopes_of_the_inner_document_are_checked(store):
    add_products(store, 2)
    operation = run_query(store, PRODUCTS, scopes=["read_orders"])
    assert (operation["status"], operation["errorCode"], operation["url"]) == ("FAILED", "ACCESS_DENIED", None)


def test_five_queries_run_at_a_time(store):
    with store.state.lock:  # the worker cannot begin meanwhile
        ids = [run(store, RUN_QUERY, query=PRODUCTS)["bulkOperation"]["id"] for _ in range(5)]
        sixth = run(store, RUN_QUERY, query=PRODUCTS)
        assert sixth == {
            "bulkOperation": None,
            "userErrors": [
                {
                    "field": None,
                    "message": "A bulk query operation for this app and shop is already in progress: "
                    f"{', '.join(ids)}.",
                    "code": "OPERATION_IN_PROGRESS",
                }
            ],
        }
        listed = run(
            store,
            '{ bulkOperations(first: 9, query: "status:created AND operation_type:query") { nodes { id status } } }',
        )
    assert {node["id"] for node in listed["nodes"]} == set(ids)
    assert [finished(store, each)["status"] for each in ids] == ["COMPLETED"] * 5
    assert run(store, RUN_QUERY, query=PRODUCTS)["userErrors"] == []


def test_an_operation_can_be_canceled_until_it_has_ended(store):
    cancel = (
        "mutation ($id: ID!) { bulkOperationCancel(id: $id) { bulkOperation { status } userErrors { field message } } }"
    )
    add_products(store, 3)
    with store.state.lock:
        operation_id = run(store, RUN_QUERY, query=PRODUCTS)["bulkOperation"]["id"]
        assert run(store, cancel, id=operation_id) == {"bulkOperation": {"status": "CANCELING"}, "userErrors": []}
    assert finished(store, operation_id)["status"] == "CANCELED"
    assert run(store, cancel, id=operation_id)["userErrors"] == [
        {"field": None, "message": "A bulk operation cannot be canceled when it is canceled"}
    ]
    assert run(store, cancel, id="gid://shopify/BulkOperation/99") == {
        "bulkOperation": None,
        "userErrors": [{"field": ["id"], "message": "Bulk operation does not exist"}],
    }


def test_a_query_that_fails_leaves_half_of_its_results(store):
    add_products(store, 4)
    store.faults.script("bulk failed")
    assert store.faults.next("graphql") == "bulk failed"  # as a request over HTTP does
    operation = run_query(store, PRODUCTS, grouped=True)
    assert (operation["status"], operation["errorCode"]) == ("FAILED", "INTERNAL_SERVER_ERROR")
    assert operation["url"] is None
    assert operation["partialDataUrl"] == f"{store.url}/bulk/1.jsonl?partial=true"
    assert bulk.result_lines(store, 1, False) is None
    assert len(lines_of(store, operation, partial=True)) == 4
    assert len(requests.get(operation["partialDataUrl"], timeout=10).text.splitlines()) == 4
    assert run_query(store, PRODUCTS)["status"] == "COMPLETED"


def test_results_are_fetched_over_http_for_seven_days(store, fake_time):
    add_products(store, 2)
    operation = run_query(store, "{ products { edges { node { id } } } }")
    answer = requests.get(operation["url"], timeout=10)
    assert answer.status_code == 200
    assert answer.text == '{"id":"gid://shopify/Product/1"}\n{"id":"gid://shopify/Product/2"}\n'
    assert str(len(answer.content)) == operation["fileSize"]
    fake_time.now += 7 * 86_400 + 1
    assert requests.get(operation["url"], timeout=10).status_code == 404
    assert bulk.result_lines(store, 99, False) is None


def test_node_finds_bulk_operations_too(store):
    operation = run_query(store, PRODUCTS)
    document = "query ($id: ID!) { node(id: $id) { ... on BulkOperation { id status url } } }"
    assert run(store, document, id=operation["id"]) == {"id": operation["id"], "status": "COMPLETED", "url": None}


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


# ---------------------------------------------------------------------------------------------- mutations


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

    monkeypatch.setattr(staged, "MAX_BYTES", 10)
    wanted = {"resource": "BULK_MUTATION_VARIABLES", "filename": "a.jsonl", "mimeType": "text/jsonl"}
    (target,) = run(store, STAGE, input=[{**wanted, "httpMethod": "POST"}])["stagedTargets"]
    parameters = {each["name"]: each["value"] for each in target["parameters"]}
    answer = requests.post(target["url"], data=parameters, files={"file": b"x" * 11}, timeout=10)
    assert (answer.status_code, "EntityTooLarge" in answer.text) == (400, True)


# ---------------------------------------------------------------------------------------------- the store's life


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
