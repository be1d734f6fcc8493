"""The stored figures as Markdown tables and as a plot."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from training.plot_style import BLUE, GREY, GRID, INK, ORANGE, PALE, new_figure, set_titles

TITLES = {
    "preprocessing": "Preprocessing",
    "large": "Preprocessing, many interactions",
    "training": "Training",
    "evaluation": "Evaluation",
    "load": "Cold load, memory, size",
    "serving": "One request",
    "batch": "Batch scoring",
}
INTRODUCTION = """\
# Benchmarks

Written by `make bench`; do not edit. Every figure is a median over repeats in which the reference and this project took
turns on the same machine, with the same data and hyper-parameters.

- **Reference**: recommenders {recommenders} itself, in a process of its own: its SLi-Rec, its data pipeline and its
  iterator for training and evaluation; for serving, a wrapper that writes the request in recommenders' text format, a
  line for each product, and feeds its model what its iterator makes of it in batches of 16; for preprocessing, the
  functions of `recommenders.datasets.amazon_reviews` that do the same job, from `_create_instance` (on plain tables) to
  `_negative_sampling_offline`.
- **Times faster**: reference / ours, of times and of sizes.
- **Of the floor**: the time that the machine needs for the matrix products of the task alone, at the best rate measured
  between the parts, on all its cores ({rate:.0f} GFLOP/s in float32), as a share of our time. Everything else that a
  task does counts as zero in it: activations, normalisation, softmax, the optimiser, and any interpreter between them.
  How operations are counted is in `scripts/ml/benchmark_flops.py`.

Machine: {cores} cores ({processor}), {memory_gb} GB, {system}, Python {python}; {versions}.
"""


def seconds_text(seconds: float) -> str:
    """Returns a time with three digits in s, ms or µs."""
    for factor, unit in ((1.0, "s"), (1e3, "ms")):
        if seconds * factor >= 1:
            return f"{_three(seconds * factor)} {unit}"
    return f"{_three(seconds * 1e6)} µs"


def bytes_text(size: float) -> str:
    """Returns a size in MB or kB."""
    return f"{_three(size / 1e6)} MB" if size >= 1e6 else f"{_three(size / 1e3)} kB"


def _three(value: float) -> str:
    """Three significant digits, never in scientific notation."""
    if value >= 100:
        return f"{value:,.0f}"
    return f"{value:.1f}" if value >= 10 else f"{value:.2f}"


def _value(row: Mapping[str, Any], side: str) -> str:
    value = row[f"{side}_median"]
    if value is None:
        return ""
    if row["kind"] == "seconds":
        rate = row[f"{side}_per_second"]
        return seconds_text(value) + (f" ({_three(rate)} {row['unit']}/s)" if rate else "")
    return bytes_text(value) if row["kind"] == "bytes" else f"{value:.1%}"


def table(rows: Sequence[Mapping[str, Any]]) -> str:
    """Returns the rows as a Markdown table, with notes below it."""
    lines = ["| Task | Reference | Ours | Times faster | Of the floor |", "|---|--:|--:|--:|--:|"]
    notes: list[str] = []
    for row in rows:
        task = row["task"]
        if row["note"]:
            notes.append(row["note"])
            task += f" ({len(notes)})"
        ratio = "" if row["ratio"] is None else _three(row["ratio"])
        share = "" if row["share_of_floor"] is None else f"{row['share_of_floor']:.0%}"
        lines.append(f"| {task} | {_value(row, 'reference')} | {_value(row, 'ours')} | {ratio} | {share} |")
    lines += ["", *(f"({number}) {note}.  " for number, note in enumerate(notes, start=1))]
    return "\n".join(lines).rstrip()


def markdown(document: Mapping[str, Any]) -> str:
    """Returns `benchmarks.md`."""
    machine = document["machine"]
    versions = ", ".join(f"{name} {version}" for name, version in machine["versions"].items())
    recommenders = machine["versions"].get("recommenders", "")
    parts = [
        INTRODUCTION.format(
            **machine | {"versions": versions, "recommenders": recommenders, "rate": machine["product_rate"] / 1e9}
        )
    ]
    for name, title in TITLES.items():
        if (part := document["parts"].get(name)) is None:
            continue
        rate = part["product_rate"] / 1e9
        made = f"Measured {part['date']} at commit {part['commit']}; matrix products {rate:.0f} GFLOP/s."
        parts.append(f"## {title}\n\n{table(part['rows'])}\n\n{made}\n")
        if name == "preprocessing":
            functions = ", ".join(f"`{n}` {seconds_text(s)}" for n, s in part["reference_functions"].items())
            parts.append(f"The reference by function: {functions}.\n")
        if name == "training":
            parts.append(_loss_text(part["loss"]))
        if name == "serving":
            worst = max(part["largest_difference_of_scores"].values(), default=0.0)
            parts.append(
                f"With the history parsed once, around its iterator, the reference takes "
                f"{seconds_text(part['reference_parsed_once'])} for the smallest inventory and the longest history.\n"
            )
            parts.append(
                f"Both sides have the same weights here; scores of the best differ by at most {worst:.1e}. They are a "
                "trained network's, with the vectors of products drawn around those of its products. The pyfunc has "
                "the default configuration: two stages where an inventory is large.\n"
            )
    parts.append("![Times faster than the reference, and the training loss of both](benchmarks.png)\n")
    return "\n".join(parts)


def _loss_text(loss: Mapping[str, Any]) -> str:
    count = max(1, len(loss["reference"]) // 10)
    end = np.array([np.mean(curve[-count:]) for curve in loss["ours"]])
    return (
        f"Loss at the end (mean of the last {count} steps; negatives drawn alike): reference "
        f"{np.mean(loss['reference'][-count:]):.3f}; ours {', '.join(f'{value:.3f}' for value in end)} "
        f"({len(end)} seed{'s' if len(end) != 1 else ''}).\n"
    )


def plot(document: Mapping[str, Any]) -> Figure:
    """Returns the headline ratios as bars, and the loss of both sides where training was measured."""
    rows = [
        row
        for name in TITLES
        if name in document["parts"]
        for row in document["parts"][name]["rows"]
        if row["headline"] and row["ratio"] is not None
    ]
    figure, (bars, curve) = new_figure(14, 1.6 + 0.32 * max(8, len(rows)), columns=2)
    names = [row["task"] for row in reversed(rows)]
    ratios = [row["ratio"] for row in reversed(rows)]
    drawn = bars.barh(names, ratios, color=BLUE, height=0.66)
    bars.bar_label(drawn, labels=[f"{_three(ratio)} x" for ratio in ratios], padding=4, fontsize=9, color=INK)
    bars.set_xscale("log")
    bars.set_xlim(min([*ratios, 1.0]) / 2, max([*ratios, 2.0]) * 3)
    bars.axvline(1, color=GREY, linewidth=1)
    bars.xaxis.grid(True, color=GRID)
    set_titles(bars, "Times faster than the reference", "reference / ours, log scale", "")
    loss = document["parts"].get("training", {}).get("loss")
    if loss:
        _draw_loss(curve, loss)
    curve.yaxis.grid(True, color=GRID)
    set_titles(curve, "Training loss, same data and settings", "step", "softmax loss, moving mean")
    return figure


def _draw_loss(axis: Any, loss: Mapping[str, Any]) -> None:
    window = max(1, len(loss["reference"]) // 30)

    def smooth(values: Sequence[float]) -> Any:
        return np.convolve(values, np.ones(window) / window, mode="valid")

    ours = [smooth(values) for values in loss["ours"]]
    length = min(map(len, ours))
    together = np.stack([values[:length] for values in ours])
    steps = np.arange(length) + window
    axis.fill_between(steps, together.min(axis=0), together.max(axis=0), color=PALE, label="ours, range over seeds")
    axis.plot(steps, together.mean(axis=0), color=BLUE, label="ours, mean")
    reference = smooth(loss["reference"])
    axis.plot(np.arange(len(reference)) + window, reference, color=ORANGE, label="recommenders")
    axis.legend(frameon=False, fontsize=9)
