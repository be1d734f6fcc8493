import pytest
from shop_contents import (
    MUTATIONS,
    RECORDS,
    channel,
    clear,
    collections,
    contents,
    operations,
    products,
)
from shop_interruptions import interrupted_at

from scripts.shopify import populate_inventory, prepare_inventory_snapshot
from scripts.shopify.marks import MARK_TAG
from scripts.shopify.populate_inventory import populate
from training.data.inventory import inventory_from_records, save_inventory

SHOP = "local-dev-store.myshopify.com"


@pytest.fixture
def inventory():
    return inventory_from_records(RECORDS)


@pytest.fixture
def inventory_file(inventory, tmp_path):
    path = tmp_path / "inventory.json"
    save_inventory(inventory, path)
    return path


def test_populate_writes_collections_products_and_publication(store, client, inventory):
    result = populate(client, inventory)
    assert (result.shop, result.channels, result.missing_channels) == (SHOP, ("online_store",), ())
    assert (result.collections_created, result.created, result.updated, result.published) == (2, 3, 0, 5)
    assert (result.failed, result.warnings) == ([], [])
    made, made_collections = contents(store)
    mark = {"value": MARK_TAG}
    assert made_collections == {
        "clothing": {"handle": "clothing", "title": "Clothing", "metafield": mark, "published": {"online_store"}},
        "toys-games": {
            "handle": "toys-games",
            "title": "Toys & Games",
            "metafield": mark,
            "published": {"online_store"},
        },
    }
    assert made["hat"] == {
        "handle": "hat",
        "title": "Hat",
        "vendor": "Plainweave",
        "productType": "Clothing",
        "status": "ACTIVE",
        "tags": ["audience:everyone", "slirec-demo", "winter", "wool felt"],
        "collections": ["Clothing"],
        "prices": ["9.90"],
        "published": {"online_store"},
    }
    assert made["ball"]["tags"] == [MARK_TAG]
    assert sorted(made) == ["ball", "hat", "sock"]


def test_populate_twice_changes_nothing(store, client, inventory):
    populate(client, inventory)
    before, written = contents(store), len(operations(store, *MUTATIONS))
    result = populate(client, inventory)
    assert (result.unchanged, result.created, result.updated, result.published) == (3, 0, 0, 0)
    assert result.collections_created == 0
    assert contents(store) == before
    assert len(operations(store, *MUTATIONS)) == written == 2 + 3 + 5


def test_what_was_refused_is_shown_when_populate_has_to_stop(store, shop_environment, tmp_path, capsys):
    path = tmp_path / "inventory.json"
    save_inventory(inventory_from_records([RECORDS[0] | {"price": "free"}, *RECORDS[1:]]), path)
    # Grant, access, publications, two collections of three requests each; then a product.
    store.faults.script(*[None] * 9, *[None] * 3, "404")
    assert populate_inventory.main(["--inventory", str(path)]) == 1
    out, err = capsys.readouterr()
    assert f"{SHOP} until it stopped: 2 collections created; products: 1 created, 0 updated, 0 unchanged, 1 ref" in out
    assert "error: hat: `price` should be" in err
    assert "HTTP 404" in err.splitlines()[-1]


def test_populate_dry_run_says_the_same_and_writes_nothing(store, client, inventory):
    planned = populate(client, inventory, dry_run=True)
    assert operations(store, *MUTATIONS) == []
    assert contents(store) == ({}, {})
    assert planned == populate(client, inventory)


@pytest.mark.parametrize("after", [False, True], ids=["before the shop acts", "after"])
def test_populate_stopped_anywhere_and_started_again_ends_the_same(store, client, inventory, after):
    populate(client, inventory)
    expected, total = contents(store), len(store.requests)
    for number in range(1, total + 1):
        clear(store)
        with interrupted_at(number, after), pytest.raises(KeyboardInterrupt):
            populate(client, inventory)
        populate(client, inventory)
        assert contents(store) == expected, number


@pytest.mark.parametrize("fault", ["drop", "drop after", "500", "429", "throttled", "internal"])
def test_populate_gets_through_faults(store, client, inventory, fault):
    populate(client, inventory)
    expected = contents(store)
    clear(store)
    store.faults.script(*[fault, *[None] * 4] * 20)  # every fifth request
    result = populate(client, inventory)
    assert contents(store) == expected
    assert (result.failed, result.collections_created, result.created, result.published) == ([], 2, 3, 5)
    assert store.faults.injected[fault] >= 3


def test_lost_answer_does_not_make_a_second_collection(store, client, inventory):
    store.faults.script(None, None, None, "drop after")  # access, publications, lookup, create
    result = populate(client, inventory)
    assert list(collections(store)) == ["clothing", "toys-games"]
    assert len(operations(store, "CollectionCreate")) == 2
    assert result.collections_created == 2


def test_populate_goes_on_after_a_refused_product(store, shop_environment, tmp_path, capsys):
    records = [RECORDS[0] | {"title": "Hat " * 100}, RECORDS[1] | {"price": "four"}, RECORDS[2]]
    records += [RECORDS[2] | {"id": "gid://shopify/Product/94", "handle": "kite", "title": "Kite", "status": "sold"}]
    path = tmp_path / "inventory.json"
    save_inventory(inventory_from_records(records), path)
    assert populate_inventory.main(["--inventory", str(path)]) == 1
    out, err = capsys.readouterr()
    assert "1 created, 0 updated, 0 unchanged, 3 refused; 3 published to online_store" in out
    assert "error: hat: product_set: " in err
    assert "error: sock: `price` should be a number from 0, as in 19.90. Received: 'four'" in err
    assert "error: kite: `status` should be one of ACTIVE, ARCHIVED, DRAFT, UNLISTED. Received: 'sold'" in err
    assert sorted(products(store)) == ["ball"]


def test_populate_says_what_it_leaves_out(store, client):
    attributes = {"story": "once " * 60, "sizes": [1, 2], "empty": "", "none": None, "weight": 3}
    many = RECORDS[2] | {"tags": [f"t{number}" for number in range(300)]}
    result = populate(client, inventory_from_records([RECORDS[0] | attributes, many]))
    assert result.warnings == [
        "hat: attributes that are neither text nor numbers are left out: sizes",
        "hat: 1 tags are longer than 255 characters and left out",
        "ball: 51 tags are left out: Shopify takes 250 a product",
    ]
    assert result.created == 2
    made = products(store)
    assert made["hat"]["tags"] == ["audience:everyone", MARK_TAG, "weight:3", "winter", "wool felt"]
    assert made["ball"]["tags"] == sorted([MARK_TAG, *(f"t{number}" for number in range(249))])


def test_populate_publishes_to_several_channels(store, client, inventory):
    populate(client, inventory)
    result = populate(client, inventory, channels=("online_store", "pos", "nothing", "pos"))
    assert (result.channels, result.missing_channels) == (("online_store", "pos"), ("nothing",))
    assert (result.unchanged, result.published) == (3, 5)
    entries = [*products(store).values(), *collections(store).values()]
    assert [entry["published"] for entry in entries] == [{"online_store", "pos"}] * 5
    written = len(operations(store, *MUTATIONS))
    assert populate(client, inventory, channels=("pos", "online_store")).published == 0
    assert len(operations(store, *MUTATIONS)) == written


def test_populate_publishes_to_all_channels_in_one_request(store, client, inventory):
    populate(client, inventory, channels=("online_store", "pos"))
    assert len(operations(store, "Publish")) == 5
    assert {frozenset(entry["published"]) for entry in products(store).values()} == {frozenset({"online_store", "pos"})}


def test_populate_is_never_throttled_on_the_standard_plan(store, client, fake_time):
    store.set_plan("standard")
    records = [
        RECORDS[2] | {"id": f"gid://shopify/Product/{n}", "handle": f"p{n}", "title": f"P {n}"} for n in range(1, 151)
    ]
    assert populate(client, inventory_from_records(records)).created == 150
    assert sum(fake_time.waits) > 10  # the bucket of 2,000 points was used up, and filled at 100 a second
    assert [request.operation for request in store.requests if request.throttled] == []


def test_populate_without_online_store(store, shop_environment, inventory_file, capsys):
    """Who named no channel gets the products all the same; who named the Online Store has made a mistake."""
    store.state.delete(channel(store, "online_store"))
    assert populate_inventory.main(["--inventory", str(inventory_file), "--channels", "online_store"]) == 1
    assert "error: this shop has no channel online_store; it has pos. Nothing was" in capsys.readouterr().err
    assert operations(store, *MUTATIONS) == []
    assert populate_inventory.main(["--inventory", str(inventory_file)]) == 0
    warning = "warning: this shop has no channel online_store: nothing is published without --channels; it has pos\n"
    assert warning in capsys.readouterr().err
    assert operations(store, "Publish") == []
    assert len(products(store)) == 3


def test_mistyped_channels(store, shop_environment, inventory_file, capsys):
    arguments = ["--inventory", str(inventory_file), "--channels"]
    assert populate_inventory.main([*arguments, "online-store", "onlinestore"]) == 1
    last = "error: this shop has no channel online-store or onlinestore; it has pos, online_store. Nothing was written"
    assert capsys.readouterr().err.splitlines()[-1] == last
    assert operations(store, *MUTATIONS) == []
    assert populate_inventory.main([*arguments, "pos", "onlinestore"]) == 1
    assert "error: this shop has no channel onlinestore: nothing was published to it" in capsys.readouterr().err
    assert {frozenset(entry["published"]) for entry in products(store).values()} == {frozenset({"pos"})}


def test_commands_fail_in_one_line(store, shop_environment, tmp_path, inventory_file, capsys, monkeypatch):
    def last_error(command, *arguments):
        assert command.main([str(argument) for argument in arguments]) == 1
        return capsys.readouterr().err.splitlines()[-1]

    store.access.set_scopes(("read_products", "read_publications"))
    line = last_error(populate_inventory, "--inventory", inventory_file)
    assert line.startswith(f"error: The token for {SHOP} lacks the access scopes write_products, write_pub")
    assert operations(store, *MUTATIONS) == []
    assert "not a file" in last_error(populate_inventory, "--inventory", tmp_path / "none.pkl")
    assert "has no products to save" in last_error(prepare_inventory_snapshot, tmp_path / "new.pkl")
    assert "should end with .pkl or .json" in last_error(prepare_inventory_snapshot, tmp_path / "new.csv")
    store.access.set_scopes(("read_orders",))
    assert "scopes read_products:" in last_error(prepare_inventory_snapshot, tmp_path / "new.pkl")
    monkeypatch.delenv("SHOPIFY_CLIENT_SECRET")
    assert "SHOPIFY_ACCESS_TOKEN, or SHOPIFY_CLIENT_SECRET" in last_error(prepare_inventory_snapshot, "new.pkl")
    assert not (tmp_path / "new.pkl").exists()


def test_stopped_populate_says_so(shop_environment, inventory_file, capsys):
    with interrupted_at(3):
        assert populate_inventory.main(["--inventory", str(inventory_file)]) == 130
    assert capsys.readouterr().err.strip().endswith("start again to go on where it stopped")


def test_collections_with_one_handle_are_refused(store, client):
    clash = inventory_from_records([RECORDS[0] | {"category": "Toys, Games"}, RECORDS[2]])
    with pytest.raises(ValueError, match="'Toys, Games' and 'Toys & Games' have the same collection handle"):
        populate(client, clash)
    assert operations(store, *MUTATIONS) == []
