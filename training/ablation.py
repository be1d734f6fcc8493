"""An ablation: named changes to one configuration, trained alike and shown side by side with their intervals."""

import os
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final, Literal

import numpy as np
import yaml
from matplotlib.figure import Figure
from numpy.typing import NDArray
from pydantic import Field, ValidationError

from training.config import ConfigError, Section, TrainingConfig
from training.data.batches import training_batches
from training.data.sequences import EncodedSequences
from training.evaluation.bootstrap import interval
from training.feature_config import OWNERS, Feature, FeaturesConfig, Owner
from training.plot_style import BLUE, GREY, INK, new_figure, set_titles
from training.trainer import Trainer

Part = Literal["synthetic", "retail"]
DEFAULT_ROWS: Final = Path(__file__).with_name("ablation.yaml")
SAMPLES: Final = 2000  # resamples of an interval
_TIMED: Final = 4  # steps of each width that the forecast is made of


class Row(Section):
    """One line of the table."""

    name: str = Field(min_length=1, description="Name in the table.")
    config: dict[str, dict[str, Any]] = Field(default_factory=dict, description="Changes to the base configuration.")
    only: Part | None = Field(default=None, description="The only part that the row belongs to.")
    blend: bool = Field(default=False, description="Whether to show it blended with own frequency, too (retail).")


class Rows(Section):
    """The whole file."""

    rows: tuple[Row, ...] = Field(min_length=1)


def load_rows(path: str | os.PathLike[str], part: Part) -> tuple[Row, ...]:
    """Reads the rows of a part.

    Raises:
        ConfigError: The file is missing, is not YAML or holds something else, or two rows have one name.
    """
    try:
        rows = Rows.model_validate(yaml.safe_load(Path(path).read_text(encoding="utf-8"))).rows
    except (OSError, yaml.YAMLError, ValidationError) as error:
        raise ConfigError(f"Cannot read the rows of {path}: {error}") from error
    chosen = tuple(row for row in rows if row.only in (None, part))
    if not chosen or len({row.name for row in chosen}) < len(chosen):
        names = [row.name for row in chosen]
        raise ConfigError(f"{path} should hold rows with different names for {part}. Received: {names}")
    return chosen


def with_budget(config: TrainingConfig, examples: int, epochs: int, seed: int) -> TrainingConfig:
    """Returns the configuration with this many examples of training, spread evenly over the epochs, and a seed."""
    each = max(1, examples // epochs)
    return config.replaced(train={"epoch_examples": each, "epochs": epochs, "EARLY_STOP": 0, "seed": seed})


def every_feature(configs: Iterable[TrainingConfig]) -> FeaturesConfig:
    """Returns the features that any of the configurations names, which one data set can be encoded with for all.

    Raises:
        ConfigError: Two of them mean different things by one name.
    """
    found: dict[Owner, dict[str, Feature]] = {owner: {} for owner in OWNERS}
    for config in configs:
        for owner in OWNERS:
            for feature in config.features.of(owner):
                known = found[owner].setdefault(feature.name, feature)
                if known.model_copy(update={"dim": feature.dim}) != feature:
                    raise ConfigError(
                        f"The {owner} feature {feature.name!r} should be the same in all rows, but for its `dim`. "
                        f"Received: {known} and {feature}"
                    )
    return FeaturesConfig(**{owner: tuple(each.values()) for owner, each in found.items()})


def with_fewer_held_out(dataset: EncodedSequences, shoppers: int, rng: np.random.Generator) -> EncodedSequences:
    """Returns the same data set with the held-out rows of some shoppers only; those of the others are in no split.

    Ranking all items for everyone would take longer than a short training. What is trained on stays the same.

    Args:
        dataset: Encoded sequences.
        shoppers: Shoppers to keep, drawn at random; all if there are no more.
        rng: Source of the draw.
    """
    tested = np.unique(dataset.user[dataset.rows("test")])
    kept = np.isin(dataset.user, rng.permutation(tested)[:shoppers])
    negatives = {split: drawn[kept[dataset.rows(split)]] for split, drawn in dataset.negatives.items()}
    split = np.where((dataset.split == 0) | kept, dataset.split, -1).astype(np.int8)
    return replace(dataset, split=split, negatives=negatives)


@dataclass(frozen=True)
class Costs:
    """Measured seconds.

    Attributes:
        example: Of one example with no candidates.
        candidate: Of one further candidate of an example.
        row: Of ranking the whole vocabulary for one shopper.
    """

    example: float
    candidate: float
    row: float

    def seconds(self, config: TrainingConfig, num_items: int, examples: int, rows: int) -> float:
        """Returns the seconds of a run, a pool's candidates counted as a third: they have no gradients.

        Args:
            config: Its negatives.
            num_items: Size of the vocabulary.
            examples: Examples it trains on, over all epochs.
            rows: Rows it ranks, in validation and test together.
        """
        train = config.train
        candidates = num_items - 1 if train.loss == "full_softmax" else 1 + train.num_negatives
        pool = train.hard_pool / 3 if train.hard_num_ngs else 0
        return examples * (self.example + (candidates + pool) * self.candidate) + rows * self.row


def measure_costs(dataset: EncodedSequences, config: TrainingConfig) -> Costs:
    """Measures steps of two widths and a ranking, with a network that is thrown away."""
    narrow = config.replaced(
        train={"loss": "softmax", "logq_correction": False, "hard_num_ngs": 0, "epoch_examples": None}
        | {"train_num_ngs": 1, "history_num_ngs": 0, "catalogue_num_ngs": 2}
    )
    wide = narrow.replaced(train={"catalogue_num_ngs": 14})
    with TemporaryDirectory() as folder:
        trainer = Trainer(dataset, narrow, folder, progress=False)
        seconds = [_step_seconds(trainer, each.train) for each in (narrow, wide)]
        rows = trainer.dataset.rows("valid")[:64]
        trainer.ranker.score(trainer.dataset, rows)
        start = time.perf_counter()
        trainer.ranker.score(trainer.dataset, rows)
        row = (time.perf_counter() - start) / len(rows)
    candidate = max(0.0, (seconds[1] - seconds[0]) / 12)
    return Costs(max(0.0, seconds[0] - 4 * candidate), candidate, row)


def _step_seconds(trainer: Trainer, train: Any) -> float:
    """Returns the seconds of an example of some steps, after one that is not counted."""
    rng = np.random.default_rng(0)
    batches = training_batches(trainer.dataset, train, trainer.config.data.max_seq_length, None, rng)
    start, examples = 0.0, 0
    for number, batch in zip(range(_TIMED + 1), batches, strict=False):
        float(trainer.step(batch))
        if number == 0:
            start = time.perf_counter()
        else:
            examples += len(batch["length"])
    return (time.perf_counter() - start) / max(1, examples)


@dataclass(frozen=True)
class Line:
    """A method in the table.

    Attributes:
        name: Row, or baseline.
        values: (N,) metric of each shopper, the mean over seeds.
        seeds: Mean over shoppers for each seed; empty for a baseline.
        seconds: Of training, all seeds.
        examples_per_second: In training, the mean over epochs and seeds; None for a baseline.
    """

    name: str
    values: NDArray[np.float64]
    seeds: Sequence[float] = ()
    seconds: float = 0.0
    examples_per_second: float | None = None


def table(lines: Sequence[Line], metric: str, rng: np.random.Generator) -> list[dict[str, Any]]:
    """Returns a document for each line: mean, 95 % interval, and lead over the first line with its interval.

    Intervals are of the paired bootstrap over shoppers, the same resamples for all lines.
    """
    values = np.stack([line.values for line in lines])  # (L, N)
    count = values.shape[1]
    means = np.stack([values[:, rng.integers(count, size=count)].mean(axis=1) for _ in range(SAMPLES)])
    documents: list[dict[str, Any]] = []
    for place, line in enumerate(lines):
        lead = None
        if place:
            low, high = interval(means[:, place] - means[:, 0])
            lead = {"mean": float(values[place].mean() - values[0].mean()), "low": low, "high": high}
        low, high = interval(means[:, place])
        documents.append(
            {
                "name": line.name,
                metric: float(values[place].mean()),
                "low": low,
                "high": high,
                "lead": lead,
                "seeds": [float(value) for value in line.seeds],
                "seconds": line.seconds,
                "examples_per_second": line.examples_per_second,
            }
        )
    return documents


def markdown(title: str, notes: Sequence[str], metric: str, documents: Sequence[Mapping[str, Any]]) -> str:
    """Returns a section with the table."""
    lines = [f"## {title}", "", *(f"- {note}" for note in notes), ""]
    lines.append(f"| | {metric} [95 %] | lead over the first row [95 %] | by seed | examples/s | seconds of training |")
    lines.append("|---|---|---|---|---|---|")
    for each in documents:
        lead = each["lead"]
        shown = "" if lead is None else f"{lead['mean']:+.4f} [{lead['low']:+.4f}, {lead['high']:+.4f}]"
        seeds = ", ".join(f"{value:.4f}" for value in each["seeds"])
        rate = each["examples_per_second"]
        figure = f"{each[metric]:.4f} [{each['low']:.4f}, {each['high']:.4f}]"
        speed = "" if rate is None else f"{rate:,.0f}"
        lines.append(f"| {each['name']} | {figure} | {shown} | {seeds} | {speed} | {each['seconds']:.0f} |")
    return "\n".join(lines) + "\n"


def plot(parts: Mapping[str, Sequence[Mapping[str, Any]]], metric: str) -> Figure:
    """Returns the lines of each part with their intervals, side by side; baselines are grey."""
    longest = max(len(documents) for documents in parts.values())
    figure, axes = new_figure(7.5 * len(parts), 1.4 + 0.42 * longest, len(parts))
    for axis, (title, documents) in zip(axes, parts.items(), strict=True):
        for place, each in enumerate(reversed(documents)):
            colour = BLUE if each["seeds"] else GREY
            axis.plot([each["low"], each["high"]], [place, place], color=colour, linewidth=2.5)
            axis.plot(each[metric], place, "o", color=colour)
            axis.annotate(f"{each[metric]:.3f}", (each[metric], place), xytext=(0, 6), textcoords="offset points",
                          ha="center", fontsize=8, color=INK)  # fmt: skip
        axis.set_yticks(range(len(documents)), [each["name"] for each in reversed(documents)])
        set_titles(axis, title, f"{metric}, 95 % interval over shoppers", "")
    return figure
