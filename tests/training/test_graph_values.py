"""Arithmetic of graph values, on arrays small enough to count."""

import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from training.models.graph_builder import GraphBuilder
from training.models.graph_values import OPSET, Value, ranges, segment_largest, segment_sums, where
from training.models.rank_session import cpu_session


def run(formula, **arrays):
    """Returns what a formula of int values gives, one array for each value that it returns."""
    graph = GraphBuilder("formula", opset=OPSET)
    int64 = onnx.TensorProto.INT64
    inputs = {name: Value(graph, graph.input(name, [name], int64), "int") for name in arrays}
    values = formula(**inputs)
    for number, value in enumerate(values):
        graph.output(f"out_{number}", [f"n{number}"], value.cast("float").op("Identity").name)
    session = cpu_session(graph.model())
    found = session.run(None, {name: np.array(array, np.int64) for name, array in arrays.items()})
    return [value.tolist() for value in found]


@given(st.lists(st.tuples(st.integers(0, 9), st.integers(0, 4)), min_size=1, max_size=6))
@settings(max_examples=15, deadline=None)
def test_ranges_follow_one_another_and_some_are_empty(parts):
    starts, stops = [start for start, _ in parts], [start + length for start, length in parts]
    number, place = run(lambda a, b: ranges(a, b), a=starts, b=stops)
    assert place == [each for start, stop in zip(starts, stops, strict=True) for each in range(start, stop)]
    assert number == [n for n, (_, length) in enumerate(parts) for _ in range(length)]


def test_sums_and_largest_of_segments():
    def formula(segment, value):
        sums = segment_sums([value.number, value.number * 2], segment, value.like(4))
        return [*sums, segment_largest(value.number, segment, 4, -1.0)]

    found = run(formula, segment=[2, 0, 2], value=[5, 7, 6])
    assert found == [[7, 0, 11, 0], [14, 0, 22, 0], [7, -1, 6, -1]]


def test_different_entries():
    found = run(lambda a: a.unique(), a=[7, 3, 7, 5])
    assert found == [[3, 5, 7], [1, 3, 0], [2, 0, 2, 1], [1, 1, 2]]


def test_operators():
    found = run(
        lambda a: [
            a.before(),
            a.cumulated(),
            where(a > 2, a, 0),
            ((a > 1) & (a < 4)).number,
            ((a > 3) | a.differs(1).op("Not")).number,
            1 - a.number / 2,
            a.number.halved_every(2),
        ],
        a=[1, 2, 4],
    )
    assert found[:3] == [[1, 1, 2], [1, 3, 7], [0, 0, 4]]
    assert found[3:6] == [[0, 1, 0], [1, 0, 1], [0.5, 0, -1]]
    assert found[6] == pytest.approx([0.5**0.5, 0.5, 0.25])
