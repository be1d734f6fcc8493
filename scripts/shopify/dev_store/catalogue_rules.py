"""Shopify's rules about texts, prices and ids in a catalogue; nothing here knows of products or collections."""

import re
from collections.abc import Iterable, Mapping
from decimal import Decimal
from html import unescape
from typing import Any

from graphql import GraphQLError

from scripts.shopify.dev_store.registry import Context
from scripts.shopify.dev_store.state import Document, State, gid, split_gid
from scripts.shopify.dev_store.times import utc_text

MAX_TEXT = 255
"""Characters of a title, a handle or a tag at most."""
MAX_TAGS = 250
MAX_PRICE = 10**18
"""No price is as high."""
MAX_CHILDREN = 10_000
"""Variants, options and metafields that one owner may ever have had, together."""

_NUMBER = re.compile(r"[+-]?[0-9]+(\.[0-9]*)?([eE][+-]?[0-9]{1,4})?|[+-]?\.[0-9]+")


class UserErrors(Exception):
    """What is wrong with an input; becomes the `userErrors` of the payload.

    Attributes:
        errors: `{field, message}` and, where the payload has it, `code` of each.
    """

    def __init__(self, *errors: dict[str, Any]):
        super().__init__("; ".join(error["message"] for error in errors))
        self.errors = list(errors)


def user_error(field: Iterable[str | int] | None, message: str, code: str | None = None) -> dict[str, Any]:
    """Returns one entry of `userErrors`."""
    error: dict[str, Any] = {"field": None if field is None else [str(part) for part in field], "message": message}
    return error if code is None else {**error, "code": code}


def timestamp(context: Context) -> str:
    """Returns the time on the store's clock as Shopify writes it."""
    return utc_text(context.now())


def find_object(state: State, kind: str, id: str) -> Document | None:
    """Returns the object under a GID.

    Raises:
        GraphQLError: Code RESOURCE_NOT_FOUND: the id is of another kind, or none.
    """
    try:
        found_kind, _ = split_gid(id)
    except ValueError:
        found_kind = ""
    if found_kind != kind:
        raise GraphQLError(f"Invalid id: {id}", extensions={"code": "RESOURCE_NOT_FOUND"})
    return state.get(id)


def child_gid(kind: str, owner: str, used: Iterable[str]) -> str:
    """Returns an id for a part of an object that is stored inside it: the owner's number, then a running one.

    Args:
        kind: `ProductVariant`, `ProductOption`, ...
        owner: GID of the owner.
        used: Ids of this kind that the owner has already.
    """
    owner_kind, owner_number = split_gid(owner)
    # Products and collections share some kinds of parts, but no numbers.
    base = 2 * MAX_CHILDREN * owner_number + (MAX_CHILDREN if owner_kind == "Collection" else 0)
    return gid(kind, max((split_gid(each)[1] for each in used), default=base) + 1)


def owner_gid(part: str) -> str:
    """Returns the id of the object that a part with an id of `child_gid` is stored in."""
    number, rest = divmod(split_gid(part)[1], 2 * MAX_CHILDREN)
    return gid("Collection" if rest >= MAX_CHILDREN else "Product", number)


def free_handle(state: State, kind: str, wanted: str) -> str:
    """Returns the handle, with `-1`, `-2`, ... behind it where others of that kind have it."""
    handle, number = wanted, 0
    while state.find(kind, handle) is not None:
        number += 1
        handle = f"{wanted}-{number}"
    return handle


def checked_title(title: str | None, field: Iterable[str], code: str | None = None) -> str:
    """Returns a title without blanks around it.

    Raises:
        UserErrors: It is blank or too long.
    """
    title = (title or "").strip()
    if not title:
        raise UserErrors(user_error(field, "Title can't be blank", code))
    if len(title) > MAX_TEXT:
        raise UserErrors(user_error(field, f"Title is too long (maximum is {MAX_TEXT} characters)", code))
    return title


def checked_tags(tags: Iterable[str], field: Iterable[str], code: str | None = None) -> list[str]:
    """Returns tags as Shopify keeps them: split at commas, the first spelling of each, in alphabetical order.

    Raises:
        UserErrors: One is too long, or there are too many.
    """
    first: dict[str, str] = {}
    for part in (part.strip() for tag in tags for part in tag.split(",")):
        if part:
            first.setdefault(part.casefold(), part)
    if any(len(tag) > MAX_TEXT for tag in first.values()):
        raise UserErrors(user_error(field, f"Tag is too long (maximum is {MAX_TEXT} characters)", code))
    if len(first) > MAX_TAGS:
        raise UserErrors(user_error(field, f"Tags are too many (maximum is {MAX_TAGS})", code))
    return [first[key] for key in sorted(first)]


def checked_price(price: Any, field: Iterable[str | int], code: str | None = None) -> str:
    """Returns an amount of money with two decimals.

    Raises:
        UserErrors: It is no number, negative, or too large.
    """
    if not _NUMBER.fullmatch(str(price)):
        raise UserErrors(user_error(field, "Price is not a number", code))
    amount = Decimal(str(price))
    if amount < 0:
        raise UserErrors(user_error(field, "Price must be greater than or equal to 0", code))
    if amount >= MAX_PRICE:
        raise UserErrors(user_error(field, f"Price must be less than {MAX_PRICE}", code))
    return str(abs(amount.quantize(Decimal("0.01"))))


def amount_text(price: str) -> str:
    """Returns a price as `MoneyV2.amount` shows it: `19.90` is `19.9`, `20.00` is `20.0`."""
    whole, _, cents = price.partition(".")
    return f"{whole}.{cents.rstrip('0') or '0'}"


def plain_text(markup: str, length: int | None = None) -> str:
    """Returns the text of some HTML in one line, cut to a length with `...` at the end."""
    text = " ".join(unescape(re.sub(r"<[^>]*>", " ", markup)).split())
    return text if length is None or len(text) <= length else text[: max(0, length - 3)] + "..."


def shop_of(state: State) -> Document:
    """Returns the shop."""
    return next(state.scan("Shop", limit=1))


def shop_url(context: Context) -> str:
    """Returns the address of the storefront, without a slash at the end."""
    return context.store.url or f"https://{shop_of(context.state)['myshopifyDomain']}"


def count_of(total: int, limit: int | None) -> dict[str, Any]:
    """Returns a `Count`, which stops at a limit."""
    if limit is not None and total > limit:
        return {"count": limit, "precision": "AT_LEAST"}
    return {"count": total, "precision": "EXACT"}


def given(values: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the input fields that say something: null means the same as leaving a field out."""
    return {name: value for name, value in values.items() if value is not None}
