"""Groups of rows, and every method's figures in each: who profits, and who does not."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from training.evaluation.bootstrap import bootstrap_means, interval
from training.evaluation.metrics import FloatArray

NEW_EVENTS: Final = 5  # a shopper with at most so many earlier events is new
LENGTH_EDGES: Final = (1, 5, 10, 20, 50)  # first event number of each band of history lengths
MOST_CATEGORIES: Final = 10
SAMPLES: Final = 1000
POPULARITY_BANDS: Final = ("never in training", "head: a third of events", "middle third", "tail: last third")


@dataclass(frozen=True, eq=False)
class Segmentation:
    """Rows in groups.

    Attributes:
        title: What the groups differ in.
        labels: Name of each group.
        member: (N,) int64, group of each row.
    """

    title: str
    labels: tuple[str, ...]
    member: NDArray[np.int64]


def by_newness(lengths: NDArray[Any], unit: str = "events") -> Segmentation:
    """Returns rows of new and of returning shoppers.

    Args:
        lengths: (N,) how much of each row's shopper is known.
        unit: What was counted.
    """
    labels = (f"new: up to {NEW_EVENTS} earlier {unit}", f"returning: more than {NEW_EVENTS}")
    return Segmentation("New or returning shopper", labels, (lengths > NEW_EVENTS).astype(np.int64))


def by_length(lengths: NDArray[Any], unit: str = "events") -> Segmentation:
    """Returns rows by bands of history length; `lengths` and `unit` as in `by_newness`."""
    labels = [f"{low} to {high - 1} {unit}" for low, high in pairwise(LENGTH_EDGES)]
    member = np.searchsorted(LENGTH_EDGES, np.maximum(lengths, LENGTH_EDGES[0]), side="right") - 1
    last = f"{LENGTH_EDGES[-1]} {unit} or more"
    return Segmentation("Length of the shopper's history", (*labels, last), member.astype(np.int64))


def popularity_bands(counts: NDArray[Any]) -> NDArray[np.int64]:
    """Returns (I,) int64, an index of `POPULARITY_BANDS` for each item.

    The most popular items that together have a third of all events are the head, those of the next third the middle.

    Args:
        counts: (I,) training events of each item.
    """
    order = np.argsort(-counts, kind="stable")
    before = np.cumsum(counts[order]) - counts[order]  # events of the items that are more popular
    bands = np.empty(len(counts), dtype=np.int64)
    bands[order] = 1 + np.minimum(3 * before // max(int(counts.sum()), 1), 2).astype(np.int64)
    return np.where(counts > 0, bands, 0)


def by_popularity(counts: NDArray[Any], items: NDArray[Any]) -> Segmentation:
    """Returns rows by how popular their target is.

    Args:
        counts: (I,) training events of each item.
        items: (N,) target of each row.
    """
    return Segmentation("Popularity of the target", POPULARITY_BANDS, popularity_bands(counts)[items])


def by_category(names: Sequence[str], categories: NDArray[Any]) -> Segmentation:
    """Returns rows by their target's category: the most frequent ones, the others together.

    Args:
        names: Name of each category id.
        categories: (N,) category id of each row's target.
    """
    counts = np.bincount(categories, minlength=len(names))
    most = [int(each) for each in np.argsort(-counts, kind="stable")[:MOST_CATEGORIES] if counts[each]]
    place = np.full(len(names), len(most), dtype=np.int64)
    place[most] = np.arange(len(most))
    labels = [names[each] or "(no category)" for each in most]
    return Segmentation("Category of the target", (*labels, "other categories"), place[categories])


@dataclass(frozen=True)
class Group:
    """Figures of one group.

    Attributes:
        label: Its name.
        rows: Number of rows.
        methods: Method to (mean, low, high) of its metric, the ends of the 95 % interval.
    """

    label: str
    rows: int
    methods: Mapping[str, tuple[float, float, float]]


def groups_of(values: Mapping[str, FloatArray], segmentation: Segmentation, rng: np.random.Generator) -> list[Group]:
    """Returns the figures of each group that has a row.

    Args:
        values: Method to (N,) values of the metric.
        segmentation: Group of each of the N rows.
        rng: Source of the resamples, the same ones for all methods.

    Raises:
        ValueError: If a method does not have one value a row.
    """
    wrong = [name for name, value in values.items() if len(value) != len(segmentation.member)]
    if wrong:
        raise ValueError(f"each method should have {len(segmentation.member)} values. Received: others for {wrong}")
    groups: list[Group] = []
    for number, label in enumerate(segmentation.labels):
        inside = {name: value[segmentation.member == number] for name, value in values.items()}
        rows = len(next(iter(inside.values())))
        if rows:
            means = bootstrap_means(inside, rng, SAMPLES)
            methods = {name: (float(value.mean()), *interval(means[name])) for name, value in inside.items()}
            groups.append(Group(label, rows, methods))
    return groups
