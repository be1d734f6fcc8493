import pytest
from store_calls import data_of

from scripts.shopify.dev_store.catalogue import seed_products

POS, ONLINE_STORE = "gid://shopify/Publication/2", "gid://shopify/Publication/3"


@pytest.fixture
def shop(unserved_store, fake_time):
    seed_products(unserved_store, [{"title": "Hat", "category": "Hats"}])
    fake_time.sleep(60)
    return unserved_store


def test_publications(shop):
    document = """query($type: CatalogType) { publications(first: 9, catalogType: $type) { nodes { id
      catalog { title ... on AppCatalog { apps(first: 1) { nodes { handle } } } }
      channels(first: 1) { nodes { handle name } } } } }"""
    store = {"title": "Online Store", "apps": {"nodes": [{"handle": "online_store"}]}}
    pos = {"title": "Point of Sale", "apps": {"nodes": [{"handle": "pos"}]}}
    old = {"id": "gid://shopify/Publication/1", "catalog": None, "channels": {"nodes": []}}
    assert data_of(shop, document, {"type": "APP"})["publications"]["nodes"] == [
        old,
        {"id": POS, "catalog": pos, "channels": {"nodes": [{"handle": "pos", "name": "Point of Sale"}]}},
        {
            "id": ONLINE_STORE,
            "catalog": store,
            "channels": {"nodes": [{"handle": "online_store", "name": "Online Store"}]},
        },
    ]
    assert data_of(shop, document, {"type": "NONE"})["publications"]["nodes"] == [old]
    assert data_of(shop, document, {"type": "MARKET"})["publications"]["nodes"] == []


def publish(shop, id, *publications, un=""):
    document = f"""mutation($id: ID!, $input: [PublicationInput!]!) {{ done: publishable{un or "P"}ublish(
      id: $id, input: $input) {{ publishable {{ publishedOnPublication(publicationId: "{POS}") }}
      userErrors {{ field message }} }} }}"""
    return data_of(shop, document, {"id": id, "input": [{"publicationId": each} for each in publications]})["done"]


def test_publish_and_unpublish(shop):
    hat = "gid://shopify/Product/1"
    before = shop.state.get(hat)
    published = {"publishable": {"publishedOnPublication": True}, "userErrors": []}
    assert publish(shop, hat, POS) == published
    once = shop.state.get(hat)
    assert once["updatedAt"] > before["updatedAt"]
    assert publish(shop, hat, POS, ONLINE_STORE) == published
    assert shop.state.get(hat) == once
    assert publish(shop, hat, POS, ONLINE_STORE, un="Unp")["publishable"] == {"publishedOnPublication": False}
    assert shop.state.get(hat)["publishedAt"] is None
    assert publish(shop, "gid://shopify/Collection/1", POS) == published
    document = """query($id: ID!) { publication(id: $id) {
      products(first: 1) { nodes { id } } collections(first: 1) { nodes { id } } } }"""
    assert data_of(shop, document, {"id": POS})["publication"] == {
        "products": {"nodes": []},
        "collections": {"nodes": [{"id": "gid://shopify/Collection/1"}]},
    }


def test_publish_refuses(shop):
    def errors(id, *publications):
        return publish(shop, id, *publications)["userErrors"]

    hat, unknown = "gid://shopify/Product/1", "gid://shopify/Publication/9"
    assert errors(hat, POS, unknown) == [
        {"field": ["input", "1", "publicationId"], "message": "Publication does not exist or is not publishable"}
    ]
    assert errors(hat, POS, POS) == [
        {"field": ["input", "1", "publicationId"], "message": "The same publication was specified more than once"}
    ]
    assert errors(hat, "")[0]["message"] == "PublicationId cannot be empty"
    assert not shop.state.linked("publication", POS, hat)
    assert errors("gid://shopify/Product/9", POS) == [{"field": ["id"], "message": "Resource does not exist"}]
    answer = shop.execute('mutation { publishablePublish(id: "gid://shopify/Shop/1", input: []) { shop { id } } }')
    assert answer["errors"][0]["message"] == "Invalid id: gid://shopify/Shop/1"


def test_metafields_set(shop):
    document = """mutation($fields: [MetafieldsSetInput!]!) { metafieldsSet(metafields: $fields) {
      metafields { id namespace key value jsonValue } userErrors { field message code } } }"""
    field = {"ownerId": "gid://shopify/Collection/1", "namespace": "slirec", "key": "made_by", "value": "[1]"}
    (one,) = data_of(shop, document, {"fields": [field | {"type": "json"}]})["metafieldsSet"]["metafields"]
    assert one == {
        "id": "gid://shopify/Metafield/30001",
        "namespace": "slirec",
        "key": "made_by",
        "value": "[1]",
        "jsonValue": [1],
    }
    (two,) = data_of(shop, document, {"fields": [field | {"value": "[2]"}]})["metafieldsSet"]["metafields"]
    assert two == one | {"value": "[2]", "jsonValue": [2]}
    node = data_of(shop, "query($id: ID!) { node(id: $id) { ... on Metafield { value } } }", {"id": one["id"]})["node"]
    assert node == {"value": "[2]"}
    wrong = data_of(shop, document, {"fields": [field, field | {"value": "["}]})["metafieldsSet"]
    message = {"field": ["metafields", "1", "value"], "message": "Value must be of type json.", "code": "INVALID_VALUE"}
    assert wrong == {"metafields": None, "userErrors": [message]}
    assert shop.state.get(field["ownerId"])["metafields"][0]["value"] == "[2]"


@pytest.mark.parametrize(
    ("document", "scope"),
    [
        ("{ products(first: 1) { nodes { id } } }", "read_products"),
        ('{ collectionByIdentifier(identifier: {handle: "hats"}) { id } }', "read_products"),
        ("{ publications(first: 1) { nodes { id } } }", "read_publications"),
        ('mutation { productSet(input: {title: "x"}) { product { id } } }', "write_products"),
        ('mutation { collectionCreate(collection: {title: "x"}) { collection { id } } }', "write_products"),
        (
            'mutation { publishablePublish(id: "gid://shopify/Product/1", input: []) { shop { id } } }',
            "write_publications",
        ),
    ],
)
def test_scopes(shop, document, scope):
    answer = shop.execute(document, scopes=["read_orders"])
    assert answer["errors"][0]["extensions"]["requiredAccess"] == f"`{scope}` access scope."
    assert "errors" not in shop.execute(document, scopes=[scope])
