import pytest
from store_calls import data_of

PRODUCT_SET = """
mutation ProductSet($identifier: ProductSetIdentifiers, $input: ProductSetInput!, $synchronous: Boolean) {
  productSet(identifier: $identifier, input: $input, synchronous: $synchronous) {
    product {
      id handle title vendor productType status tags descriptionHtml createdAt updatedAt
      variants(first: 10) { nodes { id title price } }
      options { name values }
      collections(first: 10) { nodes { handle } }
      metafields(first: 10) { nodes { namespace key value } }
    }
    productSetOperation { id status product { id } }
    userErrors { field message code }
  }
}
"""
HAT = {
    "handle": "hat",
    "title": " Hat ",
    "vendor": "Lock",
    "productType": "Headgear",
    "tags": ["winter, Wool", "wool", " ", "arctic"],
    "productOptions": [{"name": "Title", "values": [{"name": "Default Title"}]}],
    "variants": [{"optionValues": [{"optionName": "Title", "name": "Default Title"}], "price": "19.9"}],
}


@pytest.fixture
def shop(unserved_store):
    return unserved_store


def product_set(shop, values, **identifier):
    return data_of(shop, PRODUCT_SET, {"identifier": identifier or None, "input": values, "synchronous": True})[
        "productSet"
    ]


def made(shop, values, **identifier):
    payload = product_set(shop, values, **identifier)
    assert payload["userErrors"] == []
    return payload["product"]


def refused(shop, values, **identifier):
    """The one user error as (field, message, code)."""
    count = shop.state.count("Product")
    payload = product_set(shop, values, **identifier)
    assert payload["product"] is None
    assert shop.state.count("Product") == count
    (error,) = payload["userErrors"]
    return ".".join(error["field"]), error["message"], error["code"]


def collection(shop, **values):
    document = """mutation($collection: CollectionCreateInput!) {
      collectionCreate(collection: $collection) { collection { id handle title } userErrors { field message } } }"""
    return data_of(shop, document, {"collection": values})["collectionCreate"]


def test_product_set_creates_by_handle(shop):
    assert made(shop, HAT, handle="hat") == {
        "id": "gid://shopify/Product/1",
        "handle": "hat",
        "title": "Hat",
        "vendor": "Lock",
        "productType": "Headgear",
        "status": "ACTIVE",
        "tags": ["arctic", "winter", "Wool"],
        "descriptionHtml": "",
        "createdAt": "2026-11-18T11:06:40Z",
        "updatedAt": "2026-11-18T11:06:40Z",
        "variants": {
            "nodes": [{"id": "gid://shopify/ProductVariant/20001", "title": "Default Title", "price": "19.90"}]
        },
        "options": [{"name": "Title", "values": ["Default Title"]}],
        "collections": {"nodes": []},
        "metafields": {"nodes": []},
    }


def test_product_set_with_a_title_only_has_shopifys_defaults(shop):
    product = made(shop, {"title": "Café  Crème!"})
    assert (product["handle"], product["vendor"], product["status"]) == (
        "cafe-creme",
        "Local development shop",
        "ACTIVE",
    )
    assert product["variants"]["nodes"][0]["price"] == "0.00"
    assert made(shop, {"title": "Cafe creme"})["handle"] == "cafe-creme-1"
    assert made(shop, {"title": "???"})["handle"] == "product"


def test_product_set_again_changes_nothing_and_updates_what_differs(shop, fake_time):
    first = made(shop, HAT, handle="hat")
    fake_time.sleep(60)
    assert made(shop, HAT, handle="hat") == first
    assert made(shop, {"handle": "hat", "tags": ["WINTER", "Wool", "arctic"]}, handle="hat")["tags"] == [
        "arctic",
        "WINTER",
        "Wool",
    ]
    fake_time.sleep(60)
    changed = made(shop, {"handle": "hat", "title": "Cap", "status": "DRAFT"}, handle="hat")
    assert (changed["title"], changed["status"], changed["vendor"]) == ("Cap", "DRAFT", "Lock")
    assert changed["updatedAt"] == "2026-11-18T11:08:40Z"
    assert changed["createdAt"] == first["createdAt"]
    assert changed["variants"] == first["variants"]
    moved = made(shop, {"handle": "bonnet"}, id=first["id"])
    assert (moved["id"], moved["handle"]) == (first["id"], "bonnet")
    assert shop.state.count("Product") == 1


def test_product_set_replaces_lists_that_are_given(shop, fake_time):
    hats = collection(shop, title="Hats")["collection"]["id"]
    sale = collection(shop, title="Sale")["collection"]["id"]
    field = {"namespace": "slirec", "key": "made_by", "type": "single_line_text_field", "value": "us"}
    created = made(shop, HAT | {"collections": [sale, hats, hats], "metafields": [field]}, handle="hat")
    assert created["collections"]["nodes"] == [{"handle": "hats"}, {"handle": "sale"}]
    assert created["metafields"]["nodes"] == [{"namespace": "slirec", "key": "made_by", "value": "us"}]
    fake_time.sleep(1)
    assert made(shop, {"handle": "hat", "title": "Hat"}, handle="hat") == created
    replaced = made(shop, {"handle": "hat", "collections": [sale], "metafields": [], "tags": []}, handle="hat")
    assert replaced["collections"]["nodes"] == [{"handle": "sale"}]
    assert (replaced["metafields"]["nodes"], replaced["tags"]) == ([], [])
    assert replaced["updatedAt"] > created["updatedAt"]


def test_variants_with_the_same_option_values_stay_the_same(shop):
    options = [{"name": "Size", "values": [{"name": "S"}, {"name": "L"}]}]

    def variant(size, price):
        return {"optionValues": [{"optionName": "Size", "name": size}], "price": price}

    values = HAT | {"productOptions": options, "variants": [variant("S", "1"), variant("L", 2.5)]}
    small, large = made(shop, values, handle="hat")["variants"]["nodes"]
    assert (small["price"], large["price"], large["title"]) == ("1.00", "2.50", "L")
    again = made(shop, values | {"variants": [variant("L", "3")]}, handle="hat")["variants"]["nodes"]
    assert again == [large | {"price": "3.00"}]
    third = made(shop, values, handle="hat")["variants"]["nodes"]
    assert [node["title"] for node in third] == ["S", "L"]
    assert third[1]["id"] == large["id"]
    document = "query($id: ID!) { node(id: $id) { ... on ProductVariant { displayName product { handle } } } }"
    assert data_of(shop, document, {"id": large["id"]})["node"] == {
        "displayName": "Hat - L",
        "product": {"handle": "hat"},
    }


def test_product_set_refuses(shop):
    made(shop, HAT, handle="hat")
    option, (variant,) = HAT["productOptions"][0], HAT["variants"]
    blank = ("input.title", "Title can't be blank", "INVALID_PRODUCT")
    assert refused(shop, {"handle": "x", "title": " "}, handle="x") == blank
    assert refused(shop, {"handle": "x"}, handle="x") == blank
    assert refused(shop, {"handle": "hat", "title": ""}, handle="hat") == blank
    assert refused(shop, {"title": "x" * 256})[1] == "Title is too long (maximum is 255 characters)"
    assert refused(shop, HAT, handle="cap") == (
        "input",
        "The identifier value does not match the value of the corresponding field in the input.",
        "INPUT_MISMATCH",
    )
    assert refused(shop, {"title": "Hat"}, handle="hat") == (
        "input",
        "The input field corresponding to the identifier is required.",
        "MISSING_FIELD_REQUIRED",
    )
    assert refused(shop, HAT, id="gid://shopify/Product/7") == (
        "input",
        "Resource matching the identifier was not found.",
        "NOT_FOUND",
    )
    assert refused(shop, HAT) == (
        "input.handle",
        "Handle already in use. Please provide a new handle.",
        "HANDLE_NOT_UNIQUE",
    )
    assert refused(shop, {"title": "Cap", "variants": [variant]}) == (
        "input.productOptions",
        "Must specify product options when updating variants.",
        "PRODUCT_OPTIONS_INPUT_MISSING",
    )
    assert refused(shop, {"title": "Cap", "productOptions": [option]}) == (
        "input.variants",
        "Must specify variants when updating options.",
        "VARIANTS_INPUT_MISSING",
    )
    unknown = "gid://shopify/Collection/9"
    assert refused(shop, {"title": "Cap", "collections": [unknown]}) == (
        "input.collections.0",
        "Collection does not exist",
        "INVALID_INPUT",
    )

    def variants(*inputs, options=HAT["productOptions"]):
        return refused(shop, {"title": "Cap", "productOptions": options, "variants": list(inputs)})[::2]

    wrong = {"optionValues": [{"optionName": "Title", "name": "Other"}]}
    assert variants(wrong) == ("input.variants.0.optionValues.0", "OPTION_VALUE_DOES_NOT_EXIST")
    assert variants({"optionValues": [{"optionName": "Size", "name": "S"}]})[1] == "OPTION_DOES_NOT_EXIST"
    assert variants({"optionValues": []}) == ("input.variants.0.optionValues", "INVALID_VARIANT")
    assert variants(variant, variant) == ("input.variants.1", "INVALID_VARIANT")
    assert variants(variant | {"price": "-1"}) == ("input.variants.0.price", "INVALID_VARIANT")
    assert variants(variant | {"id": "gid://shopify/ProductVariant/1"})[1] == "PRODUCT_VARIANT_DOES_NOT_EXIST"
    assert variants(variant, options=[option, option])[1] == "DUPLICATED_OPTION_NAME"
    assert variants(variant, options=[{"name": "Title"}])[1] == "OPTION_VALUES_MISSING"
    assert variants(variant, options=[{"name": "Title", "values": [{"name": "a"}] * 2}])[1] == "DUPLICATED_OPTION_VALUE"
    assert variants(variant, options=[option | {"name": str(n)} for n in range(4)])[1] == "OPTIONS_OVER_LIMIT"
    # Nothing is left behind, not even a number.
    assert made(shop, {"title": "Cap"})["id"] == "gid://shopify/Product/2"


def test_product_set_in_the_background(shop):
    payload = data_of(shop, PRODUCT_SET, {"identifier": None, "input": {"title": "Cap"}, "synchronous": False})[
        "productSet"
    ]
    assert payload["product"] is None
    assert (payload["productSetOperation"]["status"], payload["productSetOperation"]["product"]) == ("CREATED", None)
    document = "query($id: ID!) { productOperation(id: $id) { __typename status product { handle } } }"
    found = data_of(shop, document, {"id": payload["productSetOperation"]["id"]})["productOperation"]
    assert found == {"__typename": "ProductSetOperation", "status": "COMPLETE", "product": {"handle": "cap"}}


def test_delete_and_delete_again(shop):
    hats = collection(shop, title="Hats")["collection"]["id"]
    hat = made(shop, HAT | {"collections": [hats]}, handle="hat")["id"]
    product = "mutation($id: ID!) { deleted: productDelete(input: {id: $id}) {"
    product += " id: deletedProductId shop { name } userErrors { field message } } }"
    kept = product.replace("productDelete", "collectionDelete").replace("deletedProductId", "deletedCollectionId")
    shop_name = {"name": "Local development shop"}
    assert data_of(shop, product, {"id": hat})["deleted"] == {"id": hat, "shop": shop_name, "userErrors": []}
    gone = {"id": None, "shop": shop_name, "userErrors": [{"field": ["id"], "message": "Product does not exist"}]}
    assert data_of(shop, product, {"id": hat})["deleted"] == gone
    assert data_of(shop, "query($id: ID!) { collection(id: $id) { productsCount { count } } }", {"id": hats}) == {
        "collection": {"productsCount": {"count": 0}}
    }
    assert data_of(shop, kept, {"id": hats})["deleted"]["id"] == hats
    gone["userErrors"][0]["message"] = "Collection does not exist"
    assert data_of(shop, kept, {"id": hats})["deleted"] == gone
    (error,) = shop.execute(product, {"id": hats})["errors"]
    assert (error["message"], error["extensions"]["code"]) == (f"Invalid id: {hats}", "RESOURCE_NOT_FOUND")


def test_a_second_collection_of_the_same_name_is_made_quietly(shop):
    handles = [collection(shop, title=" Toys & Games ")["collection"]["handle"] for _ in range(3)]
    assert handles == ["toys-games", "toys-games-1", "toys-games-2"]
    assert collection(shop, title="Other", handle="Toys Games")["collection"]["handle"] == "toys-games-3"
    blank = {"collection": None, "userErrors": [{"field": ["collection", "title"], "message": "Title can't be blank"}]}
    assert collection(shop, title=" ") == blank


def test_collection_by_identifier_with_its_metafield(shop):
    field = {"namespace": "slirec", "key": "made_by", "type": "single_line_text_field", "value": "shopify-slirec"}
    id = collection(shop, title="Hats", metafields=[field])["collection"]["id"]
    made(shop, HAT | {"collections": [id]}, handle="hat")
    document = """query($identifier: CollectionIdentifierInput!) { collectionByIdentifier(identifier: $identifier) {
      id title metafield(namespace: "slirec", key: "made_by") { value type jsonValue }
      short: metafield(key: "slirec.made_by") { key } none: metafield(namespace: "x", key: "made_by") { key }
      products(first: 5) { nodes { handle } } } }"""
    expected = {
        "id": id,
        "title": "Hats",
        "metafield": {"value": "shopify-slirec", "type": "single_line_text_field", "jsonValue": "shopify-slirec"},
        "short": {"key": "made_by"},
        "none": None,
        "products": {"nodes": [{"handle": "hat"}]},
    }
    assert data_of(shop, document, {"identifier": {"handle": "hats"}})["collectionByIdentifier"] == expected
    assert data_of(shop, document, {"identifier": {"id": id}})["collectionByIdentifier"] == expected
    assert data_of(shop, document, {"identifier": {"handle": "caps"}})["collectionByIdentifier"] is None
    wrong = collection(shop, title="X", metafields=[field | {"namespace": "no"}])["userErrors"]
    assert wrong == [
        {
            "field": ["collection", "metafields", "0", "namespace"],
            "message": "Namespace is too short (minimum is 3 characters)",
        }
    ]
    assert shop.state.find("Collection", "x") is None
