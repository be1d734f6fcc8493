"""productUpdate, tagsAdd and tagsRemove: changes to a product that leave alone what they do not name.

https://shopify.dev/docs/api/admin-graphql/latest/mutations/productUpdate,
https://shopify.dev/docs/api/admin-graphql/latest/mutations/tagsAdd
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from graphql import GraphQLResolveInfo

from scripts.shopify.dev_store.catalogue_collections import checked_manual
from scripts.shopify.dev_store.catalogue_product_set import set_product
from scripts.shopify.dev_store.catalogue_rules import (
    UserErrors,
    checked_tags,
    find_object,
    given,
    timestamp,
    user_error,
)
from scripts.shopify.dev_store.registry import Context, resolver
from scripts.shopify.dev_store.state import Document

_MOVES = ("collectionsToJoin", "collectionsToLeave")


@resolver("Mutation", "productUpdate", scope="write_products")
def _product_update(_: None, info: GraphQLResolveInfo, product: Mapping[str, Any] | None = None) -> dict[str, Any]:
    try:
        return {"product": update_product(info.context, given(product or {})), "userErrors": []}
    except UserErrors as refused:
        return {"product": None, "userErrors": refused.errors}


def update_product(context: Context, values: Mapping[str, Any]) -> Document:
    """Brings a product to what is given; collections are joined and left one by one, tags that are given replaced.

    Args:
        context: Whose state to write to, and the clock.
        values: `ProductUpdateInput`.

    Returns:
        The product as stored.

    Raises:
        UserErrors: It cannot be done; nothing was written.
        GraphQLError: The id is not a product's.
    """
    state = context.state
    if "id" not in values or find_object(state, "Product", values["id"]) is None:
        raise UserErrors(user_error(["id"], "Product does not exist"))
    with state.transaction():  # a refusal takes back what was written so far
        fields = {name: value for name, value in values.items() if name not in ("id", *_MOVES)}
        try:
            product = set_product(context, fields, {"id": values["id"]})
        except UserErrors as refused:  # that of productSet says more: where in `input`, and a code
            shown = (user_error((error["field"] or ["input"])[1:], error["message"]) for error in refused.errors)
            raise UserErrors(*shown) from None
        for field in _MOVES:
            for index, id in enumerate(values.get(field, ())):
                checked_manual(state, id, [field, index])
        moved = False
        for id in values.get("collectionsToJoin", ()):
            moved |= not state.linked("collection", id, product["id"])
            state.link("collection", id, product["id"])
        for id in values.get("collectionsToLeave", ()):
            moved |= state.unlink("collection", id, product["id"])
        if moved:
            product = {**product, "updatedAt": timestamp(context)}
            state.put(product)
    return product


@resolver("Mutation", "tagsAdd", scope="write_products")
def _tags_add(_: None, info: GraphQLResolveInfo, id: str, tags: Sequence[str]) -> dict[str, Any]:
    return _retagged(info.context, id, lambda present: [*present, *tags])


@resolver("Mutation", "tagsRemove", scope="write_products")
def _tags_remove(_: None, info: GraphQLResolveInfo, id: str, tags: Sequence[str]) -> dict[str, Any]:
    gone = {part.strip().casefold() for tag in tags for part in tag.split(",")}
    return _retagged(info.context, id, lambda present: [tag for tag in present if tag.casefold() not in gone])


def _retagged(context: Context, id: str, change: Callable[[Iterable[str]], Iterable[str]]) -> dict[str, Any]:
    """Returns the payload after a change to the tags of a product, the one kind of this store that has them."""
    product = find_object(context.state, "Product", id)
    if product is None:
        return {"node": None, "userErrors": [user_error(["id"], "Product does not exist")]}
    try:
        tags = checked_tags(change(product["tags"]), ["tags"])
    except UserErrors as refused:
        return {"node": None, "userErrors": refused.errors}
    if tags != product["tags"]:
        product = {**product, "tags": tags, "updatedAt": timestamp(context)}
        context.state.put(product)
    return {"node": product, "userErrors": []}
