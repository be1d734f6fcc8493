"""Turns a shop's past orders into interactions (contract 2), from which the model is trained.

    python -m scripts.shopify.export_orders OUTPUT --since 2026-01-01 [--inventory training/inventory.pkl] [--full]
        [--bulk auto|always|never] [--dry-run]

OUTPUT is tab-separated text, or Parquet where it ends with .parquet, with the further columns `kind` and `quantity`.
Beside it lies OUTPUT.state.parquet, so that the next run reads only the orders that changed since, takes their new
state (cancelled, refunded) in place of the old one, and doubles nothing. Test and cancelled orders, guests, refunded
lines and lines without a product are left out. Customers appear as HMACs made with SLIREC_HMAC_SECRET only. With
--inventory a product has the category of the snapshot, else its product type.

What an incremental run cannot notice is an order that was deleted and a customer who was erased; --full does. Without
the access scope read_all_orders, neither notices what happens to an order that is older than 60 days: if it is
cancelled or refunded then, its rows stay. A product that was given another handle keeps the old one on older rows until
an order of it is read; with --inventory it has the snapshot's.
"""

import argparse
import os
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from scripts.shopify.answers import ShopifyError
from scripts.shopify.bulk_choice import BULK_CHOICES, Way
from scripts.shopify.client import ShopifyClient
from scripts.shopify.order_interactions import interactions_of_rows
from scripts.shopify.order_lines import OrderCounts, OrdersRead, iso_time, rows_of_orders, unix_seconds
from scripts.shopify.order_reader import read_orders
from scripts.shopify.order_state import (
    VISIBLE,
    OrderState,
    OrderStateError,
    ReadPlan,
    load_state,
    merged,
    plan_reading,
    save_state,
    set_aside,
    state_path,
)
from scripts.shopify.settings import Settings, SettingsError
from scripts.shopify.shopper_ids import ShopperIds
from training.data.columns import INTERACTION_COLUMNS, ITEM, TIMESTAMP, USER
from training.data.interactions import InteractionsError, write_interactions
from training.data.inventory import Inventory, InventoryError, load_inventory
from training.files import atomic_path

SCOPES = ("read_orders", "read_customers", "read_products")


@dataclass(frozen=True)
class ExportResult:
    """What an export read and wrote.

    Attributes:
        shop: The shop's domain.
        what: Which orders were read, in words.
        counts: What was read and left out.
        complete: Whether no order since `since` is missing because the token cannot see it any more.
        rows: Interactions.
        shoppers: Shoppers in them.
        products: Products in them.
        unknown: Products that the inventory does not have.
        set_aside: Where an unreadable state is now, if there was one.
    """

    shop: str
    what: str
    counts: OrderCounts
    complete: bool
    rows: int
    shoppers: int
    products: int
    unknown: int
    set_aside: Path | None = None


def export_orders(
    client: ShopifyClient,
    output: str | os.PathLike[str],
    ids: ShopperIds,
    since: int,
    *,
    inventory: Inventory | None = None,
    full: bool = False,
    bulk: Way = "auto",
    dry_run: bool = False,
    progress: bool = False,
    now: int | None = None,
) -> ExportResult:
    """Brings the interactions in a file up to date with the shop's orders.

    Args:
        client: Client of the shop.
        output: File to write; its state lies beside it.
        ids: Makes the opaque ids.
        since: Earliest moment of interactions, UNIX seconds.
        inventory: Snapshot that says which category a product has, and under which handle it is known there.
        full: Read all orders anew, not only those that changed since the last export. A state that is unreadable is
            set aside then.
        bulk: Whether to use a bulk operation; `auto` does for many orders.
        dry_run: Read, write nothing.
        progress: Show a progress bar on standard error.
        now: UNIX seconds; the machine's clock by default.

    Raises:
        ShopifyError: A scope is missing, Shopify does not answer, or there is nothing to export.
        OrderStateError: Without `full`, the state is of another shop or made with another secret, or is unreadable.
        OSError: The output cannot be written.
    """
    if Path(output).is_dir():
        raise IsADirectoryError(f"`output` should be a file. Received the folder {output}")
    shop = client.require_scopes(*SCOPES)
    started = int(time.time()) if now is None else now
    state_file = state_path(output)
    old, readable = _state_to_build_on(state_file, full)
    plan = plan_reading(
        old,
        shop=shop,
        secret=ids.fingerprint(),
        since=since,
        sees_all="read_all_orders" in client.scopes,
        now=started,
        full=full,
    )
    read = rows_of_orders(read_orders(client, plan.query, bulk=bulk, progress=progress), ids, plan.header.since)
    state = merged(plan, read, started)
    interactions, unknown = interactions_of_rows(state.rows, since, inventory)
    _refuse_nothing(plan, read, state, interactions, shop)
    bad = None
    if not dry_run:
        if not readable:
            bad = set_aside(state_file)
        save_state(state, state_file)
        _write(interactions, Path(output))
    return ExportResult(
        shop,
        plan.what,
        read.counts,
        state.header.complete or since >= started - VISIBLE,
        len(interactions),
        interactions[USER].n_unique(),
        interactions[ITEM].n_unique(),
        unknown,
        bad,
    )


def _state_to_build_on(path: Path, full: bool) -> tuple[OrderState | None, bool]:
    """Returns the state, if there is a usable one, and whether there is no unreadable one."""
    try:
        return load_state(path), True
    except OrderStateError:
        if full:
            return None, False
        raise


def _refuse_nothing(plan: ReadPlan, read: OrdersRead, state: OrderState, interactions: pl.DataFrame, shop: str) -> None:
    """Raises where a first export would be empty, or a later one for its --since only; nothing is replaced then."""
    if interactions.is_empty() and not state.rows.is_empty():
        newest = iso_time(state.rows[TIMESTAMP].max())
        raise ShopifyError(f"the newest order of {shop} is of {newest}, before --since; nothing was written")
    if plan.old is None and state.rows.is_empty():
        why = f" ({read.counts.summary()})" if read.counts.orders else ""
        raise ShopifyError(f"{shop} has no orders of customers to export, {plan.what}{why}; nothing was written")


def _write(interactions: pl.DataFrame, path: Path) -> None:
    if path.suffix == ".parquet":
        with atomic_path(path) as temporary:
            interactions.write_parquet(temporary, compression="zstd")
    else:
        write_interactions(interactions.select(INTERACTION_COLUMNS), path)


def _moment(text: str) -> int:
    try:
        return unix_seconds(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"should be a date such as 2026-01-01. Received: {text!r}") from None


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description="Export a shop's past orders as interactions.")
    parser.add_argument("output", help="file to write: .parquet, or anything else for tab-separated text")
    parser.add_argument("--since", required=True, type=_moment, help="earliest order, as in 2026-01-01 (UTC)")
    parser.add_argument("--inventory", help="snapshot file: categories, and handles, are taken from there")
    parser.add_argument("--full", action="store_true", help="read all orders anew")
    parser.add_argument(
        "--bulk", choices=BULK_CHOICES, default="auto", help="by a bulk operation (auto: where there are many orders)"
    )
    parser.add_argument("--dry-run", action="store_true", help="read and report, write nothing")
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command line; returns 0 where the interactions were written."""
    arguments = _parser().parse_args(argv)
    try:
        ids = ShopperIds.from_environment()
        inventory = load_inventory(arguments.inventory) if arguments.inventory else None
        with ShopifyClient(Settings.from_environment()) as client:
            result = export_orders(
                client,
                arguments.output,
                ids,
                arguments.since,
                inventory=inventory,
                full=arguments.full,
                bulk=arguments.bulk,
                dry_run=arguments.dry_run,
                progress=True,
            )
    except (ShopifyError, SettingsError, InventoryError, InteractionsError, OrderStateError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("Stopped; start again to go on from what was read before", file=sys.stderr)
        return 130
    if result.set_aside:
        print(
            f"warning: the state of the earlier export could not be read; it is kept as {result.set_aside}, and all "
            "orders that the token can see were read anew",
            file=sys.stderr,
        )
    if not result.complete:
        print(
            "warning: without the access scope read_all_orders Shopify shows the orders of the last 60 days only: "
            f"older ones since {iso_time(arguments.since)} are missing, unless an earlier run has read them",
            file=sys.stderr,
        )
    if result.unknown:
        print(
            f"warning: {result.unknown} of {result.products} products are not in {arguments.inventory}; they have "
            "their product type as category",
            file=sys.stderr,
        )
    done = "would be written to" if arguments.dry_run else "written to"
    print(f"{result.shop}: orders {result.what}: {result.counts.summary()}")
    print(
        f"{result.rows} interactions of {result.shoppers} shoppers with {result.products} products {done} "
        f"{arguments.output}"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
