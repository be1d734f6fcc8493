"""The definition of the metaobjects that hold the recommendations: made where missing, checked where it is there.

See https://shopify.dev/docs/api/admin-graphql/2026-10/mutations/metaobjectDefinitionCreate.
"""

from collections.abc import Mapping
from typing import Any, Final

from scripts.shopify.answers import ShopifyError
from scripts.shopify.client import ShopifyClient
from scripts.shopify.marks import METAOBJECT_FIELD, METAOBJECT_TYPE
from scripts.shopify.payloads import returned

FIELD_TYPE: Final = "list.product_reference"
LONGEST_LIST: Final = 128
"""References that Shopify takes in one list."""
DEFINITION: Final = {
    "type": METAOBJECT_TYPE,
    "name": "SLi-Rec recommendations",
    "description": "Products recommended to one shopper, best first. Written by publish_recommendations.",
    "access": {"storefront": "PUBLIC_READ"},
    "fieldDefinitions": [{"key": METAOBJECT_FIELD, "name": "Products", "type": FIELD_TYPE}],
}


def ensure_definition(client: ShopifyClient, k: int, *, dry_run: bool = False) -> bool:
    """Makes the definition where the shop has none of this type.

    Args:
        client: Client of the shop.
        k: Products a shopper that it has to take.
        dry_run: Look, write nothing.

    Returns:
        Whether it was made, or would be.

    Raises:
        ShopifyError: There is one that differs (it is left as it is), or Shopify refuses to make it.
    """
    found, made = _read(client), False
    if found is None and not dry_run:
        try:
            data = client.execute("metaobject_definition_create", {"definition": DEFINITION}, repeatable=True)
            returned(data, "metaobjectDefinitionCreate", "metaobjectDefinition")
        except ShopifyError as error:
            # Made by an attempt whose answer was lost, or by somebody else just now.
            if "TAKEN" not in {entry.get("code") for entry in error.user_errors}:
                raise
            found = _read(client)
        made = True
    if found is not None and (problems := definition_problems(found, k)):
        raise ShopifyError(
            f"The shop has a metaobject definition {METAOBJECT_TYPE!r} that differs from what is needed: "
            f"{'; '.join(problems)}. Change it, or delete it with its entries (Settings, Custom data), and start again"
        )
    return made or found is None


def definition_problems(definition: Mapping[str, Any], k: int) -> list[str]:
    """Says why recommendations cannot be published under a definition; empty where they can.

    Args:
        definition: As `queries/metaobject_definition_by_type.graphql` selects it.
        k: Products a shopper.
    """
    problems: list[str] = []
    if (access := definition["access"]["storefront"]) != "PUBLIC_READ":
        problems.append(f"its storefront access should be PUBLIC_READ, is {access}")
    fields = {field["key"]: field for field in definition["fieldDefinitions"]}
    field = fields.pop(METAOBJECT_FIELD, None)
    if field is None:
        problems.append(f"it should have a field {METAOBJECT_FIELD!r}, has {', '.join(map(repr, fields)) or 'none'}")
    elif field["type"]["name"] != FIELD_TYPE:
        problems.append(f"its field {METAOBJECT_FIELD!r} should be {FIELD_TYPE}, is {field['type']['name']}")
    else:
        limits = {rule["name"]: rule["value"] for rule in field["validations"]}
        if limits.get("list.max") and int(limits["list.max"]) < k:
            problems.append(f"its field {METAOBJECT_FIELD!r} takes at most {limits['list.max']} products, --k is {k}")
    if definition["capabilities"]["publishable"]["enabled"]:
        problems.append(
            "its entries should be active at once, are drafts first (the capability 'publishable' is enabled)"
        )
    if required := [key for key, other in fields.items() if other["required"]]:
        problems.append(f"it should not require other fields, requires {', '.join(map(repr, required))}")
    return problems


def _read(client: ShopifyClient) -> dict[str, Any] | None:
    return client.execute("metaobject_definition_by_type", {"type": METAOBJECT_TYPE})["metaobjectDefinitionByType"]
