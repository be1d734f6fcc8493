"""Plots of a catalogue and of interactions, as matplotlib Figures without global state.

They show in a notebook and save to a file. Colours are Okabe and Ito's, which colour-blind readers can tell apart.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np
from matplotlib.axes import Axes
from matplotlib.dates import AutoDateLocator, ConciseDateFormatter
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator, PercentFormatter
from numpy.typing import ArrayLike, NDArray

from training.plot_style import BLUE, GRID, INK, ORANGE, PALE, new_figure, set_titles

DAY: Final = 86_400
SESSION_GAP: Final = 1800  # half an hour without an event ends a session: the habit of web analytics


def category_sizes(counts: Mapping[str, int], *, title: str = "Products by category", unit: str = "products") -> Figure:
    """Returns horizontal bars of a count by category, in the mapping's order.

    Args:
        counts: Category to count.
        title: Title of the plot.
        unit: Label of the axis.

    Raises:
        ValueError: If there is no category.
    """
    _require(counts, "counts")
    figure, (axis,) = new_figure(7.5, 1.1 + 0.3 * len(counts))
    drawn = axis.barh(list(counts), list(counts.values()), color=BLUE, height=0.7)
    axis.bar_label(drawn, padding=4, fontsize=9, color=INK, fmt="{:,.0f}")
    axis.invert_yaxis()
    axis.tick_params(axis="y", length=0)
    axis.xaxis.grid(True, color=GRID, linewidth=0.8)
    set_titles(axis, title, unit, "")
    return figure


def price_ranges(
    prices: Mapping[str, Sequence[float]], *, title: str = "Prices by category", currency: str = ""
) -> Figure:
    """Returns a box plot of prices by category on a logarithmic axis; a dot is one product.

    Args:
        prices: Category to positive prices; categories without any are left out.
        title: Title of the plot.
        currency: Added to the label of the axis.

    Raises:
        ValueError: If there is no price, or one is not positive.
    """
    filled = {category: np.asarray(values, np.float64) for category, values in prices.items() if len(values)}
    _require(filled, "prices")
    wrong = [category for category, values in filled.items() if not (values > 0).all()]
    if wrong:
        raise ValueError(f"`prices` should be positive. Received: others, in {', '.join(wrong)}")
    figure, (axis,) = new_figure(7.5, 1.2 + 0.34 * len(filled))
    places = np.arange(len(filled))
    axis.boxplot(
        list(filled.values()),
        orientation="horizontal",
        positions=places.tolist(),
        widths=0.62,
        showfliers=False,
        patch_artist=True,
        boxprops={"facecolor": PALE, "edgecolor": BLUE},
        medianprops={"color": ORANGE, "linewidth": 2},
        whiskerprops={"color": BLUE},
        capprops={"color": BLUE},
    )
    for place, values in zip(places, filled.values(), strict=True):
        spread = np.linspace(-0.16, 0.16, len(values)) if len(values) > 1 else np.zeros(1)
        axis.plot(values, place + spread, ".", color=BLUE, markersize=3.5, alpha=0.6)
    axis.set_yticks(places, list(filled))
    axis.invert_yaxis()
    axis.set_xscale("log")
    axis.xaxis.set_major_formatter(FuncFormatter(_plain))
    axis.tick_params(axis="y", length=0)
    axis.xaxis.grid(True, color=GRID, linewidth=0.8)
    unit = f"price in {currency}" if currency else "price"
    set_titles(axis, title, f"{unit}, logarithmic (box: middle half; line: median)", "")
    return figure


def _plain(value: float, _: int | None) -> str:
    return f"{value:g}"


def category_tastes(
    panels: Mapping[str, ArrayLike], shoppers: Sequence[str], categories: Sequence[str], *, label: str = "share"
) -> Figure:
    """Returns heat maps side by side: one row a shopper, one column a category, dark for much.

    Args:
        panels: Title to (shoppers, categories) shares between 0 and 1; all panels have one colour scale.
        shoppers: Names of the rows.
        categories: Names of the columns.
        label: Label of the colour scale.

    Raises:
        ValueError: If there is no panel, or one has another shape.
    """
    _require(panels, "panels")
    tables = {title: np.asarray(table, np.float64) for title, table in panels.items()}
    shape = (len(shoppers), len(categories))
    for title, table in tables.items():
        if table.shape != shape:
            raise ValueError(f"Panel {title!r} should have shape {shape}. Received: {table.shape}")
    figure, axes = new_figure(
        1.6 + 0.42 * len(categories) * len(tables) + 0.8, 1.9 + 0.27 * len(shoppers), columns=len(tables)
    )
    image: Any = None
    for place, (axis, (title, table)) in enumerate(zip(axes, tables.items(), strict=True)):
        image = axis.imshow(table, cmap="Blues", vmin=0, vmax=1, aspect="auto")
        axis.set_xticks(np.arange(shape[1]), list(categories), rotation=60, ha="right", rotation_mode="anchor")
        axis.set_yticks(np.arange(shape[0]), list(shoppers) if place == 0 else [""] * shape[0])
        axis.tick_params(length=0)
        axis.spines[:].set_visible(False)
        set_titles(axis, title, "", "")
    bar = figure.colorbar(image, ax=axes, format=PercentFormatter(1), fraction=0.04)
    bar.set_label(label, fontsize=9.5, color=INK)
    bar.ax.tick_params(labelsize=9, colors=INK)
    return figure


def activity_over_time(timestamps: ArrayLike, *, title: str = "Interactions over time") -> Figure:
    """Returns interactions by day, with their mean over 7 days, and by hour of the day (UTC).

    Args:
        timestamps: (N,) UNIX seconds in any order.
        title: Title of the left plot.

    Raises:
        ValueError: If there is no timestamp.
    """
    seconds = np.asarray(timestamps, np.int64)
    _require(seconds, "timestamps")
    first = int(seconds.min()) // DAY
    by_day = np.bincount(seconds // DAY - first)
    dates = np.datetime64(first, "D") + np.arange(len(by_day))
    figure, (left, right) = new_figure(9.5, 3.4, columns=2)
    left.bar(dates, by_day, width=1.0, color=PALE, label="one day")
    if len(by_day) >= 7:
        mean = np.convolve(by_day, np.full(7, 1 / 7), mode="valid")
        left.plot(dates[3 : 3 + len(mean)], mean, color=BLUE, linewidth=2, label="mean of 7 days")
    left.set_ylim(top=1.2 * by_day.max())
    left.legend(frameon=False, fontsize=9, loc="upper right", ncols=2)
    locator = AutoDateLocator(maxticks=6)
    left.xaxis.set_major_locator(locator)
    left.xaxis.set_major_formatter(ConciseDateFormatter(locator, show_offset=False))
    right.bar(np.arange(24), np.bincount(seconds % DAY // 3600, minlength=24) / len(seconds), color=BLUE, width=0.85)
    right.set_xticks(np.arange(0, 24, 3))
    _percent(right)
    for axis in (left, right):
        axis.yaxis.grid(True, color=GRID, linewidth=0.8)
    set_titles(left, title, f"day ({dates[0]} to {dates[-1]})", "interactions")
    set_titles(right, "By hour of the day", "hour (UTC)", "share of interactions")
    return figure


def session_shapes(
    users: Sequence[Any] | NDArray[Any], timestamps: ArrayLike, *, session_gap: int = SESSION_GAP
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Cuts each shopper's events into sessions where a gap is longer than `session_gap`.

    Args:
        users: (N,) user of each interaction, in any order.
        timestamps: (N,) UNIX seconds.
        session_gap: Seconds without an event that end a session.

    Returns:
        (S,) number of interactions in each session, and (G,) days between one session's end and the same shopper's next
        session.

    Raises:
        ValueError: If there are not as many users as timestamps, at least one.
    """
    seconds = np.asarray(timestamps, np.int64)
    if len(users) != len(seconds) or not len(seconds):
        raise ValueError(
            f"`users` and `timestamps` should be of one length, at least 1. Received: {len(users)}, {len(seconds)}"
        )
    number = np.unique(np.asarray(users), return_inverse=True)[1]
    order = np.lexsort((seconds, number))
    number, seconds = number[order], seconds[order]
    same_user = number[1:] == number[:-1]
    gap = np.diff(seconds)
    later_session = same_user & (gap > session_gap)
    starts = np.flatnonzero(np.concatenate([[True], ~same_user | later_session]))
    return np.diff(np.concatenate([starts, [len(seconds)]])), gap[later_session] / DAY


def session_lengths_and_gaps(lengths: NDArray[np.int64], gaps: NDArray[np.float64]) -> Figure:
    """Returns the distributions of what `session_shapes` gives: session lengths, and days between sessions.

    Args:
        lengths: (S,) number of interactions of each session.
        gaps: (G,) days between sessions; may be empty.

    Raises:
        ValueError: If there is no session.
    """
    _require(lengths, "lengths")
    figure, (left, right) = new_figure(9.5, 3.4, columns=2)
    counts = np.bincount(lengths)
    left.bar(np.arange(1, len(counts)), counts[1:] / len(lengths), color=BLUE, width=0.85)
    left.xaxis.set_major_locator(MaxNLocator(10, integer=True))
    set_titles(left, "Products in a session", "interactions", "share of sessions")
    if len(gaps):
        longest = max(1.0, float(np.quantile(gaps, 0.99)))
        right.hist(np.minimum(gaps, longest), bins=30, color=BLUE, weights=np.full(len(gaps), 1 / len(gaps)))
        median = float(np.median(gaps))
        right.axvline(median, color=ORANGE, linestyle="--", linewidth=1.8, label=f"median {median:.1f} days")
        right.legend(frameon=False, fontsize=9)
    set_titles(right, "Time between a shopper's sessions", "days (the longest 1 % at the right edge)", "share of gaps")
    for axis in (left, right):
        axis.yaxis.grid(True, color=GRID, linewidth=0.8)
        _percent(axis)
    return figure


def history_lengths(lengths: NDArray[Any], *, max_seq_length: int | None = None) -> Figure:
    """Returns a histogram of history lengths, with the network's longest window as a line.

    Args:
        lengths: (N,) number of earlier events of each row.
        max_seq_length: Events that the network reads at most.

    Raises:
        ValueError: If there is no row.
    """
    _require(lengths, "lengths")
    figure, (axis,) = new_figure(7.5, 3.6)
    step = 1 + int(lengths.max()) // 50  # whole numbers, so that every bar holds as many lengths
    axis.hist(lengths, bins=(np.arange(0, int(lengths.max()) + 2 * step, step) - 0.5).tolist(), color=BLUE)
    axis.set_ylim(top=1.3 * axis.get_ylim()[1])
    median = float(np.median(lengths))
    axis.axvline(median, color=ORANGE, linestyle="--", linewidth=1.8, label=f"median {median:.0f}")
    if max_seq_length is not None:
        share = float((lengths > max_seq_length).mean())
        label = f"the network reads the last {max_seq_length} ({share:.1%} of rows have more)"
        axis.axvline(max_seq_length, color=INK, linestyle=":", linewidth=1.8, label=label)
    axis.legend(frameon=True, edgecolor="white", framealpha=1, fontsize=9, loc="upper right")
    axis.yaxis.set_major_locator(MaxNLocator(integer=True))
    axis.yaxis.grid(True, color=GRID, linewidth=0.8)
    set_titles(axis, "How much is known of a shopper at the test row", "earlier events", "rows")
    return figure


def _percent(axis: Axes) -> None:
    axis.yaxis.set_major_locator(MaxNLocator(7, steps=[1, 2, 5, 10]))
    axis.yaxis.set_major_formatter(PercentFormatter(1, decimals=0))


def _require(values: Mapping[str, Any] | NDArray[Any], name: str) -> None:
    if not len(values):
        raise ValueError(f"`{name}` should not be empty. Received: nothing")
