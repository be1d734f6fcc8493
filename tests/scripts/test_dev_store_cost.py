"""Cost of a request to the local shop, and the bucket it is paid from."""

from collections.abc import Iterator

import pytest
from conftest import require
from graphql import build_schema, parse
from raw_http import ask
from shopify_schema import published

from scripts.shopify.dev_store import DevStore
from scripts.shopify.dev_store.bucket import Bucket
from scripts.shopify.dev_store.cost import CostPlan, steps
from scripts.shopify.dev_store.engine import engine_of
from scripts.shopify.fetch_schema import is_fetched

OBSERVED = [  # what live stores answered to clients that published it
    (6, "{products(first:10){nodes{id title status}}}"),
    (6, "{products(first:10){edges{node{title}}}}"),
    (8, "{collections(first:25){pageInfo{hasNextPage} edges{cursor node{id title}}}}"),
    (11, '{product(id:"1"){title seo{title} metafields(first:50){edges{node{id key}}}}}'),
    (13, '{product(id:"1"){variants(first:200){pageInfo{hasNextPage} edges{cursor node{legacyResourceId}}}}}'),
    (1, '{node(id:"1"){... on BulkOperation{status}}}'),
    (10, 'mutation{bulkOperationRunQuery(query:"{}"){bulkOperation{id} userErrors{message}}}'),
    (
        32,
        "{publications(first:25,catalogType:APP){pageInfo{hasNextPage} edges{cursor node{id "
        "catalog{id ... on AppCatalog{apps(first:1){edges{node{id handle title}}}}}}}}}",
    ),
]
OBSERVED_ELSEWHERE = [  # the same, of fields that the local shop lacks
    (12, "{customers(first:200){pageInfo{hasNextPage} edges{cursor node{id updatedAt}}}}"),
    (12, "{locations(first:20,includeLegacy:true){pageInfo{hasNextPage} nodes{name fulfillmentService{id}}}}"),
    (14, "{catalogs(first:25){edges{cursor node{id title priceList{currency}}}}}"),
    (
        15,
        '{order(id:"1"){fulfillments{name location{legacyResourceId} trackingInfo{number} service{serviceName} '
        "fulfillmentLineItems(first:10){pageInfo{endCursor} nodes{id originalTotalSet{shopMoney{amount}} "
        "lineItem{id}}}}}}",
    ),
    (
        16,
        '{catalog(id:"1"){id priceList{currency} publication{id products(first:250){edges{cursor node{id}} '
        "pageInfo{hasNextPage}}}}}",
    ),
    (
        16,
        "{a:products(first:5,reverse:true){edges{node{id title category{name}}}} "
        "b:products(first:5){edges{node{id title category{name}}}}}",
    ),
    (
        43,
        '{order(id:"1"){legacyResourceId lineItems(first:10){pageInfo{hasNextPage} nodes{id product{legacyResourceId} '
        "variant{legacyResourceId} customAttributes{key value} duties{countryCodeOfOrigin "
        "price{presentmentMoney{amount}} taxLines{channelLiable priceSet{shopMoney{amount}}}} "
        "fulfillmentService{location{name} serviceName} discountAllocations{allocatedAmountSet{shopMoney{amount}}} "
        "originalTotalSet{shopMoney{amount}} taxLines{rate priceSet{shopMoney{amount}}}}}}}",
    ),
    (
        47,
        "{products(first:100){pageInfo{hasNextPage},edges{cursor node{legacyResourceId "
        "media(first:1){edges{node{mediaContentType ... on MediaImage{id image{url(transform:{maxHeight:360})}}}}}}}}}",
    ),
    (
        48,
        '{location(id:"1"){inventoryLevels(first:100){edges{cursor node{id quantities(names:"available"){quantity} '
        "item{id variant{id product{id}}}}}}}}",
    ),
    (
        68,
        "{orders(first:25){pageInfo{hasNextPage} edges{cursor node{legacyResourceId name channel{name} "
        "totalPriceSet{shopMoney{amount}} customAttributes{key value} tags risk{assessments{riskLevel}} "
        "displayAddress{countryCodeV2} shippingAddress{countryCodeV2} billingAddress{countryCodeV2} "
        "totalTaxSet{presentmentMoney{amount} shopMoney{amount}} taxLines{channelLiable} "
        "purchasingEntity{... on PurchasingCompany{company{id}}}}}}}",
    ),
    (
        130,
        "{orders(first:10){edges{node{id updatedAt customer{id} customerJourney{customerOrderIndex daysToConversion "
        "firstVisit{source} moments{occurredAt} lastVisit{source}} lineItems(first:5){edges{node{name quantity "
        "product{category{name} title variants(first:5){nodes{displayName price}}}}}}}}}}",
    ),
]


@pytest.mark.parametrize(("cost", "text"), OBSERVED)
def test_requested_cost_is_what_live_stores_asked(store: DevStore, cost: int, text: str) -> None:
    prepared = engine_of("admin").prepare(text)
    assert prepared.errors == ()
    assert prepared.cost.requested({}) == cost
    assert 0 <= prepared.cost.actual({}, store.execute(text)["data"]) <= cost


def test_requested_cost_on_the_published_schema() -> None:
    require(is_fetched(), "Shopify's published schema (make shopify-schema)")
    schema = published("admin").schema
    wanted = OBSERVED + OBSERVED_ELSEWHERE
    documents = [parse(text) for _, text in wanted]
    plans = [CostPlan(schema, document, document.definitions[0]) for document in documents]
    assert [plan.requested({}) for plan in plans] == [cost for cost, _ in wanted]


@pytest.mark.parametrize(("count", "paid"), [(0, 0), (1, 1), (2, 1), (3, 2), (10, 4), (100, 9), (250, 11)])
def test_steps(count: int, paid: int) -> None:
    assert steps(count) == paid


TOY = build_schema("""
    schema { query: QueryRoot mutation: Mutation }
    type QueryRoot { things(first: Int, last: Int): ThingConnection! thing: Thing any: Any }
    type Mutation { thingSet(name: String): ThingSetPayload }
    type ThingSetPayload { thing: Thing userErrors: [UserError!]! }
    type UserError { message: String! }
    type ThingConnection { nodes: [Thing!]! edges: [ThingEdge!]! pageInfo: PageInfo! }
    type ThingEdge { node: Thing! cursor: String! }
    type PageInfo { hasNextPage: Boolean! }
    type Thing { name: String price: MoneyV2 owner: Owner owners: [Owner!] parts(first: Int): ThingConnection! }
    type MoneyV2 { amount: String }
    type Owner { name: String }
    union Any = Thing | Owner
""")


def plan(text: str) -> CostPlan:
    document = parse(text)
    return CostPlan(TOY, document, document.definitions[0])


@pytest.mark.parametrize(
    ("cost", "text"),
    [
        (1, "{thing{name price{amount}}}"),
        (3, "{thing{name owner{name} owners{name}}}"),
        (2 + 9 * 1, "query($n:Int=100){things(first:$n){nodes{name}}}"),
        (2 + 4 * (1 + 1 + 2 + 3 * 2), "{things(last:10){nodes{owner{name} parts(first:5){nodes{owner{name}}}}}}"),
        (2, "{things(first:0){nodes{name}}}"),
        (2 + 4, "{things(first:10){pageInfo{hasNextPage}}}"),
        (1 + 1, "{any{__typename ...on Owner{name} ...on Thing{owner{name}}}}"),
        (1 + 2, "{any{...T ...on Owner{name}}} fragment T on Thing{owner{name} owners{name}}"),
        (1, "{thing{name owner @include(if:false){name} owners @skip(if:true){name}}}"),
        (10, "mutation{thingSet{thing{name} userErrors{message}}}"),
        (11, "mutation{thingSet{thing{name owner{name}} userErrors{message}}}"),
        (10 + 2 + 6, "mutation{thingSet{thing{parts(first:25){nodes{name}}}}}"),
        (20, "mutation{a:thingSet{thing{name}} b:thingSet{thing{name}}}"),
    ],
)
def test_cost_rules(cost: int, text: str) -> None:
    assert plan(text).requested({}) == cost


def test_cost_follows_variables_and_data() -> None:
    priced = plan("query($n:Int!,$w:Boolean!){things(first:$n){nodes{name owner @include(if:$w){name}}}}")
    assert [priced.requested({"n": n, "w": w}) for n, w in ((10, True), (10, False), (250, True))] == [10, 6, 24]
    rows = [{"name": "x", "owner": {"name": "y"}}] * 3
    variables = {"n": 250, "w": True}
    assert priced.actual(variables, {"things": {"nodes": rows}}) == 2 + 2 * 2
    assert priced.actual(variables, {"things": {"nodes": []}}) == 2
    assert priced.actual(variables, None) == 2
    nested = plan("{things(first:10){edges{node{parts(first:50){nodes{name}}}}}}")
    parts = [{"parts": {"nodes": [{"name": "p"}] * count}} for count in (1, 3)]
    assert nested.requested({}) == 2 + 4 * (1 + 2 + 7)
    assert nested.actual({}, {"things": {"edges": [{"node": part} for part in parts]}}) == 2 + 1 * (1 + 2 + 2)


def test_bucket_restores_at_the_rate_of_its_plan() -> None:
    now = [0.0]
    bucket = Bucket("standard", lambda: now[0])
    assert bucket.status() == {"maximumAvailable": 2000.0, "currentlyAvailable": 2000, "restoreRate": 100.0}
    assert [bucket.take(900) for _ in range(3)] == [True, True, False]
    assert bucket.available() == 200
    bucket.refund(50)
    now[0] = 3.5
    assert bucket.status()["currentlyAvailable"] == 600
    now[0] = 3.4  # a clock that was set back takes nothing away
    assert bucket.available() == 600
    now[0] = 1000.0
    assert bucket.available() == 2000
    bucket.drain(-5)
    assert bucket.available() == 0
    with pytest.raises(ValueError, match="basic"):
        Bucket("basic", lambda: 0.0)


@pytest.fixture
def standard(store: DevStore) -> Iterator[DevStore]:
    store.set_plan("standard")
    return store


BIG = "{products(first:250){nodes{id options{name} a:options{name} b:options{name} variants(first:10){nodes{id}}}}}"


def test_admitted_on_the_requested_cost_and_refunded(standard: DevStore, fake_time) -> None:
    cost = ask(standard, BIG)[2]["extensions"]["cost"]
    assert cost == {
        "requestedQueryCost": 2 + 11 * (1 + 3 + 6),
        "actualQueryCost": 2,
        "throttleStatus": {"maximumAvailable": 2000.0, "currentlyAvailable": 1998, "restoreRate": 100.0},
    }
    standard.bucket.drain(100)
    status, _, body = ask(standard, BIG)
    assert status == 200
    assert "data" not in body
    assert body["errors"][0] == {
        "message": "Throttled",
        "extensions": {"code": "THROTTLED", "documentation": "https://shopify.dev/api/usage/rate-limits"},
    }
    throttle = {"maximumAvailable": 2000.0, "currentlyAvailable": 100, "restoreRate": 100.0}
    expected = {"requestedQueryCost": 112, "actualQueryCost": None, "throttleStatus": throttle}
    assert body["extensions"]["cost"] == expected
    assert [(entry.throttled, entry.requested_cost) for entry in standard.requests] == [(False, 112), (True, 112)]
    fake_time.now += 0.12  # seconds: 12 points
    assert "data" in ask(standard, BIG)[2]


def test_request_of_more_than_a_thousand_points_is_refused(store: DevStore) -> None:
    query = BIG.replace("variants(first:10)", "variants(first:250)")
    many = "{" + " ".join(query[1:-1].replace("products(", f"p{n}:products(") for n in range(7)) + "}"
    each = 2 + 11 * (1 + 3 + 2 + 11)
    body = ask(store, many)[2]
    assert body["errors"][0]["extensions"] == {
        "code": "MAX_COST_EXCEEDED",
        "cost": 7 * each,
        "maxCost": 1000,
        "documentation": "https://shopify.dev/api/usage/rate-limits",
    }
    assert body["extensions"]["cost"]["throttleStatus"]["currentlyAvailable"] == 20000
