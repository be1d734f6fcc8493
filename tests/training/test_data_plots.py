"""Plots of catalogue and interactions: what they show is what they were given."""

import numpy as np
import pytest

from training.data import plots

DAY = 86_400
HOUR = 3_600


def labels(ticks):
    return [tick.get_text() for tick in ticks]


def test_category_sizes_draws_one_bar_a_category_in_order():
    (axis,) = plots.category_sizes({"Toys": 3, "Books": 1}).axes
    assert labels(axis.get_yticklabels()) == ["Toys", "Books"]
    assert [bar.get_width() for bar in axis.patches] == [3, 1]
    assert axis.yaxis_inverted()
    assert axis.get_xlabel() == "products"


def test_price_ranges_draws_every_price_and_leaves_out_categories_without_any():
    (axis,) = plots.price_ranges({"Toys": [1.0, 10.0, 100.0], "Gifts": [], "Books": [5.0]}, currency="EUR").axes
    assert labels(axis.get_yticklabels()) == ["Toys", "Books"]
    dots = [line.get_xdata().tolist() for line in axis.lines if line.get_marker() == "."]
    assert dots == [[1.0, 10.0, 100.0], [5.0]]
    assert axis.get_xscale() == "log"
    assert axis.get_xlabel().startswith("price in EUR")


def test_category_tastes_has_a_panel_a_table_on_one_scale():
    table = np.array([[0.25, 0.75], [1.0, 0.0]])
    figure = plots.category_tastes({"taste": table, "deeds": table[::-1]}, ["u1", "u2"], ["Toys", "Books"])
    left, right, scale = figure.axes
    np.testing.assert_array_equal(left.images[0].get_array(), table)
    np.testing.assert_array_equal(right.images[0].get_array(), table[::-1])
    assert left.images[0].get_clim() == right.images[0].get_clim() == (0, 1)
    assert labels(left.get_yticklabels()) == ["u1", "u2"]
    assert labels(right.get_xticklabels()) == ["Toys", "Books"]
    assert scale.get_ylabel() == "share"


def test_activity_counts_days_and_hours():
    first = 20_000 * DAY
    times = [first + 5 * HOUR, first + 5 * HOUR + 1, first + 2 * DAY + 23 * HOUR, first + 2 * DAY]
    left, right = plots.activity_over_time(times).axes
    assert [bar.get_height() for bar in left.patches] == [2, 0, 2]
    assert left.lines[:] == []  # fewer than 7 days have no mean of 7
    shares = [bar.get_height() for bar in right.patches]
    assert len(shares) == 24
    assert {hour: share for hour, share in enumerate(shares) if share} == {0: 0.25, 5: 0.5, 23: 0.25}


def test_activity_draws_the_mean_of_seven_days_at_their_middle():
    (left, _) = plots.activity_over_time(np.repeat(np.arange(8) * DAY, np.arange(1, 9))).axes
    (mean,) = left.lines
    assert mean.get_ydata().tolist() == pytest.approx([4.0, 5.0])
    assert mean.get_xdata().astype(str).tolist() == ["1970-01-04", "1970-01-05"]


def test_sessions_end_after_half_an_hour_and_with_the_shopper():
    users = ["b", "a", "a", "a", "b", "a"]
    times = [50, 0, 1800, 1800 + 2 * DAY, 60, 1800 + 2 * DAY + 1]
    lengths, gaps = plots.session_shapes(users, times)
    assert lengths.tolist() == [2, 2, 2]
    assert gaps.tolist() == [2.0]
    lengths, gaps = plots.session_shapes(users, times, session_gap=9)
    assert lengths.tolist() == [1, 1, 2, 1, 1]
    assert gaps.tolist() == pytest.approx([1800 / DAY, 2.0, 10 / DAY])


def test_session_plot_shows_shares_and_the_median_gap():
    left, right = plots.session_lengths_and_gaps(np.array([1, 3, 3, 3]), np.array([1.0, 2.0, 6.0])).axes
    assert [bar.get_height() for bar in left.patches] == [0.25, 0, 0.75]
    assert sum(bar.get_height() for bar in right.patches) == pytest.approx(1)
    assert right.lines[0].get_xdata()[0] == 2.0
    plots.session_lengths_and_gaps(np.array([2]), np.zeros(0))  # one session has no gap


@pytest.mark.parametrize(("lengths", "step"), [([0, 1, 1, 4], 1), ([3, 120, 121], 3)])
def test_history_lengths_counts_every_row_in_bars_of_equal_whole_width(lengths, step):
    (axis,) = plots.history_lengths(np.array(lengths), max_seq_length=50).axes
    assert sum(bar.get_height() for bar in axis.patches) == len(lengths)
    assert {bar.get_width() for bar in axis.patches} == {step}
    assert [line.get_xdata()[0] for line in axis.lines] == [np.median(lengths), 50]
    expected = f"{np.mean(np.array(lengths) > 50):.1%} of rows have more"
    assert expected in axis.get_legend().get_texts()[1].get_text()


@pytest.mark.parametrize(
    ("draw", "message"),
    [
        (lambda: plots.category_sizes({}), "`counts` should not be empty"),
        (lambda: plots.price_ranges({"Toys": []}), "`prices` should not be empty"),
        (lambda: plots.price_ranges({"Toys": [1.0], "Gifts": [0.0]}), "positive. Received: others, in Gifts"),
        (lambda: plots.category_tastes({}, [], []), "`panels` should not be empty"),
        (lambda: plots.category_tastes({"x": np.ones((1, 2))}, ["u"], ["c"]), r"shape \(1, 1\). Received: \(1, 2\)"),
        (lambda: plots.activity_over_time([]), "`timestamps` should not be empty"),
        (lambda: plots.session_shapes(["a"], [1, 2]), "Received: 1, 2"),
        (lambda: plots.session_shapes([], []), "Received: 0, 0"),
        (lambda: plots.session_lengths_and_gaps(np.zeros(0, int), np.zeros(0)), "`lengths` should not be empty"),
        (lambda: plots.history_lengths(np.zeros(0, int)), "`lengths` should not be empty"),
    ],
)
def test_what_cannot_be_drawn_is_refused(draw, message):
    with pytest.raises(ValueError, match=message):
        draw()


def test_figures_save_to_a_file(tmp_path):
    plots.activity_over_time(np.arange(100) * DAY).savefig(tmp_path / "activity.png")
    assert (tmp_path / "activity.png").read_bytes().startswith(b"\x89PNG")
