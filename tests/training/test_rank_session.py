"""A rank graph is run with the events of a history; baskets of unknown products count as time."""

import numpy as np
import onnx
import pytest
from future_data import CUT, DAY, lines

from training.evaluation.purchases import history_before
from training.models.graph_builder import GraphBuilder
from training.models.rank_session import RankSession, ShopperEvents, score_users


def counting_graph(num_items=4):
    """Returns a rank graph that counts events of each item, plus the days since the last event."""
    graph = GraphBuilder("rank")
    items = graph.input("items", ["T"], onnx.TensorProto.INT32)
    times = graph.input("timestamps", ["T"], onnx.TensorProto.INT64)
    now = graph.input("now", [], onnx.TensorProto.INT64)
    eye = graph.constant(np.eye(num_items, dtype=np.float32))
    counts = graph.node("ReduceSum", graph.node("Gather", eye, items), graph.constant(np.array([0])), keepdims=0)
    since = graph.node("Sub", now, graph.node("ReduceMax", times, keepdims=0))
    days = graph.node("Div", graph.node("Cast", since, to=onnx.TensorProto.FLOAT), graph.constant(np.float32(DAY)))
    graph.output("scores", [num_items], graph.node("Add", counts, days))
    return graph.model()


def test_a_basket_without_known_items_is_one_unknown_event():
    history = history_before(lines(), CUT, min_purchases=2)
    assert history.item_ids.tolist() == [100, 200]
    events = ShopperEvents.of(history)
    assert events.starts.tolist() == [0, 3, 6, 7]
    assert events.items.tolist() == [1, 2, 1, 1, 2, 2, 0]
    assert (events.timestamps // DAY).tolist() == [1, 1, 3, 2, 2, 5, 4]
    items, times = events.of_user(0, length=1)
    assert items.tolist() == [1] and (times // DAY).tolist() == [3]


def test_all_items_are_scored_without_the_unknown_one():
    history = history_before(lines(), CUT, min_purchases=2)
    scores = score_users(RankSession(counting_graph(3)), history, np.array([0, 2]), CUT)
    assert scores.tolist() == [[9, 8], [6, 6]]
    assert scores.dtype == np.float32


@pytest.mark.parametrize(
    ("items", "times", "now"), [([], [], 1), ([1, 2], [1], 3), ([1, 2], [2, 1], 3), ([1], [5], 4), ([[1]], [[1]], 4)]
)
def test_events_that_do_not_fit_are_refused(items, times, now):
    with pytest.raises(ValueError, match="should"):
        RankSession(counting_graph()).score(np.array(items), np.array(times), now)


def test_a_graph_with_other_inputs_is_refused():
    graph = GraphBuilder("other")
    value = graph.input("state", [2])
    graph.output("scores", [2], graph.node("Identity", value))
    with pytest.raises(ValueError, match="inputs"):
        RankSession(graph.model())
