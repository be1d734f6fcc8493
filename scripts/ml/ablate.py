"""Shows side by side what features, each loss and each further choice in training are worth.

Synthetic data, leave-last-out:
    python -m scripts.ml.ablate synthetic data/interactions.tsv --inventory training/inventory.pkl
Real purchases, a temporal cut, with the table of items that their features come from:
    python -m scripts.ml.import_completejourney data/cj.parquet data/cj_items.json --before 2017-10-02
    python -m scripts.ml.ablate retail data/cj.parquet --before 2017-10-02 --basket basket --items data/cj_items.json

Interactions of the first part are encoded once, with the features of all rows; a row trains with its own. A folder that
is encoded already (with all of these features) will do instead. Each part replaces its own section of docs/ablation.md,
.json and .png. It is written after every row, and an interrupted call goes on where it was.
"""

import argparse
import logging
import re
import shlex
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import UTC, date, datetime
from datetime import time as midnight
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from scripts.ml.ablate_page import METRIC, TITLES, write
from scripts.ml.ablate_retail import Kept, categories_of, equal_blend, read_feature_tables
from scripts.ml.evaluate_future import read_purchases
from scripts.ml.item_groups import DEFAULT_GROUPS, read_groups
from training.ablation import (
    DEFAULT_ROWS,
    Costs,
    Line,
    Row,
    every_feature,
    load_rows,
    measure_costs,
    with_budget,
    with_fewer_held_out,
)
from training.config import DEFAULT_CONFIG, ConfigError, TrainingConfig, load_config
from training.data.interactions import read_interactions
from training.data.inventory import load_inventory
from training.data.sequences import EncodedSequences, build_dataset, load_dataset
from training.evaluation.baselines import OwnFrequency, Popularity, popularity_share
from training.evaluation.future import FutureCut, evaluate_ranker, temporal_cut
from training.evaluation.future_rankers import OwnFrequency as OwnFrequencyBefore
from training.evaluation.future_rankers import Popularity as PopularityBefore
from training.evaluation.protocol import Ranker, primary_metric, rank_rows
from training.evaluation.purchases import MIN_PURCHASES
from training.files import atomic_path
from training.future_slirec import VALID_ROWS, FutureSliRec, encode_history
from training.history_config import HistoryRankerConfig, load_history_config
from training.history_future import CandidateHistory
from training.losses import check_memory
from training.models.ranker import BEST, SliRecRanker
from training.trainer import train

HALF_LIFE = 20.0  # baskets, of own frequency


def parse(argv: Sequence[str] | None) -> argparse.Namespace:
    """Returns the command line's arguments."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("part", choices=tuple(TITLES), help="which of the two tables")
    parser.add_argument("data", type=Path, help="interactions, or encoded sequences (synthetic)")
    parser.add_argument("--inventory", type=Path, help="snapshot with the items' features (synthetic)")
    parser.add_argument("--items", type=Path, help="snapshot or Parquet with the items' features and groups (retail)")
    parser.add_argument("--examples", type=int, default=200_000, help="training examples of each run")
    parser.add_argument("--epochs", type=int, default=4, help="parts of a run between validations")
    parser.add_argument("--seeds", type=int, default=1, help="runs of each row, seeds 1, 2, ...")
    parser.add_argument("--shoppers", type=int, default=1000, help="shoppers to rank for, drawn at random")
    parser.add_argument("--before", type=date.fromisoformat, help="the cut, a day at 00:00 UTC (retail)")
    parser.add_argument("--valid-rows", type=int, default=VALID_ROWS, help="purchases of validation (retail)")
    parser.add_argument(
        "--groups", nargs="*", default=list(DEFAULT_GROUPS), help="of items, for the candidate-history ranker (retail)"
    )
    parser.add_argument("--ranker-config", type=Path, help="YAML of the candidate-history ranker's settings (retail)")
    parser.add_argument(
        "--candidate-history", action="store_true", help="add the candidate-history ranker, which takes long (retail)"
    )
    parser.add_argument("--basket", help="column of the basket (retail; default: a shopper's lines at one time)")
    parser.add_argument(
        "--min-purchases", type=int, default=MIN_PURCHASES, help="an item needs before the cut (retail)"
    )
    parser.add_argument("--rows", type=Path, default=DEFAULT_ROWS, help="YAML of named changes to the configuration")
    parser.add_argument("--config", type=Path, default=DEFAULT_CONFIG, help="what the rows change")
    parser.add_argument("--runs", type=Path, default=Path("runs/ablate"), help="folder of the runs")
    parser.add_argument("--output", type=Path, default=Path("docs"), help="folder of ablation.md, .json and .png")
    arguments = parser.parse_args(argv)
    arguments.command = shlex.join(sys.argv[1:] if argv is None else argv)
    return arguments


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
        self.features = every_feature(self.configs.values())

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

    def write(self, run: Any, notes: Sequence[str], others: Any) -> None:
        """Trains every row with every seed and writes the page after each.

        Args:
            run: Takes a row, its configuration and its folder; returns values by name, the row's own first, and the
                reports of the epochs.
            notes: Of the part.
            others: Returns the lines that are not trained.
        """
        lines: list[Line] = []
        further: dict[str, list[Any]] = {}  # of blends
        shown = others()
        with tqdm(total=len(self.rows) * self.arguments.seeds, desc="runs", unit="run") as bar:
            for number, row in enumerate(self.rows, start=1):
                values, epochs = [], []
                for seed in range(1, self.arguments.seeds + 1):
                    bar.set_postfix_str(row.name)
                    found, reports = run(row, self.budgeted(row, seed), self.folder(row, seed))
                    values.append(found.pop(row.name))
                    for name, each in found.items():
                        further.setdefault(name, []).append(each)
                    epochs += reports
                    bar.update()
                rate = float(np.mean([report["examples_per_second"] for report in epochs]))
                seconds = sum(report["seconds"] for report in epochs)
                means = [float(each.mean()) for each in values]
                lines.append(Line(row.name, np.mean(values, axis=0), means, seconds, rate))
                bar.write(f"{row.name}: {METRIC} {np.mean(means):.4f} after {seconds:.0f} s of training")
                blends = [Line(name, np.mean(each, axis=0)) for name, each in further.items()]
                missing = [each.name for each in self.rows[number:]]
                open_ = [f"Not trained yet: {'; '.join(missing)}."] if missing else []
                paths = write(self.arguments, [*lines, *blends, *shown], [*notes, *open_])
        for path in paths:
            print(f"wrote {path}")


def kept_values(folder: Path, make: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """Returns a trained run's values by name: those beside the run, or new ones, which are put there.

    Ranking a large catalogue takes longer than a short training; a run that was continued is ranked again.
    """
    path = folder / "values.npz"
    trained = max(each.stat().st_mtime for each in folder.rglob(f"{BEST}*"))
    if not path.is_file() or path.stat().st_mtime < trained:
        with atomic_path(path) as temporary, temporary.open("wb") as file:
            np.savez(file, **make())
    with np.load(path) as found:
        return dict(found)


def encoded(ablation: Ablation) -> EncodedSequences:
    """Returns the encoded sequences, of interactions with every row's features and in a folder beside the runs."""
    arguments = ablation.arguments
    if not arguments.data.is_file():
        return load_dataset(arguments.data)
    inventory = load_inventory(arguments.inventory) if arguments.inventory else None
    return build_dataset(
        read_interactions(arguments.data, features=ablation.features),
        arguments.runs / "dataset",
        catalogue=inventory.handles if inventory else None,
        features=ablation.features,
        products=inventory.products if inventory else None,
    )


def synthetic(ablation: Ablation) -> None:
    """Leave-last-out: every row ranks all items, seen ones in, for the last event of each shopper."""
    dataset = with_fewer_held_out(encoded(ablation), ablation.arguments.shoppers, np.random.default_rng(0))
    valid, rows = dataset.rows("valid"), dataset.rows("test")
    ablation.announce(dataset, len(valid), len(rows))

    def values_of(ranker: Ranker, view: EncodedSequences) -> Any:
        return primary_metric(rank_rows(ranker, view, rows, seen="in"))

    def run(row: Row, config: TrainingConfig, folder: Path) -> Any:
        result = train(dataset, config, folder, progress=False)
        ranker = SliRecRanker(result.model, config.data.max_seq_length, row.name)
        view = replace(dataset, features=dataset.features.chosen(config.features))
        view = view.viewed(config.data.same_time)
        return kept_values(folder, lambda: {row.name: values_of(ranker, view)}), result.history

    def others() -> list[Line]:
        share = popularity_share(dataset)
        return [Line(each.name, values_of(each, dataset)) for each in (OwnFrequency(share), Popularity(share))]

    note = f"{len(rows):,} shoppers, {dataset.num_items - 1:,} products, full ranking, products seen before allowed."
    ablation.write(run, [note], others)


def retail(ablation: Ablation) -> None:
    """A temporal cut: every row ranks all items for shoppers who buy in the window after it."""
    arguments = ablation.arguments
    if arguments.before is None:
        raise ValueError("`--before` should name the day of the cut. Received: none")
    purchases, categories = read_purchases(arguments.data, arguments.basket), categories_of(arguments.data)
    before = int(datetime.combine(arguments.before, midnight(), UTC).timestamp())
    tables = read_feature_tables(arguments.data, arguments.items, ablation.features, before)
    cut: FutureCut = temporal_cut(purchases, before, min_purchases=arguments.min_purchases)
    drawn = np.sort(np.random.default_rng(0).permutation(len(cut.users))[: arguments.shoppers])
    cut = replace(cut, users=cut.users[drawn], targets=cut.targets[drawn])
    first = ablation.configs[ablation.rows[0].name].features
    rng = np.random.default_rng(0)
    dataset = encode_history(
        cut.history, categories, valid_rows=arguments.valid_rows, features=first, tables=tables, rng=rng
    )
    ablation.announce(dataset, arguments.valid_rows, len(cut.users))
    own = Kept.of(OwnFrequencyBefore(half_life=HALF_LIFE).fit(cut.history), cut.users)

    def values_of(ranker: Any) -> Any:
        outcome = evaluate_ranker(ranker.fit(cut.history), cut, np.random.default_rng(0), views=("all",))
        return outcome["all"].values[METRIC]

    def run(row: Row, config: TrainingConfig, folder: Path) -> Any:
        ranker = FutureSliRec(config, folder, categories, row.name, False, tables, arguments.valid_rows)
        ranker.fit(cut.history)

        def values() -> dict[str, Any]:
            kept = Kept.of(ranker, cut.users)
            blends = [equal_blend([kept, part]) for part in (own, *candidates)] if row.blend else []
            return {row.name: values_of(kept)} | {f"Blend: {each.name}": values_of(each) for each in blends}

        return kept_values(folder, values), ranker.epochs

    candidates: list[Kept] = []
    if arguments.candidate_history:
        settings = load_history_config(arguments.ranker_config) if arguments.ranker_config else HistoryRankerConfig()
        groups = read_groups(arguments.data, arguments.groups, arguments.items)
        fitted = CandidateHistory(groups, settings.model_copy(update={"days": cut.days})).fit(cut.history)
        candidates = [Kept.of(fitted, cut.users)]

    def others() -> list[Line]:
        return [Line(each.name, values_of(each)) for each in (own, *candidates, PopularityBefore())]

    events = int((dataset.split == 0).sum())
    notes = [
        f"Learned before {arguments.before}, {cut.days} days after it ranked: {len(cut.users):,} shoppers, "
        f"{cut.history.num_items:,} products, already bought ones allowed. An epoch over all {events:,} events would "
        f"be {events / arguments.examples:.1f} times the examples of a run.",
        f"Own frequency: half-life {HALF_LIFE:.0f} baskets. Blends: the mean of scores standardised over the products "
        "of a shopper, no weight chosen.",
    ]
    ablation.write(run, notes, others)


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command line; returns the exit status."""
    arguments = parse(argv)
    logging.basicConfig(level=logging.WARNING, format="%(message)s")
    try:
        if min(arguments.examples, arguments.epochs, arguments.seeds, arguments.shoppers) < 1:
            raise ConfigError("`--examples`, `--epochs`, `--seeds` and `--shoppers` should be positive integers")
        ablation = Ablation(arguments)
        (synthetic if arguments.part == "synthetic" else retail)(ablation)
    except (OSError, ValueError) as error:
        print(f"error: {' '.join(str(error).split())}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
