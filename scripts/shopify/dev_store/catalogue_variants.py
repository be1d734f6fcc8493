"""Options and variants of a product as productSet replaces them: both lists together, or neither.

https://shopify.dev/docs/api/admin-graphql/latest/mutations/productSet
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from scripts.shopify.dev_store.catalogue_rules import UserErrors, checked_price, child_gid, given, user_error
from scripts.shopify.dev_store.catalogue_stock import checked_stock
from scripts.shopify.dev_store.state import Document

MAX_OPTIONS = 3
MAX_VARIANTS = 2048
DEFAULT_OPTION, DEFAULT_VALUE = "Title", "Default Title"
"""What a product without options has in their place."""

DEFAULT_INPUT: Mapping[str, Any] = {
    "productOptions": [{"name": DEFAULT_OPTION, "values": [{"name": DEFAULT_VALUE}]}],
    "variants": [{"optionValues": [{"optionName": DEFAULT_OPTION, "name": DEFAULT_VALUE}]}],
}
_PLAIN_FIELDS = ("sku", "barcode", "taxable", "inventoryPolicy")


def checked_options_and_variants(
    values: Mapping[str, Any], product: str, present: Mapping[str, Any]
) -> tuple[list[Document], list[Document]]:
    """Returns the options and variants that a product has when an input is carried out.

    An option that keeps its id or name and a variant that keeps its id or option values are the same as before.

    Args:
        values: `ProductSetInput` with `productOptions` and `variants`.
        product: GID of the product.
        present: The product now; `options` and `variants` may be missing.

    Raises:
        UserErrors: With the codes of `ProductSetUserErrorCode`.
    """
    options = _options(values["productOptions"], product, present.get("options", []))
    variants = values["variants"]
    if not variants:
        raise UserErrors(
            user_error(["input", "variants"], "Must specify variants when updating options.", "VARIANTS_INPUT_MISSING")
        )
    if len(variants) > MAX_VARIANTS:
        message = f"Number of product variants exceeds shop limit of {MAX_VARIANTS}."
        raise UserErrors(user_error(["input", "variants"], message, "VARIANTS_OVER_LIMIT"))
    return options, _variants(variants, options, product, present.get("variants", []))


def _options(inputs: Sequence[Mapping[str, Any]], product: str, present: Sequence[Document]) -> list[Document]:
    field = ["input", "productOptions"]
    if not inputs:
        message = "Must specify product options when updating variants."
        raise UserErrors(user_error(field, message, "PRODUCT_OPTIONS_INPUT_MISSING"))
    if len(inputs) > MAX_OPTIONS:
        message = f"Can only specify a maximum of {MAX_OPTIONS} options"
        raise UserErrors(user_error(field, message, "OPTIONS_OVER_LIMIT"))
    used = [option["id"] for option in present]
    used_values = [value["id"] for option in present for value in option["optionValues"]]
    options: list[Document] = []
    for index, entry in enumerate(sorted(map(given, inputs), key=lambda entry: entry.get("position", 0))):
        old = _same(present, entry)
        if entry.get("id") and old is None:
            raise UserErrors(user_error([*field, index], "Option does not exist.", "OPTION_DOES_NOT_EXIST"))
        name = entry.get("name") or (old or {}).get("name", "")
        if name.casefold() in {option["name"].casefold() for option in options} or not name:
            message, code = "Duplicated option name.", "DUPLICATED_OPTION_NAME"
            if not name:
                message, code = "Option name can't be blank.", "INVALID_INPUT"
            raise UserErrors(user_error([*field, index, "name"], message, code))
        option = {"id": old["id"] if old else child_gid("ProductOption", product, used), "name": name}
        used.append(option["id"])
        known = old["optionValues"] if old else []
        option_values = _values(entry.get("values", []), product, known, used_values, [*field, index, "values"])
        options.append({**option, "position": index + 1, "optionValues": option_values})
    return options


def _values(
    inputs: Iterable[Mapping[str, Any]], product: str, known: Sequence[Document], used: list[str], field: list[Any]
) -> list[Document]:
    values: list[Document] = []
    for index, entry in enumerate(map(given, inputs)):
        old = _same(known, entry)
        name = entry.get("name") or (old or {}).get("name")
        if not name:
            message = "Option value does not exist."
            raise UserErrors(user_error([*field, index], message, "OPTION_VALUE_DOES_NOT_EXIST"))
        if any(value["name"] == name for value in values):
            raise UserErrors(user_error([*field, index], "Duplicated option value.", "DUPLICATED_OPTION_VALUE"))
        id = old["id"] if old else child_gid("ProductOptionValue", product, used)
        used.append(id)
        values.append({"id": id, "name": name})
    if not values:
        message = "Each option must have at least one option value specified."
        raise UserErrors(user_error(field, message, "OPTION_VALUES_MISSING"))
    return values


def _variants(
    inputs: Sequence[Mapping[str, Any]], options: Sequence[Document], product: str, present: Sequence[Document]
) -> list[Document]:
    before = {_choice(variant["selectedOptions"]): variant for variant in present}
    by_id = {variant["id"]: variant for variant in present}
    used, chosen, variants = list(by_id), set(), []
    for index, entry in enumerate(sorted(map(given, inputs), key=lambda entry: entry.get("position", 0))):
        field = ["input", "variants", index]
        selected = _selected(entry["optionValues"], options, field)
        title = " / ".join(pair["value"] for pair in selected)
        if _choice(selected) in chosen:
            message = f"The variant '{title}' already exists. Please change at least one option value."
            raise UserErrors(user_error(field, message, "INVALID_VARIANT"))
        chosen.add(_choice(selected))
        if "id" in entry and entry["id"] not in by_id:
            message = "Product variant does not exist."
            raise UserErrors(user_error([*field, "id"], message, "PRODUCT_VARIANT_DOES_NOT_EXIST"))
        old = by_id.get(entry.get("id", ""), before.get(_choice(selected), {}))
        id = old.get("id") or child_gid("ProductVariant", product, used)
        used.append(id)
        variant = {"taxable": True, "inventoryPolicy": "DENY", "compareAtPrice": None, "price": "0.00", **old, "id": id}
        variant |= {name: entry[name] for name in _PLAIN_FIELDS if name in entry}
        variant |= checked_stock(entry, field)
        for name in ("price", "compareAtPrice"):
            if name in entry:
                variant[name] = checked_price(entry[name], [*field, name], "INVALID_VARIANT")
        variants.append(variant | {"title": title, "position": index + 1, "selectedOptions": selected})
    return variants


def _selected(
    inputs: Iterable[Mapping[str, Any]], options: Sequence[Document], field: list[Any]
) -> list[dict[str, str]]:
    """Returns the value that a variant has of each option, in the order of the options."""
    chosen: dict[str, str] = {}
    for index, entry in enumerate(map(given, inputs)):
        where = [*field, "optionValues", index]
        option = _same(options, {"id": entry.get("optionId"), "name": entry.get("optionName")})
        if option is None:
            raise UserErrors(user_error(where, "Option does not exist.", "OPTION_DOES_NOT_EXIST"))
        value = _same(option["optionValues"], entry)
        if value is None:
            raise UserErrors(user_error(where, "Option value does not exist.", "OPTION_VALUE_DOES_NOT_EXIST"))
        chosen[option["name"]] = value["name"]
    if missing := [option["name"] for option in options if option["name"] not in chosen]:
        message = f"You need to add option values for {', '.join(missing)}"
        raise UserErrors(user_error([*field, "optionValues"], message, "INVALID_VARIANT"))
    return [{"name": option["name"], "value": chosen[option["name"]]} for option in options]


def _same(known: Iterable[Document], entry: Mapping[str, Any]) -> Document | None:
    """Returns the option or value that an input means: by its id, else by its name."""
    name, key = ("id", entry["id"]) if entry.get("id") else ("name", entry.get("name"))
    return next((each for each in known if each[name] == key), None)


def _choice(selected: Iterable[Mapping[str, str]]) -> tuple[tuple[str, str], ...]:
    return tuple((pair["name"], pair["value"]) for pair in selected)
