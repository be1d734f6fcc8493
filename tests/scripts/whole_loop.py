"""A shop, its shoppers and every command from their events to recommendations on its page, for `test_whole_loop`."""

import json
import re
from dataclasses import dataclass
from pathlib import Path
from urllib.request import Request, urlopen

import numpy as np
from conftest import HMAC_SECRET
from small_shop import rules_with

from scripts.ml import (
    import_joined,
    import_snowplow,
    preprocess,
    register_model,
    score_inventory,
    train,
)
from scripts.ml.generate_interactions import generate
from scripts.ml.snowplow_sample import CRAWLER, sample_events, write_events
from scripts.shopify import export_orders, populate_inventory, prepare_inventory_snapshot, publish_recommendations
from scripts.shopify.dev_store import DevStore
from scripts.shopify.dev_store.orders import add_customer, add_order
from scripts.shopify.dev_store.page_liquid import THEME, render_liquid
from scripts.shopify.marks import METAOBJECT_TYPE
from scripts.shopify.settings import API_VERSION
from training.data.inventory import inventory_from_records, load_inventory, save_inventory

CATEGORIES, NUMBERS = "XYZUVW", ("One", "Two", "Three", "Four", "Five")
INVENTORY = inventory_from_records(
    {"id": f"gid://shopify/Product/{900 + place}", "handle": title.lower().replace(" ", "-"), "title": title}
    | {"category": title[0]}
    for place, title in enumerate(f"{category} {number}" for number in NUMBERS for category in CATEGORIES)
)
RULES = rules_with(median_sessions=4.0)
CHALLENGER = "challenger"
CONFIG = """
data: {max_seq_length: 10}
model: {item_embedding_dim: 8, cate_embedding_dim: 4, hidden_size: 12, attention_size: 12, att_fcn_layer_sizes: [8, 4],
  layer_sizes: [8, 4]}
train: {epochs: 2, batch_size: 64}
"""
DAY = 86_400


@dataclass(frozen=True)
class Loop:
    """A shop after one round of the whole loop.

    Attributes:
        store: The running shop.
        folder: What the commands wrote: snapshot.json, orders.parquet, clicks.parquet, interactions.parquet, dataset,
            run/bundle, recommendations.
        customer: GID of the one shopper.
        uid: What the theme's Liquid gives the tracker for them.
        ordered: When they ordered, UNIX seconds.
        browser: Domain user id of their browser.
        visitor: Domain user id of somebody without an account.
    """

    store: DevStore
    folder: Path
    customer: str
    uid: str
    ordered: int
    browser: str
    visitor: str


def command(module, *arguments):
    """Runs a command as from the command line; it has to succeed."""
    assert module.main([str(argument) for argument in arguments]) == 0, module.__name__


def uid_of(customer: str) -> str:
    """Returns what the Liquid in the theme's README makes the tracker's user id."""
    source = re.search(r"```liquid\n(.*?)```", (THEME / "README.md").read_text(encoding="utf-8"), re.DOTALL)
    assert source
    signed_in = {"id": int(customer.rsplit("/", 1)[1])}
    settings = {"settings": {"hmac_secret": HMAC_SECRET}}
    (uid,) = re.findall(r"'setUserId', '(\w+)'", render_liquid(source[1], customer=signed_in, section=settings))
    assert "setUserId" not in render_liquid(source[1], customer=None, section=settings)
    return uid


def close_the_loop(store: DevStore, folder: Path) -> Loop:
    """Fills the shop, lets its customers order and click, and runs every command once.

    Ann orders X One (two of them) and Y Three. Before, not signed in, she looked at X One; afterwards, signed in, at
    X Two, and puts Y Two into the cart. Her tracker knows of the order too. A test order of hers, a guest, a crawler
    that has her user id, and somebody without an account are there besides, and a crowd to learn from.
    """
    save_inventory(INVENTORY, folder / "wanted.json")  # the shop gives its products other GIDs than stand there
    command(populate_inventory, "--inventory", folder / "wanted.json")
    product = {handle: store.state.find("Product", handle)["id"] for handle in INVENTORY.handles}
    now = int(store.clock())
    ordered = now - 2 * DAY
    _, customer = add_customer(store)["id"], add_customer(store)["id"]

    def order(who, *handles, **fields):
        lines = [{"product": product[handle], "quantity": 2 - place} for place, handle in enumerate(handles)]
        add_order(store, customer=who, processedAt=ordered, lineItems=lines, **fields)

    order(customer, "x-one", "y-three")
    order(customer, "x-four", test=True)
    order(None, "x-four", "y-four")

    snapshot = folder / "snapshot.json"
    command(prepare_inventory_snapshot, snapshot)
    orders = folder / "orders.parquet"
    command(export_orders, orders, "--since", "2020-01-01", "--inventory", snapshot)

    uid = uid_of(customer)
    browser, visitor = "b" * 8, "v" * 8
    number = product["y-two"].rsplit("/", 1)[1]
    ann = {"duid": browser, "ua": "Mozilla/5.0"}
    signed_in = ann | {"uid": uid}
    clicks = [
        view(ann, ordered - 600, "x-one"),
        {"e": "ti", "ti_sk": "x-one", "ti_id": "#1001", "dtm": str(ordered * 1000)} | signed_in,
        view(signed_in, ordered + DAY, "x-two"),
        view(signed_in, ordered + DAY + 3, "x-two"),
        {"e": "se", "se_ac": "add_to_cart", "se_la": number, "dtm": str((ordered + DAY + 60) * 1000)} | signed_in,
        view({"duid": "crawler", "uid": uid, "ua": CRAWLER}, ordered + DAY, "y-one"),
        view({"duid": visitor}, ordered, "y-two"),
        view({"duid": visitor}, ordered + 40, "y-three"),
        view({"duid": visitor}, ordered + 80, "y-one"),
    ]
    crowd = generate(load_inventory(snapshot), RULES, users=60, days=40, seed=3)
    shift = now - DAY - int(crowd.plan.timestamp.max())
    write_events([*sample_events(crowd, np.random.default_rng(4), shift=shift), *clicks], folder / "clicks.jsonl.gz")
    clicks_file, joined = folder / "clicks.parquet", folder / "interactions.parquet"
    options = ("--user", "login", "--inventory", snapshot, "--output", clicks_file)
    command(import_snowplow, folder / "clicks.jsonl.gz", *options)
    command(import_joined, orders, clicks_file, "--inventory", snapshot, "--output", joined)

    command(preprocess, joined, folder / "dataset", "--inventory", snapshot)
    (folder / "config.yaml").write_text(CONFIG)
    options = ("--inventory", snapshot, "--config", folder / "config.yaml", "--run", folder / "run")
    command(train, folder / "dataset", *options)
    command(register_model, folder / "run" / "bundle", "--summary", folder / "registered.json")
    command(score_inventory, folder / "recommendations", "--alias", CHALLENGER)
    command(publish_recommendations, folder / "recommendations", "--k", "16")
    return Loop(store, folder, customer, uid, ordered, browser, visitor)


def view(who: dict, seconds: int, handle: str) -> dict:
    """A view of a product's page."""
    return {"e": "pv", "url": f"https://shop.example/products/{handle}", "dtm": str(seconds * 1000)} | who


def over_http(store: DevStore, handle: str) -> list[str]:
    """Asks the Storefront API with the theme section's own query; returns handles of products."""
    source = (THEME / "assets" / "slirec-recommendations.js").read_text(encoding="utf-8")
    query = re.search(r"const QUERY = `(.*?)`;", source, re.DOTALL)
    assert query
    variables = {"handle": {"type": METAOBJECT_TYPE, "handle": handle}, "first": 16}
    headers = {"Content-Type": "application/json", "X-Shopify-Storefront-Access-Token": store.storefront_token}
    body = json.dumps({"query": query[1], "variables": variables}).encode()
    with urlopen(Request(f"{store.url}/api/{API_VERSION}/graphql.json", body, headers)) as response:
        answer = json.load(response)
    assert "errors" not in answer, answer
    return [node["handle"] for node in answer["data"]["metaobject"]["field"]["references"]["nodes"]]
