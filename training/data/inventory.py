"""Inventory snapshot (contract 1): load, validate, save.

A snapshot is a plain document with four keys: `category_to_products_dict` (category -> [title]),
`title_to_handle_dict` (title -> handle), `handle_to_id_dict` (handle -> GID) and `products`, the complete list of
records `{id, handle, title, category, ...attributes}` from which the three maps derive.

What happens to unusual catalogues:

- two products with one title: both stay in `products`; the title map keeps the first, with a warning;
- two products with one handle or one GID: an error;
- a product in several collections (`collections: [...]` and no `category`): the first by `category_order`, else the
  first in the product's own list, with a warning;
- a product in no collection: category `Uncategorized`, with a warning.
"""

import json
import os
import pickle
import warnings
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Final, NoReturn

from training.data.inventory_records import InventoryError, InventoryWarning, checked_record
from training.files import atomic_path

__all__ = [
    "Inventory",
    "InventoryError",
    "InventoryWarning",
    "inventory_from_records",
    "load_inventory",
    "save_inventory",
]

UNCATEGORIZED: Final = "Uncategorized"
MAPS: Final = ("category_to_products_dict", "title_to_handle_dict", "handle_to_id_dict")
SUFFIXES: Final = (".pkl", ".json")

_MAX_LISTED = 10


@dataclass(frozen=True)
class Inventory:
    """A validated catalogue. Build it with `load_inventory` or `inventory_from_records`.

    Attributes:
        products: Records `{id, handle, title, category, ...attributes}` in catalogue order; handles and ids are unique.
    """

    products: tuple[dict[str, Any], ...]

    @cached_property
    def handles(self) -> tuple[str, ...]:
        """Handles in product order."""
        return tuple(product["handle"] for product in self.products)

    @cached_property
    def categories(self) -> tuple[str, ...]:
        """Distinct categories in order of first appearance."""
        return tuple(dict.fromkeys(product["category"] for product in self.products))

    @cached_property
    def category_of(self) -> dict[str, str]:
        """Category by handle."""
        return {product["handle"]: product["category"] for product in self.products}

    @cached_property
    def category_to_products_dict(self) -> dict[str, list[str]]:
        """Titles by category; a title that repeats within its category is listed once."""
        titles: dict[str, dict[str, None]] = {category: {} for category in self.categories}
        for product in self.products:
            titles[product["category"]][product["title"]] = None
        return {category: list(names) for category, names in titles.items()}

    @cached_property
    def title_to_handle_dict(self) -> dict[str, str]:
        """Handle by title; of several products with one title, the first."""
        handles: dict[str, str] = {}
        for product in self.products:
            handles.setdefault(product["title"], product["handle"])
        return handles

    @cached_property
    def handle_to_id_dict(self) -> dict[str, str]:
        """GID by handle."""
        return {product["handle"]: product["id"] for product in self.products}

    def document(self) -> dict[str, Any]:
        """Returns the snapshot as plain dicts, lists and strings, ready to be written."""
        return {
            "category_to_products_dict": self.category_to_products_dict,
            "title_to_handle_dict": self.title_to_handle_dict,
            "handle_to_id_dict": self.handle_to_id_dict,
            "products": list(self.products),
        }


class _PlainUnpickler(pickle.Unpickler):
    """Reads dicts, lists and strings; resolves no global at all, so that loading never executes anything."""

    def find_class(self, module_name: str, global_name: str, /) -> NoReturn:
        raise InventoryError(
            f"An inventory snapshot should be a pickle of plain dicts, lists and strings. Received: one that asks for "
            f"`{module_name}.{global_name}`; nothing of it was executed. Do not use this file."
        )


def load_inventory(path: str | os.PathLike[str]) -> Inventory:
    """Loads and validates a snapshot without executing anything in it.

    Args:
        path: A `.pkl` or `.json` snapshot. With `products`, the maps may be missing; without, all three are needed.

    Returns:
        The validated inventory.

    Raises:
        InventoryError: If the file is missing, unreadable or not a valid snapshot.
    """
    source = Path(path)
    suffix = _checked_suffix(source)
    if not source.is_file():
        raise InventoryError(f"`path` should be an inventory snapshot file. Received: {source}, which is not a file")
    try:
        with source.open("rb") as stream:
            document = _PlainUnpickler(stream).load() if suffix == ".pkl" else json.load(stream)
    except InventoryError:
        raise
    except Exception as error:  # broken bytes raise whatever they hit first
        raise InventoryError(
            f"{source} is not a readable {suffix} snapshot: {error or type(error).__name__}"
        ) from error
    return _from_document(document, source)


def save_inventory(inventory: Inventory, path: str | os.PathLike[str]) -> None:
    """Writes a snapshot atomically, as `.pkl` or `.json` by the suffix of `path`.

    Raises:
        InventoryError: If the suffix is neither.
    """
    suffix = _checked_suffix(Path(path))
    # Through JSON: proves that only plain values are inside, and makes the pickle independent of object identities.
    text = json.dumps(inventory.document(), indent=1, ensure_ascii=False, allow_nan=False)
    with atomic_path(path) as temporary:
        if suffix == ".json":
            temporary.write_text(text + "\n", encoding="utf-8")
        else:
            temporary.write_bytes(pickle.dumps(json.loads(text), protocol=4))


def inventory_from_records(
    records: Iterable[Mapping[str, Any]], category_order: Sequence[str] | None = None
) -> Inventory:
    """Builds a validated inventory from product records.

    Args:
        records: `{id, handle, title, category, ...attributes}`; `collections: [...]` may stand instead of `category`.
        category_order: Which collection wins for products in several; default: the order of the product's own list.

    Returns:
        The inventory, products in the order of `records`.

    Raises:
        InventoryError: For missing keys, wrong types, malformed GIDs or handles, or ones that repeat.
    """
    products: list[dict[str, Any]] = []
    several: list[str] = []
    none: list[str] = []
    for number, record in enumerate(records):
        product = checked_record(record, number)
        if not product.get("category"):
            collections: list[str] = product.get("collections") or []
            product["category"] = _first_collection(collections, category_order)
            if len(collections) > 1:
                several.append(f"{product['handle']} -> {product['category']}")
            elif not collections:
                none.append(product["handle"])
        keys = ("id", "handle", "title", "category")
        products.append({key: product[key] for key in keys} | {k: v for k, v in product.items() if k not in keys})
    if not products:
        raise InventoryError("`products` should hold at least one product. Received: none")
    for key in ("handle", "id"):
        repeated = _repeated(product[key] for product in products)
        if repeated:
            raise InventoryError(f"Every product should have its own `{key}`. Received repeatedly: {_listed(repeated)}")
    _warn("Products in several collections; one was chosen by the stated order", several)
    _warn(f"Products in no collection; their category is {UNCATEGORIZED!r}", none)
    _warn(
        "Titles of several products; the title map keeps the first, `products` keeps all",
        _repeated(product["title"] for product in products),
    )
    return Inventory(products=tuple(products))


def _from_document(document: Any, source: Path) -> Inventory:
    if not isinstance(document, dict):
        raise InventoryError(f"{source} should hold a dict. Received: {type(document).__name__}")
    present: dict[str, Any] = document
    for key in MAPS:
        if key in present and not isinstance(present[key], dict):
            raise InventoryError(f"`{key}` should be a dict. Received: {type(present[key]).__name__}")
    if "products" in present:
        if not isinstance(present["products"], list):
            raise InventoryError(f"`products` should be a list. Received: {type(present['products']).__name__}")
        inventory = inventory_from_records(present["products"])
        _check_agreement(present, inventory)
        return inventory
    missing = [key for key in MAPS if key not in present]
    if missing:
        raise InventoryError(
            f"{source} should hold `products` or the three maps. Missing: products, {', '.join(missing)}"
        )
    return inventory_from_records(_records_from_maps(*(present[key] for key in MAPS)))


def _records_from_maps(
    titles_of: Mapping[Any, Any], handle_of: Mapping[Any, Any], id_of: Mapping[Any, Any]
) -> list[dict[str, Any]]:
    """Derives records from the three maps; a handle or title without its counterpart is an error."""
    collections: dict[Any, list[Any]] = {title: [] for title in handle_of}
    unknown: list[str] = []
    for category, titles in titles_of.items():
        if not isinstance(titles, list):
            raise InventoryError(
                f"`category_to_products_dict` should map to lists of titles. Received: {category!r} -> {titles!r}"
            )
        for title in titles:
            if not isinstance(title, str) or title not in collections:
                unknown.append(repr(title))
            else:
                collections[title].append(category)
    if unknown:
        raise InventoryError(f"`title_to_handle_dict` should have every title. Missing: {_listed(unknown)}")
    without_id = [repr(handle) for handle in handle_of.values() if not isinstance(handle, str) or handle not in id_of]
    if without_id:
        raise InventoryError(f"`handle_to_id_dict` should have every handle. Missing: {_listed(without_id)}")
    without_title = sorted(repr(handle) for handle in set(id_of) - set(handle_of.values()))
    if without_title:
        raise InventoryError(f"`title_to_handle_dict` should lead to every handle. Missing: {_listed(without_title)}")
    return [
        {"id": id_of[handle], "handle": handle, "title": title}
        | ({"category": names[0]} if len(names) == 1 else {"collections": names})
        for (title, handle), names in zip(handle_of.items(), collections.values(), strict=True)
    ]


def _check_agreement(document: Mapping[str, Any], inventory: Inventory) -> None:
    """Raises if a stored map says something else than the products; the order of titles does not matter."""
    derived = inventory.document()
    for key in MAPS:
        stored, expected = _as_sets(document.get(key, derived[key])), _as_sets(derived[key])
        differing = [repr(name) for name in {**stored, **expected} if stored.get(name) != expected.get(name)]
        if differing:
            raise InventoryError(f"`{key}` should agree with `products`. It differs at: {_listed(differing)}")


def _as_sets(entries: Mapping[Any, Any]) -> dict[Any, Any]:
    return {key: sorted(set(map(repr, value))) if isinstance(value, list) else value for key, value in entries.items()}


def _first_collection(collections: Sequence[str], category_order: Sequence[str] | None) -> str:
    if not collections:
        return UNCATEGORIZED
    rank = {name: place for place, name in enumerate(category_order or ())}
    return min(collections, key=lambda name: rank.get(name, len(rank)))  # min keeps the first of equals


def _checked_suffix(path: Path) -> str:
    if path.suffix not in SUFFIXES:
        raise InventoryError(f"`path` should end with .pkl or .json. Received: {path}")
    return path.suffix


def _repeated(values: Iterable[str]) -> list[str]:
    return [value for value, count in Counter(values).items() if count > 1]


def _listed(names: Sequence[str]) -> str:
    more = f" and {len(names) - _MAX_LISTED} more" if len(names) > _MAX_LISTED else ""
    return ", ".join(names[:_MAX_LISTED]) + more


def _warn(what: str, names: Sequence[str]) -> None:
    if names:
        warnings.warn(f"{what}: {_listed(names)}", InventoryWarning, stacklevel=3)
