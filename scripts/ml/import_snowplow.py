"""Snowplow's page views and product events as interactions (contract 2).

    python -m scripts.ml.import_snowplow EVENTS [EVENTS ...] --output data/clicks.parquet [--inventory SNAPSHOT]
        [--user browser|login|customer] [--repeat-seconds 10] [--weights view=1 cart=3 purchase=5]

EVENTS are files, also .gz, of enriched TSV (read with snowplow-analytics-sdk) or of JSON lines with the tracker's raw
payloads. Which events count, and what a bot is, says `import_snowplow_events`. Left out, and counted: bots, events
without a user or a time, the same event sent twice, and repeats of one kind of event with one product by one user
within seconds of the last (reloads, double clicks).

Times are those of the collector where it gives any, else of the shopper's device. A session is the tracker's, or, where
it has none, ends with a pause of 30 minutes. With an inventory, products may be called by handle, GID or its number,
and others are left out; without one, an article number in a cart or purchase event has to be the handle.

With `--user customer`, the ids that the shop gave the tracker are customers' numbers or GIDs; they become the opaque
ids of the exported orders, which takes SLIREC_HMAC_SECRET. Better give the tracker the opaque ids and say `--user
login`: then no customer's number is in what it collects (`scripts/shopify/theme/README.md` says how).
"""

import argparse
import gzip
import sys
import zlib
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import IO, Any, Final, cast

import polars as pl
from tqdm import tqdm

from scripts.ml.import_kinds import WEIGHTS, add_options, checked_weights, parse_weights
from scripts.ml.import_lookup import lookup_table, with_products
from scripts.ml.import_snowplow_events import (
    BOT_AGENT,
    ProductEvent,
    Transform,
    enriched_transform,
    product_events,
    records_of,
)
from scripts.ml.import_table import write_table
from scripts.shopify.shopper_ids import ShopperIds
from training.data.columns import INTERACTION_COLUMNS, ITEM, LABEL, TIMESTAMP, USER
from training.data.event_columns import BASKET, KIND, KINDS, QUANTITY, SESSION, WEIGHT
from training.data.interactions import InteractionsError
from training.data.inventory import Inventory, load_inventory
from training.data.report import DropCounter, ImportReport

REPEAT_SECONDS: Final = 10
SESSION_PAUSE: Final = 30 * 60
USERS: Final = ("browser", "login", "customer")
NOBODY: Final = ("undefined", "null", "none", "nan")
"""What a page's script makes of a user id that it does not have; many strangers would be one shopper by it."""

_SCHEMA: Any = dict.fromkeys(ProductEvent._fields, pl.String) | {"milliseconds": pl.Int64, "quantity": pl.Int64}
_LATEST = 100_000_000_000_000  # milliseconds; the year 5138


def import_snowplow(
    lines: Iterable[tuple[str, Transform | None]],
    *,
    inventory: Inventory | None = None,
    user: str = USERS[0],
    login_of: Callable[[str], str | None] | None = None,
    repeat_seconds: float = REPEAT_SECONDS,
    weights: Mapping[str, float] | None = None,
) -> tuple[pl.DataFrame, ImportReport]:
    """Makes interactions of Snowplow's events.

    Args:
        lines: Pairs of a line and how it is read, see `import_snowplow_events.records_of`.
        inventory: Knows handles and categories; products that it does not have are dropped.
        user: `browser`: the domain user id; or `login`: the user id that the shop gave the tracker, for all events of
            a browser that had exactly one, else the domain user id. With the opaque ids of the exported orders as
            logins, clicks and orders belong to one shopper.
        login_of: From what the shop gave the tracker to the id in the interactions, such as `customer_id_of`, or to
            None where it is no user's; by default it is that id already.
        repeat_seconds: An event is dropped if its user had one of the same kind with the same product so short before.
        weights: Of kinds; those left out have that of `WEIGHTS`.

    Returns:
        Rows sorted by time: columns `INTERACTION_COLUMNS`, `kind`, `weight`, `quantity` and `basket` (null where
        unknown), `session`. In the report a purchase of several products counts as several rows, an unreadable line
        as one.

    Raises:
        InteractionsError: If no event is usable.
        ValueError: If an argument is impossible.
    """
    if user not in USERS[:2]:
        raise ValueError(f"`user` should be one of {', '.join(USERS[:2])}. Received: user = {user!r}")
    if repeat_seconds < 0:
        raise ValueError(f"`repeat_seconds` should not be negative. Received: repeat_seconds = {repeat_seconds}")
    chosen = WEIGHTS | dict(checked_weights(weights))
    names = set(lookup_table(inventory)["name"]) if inventory else None
    events, unread = _events(lines, names)
    counter = DropCounter(events.height + sum(unread.values()))
    for reason, count in unread.items():
        counter.add(reason, count)
    agents = events.select("agent").unique()
    bots = agents.filter(pl.col("agent").map_elements(_is_bot, return_dtype=pl.Boolean))["agent"]
    events = counter.keep(events, ~pl.col("agent").is_in(bots.implode()).fill_null(False), "bot")
    nobody = pl.col("login").str.to_lowercase().is_in(NOBODY)
    events = events.with_columns(pl.when(nobody.fill_null(False).not_()).then(pl.col("login")).alias("login"))
    if login_of is not None:
        events = _with_logins(events, login_of)
    events = counter.keep(events.with_columns(_user(user).alias(USER)), pl.col(USER).is_not_null(), "no user id")
    events = counter.keep(events, pl.col("milliseconds").is_between(1, _LATEST, closed="left"), "no time")
    if names is not None:
        events = counter.keep(events, pl.col("name").is_in(names), "product is not in the inventory")
    once = events.filter(
        pl.col("event_id").is_null() | pl.struct("event_id", KIND, "name").is_first_distinct()  # at least once is usual
    )
    counter.add("event sent twice", events.height - once.height)
    events = with_products(once.rename({"name": ITEM}), inventory).sort("milliseconds", maintain_order=True)
    since = pl.col("milliseconds").diff().over(USER, ITEM, KIND)
    repeated = since.is_not_null() & (since <= repeat_seconds * 1000)
    events = counter.keep(events, ~repeated, f"repeated within {repeat_seconds:g} s")
    result = _with_sessions(events).with_columns(
        pl.lit(1, pl.Int64).alias(LABEL),
        (pl.col("milliseconds") // 1000).alias(TIMESTAMP),
        pl.col(KIND).replace_strict(list(chosen), list(chosen.values()), return_dtype=pl.Float64).alias(WEIGHT),
    )
    notes = {"Shoppers": result[USER].n_unique()}
    if user == USERS[1]:
        notes["  signed in"] = events.filter(pl.col(USER) == pl.col("login"))[USER].n_unique()
    notes["Sessions"] = result[SESSION].n_unique()
    notes |= {f"Rows of kind {kind}": result.filter(pl.col(KIND) == kind).height for kind in KINDS}
    return result.select(*INTERACTION_COLUMNS, KIND, WEIGHT, QUANTITY, BASKET, SESSION), counter.report(notes)


def customer_id_of(ids: ShopperIds) -> Callable[[str], str | None]:
    """Returns what makes a customer's number or GID the opaque id of the exported orders, and all else None.

    Args:
        ids: Of the merchant's secret.
    """

    def of(login: str) -> str | None:
        try:
            return ids.user_id_of(login if login.startswith("gid:") else f"gid://shopify/Customer/{login}")
        except ValueError:
            return None

    return of


def _with_logins(events: pl.DataFrame, login_of: Callable[[str], str | None]) -> pl.DataFrame:
    found = {login: login_of(login) for login in events["login"].drop_nulls().unique() if login}
    if found and not any(found.values()):  # the error does not repeat one: it may be a name or an address
        raise InteractionsError(
            "The user ids that the tracker was given should be customers' numbers or GIDs. Received: none that is. If "
            "they are the opaque ids already, say --user login"
        )
    table = pl.DataFrame({"login": list(found), "_id": list(found.values())}, {"login": pl.String, "_id": pl.String})
    return events.join(table, on="login", how="left", maintain_order="left").drop("login").rename({"_id": "login"})


def _events(
    lines: Iterable[tuple[str, Transform | None]], names: Collection[str] | None
) -> tuple[pl.DataFrame, dict[str, int]]:
    """Returns the product events of all lines, and the number of others by reason."""
    events: list[ProductEvent] = []
    unread = {"line that cannot be read": 0, "not about a product": 0}
    for line, transform in lines:
        if not line.strip():
            continue
        try:
            records = records_of(line, transform)
        except (ValueError, RecursionError):
            unread["line that cannot be read"] += 1
            continue
        for record in records:
            found = product_events(record, names)
            unread["not about a product"] += not found
            events += found
    return pl.DataFrame(events, schema=_SCHEMA, orient="row"), unread


def _is_bot(agent: str) -> bool:
    return BOT_AGENT.search(agent) is not None


def _user(user: str) -> pl.Expr:
    browser, login = (pl.when(pl.col(name) != "").then(pl.col(name)) for name in ("browser", "login"))
    if user == "browser":
        return browser
    logins = login.drop_nulls().unique()
    only = pl.when(logins.len() == 1).then(logins.min()).over(browser)
    return pl.coalesce(login, pl.when(browser.is_not_null()).then(only), browser)


def _with_sessions(events: pl.DataFrame) -> pl.DataFrame:
    """Fills in the sessions that the tracker did not name; the rows are sorted by time."""
    starts = (pl.col("milliseconds").diff() > SESSION_PAUSE * 1000).fill_null(False)
    number = starts.cast(pl.Int64).cum_sum().over(USER).cast(pl.String)
    named = pl.when(pl.col(SESSION) != "").then(pl.col(SESSION))
    return events.with_columns(pl.coalesce(named, pl.concat_str(pl.col(USER), pl.lit("#"), number)).alias(SESSION))


def lines_of(path: Path) -> Iterator[tuple[str, Transform | None]]:
    """Yields the lines of a file, with how they are read: as JSON where the first begins like it, else as TSV.

    Raises:
        InteractionsError: If the file is missing.
        ModuleNotFoundError: If it is TSV and the package that reads it is not installed.
    """
    if not path.is_file():
        raise InteractionsError(f"`events` should be files of Snowplow's events. Received: {path}, which is not a file")
    with cast(
        IO[str], (gzip.open if path.suffix == ".gz" else open)(path, "rt", encoding="utf-8", errors="replace")
    ) as stream:
        transform: Transform | None = None
        begun = False
        for line in stream:
            if not begun and line.strip():
                begun = True
                transform = None if line.lstrip().startswith(("{", "[")) else enriched_transform()
            yield line, transform


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m scripts.ml.import_snowplow", description="Import Snowplow's events as interactions."
    )
    parser.add_argument("events", nargs="+", type=Path, help="enriched TSV or raw JSON lines, also .gz")
    add_options(parser)
    parser.add_argument("--user", choices=USERS, default=USERS[0], help="whose id (default: %(default)s)")
    parser.add_argument("--repeat-seconds", type=float, default=REPEAT_SECONDS, help="see above (default: %(default)s)")
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command line and returns its exit status: 0, or 1 with one line on stderr."""
    arguments = _parser().parse_args(argv)
    try:
        lines = (pair for path in arguments.events for pair in lines_of(path))
        customers = arguments.user == USERS[2]
        interactions, report = import_snowplow(
            tqdm(lines, unit=" lines", unit_scale=True, desc="reading", delay=0.5),
            inventory=load_inventory(arguments.inventory) if arguments.inventory else None,
            user=USERS[1] if customers else arguments.user,
            login_of=customer_id_of(ShopperIds.from_environment()) if customers else None,
            repeat_seconds=arguments.repeat_seconds,
            weights=parse_weights(arguments.weights),
        )
        write_table(interactions, arguments.output)
    except (ValueError, OSError, EOFError, zlib.error, ImportError, pl.exceptions.PolarsError) as error:
        print(f"error: {' '.join(str(error).split())}", file=sys.stderr)
        return 1
    print(report.text())
    print(f"Written to {arguments.output}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
