"""Measures the commands against a local shop, on a real clock and as processes of their own.

    python -m scripts.shopify.dev_store.trial faults      # a fault in every tenth request
    python -m scripts.shopify.dev_store.trial kills       # killed at 20 random moments, started again
    python -m scripts.shopify.dev_store.trial scale       # 10,000 products
    python -m scripts.shopify.dev_store.trial publish     # 100,000 shoppers
    python -m scripts.shopify.dev_store.trial all

Prints a table and adds the rows to runs/shopify_trial.json. The exit status is 1 where something came out wrong.
"""

import argparse
import json
import random
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from scripts.shopify.answers import ShopifyError
from scripts.shopify.dev_store.state import StateError
from scripts.shopify.dev_store.trial_faults import trial_faults
from scripts.shopify.dev_store.trial_kills import trial_kills
from scripts.shopify.dev_store.trial_scale import trial_publish, trial_scale
from training.files import write_json

Row = Mapping[str, Any]
OUTPUT: Final = Path("runs/shopify_trial.json")


def _positive(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"should be a positive integer. Received: {text}")
    return int(text)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description="Measure the Shopify commands against a local shop.")
    parser.add_argument("trial", choices=("faults", "kills", "scale", "publish", "all"))
    parser.add_argument("--products", type=_positive, help="products of the shop (default: 240, scale: 10000)")
    parser.add_argument("--shoppers", type=_positive, default=100_000, help="shoppers to publish for (default: 100000)")
    parser.add_argument("--kills", type=_positive, default=20, help="how often a command is killed (default: 20)")
    parser.add_argument("--seed", type=int, default=7, help="of the random moments (default: 7)")
    parser.add_argument("--output", type=Path, default=OUTPUT, help=f"file for the rows (default: {OUTPUT})")
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command line; returns 0 where every trial ended right."""
    arguments = _parser().parse_args(argv)
    small, large = arguments.products or 240, arguments.products or 10_000
    trials: dict[str, Callable[[Path], list[Row]]] = {
        "faults": lambda folder: trial_faults(folder, num_products=small),
        "kills": lambda folder: trial_kills(
            folder, rng=random.Random(arguments.seed), num_kills=arguments.kills, num_products=small
        ),
        "scale": lambda folder: trial_scale(folder, num_products=large),
        "publish": lambda folder: trial_publish(folder, num_shoppers=arguments.shoppers, num_products=small),
    }
    right = True
    try:
        for name, trial in trials.items():
            if arguments.trial in (name, "all"):
                with tempfile.TemporaryDirectory(prefix=f"shopify-trial-{name}-") as folder:
                    rows = trial(Path(folder))
                _save(arguments.output, name, rows)
                print(f"{name}\n{table(rows)}\n")
                right &= not any(row.get("problems") for row in rows)
    except (ShopifyError, StateError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print(f"Stopped; the trials that were finished are in {arguments.output}", file=sys.stderr)
        return 130
    print(f"{'All as it should be' if right else 'Something is wrong: see the column problems'}; {arguments.output}")
    return 0 if right else 1


def table(rows: Sequence[Row]) -> str:
    """Returns rows as aligned columns of text; a column that is empty everywhere is left out."""
    names = [name for name in dict.fromkeys(key for row in rows for key in row) if any(row.get(name) for row in rows)]
    cells = [names] + [[_cell(row.get(name)) for name in names] for row in rows]
    widths = [max(len(line[column]) for line in cells) for column in range(len(names))]
    lines = ("  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)) for line in cells)
    return "\n".join(line.rstrip() for line in lines)


def _cell(value: Any) -> str:
    if isinstance(value, list):
        return "; ".join(map(str, value))
    return "" if value is None else f"{value:,}" if isinstance(value, int | float) else str(value)


def _save(path: Path, name: str, rows: list[Row]) -> None:
    known = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    write_json({**known, name: rows}, path)


if __name__ == "__main__":
    sys.exit(main())
