"""Plots: what they show is what they were given."""

import numpy as np
import pytest

from training.evaluation import plots


def labels(axis):
    return [tick.get_text() for tick in axis.get_yticklabels()]


def test_comparison_sorts_bars_and_draws_the_oracle_as_a_line(tmp_path):
    values = {"popularity": 0.1, "EASE": 0.3, "SLi-Rec": 0.4, "oracle": 0.5}
    figure = plots.model_comparison(values, baselines=("popularity", "EASE"))
    (axis,) = figure.axes
    assert labels(axis) == ["popularity", "EASE", "SLi-Rec"]
    assert [bar.get_width() for bar in axis.patches] == [0.1, 0.3, 0.4]
    colours = [bar.get_facecolor() for bar in axis.patches]
    assert colours[0] == colours[1] != colours[2]
    assert [line.get_xdata()[0] for line in axis.lines] == [0.5]
    figure.savefig(tmp_path / "comparison.png")
    assert (tmp_path / "comparison.png").stat().st_size > 1000


def test_history_length_means_by_group():
    lengths = np.array([2, 2, 2, 30, 30, 30])
    found = {"SLi-Rec": np.array([0.0, 0.5, 1.0, 1, 1, 1]), "oracle": np.ones(6)}
    (axis,) = plots.metric_by_history_length(lengths, found, groups=2).axes
    network = axis.containers[0].lines[0]
    assert network.get_ydata().tolist() == [0.5, 1.0]
    assert [tick.get_text() for tick in axis.get_xticklabels()] == ["2\nn=3", "30\nn=3"]


def test_history_length_of_equal_histories_is_one_group():
    (axis,) = plots.metric_by_history_length(np.full(5, 7), {"a": np.arange(5.0)}).axes
    assert axis.containers[0].lines[0].get_ydata().tolist() == [2.0]


def test_training_curves_draw_loss_and_headline_metrics():
    history = [
        {"epoch": e, "loss": 2 / e, "seconds": 3.0, "valid/seen_out/NDCG@10": e / 10, "valid/sampled/logloss": 0.4}
        for e in (1, 2, 3)
    ]
    left, right = plots.training_curves(history).axes
    assert [list(line.get_ydata()) for line in left.lines] == [[2.0, 1.0, 2 / 3]]
    assert [line.get_label() for line in right.lines] == ["NDCG@10, seen out"]
    chosen = plots.training_curves(history, metrics=["valid/sampled/logloss"]).axes[1].lines
    assert [list(line.get_ydata()) for line in chosen] == [[0.4, 0.4, 0.4]]


def test_attention_keeps_repeated_products_apart_in_order():
    (axis,) = plots.attention_weights(["Mug", "Lamp", "Mug"], np.array([0.2, 0.3, 0.5]), target="Rug").axes
    assert labels(axis) == ["Mug", "Lamp", "Mug"] and axis.yaxis_inverted()
    assert [bar.get_width() for bar in axis.patches] == [0.2, 0.3, 0.5]
    assert axis.get_title(loc="left").endswith("Rug")


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: plots.model_comparison({"oracle": 1.0}), "at least one method"),
        (lambda: plots.metric_by_history_length(np.ones(2), {"a": np.ones(3)}), r"other: \['a'\]"),
        (lambda: plots.training_curves([]), "at least one epoch"),
        (lambda: plots.attention_weights(["a"], np.ones(2)), "of one length"),
    ],
)
def test_wrong_values_are_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()
