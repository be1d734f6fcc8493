import json
from collections import Counter

import pytest
import requests
from store_calls import run

from scripts.shopify.dev_store import ALL_SCOPES, DevStore
from scripts.shopify.dev_store.orders import add_customer, add_order
from scripts.shopify.dev_store.past_orders import CHECKOUT, make_orders, make_past
from scripts.shopify.dev_store.times import parse_time
from scripts.shopify.inventory import catalogue_inventory

PAGE = """query (
  $first: Int = 50, $after: String, $query: String, $sort: OrderSortKeys = PROCESSED_AT, $back: Boolean
) {
  orders(first: $first, after: $after, query: $query, sortKey: $sort, reverse: $back) {
    nodes { name } pageInfo { hasNextPage endCursor } } }"""
ORDER = """query ($id: ID!) { order(id: $id) {
  id name createdAt processedAt updatedAt cancelledAt test sourceName customer { id }
  lineItems(first: 9) { nodes { id title quantity currentQuantity sku product { id handle productType } } } } }"""
PRODUCT_SET = """mutation ($handle: String!, $title: String!) { productSet(
  identifier: {handle: $handle}, input: {handle: $handle, title: $title, productType: "Hats"}) { product { id } } }"""
DAY = 86_400


def names(store, scopes=None, **variables):
    return [node["name"] for node in run(store, PAGE, scopes, **variables)["nodes"]]


def add_product(store, handle, title):
    return run(store, PRODUCT_SET, handle=handle, title=title)["product"]["id"]


def test_an_order_shows_what_was_bought_by_whom_and_when(store):
    hat, customer = add_product(store, "hat", "Hat"), add_customer(store)
    lines = [
        {"product": hat, "quantity": 2, "currentQuantity": 1, "sku": "HAT"},
        {"title": "Gift wrapping"},
    ]
    order = add_order(store, customer=customer["id"], lineItems=lines, processedAt="2026-11-01T10:00:00Z")
    assert run(store, ORDER, id=order["id"]) == {
        "id": "gid://shopify/Order/1",
        "name": "#1001",
        "createdAt": "2026-11-01T10:00:00Z",
        "processedAt": "2026-11-01T10:00:00Z",
        "updatedAt": "2026-11-01T10:00:00Z",
        "cancelledAt": None,
        "test": False,
        "sourceName": "web",
        "customer": {"id": "gid://shopify/Customer/1"},
        "lineItems": {
            "nodes": [
                {
                    "id": "gid://shopify/LineItem/1001",
                    "title": "Hat",
                    "quantity": 2,
                    "currentQuantity": 1,
                    "sku": "HAT",
                    "product": {"id": hat, "handle": "hat", "productType": "Hats"},
                },
                {
                    "id": "gid://shopify/LineItem/1002",
                    "title": "Gift wrapping",
                    "quantity": 1,
                    "currentQuantity": 1,
                    "sku": None,
                    "product": None,
                },
            ]
        },
    }
    node = "query ($id: ID!) { node(id: $id) { ... on LineItem { title } ... on Order { name } } }"
    assert run(store, node, id="gid://shopify/LineItem/1002") == {"title": "Gift wrapping"}
    assert run(store, node, id="gid://shopify/Order/1") == {"name": "#1001"}


def test_a_deleted_product_is_null_and_its_title_stays(store):
    hat = add_product(store, "hat", "Hat")
    order = add_order(store, lineItems=[{"product": hat}])
    run(store, "mutation ($id: ID!) { productDelete(input: {id: $id}) { deletedProductId } }", id=hat)
    (line,) = run(store, ORDER, id=order["id"])["lineItems"]["nodes"]
    assert (line["title"], line["product"]) == ("Hat", None)
    assert run(store, ORDER, id=order["id"])["customer"] is None


def test_without_read_all_orders_only_sixty_days_are_there(store, fake_time):
    for days in (59.9, 60.1, 200, 3):
        add_order(store, processedAt=fake_time.now - days * DAY)
    few = [scope for scope in ALL_SCOPES if scope != "read_all_orders"]
    assert names(store) == ["#1003", "#1002", "#1001", "#1004"]
    assert names(store, few) == ["#1001", "#1004"]
    assert run(store, ORDER, few, id="gid://shopify/Order/2") is None
    assert run(store, "query ($id: ID!) { node(id: $id) { id } }", few, id="gid://shopify/Order/2") is None
    assert run(store, "{ ordersCount { count precision } }", few) == {"count": 2, "precision": "EXACT"}
    assert run(store, "{ ordersCount { count precision } }") == {"count": 4, "precision": "EXACT"}
    assert run(store, "{ ordersCount(limit: 3) { count precision } }") == {"count": 3, "precision": "AT_LEAST"}


def test_orders_are_filtered_sorted_and_paged(store, fake_time):
    start = fake_time.now - 10 * DAY
    customer = add_customer(store)["id"]
    for number, day in enumerate((4, 1, 3, 2)):
        processed = start + day * DAY
        add_order(
            store,
            processedAt=processed,
            updatedAt=processed + (5 * DAY if day == 1 else 0),
            cancelledAt=processed + 60 if day == 3 else None,
            test=day == 4,
            sourceName="pos" if number == 3 else "web",
            customer=customer if day < 3 else None,
        )
    assert names(store) == ["#1002", "#1004", "#1003", "#1001"]
    assert names(store, back=True) == ["#1001", "#1003", "#1004", "#1002"]
    assert names(store, sort="ID") == ["#1001", "#1002", "#1003", "#1004"]
    assert names(store, sort="UPDATED_AT") == ["#1004", "#1003", "#1001", "#1002"]
    assert names(store, query="test:false") == ["#1002", "#1004", "#1003"]
    assert names(store, query="status:cancelled") == ["#1003"]
    assert names(store, query="status:open") == ["#1002", "#1004", "#1001"]
    assert names(store, query="status:closed") == []
    assert names(store, query="status:any") == names(store, query="status:not_closed") == names(store)
    assert len(names(store)) == 4
    assert names(store, query="source_name:pos OR name:#1001") == ["#1004", "#1001"]
    assert names(store, query="customer_id:1") == ["#1002", "#1004"]
    since = run(store, ORDER, id="gid://shopify/Order/3")["processedAt"]
    assert names(store, query=f"processed_at:>='{since}'") == ["#1003", "#1001"]
    assert names(store, query=f"processed_at:>'{since}' AND test:true") == ["#1001"]
    assert names(store, query=f"updated_at:>'{since}'") == ["#1002", "#1001"]
    paged, after = [], None
    for _ in range(4):
        found = run(store, PAGE, first=1, after=after)
        paged += [node["name"] for node in found["nodes"]]
        after = found["pageInfo"]["endCursor"]
    assert (paged, found["pageInfo"]["hasNextPage"]) == (["#1002", "#1004", "#1003", "#1001"], False)


@pytest.mark.parametrize(
    ("scopes", "path", "required"),
    [
        (["read_products"], ["orders"], "read_orders"),
        (["read_orders", "read_products"], ["orders", "nodes", 0, "customer"], "read_customers"),
        (
            ["read_orders", "read_customers"],
            ["orders", "nodes", 0, "lineItems", "nodes", 0, "product"],
            "read_products",
        ),
    ],
)
def test_customer_and_product_need_scopes_of_their_own(store, scopes, path, required):
    add_order(store, customer=add_customer(store)["id"], lineItems=[{"product": add_product(store, "hat", "Hat")}])
    document = """{ orders(first: 1) {
      nodes { id customer { id } lineItems(first: 1) { nodes { title product { id } } } } } }"""
    answer = store.execute(document, scopes=scopes)
    (error,) = answer["errors"]
    assert (error["path"], error["extensions"]["code"]) == (path, "ACCESS_DENIED")
    assert error["extensions"]["requiredAccess"] == f"`{required}` access scope."


def test_an_order_of_another_shape_is_refused(store):
    with pytest.raises(TypeError, match="no field email"):
        add_order(store, email="a@example.com")
    with pytest.raises(TypeError, match="colour"):
        add_order(store, lineItems=[{"title": "Hat", "colour": "red"}])
    assert store.state.count("Order") == 0


def test_orders_are_read_in_bulk_over_http(store):
    for number in range(3):
        lines = [{"title": f"Thing {number}.{place}"} for place in range(number)]
        add_order(store, lineItems=lines, processedAt=store.clock() - number * DAY)
    inner = """{ orders(query: "test:false", sortKey: PROCESSED_AT) {
      edges { node { id name lineItems { edges { node { title } } } } } } }"""
    document = """mutation ($query: String!) { bulkOperationRunQuery(query: $query, groupObjects: true) {
      bulkOperation { id } userErrors { message } } }"""
    headers = {"X-Shopify-Access-Token": store.access_token}
    url = f"{store.url}/admin/api/2026-10/graphql.json"

    def post(query, variables):
        answer = requests.post(url, json={"query": query, "variables": variables}, headers=headers, timeout=10).json()
        assert "errors" not in answer
        return answer["data"]

    operation_id = post(document, {"query": inner})["bulkOperationRunQuery"]["bulkOperation"]["id"]
    poll = "query ($id: ID!) { bulkOperation(id: $id) { status url objectCount } }"
    for _ in range(100):
        operation = post(poll, {"id": operation_id})["bulkOperation"]
        if operation["status"] == "COMPLETED":
            break
    assert operation["objectCount"] == "6"
    lines = [json.loads(line) for line in requests.get(operation["url"], timeout=10).text.splitlines()]
    oldest, middle, newest = (f"gid://shopify/Order/{number}" for number in (3, 2, 1))
    assert lines == [
        {"id": oldest, "name": "#1003"},
        {"title": "Thing 2.0", "__parentId": oldest},
        {"title": "Thing 2.1", "__parentId": oldest},
        {"id": middle, "name": "#1002"},
        {"title": "Thing 1.0", "__parentId": middle},
        {"id": newest, "name": "#1001"},
    ]


# ------------------------------------------------------------------------------------------- past orders


@pytest.fixture(scope="module")
def shop():
    """A shop with the provided catalogue, but for one product, and 1,000 past orders."""
    now = 1_795_000_000.0
    inventory = catalogue_inventory()
    store = DevStore(clock=lambda: now)
    for product in inventory.products[1:]:
        add_product(store, product["handle"], product["title"])
    assert make_orders(store, inventory, orders=1000, days=100, seed=3) == 1000
    yield store, inventory
    store.stop()


def test_past_orders_end_now_and_are_in_order(shop):
    store, _ = shop
    orders = list(store.state.scan("Order"))
    times = [parse_time(order["processedAt"]) for order in orders]
    assert len(orders) == 1000
    assert times == sorted(times)
    assert times[-1] == store.clock()
    assert times[0] >= store.clock() - 100 * DAY
    assert sum(time < store.clock() - 60 * DAY for time in times) > 100
    assert all(parse_time(order["updatedAt"]) <= store.clock() for order in orders)


def test_past_orders_have_what_an_export_must_cope_with(shop):
    store, inventory = shop
    orders = list(store.state.scan("Order"))
    lines = [line for order in orders for line in order["lineItems"]]
    left = {order["id"]: sum(line["currentQuantity"] for line in order["lineItems"]) for order in orders}
    had = {order["id"]: sum(line["quantity"] for line in order["lineItems"]) for order in orders}
    shares = {
        "guests": sum(order["customer"] is None for order in orders) / 1000,
        "till": sum(order["sourceName"] == "pos" for order in orders) / 1000,
        "test": sum(order["test"] for order in orders) / 1000,
        "cancelled": sum(order["cancelledAt"] is not None for order in orders) / 1000,
        "refunded": sum(left[order["id"]] == 0 for order in orders) / 1000,
        "partly refunded": sum(0 < left[each] < had[each] for each in left) / 1000,
        "several lines": sum(len(order["lineItems"]) > 1 for order in orders) / 1000,
        "no product": sum(line["product"] is None for line in lines) / len(lines),
    }
    assert 0.04 < shares["guests"] < 0.10
    assert 0.01 < shares["till"] < 0.04
    assert 0.003 < shares["test"] < 0.02
    assert 0.02 < shares["cancelled"] < 0.05
    assert shares["cancelled"] < shares["refunded"] < 0.09
    assert 0.01 < shares["partly refunded"] < 0.05
    assert 0.4 < shares["several lines"] < 0.9
    assert 0.01 < shares["no product"] < 0.06
    absent = inventory.products[0]["title"]
    assert all(line["product"] is None for line in lines if line["title"] == absent)
    known = {product["id"] for product in store.state.scan("Product")}
    assert {line["product"] for line in lines} - {None} <= known
    assert min(Counter(order["customer"] for order in orders).values()) >= 1
    assert store.state.count("Customer") == len({order["customer"] for order in orders} - {None})


def test_the_same_seed_makes_the_same_orders(shop):
    store, inventory = shop
    other = DevStore(clock=store.clock)
    for product in inventory.products[1:]:
        add_product(other, product["handle"], product["title"])
    make_orders(other, inventory, orders=1000, days=100, seed=3)
    assert list(other.state.scan("Order")) == list(store.state.scan("Order"))
    other.stop()


def test_the_past_says_whose_visits_led_to_the_orders(shop):
    store, inventory = shop
    other = DevStore(clock=store.clock)
    for product in inventory.products[1:]:
        add_product(other, product["handle"], product["title"])
    past = make_past(other, inventory, orders=50, days=60, seed=4)
    plan, products = past.interactions.plan, past.interactions.product
    steps = {
        (past.customers.get(user), int(plan.timestamp[row]) + past.shift + CHECKOUT): inventory.handles[products[row]]
        for user in range(past.interactions.num_users)
        for row in range(plan.offsets[user], plan.offsets[user + 1])
    }
    orders = [order for order in other.state.scan("Order") if order["customer"]]
    assert past.orders == 50
    assert {order["customer"] for order in orders} == set(past.customers.values())
    for order in orders:  # the last product of the visit, and a shopper's own products
        moment = int(parse_time(order["processedAt"]))
        assert (order["customer"], moment) in steps
        own = {handle for (customer, time), handle in steps.items() if customer == order["customer"] and time <= moment}
        assert {line["sku"] for line in order["lineItems"] if line["sku"]} <= own
    other.stop()


def test_an_empty_shop_has_no_past(store):
    with pytest.raises(ValueError, match="populate it first"):
        make_orders(store, catalogue_inventory(), orders=10)
    with pytest.raises(ValueError, match="orders = 0"):
        make_orders(store, catalogue_inventory(), orders=0)
