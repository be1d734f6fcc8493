"""What a local shop holds, as one document that can be compared: the end state of one run with that of another."""

from collections import Counter
from typing import Any

from scripts.shopify.dev_store.state import State

KINDS = ("Product", "ProductVariant", "Collection", "MetaobjectDefinition", "Order", "Customer")
_LINKS = {"collection": ("Product",), "publication": ("Product", "Collection")}
_TIMES = frozenset({"createdAt", "updatedAt", "publishedAt", "publishDate"})


def canonical_state(state: State) -> dict[str, Any]:
    """Returns everything that matters of a shop's state.

    Ids are part of it: a product that was made twice, or made in another order, makes a difference. Times are not, nor
    are the ids of metaobjects: those go by their handles, and a bulk operation that fails midway leaves the rest to a
    second one, which sends them in another order.

    Args:
        state: State of a local shop.

    Returns:
        `{kind: {gid: document}}`, metaobjects by type and handle; and under the name of each link
        `{child gid: sorted parent gids}`.
    """
    document: dict[str, Any] = {kind: {item["id"]: _without_times(item) for item in state.scan(kind)} for kind in KINDS}
    document["Metaobject"] = {
        f"{item['type']}/{item['handle']}": _without_times(item) | {"id": None} for item in state.scan("Metaobject")
    }
    for link, kinds in _LINKS.items():
        document[link] = {gid: sorted(state.parents(link, gid)) for kind in kinds for gid in document[kind]}
    return document


def state_counts(state: State) -> dict[str, int]:
    """Counts what a shop holds.

    Returns:
        Products, distinct handles, collections, products in a collection, products published, metaobjects.
    """
    products = list(state.scan("Product"))
    links = {link: Counter(bool(state.parents(link, item["id"])) for item in products)[True] for link in _LINKS}
    return {
        "products": len(products),
        "handles": len({item["handle"] for item in products}),
        "collections": state.count("Collection"),
        "in_collections": links["collection"],
        "published": links["publication"],
        "metaobjects": state.count("Metaobject"),
    }


def differences(expected: dict[str, Any], received: dict[str, Any], limit: int = 20) -> list[str]:
    """Says where two canonical states differ, at most `limit` lines; empty where they are the same."""
    lines: list[str] = []
    for section in sorted(expected.keys() | received.keys()):
        left, right = expected.get(section, {}), received.get(section, {})
        lines += [f"{section} {key}: missing" for key in left.keys() - right.keys()]
        lines += [f"{section} {key}: too much" for key in right.keys() - left.keys()]
        lines += [
            f"{section} {key}: {right[key]} instead of {left[key]}"
            for key in left.keys() & right.keys()
            if left[key] != right[key]
        ]
    return sorted(lines)[:limit]


def _without_times(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _without_times(item) for key, item in value.items() if key not in _TIMES}
    return [_without_times(item) for item in value] if isinstance(value, list) else value
