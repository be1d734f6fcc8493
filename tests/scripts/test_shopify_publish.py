"""publish_recommendations against the local shop."""

import json

import numpy as np
import pytest
from shop_interruptions import interrupted_at
from shop_recommendations import GONE, IDS, add_products, entries, expected, file_of, many

from scripts.shopify.answers import ShopifyError
from scripts.shopify.client import ShopifyClient
from scripts.shopify.marks import METAOBJECT_TYPE
from scripts.shopify.metaobject_publisher import BULK_ABOVE, Publisher
from scripts.shopify.publish_recommendations import publish_recommendations
from scripts.shopify.recommendation_file import RecommendationFileError, read_recommendations


@pytest.fixture
def products(store):
    return add_products(store)


def operations(store, name):
    return sum(request.operation.startswith(name) for request in store.requests)


@pytest.mark.parametrize("bulk", ["always", "never"])
def test_one_metaobject_a_shopper(store, client, products, tmp_path, bulk):
    rows = [
        ("ann", [products[3], products[1], products[2]]),
        ("bob", [products[0], GONE[0], products[0], products[4], products[5]]),
        ("cy", GONE),
        ("dee", []),
    ]
    done = publish_recommendations(client, file_of(tmp_path, rows), IDS, k=2, bulk=bulk)
    assert entries(store) == {
        IDS.handle_of("ann"): [products[3], products[1]],
        IDS.handle_of("bob"): [products[0], products[4]],  # the next one stands in for the unknown one
    }
    assert (done.result.published, done.result.without_products, done.result.failed) == (2, [3, 4], {})
    assert (done.result.unknown, done.defined) == ({99999, 88888}, True)
    definition = store.state.find("MetaobjectDefinition", METAOBJECT_TYPE)
    assert definition["access"]["storefront"] == "PUBLIC_READ"
    assert [(field["key"], field["type"]) for field in definition["fieldDefinitions"]] == [
        ("products", "list.product_reference")
    ]


def test_storefront_reads_what_was_published(store, client, products, tmp_path):
    gid = store.execute(
        'mutation { productSet(input: {title: "Hat", handle: "hat", status: ACTIVE}) { product { id } } }'
    )["data"]["productSet"]["product"]["id"]
    (online,) = (p["id"] for p in store.state.scan("Publication") if "online_store" in json.dumps(p))
    publish = 'mutation { publishablePublish(id: "%s", input: {publicationId: "%s"}) { userErrors { message } } }'
    store.execute(publish % (gid, online))
    publish_recommendations(client, file_of(tmp_path, [("ann", [gid])]), IDS)
    query = """query ($handle: MetaobjectHandleInput!) { metaobject(handle: $handle) { field(key: "products") {
        references(first: 16) { nodes { ... on Product { handle } } } } } }"""
    handle = {"type": METAOBJECT_TYPE, "handle": IDS.handle_of("ann")}
    answer = store.execute(query, {"handle": handle}, api="storefront")
    assert answer["data"]["metaobject"]["field"]["references"]["nodes"] == [{"handle": "hat"}]


def test_again_changes_nothing_and_new_products_replace_the_old(store, client, products, tmp_path):
    rows = many(products, 60)
    for bulk in ("never", "always"):
        done = publish_recommendations(client, file_of(tmp_path, rows), IDS, bulk=bulk)
        assert (done.result.published, done.result.without_products) == (59, [50])
        assert entries(store) == expected(rows)
    publish_recommendations(client, file_of(tmp_path, [("user-0", products[:1])]), IDS)
    assert entries(store) == expected(rows) | {IDS.handle_of("user-0"): products[:1]}


def test_bulk_above_a_full_bucket_s_worth(store, client, products, tmp_path):
    rows = [(f"user-{n}", products[:2]) for n in range(BULK_ABOVE + 1)]
    publish_recommendations(client, file_of(tmp_path, rows[1:]), IDS)
    assert (operations(store, "MetaobjectUpsert"), operations(store, "BulkRunMutation")) == (BULK_ABOVE, 0)
    publish_recommendations(client, file_of(tmp_path, rows), IDS)
    assert (operations(store, "MetaobjectUpsert"), operations(store, "BulkRunMutation")) == (BULK_ABOVE, 1)
    assert len(entries(store)) == BULK_ABOVE + 1


def test_unknown_products_cost_one_more_round_not_one_each(store, client, products, tmp_path):
    gone = [f"gid://shopify/Product/{number}" for number in range(70_000, 70_015)]
    rows = [(f"user-{n}", [*gone[n % 15 :], *gone[: n % 15], products[n % 12]]) for n in range(40)]
    done = publish_recommendations(client, file_of(tmp_path, rows), IDS, bulk="always")
    assert (done.result.published, len(done.result.unknown)) == (40, 15)
    assert operations(store, "BulkRunMutation") == 2
    # One by one, the second shopper is spared what the first has found out.
    store.requests.clear()
    publish_recommendations(client, file_of(tmp_path, rows), IDS, bulk="never")
    assert operations(store, "MetaobjectUpsert") == 41


@pytest.mark.parametrize("bulk", ["always", "never"])
def test_every_third_request_meets_a_fault(store, client, products, tmp_path, bulk):
    rows = many(products, 150)
    store.faults.slow_seconds = 0.01
    store.faults.every(3)
    done = publish_recommendations(client, file_of(tmp_path, rows), IDS, bulk=bulk)
    assert sum(store.faults.injected.values()) > 5
    assert (done.result.published, done.result.without_products) == (147, [50, 100, 150])
    assert entries(store) == expected(rows)


def test_lines_without_a_result_are_sent_again(store, client, products, tmp_path):
    rows = many(products, 400)
    store.faults.script(*[None] * 5, "bulk failed")
    done = publish_recommendations(client, file_of(tmp_path, rows), IDS, bulk="always")
    assert store.faults.injected == {"bulk failed": 1}
    assert (done.result.published, len(done.result.without_products), done.result.failed) == (392, 8, {})
    assert entries(store) == expected(rows)


def test_lines_that_never_get_a_result_have_failed(store, client, products, tmp_path, monkeypatch):
    from scripts.shopify import metaobject_publisher
    from scripts.shopify.bulk import bulk_mutation

    def forgetful(*args, **kwargs):
        return (line for line in bulk_mutation(*args, **kwargs) if line.number != 1)

    monkeypatch.setattr(metaobject_publisher, "bulk_mutation", forgetful)
    rows = many(products, 10)
    done = publish_recommendations(client, file_of(tmp_path, rows), IDS, bulk="always")
    # Line 1 of ten; then, sent alone, line 0 comes through.
    assert (done.result.published, done.result.failed) == (10, {})
    monkeypatch.setattr(metaobject_publisher, "bulk_mutation", lambda *args, **_: iter([*args[2]][:0]))
    done = publish_recommendations(client, file_of(tmp_path, rows[:3]), IDS, bulk="always")
    assert (done.result.published, done.result.failed) == (0, {"no result (after 3 attempts)": [1, 2, 3]})


def test_refusals_that_are_no_product_s_fault(store, client, products, tmp_path):
    shoppers = read_recommendations(file_of(tmp_path, many(products, 3)), IDS, 16).shoppers
    result = Publisher(client, shoppers, 16).publish()  # without a definition
    reason = f'No metaobject definition exists for type "{METAOBJECT_TYPE}" (UNDEFINED_OBJECT_TYPE)'
    assert (result.published, result.failed) == (0, {reason: [1, 2, 3]})


def test_a_refusal_that_blames_products_which_are_there(store, client, products, tmp_path):
    rows = [("ann", [*products, GONE[0]]), ("bob", products[:5])]
    shoppers = read_recommendations(file_of(tmp_path, rows), IDS, 16).shoppers
    definition = """mutation ($type: String!) { metaobjectDefinitionCreate(definition: {type: $type, fieldDefinitions: [
        {key: "products", type: "list.product_reference", validations: [{name: "list.max", value: "8"}]}
    ]}) { userErrors { message } } }"""
    assert (
        store.execute(definition, {"type": METAOBJECT_TYPE})["data"]["metaobjectDefinitionCreate"]["userErrors"] == []
    )
    for bulk in ("always", "never"):
        result = Publisher(client, shoppers, 16, bulk).publish()
        assert (result.published, result.unknown) == (1, {99999})
        assert result.failed == {"Value has more than 8 elements. (INVALID_VALUE)": [1]}
    with pytest.raises(ShopifyError, match=r"storefront access should be PUBLIC_READ, is NONE; .* takes at most 8"):
        publish_recommendations(client, tmp_path / "recommendations.jsonl", IDS)


@pytest.mark.parametrize("bulk", ["always", "never"])
def test_stopped_anywhere_and_started_again(store, client, products, tmp_path, bulk):
    rows = many(products, 30)
    path = file_of(tmp_path, rows)
    publish_recommendations(client, path, IDS, bulk=bulk)
    requests = len(store.requests) + 2  # and an upload and a download
    rng = np.random.default_rng(3)
    for number in rng.choice(np.arange(1, requests), 12, replace=False):
        for handle in entries(store):
            gid = store.state.find("Metaobject", f"{METAOBJECT_TYPE}/{handle}")["id"]
            store.execute("mutation ($id: ID!) { metaobjectDelete(id: $id) { deletedId } }", {"id": gid})
        assert entries(store) == {}
        with pytest.raises(KeyboardInterrupt), interrupted_at(int(number), after=bool(number % 2)):
            publish_recommendations(client, path, IDS, bulk=bulk)
            raise KeyboardInterrupt  # polling may take fewer requests than the first time
        done = publish_recommendations(client, path, IDS, bulk=bulk)
        assert done.result.published == 30
        assert entries(store) == expected(rows)


@pytest.mark.parametrize("bulk", ["always", "never"])
def test_operation_of_a_killed_command_does_not_overwrite_newer_lists(
    store, client, products, tmp_path, monkeypatch, bulk
):
    def killed(*_):
        raise ProcessLookupError  # no clean-up either

    monkeypatch.setattr("scripts.shopify.dev_store.bulk_work.STEP_SECONDS", 0.002)
    old, new = (
        [(f"user-{n}", [product]) for n in range(count)] for product, count in ((products[0], 3000), (products[1], 6))
    )
    with monkeypatch.context() as patch, pytest.raises(ProcessLookupError):
        patch.setattr("scripts.shopify.bulk_operations._watch", killed)
        patch.setattr("scripts.shopify.bulk_operations._cancel", lambda *_: None)
        publish_recommendations(client, file_of(tmp_path, old), IDS)
    (left,) = store.state.scan("BulkOperation")
    assert left["status"] in ("CREATED", "RUNNING")
    done = publish_recommendations(client, file_of(tmp_path, new), IDS, bulk=bulk)
    assert (done.result.published, store.state.get(left["id"])["status"]) == (6, "CANCELED")
    assert {handle: entries(store)[handle] for handle in expected(new)} == expected(new)


def test_command_stopped_while_it_starts_its_operation_cancels_it(store, client, products, tmp_path, monkeypatch):
    from gql.transport.requests import RequestsHTTPTransport

    execute = RequestsHTTPTransport.execute

    def stopped(transport, request, *arguments, **options):
        answer = execute(transport, request, *arguments, **options)
        if "bulkOperationRunMutation" in (answer.data or {}):
            raise KeyboardInterrupt
        return answer

    monkeypatch.setattr("scripts.shopify.dev_store.bulk_work.STEP_SECONDS", 0.002)
    monkeypatch.setattr(RequestsHTTPTransport, "execute", stopped)
    rows = [(f"user-{n}", products[:1]) for n in range(3000)]
    with pytest.raises(KeyboardInterrupt):
        publish_recommendations(client, file_of(tmp_path, rows), IDS)
    (left,) = store.state.scan("BulkOperation")
    assert left["status"] in ("CANCELING", "CANCELED")


def test_definition_whose_entries_are_drafts_is_refused(store, client, products, tmp_path, monkeypatch):
    publish_recommendations(client, file_of(tmp_path, many(products, 3)), IDS)
    original = client.execute

    def execute(name, *arguments, **options):
        data = original(name, *arguments, **options)
        if name == "metaobject_definition_by_type":
            data["metaobjectDefinitionByType"]["capabilities"]["publishable"]["enabled"] = True
        return data

    monkeypatch.setattr(client, "execute", execute)
    with pytest.raises(ShopifyError, match=r"its entries should be active at once, .* 'publishable' is enabled"):
        publish_recommendations(client, tmp_path / "recommendations.jsonl", IDS)


def test_dry_run_writes_nothing_and_tells_the_same(store, client, products, tmp_path):
    path = file_of(tmp_path, many(products, 60))
    dry = publish_recommendations(client, path, IDS, dry_run=True)
    assert (store.state.count("Metaobject"), store.state.count("MetaobjectDefinition"), dry.defined) == (0, 0, True)
    assert publish_recommendations(client, path, IDS).result == dry.result


def test_definition_that_comes_back_empty_is_an_error(client, products, tmp_path, monkeypatch):
    execute = ShopifyClient.execute

    def empty(self, name, *arguments, **options):
        data = execute(self, name, *arguments, **options)
        return {"metaobjectDefinitionCreate": None} if name == "metaobject_definition_create" else data

    monkeypatch.setattr(ShopifyClient, "execute", empty)
    with pytest.raises(ShopifyError, match="metaobjectDefinitionCreate: Shopify returned null"):
        publish_recommendations(client, file_of(tmp_path, many(products, 3)), IDS)


@pytest.mark.parametrize(("answer", "reason"), [(None, "returned null"), ({"stagedTargets": []}, "returned 0 places")])
def test_upload_without_a_place_is_an_error(client, products, tmp_path, monkeypatch, answer, reason):
    execute = ShopifyClient.execute

    def empty(self, name, *arguments, **options):
        if name == "staged_uploads_create":
            return {"stagedUploadsCreate": answer}
        return execute(self, name, *arguments, **options)

    monkeypatch.setattr(ShopifyClient, "execute", empty)
    with pytest.raises(ShopifyError, match=f"stagedUploadsCreate: Shopify {reason}"):
        publish_recommendations(client, file_of(tmp_path, many(products, 3)), IDS, bulk="always")


def test_definition_that_somebody_else_makes_meanwhile(store, client, products, tmp_path):
    store.faults.script(None, None, "drop after")
    done = publish_recommendations(client, file_of(tmp_path, many(products, 3)), IDS)
    assert store.faults.injected == {"drop after": 1}
    assert (done.result.published, store.state.count("MetaobjectDefinition")) == (3, 1)


def test_k_and_bulk_are_checked(client, tmp_path):
    for k in (0, 129):
        with pytest.raises(ValueError, match=f"`k` should be from 1 to 128. Received: k = {k}"):
            publish_recommendations(client, tmp_path / "a.jsonl", IDS, k=k)
    with pytest.raises(ValueError, match="`bulk` should be one of auto, always, never"):
        Publisher(client, None, 16, "sometimes")
    with pytest.raises(RecommendationFileError, match=r"at least one usable row. Received: 1 rows: row 1: `userId`"):
        publish_recommendations(client, file_of(tmp_path, [("", [])]), IDS)
