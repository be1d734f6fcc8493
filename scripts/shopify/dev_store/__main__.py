"""Starts the local shop in the foreground, for people without a shop of their own.

    python -m scripts.shopify.dev_store [--populate] [--orders 2000]

It prints the environment variables that point the commands at it, and the address of its storefront page. Its state
stays in the file given by --path.
"""

import argparse
import os
import signal
import sys
import threading
from collections.abc import Sequence
from pathlib import Path

from scripts.shopify.answers import ShopifyError
from scripts.shopify.client import ShopifyClient
from scripts.shopify.dev_store import ALL_SCOPES, DevStore, StateError
from scripts.shopify.dev_store.access import with_implied
from scripts.shopify.dev_store.bucket import PLANS
from scripts.shopify.dev_store.connection import MAX_PORT
from scripts.shopify.dev_store.past_orders import make_orders
from scripts.shopify.populate_inventory import populate
from scripts.shopify.settings import Settings
from training.data.inventory import Inventory, InventoryError, load_inventory

PORT = 8765
SECRET = "SLIREC_HMAC_SECRET"


def fill(store: DevStore, inventory: Inventory, *, products: bool, orders: int, seed: int = 0) -> str:
    """Puts products and past orders into a running shop.

    Args:
        store: The shop.
        inventory: Products to have there.
        products: Whether to populate the shop with them.
        orders: Past orders to have there, of products of the inventory. They are made only where the shop has none:
            more of them would be the same shoppers' sessions again.
        seed: Seed of the orders.

    Returns:
        What was done, in words.

    Raises:
        ShopifyError: The shop refused something.
    """
    done: list[str] = []
    if products:
        plan = store.plan
        store.set_plan("enterprise")  # one's own shop need not be filled at the pace of its plan
        try:
            with ShopifyClient(Settings(store_url=store.url, access_token=store.access_token)) as client:
                result = populate(client, inventory, progress=True)
        finally:
            store.set_plan(plan)
        done.append(f"{result.created} products created, {result.unchanged} there already")
    present = store.state.count("Order") if orders else 0
    if present:
        advice = "" if present >= orders else f"; for {orders}, start a new shop with another --path"
        done.append(f"{present} orders there already, none added{advice}")
    elif orders:
        done.append(f"{make_orders(store, inventory, orders=orders, seed=seed)} orders added")
    return "; ".join(done)


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command line; returns 0 after Ctrl+C or SIGTERM."""
    parser = argparse.ArgumentParser(
        prog="python -m scripts.shopify.dev_store",
        description="Run a local shop with Shopify's Admin and Storefront API.",
    )
    parser.add_argument(
        "--path", type=Path, default=Path("data/dev_store.db"), help="SQLite file of the shop's state, or :memory:"
    )
    parser.add_argument("--port", type=int, default=PORT, help="port of 127.0.0.1; 0 takes a free one")
    parser.add_argument("--plan", choices=list(PLANS), default="standard", help="Shopify plan: how fast one may ask")
    parser.add_argument("--scopes", nargs="+", default=ALL_SCOPES, metavar="SCOPE", help="access scopes of the app")
    parser.add_argument("--fault-every", type=int, default=0, metavar="N", help="every N-th request meets a fault")
    parser.add_argument("--populate", action="store_true", help="fill the shop with the products of --inventory")
    parser.add_argument(
        "--orders", type=int, default=0, metavar="N", help="make N plausible past orders, if the shop has none"
    )
    parser.add_argument("--inventory", default="training/inventory.pkl", help="snapshot file, .pkl or .json")
    parser.add_argument("--seed", type=int, default=0, help="seed of the past orders")
    arguments = parser.parse_args(argv)
    for option, number in (("--fault-every", arguments.fault_every), ("--orders", arguments.orders)):
        if number < 0:
            parser.error(f"{option} should be 0 or more. Received: {number}")
    if not 0 <= arguments.port <= MAX_PORT:
        parser.error(f"--port should be from 0 to {MAX_PORT}. Received: {arguments.port}")
    known = with_implied(ALL_SCOPES)
    if unknown := sorted(set(arguments.scopes) - known):
        parser.error(f"--scopes should be of {', '.join(sorted(known))}. Received: {', '.join(unknown)}")
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    kept, serving = str(arguments.path) != ":memory:", False
    try:
        # First, so that a wrong --inventory leaves no empty shop behind.
        inventory = load_inventory(arguments.inventory) if arguments.populate or arguments.orders else None
        arguments.path.parent.mkdir(parents=True, exist_ok=True)
        with DevStore(arguments.path, plan=arguments.plan, scopes=arguments.scopes, port=arguments.port) as store:
            if inventory is not None:
                done = fill(store, inventory, products=arguments.populate, orders=arguments.orders, seed=arguments.seed)
                print(done, file=sys.stderr)
            store.faults.every(arguments.fault_every)
            serving = True  # whoever reads the lines may stop the shop at once
            print(*_exports(store), sep="\n")
            stays = f"stays in {arguments.path}" if kept else "goes with it"
            print(f"# Storefront page: {store.url}/ (Ctrl+C stops the shop; its state {stays})", flush=True)
            threading.Event().wait()
    except OSError as error:
        named = f"{error.filename}: {error.strerror}" if error.filename else error
        print(f"error: {named}", file=sys.stderr)
        return 1
    except (StateError, ShopifyError, InventoryError, ValueError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        ending = f"start it again with --path {arguments.path} to go on" if kept else "its state is gone"
        print(f"Stopped; {ending}", file=sys.stderr)
        return 0 if serving else 130
    return 0


def _exports(store: DevStore) -> list[str]:
    """Returns the lines that point a shell at the shop; a secret of the user's own is not repeated."""
    own = bool(os.environ.get(SECRET, "").strip())
    lines = [f"export {name}={value}" for name, value in store.environment().items() if not (own and name == SECRET)]
    return [*lines, f"# {SECRET} is the one of this shell"] if own else lines


if __name__ == "__main__":
    sys.exit(main())
