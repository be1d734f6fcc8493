"""What a field of a metaobject may hold, and how Shopify words what it may not.

https://shopify.dev/docs/apps/build/custom-data/metafields/list-of-data-types
"""

import json
import re
from collections.abc import Callable, Mapping
from datetime import date, datetime
from decimal import Decimal
from typing import Any, Final

from scripts.shopify.dev_store.strict_json import read_json

MAX_ELEMENTS: Final = 128
"""Entries of a list at most."""

CATEGORIES: Final = {
    "single_line_text_field": "TEXT",
    "multi_line_text_field": "TEXT",
    "number_integer": "NUMBER",
    "number_decimal": "NUMBER",
    "boolean": "TRUE_FALSE",
    "date": "DATE_TIME",
    "date_time": "DATE_TIME",
    "json": "JSON",
    "url": "URL",
    "product_reference": "REFERENCE",
    "collection_reference": "REFERENCE",
    "metaobject_reference": "REFERENCE",
}
"""Category of each type; all but `boolean`, `json` and long texts also come as `list.TYPE`."""

REFERENCES: Final = {
    "product_reference": ("Product", "Value must be a valid product reference."),
    "collection_reference": ("Collection", "Value must be a valid collection reference."),
    "metaobject_reference": ("Metaobject", "Value must be a valid metaobject reference."),
}
"""Kind that a reference may point to, and what is said of one that does not."""

_SINGLE_ONLY: Final = ("boolean", "json", "multi_line_text_field")
_DATE = re.compile(r"\d{4}-\d\d-\d\d", re.ASCII)
_DATE_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d(:\d\d(\.\d+)?)?(Z|[+-]\d\d:?\d\d)?", re.ASCII)
_NUMBERS: Final = {
    "number_integer": (re.compile(r"-?(0|[1-9][0-9]*)"), "an integer", Decimal("9007199254740991")),
    "number_decimal": (re.compile(r"-?(0|[1-9][0-9]*)(\.[0-9]+)?"), "a decimal", Decimal("9999999999999.999999999")),
}
"""Form of each number type, what it is called, and the largest one; the smallest has the same digits."""

Exists = Callable[[str], bool]


class ValueProblem(ValueError):
    """A value does not fit its field.

    Attributes:
        element: Index of the first list entry that does not fit; None if it is not about one.
    """

    def __init__(self, message: str, element: int | None = None):
        super().__init__(message)
        self.element = element


def category_of(type_name: str) -> str | None:
    """Returns the category of a field type; None if there is no such type."""
    base = type_name.removeprefix("list.")
    if base != type_name and base in _SINGLE_ONLY:
        return None
    return CATEGORIES.get(base)


def is_blank(value: str) -> bool:
    """Whether a value counts as not given."""
    return value.strip() in ("", "[]")


def limit_problem(type_name: str, name: str, value: str) -> str | None:
    """Returns what is wrong with a validation that sets a limit, such as `list.max`; None for nothing.

    Args:
        type_name: Type of the field.
        name: Name of the validation.
        value: Its value.
    """
    if name not in ("list.max", "list.min", "max", "min"):
        return None
    base = type_name.removeprefix("list.")
    if CATEGORIES.get(base) == "DATE_TIME" and not name.startswith("list."):
        return None
    form, what, _ = _NUMBERS[
        "number_decimal" if name in ("max", "min") and base == "number_decimal" else "number_integer"
    ]
    return None if form.fullmatch(value) and len(value) < 20 else f"Validations value for option {name} must be {what}."


def check_value(value: str, definition: Mapping[str, Any], exists: Exists) -> None:
    """Raises where a value does not fit its field.

    Args:
        value: As stored: a text; a list is a JSON text.
        definition: Field definition with `type` (its name) and `validations` ({name, value} each).
        exists: Says whether the object under a GID exists.

    Raises:
        ValueProblem: With Shopify's message, for the first thing that is wrong.
    """
    type_name = definition["type"]
    limits = {validation["name"]: validation["value"] for validation in definition["validations"]}
    base = type_name.removeprefix("list.")
    if base == type_name:
        _check_one(value, base, limits, exists)
        return
    try:
        elements = read_json(value)
    except ValueError:
        raise ValueProblem("Value is invalid JSON.") from None
    if not isinstance(elements, list):
        raise ValueProblem("Value must be an array.")
    most = min(MAX_ELEMENTS, int(limits.get("list.max", MAX_ELEMENTS)))
    if len(elements) > most:
        raise ValueProblem(f"Value has more than {most} elements.")
    if len(elements) < int(limits.get("list.min", 0)):
        raise ValueProblem(f"Value has less than {limits['list.min']} elements.")
    for index, element in enumerate(elements):
        try:
            _check_one(element if isinstance(element, str) else json.dumps(element), base, limits, exists)
        except ValueProblem as problem:
            raise ValueProblem(str(problem), index) from None


def _check_one(value: str, base: str, limits: Mapping[str, str], exists: Exists) -> None:
    if base in REFERENCES:
        kind, message = REFERENCES[base]
        if not value.startswith(f"gid://shopify/{kind}/") or not exists(value):
            raise ValueProblem(message)
    elif base in _NUMBERS:
        form, what, largest = _NUMBERS[base]
        if not form.fullmatch(value):
            raise ValueProblem(f"Value must be {what}.")
        most, least = limits.get("max", largest), limits.get("min", -largest)
        if Decimal(value) > min(largest, Decimal(most)):
            raise ValueProblem(f"Value has a maximum of {most}.")
        if Decimal(value) < max(-largest, Decimal(least)):
            raise ValueProblem(f"Value has a minimum of {least}.")
    elif base == "boolean":
        if value not in ("true", "false"):
            raise ValueProblem("Value must be true or false.")
    elif base == "date":
        _check_time(value if _DATE.fullmatch(value) else "", date.fromisoformat, "Value must be in YYYY-MM-DD format.")
    elif base == "date_time":
        if not _DATE_TIME.fullmatch(value):
            value = ""
        form = "Value must be in “YYYY-MM-DDTHH:MM:SS” format. For example: 2022-06-01T15:30:00"
        _check_time(value, datetime.fromisoformat, form)
    elif base == "json":
        try:
            read_json(value)
        except ValueError:
            raise ValueProblem("Value is invalid JSON.") from None
    elif base == "url":
        if not re.match(r"(https?://|mailto:|sms:|tel:).", value):
            schemes = '["http", "https", "mailto", "sms", "tel"]'
            raise ValueProblem(
                "Value cannot have an empty scheme (protocol), must include one of the following URL schemes: "
                f"{schemes}.'"
            )
    elif base == "single_line_text_field" and "\n" in value:
        raise ValueProblem("Value must be a single line text string.")
    elif "max" in limits and len(value) > int(limits["max"]):
        raise ValueProblem(f"Value has a maximum length of {limits['max']}.")


def _check_time(value: str, read: Callable[[str], Any], message: str) -> None:
    try:
        read(value)
    except ValueError:
        raise ValueProblem(message) from None


def as_json(type_name: str, value: str | None) -> Any:
    """Returns a stored value as what `jsonValue` shows: lists, numbers and booleans are not texts there."""
    if value is None:
        return None
    if type_name.startswith("list.") or type_name in ("json", "boolean", "number_integer"):
        return json.loads(value)
    return value


def as_text(value: Any) -> str:
    """Returns a value of the argument `values` as it is stored."""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
