"""The provided catalogue: 240 products in 10 categories, and the command that writes it as a snapshot.

python -m scripts.shopify.inventory [--output training/inventory.pkl]
"""

import argparse
import re
import sys
import unicodedata
from collections.abc import Iterator, Sequence
from typing import Any

from scripts.shopify.catalogue_data import CATALOGUE
from training.data.inventory import Inventory, InventoryError, inventory_from_records, save_inventory

# Real shops number products with 13 digits or so; these are far from any real one and stay the same on every run.
_FIRST_ID = 9_000_000_000_001


def slugify(title: str) -> str:
    """Returns the handle that Shopify would give a title: lower-case ASCII letters, digits and single hyphens."""
    ascii_title = unicodedata.normalize("NFKD", title).encode("ascii", "ignore").decode()
    return re.sub(r"[^a-z0-9]+", "-", ascii_title.lower().replace("'", "")).strip("-")


def catalogue_records() -> Iterator[dict[str, Any]]:
    """Yields the product records of the provided catalogue, deterministically.

    Yields:
        `{id, handle, title, category, price, vendor, audience, tags}`; `price` is a decimal string in EUR.
    """
    number = _FIRST_ID
    for category, table in CATALOGUE.items():
        for line in table.strip().splitlines():
            title, price, vendor, audience, tags = (field.strip() for field in line.split("|"))
            yield {
                "id": f"gid://shopify/Product/{number}",
                "handle": slugify(title),
                "title": title,
                "category": category,
                "price": price,
                "vendor": vendor,
                "audience": audience,
                "tags": [tag.strip() for tag in tags.split(",")],
            }
            number += 1


def catalogue_inventory() -> Inventory:
    """Returns the provided catalogue as a validated inventory."""
    return inventory_from_records(catalogue_records())


def main(argv: Sequence[str] | None = None) -> int:
    """Writes the snapshot of the provided catalogue; returns the exit status."""
    parser = argparse.ArgumentParser(description="Write the provided catalogue as an inventory snapshot.")
    parser.add_argument("--output", default="training/inventory.pkl", help="snapshot to write (.pkl or .json)")
    arguments = parser.parse_args(argv)
    try:
        inventory = catalogue_inventory()
        save_inventory(inventory, arguments.output)
    except (InventoryError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    print(f"{arguments.output}: {len(inventory.products)} products in {len(inventory.categories)} categories")
    return 0


if __name__ == "__main__":
    sys.exit(main())
