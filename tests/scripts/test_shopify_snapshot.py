import warnings
from contextlib import nullcontext

import pytest
from shop_contents import add_collection, operations, products, set_product
from shop_interruptions import interrupted_at

from scripts.shopify import catalogue_reader
from scripts.shopify.inventory import catalogue_inventory
from scripts.shopify.marks import MARK_TAG
from scripts.shopify.populate_inventory import populate
from scripts.shopify.prepare_inventory_snapshot import main, product_record, read_inventory
from training.data.inventory import InventoryWarning, inventory_from_records, load_inventory, save_inventory

SHOP = "local-dev-store.myshopify.com"
pytestmark = [
    pytest.mark.usefixtures("shop_environment"),
    pytest.mark.filterwarnings("ignore:Titles of several products"),  # when a test loads what was written
]


@pytest.fixture
def inventory():
    return inventory_from_records(
        [{"id": "gid://shopify/Product/91", "handle": "hat", "title": "Hat", "category": "Clothing"}]
    )


@pytest.fixture
def unruly(store):
    """A shop with products in several collections and in none, drafts, and titles that repeat."""
    home, sale, hats = (
        add_collection(store, title, handle)
        for title, handle in (("Home page", "frontpage"), ("Sale", "sale"), ("Hats", "h"))
    )
    set_product(store, "cap", "12.5", title="Cap", collections=[hats, home, sale], productType="Headgear", tags=["a:b"])
    set_product(store, "bowler", "80", title="Bowler", collections=[home, hats], vendor="Lock")
    set_product(store, "pen", "1.00", title="Pen\t2", productType="Writing", status="DRAFT")
    set_product(store, "thing", "3.00", title="Thing", collections=[home])
    set_product(store, "other-thing", "4.00", title="Thing", collections=[hats])
    return store


def test_provided_catalogue_comes_back_as_it_was(store, client, tmp_path, capsys):
    provided = catalogue_inventory()
    result = populate(client, provided)
    assert (result.created, result.failed) == (len(provided.products), [])
    path = tmp_path / "snapshot.pkl"
    assert main([str(path)]) == 0
    restored = load_inventory(path)
    keys = ("handle", "title", "category", "price", "vendor", "audience")
    assert [{key: record[key] for key in keys} for record in restored.products] == [
        {key: record[key] for key in keys} for record in provided.products
    ]
    assert [sorted(record["tags"]) for record in restored.products] == [
        sorted(record["tags"]) for record in provided.products
    ]
    assert restored.categories == provided.categories
    assert restored.handle_to_id_dict == {handle: product["id"] for handle, product in products(store).items()}
    out, err = capsys.readouterr()
    assert out == f"{SHOP}: {len(provided.products)} products in 10 categories written to {path}\n"
    assert "warning" not in err
    # And a snapshot puts the same products back.
    assert populate(client, restored).unchanged == len(provided.products)


def test_snapshot_of_an_unruly_shop(unruly, tmp_path, capsys):
    path = tmp_path / "snapshot.json"
    assert main([str(path)]) == 0
    snapshot = load_inventory(path)
    categories = {"cap": "Sale", "bowler": "Hats", "pen": "Writing", "thing": "Uncategorized", "other-thing": "Hats"}
    assert snapshot.category_of == categories
    cap, bowler, pen, *_ = snapshot.products
    assert (cap["collections"], cap["price"], cap["tags"]) == (["Sale", "Hats"], "12.50", ["a:b"])
    assert (bowler["vendor"], bowler["price"], pen["title"]) == ("Lock", "80.00", "Pen 2")
    assert snapshot.title_to_handle_dict["Thing"] == "thing"
    err = capsys.readouterr().err
    assert "warning: Products in several collections; one was chosen by the stated order: cap -> Sale" in err
    assert "warning: Products in no collection; their category is 'Uncategorized': thing" in err
    assert "warning: Titles of several products; the title map keeps the first, `products` keeps all: Thing" in err
    assert "warning: 1 products are drafts, archived or unlisted" in err

    arguments = [str(path), "--category-from", "product_type", "--active-only"]
    assert main(arguments) == 0
    categories = {"cap": "Headgear", "bowler": "Hats", "thing": "Uncategorized", "other-thing": "Hats"}
    assert load_inventory(path).category_of == categories
    assert "drafts" not in capsys.readouterr().err


def test_snapshot_reads_every_page(store, tmp_path):
    for number in range(601):
        set_product(store, f"p{number}", title=f"P {number}", productType="All")
    path = tmp_path / "snapshot.pkl"
    assert main([str(path), "--dry-run"]) == 0
    assert not path.exists()
    assert main([str(path)]) == 0
    assert load_inventory(path).handles == tuple(f"p{number}" for number in range(601))
    assert len(operations(store, "ProductsPage")) == 2 * 3


def test_paging_and_bulk_give_the_same_snapshot(unruly, client):
    everywhere = [add_collection(unruly, f"Collection {number}") for number in range(60)]
    set_product(unruly, "busy", "5.00", title="Busy", collections=everywhere[::-1])
    set_product(unruly, "fewer", "6.00", title="Fewer", collections=everywhere[25:26] + everywhere[3:4])
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", InventoryWarning)
        paged = read_inventory(client, bulk="never")
        in_bulk = read_inventory(client, bulk="always")
    assert in_bulk.document() == paged.document()
    busy = paged.products[-2]
    assert busy["collections"] == [f"Collection {number}" for number in range(60)]
    assert paged.category_of["fewer"] == "Collection 3"
    assert len(operations(unruly, "ProductCollections")) == 1
    messages = [str(warning.message) for warning in caught]
    assert messages[: len(messages) // 2] == messages[len(messages) // 2 :]


def test_large_catalogues_are_read_in_bulk(unruly, client, monkeypatch):
    monkeypatch.setattr(catalogue_reader, "BULK_THRESHOLD", 5)
    with pytest.warns(InventoryWarning):
        read_inventory(client)
    assert len(operations(unruly, "ProductsPage")) == 1
    monkeypatch.setattr(catalogue_reader, "BULK_THRESHOLD", 4)
    with pytest.warns(InventoryWarning):
        read_inventory(client)
    assert len(operations(unruly, "ProductsPage")) == 1


def test_chosen_attributes(unruly, client, tmp_path):
    tags = [MARK_TAG, "size:3", "plain", "category:evil", "price_band:old"]
    set_product(unruly, "ours", "2.00", title="Ours", tags=tags, productType="Toys", vendor="Lock")
    path = tmp_path / "snapshot.json"
    needed = {"id", "handle", "title", "category"}
    assert main([str(path), "--attributes"]) == 0
    assert [set(record) for record in load_inventory(path).products] == [needed] * 6
    assert load_inventory(path).category_of["cap"] == "Sale"
    assert main([str(path), "--attributes", "product_type", "vendor", "price_band"]) == 0
    *_, ours = load_inventory(path).products
    assert ours == {key: ours[key] for key in needed} | {
        "product_type": "Toys",
        "vendor": "Lock",
        "price_band": "2 (2.00 to 2.99)",
    }
    bands = [record["price_band"] for record in load_inventory(path).products]
    assert bands[1] == "5 (12.50 and more)"
    assert main([str(path)]) == 0
    *_, ours = load_inventory(path).products
    others = {"price", "vendor", "product_type", "status", "available", "tags", "collections"}
    assert set(ours) == needed | others | {"size"}
    assert (ours["size"], ours["category"], sorted(ours["tags"])) == (
        "3",
        "Toys",
        ["category:evil", "plain", "price_band:old"],
    )
    with pytest.raises(ValueError, match=r"among price, price_band, .*Received: colour"):
        read_inventory(client, attributes=["colour"])


def test_price_band_is_no_tag(store, client):
    for number in range(1, 6):
        set_product(store, f"p{number}", f"{number}.00", title=f"P {number}", productType="All", tags=[MARK_TAG])
    restored = read_inventory(client, attributes=["price", "price_band", "tags"])
    assert [record["price_band"][0] for record in restored.products] == ["1", "2", "3", "4", "5"]
    populate(client, restored)
    assert [product["tags"] for product in products(store).values()] == [[MARK_TAG]] * 5


@pytest.mark.parametrize("end", ["refused", "stopped", "while writing", "bulk failed"])
def test_interrupted_snapshot_leaves_the_old_one(store, tmp_path, inventory, monkeypatch, capsys, end):
    path = tmp_path / "snapshot.pkl"
    save_inventory(inventory, path)
    before = path.read_bytes()
    for number in range(300):
        set_product(store, f"p{number}", title=f"P {number}", productType="All")

    def no_space(_):
        raise OSError("No space left on device")

    if end == "refused":
        store.faults.script(None, None, None, None, "404")  # grant, access, count, first page
    elif end == "while writing":
        monkeypatch.setattr("os.fsync", no_space)
    elif end == "bulk failed":
        store.faults.every(1, ["bulk failed"])
    stop = interrupted_at(5) if end == "stopped" else nullcontext()
    with stop:
        status = main([str(path), "--bulk", "always" if end == "bulk failed" else "never"])
    assert status == (130 if end == "stopped" else 1)
    err = capsys.readouterr().err
    reasons = {"refused": "HTTP 404", "stopped": "is as it was", "while writing": "No space", "bulk failed": "FAILED"}
    assert reasons[end] in err
    assert path.read_bytes() == before
    assert [file.name for file in tmp_path.iterdir()] == ["snapshot.pkl"]


def test_product_record_of_ours_keeps_attributes_from_overriding():
    product = {"id": "gid://shopify/Product/1", "handle": "x", "title": "X", "vendor": "", "productType": "Toys"}
    product |= {"status": "ACTIVE", "tags": [MARK_TAG, "title:evil", "category:evil", "size:3", ":x"]}
    product |= {"priceRangeV2": {"minVariantPrice": {"amount": "3.0"}}, "collections": {"nodes": []}}
    product |= {"tracksInventory": False, "totalInventory": 0}
    record = product_record(product)
    assert (record["title"], record["size"], record["category"]) == ("X", "3", "Toys")
    assert record["tags"] == ["title:evil", "category:evil", ":x"]
    assert product_record(product | {"title": "\x00"})["title"] == "x"


def test_an_attribute_with_two_values_stays_tags(store, client):
    tags = [MARK_TAG, "colour:red", "colour:blue", "size:3", "empty:"]
    set_product(store, "hat", title="Hat", tags=tags, productType="Clothing")
    inventory = read_inventory(client)
    (hat,) = inventory.products
    assert (sorted(hat["tags"]), hat["size"]) == (["colour:blue", "colour:red", "empty:"], "3")
    assert not {"colour", "empty"} & hat.keys()
    populate(client, inventory)
    assert products(store)["hat"]["tags"] == sorted(tags)
