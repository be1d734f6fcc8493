import pytest
from shop_server import CLIENT_ID, CLIENT_SECRET, STATIC_TOKEN, Shop, running

from scripts.shopify.client import ShopifyClient
from scripts.shopify.inventory import catalogue_inventory
from scripts.shopify.populate_inventory import MARK_TAG, populate
from scripts.shopify.prepare_inventory_snapshot import main, product_record
from scripts.shopify.settings import Settings
from training.data.inventory import inventory_from_records, load_inventory, save_inventory


@pytest.fixture
def shop():
    with running(Shop()) as shop:
        yield shop


@pytest.fixture(autouse=True)
def environment(monkeypatch, shop):
    monkeypatch.setenv("SHOPIFY_STORE_URL", shop.url)
    monkeypatch.setenv("SHOPIFY_CLIENT_ID", CLIENT_ID)
    monkeypatch.setenv("SHOPIFY_CLIENT_SECRET", CLIENT_SECRET)
    monkeypatch.delenv("SHOPIFY_ACCESS_TOKEN", raising=False)
    monkeypatch.delenv("SHOPIFY_API_VERSION", raising=False)


@pytest.fixture
def client(shop):
    with ShopifyClient(Settings(store_url=shop.url, access_token=STATIC_TOKEN), sleep=lambda _: None) as client:
        yield client


@pytest.fixture
def inventory():
    return inventory_from_records(
        [{"id": "gid://shopify/Product/91", "handle": "hat", "title": "Hat", "category": "Clothing"}]
    )


def test_provided_catalogue_comes_back_as_it_was(shop, client, tmp_path, capsys):
    provided = catalogue_inventory()
    result = populate(client, provided)
    assert (result.created, result.failed) == (len(provided.products), ())
    path = tmp_path / "snapshot.pkl"
    assert main([str(path)]) == 0
    restored = load_inventory(path)
    keys = ("handle", "title", "category", "price", "vendor", "audience", "tags")
    assert [{key: record[key] for key in keys} for record in restored.products] == [
        {key: record[key] for key in keys} for record in provided.products
    ]
    assert restored.categories == provided.categories
    assert restored.handle_to_id_dict == {handle: product["id"] for handle, product in shop.products.items()}
    out, err = capsys.readouterr()
    assert out == f"test-shop.myshopify.com: {len(provided.products)} products in 10 categories written to {path}\n"
    assert "warning" not in err
    # And a snapshot puts the same products back.
    assert populate(client, restored).unchanged == len(provided.products)


def test_snapshot_of_an_unruly_shop(shop, tmp_path, capsys):
    home, sale, hats = (
        shop.add_collection(*names) for names in (("frontpage", "Home page"), ("sale", "Sale"), ("h", "Hats"))
    )
    shop.add_product("cap", "Cap", "12.5", collections=[hats, home, sale], productType="Headgear", tags=["a:b"])
    shop.add_product("bowler", "Bowler", "80", collections=[home, hats], vendor="Lock")
    shop.add_product("pen", "Pen\t2", "1.00", productType="Writing", status="DRAFT")
    shop.add_product("thing", "Thing", "3.00", collections=[home])
    path = tmp_path / "snapshot.json"
    assert main([str(path)]) == 0
    snapshot = load_inventory(path)
    assert snapshot.category_of == {"cap": "Sale", "bowler": "Hats", "pen": "Writing", "thing": "Uncategorized"}
    cap, bowler, pen, _ = snapshot.products
    assert (cap["collections"], cap["price"], cap["tags"]) == (["Sale", "Hats"], "12.50", ["a:b"])
    assert (bowler["vendor"], bowler["price"], pen["title"]) == ("Lock", "80.00", "Pen 2")
    err = capsys.readouterr().err
    assert "warning: Products in several collections; one was chosen by the stated order: cap -> Sale" in err
    assert "warning: Products in no collection; their category is 'Uncategorized': thing" in err
    assert "warning: 1 products are drafts or archived" in err

    arguments = [str(path), "--category-from", "product_type", "--active-only"]
    assert main(arguments) == 0
    assert load_inventory(path).category_of == {"cap": "Headgear", "bowler": "Hats", "thing": "Uncategorized"}


def test_snapshot_reads_every_page(shop, tmp_path):
    for number in range(601):
        shop.add_product(f"p{number}", f"P {number}", productType="All")
    path = tmp_path / "snapshot.pkl"
    assert main([str(path), "--dry-run"]) == 0
    assert not path.exists()
    assert main([str(path)]) == 0
    assert load_inventory(path).handles == tuple(f"p{number}" for number in range(601))
    assert len(shop.operations("ProductsPage")) == 2 * 3


@pytest.mark.parametrize("end", ["refused", "stopped", "while writing"])
def test_interrupted_snapshot_leaves_the_old_one(shop, tmp_path, inventory, monkeypatch, capsys, end):
    path = tmp_path / "snapshot.pkl"
    save_inventory(inventory, path)
    before = path.read_bytes()
    for number in range(300):
        shop.add_product(f"p{number}", f"P {number}", productType="All")
    execute = ShopifyClient.execute

    def stopped(self, name, variables=None, **options):
        if variables and variables["after"]:
            raise KeyboardInterrupt
        return execute(self, name, variables, **options)

    def no_space(_):
        raise OSError("No space left on device")

    if end == "refused":
        shop.faults = [None, None, "404"]
    elif end == "stopped":
        monkeypatch.setattr(ShopifyClient, "execute", stopped)
    else:
        monkeypatch.setattr("os.fsync", no_space)
    assert main([str(path)]) == (130 if end == "stopped" else 1)
    err = capsys.readouterr().err
    assert {"refused": "HTTP 404", "stopped": "is as it was", "while writing": "No space"}[end] in err
    assert path.read_bytes() == before
    assert [file.name for file in tmp_path.iterdir()] == ["snapshot.pkl"]


def test_product_record_of_ours_keeps_attributes_from_overriding():
    product = {"id": "gid://shopify/Product/1", "handle": "x", "title": "X", "vendor": "", "productType": "Toys"}
    product |= {"status": "ACTIVE", "tags": [MARK_TAG, "title:evil", "size:3"], "collections": {"nodes": []}}
    product |= {"priceRangeV2": {"minVariantPrice": {"amount": "3.0"}}}
    record = product_record(product)
    assert (record["title"], record["size"], record["tags"], record["category"]) == ("X", "3", [], "Toys")
