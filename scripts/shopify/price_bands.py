"""Price bands: a catalogue's prices in a few groups of about as many products each."""

from collections.abc import Sequence
from decimal import Decimal

import numpy as np


def price_bands(prices: Sequence[str | None], bands: int = 5) -> list[str | None]:
    """Returns the band of each price, by the quantiles of all of them.

    Every edge is a price of the catalogue, so that equal prices are always in one band; where many products have one
    price, there may be fewer bands.

    Args:
        prices: Decimal numbers as text, in the shop's currency; None where a product has none.
        bands: How many at most.

    Returns:
        Names such as `1 (under 20.00)`, `2 (20.00 to 34.99)`, `3 (35.00 and more)`, None where there is no price.
    """
    cents = np.array([int(Decimal(price) * 100) for price in prices if price is not None], dtype=np.int64)
    if not cents.size:
        return [None] * len(prices)
    edges = np.unique(np.quantile(cents, np.arange(1, bands) / bands, method="higher"))
    edges = edges[edges > cents.min()]
    texts = [f"{edge / 100:.2f}" for edge in edges]
    names = ["1 (any price)"]
    if texts:
        between = [
            f"{number} ({low} to {(high - 1) / 100:.2f})"
            for number, (low, high) in enumerate(zip(texts, edges[1:], strict=False), start=2)
        ]
        names = [f"1 (under {texts[0]})", *between, f"{len(texts) + 1} ({texts[-1]} and more)"]
    found = iter(np.searchsorted(edges, cents, side="right"))
    return [None if price is None else names[next(found)] for price in prices]
