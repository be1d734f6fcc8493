"""Plots of the full report: calibration, variety beside accuracy, segments."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np
from matplotlib.figure import Figure

from training.evaluation.calibration import Curve
from training.evaluation.plots import CYCLE, MARKERS
from training.evaluation.segments import Group
from training.evaluation.variety import Variety
from training.plot_style import GREY, GRID, INK, new_figure, set_titles

_SMALLEST: Final = 1e-6  # below it a log axis would show nothing but distance


def calibration_plot(curves: Mapping[str, Curve]) -> Figure:
    """Returns predicted probability against observed share, on log axes: most probabilities are far below one.

    Args:
        curves: Method to its curve.

    Raises:
        ValueError: If there is no curve.
    """
    if not curves:
        raise ValueError("`curves` should hold at least one method. Received: none")
    figure, (axis,) = new_figure(7.5, 4.6)
    axis.plot([_SMALLEST, 1], [_SMALLEST, 1], color=GREY, linestyle="--", linewidth=1.2, label="as predicted")
    for place, (name, curve) in enumerate(curves.items()):
        predicted, observed = np.maximum(curve.predicted, _SMALLEST), np.maximum(curve.observed, _SMALLEST)
        style = _style(place)
        axis.plot(predicted, observed, label=f"{name} (error {curve.error:.4f})", linewidth=1.4, **style)
    axis.set_xscale("log")
    axis.set_yscale("log")
    axis.grid(True, color=GRID, linewidth=0.8)
    axis.legend(frameon=False, fontsize=8.5, loc="upper left", bbox_to_anchor=(1.0, 1.0))
    set_titles(axis, "Calibration", "predicted probability of the next item", "observed share")
    return figure


def variety_plot(varieties: Mapping[str, Variety], values: Mapping[str, float], metric: str = "NDCG@10") -> Figure:
    """Returns accuracy against coverage (left) and against novelty (right), one point a method.

    Args:
        varieties: Method to its figures.
        values: Method to its metric.
        metric: Name of the metric.

    Raises:
        ValueError: If there is no method that has both.
    """
    names = [name for name in varieties if name in values]
    if not names:
        raise ValueError("`varieties` and `values` should have a method in common. Received: none")
    figure, axes = new_figure(11.5, 4.2, columns=2)
    labels = ("share of the catalogue in somebody's list", "novelty of what is recommended, bits")
    for axis, attribute, label in zip(axes, ("coverage", "novelty"), labels, strict=True):
        for place, name in enumerate(names):
            style = _style(place)
            axis.plot(getattr(varieties[name], attribute), values[name], linestyle="", label=name, **style)
        axis.set_ylim(bottom=0)
        axis.grid(True, color=GRID, linewidth=0.8)
        set_titles(axis, f"{metric} and {attribute}", label, metric)
    axes[1].legend(frameon=False, fontsize=8.5, loc="upper left", bbox_to_anchor=(1.0, 1.0))
    return figure


def segment_plot(groups: Sequence[Group], title: str, metric: str = "NDCG@10") -> Figure:
    """Returns each group's means with their 95 % intervals, one colour a method.

    Args:
        groups: From `segments.groups_of`, at least one.
        title: What the groups differ in.
        metric: Name of the metric.

    Raises:
        ValueError: If there is no group.
    """
    if not groups:
        raise ValueError("`groups` should hold at least one. Received: none")
    figure, (axis,) = new_figure(8.5, 1.4 + 0.55 * len(groups))
    names = list(groups[0].methods)
    shift = np.linspace(-0.22, 0.22, len(names)) if len(names) > 1 else np.zeros(1)
    places = np.arange(len(groups))
    for number, name in enumerate(names):
        means, lows, highs = np.array([group.methods[name] for group in groups]).T
        ends = np.maximum([means - lows, highs - means], 0)
        style = _style(number)
        axis.errorbar(means, places + shift[number], xerr=ends, linestyle="", capsize=2.5, label=name, **style)
    axis.set_yticks(places, [f"{group.label} (n={group.rows:,})" for group in groups])
    axis.invert_yaxis()
    axis.set_xlim(left=0)
    axis.xaxis.grid(True, color=GRID, linewidth=0.8)
    axis.tick_params(axis="y", length=0, labelcolor=INK)
    axis.legend(frameon=False, fontsize=8.5, loc="upper left", bbox_to_anchor=(1.0, 1.0))
    set_titles(axis, title, f"{metric} (bars: 95 % interval)", "")
    return figure


def _style(place: int) -> dict[str, Any]:
    marker = MARKERS[(place + place // len(CYCLE)) % len(MARKERS)]  # a colour comes again with another marker
    return {"color": CYCLE[place % len(CYCLE)], "marker": marker, "markersize": 5.5}
