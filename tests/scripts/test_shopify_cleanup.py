import pytest
from shop_contents import add_collection, collections, contents, operations, products, run, set_product
from shop_interruptions import interrupted_at

from scripts.shopify import cleanup as cleanup_module
from scripts.shopify.answers import ShopifyError
from scripts.shopify.cleanup import cleanup, main
from scripts.shopify.client import ShopifyClient
from scripts.shopify.dev_store.faults import DEFAULT
from scripts.shopify.inventory import catalogue_inventory
from scripts.shopify.marks import MARK_TAG, METAOBJECT_FIELD, METAOBJECT_TYPE
from scripts.shopify.populate_inventory import populate
from scripts.shopify.prepare_inventory_snapshot import read_inventory
from training.data.inventory import inventory_from_records

SHOP = "local-dev-store.myshopify.com"
DELETES = ("ProductDelete", "CollectionDelete", "MetaobjectBulkDelete", "MetaobjectDefinitionDelete")
INVENTORY = inventory_from_records(
    {"id": f"gid://shopify/Product/{number}", "handle": f"p{number}", "title": f"P {number}", "category": category}
    for number, category in enumerate(["Hats"] * 3 + ["Toys"] * 2, start=1)
)
_DEFINE = """
mutation ($definition: MetaobjectDefinitionCreateInput!) {
  metaobjectDefinitionCreate(definition: $definition) { metaobjectDefinition { id } userErrors { message } }
}
"""
_UPSERT = """
mutation ($handle: MetaobjectHandleInput!, $metaobject: MetaobjectUpsertInput!) {
  metaobjectUpsert(handle: $handle, metaobject: $metaobject) { metaobject { id } userErrors { message } }
}
"""


def add_metaobjects(store, type_, count=2):
    field = {"key": METAOBJECT_FIELD, "type": "list.product_reference"}
    run(store, _DEFINE, definition={"type": type_, "name": type_, "fieldDefinitions": [field]})
    for number in range(count):
        handle = {"type": type_, "handle": f"shopper-{number}"}
        run(store, _UPSERT, handle=handle, metaobject={"fields": [{"key": METAOBJECT_FIELD, "value": "[]"}]})


@pytest.fixture
def shop(store, client):
    """A merchant's shop with things of its own, in which we have been."""
    own = add_collection(store, "Toys")  # used by us, not ours
    set_product(store, "own", "5.00", title="Own", tags=["mine", f"{MARK_TAG}-not"], collections=[own])
    populate(client, INVENTORY)
    hats = collections(store)["hats"]["id"]
    set_product(store, "own-hat", "6.00", title="Own hat", collections=[hats])
    add_metaobjects(store, METAOBJECT_TYPE)
    add_metaobjects(store, "merchants_own")
    return store


def everything_in(store):
    return (*contents(store), store.state.count("Metaobject"), store.state.count("MetaobjectDefinition"))


def test_dry_run_is_the_default(shop, shop_environment, capsys):
    before = everything_in(shop)
    assert main(["--dry-run"]) == 0
    explicit = capsys.readouterr().out
    with pytest.raises(SystemExit):
        main(["--dry-run", "--delete"])
    assert "not allowed with argument" in capsys.readouterr().err
    assert main([]) == 0
    assert everything_in(shop) == before
    assert operations(shop, *DELETES) == []
    out = capsys.readouterr().out
    assert out == explicit
    assert out.splitlines() == [
        *(f"product p{number}" for number in range(1, 6)),
        "collection hats: 1 products without our tag are in it; they stay in the shop",
        f"metaobject definition {METAOBJECT_TYPE}: with its 2 entries",
        f"{SHOP}: 5 products, 1 collections and 1 metaobject types would be deleted",
        "Nothing was deleted; --delete does it",
    ]


def test_dry_run_names_the_first_of_each_kind(store, shop_environment, capsys):
    gids = [set_product(store, f"p{number}", title=f"P {number}", tags=[MARK_TAG]) for number in range(53)]
    for number in range(51):
        add_collection(store, f"C {number}")
    assert main([]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[:-2] == [*(f"product p{number}" for number in range(50)), "and 3 more products"]
    store.state.delete(gids[0])
    assert main(["--everything", "--shop", SHOP]) == 0
    assert capsys.readouterr().out.splitlines()[:-2] == [
        *(f"product p{number}" for number in range(1, 51)),
        "and 2 more products",
        *(f"collection c-{number}" for number in range(50)),
        "and 1 more collections",
    ]
    assert operations(store, *DELETES) == []


def test_deleting_starts_from_the_first_page_after_every_batch(store, client, monkeypatch):
    for number in range(120):
        set_product(store, f"p{number}", title=f"P {number}", tags=[MARK_TAG])
    result = cleanup(client, delete=True)
    assert (result.products, products(store)) == (120, {})
    pages = operations(store, "ProductsTaggedPage")
    assert [page.get("after") for page in pages] == [None] * 4  # the last one finds nothing


def test_deleting_ends_where_some_are_refused_or_still_listed(store, client, monkeypatch):
    for number in range(120):
        set_product(store, f"p{number}", title=f"P {number}", tags=[MARK_TAG])
    execute = ShopifyClient.execute

    def refusing(self, name, variables=None, **options):
        if name == "product_delete" and int(variables["id"].rsplit("/", 1)[1]) <= 60:
            raise ShopifyError("product_delete: no", "USER_ERRORS", [{"field": ["id"], "message": "no"}])
        return execute(self, name, variables, **options)

    monkeypatch.setattr(ShopifyClient, "execute", refusing)
    result = cleanup(client, delete=True)
    assert (result.products, len(result.failed)) == (60, 60)
    assert len(set(result.failed)) == 60  # each was tried once


@pytest.mark.parametrize("answer", [None, {"deletedProductId": None, "userErrors": []}])
def test_a_deletion_that_returns_nothing_is_no_deletion(shop, client, monkeypatch, answer):
    execute = ShopifyClient.execute

    def empty(self, name, *arguments, **options):
        return {"productDelete": answer} if name == "product_delete" else execute(self, name, *arguments, **options)

    monkeypatch.setattr(ShopifyClient, "execute", empty)
    result = cleanup(client, delete=True)
    assert (result.products, len(result.failed), result.collections) == (0, 5, 1)
    assert result.failed[0].startswith("product p1: productDelete: Shopify returned n")


def test_counts_are_shown_when_cleanup_has_to_stop(shop, shop_environment, capsys):
    shop.faults.script(*[None] * 8, "404")  # grant, access twice, definition, page, nodes, two products
    assert main(["--delete"]) == 1
    out, err = capsys.readouterr()
    assert f"{SHOP} until it stopped: 2 products, 0 collections and 0 metaobject types deleted" in out
    assert "HTTP 404" in err.splitlines()[-1]


def test_only_what_is_ours_is_deleted(shop, client):
    own = {handle: entry for handle, entry in products(shop).items() if handle.startswith("own")}
    result = cleanup(client, delete=True)
    assert (result.products, result.collections, result.metaobject_types) == (5, 1, 1)
    assert (result.failed, result.warnings) == ([], [])
    own["own-hat"]["collections"] = []
    assert products(shop) == own
    assert list(collections(shop)) == ["toys"]
    assert shop.state.count("Metaobject") == 2
    assert [definition["type"] for definition in shop.state.scan("MetaobjectDefinition")] == ["merchants_own"]
    # And again there is nothing to do.
    again = cleanup(client, delete=True)
    assert (again.products, again.collections, again.metaobject_types, again.failed) == (0, 0, 0, [])


def test_everything_wants_the_name_of_the_shop(shop, client):
    before = everything_in(shop)
    for name in (None, "", "another.myshopify.com", "local-dev-store"):
        with pytest.raises(ShopifyError, match=f"type out the shop's name: --everything --shop {SHOP}"):
            cleanup(client, delete=True, everything=True, shop_name=name)
    with pytest.raises(ShopifyError, match="should be local-dev-store"):
        cleanup(client, delete=True, shop_name="another.myshopify.com")
    assert everything_in(shop) == before
    planned = cleanup(client, everything=True, shop_name=SHOP)
    assert (planned.products, planned.collections) == (7, 2)
    assert everything_in(shop) == before
    result = cleanup(client, delete=True, everything=True, shop_name=SHOP)
    assert (result.products, result.collections, result.metaobject_types) == (7, 2, 1)
    assert contents(shop) == ({}, {})
    assert [definition["type"] for definition in shop.state.scan("MetaobjectDefinition")] == ["merchants_own"]


def test_products_are_read_again_before_they_are_deleted(shop, client, monkeypatch):
    execute = ShopifyClient.execute

    def lagging(self, name, *arguments, **options):
        """The search still finds what lost its tag a moment ago, and what is gone."""
        answer = execute(self, name, *arguments, **options)
        if name == "products_tagged_page":
            set_product(shop, "p1", tags=["mine"])
            if gone := products(shop).get("p2"):
                shop.state.delete(gone["id"])
        return answer

    monkeypatch.setattr(ShopifyClient, "execute", lagging)
    result = cleanup(client, delete=True)
    assert (result.products, result.failed) == (3, [])
    assert sorted(products(shop)) == ["own", "own-hat", "p1"]


def test_lost_answers_and_other_hands_do_no_harm(shop, client):
    shop.faults.every(3, ["drop after", "drop", "500", "throttled", "internal"])
    result = cleanup(client, delete=True)
    assert result.failed == []
    assert sorted(products(shop)) == ["own", "own-hat"]
    assert list(collections(shop)) == ["toys"]
    assert shop.state.count("Metaobject") == 2


@pytest.mark.slow
def test_faults_in_every_tenth_request_of_populate_snapshot_and_cleanup(store, client, fake_time):
    provided = catalogue_inventory()
    populate(client, provided)
    expected = contents(store)
    cleanup(client, delete=True)
    store.set_plan("standard")
    store.faults.every(10, [name for name in DEFAULT if name not in ("slow", "cut")])
    result = populate(client, provided)
    assert (result.created, result.collections_created, result.published, result.failed) == (240, 10, 250, [])
    assert contents(store) == expected
    handles = tuple(record["handle"] for record in provided.products)
    documents = [read_inventory(client, bulk=way) for way in ("never", "always")]
    assert [inventory.handles for inventory in documents] == [handles, handles]
    assert documents[0].document() == documents[1].document()
    result = cleanup(client, delete=True)
    assert (result.products, result.collections, result.failed) == (240, 10, [])
    assert contents(store) == ({}, {})
    assert sum(store.faults.injected.values()) > 80


@pytest.mark.parametrize("after", [False, True], ids=["before the shop acts", "after"])
def test_stopped_anywhere_and_started_again_ends_the_same(store, client, after):
    number, stopped = 0, True
    while stopped:
        number += 1
        populate(client, INVENTORY)
        add_metaobjects(store, METAOBJECT_TYPE)
        try:
            with interrupted_at(number, after):
                cleanup(client, delete=True)
            stopped = False
        except KeyboardInterrupt:
            cleanup(client, delete=True)
        assert everything_in(store) == ({}, {}, 0, 0), number
    assert number > 15


def test_one_refused_product_does_not_stop_the_rest(shop, shop_environment, monkeypatch, capsys):
    remove = cleanup_module.remove_product

    def refusing(client, removal):
        if removal.name == "product p2":
            message = "Product is part of a bundle"
            raise ShopifyError(f"product_delete: id: {message}", "USER_ERRORS", [{"field": ["id"], "message": message}])
        return remove(client, removal)

    monkeypatch.setattr(cleanup_module, "remove_product", refusing)
    assert main(["--delete"]) == 1
    out, err = capsys.readouterr()
    assert f"{SHOP}: 4 products, 1 collections and 1 metaobject types deleted" in out
    assert "error: product p2: product_delete: id: Product is part of a bundle" in err
    assert sorted(products(shop)) == ["own", "own-hat", "p2"]


def test_scopes_are_asked_for_what_is_deleted_only(shop, shop_environment, capsys):
    shop.access.set_scopes(("read_products",))
    assert main([]) == 0
    assert (
        "warning: recommendations were not looked for: the token lacks read_metaobject_def" in capsys.readouterr().err
    )
    assert main(["--delete"]) == 1
    assert "lacks the access scopes write_products" in capsys.readouterr().err
    shop.access.set_scopes(("write_products", "read_metaobject_definitions"))
    assert main(["--delete"]) == 1
    assert "lacks the access scopes write_metaobjects, write_metaobject_definitions" in capsys.readouterr().err
    assert operations(shop, *DELETES) == []
    shop.access.set_scopes(("write_products",))
    assert main(["--delete"]) == 0
    assert sorted(products(shop)) == ["own", "own-hat"]
    assert shop.state.count("Metaobject") == 4


def test_stopped_cleanup_says_so(shop_environment, capsys):
    with interrupted_at(2):
        assert main([]) == 130
    assert capsys.readouterr().err.strip().endswith("start again to go on where it stopped")
