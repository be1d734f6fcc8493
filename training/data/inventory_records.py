"""Validation of single product records of an inventory snapshot."""

import math
import re
from collections.abc import Mapping
from typing import Any

_GID = re.compile(r"gid://shopify/Product/[1-9][0-9]*")
_HANDLE = re.compile(r"[^\s/?#]+")
_MAX_DEPTH = 8  # of an attribute; deeper, or containing itself, is not a catalogue


class InventoryError(ValueError):
    """The snapshot cannot be read, or does not describe a catalogue."""


class InventoryWarning(UserWarning):
    """The snapshot is usable, but something was decided on the way."""


def checked_record(record: Any, number: int) -> dict[str, Any]:
    """Returns a plain copy of a product record, or says what is wrong with it.

    Args:
        record: `{id, handle, title, category, ...attributes}`, or with `collections` instead of `category`.
        number: Its place in the list, for the message.

    Returns:
        The record as dicts, lists and scalars. `category` may still be missing or empty.

    Raises:
        InventoryError: For missing keys, wrong types, a malformed GID or handle.
    """
    if not isinstance(record, Mapping):
        raise InventoryError(f"products[{number}] should be a dict. Received: {type(record).__name__}")
    missing = [key for key in ("id", "handle", "title") if key not in record]
    if "category" not in record and "collections" not in record:
        missing.append("category")
    if missing:
        raise InventoryError(
            f"products[{number}] should have id, handle, title, category. Missing: {', '.join(missing)}"
        )
    product: dict[str, Any] = _plain(record, f"products[{number}]")
    for key in ("id", "handle", "title", "category"):
        value = product.get(key)
        if key == "category" and (value is None or value == ""):
            continue
        if not isinstance(value, str) or not value.strip() or any(ord(letter) < 32 for letter in value):
            raise InventoryError(
                f"products[{number}][{key!r}] should be text without tabs and line breaks. Received: {value!r}"
            )
    if not _GID.fullmatch(product["id"]):
        raise InventoryError(
            f"products[{number}]['id'] should be like gid://shopify/Product/123. Received: {product['id']!r}"
        )
    if not _HANDLE.fullmatch(product["handle"]):
        raise InventoryError(
            f"products[{number}]['handle'] should be without spaces, '/', '?' and '#'. Received: {product['handle']!r}"
        )
    collections = product.get("collections")
    if collections is not None and not (
        isinstance(collections, list) and all(isinstance(name, str) and name.strip() for name in collections)
    ):
        raise InventoryError(f"products[{number}]['collections'] should be a list of names. Received: {collections!r}")
    return product


def _plain(value: Any, where: str, depth: int = 0) -> Any:
    """Copies `value` as dicts with text keys, lists and scalars; anything else is an error."""
    if isinstance(value, float) and not math.isfinite(value):
        raise InventoryError(f"{where} should be a finite number. Received: {value}")
    if value is None or isinstance(value, str | bool | int | float):
        return value
    if depth < _MAX_DEPTH and isinstance(value, Mapping) and all(isinstance(key, str) for key in value):
        return {key: _plain(item, f"{where}[{key!r}]", depth + 1) for key, item in value.items()}
    if depth < _MAX_DEPTH and isinstance(value, list | tuple):
        return [_plain(item, f"{where}[{index}]", depth + 1) for index, item in enumerate(value)]
    raise InventoryError(f"{where} should be text, a number, a list or a dict. Received: {type(value).__name__}")
