import polars as pl
import pytest

from scripts.ml.shopper_timeline import shopper_timeline

ROWS = pl.DataFrame(
    [
        ("ann", "pen", 300, "purchase"),
        ("ann", "mug", 100, "view"),
        ("bob", "hat", 100, "view"),
        ("ann", "pen", 200, "view"),
        ("ann", "cup", 400, None),
    ],
    schema=["user_id", "item_handle", "timestamp", "kind"],
    orient="row",
)


def test_a_row_for_each_product_and_a_mark_for_each_kind():
    (axis,) = shopper_timeline(ROWS, "ann", {"mug": "A Mug"}).axes
    assert [label.get_text() for label in axis.get_yticklabels()] == ["A Mug", "pen", "cup"]
    drawn = {str(line.get_label()): [int(height) for height in line.get_ydata()] for line in axis.get_lines()}
    assert drawn == {"purchase": [1], "view": [0, 1], "unknown": [2]}
    (axis,) = shopper_timeline(ROWS, "ann", last=2).axes
    assert [label.get_text() for label in axis.get_yticklabels()] == ["pen", "cup"]


def test_somebody_without_events_is_refused():
    with pytest.raises(ValueError, match="one without events"):
        shopper_timeline(ROWS, "eve")
