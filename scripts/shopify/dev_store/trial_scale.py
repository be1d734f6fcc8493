"""A large catalogue and many shoppers: seconds, requests and memory."""

import json
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from pydantic import SecretStr

from scripts.shopify.client import ShopifyClient
from scripts.shopify.dev_store import DevStore
from scripts.shopify.dev_store.trial_data import inventory_of, recommendations, write_parquet
from scripts.shopify.dev_store.trial_run import HMAC_SECRET, Step, as_row, output_of, run_process, summary
from scripts.shopify.marks import METAOBJECT_FIELD
from scripts.shopify.populate_inventory import PopulateResult, populate
from scripts.shopify.settings import Settings
from scripts.shopify.shopper_ids import ShopperIds

PLAN: Final = "standard"
"""The plan with the smallest bucket: 2,000 points, 100 restored a second."""


class VirtualTime:
    """A clock that only waiting moves, so that hours of waiting for a small bucket take no time.

    The bucket fills no faster than in reality: what requests take in themselves does not count.
    """

    def __init__(self) -> None:
        self.now = time.time()

    def clock(self) -> float:
        """Returns the seconds of this clock."""
        return self.now

    def sleep(self, seconds: float) -> None:
        """Moves the clock."""
        self.now += seconds


def trial_scale(folder: Path, *, num_products: int = 10_000) -> list[dict[str, Any]]:
    """Populates a shop of the Standard plan, then takes snapshots of it by paging and by bulk.

    Populating waits on a virtual clock; the snapshots run on the real one, each twice as a process of its own, and
    beside them one of a shop with a hundredth of the products, for its memory.

    Args:
        folder: Empty folder to work in.
        num_products: Products of the shop.

    Returns:
        One row a run; `problems` says what is wrong.
    """
    rows: list[dict[str, Any]] = []
    for size in (max(1, num_products // 100), num_products):
        path = folder / f"{size}.db"
        row, result = _populate(path, size)
        if row["throttled"]:
            row["problems"].append(f"{row['throttled']} answers were THROTTLED")
        if (result.created, len(result.failed)) != (size, 0):
            row["problems"].append(f"{result.created} of {size} products were created, {len(result.failed)} failed")
        rows.append(row)
        expected = [record["handle"] for record in inventory_of(size).products]
        first: Any = None
        with DevStore(path, plan=PLAN) as store:
            for way, option in (("paging", "never"), ("bulk", "always")) * 2:
                step = Step("prepare_inventory_snapshot", ("snapshot.json", "--bulk", option), "snapshot.json")
                run = run_process(store, step, folder)
                row = as_row(f"snapshot by {way} ({PLAN})", run, products=size, problems=[])
                rows.append(row)
                if run.status:
                    row["problems"].append(f"status {run.status}: {run.text.strip()[-300:]}")
                    continue
                records = output_of(step, folder)
                first = first or records
                if [record["handle"] for record in records] != expected:
                    row["problems"].append(f"{len(records)} products, {size} expected, or in another order")
                if records != first:
                    row["problems"].append("not what the first snapshot says")
    return rows


def trial_publish(
    folder: Path, *, num_shoppers: int = 100_000, num_products: int = 240, plan: str = PLAN
) -> list[dict[str, Any]]:
    """Publishes for many shoppers by bulk mutation, some of whose products the shop does not have.

    Args:
        folder: Empty folder to work in.
        num_shoppers: Shoppers.
        num_products: Products of the shop.
        plan: Plan of the shop.

    Returns:
        One row; `problems` says what is wrong: every shopper must have an entry with exactly the products that there
        are, in order, and those without any none.
    """
    _populate(folder / "store.db", num_products)
    write_parquet(folder / "recommendations.parquet", num_products=num_products, num_shoppers=num_shoppers)
    with DevStore(folder / "store.db", plan=plan) as store:
        step = Step("publish_recommendations", ("recommendations.parquet", "--bulk", "always"))
        run = run_process(store, step, folder)
        received = {item["handle"]: _products_of(item) for item in store.state.scan("Metaobject")}
        known = {item["id"] for item in store.state.scan("Product")}
    ids = ShopperIds(SecretStr(HMAC_SECRET))
    expected: dict[str, list[str]] = {}
    for row in recommendations(num_shoppers, num_products):
        if items := [item for item in row["itemIds"] if item in known]:
            expected[ids.handle_of(row["userId"])] = items
    wrong = sum(received.get(handle) != items for handle, items in expected.items())
    problems = [f"{wrong} of {len(expected)} shoppers have other products, or none"] if wrong else []
    if extra := len(received.keys() - expected.keys()):
        problems.append(f"{extra} shoppers too many")
    if run.status:
        problems.append(f"status {run.status}: {run.text.strip()[-300:]}")
    counts = {"shoppers": num_shoppers, "published": len(received), "problems": problems}
    return [as_row(f"publish by bulk ({plan})", run, **counts)]


def _populate(path: Path, num_products: int) -> tuple[dict[str, Any], PopulateResult]:
    """Fills a shop of the Standard plan on a virtual clock; returns a row of the table, and what was done."""
    virtual = VirtualTime()
    began, first = time.perf_counter(), virtual.now
    with DevStore(path, plan=PLAN, clock=virtual.clock) as store:
        settings = Settings.from_environment(store.environment())
        with ShopifyClient(settings, sleep=virtual.sleep, clock=virtual.clock) as client:
            result = populate(client, inventory_of(num_products))
        run = summary(store, 0, 0, time.perf_counter() - began, None, "")
    row = as_row(f"populate ({PLAN}, waits on a virtual clock)", run, products=num_products, problems=[])
    return {**row, "waited_s": round(virtual.now - first)}, result


def _products_of(metaobject: Mapping[str, Any]) -> list[str]:
    (value,) = (item["value"] for item in metaobject["fields"] if item["key"] == METAOBJECT_FIELD)
    return json.loads(value)
