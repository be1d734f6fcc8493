"""What a mutation returned, where neither data nor `userErrors` may be taken for granted."""

from collections.abc import Mapping
from typing import Any, Final

from scripts.shopify.answers import ShopifyError

EMPTY: Final = "EMPTY"
"""Code of a `ShopifyError` about a mutation that returned nothing, and no reason either."""


def payload_of(data: Mapping[str, Any], mutation: str) -> dict[str, Any]:
    """Returns the payload of a mutation.

    Args:
        data: What `ShopifyClient.execute` returned.
        mutation: Name of the mutation's field.

    Raises:
        ShopifyError: Code `EMPTY`: it is null.
    """
    if data.get(mutation) is None:
        raise _empty(f"{mutation}: Shopify returned null")
    return data[mutation]


def returned(data: Mapping[str, Any], mutation: str, field: str) -> Any:
    """Returns a field of a mutation's payload that is null only where something went wrong.

    Args:
        data: What `ShopifyClient.execute` returned.
        mutation: Name of the mutation's field.
        field: Field of its payload.

    Raises:
        ShopifyError: Code `EMPTY`: the payload or this field of it is null.
    """
    value = payload_of(data, mutation).get(field)
    if value is None:
        raise _empty(f"{mutation}: Shopify returned no `{field}`")
    return value


def _empty(what: str) -> ShopifyError:
    return ShopifyError(f"{what}, and no reason; start again to see what was done", code=EMPTY)
