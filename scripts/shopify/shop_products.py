"""The products of an inventory in a shop: looked up by handle, made where missing, brought up to date where ours."""

from collections.abc import Mapping, Sequence
from typing import Any, Final, Literal

from scripts.shopify.answers import ShopifyError
from scripts.shopify.channels import lookup, publish
from scripts.shopify.client import ShopifyClient
from scripts.shopify.marks import MARK_TAG
from scripts.shopify.payloads import returned
from scripts.shopify.product_documents import Changes, WantedProduct, changes

_COLLECTION_FIELDS: Final = ("collections", "collectionsToJoin", "collectionsToLeave")


def ensure_product(
    client: ShopifyClient,
    wanted: WantedProduct,
    publications: Sequence[str],
    collections: Mapping[str, str | None],
    *,
    dry_run: bool = False,
) -> tuple[Literal["created", "updated", "unchanged"], bool]:
    """Makes sure that a product is there as wanted, and published.

    Lists are changed by their differences, so that what others add at the same time is not lost.

    Args:
        client: Client of the shop.
        wanted: What it should be.
        publications: GIDs of the publications it should be published to.
        collections: GIDs of collections by title, to name them in messages.
        dry_run: Look it up, write nothing.

    Returns:
        What was done, and whether it was published somewhere.

    Raises:
        ShopifyError: It was refused (code `USER_ERRORS`), which includes a product of the shop's own under this handle;
            or Shopify does not answer.
    """
    handle = wanted.input["handle"]
    titles = {gid: title for title, gid in collections.items() if gid is not None}
    found = lookup(client, "product_by_handle", handle, publications)
    if found is None:
        if not dry_run:
            gid = _create(client, wanted, titles)
            if publications:
                publish(client, gid, publications)
        return "created", bool(publications)
    if MARK_TAG not in found["tags"]:
        reason = f"the shop has a product of its own under this handle (it lacks the tag {MARK_TAG}); left as it is"
        raise ShopifyError(reason, code="USER_ERRORS")
    needed = changes(found, wanted)
    if not dry_run:
        _change(client, found["id"], needed, titles)
        if found["unpublished"]:
            publish(client, found["id"], found["unpublished"])
    return "updated" if needed else "unchanged", bool(found["unpublished"])


def _create(client: ShopifyClient, wanted: WantedProduct, titles: Mapping[str, str]) -> str:
    """Returns the GID of the new product."""
    handle = wanted.input["handle"]
    variables = {"identifier": {"handle": handle}, "input": wanted.input}
    try:
        product = returned(client.execute("product_set", variables, repeatable=True), "productSet", "product")
    except ShopifyError as error:
        raise _naming(error, wanted.input["collections"], titles) from error
    if product["handle"] != handle:  # another run would not find it, and make one more
        reason = f"Shopify changed the handle to {product['handle']}; give the record this one, and start again"
        raise ShopifyError(reason, code="USER_ERRORS")
    return product["id"]


def _change(client: ShopifyClient, gid: str, needed: Changes, titles: Mapping[str, str]) -> None:
    """Writes the differences; all of them may be sent again after a lost answer."""
    if needed.fields:
        variables: dict[str, Any] = {"identifier": {"id": gid}, "input": needed.fields}
        returned(client.execute("product_set", variables, repeatable=True), "productSet", "product")
    if needed.tags_to_remove:  # first, since a product may have so many tags and no more
        variables = {"id": gid, "tags": needed.tags_to_remove}
        returned(client.execute("product_tags_remove", variables, repeatable=True), "tagsRemove", "node")
    if needed.tags_to_add:
        variables = {"id": gid, "tags": needed.tags_to_add}
        returned(client.execute("product_tags_add", variables, repeatable=True), "tagsAdd", "node")
    moves = {"collectionsToJoin": needed.collections_to_join, "collectionsToLeave": needed.collections_to_leave}
    if any(moves.values()):
        variables = {"product": {"id": gid, **{name: ids for name, ids in moves.items() if ids}}}
        try:
            answer = client.execute("product_collections_change", variables, repeatable=True)
        except ShopifyError as error:
            raise _naming(error, [*needed.collections_to_join, *needed.collections_to_leave], titles) from error
        returned(answer, "productUpdate", "product")


def _naming(error: ShopifyError, sent: Sequence[str | None], titles: Mapping[str, str]) -> ShopifyError:
    """Returns the error with the names of the collections that it is about, if it is: Shopify's own does not say."""
    named: list[str] = []
    for item in error.user_errors:
        path = [str(part) for part in item.get("field") or ()]
        place = next((path.index(name) for name in _COLLECTION_FIELDS if name in path), None)
        if place is None and "collection" not in item["message"].casefold():
            continue
        # With its number in the list, where the answer has that.
        number = path[place + 1] if place is not None and path[place + 1 :] else ""
        in_order = path[place] != "collectionsToLeave" if place is not None else False
        one = number.isdigit() and in_order and int(number) < len(sent)
        named += [titles.get(gid or "", str(gid)) for gid in ([sent[int(number)]] if one else sent)]
    if not named:
        return error
    which = ", ".join(dict.fromkeys(named))
    return ShopifyError(f"collection {which}: {error}", error.code, error.user_errors, error.outcome_unknown)
