"""The whole loop: an order, a click, and what the shop's page shows afterwards belong to one shopper."""

import json

import mlflow
import polars as pl
import pytest
from conftest import HMAC_SECRET
from pydantic import SecretStr
from theme_shop import Page
from whole_loop import DAY, close_the_loop, over_http

from scripts.shopify.dev_store import DevStore
from scripts.shopify.dev_store.page_shop import recommended_products
from scripts.shopify.marks import METAOBJECT_TYPE
from scripts.shopify.shopper_ids import ShopperIds
from serving.bundle import open_bundle
from serving.config import load_config
from serving.recommender import Recommender
from training.data.inventory import load_inventory
from training.data.sequences import load_dataset

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def loop(tmp_path_factory):
    folder = tmp_path_factory.mktemp("loop")
    with pytest.MonkeyPatch.context() as patch, DevStore() as store:
        for name in ("SHOPIFY_ACCESS_TOKEN", "SHOPIFY_API_VERSION", "SLIREC_MODEL_NAME", "MLFLOW_REGISTRY_URI"):
            patch.delenv(name, raising=False)
        patch.delenv("MLFLOW_EXPERIMENT_NAME", raising=False)
        patch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{folder}/mlflow.db")
        patch.setenv("MLFLOW_UV_AUTO_DETECT", "true")  # restored afterwards: registering turns it off
        patch.setenv("SLIREC_HMAC_SECRET", HMAC_SECRET)
        for name, value in store.environment().items():
            patch.setenv(name, value)
        patch.chdir(folder)
        mlflow.set_tracking_uri(None)
        yield close_the_loop(store, folder)
    mlflow.set_tracking_uri(None)


def scored_for(loop, user_id):
    """Products that the batch has for a shopper, as handles, best first."""
    table = pl.read_parquet(loop.folder / "recommendations" / "*.parquet").filter(pl.col("userId") == user_id)
    (gids,) = table["itemIds"].to_list()
    handle_of = {record["id"]: record["handle"] for record in load_inventory(loop.folder / "snapshot.json").products}
    return [handle_of[gid] for gid in gids]


def assert_one_shopper_in_every_file(loop):
    """The customer's id is one and the same from the order and the clicks to the metaobject; returns its handle."""
    ids = ShopperIds(SecretStr(HMAC_SECRET))
    shopper = ids.user_id_of(loop.customer)
    assert shopper == loop.uid  # the theme's Liquid agrees with the export

    mine = pl.col("user_id") == shopper
    orders = pl.read_parquet(loop.folder / "orders.parquet").filter(mine)
    assert orders.select("item_handle", "quantity").rows() == [("x-one", 2), ("y-three", 1)]
    clicks = pl.read_parquet(loop.folder / "clicks.parquet").filter(mine)
    assert clicks.select("item_handle", "kind").rows() == [
        ("x-one", "view"),  # before signing in
        ("x-one", "purchase"),  # the tracker's own account of the order
        ("x-two", "view"),
        ("y-two", "cart"),
    ]
    joined = pl.read_parquet(loop.folder / "interactions.parquet").filter(mine)
    times = [loop.ordered + after for after in (-600, 0, 0, DAY, DAY + 60)]
    assert joined.select("item_handle", "kind", "timestamp").rows() == [
        ("x-one", "view", times[0]),
        ("x-one", "purchase", times[1]),
        ("y-three", "purchase", times[2]),
        ("x-two", "view", times[3]),
        ("y-two", "cart", times[4]),
    ]
    assert set(joined["item_category"]) == {"X", "Y"}

    dataset = load_dataset(loop.folder / "dataset")
    (number,) = dataset.vocabularies["user"].encode([shopper])
    assert number > 0
    assert (dataset.user == number).sum() == 5
    assert loop.browser not in set(dataset.vocabularies["user"].values)

    bundle = open_bundle(loop.folder / "run" / "bundle")
    history = bundle.events.history(shopper)
    handles = [bundle.vocabularies["item"].values[int(item)].as_py() for item in history.items]
    assert handles == joined["item_handle"].to_list()  # what the network reads: the order's products and the clicks'
    assert history.timestamps.tolist() == times

    scored = scored_for(loop, shopper)
    assert len(scored) == 16
    assert set(scored).isdisjoint(handles)
    recommender = Recommender(bundle, load_config())
    answer = recommender.recommend(items=handles, timestamps=times)
    assert answer.handles == scored
    for left_out in ("y-three", "x-two"):  # what was only ordered, what was only looked at: each changes the scores
        rest = [pair for pair in zip(handles, times, strict=True) if pair[0] != left_out]
        without = recommender.recommend(None, *zip(*rest, strict=True), candidate_ids=scored)
        assert dict(zip(without.handles, without.scores, strict=True)) != dict(zip(scored, answer.scores, strict=True))
    return ids.handle_of(shopper)


def shown(page):
    """Handles of the products on the page, first to last."""
    return [card["path"].removeprefix("/products/") for card in page.cards()]


def test_order_click_and_metaobject_are_of_one_shopper(loop):
    handle = assert_one_shopper_in_every_file(loop)
    entry = loop.store.state.find("Metaobject", f"{METAOBJECT_TYPE}/{handle}")
    gids = pl.read_parquet(loop.folder / "recommendations" / "*.parquet").filter(pl.col("userId") == loop.uid)
    assert json.loads(entry["fields"][0]["value"]) == gids["itemIds"].to_list()[0]
    assert over_http(loop.store, handle) == scored_for(loop, loop.uid)
    products = recommended_products(loop.store, handle, first=3)
    assert [product["id"] for product in products] == gids["itemIds"].to_list()[0][:3]
    assert recommended_products(loop.store, "0" * 64) == []


def test_whoever_has_no_account_is_a_shopper_of_their_own_and_a_crawler_is_none(loop):
    users = set(pl.read_parquet(loop.folder / "interactions.parquet")["user_id"])
    assert loop.visitor in users
    assert {loop.browser, "crawler"}.isdisjoint(users)
    assert len(users) == 62  # the crowd, the visitor and the customer
    handle = ShopperIds(SecretStr(HMAC_SECRET)).handle_of(loop.visitor)
    assert over_http(loop.store, handle) == scored_for(loop, loop.visitor)
    assert {"y-one", "y-two", "y-three"}.isdisjoint(scored_for(loop, loop.visitor))


def test_the_page_shows_the_shopper_what_was_scored_for_them(loop, browser):
    handle = assert_one_shopper_in_every_file(loop)
    browser.execute_cdp_cmd("Network.clearBrowserCookies", {})
    page = Page(browser, loop.store)
    page.open(f"/?customer={loop.customer.rsplit('/', 1)[1]}")
    assert page.states() == ["shown"]
    assert page.js("return document.querySelector('slirec-recommendations').dataset.handle") == handle
    assert shown(page) == scored_for(loop, loop.uid)[:8]
    assert loop.uid not in browser.page_source

    page.open("/?count=12")
    assert shown(page) == scored_for(loop, loop.uid)[:12]

    page.open(f"/?shopper={ShopperIds(SecretStr(HMAC_SECRET)).handle_of(loop.visitor)}")  # a cookie, no account
    assert shown(page) == scored_for(loop, loop.visitor)[:8]
    page.open("/?customer=1")  # a customer of whom nothing is known
    assert page.states() == ["nothing to show"]
