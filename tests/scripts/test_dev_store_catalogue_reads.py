import sqlite3
import time

import pytest
from store_calls import data_of

from scripts.shopify.dev_store import DevStore
from scripts.shopify.dev_store.catalogue import seed_products
from scripts.shopify.dev_store.catalogue_rules import UserErrors
from scripts.shopify.texts import shopify_handle

PRODUCTS = """query($first: Int, $after: String, $query: String, $sortKey: ProductSortKeys, $reverse: Boolean) {
  products(first: $first, after: $after, query: $query, sortKey: $sortKey, reverse: $reverse) {
    nodes { handle } pageInfo { hasNextPage endCursor }
  }
}"""
RECORDS = [
    {
        "title": "Red Hat",
        "category": "Hats",
        "price": "12.50",
        "tags": ["slirec-demo", "a b"],
        "vendor": "Lock",
        "image": "https://cdn.example/hat.png",
    },
    {"title": "Blue Cap", "collections": ["Sale", "Hats"], "price": "8", "product_type": "Headgear"},
    {"title": "Green Sock", "status": "DRAFT", "vendor": "Lock", "description_html": "<p>Warm &amp;<br>dry</p>"},
]


@pytest.fixture
def shop(unserved_store, fake_time):
    for record in RECORDS:
        seed_products(unserved_store, [record])
        fake_time.sleep(60)
    return unserved_store


def handles(shop, query=None, **variables):
    nodes = data_of(shop, PRODUCTS, {"first": 250, "query": query, "sortKey": "ID", **variables})["products"]["nodes"]
    return " ".join(node["handle"] for node in nodes)


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("tag:slirec-demo", "red-hat"),
        ("tag:'a b'", "red-hat"),
        ("-tag:slirec-demo", "blue-cap green-sock"),
        ("status:active", "red-hat blue-cap"),
        ("vendor:lock status:draft", "green-sock"),
        ("title:hat OR handle:blue-cap", "red-hat blue-cap"),
        ("product_type:Headgear", "blue-cap"),
        ("collection_id:1", "red-hat blue-cap"),
        ("price:<10", "blue-cap green-sock"),
        ("updated_at:>='2026-11-18T11:07:40Z'", "blue-cap green-sock"),
        ("created_at:<'2026-11-18T11:07:40Z'", "red-hat"),
        ("published_status:published", "red-hat blue-cap green-sock"),
        ("sock", "green-sock"),
        ("lock", "red-hat green-sock"),
        ("mistyped:x", "red-hat blue-cap green-sock"),
    ],
)
def test_search_of_products(shop, query, expected):
    assert handles(shop, query) == expected
    count = data_of(shop, "query($q: String) { productsCount(query: $q) { count precision } }", {"q": query})
    assert count == {"productsCount": {"count": len(expected.split()), "precision": "EXACT"}}


def test_order_of_products(shop):
    assert handles(shop) == "red-hat blue-cap green-sock"
    assert handles(shop, sortKey="TITLE") == "blue-cap green-sock red-hat"
    assert handles(shop, sortKey="TITLE", reverse=True) == "red-hat green-sock blue-cap"
    hat = "gid://shopify/Product/1"
    data_of(
        shop, f'mutation {{ productSet(identifier: {{id: "{hat}"}}, input: {{title: "Hat"}}) {{ product {{ id }} }} }}'
    )
    assert handles(shop, sortKey="UPDATED_AT", reverse=True) == "red-hat green-sock blue-cap"
    assert handles(shop, sortKey="CREATED_AT", first=1) == "red-hat"
    first = data_of(shop, PRODUCTS, {"first": 1, "sortKey": "TITLE"})["products"]["pageInfo"]
    assert handles(shop, sortKey="TITLE", after=first["endCursor"]) == "green-sock red-hat"


def test_a_page_of_251_is_refused(shop):
    answer = shop.execute(PRODUCTS, {"first": 251})
    assert answer["data"] is None
    assert answer["errors"][0]["message"] == "first cannot be greater than 250. Received: 251"
    assert answer["errors"][0]["extensions"]["code"] == "BAD_REQUEST"
    assert answer["errors"][0]["path"] == ["products"]
    assert shop.execute(PRODUCTS)["errors"][0]["message"] == "you must provide one of first or last"


def test_fields_of_a_product(shop):
    document = """query($id: ID!) { product(id: $id) {
      __typename legacyResourceId description short: description(truncateAt: 8) descriptionHtml onlineStoreUrl
      publishedAt featuredMedia { alt } hasOnlyDefaultVariant variantsCount { count } seo { title }
      priceRangeV2 { minVariantPrice { amount currencyCode } maxVariantPrice { amount } }
      options(first: 1) { position optionValues { name } }
      variants(first: 1) { nodes {
        id displayName position taxable inventoryPolicy availableForSale compareAtPrice
        selectedOptions { name value } } }
      collections(first: 5) { nodes { title productsCount { count } } }
      inCollection(id: "gid://shopify/Collection/2") } }"""
    price = {"minVariantPrice": {"amount": "8.0", "currencyCode": "USD"}, "maxVariantPrice": {"amount": "8.0"}}
    assert data_of(shop, document, {"id": "gid://shopify/Product/2"})["product"] == {
        "__typename": "Product",
        "legacyResourceId": "2",
        "description": "",
        "short": "",
        "descriptionHtml": "",
        "onlineStoreUrl": "https://local-dev-store.myshopify.com/products/blue-cap",
        "publishedAt": "2026-11-18T11:07:40Z",
        "featuredMedia": None,
        "hasOnlyDefaultVariant": True,
        "variantsCount": {"count": 1},
        "seo": {"title": None},
        "priceRangeV2": price,
        "options": [{"position": 1, "optionValues": [{"name": "Default Title"}]}],
        "variants": {
            "nodes": [
                {
                    "id": "gid://shopify/ProductVariant/40001",
                    "displayName": "Blue Cap",
                    "position": 1,
                    "taxable": True,
                    "inventoryPolicy": "DENY",
                    "availableForSale": True,
                    "compareAtPrice": None,
                    "selectedOptions": [{"name": "Title", "value": "Default Title"}],
                }
            ]
        },
        # In the order of their ids, whatever the order of adding.
        "collections": {
            "nodes": [
                {"title": "Hats", "productsCount": {"count": 2}},
                {"title": "Sale", "productsCount": {"count": 1}},
            ]
        },
        "inCollection": True,
    }
    image = """{ product(id: "gid://shopify/Product/1") { featuredMedia {
      __typename alt ... on MediaImage { image { url altText width } } } } }"""
    assert data_of(shop, image)["product"]["featuredMedia"] == {
        "__typename": "MediaImage",
        "alt": "Red Hat",
        "image": {"url": "https://cdn.example/hat.png", "altText": "Red Hat", "width": None},
    }
    draft = data_of(shop, document, {"id": "gid://shopify/Product/3"})["product"]
    assert (draft["onlineStoreUrl"], draft["description"], draft["short"]) == (None, "Warm & dry", "Warm ...")
    assert data_of(shop, document, {"id": "gid://shopify/Product/4"})["product"] is None


def test_order_of_the_products_of_a_collection(shop):
    document = """query($key: ProductCollectionSortKeys) { collectionByIdentifier(identifier: {handle: "hats"}) {
      products(first: 9, sortKey: $key) { nodes { handle } }
      back: products(first: 1, sortKey: $key, reverse: true) { nodes { handle } } } }"""

    def order(key):
        found = data_of(shop, document, {"key": key})["collectionByIdentifier"]
        assert found["back"]["nodes"] == found["products"]["nodes"][-1:]
        return " ".join(node["handle"] for node in found["products"]["nodes"])

    assert order("COLLECTION_DEFAULT") == order("ID") == order("CREATED") == "red-hat blue-cap"
    assert order("PRICE") == order("TITLE") == "blue-cap red-hat"


def test_collections(shop):
    document = """query($query: String) { collections(first: 9, query: $query, sortKey: TITLE, reverse: true) {
      nodes { handle } } collectionsCount(query: $query) { count } }"""
    assert data_of(shop, document) == {
        "collections": {"nodes": [{"handle": "sale"}, {"handle": "hats"}]},
        "collectionsCount": {"count": 2},
    }
    found = data_of(shop, document, {"query": "handle:hats"})
    assert found == {"collections": {"nodes": [{"handle": "hats"}]}, "collectionsCount": {"count": 1}}


def test_seeding_is_all_or_nothing(shop):
    with pytest.raises(sqlite3.IntegrityError):
        seed_products(shop, [{"title": "New"}, {"title": "Red hat"}])
    with pytest.raises(UserErrors, match="Price must be greater than or equal to 0"):
        seed_products(shop, [{"title": "New"}, {"title": "Newer", "price": "-1"}])
    assert shop.state.count("Product") == 3
    assert seed_products(shop, [{"title": "New", "category": "Hats"}], publish=False) == 1
    assert shop.state.count("Collection") == 2
    assert handles(shop, "published_status:unpublished") == "new"


def test_handles():
    assert [shopify_handle(text) for text in ("Tom's  Hat!", "Café", "が 食品", "a_b", "--")] == [
        "toms-hat",
        "cafe",
        "が-食品",
        "a_b",
        "",
    ]


def test_ten_thousand_products_page_at_one_speed(fake_time):
    shop = DevStore(clock=fake_time.clock)
    records = ({"title": f"P {n}", "category": f"C {n % 10}", "price": f"{n}.5"} for n in range(10_000))
    assert seed_products(shop, records) == 10_000
    found, after, seconds = [], None, []
    while True:
        begin = time.perf_counter()
        page = data_of(shop, PRODUCTS, {"first": 250, "after": after, "sortKey": "ID"})["products"]
        seconds.append(time.perf_counter() - begin)
        found += [node["handle"] for node in page["nodes"]]
        after = page["pageInfo"]["endCursor"]
        if not page["pageInfo"]["hasNextPage"]:
            break
    assert found == [f"p-{n}" for n in range(10_000)]
    assert len(seconds) == 40
    # A page that counted from the start would take ever longer.
    assert min(seconds[-10:]) < 5 * min(seconds[:10])
    shop.stop()
