import json
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import pytest
from store_calls import data_of

from scripts.shopify.dev_store.catalogue import seed_products
from scripts.shopify.dev_store.engine import sdl
from scripts.shopify.dev_store.state import gid

ONLINE_STORE = "gid://shopify/Publication/3"
TYPE = "slirec_recommendations"
CARDS = """
query Cards($handle: MetaobjectHandleInput!, $first: Int!) @inContext(country: DE, language: DE) {
  metaobject(handle: $handle) {
    products: field(key: "products") {
      references(first: $first) {
        nodes {
          ... on Product {
            id handle title vendor onlineStoreUrl availableForSale
            featuredImage { url(transform: { maxWidth: 400 }) altText }
            priceRange { minVariantPrice { amount currencyCode } maxVariantPrice { amount } }
          }
        }
        pageInfo { hasNextPage }
      }
    }
  }
}
"""
DEFINE = """mutation($definition: MetaobjectDefinitionCreateInput!) {
  metaobjectDefinitionCreate(definition: $definition) { userErrors { message } } }"""
UPSERT = """mutation($handle: MetaobjectHandleInput!, $fields: [MetaobjectFieldInput!]!) {
  metaobjectUpsert(handle: $handle, metaobject: {fields: $fields}) { metaobject { id } userErrors { message } } }"""
RECORDS = [
    {"title": "Hat", "category": "Hats", "price": "12.50", "vendor": "Lock", "image": "https://cdn.example/hat.png"},
    {"title": "Draft", "category": "Hats", "status": "DRAFT"},
    {"title": "Archived", "status": "ARCHIVED"},
    {"title": "Unlisted", "category": "Hats", "status": "UNLISTED"},
    {"title": "<img src=x onerror=alert(1)>", "handle": "img", "category": "Hats"},
]
HAT, DRAFT, ARCHIVED, UNLISTED, IMG, UNPUBLISHED = (gid("Product", number) for number in range(1, 7))
EVERYTHING = [UNPUBLISHED, IMG, DRAFT, UNLISTED, ARCHIVED, HAT]


def fill(shop):
    """Products of every kind, and an entry that refers to all of them."""
    seed_products(shop, RECORDS)
    seed_products(shop, [{"title": "Unpublished", "category": "Secret"}], publish=False)
    define(shop, TYPE, "PUBLIC_READ")
    upsert(shop, TYPE, "ab12", EVERYTHING)


def define(shop, type, access):
    field = {"key": "products", "type": "list.product_reference"}
    one = {"key": "best", "type": "product_reference"}
    definition = {"type": type, "access": {"storefront": access}, "fieldDefinitions": [field, one]}
    assert shop.execute(DEFINE, {"definition": definition})["data"]["metaobjectDefinitionCreate"]["userErrors"] == []


def upsert(shop, type, handle, products):
    fields = [{"key": "products", "value": json.dumps(products)}, {"key": "best", "value": products[0]}]
    answer = shop.execute(UPSERT, {"handle": {"type": type, "handle": handle}, "fields": fields})
    assert answer["data"]["metaobjectUpsert"]["userErrors"] == []
    return answer["data"]["metaobjectUpsert"]["metaobject"]["id"]


@pytest.fixture
def shop(unserved_store):
    fill(unserved_store)
    return unserved_store


def ask(shop, document, variables=None):
    return data_of(shop, document, variables, api="storefront")


def cards(shop, first=10, type=TYPE, handle="ab12"):
    return ask(shop, CARDS, {"handle": {"type": type, "handle": handle}, "first": first})["metaobject"]


def handles(page):
    return [node["handle"] for node in page["nodes"]]


def test_cards_of_a_shopper_show_what_is_published_in_the_stored_order(shop):
    references = cards(shop)["products"]["references"]
    assert handles(references) == ["img", "unlisted", "hat"]
    assert references["nodes"][0]["title"] == "<img src=x onerror=alert(1)>"
    assert references["nodes"][2] == {
        "id": HAT,
        "handle": "hat",
        "title": "Hat",
        "vendor": "Lock",
        "onlineStoreUrl": "https://local-dev-store.myshopify.com/products/hat",
        "availableForSale": True,
        "featuredImage": {"url": "https://cdn.example/hat.png", "altText": "Hat"},
        "priceRange": {
            "minVariantPrice": {"amount": "12.5", "currencyCode": "USD"},
            "maxVariantPrice": {"amount": "12.5"},
        },
    }
    assert references["nodes"][0]["featuredImage"] is None
    page = cards(shop, first=2)["products"]["references"]
    assert (handles(page), page["pageInfo"]["hasNextPage"]) == (["img", "unlisted"], True)


def test_what_is_taken_out_of_the_shop_window_is_gone_at_once(shop):
    unpublish = f"""mutation {{ publishableUnpublish(id: "{HAT}", input: [{{publicationId: "{ONLINE_STORE}"}}]) {{
      userErrors {{ message }} }} productDelete(input: {{id: "{IMG}"}}) {{ deletedProductId }} }}"""
    shop.execute(unpublish)
    assert handles(cards(shop)["products"]["references"]) == ["unlisted"]
    assert ask(shop, '{ product(handle: "hat") { id } }') == {"product": None}
    assert ask(shop, "query($id: ID!) { product(id: $id) { id } }", {"id": HAT}) == {"product": None}


def test_unknown_shoppers_and_closed_types_have_nothing(shop):
    assert cards(shop, handle="nobody") is None
    assert cards(shop, type="nothing") is None
    define(shop, "closed", "NONE")
    id = upsert(shop, "closed", "ab12", [HAT])
    assert cards(shop, type="closed") is None
    document = """query($id: ID!, $type: String!) {
      metaobject(id: $id) { id } node(id: $id) { id } metaobjects(type: $type, first: 5) { nodes { id } } }"""
    nothing = {"metaobject": None, "node": None, "metaobjects": {"nodes": []}}
    assert ask(shop, document, {"id": id, "type": "closed"}) == nothing


def test_who_has_the_token_can_list_every_entry(shop):
    for number in range(3):
        upsert(shop, TYPE, f"s{number}", [HAT])
    document = """query($after: String) { metaobjects(type: "slirec_recommendations", first: 3, after: $after) {
      nodes {
        handle field(key: "best") { value reference { ... on Product { handle } } } none: field(key: "x") { key } }
      pageInfo { hasNextPage endCursor } } }"""
    page = ask(shop, document)["metaobjects"]
    assert handles(page) == ["ab12", "s0", "s1"]
    # What the entry points at is told, although the product itself is not to be seen.
    assert page["nodes"][0]["field"] == {"value": UNPUBLISHED, "reference": None}
    assert page["nodes"][1]["field"]["reference"] == {"handle": "hat"}
    assert page["nodes"][0]["none"] is None
    assert page["pageInfo"]["hasNextPage"]
    assert handles(ask(shop, document, {"after": page["pageInfo"]["endCursor"]})["metaobjects"]) == ["s2"]


def test_lists_show_what_is_published_active_and_listed(shop):
    document = """query($query: String, $sortKey: ProductSortKeys) {
      products(first: 9, query: $query, sortKey: $sortKey) {
        nodes { handle collections(first: 2) { nodes { handle } } } }
      collections(first: 9) { nodes { handle products(first: 9) { nodes { handle } } } } }"""
    found = ask(shop, document)
    hats = {"nodes": [{"handle": "hats"}]}
    assert found["products"]["nodes"] == [
        {"handle": "hat", "collections": hats},
        {"handle": "img", "collections": hats},
    ]
    assert found["collections"]["nodes"] == [
        {"handle": "hats", "products": {"nodes": [{"handle": "hat"}, {"handle": "img"}]}}
    ]
    assert handles(ask(shop, document, {"query": "vendor:lock"})["products"]) == ["hat"]
    assert handles(ask(shop, document, {"sortKey": "TITLE"})["products"]) == ["img", "hat"]


def test_nodes_and_the_shop(shop):
    document = "query($ids: [ID!]!) { nodes(ids: $ids) { id } shop { name primaryDomain { host sslEnabled } } }"
    ids = [HAT, DRAFT, gid("Collection", 1), gid("Collection", 2), gid("Customer", 1)]
    assert ask(shop, document, {"ids": ids}) == {
        "nodes": [{"id": HAT}, None, {"id": gid("Collection", 1)}, None, None],
        "shop": {
            "name": "Local development shop",
            "primaryDomain": {"host": "local-dev-store.myshopify.com", "sslEnabled": True},
        },
    }


def test_the_admin_api_is_not_reachable_here(shop):
    assert "mutation" not in sdl("storefront").split("type QueryRoot")[0]
    answer = shop.execute('mutation { productSet(input: {title: "x"}) { product { id } } }', api="storefront")
    assert "data" not in answer
    assert answer["errors"]
    answer = shop.execute("{ products(first: 1) { nodes { status } } }", api="storefront")
    assert answer["errors"][0]["extensions"]["code"] == "undefinedField"
    answer = shop.execute("{ products(first: 1) { nodes { id } } }", api="storefront", scopes=["read_products"])
    assert answer["errors"][0]["extensions"]["code"] == "ACCESS_DENIED"


def test_over_http(store):
    fill(store)

    def post(token, document, variables):
        body = json.dumps({"query": document, "variables": variables}).encode()
        headers = {"Content-Type": "application/json", "X-Shopify-Storefront-Access-Token": token}
        with urlopen(Request(f"{store.url}/api/2026-10/graphql.json", body, headers)) as response:
            return json.load(response)

    variables = {"handle": {"type": TYPE, "handle": "ab12"}, "first": 1}
    answer = post(store.storefront_token, CARDS, variables)
    (card,) = answer["data"]["metaobject"]["products"]["references"]["nodes"]
    assert (card["handle"], card["onlineStoreUrl"]) == ("img", f"{store.url}/products/img")
    with pytest.raises(HTTPError, match="401"):
        post(store.access_token, CARDS, variables)
