"""Plausible past orders for a local shop, from the sessions of the interaction generator.

Some sessions end in an order of a few of the products that were looked at, as real ones do, so that what is learned
from the orders is what the generator put in. A few percent are what an export has to cope with: guests, the till,
test orders, cancelled and refunded ones, items that are no product of the catalogue, and products that are gone.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from numpy.typing import NDArray

from scripts.ml.generate_interactions import Interactions, generate
from scripts.shopify.dev_store.orders import add_customer, add_order
from training.data.inventory import Inventory

if TYPE_CHECKING:
    from scripts.shopify.dev_store import DevStore

ORDERS_A_USER: Final = 3
"""Orders of a shopper in the mean."""
CHECKOUT: Final = 120
"""Seconds from the last product that a shopper looked at to the order."""
_DAY: Final = 86_400


@dataclass(frozen=True)
class Shares:
    """How probable the unusual is: of an order, and for the last two of a product in it.

    Attributes:
        guest: Ordered without an account.
        till: Sold at the point of sale, without an account.
        test: A test of the merchant's.
        cancelled: Cancelled, and all of it refunded.
        refunded: All of it came back.
        partly_refunded: One line came back, or a piece of it.
        custom: Has a custom item besides, such as gift wrapping.
        deleted: The product has been deleted since.
        buying: A product of the session is bought; one always is.
    """

    guest: float = 0.05
    till: float = 0.02
    test: float = 0.01
    cancelled: float = 0.03
    refunded: float = 0.02
    partly_refunded: float = 0.03
    custom: float = 0.02
    deleted: float = 0.02
    buying: float = 0.6


_SHARES: Final = Shares()


@dataclass(frozen=True)
class PastOrders:
    """The orders that were added, and the visits that they come from.

    Attributes:
        orders: How many.
        interactions: All visits of all shoppers, those without an order too; in the generator's own time.
        shift: Seconds to add to a time of `interactions` to have the shop's; an order follows `CHECKOUT` seconds after
            the last step of its visit.
        customers: Number of a shopper in `interactions` -> GID of the customer; shoppers who ordered as guests only, or
            nothing, are left out.
    """

    orders: int
    interactions: Interactions
    shift: int
    customers: dict[int, str]


def make_orders(store: "DevStore", inventory: Inventory, *, orders: int, days: int = 120, seed: int = 42) -> int:
    """Adds past orders to a shop; the newest is of the store's now.

    Args:
        store: The shop.
        inventory: Products that shoppers look at. Those that the shop lacks (by handle) count as deleted.
        orders: How many orders.
        days: Length of the time over which they came.
        seed: Same seed, same orders.

    Returns:
        The number of orders added.

    Raises:
        ValueError: The shop has none of the products, or `orders` is not positive.
    """
    return make_past(store, inventory, orders=orders, days=days, seed=seed).orders


def make_past(store: "DevStore", inventory: Inventory, *, orders: int, days: int = 120, seed: int = 42) -> PastOrders:
    """Adds past orders as `make_orders` does, and returns the visits behind them, of which a tracker would tell.

    Args:
        store: The shop.
        inventory: Products that shoppers look at.
        orders: How many orders.
        days: Length of the time over which they came.
        seed: Same seed, same orders and visits.

    Raises:
        ValueError: The shop has none of the products, or `orders` is not positive.
    """
    if orders < 1:
        raise ValueError(f"`orders` should be a positive integer. Received: orders = {orders}")
    found = [store.state.find("Product", handle) for handle in inventory.handles]
    if not any(found):
        raise ValueError("the shop has none of the inventory's products: populate it first")
    interactions = _enough(inventory, orders, days, seed)
    rng = np.random.default_rng([seed, 1])
    starts = np.flatnonzero(interactions.plan.start)
    stops = np.append(starts[1:], len(interactions.product))
    chosen = rng.choice(len(starts), orders, replace=False)
    times = interactions.plan.timestamp
    chosen = chosen[np.argsort(times[stops[chosen] - 1], kind="stable")]
    shift = int(store.clock()) - int(times[stops[chosen[-1]] - 1])
    user_of = np.searchsorted(interactions.plan.offsets, starts[chosen], side="right") - 1
    customers: dict[int, str] = {}
    with store.state.transaction():
        for session, user in zip(chosen, user_of, strict=True):
            seen = interactions.product[starts[session] : stops[session]]
            moment = int(times[stops[session] - 1]) + shift
            _one_order(store, [found[number] for number in seen], inventory, seen, int(user), moment, customers, rng)
    return PastOrders(orders, interactions, shift - CHECKOUT, customers)


def _enough(inventory: Inventory, orders: int, days: int, seed: int) -> Interactions:
    """Simulates as many shoppers as it takes for twice as many sessions as orders."""
    users = max(1, -(-orders // ORDERS_A_USER))
    while True:
        interactions = generate(inventory, users=users, days=days, seed=seed)
        if interactions.plan.start.sum() >= 2 * orders:
            return interactions
        users *= 2


def _one_order(
    store: "DevStore",
    products: list[dict[str, Any] | None],
    inventory: Inventory,
    seen: NDArray[np.signedinteger],
    user: int,
    moment: int,
    customers: dict[int, str],
    rng: np.random.Generator,
) -> None:
    bought = rng.random(len(products)) < _SHARES.buying
    bought[rng.integers(len(products))] = True
    lines: list[dict[str, Any]] = []
    for number in np.flatnonzero(bought):
        product, quantity = products[number], int(rng.choice([1, 2, 3], p=[0.85, 0.11, 0.04]))
        if product is None or rng.random() < _SHARES.deleted:
            record = inventory.products[seen[number]]
            lines.append({"title": record["title"], "product": None, "quantity": quantity, "sku": record["handle"]})
        else:
            line = {"title": product["title"], "product": product["id"], "quantity": quantity}
            lines.append({**line, "sku": product["handle"]})
    if rng.random() < _SHARES.custom:
        lines.append({"title": "Gift wrapping"})
    guest, till = rng.random() < _SHARES.guest, rng.random() < _SHARES.till
    customer = None
    if not (guest or till):
        if user not in customers:
            customers[user] = add_customer(store, moment)["id"]
        customer = customers[user]
    later = min(int(store.clock()), moment + int(rng.uniform(0.05, 12) * _DAY))
    fate, cancelled_at, updated_at = rng.random(), None, moment
    if fate < _SHARES.cancelled + _SHARES.refunded:
        updated_at = later
        cancelled_at = later if fate < _SHARES.cancelled else None
        for line in lines:
            line["currentQuantity"] = 0
    elif fate < _SHARES.cancelled + _SHARES.refunded + _SHARES.partly_refunded:
        updated_at = later
        line = lines[rng.integers(len(lines))]
        line["currentQuantity"] = int(rng.integers(line.get("quantity", 1)))
    add_order(
        store,
        processedAt=moment,
        updatedAt=updated_at,
        cancelledAt=cancelled_at,
        test=bool(rng.random() < _SHARES.test),
        sourceName="pos" if till else "web",
        customer=customer,
        lineItems=lines,
    )
