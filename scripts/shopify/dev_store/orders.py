"""Orders: read page by page, counted, and added by the shop itself; older ones need the scope `read_all_orders`.

https://shopify.dev/docs/api/admin-graphql/latest/queries/orders
"""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

from scripts.shopify.dev_store.catalogue_rules import count_of
from scripts.shopify.dev_store.pagination import Listed, Scanned, page
from scripts.shopify.dev_store.registry import Context, node_loader, resolver
from scripts.shopify.dev_store.search import Field, compile_search
from scripts.shopify.dev_store.state import State, gid, split_gid
from scripts.shopify.dev_store.times import parse_time, utc_text

if TYPE_CHECKING:
    from scripts.shopify.dev_store import DevStore

SECONDS_SEEN: Final = 60 * 86_400
"""Age of the oldest order that is seen without `read_all_orders`."""
MAX_LINES: Final = 1000
"""Line items are numbered in their order, so many numbers for each."""
_SEARCHED = {
    "created_at": Field(lambda order: order["createdAt"], "time"),
    "customer_id": Field(lambda order: order["customer"], "number"),
    "id": Field(lambda order: order["id"], "number"),
    "name": Field(lambda order: order["name"]),
    "processed_at": Field(lambda order: order["processedAt"], "time"),
    "sku": Field(lambda order: [line["sku"] for line in order["lineItems"]]),
    "source_name": Field(lambda order: order["sourceName"]),
    "status": Field(lambda order: _statuses(order)),
    "test": Field(lambda order: order["test"], "boolean"),
    "updated_at": Field(lambda order: order["updatedAt"], "time"),
}
_SORTED = {"CREATED_AT": "createdAt", "PROCESSED_AT": "processedAt", "UPDATED_AT": "updatedAt"}

Json = dict[str, Any]


def _statuses(order: Json) -> list[str]:
    """Returns the values of the filter `status` that find an order; nothing here is ever closed (archived)."""
    return ["any", "not_closed", "cancelled" if order["cancelledAt"] else "open"]


def add_customer(store: "DevStore", since: float | None = None) -> Json:
    """Adds a customer, of whom nothing but an id is known.

    Args:
        store: The shop.
        since: UNIX seconds; by default now.

    Returns:
        The stored document.
    """
    moment = utc_text(store.clock() if since is None else since)
    return store.state.insert("Customer", {"createdAt": moment, "updatedAt": moment})


def add_order(store: "DevStore", **fields: Any) -> Json:
    """Adds an order.

    Args:
        store: The shop.
        fields: Fields of the order. `customer` is a GID or None; `lineItems` are dicts of which everything but `title`
            may be left out: `product` is a GID or None, `quantity` 1, `currentQuantity` as `quantity`, `sku` None.
            Times may be ISO 8601 texts or UNIX seconds. By default it is of a guest, from the online store, and now.

    Returns:
        The stored document.

    Raises:
        TypeError: An order or a line has no such field.
    """
    moment = _time(fields.pop("processedAt", store.clock()))
    order = {
        "name": None,
        "createdAt": moment,
        "processedAt": moment,
        "updatedAt": moment,
        "cancelledAt": None,
        "test": False,
        "sourceName": "web",
        "customer": None,
        "lineItems": [],
    }
    if unknown := fields.keys() - order.keys():
        raise TypeError(f"an order has no field {', '.join(sorted(unknown))}")
    order |= {name: _time(value) if name.endswith("At") else value for name, value in fields.items()}
    with store.state.transaction():
        order["lineItems"] = [_line_item(store.state, **line) for line in order["lineItems"]]
        number = split_gid(store.state.insert("Order", order)["id"])[1]
        order["name"] = order["name"] or f"#{1000 + number}"
        for index, line in enumerate(order["lineItems"], 1):
            line["id"] = gid("LineItem", number * MAX_LINES + index)
        store.state.put(order)
        return order


def _line_item(
    state: State,
    *,
    title: str | None = None,
    product: str | None = None,
    quantity: int = 1,
    currentQuantity: int | None = None,
    sku: str | None = None,
) -> Json:
    if title is None:
        title = ((state.get(product) if product else None) or {"title": "Custom item"})["title"]
    return {
        "id": None,
        "title": title,
        "product": product,
        "quantity": quantity,
        "currentQuantity": quantity if currentQuantity is None else currentQuantity,
        "sku": sku,
    }


def _time(value: Any) -> Any:
    return utc_text(value) if isinstance(value, int | float) else value


def _visible(context: Context) -> Callable[[Json], bool]:
    """Returns what says whether a caller sees an order; nothing hints at those that are not seen."""
    if "read_all_orders" in context.scopes:
        return lambda order: True
    oldest = context.now() - SECONDS_SEEN
    return lambda order: parse_time(order["createdAt"]) >= oldest


def _found(context: Context, query: str | None) -> Callable[[Json], bool]:
    visible, matches = _visible(context), compile_search(query, _SEARCHED, ("name",))
    return lambda order: visible(order) and matches(order)


@resolver("QueryRoot", "orders", scope="read_orders")
def orders(source: Any, info: Any, query: str | None = None, sortKey: str = "PROCESSED_AT", **arguments: Any) -> Json:
    """Returns a page of the orders that are seen and match."""
    context: Context = info.context
    keep, field = _found(context, query), _SORTED.get(sortKey)
    if field is None:
        return page(info, Scanned(context.state, "Order", keep), arguments)
    memo = getattr(context, "memo", {})  # a bulk query asks for page after page of the same
    source = memo.get((query, field)) or _sorted_orders(context.state, keep, field)
    memo[query, field] = source
    return page(info, source, arguments)


def _sorted_orders(state: State, keep: Callable[[Json], bool], field: str) -> Listed:
    """Returns the orders that match, as ids in the order of a time."""
    times = {each["id"]: each[field] for each in state.scan("Order") if keep(each)}
    return Listed(list(times), key=lambda id: times[id], load=lambda id: state.get(id) or {})


@resolver("QueryRoot", "ordersCount", scope="read_orders")
def orders_count(source: Any, info: Any, query: str | None = None, limit: int | None = 10_000) -> Json:
    """Counts the orders that are seen and match, up to a limit."""
    context: Context = info.context
    return count_of(sum(map(_found(context, query), context.state.scan("Order"))), limit)


@node_loader("Order")
def _load_order(context: Context, id: str) -> Json | None:
    found = context.state.get(id) if "/Order/" in id else None
    return found if found is not None and _visible(context)(found) else None


@node_loader("LineItem")
def _load_line_item(context: Context, id: str) -> Json | None:
    found = _load_order(context, gid("Order", split_gid(id)[1] // MAX_LINES))
    return next((line for line in (found or {"lineItems": []})["lineItems"] if line["id"] == id), None)


@resolver("QueryRoot", "order", scope="read_orders")
def order(source: Any, info: Any, id: str) -> Json | None:
    """Returns an order by its id."""
    return _load_order(info.context, id)


@resolver("QueryRoot", "customer", scope="read_customers")
def customer_by_id(source: Any, info: Any, id: str) -> Json | None:
    """Returns a customer by its id."""
    return info.context.state.get(id) if "/Customer/" in id else None


@resolver("Order", "customer", scope="read_customers")
def customer(source: Json, info: Any) -> Json | None:
    """Returns who ordered; null for guests."""
    return info.context.state.get(source["customer"]) if source["customer"] else None


@resolver("Order", "lineItems")
def line_items(source: Json, info: Any, **arguments: Any) -> Json:
    """Returns a page of what was ordered."""
    return page(info, Listed(source["lineItems"]), arguments)


@resolver("LineItem", "product", scope="read_products")
def product(source: Json, info: Any) -> Json | None:
    """Returns the product that was ordered; null for a custom item and for one that was deleted since."""
    return info.context.state.get(source["product"]) if source["product"] else None
