"""Shows side by side what each loss and each further choice in training is worth.

Synthetic data, leave-last-out: python -m scripts.ml.ablate synthetic data/dataset --examples 200000
Real purchases, a temporal cut:  python -m scripts.ml.ablate retail INTERACTIONS --before 2017-10-02 --examples 200000
Each part replaces its own section of docs/ablation.md, .json and .png. An interrupted call goes on where it was.
"""

import argparse
import json
import logging
import re
import sys
import time
from collections.abc import Sequence
from datetime import UTC, date, datetime
from datetime import time as midnight
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from tqdm import tqdm

from scripts.ml.evaluate_future import read_purchases
from training.ablation import (
    DEFAULT_ROWS,
    Costs,
    Line,
    Row,
    load_rows,
    markdown,
    measure_costs,
    plot,
    table,
    with_budget,
    with_fewer_held_out,
)
from training.config import DEFAULT_CONFIG, ConfigError, TrainingConfig, load_config
from training.data.columns import CATEGORY, ITEM
from training.data.interactions import read_interactions
from training.data.sequences import EncodedSequences, load_dataset
from training.evaluation.baselines import OwnFrequency, Popularity, popularity_share
from training.evaluation.future import FutureCut, evaluate_ranker, temporal_cut
from training.evaluation.future_rankers import OwnFrequency as OwnFrequencyBefore
from training.evaluation.future_rankers import Popularity as PopularityBefore
from training.evaluation.protocol import Ranker, primary_metric, rank_rows
from training.evaluation.purchases import MIN_PURCHASES
from training.files import atomic_path, write_json
from training.future_slirec import VALID_ROWS, FutureSliRec, encode_history
from training.losses import check_memory
from training.models.ranker import SliRecRanker
from training.trainer import train

METRIC = "NDCG@10"
HALF_LIFE = 20.0  # baskets, of own frequency
TITLES = {"synthetic": "Synthetic data, last product left out", "retail": "Complete Journey, products of 21 days"}


def parse(argv: Sequence[str] | None) -> argparse.Namespace:
    """Returns the command line's arguments."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("part", choices=tuple(TITLES), help="which of the two tables")
    parser.add_argument("data", type=Path, help="encoded sequences (synthetic) or interactions with baskets (retail)")
    parser.add_argument("--examples", type=int, default=200_000, help="training examples of each run")
    parser.add_argument("--epochs", type=int, default=4, help="parts of a run between validations")
    parser.add_argument("--seeds", type=int, default=1, help="runs of each row, seeds 1, 2, ...")
    parser.add_argument("--shoppers", type=int, default=1000, help="shoppers of validation and test (synthetic)")
    parser.add_argument("--before", type=date.fromisoformat, help="the cut, a day at 00:00 UTC (retail)")
    parser.add_argument("--basket", help="column of the basket (retail; default: a shopper's lines at one time)")
    parser.add_argument(
        "--min-purchases", type=int, default=MIN_PURCHASES, help="an item needs before the cut (retail)"
    )
    parser.add_argument("--rows", type=Path, default=DEFAULT_ROWS, help="YAML of named changes to the configuration")
    parser.add_argument("--config", type=Path, default=DEFAULT_CONFIG, help="what the rows change")
    parser.add_argument("--runs", type=Path, default=Path("runs/ablate"), help="folder of the runs")
    parser.add_argument("--output", type=Path, default=Path("docs"), help="folder of ablation.md, .json and .png")
    return parser.parse_args(argv)


class Ablation:
    """The runs of one part.

    Args:
        arguments: The command line.

    Raises:
        ConfigError: A file of rows or settings does not fit.
        ValueError: A row's loss does not fit the data.
    """

    def __init__(self, arguments: argparse.Namespace):
        self.arguments = arguments
        self.rows = load_rows(arguments.rows, arguments.part)
        base = load_config(arguments.config)
        # Rows that contradict themselves show now, not after the runs before them.
        self.configs = {row.name: base.replaced(**row.config) for row in self.rows}

    def budgeted(self, row: Row, seed: int) -> TrainingConfig:
        """Returns the configuration of one run."""
        return with_budget(self.configs[row.name], self.arguments.examples, self.arguments.epochs, seed)

    def announce(self, dataset: EncodedSequences, ranked: int, tested: int) -> Costs:
        """Measures some steps and says how long everything takes.

        Args:
            dataset: Data of the first row.
            ranked: Rows of a validation.
            tested: Rows ranked after a run.
        """
        for config in self.configs.values():
            check_memory(config, dataset.num_items)
        first = self.budgeted(self.rows[0], 1)
        costs = measure_costs(dataset, first)
        rows = self.arguments.epochs * ranked + tested
        seconds = self.arguments.seeds * sum(
            costs.seconds(config, dataset.num_items, self.arguments.examples, rows) for config in self.configs.values()
        )
        print(
            f"{len(self.rows)} rows x {self.arguments.seeds} seeds x {self.arguments.examples:,} examples: about "
            f"{seconds / 60:.0f} minutes (measured: {1000 * costs.example:.2f} ms an example, "
            f"{1000 * costs.candidate:.2f} ms a candidate more, {1000 * costs.row:.1f} ms a ranking)",
            flush=True,
        )
        return costs

    def folder(self, row: Row, seed: int) -> Path:
        """Returns the folder of one run; another budget is another run."""
        stem = re.sub(r"[^a-z0-9]+", "-", row.name.lower()).strip("-")
        budget = f"{self.arguments.examples}x{self.arguments.epochs}x{self.arguments.shoppers}"
        return self.arguments.runs / self.arguments.part / f"{budget}-{stem}-{seed}"

    def lines(self, run: Any) -> list[Line]:
        """Trains every row with every seed; `run(row, config, folder)` returns values and epochs."""
        lines: list[Line] = []
        bar = tqdm(total=len(self.rows) * self.arguments.seeds, desc="runs", unit="run")
        with bar:
            for row in self.rows:
                start, values, epochs = time.perf_counter(), [], []
                for seed in range(1, self.arguments.seeds + 1):
                    bar.set_postfix_str(row.name)
                    found, reports = run(row, self.budgeted(row, seed), self.folder(row, seed))
                    values.append(found)
                    epochs += reports
                    bar.update()
                rate = float(np.mean([report["examples_per_second"] for report in epochs]))
                seconds = time.perf_counter() - start
                means = [float(each.mean()) for each in values]
                lines.append(Line(row.name, np.mean(values, axis=0), means, seconds, rate))
        return lines


def synthetic(ablation: Ablation) -> tuple[list[Line], list[str]]:
    """Leave-last-out: every row ranks all items, seen ones in, for the last event of each shopper."""
    arguments = ablation.arguments

    def load(path: Path) -> EncodedSequences:
        return with_fewer_held_out(load_dataset(path), arguments.shoppers, np.random.default_rng(0))

    dataset = load(arguments.data)
    valid, rows = dataset.rows("valid"), dataset.rows("test")
    ablation.announce(dataset, len(valid), len(rows))

    def values_of(ranker: Ranker, view: EncodedSequences) -> Any:
        return primary_metric(rank_rows(ranker, view, rows, seen="in"))

    def run(row: Row, config: TrainingConfig, folder: Path) -> Any:
        data = dataset if row.dataset is None else load(row.dataset)
        if not np.array_equal(data.rows("test"), rows) or not np.array_equal(data.item[rows], dataset.item[rows]):
            raise ValueError(f"`dataset` of {row.name!r} should hold the same interactions as {arguments.data}")
        result = train(data, config, folder, progress=False)
        ranker = SliRecRanker(result.model, config.data.max_seq_length, row.name)
        return values_of(ranker, data.viewed(config.data.same_time)), result.history

    lines = ablation.lines(run)
    share = popularity_share(dataset)
    lines += [Line(each.name, values_of(each, dataset)) for each in (OwnFrequency(share), Popularity(share))]
    notes = f"{len(rows):,} shoppers, {dataset.num_items - 1:,} products, full ranking, products seen before allowed."
    return lines, [notes]


def categories_of(path: Path) -> np.ndarray:
    """Returns the number of each item's category, items by the alphabet as `read_purchases` numbers them."""
    table_ = read_interactions(path).select(pl.col(ITEM).cast(pl.String), pl.col(CATEGORY).cast(pl.String)).collect()
    by_item = table_.group_by(ITEM).agg(pl.col(CATEGORY).min())
    items, names = by_item[ITEM].to_numpy().astype(np.str_), by_item[CATEGORY].fill_null("").to_numpy().astype(np.str_)
    return np.unique(names[np.argsort(items)], return_inverse=True)[1]


def retail(ablation: Ablation) -> tuple[list[Line], list[str]]:
    """A temporal cut: every row ranks all items for everyone who buys in the window after it."""
    arguments = ablation.arguments
    if arguments.before is None:
        raise ValueError("`--before` should name the day of the cut. Received: none")
    purchases, categories = read_purchases(arguments.data, arguments.basket), categories_of(arguments.data)
    before = int(datetime.combine(arguments.before, midnight(), UTC).timestamp())
    cut: FutureCut = temporal_cut(purchases, before, min_purchases=arguments.min_purchases)
    dataset = encode_history(cut.history, categories, rng=np.random.default_rng(0))
    ablation.announce(dataset, VALID_ROWS, len(cut.users))

    def values_of(ranker: Any) -> Any:
        outcome = evaluate_ranker(ranker.fit(cut.history), cut, np.random.default_rng(0), views=("all",))
        return outcome["all"].values[METRIC]

    def run(row: Row, config: TrainingConfig, folder: Path) -> Any:
        if row.dataset is not None:
            raise ConfigError(f"`dataset` belongs to the part synthetic. Received: one in {row.name!r}")
        ranker = FutureSliRec(config, folder, categories, row.name, progress=False)
        return values_of(ranker), ranker.epochs

    lines = ablation.lines(run)
    for ranker in (OwnFrequencyBefore(half_life=HALF_LIFE), PopularityBefore()):
        lines.append(Line(ranker.name, values_of(ranker)))
    events = int((dataset.split == 0).sum())
    notes = (
        f"Learned before {arguments.before}, {cut.days} days after it ranked: {len(cut.users):,} shoppers, "
        f"{cut.history.num_items:,} products, already bought ones allowed. An epoch over all {events:,} events would "
        f"be {events / arguments.examples:.1f} times the examples of a run."
    )
    return lines, [notes]


def write(arguments: argparse.Namespace, lines: list[Line], notes: list[str]) -> list[Path]:
    """Replaces the part's section in the three files, each atomically, and returns the paths."""
    path = arguments.output / "ablation.json"
    document: dict[str, Any] = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {"parts": {}}
    budget = (
        f"Each run: {arguments.examples:,} training examples in {arguments.epochs} epochs, the best by validation; "
        f"{arguments.seeds} seed(s). Interval and lead: paired bootstrap over shoppers."
    )
    command = f"`python -m scripts.ml.ablate {arguments.part} ... --examples {arguments.examples} " + (
        f"--epochs {arguments.epochs} --seeds {arguments.seeds} --shoppers {arguments.shoppers}`"
    )
    document["metric"] = METRIC
    document["parts"][arguments.part] = {
        "notes": [*notes, budget, command],
        "lines": table(lines, METRIC, np.random.default_rng(0)),
    }
    parts = {TITLES[name]: document["parts"][name] for name in TITLES if name in document["parts"]}
    write_json(document, path)
    sections = [markdown(title, part["notes"], METRIC, part["lines"]) for title, part in parts.items()]
    head = "# What each choice in training is worth\n\n"
    paths = [path, arguments.output / "ablation.md", arguments.output / "ablation.png"]
    with atomic_path(paths[1]) as temporary:
        temporary.write_text(head + "\n".join(sections) + "\n![Ablation](ablation.png)\n", encoding="utf-8")
    with atomic_path(paths[2]) as temporary:
        plot({title: part["lines"] for title, part in parts.items()}, METRIC).savefig(temporary, format="png")
    return paths


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command line; returns the exit status."""
    arguments = parse(argv)
    logging.basicConfig(level=logging.WARNING, format="%(message)s")
    try:
        if min(arguments.examples, arguments.epochs, arguments.seeds, arguments.shoppers) < 1:
            raise ConfigError("`--examples`, `--epochs`, `--seeds` and `--shoppers` should be positive integers")
        ablation = Ablation(arguments)
        lines, notes = (synthetic if arguments.part == "synthetic" else retail)(ablation)
        for path in write(arguments, lines, notes):
            print(f"wrote {path}")
    except (OSError, ValueError) as error:
        print(f"error: {' '.join(str(error).split())}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
