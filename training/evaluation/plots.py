"""Plots of an evaluation, as matplotlib Figures without global state: they show in a notebook and save to a file.

Colours are Okabe and Ito's, which colour-blind readers can tell apart.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from training.plot_style import BLUE, GREEN, GREY, GRID, INK, ORANGE, PURPLE, SKY, YELLOW, new_figure, set_titles

CYCLE: Final = (BLUE, YELLOW, GREEN, PURPLE, SKY, ORANGE, GREY)
MARKERS: Final = "osD^vPX"
ORACLE: Final = "oracle"


def model_comparison(
    values: Mapping[str, float],
    *,
    baselines: Sequence[str] = (),
    metric: str = "NDCG@10",
    title: str = "Model against naive baselines",
) -> Figure:
    """Returns horizontal bars of one metric by method, best on top, the oracle as a line.

    Args:
        values: Method to value; a method named "oracle" becomes the line.
        baselines: Methods to draw in grey; the others are the models.
        metric: Label of the axis.
        title: Title of the plot.

    Raises:
        ValueError: If there is no method beside the oracle.
    """
    bars = sorted((value, method) for method, value in values.items() if method != ORACLE)
    if not bars:
        raise ValueError("`values` should hold at least one method beside the oracle. Received: none")
    figure, (axis,) = new_figure(7.5, 1.2 + 0.36 * len(bars))
    models = [method for method in values if method not in baselines and method != ORACLE]
    shades = dict(zip(models, (SKY, BLUE) if len(models) == 2 else CYCLE * len(models), strict=False))
    heights = [value for value, _ in bars]
    names = [method for _, method in bars]
    drawn = axis.barh(names, heights, color=[shades.get(name, "#BDBDBD") for name in names], height=0.68)
    axis.bar_label(drawn, labels=[f"{height:.3f}" for height in heights], padding=4, fontsize=9, color=INK)
    limit = max(values.values())
    axis.set_xlim(0, limit * 1.12 if limit > 0 else 1)
    if ORACLE in values:
        axis.axvline(values[ORACLE], color=ORANGE, linestyle="--", linewidth=1.8)
        axis.annotate(
            f"oracle {values[ORACLE]:.3f}",
            (values[ORACLE], 0),
            xytext=(-5, 0),
            textcoords="offset points",
            ha="right",
            va="center",
            fontsize=9,
            color=ORANGE,
        )
    axis.xaxis.grid(True, color=GRID, linewidth=0.8)
    axis.tick_params(axis="y", length=0)
    set_titles(axis, title, metric, "")
    return figure


def metric_by_history_length(
    lengths: NDArray[Any],
    values: Mapping[str, NDArray[Any]],
    *,
    metric: str = "NDCG@10",
    groups: int = 6,
    title: str = "Quality by length of the shopper's history",
) -> Figure:
    """Returns the mean of a metric, with its standard error, in groups of rows of like history length.

    Args:
        lengths: (N,) number of earlier events of each row.
        values: Method to (N,) values of the metric.
        metric: Label of the axis.
        groups: How many groups at most, of about equal numbers of rows.
        title: Title of the plot.

    Raises:
        ValueError: If a method does not have one value a row, or there is no row.
    """
    wrong = [method for method, found in values.items() if len(found) != len(lengths)]
    if wrong or not len(lengths):
        raise ValueError(f"each method should have one value for each of {len(lengths)} rows. Received: other: {wrong}")
    edges = np.unique(np.quantile(lengths, np.linspace(0, 1, groups + 1)).round().astype(int))
    member = np.clip(np.searchsorted(edges, lengths, side="right") - 1, 0, max(len(edges) - 2, 0))
    present = np.unique(member)
    spans = [(int(lengths[member == group].min()), int(lengths[member == group].max())) for group in present]
    labels = [
        f"{low}\n" + f"n={np.sum(member == group)}" if low == high else f"{low}–{high}\nn={np.sum(member == group)}"
        for (low, high), group in zip(spans, present, strict=True)
    ]
    figure, (axis,) = new_figure(7.5, 4.0)
    shift = np.linspace(-0.12, 0.12, len(values)) if len(values) > 1 else np.zeros(1)
    for place, (method, found) in enumerate(values.items()):
        means = np.array([found[member == group].mean() for group in present])
        errors = np.array([found[member == group].std() / np.sqrt(np.sum(member == group)) for group in present])
        is_oracle = method == ORACLE
        axis.errorbar(
            np.arange(len(present)) + shift[place],
            means,
            yerr=errors,
            label=method,
            color=ORANGE if is_oracle else CYCLE[place % 5],
            linestyle="--" if is_oracle else "-",
            marker=MARKERS[place % len(MARKERS)],
            markersize=5,
            linewidth=1.6,
            capsize=2.5,
        )
    axis.set_xticks(np.arange(len(present)), labels)
    axis.set_ylim(bottom=0)
    axis.yaxis.grid(True, color=GRID, linewidth=0.8)
    axis.legend(frameon=False, fontsize=9, loc="upper left", bbox_to_anchor=(1.0, 1.0))
    set_titles(axis, title, "earlier events of the shopper (bars: standard error)", metric)
    return figure


def training_curves(history: Sequence[Mapping[str, float]], *, metrics: Sequence[str] | None = None) -> Figure:
    """Returns loss and validation metrics by epoch.

    Args:
        history: One mapping an epoch with `epoch`, `loss` and any metrics.
        metrics: Keys to draw on the right; by default those that end in NDCG@10 or HR@10.

    Raises:
        ValueError: If there is no epoch.
    """
    if not history:
        raise ValueError("`history` should hold at least one epoch. Received: none")
    epochs = [record["epoch"] for record in history]
    keys = [key for key in history[0] if all(key in record for record in history)]
    losses = [key for key in keys if key.endswith("loss") and not key.endswith("logloss")]  # logloss: another scale
    chosen = metrics or [key for key in keys if key.endswith(("NDCG@10", "HR@10"))]
    figure, (left, right) = new_figure(9.5, 3.6, columns=2)
    for axis, names in ((left, losses), (right, list(chosen))):
        for place, name in enumerate(names):
            series = [record[name] for record in history]
            style: dict[str, Any] = {"color": CYCLE[place % len(CYCLE)], "marker": MARKERS[place % len(MARKERS)]}
            axis.plot(epochs, series, label=_readable(name), markersize=4, linewidth=1.6, **style)
        axis.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
        axis.yaxis.grid(True, color=GRID, linewidth=0.8)
        if names:
            axis.legend(frameon=False, fontsize=8.5)
    set_titles(left, "Loss", "epoch", "softmax loss")
    set_titles(right, "Validation metrics", "epoch", "")
    return figure


def _readable(key: str) -> str:
    parts = [part.replace("_", " ") for part in key.split("/") if part != "valid"]
    return ", ".join(reversed(parts))


def attention_weights(
    titles: Sequence[str], weights: NDArray[Any], *, target: str | None = None, title: str = "Attention of one shopper"
) -> Figure:
    """Returns the attention weight of each event of one history, oldest on top.

    Args:
        titles: Title of each event's product, oldest first.
        weights: (events,) weights.
        target: Title of the product that the attention is for, named in the plot's title.
        title: Title of the plot.

    Raises:
        ValueError: If there are not as many titles as weights, at least one.
    """
    if len(titles) != len(weights) or not len(titles):
        raise ValueError(
            f"`titles` and `weights` should be of one length, at least 1. Received: {len(titles)}, {len(weights)}"
        )
    figure, (axis,) = new_figure(7.5, 1.2 + 0.26 * len(titles))
    places = np.arange(len(titles))
    axis.barh(places, weights, color=BLUE, height=0.72)
    names = [name if len(name) <= 42 else name[:41] + "…" for name in titles]
    axis.set_yticks(places, names)  # by place: a product may occur more than once
    axis.invert_yaxis()
    axis.xaxis.grid(True, color=GRID, linewidth=0.8)
    axis.tick_params(axis="y", length=0)
    set_titles(axis, title if target is None else f"{title}: {target}", "attention weight", "")
    return figure
