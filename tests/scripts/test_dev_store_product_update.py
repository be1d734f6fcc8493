"""productUpdate, tagsAdd and tagsRemove of the local shop."""

import pytest
from shop_contents import add_collection, collections, fill_by_rules, products, set_product

UPDATE = """mutation ($product: ProductUpdateInput!) {
  productUpdate(product: $product) { product { id title tags updatedAt } userErrors { field message } } }"""
ADD = """mutation ($id: ID!, $tags: [String!]!) {
  tagsAdd(id: $id, tags: $tags) { node { id } userErrors { field message } } }"""
REMOVE = ADD.replace("tagsAdd", "tagsRemove")
GONE = {"field": ["id"], "message": "Product does not exist"}


@pytest.fixture
def hat(store):
    return set_product(store, "hat", "5.00", title="Hat", tags=["b", "A"], vendor="Lock")


def run(store, document, scopes=("write_products",), **variables):
    (value,) = store.execute(document, variables, scopes=scopes)["data"].values()
    return value


def test_a_product_joins_and_leaves_collections(store, hat, fake_time):
    first, second, rules = (add_collection(store, title) for title in ("First", "Second", "Rules"))
    fill_by_rules(store, rules, hat)
    before = run(store, UPDATE, product={"id": hat, "collectionsToJoin": [first]})["product"]["updatedAt"]
    fake_time.now += 10
    again = {"id": hat, "collectionsToJoin": [first], "collectionsToLeave": [second]}
    assert run(store, UPDATE, product=again)["product"]["updatedAt"] == before
    moved = run(store, UPDATE, product={"id": hat, "collectionsToJoin": [second], "collectionsToLeave": [first]})
    assert moved["userErrors"] == []
    assert moved["product"]["updatedAt"] > before
    assert products(store)["hat"]["collections"] == ["Second", "Rules"]
    set_product(store, "hat", collections=[first])  # replaces what was given one by one, not what rules give
    assert products(store)["hat"]["collections"] == ["First", "Rules"]


@pytest.mark.parametrize("field", ["collectionsToJoin", "collectionsToLeave"])
def test_a_collection_that_rules_fill_or_that_is_none_is_refused_and_nothing_written(store, hat, field):
    good, rules = add_collection(store, "Good"), add_collection(store, "Rules")
    fill_by_rules(store, rules, hat)
    before = products(store)
    for bad, message in ((rules, "automated collection"), ("gid://shopify/Collection/999", "does not exist")):
        answer = run(
            store, UPDATE, product={"id": hat, "title": "New", "collectionsToJoin": [good], field: [good, bad]}
        )
        assert (answer["product"], answer["userErrors"][0]["field"]) == (None, [field, "1"])
        assert message in answer["userErrors"][0]["message"]
    assert products(store) == before
    document = """mutation ($input: ProductSetInput!) {
      productSet(input: $input) { userErrors { field message } } }"""
    answer = run(store, document, input={"title": "Cap", "collections": [rules]})
    assert answer["userErrors"][0]["field"] == ["input", "collections", "0"]
    assert sorted(collections(store)) == ["good", "rules"]


def test_fields_that_are_given_change(store, hat):
    answer = run(store, UPDATE, product={"id": hat, "title": "Cap", "tags": ["x"]})
    assert (answer["product"]["title"], answer["product"]["tags"], answer["userErrors"]) == ("Cap", ["x"], [])
    after = products(store)["hat"]
    assert (after["vendor"], after["prices"]) == ("Lock", ["5.00"])
    blank = run(store, UPDATE, product={"id": hat, "title": " "})
    assert blank == {"product": None, "userErrors": [{"field": ["title"], "message": "Title can't be blank"}]}
    for product in ({"id": "gid://shopify/Product/999"}, {"title": "Nobody's"}):
        assert run(store, UPDATE, product=product) == {"product": None, "userErrors": [GONE]}


def test_tags_are_added_and_removed(store, hat):
    assert run(store, ADD, id=hat, tags=["c, d", "B", " "]) == {"node": {"id": hat}, "userErrors": []}
    assert products(store)["hat"]["tags"] == ["A", "b", "c", "d"]
    updated = store.state.get(hat)["updatedAt"]
    assert run(store, REMOVE, id=hat, tags=["a,D", "none"]) == {"node": {"id": hat}, "userErrors": []}
    assert products(store)["hat"]["tags"] == ["b", "c"]
    assert store.state.get(hat)["updatedAt"] == updated  # the clock stands still
    assert run(store, ADD, id=hat, tags=["x" * 256])["userErrors"][0]["field"] == ["tags"]
    many = run(store, ADD, id=hat, tags=[f"t{number}" for number in range(249)])
    assert (many["node"], many["userErrors"][0]["message"]) == (None, "Tags are too many (maximum is 250)")
    assert products(store)["hat"]["tags"] == ["b", "c"]
    for document in (ADD, REMOVE):
        assert run(store, document, id="gid://shopify/Product/999", tags=["x"]) == {"node": None, "userErrors": [GONE]}


@pytest.mark.parametrize("document", [UPDATE, ADD, REMOVE])
def test_they_need_the_scope(store, hat, document):
    before = products(store)
    variables = {"product": {"id": hat, "title": "Cap"}} if document is UPDATE else {"id": hat, "tags": ["b"]}
    answer = store.execute(document, variables, scopes=("read_products",))
    assert answer["errors"][0]["extensions"]["code"] == "ACCESS_DENIED"
    assert products(store) == before
