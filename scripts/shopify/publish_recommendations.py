"""Publishes recommendations to a shop, one metaobject a shopper, for the theme section to show.

    python -m scripts.shopify.publish_recommendations INPUT [--k 16] [--bulk auto|always|never] [--dry-run]

INPUT is Parquet (a file, or a folder as `score_inventory` writes it) or JSON lines with `userId` and `itemIds` (product
GIDs, best first, as the registered model answers). The metaobjects' handles are HMACs of the user ids, made with
SLIREC_HMAC_SECRET; their definition is made where it is missing, readable by the storefront. A product that the shop no
longer has is left out, and the next one of the list takes its place; that none of the products is there is an error.
Writing goes by handle, so the command may be stopped and repeated at any point. Two at a time for one shop disturb each
other: the later one ends the earlier one's bulk operation, since it cannot tell it from one that a killed command has
left behind.
"""

import argparse
import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass

from scripts.shopify.answers import ShopifyError
from scripts.shopify.bulk_choice import BULK_CHOICES, Way
from scripts.shopify.client import ShopifyClient
from scripts.shopify.marks import METAOBJECT_TYPE
from scripts.shopify.metaobject_definition import LONGEST_LIST, ensure_definition
from scripts.shopify.metaobject_publisher import Publisher, PublishResult
from scripts.shopify.recommendation_file import (
    PRODUCTS,
    RecommendationFileError,
    Recommendations,
    read_recommendations,
)
from scripts.shopify.settings import Settings, SettingsError
from scripts.shopify.shopper_ids import ShopperIds

SCOPES = (
    "read_metaobject_definitions",
    "write_metaobject_definitions",
    "read_metaobjects",
    "write_metaobjects",
    "read_products",
)
MANY_UNKNOWN = 0.2
"""Share of the file's products that the shop does not have, above which the warning asks where they come from."""
_SHOWN = 10
_OTHER_SHOP = "was the model trained on a snapshot of it?"


@dataclass(frozen=True)
class Publication:
    """The outcome: file.rows == file.bad + file.repeated + published + without products + failed."""

    shop: str
    file: Recommendations
    defined: bool
    result: PublishResult


def publish_recommendations(
    client: ShopifyClient,
    path: str | os.PathLike[str],
    ids: ShopperIds,
    *,
    k: int = 16,
    bulk: Way = "auto",
    dry_run: bool = False,
    progress: bool = False,
) -> Publication:
    """Publishes a file of recommendations.

    Args:
        client: Client of the shop.
        path: Parquet or JSON lines, see `read_recommendations`.
        ids: Makes the handles.
        k: Products a shopper, 1 to 128.
        bulk: `always`, `never`, or `auto`: by bulk mutation where there are many shoppers.
        dry_run: Look everything up, write nothing.
        progress: Show progress bars on standard error.

    Returns:
        Counts, and the rows that could not be published.

    Raises:
        ShopifyError: A scope is missing, the definition differs from what is needed, or Shopify does not answer.
        RecommendationFileError: The file cannot be used, or no row of it.
    """
    if not 1 <= k <= LONGEST_LIST:
        raise ValueError(f"`k` should be from 1 to {LONGEST_LIST}. Received: k = {k}")
    # As many again stand ready for products that the shop does not have.
    file = read_recommendations(path, ids, keep=2 * k)
    if file.shoppers.is_empty():
        why = f": {'; '.join(file.problems)}" if file.problems else ""
        raise RecommendationFileError(f"{path} should have at least one usable row. Received: {file.rows} rows{why}")
    shop = client.require_scopes(*SCOPES)
    defined = ensure_definition(client, k, dry_run=dry_run)
    publisher = Publisher(client, file.shoppers, k, bulk, progress)
    return Publication(shop, file, defined, publisher.look_up_all() if dry_run else publisher.publish())


def _number_of_products(text: str) -> int:
    if not text.isdecimal() or not 1 <= int(text) <= LONGEST_LIST:
        raise argparse.ArgumentTypeError(f"should be from 1 to {LONGEST_LIST}. Received: {text}")
    return int(text)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description="Publish recommendations as metaobjects, one a shopper.")
    parser.add_argument("input", help="recommendations: .parquet, .jsonl, .ndjson, or a folder of parts")
    parser.add_argument("--k", type=_number_of_products, default=16, help="products a shopper (default: 16)")
    parser.add_argument(
        "--bulk", choices=BULK_CHOICES, default="auto", help="by bulk mutation (auto: where there are many shoppers)"
    )
    parser.add_argument("--dry-run", action="store_true", help="say what would be published, write nothing")
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command line; returns 0 where all rows were published, or some and the others have no products."""
    arguments = _parser().parse_args(argv)
    try:
        ids = ShopperIds.from_environment()
        with ShopifyClient(Settings.from_environment()) as client:
            done = publish_recommendations(
                client,
                arguments.input,
                ids,
                k=arguments.k,
                bulk=arguments.bulk,
                dry_run=arguments.dry_run,
                progress=True,
            )
    except (ShopifyError, SettingsError, RecommendationFileError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("Stopped; start again with the same file: what is published is written once more", file=sys.stderr)
        return 130
    for line in _complaints(done):
        print(line, file=sys.stderr)
    print(_summary(done, arguments.dry_run))
    return 1 if done.result.failed or done.file.bad or not done.result.published else 0


def _complaints(done: Publication) -> list[str]:
    """Returns the warnings and errors, one line each; shoppers by the number of their row only."""
    file, result, lines = done.file, done.result, []
    if file.repeated:
        lines.append(f"warning: {file.repeated} rows are of shoppers with a row further down, which counts")
    if result.unknown:
        gids = [f"gid://shopify/Product/{number}" for number in sorted(result.unknown)]
        every = file.shoppers[PRODUCTS].explode().drop_nulls().n_unique()
        many = f" ({_OTHER_SHOP})" if len(gids) > MANY_UNKNOWN * every else ""
        lines.append(
            f"warning: {len(gids)} of {every} products are not in the shop{many} and were left out: {_listed(gids)}"
        )
    if result.without_products:
        rows = _listed(result.without_products)
        lines.append(f"warning: {len(result.without_products)} shoppers have no products left: row {rows}")
    if not result.published and not result.failed:
        why = f"none of the products is in this shop: {_OTHER_SHOP}" if result.unknown else "no row names a product"
        lines.append(f"error: nothing to publish, {why}")
    lines += [f"error: {problem}" for problem in file.problems]
    if file.bad > len(file.problems):
        lines.append(f"error: and {file.bad - len(file.problems)} more rows that cannot be used")
    lines += [f"error: row {_listed(rows)}: {reason}" for reason, rows in list(result.failed.items())[:_SHOWN]]
    if len(result.failed) > _SHOWN:
        lines.append(f"error: and {len(result.failed) - _SHOWN} more reasons")
    return lines


def _listed(values: Sequence[object]) -> str:
    more = f" and {len(values) - _SHOWN} more" if len(values) > _SHOWN else ""
    return ", ".join(map(str, values[:_SHOWN])) + more


def _summary(done: Publication, dry_run: bool) -> str:
    file, result = done.file, done.result
    made = f"; metaobject type {METAOBJECT_TYPE} {'would be' if dry_run else 'was'} defined" if done.defined else ""
    return (
        f"{done.shop}{' (dry run, nothing written)' if dry_run else ''}: {file.rows} rows: {result.published} "
        f"{'would be ' if dry_run else ''}published, {len(result.without_products)} without products, "
        f"{result.num_failed} failed, {file.bad} unusable, {file.repeated} repeated{made}"
    )


if __name__ == "__main__":
    sys.exit(main())
