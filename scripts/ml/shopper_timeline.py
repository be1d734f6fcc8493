"""A plot of what one shopper did, whichever source told of it."""

from collections.abc import Mapping
from typing import Any, Final

import polars as pl
from matplotlib.dates import AutoDateLocator, ConciseDateFormatter
from matplotlib.figure import Figure

from training.data.columns import ITEM, TIMESTAMP, USER
from training.data.event_columns import KIND
from training.plot_style import BLUE, GREEN, GREY, GRID, ORANGE, new_figure, set_titles

# Frames first, so that what was looked at and bought at one time shows both.
_MARKS: Final[Mapping[str | None, dict[str, Any]]] = {
    "purchase": {"marker": "s", "color": GREEN, "markersize": 11, "fillstyle": "none", "markeredgewidth": 2},
    "cart": {"marker": "^", "color": ORANGE, "markersize": 9},
    "view": {"marker": "o", "color": BLUE, "markersize": 5},
    None: {"marker": "x", "color": GREY, "markersize": 6},
}


def shopper_timeline(
    interactions: pl.DataFrame, user_id: str, titles: Mapping[str, str] | None = None, *, last: int = 40
) -> Figure:
    """Returns one shopper's events: time to the right, a row for each product, a mark for each kind.

    Args:
        interactions: Columns of contract 2 and `kind`, which may be null.
        user_id: The shopper.
        titles: Names of products by handle; those without one are called by their handle.
        last: Only so many of the latest events.

    Raises:
        ValueError: The shopper has no events.
    """
    events = interactions.filter(pl.col(USER) == user_id).sort(TIMESTAMP, maintain_order=True).tail(last)
    if events.is_empty():
        raise ValueError("`user_id` should be a shopper of the interactions. Received: one without events")
    products = [str(handle) for handle in events[ITEM].unique(maintain_order=True)]
    place = {handle: row for row, handle in enumerate(products)}
    figure, (axis,) = new_figure(9.0, 1.4 + 0.24 * len(products))
    for kind, mark in _MARKS.items():
        rows = events.filter(pl.col(KIND).eq_missing(pl.lit(kind, pl.String)))
        times = rows[TIMESTAMP].to_numpy().astype("datetime64[s]")
        if len(times):
            axis.plot(times, [place[handle] for handle in rows[ITEM]], ls="none", label=kind or "unknown", **mark)
    axis.set_yticks(range(len(products)), [(titles or {}).get(handle, handle) for handle in products])
    axis.invert_yaxis()
    axis.grid(True, color=GRID, linewidth=0.8)
    locator = AutoDateLocator(maxticks=8)
    axis.xaxis.set_major_locator(locator)
    axis.xaxis.set_major_formatter(ConciseDateFormatter(locator))
    axis.legend(frameon=False, fontsize=9, loc="upper left", bbox_to_anchor=(1, 1))
    set_titles(axis, "One shopper", "time (UTC)", "")
    return figure
