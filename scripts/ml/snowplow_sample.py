"""Makes a sample of Snowplow's events, for people without a tracker: generated visits as the tracker's raw payloads.

    python -m scripts.ml.snowplow_sample INVENTORY OUTPUT [--users 400] [--days 60] [--seed 42]

OUTPUT has one POST payload a line, as the JavaScript tracker sends them; also .gz. Beside views of products there is
what an importer has to cope with: pages about no product, page pings, carts, reloads, events sent twice, shoppers who
sign in only after some visits, shoppers who never do, and a crawler. The product of a cart event is called by the
number in its GID, as Shopify's own events do, while a page's address has its handle.

See https://docs.snowplow.io/docs/collecting-data/collecting-from-own-applications/snowplow-tracker-protocol/.
"""

import argparse
import base64
import gzip
import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote
from uuid import UUID

import numpy as np

from scripts.ml.generate_interactions import Interactions, generate
from training.data.inventory import Inventory, InventoryError, load_inventory
from training.files import atomic_path

Event = dict[str, str]

SHOP: Final = "https://shop.example"
BROWSERS: Final = (
    "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0",
    "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/605.1.15 (KHTML, like Gecko) Safari/605.1.15",
    "Mozilla/5.0 (Linux; Android 10; K) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/138.0.0.0 Mobile Safari/537.36",
)
CRAWLER: Final = "Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)"

_PAYLOAD = "iglu:com.snowplowanalytics.snowplow/payload_data/jsonschema/1-0-4"
_UNSTRUCT = "iglu:com.snowplowanalytics.snowplow/unstruct_event/jsonschema/1-0-0"
_CONTEXTS = "iglu:com.snowplowanalytics.snowplow/contexts/jsonschema/1-0-0"
_ACTION = "iglu:com.snowplowanalytics.snowplow.ecommerce/snowplow_ecommerce_action/jsonschema/1-0-2"
_PRODUCT = "iglu:com.snowplowanalytics.snowplow.ecommerce/product/jsonschema/1-0-0"
_EVENTS_A_LINE = 10


@dataclass(frozen=True)
class Habits:
    """How probable things are after a view of a product.

    Attributes:
        ping: The page is read for a while.
        cart: The product goes into the cart.
        reload: The page is loaded again within seconds.
        resent: The tracker sends the event twice, because the first answer was lost.
        crawled: Share of the inventory that the crawler visits, each product once.
    """

    ping: float = 0.3
    cart: float = 0.12
    reload: float = 0.03
    resent: float = 0.02
    crawled: float = 1.0


def sample_events(
    interactions: Interactions,
    rng: np.random.Generator,
    *,
    logins: Mapping[int, str] | None = None,
    shift: int = 0,
    shop: str = SHOP,
    habits: Habits | None = None,
) -> list[Event]:
    """Returns what the tracker would have sent about generated visits.

    Args:
        interactions: The visits.
        rng: Source of ids and of what happens beside the views.
        logins: Number of a shopper in `interactions` -> what the shop gives the tracker as user id once they have
            signed in; shoppers who are left out never do. A shopper has one browser, signs in with some visit, at the
            latest the last one, and stays so.
        shift: Seconds to add to the times of `interactions`.
        shop: Address that pages begin with.
        habits: How probable things are.

    Returns:
        Events sorted by time, each with the raw parameters of Snowplow's protocol, all values text.
    """
    habits = habits or Habits()
    tracker = _Tracker(interactions.inventory, rng, shop)
    events: list[Event] = []
    offsets, starts = interactions.plan.offsets, interactions.plan.start
    for user in range(interactions.num_users):
        rows = np.arange(offsets[user], offsets[user + 1])
        login = (logins or {}).get(user)
        signed_in_from = int(rng.integers(starts[rows].sum())) if login else None
        browser = {"duid": tracker.new_id(), "ua": str(rng.choice(BROWSERS))}
        visit = -1
        for row in rows:
            moment = 1000 * (int(interactions.plan.timestamp[row]) + shift) + int(rng.integers(1000))
            if starts[row]:
                visit += 1
                browser |= {"sid": tracker.new_id(), "vid": str(visit + 1)}
                if login and visit == signed_in_from:
                    browser["uid"] = login
                events.append(tracker.page(browser, moment - 5000, "/"))
            events += tracker.visit_of_product(browser, moment, int(interactions.product[row]), habits)
    crawler = {"duid": tracker.new_id(), "sid": tracker.new_id(), "vid": "1", "ua": CRAWLER}
    products = np.flatnonzero(rng.random(len(interactions.inventory.handles)) < habits.crawled)
    begin = 1000 * (int(np.median(interactions.plan.timestamp)) + shift)
    paths = [tracker.path_of(int(product)) for product in products]
    events += [tracker.page(crawler, begin + 2000 * place, path) for place, path in enumerate(paths)]
    return sorted(events, key=lambda event: int(event["dtm"]))


class _Tracker:
    """Makes events; ids come from a generator, so that a sample can be repeated."""

    def __init__(self, inventory: Inventory, rng: np.random.Generator, shop: str) -> None:
        self._handles = inventory.handles
        self._numbers = [record["id"].rsplit("/", 1)[1] for record in inventory.products]
        self._names = [record["title"] for record in inventory.products]
        self._rng, self._shop = rng, shop

    def new_id(self) -> str:
        return str(UUID(bytes=self._rng.bytes(16), version=4))

    def path_of(self, product: int) -> str:
        return f"/products/{quote(self._handles[product])}"

    def page(self, browser: Mapping[str, str], moment: int, path: str, **more: str) -> Event:
        own = {"e": "pv", "eid": self.new_id(), "dtm": str(moment), "url": f"{self._shop}{path}"}
        return {"tv": "js-4.6.0", "tna": "sp", "aid": "shop", "p": "web", **browser, **own, **more}

    def visit_of_product(
        self, browser: Mapping[str, str], moment: int, product: int, habits: Habits
    ) -> Iterator[Event]:
        path, chance = self.path_of(product), self._rng.random(4)
        view = self.page(browser, moment, path, page=self._names[product])
        yield view
        if chance[0] < habits.resent:
            yield dict(view)
        if chance[1] < habits.reload:
            yield self.page(browser, moment + 4000, path, page=self._names[product])
        if chance[2] < habits.cart:
            yield self.page(browser, moment + 9000, path, e="ue", **self._cart(product))
        if chance[3] < habits.ping:
            yield self.page(browser, moment + 10_000, path, e="pp", pp_may=str(self._rng.integers(2000)))

    def _cart(self, product: int) -> Event:
        item = {"id": self._numbers[product], "name": self._names[product], "quantity": 1}
        action = {"schema": _ACTION, "data": {"type": "add_to_cart"}}
        return {
            "ue_px": _encoded({"schema": _UNSTRUCT, "data": action}),
            "cx": _encoded({"schema": _CONTEXTS, "data": [{"schema": _PRODUCT, "data": item}]}),
        }


def _encoded(document: Any) -> str:
    return base64.urlsafe_b64encode(json.dumps(document).encode()).decode().rstrip("=")


def write_events(events: Sequence[Event], path: Path) -> None:
    """Writes events as the tracker's POST payloads, some to a line; atomically.

    Args:
        events: As `sample_events` returns them.
        path: File to write; compressed where it ends with .gz.
    """
    with atomic_path(path) as temporary:
        opened = gzip.open if path.suffix == ".gz" else open
        with opened(temporary, "wt", encoding="utf-8") as stream:
            for begin in range(0, len(events), _EVENTS_A_LINE):
                payload = {"schema": _PAYLOAD, "data": events[begin : begin + _EVENTS_A_LINE]}
                stream.write(json.dumps(payload, ensure_ascii=False) + "\n")


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command line and returns its exit status: 0, or 1 with one line on stderr."""
    parser = argparse.ArgumentParser(
        prog="python -m scripts.ml.snowplow_sample", description="Make a sample of Snowplow's events."
    )
    parser.add_argument("inventory", type=Path, help="inventory snapshot (.pkl or .json)")
    parser.add_argument("output", type=Path, help="file to write, also .gz")
    parser.add_argument("--users", type=int, default=400, help="number of shoppers (default: %(default)s)")
    parser.add_argument("--days", type=int, default=60, help="days of observation (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=42, help="same seed, same events (default: %(default)s)")
    arguments = parser.parse_args(argv)
    try:
        inventory = load_inventory(arguments.inventory)
        interactions = generate(inventory, users=arguments.users, days=arguments.days, seed=arguments.seed)
        events = sample_events(interactions, np.random.default_rng([arguments.seed, 1]))
        write_events(events, arguments.output)
    except (InventoryError, ValueError, OSError) as error:
        print(f"error: {' '.join(str(error).split())}", file=sys.stderr)
        return 1
    print(f"{arguments.output}: {len(events):,} events of {interactions.num_users:,} shoppers and a crawler")
    return 0


if __name__ == "__main__":
    sys.exit(main())
