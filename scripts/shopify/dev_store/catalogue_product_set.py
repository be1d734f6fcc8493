"""productSet and productDelete.

https://shopify.dev/docs/api/admin-graphql/latest/mutations/productSet
"""

from collections.abc import Mapping, Sequence
from typing import Any

from graphql import GraphQLResolveInfo

from scripts.shopify.dev_store.catalogue_collections import checked_manual
from scripts.shopify.dev_store.catalogue_metafields import checked_metafields
from scripts.shopify.dev_store.catalogue_rules import (
    UserErrors,
    checked_tags,
    checked_title,
    find_object,
    free_handle,
    given,
    shop_of,
    timestamp,
    user_error,
)
from scripts.shopify.dev_store.catalogue_variants import DEFAULT_INPUT, checked_options_and_variants
from scripts.shopify.dev_store.registry import Context, resolver
from scripts.shopify.dev_store.state import Document, State
from scripts.shopify.texts import shopify_handle

_MISSING = "The input field corresponding to the identifier is required."
_MISMATCH = "The identifier value does not match the value of the corresponding field in the input."
_TOGETHER = (
    ("productOptions", "Must specify product options when updating variants.", "PRODUCT_OPTIONS_INPUT_MISSING"),
    ("variants", "Must specify variants when updating options.", "VARIANTS_INPUT_MISSING"),
)
_LISTS = [name for name, _, _ in _TOGETHER]


@resolver("Mutation", "productSet", scope="write_products")
def _product_set(
    _: None,
    info: GraphQLResolveInfo,
    input: Mapping[str, Any],
    identifier: Mapping[str, Any] | None = None,
    synchronous: bool | None = True,
) -> dict[str, Any]:
    context: Context = info.context
    product, errors = None, []
    try:
        product = set_product(context, given(input), given(identifier or {}))
    except UserErrors as refused:
        errors = refused.errors
    if synchronous is not False or errors:
        return {"product": product, "productSetOperation": None, "userErrors": errors}
    done = {"status": "COMPLETE", "product": product and product["id"], "userErrors": []}
    operation = context.state.insert("ProductSetOperation", done)
    # It is said to have begun; who asks productOperation for it finds it done.
    return {"product": None, "productSetOperation": {**operation, "status": "CREATED"}, "userErrors": []}


@resolver("Mutation", "productDelete", scope="write_products")
def _product_delete(
    _: None, info: GraphQLResolveInfo, input: Mapping[str, Any], synchronous: bool | None = True
) -> dict[str, Any]:
    state: State = info.context.state
    product = find_object(state, "Product", input["id"])
    payload = {"deletedProductId": None, "shop": shop_of(state), "userErrors": []}
    if product is None:
        return payload | {"userErrors": [user_error(["id"], "Product does not exist")]}
    state.delete(product["id"])
    return payload | {"deletedProductId": product["id"]}


def set_product(context: Context, values: Mapping[str, Any], identifier: Mapping[str, Any]) -> Document:
    """Creates a product or brings one to what is given; lists that are given replace those that are there.

    `updatedAt` stays where nothing changes.

    Args:
        context: Whose state to write to, and the clock.
        values: `ProductSetInput`.
        identifier: `ProductSetIdentifiers`; empty creates.

    Returns:
        The product as stored.

    Raises:
        UserErrors: It cannot be done; nothing was written.
    """
    state, now = context.state, timestamp(context)
    with state.transaction():  # a refusal takes back what was written so far
        before = _identified(state, values, identifier)
        names = _names(state, before, values)
        if before is None:
            blank = {"vendor": shop_of(state)["name"], "productType": "", "status": "ACTIVE", "tags": []}
            times = {"createdAt": now, "updatedAt": now, "publishedAt": None}
            texts = {"descriptionHtml": "", "seo": {"title": None, "description": None}}
            product = state.insert("Product", {**blank, **times, **texts, "metafields": []}, names["handle"])
            values = {**DEFAULT_INPUT, **values} if not any(name in values for name in _LISTS) else values
        else:
            product = dict(before)
        product |= names | _plain(values) | _lists(values, product, now)
        moved = "collections" in values and _set_collections(state, product["id"], values["collections"])
        if before is not None and (moved or product != before):
            product["updatedAt"] = now
        if product != before:
            state.put(product, product["handle"])
    return product


def _identified(state: State, values: Mapping[str, Any], identifier: Mapping[str, Any]) -> Document | None:
    if "id" in identifier:
        found = find_object(state, "Product", identifier["id"])
        if found is None:
            raise UserErrors(user_error(["input"], "Resource matching the identifier was not found.", "NOT_FOUND"))
        return found
    if "handle" in identifier:
        if "handle" not in values:
            raise UserErrors(user_error(["input"], _MISSING, "MISSING_FIELD_REQUIRED"))
        if values["handle"] != identifier["handle"]:
            raise UserErrors(user_error(["input"], _MISMATCH, "INPUT_MISMATCH"))
        return state.find("Product", shopify_handle(identifier["handle"]))
    return None


def _names(state: State, before: Document | None, values: Mapping[str, Any]) -> dict[str, str]:
    """Returns title and handle as they will be."""
    names = {} if before is None else {name: before[name] for name in ("title", "handle")}
    if before is None or "title" in values:
        names["title"] = checked_title(values.get("title"), ["input", "title"], "INVALID_PRODUCT")
    if wanted := shopify_handle(values.get("handle", "")):
        other = state.find("Product", wanted)
        if other is not None and (before is None or other["id"] != before["id"]):
            message = "Handle already in use. Please provide a new handle."
            raise UserErrors(user_error(["input", "handle"], message, "HANDLE_NOT_UNIQUE"))
        names["handle"] = wanted
    elif before is None:
        names["handle"] = free_handle(state, "Product", shopify_handle(names["title"]) or "product")
    return names


def _plain(values: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the fields that are taken as they are, or nearly."""
    fields = {name: values[name] for name in ("descriptionHtml", "productType", "status", "vendor") if name in values}
    if "tags" in values:
        fields["tags"] = checked_tags(values["tags"], ["input", "tags"], "INVALID_INPUT")
    if "seo" in values:
        fields["seo"] = {name: values["seo"].get(name) for name in ("title", "description")}
    return fields


def _lists(values: Mapping[str, Any], product: Document, now: str) -> dict[str, Any]:
    """Returns the lists that are replaced."""
    lists: dict[str, Any] = {}
    if any(name in values for name in _LISTS):
        for name, message, code in _TOGETHER:
            if name not in values:
                raise UserErrors(user_error(["input", name], message, code))
        options, variants = checked_options_and_variants(values, product["id"], product)
        lists |= {"options": options, "variants": variants}
    if "metafields" in values:
        field = ["input", "metafields"]
        lists["metafields"] = checked_metafields(
            values["metafields"], product["id"], product["metafields"], now, field, "INVALID_METAFIELD"
        )
    return lists


def _set_collections(state: State, product: str, wanted: Sequence[str]) -> bool:
    """Puts a product into these collections and no others; returns whether that changed anything."""
    for index, id in enumerate(wanted):
        checked_manual(state, id, ["input", "collections", index], "INVALID_INPUT")
    present = {
        collection
        for collection in state.parents("collection", product)
        if not (state.get(collection) or {}).get("automatic")  # rules put it there, and go on doing so
    }
    for collection in present.difference(wanted):
        state.unlink("collection", collection, product)
    for collection in wanted:
        state.link("collection", collection, product)
    return present != set(wanted)
