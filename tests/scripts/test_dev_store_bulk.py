import requests
from bulk_tools import PRODUCTS, RUN_QUERY, add_products, finished, lines_of, refusals, run_query, variant_of
from store_calls import run

from scripts.shopify.dev_store import DevStore, bulk


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
