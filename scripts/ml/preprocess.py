"""Interactions -> encoded sequences, from the command line: `python -m scripts.ml.preprocess INTERACTIONS`.

With `--engine spark` the interactions may also be a URL or, as `table:catalog.schema.name`, a table; the executors
write the sequences, into a folder that all of them see.
"""

import argparse
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from scripts.ml.spark_option import add_spark_option
from training.config import DEFAULT_CONFIG, load_config
from training.data.amazon_format import write_amazon_files
from training.data.columns import SPLITS
from training.data.interactions import ENGINES, read_interactions
from training.data.inventory import load_inventory
from training.data.sequences import EncodedSequences, build_dataset

DEFAULT_OUTPUT = Path("data/dataset")


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command line and returns its exit status: 0, or 1 with one line on stderr."""
    arguments = _parser().parse_args(argv)
    start = time.perf_counter()
    try:
        config = load_config(arguments.config)
        valid, test = arguments.valid_negatives, arguments.test_negatives
        inventory = load_inventory(arguments.inventory) if arguments.inventory else None
        dataset = build_dataset(
            read_interactions(arguments.interactions, arguments.engine, dict(arguments.spark), config.features),
            arguments.output_folder,
            valid_num_ngs=config.data.valid_num_ngs if valid is None else valid,
            test_num_ngs=config.data.test_num_ngs if test is None else test,
            rng_seed=arguments.seed,
            catalogue=inventory.handles if inventory else None,
            features=config.features,
            products=inventory.products if inventory else None,
        )
        seconds = time.perf_counter() - start
        print(_summary(dataset))
        print(f"Written to {arguments.output_folder} in {seconds:.1f} s with {arguments.engine}")
        if arguments.amazon_format:
            files = write_amazon_files(dataset, arguments.amazon_format)
            print(f"recommenders' text files written to {files.train.parent}")
    except (ValueError, OSError, ImportError) as error:
        print(f"error: {' '.join(str(error).split())}", file=sys.stderr)
        return 1
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m scripts.ml.preprocess", description=__doc__)
    parser.add_argument("interactions", help="interactions as .tsv or .parquet, or a folder of .parquet files")
    parser.add_argument("output_folder", nargs="?", type=Path, default=DEFAULT_OUTPUT, help="default: %(default)s")
    parser.add_argument("--inventory", type=Path, help="snapshot; interactions with other handles are dropped")
    parser.add_argument("--engine", choices=ENGINES, default=ENGINES[0], help="default: %(default)s")
    parser.add_argument(
        "--config", type=Path, default=DEFAULT_CONFIG, help="training configuration, which names custom features"
    )
    add_spark_option(parser)
    parser.add_argument(
        "--valid-negatives",
        type=_count,
        help="offline negatives a validation row (default: the configuration's)",
    )
    parser.add_argument(
        "--test-negatives",
        type=_count,
        help="offline negatives a test row (default: the configuration's)",
    )
    parser.add_argument("--seed", type=_count, default=42, help="seed of the negatives (default: %(default)s)")
    parser.add_argument(
        "--amazon-format", type=Path, metavar="FOLDER", help="also write recommenders' expanded text files"
    )
    return parser


def _count(text: str) -> int:
    number = int(text)
    if number < 0:
        raise argparse.ArgumentTypeError(f"should not be negative, received {text}")
    return number


def _summary(dataset: EncodedSequences) -> str:
    metadata = dataset.metadata
    dropped = metadata["dropped"]
    rows = [("Rows in", metadata["rows_in"]), ("Rows dropped", sum(dropped.values()))]
    rows += [(f"  {reason}", count) for reason, count in dropped.items()]
    rows += [("Rows kept", metadata["rows"]), ("  exact repetitions among them", metadata["repeated_rows"])]
    names = {"user": "Users", "item": "Items", "category": "Categories"}
    rows += [(label, metadata["sizes"][name] - 1) for name, label in names.items()]
    for split in SPLITS:
        rows.append((f"{split.capitalize()} rows", metadata["splits"][split]))
        rows.append(("  with a history", metadata["rows_with_history"][split]))
    for each in dataset.features.all:
        rows.append((f"{each.of.capitalize()} feature {each.name}: values", each.size - 1))
    width = max(len(label) for label, _ in rows)
    return "\n".join(f"{label:<{width}}  {count:>12,}" for label, count in rows)


if __name__ == "__main__":
    sys.exit(main())
