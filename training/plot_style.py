"""What all plots share: colours that colour-blind readers can tell apart (Okabe and Ito), axes, titles."""

from typing import Final

from matplotlib.axes import Axes
from matplotlib.figure import Figure

BLUE: Final = "#0072B2"
SKY: Final = "#56B4E9"
ORANGE: Final = "#D55E00"
GREEN: Final = "#009E73"
PURPLE: Final = "#CC79A7"
YELLOW: Final = "#E69F00"
GREY: Final = "#8C8C8C"
INK: Final = "#333333"
PALE: Final = "#BDD9EC"
GRID: Final = "#E6E6E6"


def new_figure(width: float, height: float, columns: int = 1) -> tuple[Figure, list[Axes]]:
    """Returns a figure of the given size in inches, without global state, and its axes side by side."""
    figure = Figure(figsize=(width, height), layout="constrained", dpi=120)
    axes = [figure.add_subplot(1, columns, column + 1) for column in range(columns)]
    for axis in axes:
        axis.spines[["top", "right"]].set_visible(False)
        axis.tick_params(colors=INK, labelsize=9)
        axis.set_axisbelow(True)
    return figure, axes


def set_titles(axis: Axes, title: str, xlabel: str, ylabel: str) -> None:
    """Sets the title, left-aligned, and the labels of an axis."""
    axis.set_title(title, fontsize=11, color=INK, loc="left", pad=10)
    axis.set_xlabel(xlabel, fontsize=9.5, color=INK)
    axis.set_ylabel(ylabel, fontsize=9.5, color=INK)
