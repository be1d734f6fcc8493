"""What the importers of events of several kinds share: options of their command lines, and the weights of kinds."""

import argparse
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from scripts.ml.import_table import parse_pairs
from training.data.event_columns import KINDS

WEIGHTS: Final = {"view": 1.0, "cart": 3.0, "purchase": 5.0}  # a start; what is best is chosen on validation


def add_options(parser: argparse.ArgumentParser) -> None:
    """Adds --output, --inventory and --weights."""
    parser.add_argument("--output", required=True, type=Path, help=".parquet, or anything else for text without kinds")
    parser.add_argument("--inventory", type=Path, help="snapshot: handles, categories; other products are dropped")
    parser.add_argument("--weights", nargs="+", default=[], metavar="KIND=NUMBER", help="of view, cart and purchase")


def parse_weights(pairs: Sequence[str]) -> dict[str, float]:
    """Returns what --weights says.

    Raises:
        ValueError: If a text is no `KIND=NUMBER`, or a kind occurs twice.
    """
    return {kind: float(number) for kind, number in parse_pairs(pairs, "--weights").items()}


def checked_weights(weights: Mapping[str, float] | None) -> Mapping[str, float]:
    """Returns the weights, none for None.

    Raises:
        ValueError: If one is of no kind.
    """
    if unknown := sorted(set(weights or {}) - set(KINDS)):
        raise ValueError(f"`weights` should be of {', '.join(KINDS)}. Received: {', '.join(unknown)}")
    return weights or {}
