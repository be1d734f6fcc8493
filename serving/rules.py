"""Rules that a model is loaded with: which products of its catalogue may be recommended at all."""

import logging
from collections.abc import Iterable, Sequence

import numpy as np
import numpy.typing as npt

from serving.config import ConfigError, ServeConfig
from serving.tables import Catalogue

logger = logging.getLogger(__name__)


def allowed_products(catalogue: Catalogue, config: ServeConfig) -> npt.NDArray[np.bool_]:
    """Applies the include and exclude rules; capital and small letters are the same, as in Shopify's tags.

    A category or tag that no product has is logged as a warning: it may be misspelt, or sold out of the catalogue.

    Args:
        catalogue: Products.
        config: The rules; all of them hold together.

    Returns:
        (P,) whether each product may be recommended.

    Raises:
        ConfigError: The rules leave no product.
    """
    allowed = np.ones(len(catalogue), np.bool_)
    if config.include_categories or config.exclude_categories:
        categories: list[Sequence[str]] = [[category] for category in catalogue.categories.to_pylist()]
        if config.include_categories:
            allowed &= _having(categories, config.include_categories, "include_categories")
        allowed &= ~_having(categories, config.exclude_categories, "exclude_categories")
    if config.include_tags or config.exclude_tags:
        tags: list[Sequence[str]] = catalogue.tags.to_pylist()
        if config.include_tags:
            allowed &= _having(tags, config.include_tags, "include_tags")
        allowed &= ~_having(tags, config.exclude_tags, "exclude_tags")
    if config.exclude_out_of_stock:
        allowed &= catalogue.available
    if not allowed.any():
        raise ConfigError(
            "Serving configuration: the rules (include_*, exclude_*) should leave products to recommend. "
            f"Received: rules that exclude all {len(catalogue)}"
        )
    return allowed


def _having(products: Iterable[Sequence[str]], names: Sequence[str], rule: str) -> npt.NDArray[np.bool_]:
    """(P,) whether each product has one of the names."""
    wanted = {name.casefold(): name for name in names}
    owned = [{name.casefold() for name in product} for product in products]
    if absent := sorted(name for folded, name in wanted.items() if not any(folded in names_ for names_ in owned)):
        logger.warning("%s: no product of the catalogue has %s", rule, ", ".join(map(repr, absent)))
    return np.array([not wanted.keys().isdisjoint(names_) for names_ in owned], np.bool_)
