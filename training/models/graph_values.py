"""Arithmetic on the values of an ONNX graph, so that features read like formulas.

A `Value` is a node's result; its operators add nodes. Numbers become constants of the other side's kind. Unless said
otherwise values are 1-dimensional, so that they broadcast with one another and with scalars.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal, Union

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import numpy_helper

from training.models.graph_builder import GraphBuilder

Kind = Literal["float", "int", "bool"]
Number = Union["Value", float, int]

OPSET: Final = 18  # ONNX Runtime 1.14 and later read it; the first one with the largest value of a scatter
_DTYPES: Final[dict[Kind, Any]] = {"float": np.float32, "int": np.int64, "bool": np.bool_}
_ONNX_TYPES: Final[dict[Kind, int]] = {
    "float": onnx.TensorProto.FLOAT,
    "int": onnx.TensorProto.INT64,
    "bool": onnx.TensorProto.BOOL,
}


@dataclass(frozen=True)
class Value:
    """A value of a graph.

    Attributes:
        graph: The graph it is in.
        name: Its name there.
        kind: "float" (float32), "int" (int64) or "bool".
    """

    graph: GraphBuilder
    name: str
    kind: Kind = "float"

    def op(self, operation: str, *others: Number, kind: Kind | None = None, **attributes: Any) -> "Value":
        """Adds a node whose first input is this value."""
        names = [self.name, *(self.like(other).name for other in others)]
        return Value(self.graph, self.graph.node(operation, *names, **attributes), kind or self.kind)

    def like(self, other: Number) -> "Value":
        """Returns a number as a constant of this value's kind; values are returned as they are."""
        return other if isinstance(other, Value) else constant(self.graph, other, self.kind)

    def __add__(self, other: Number) -> "Value":
        return self.op("Add", other)

    def __radd__(self, other: float) -> "Value":
        return self.op("Add", other)

    def __sub__(self, other: Number) -> "Value":
        return self.op("Sub", other)

    def __rsub__(self, other: float) -> "Value":
        return self.like(other).op("Sub", self)

    def __mul__(self, other: Number) -> "Value":
        return self.op("Mul", other)

    def __rmul__(self, other: float) -> "Value":
        return self.op("Mul", other)

    def __truediv__(self, other: Number) -> "Value":
        return self.op("Div", other)

    def __lt__(self, other: Number) -> "Value":
        return self.op("Less", other, kind="bool")

    def __gt__(self, other: Number) -> "Value":
        return self.op("Greater", other, kind="bool")

    def __ge__(self, other: Number) -> "Value":
        return self.op("GreaterOrEqual", other, kind="bool")

    def __and__(self, other: "Value") -> "Value":
        return self.op("And", other)

    def __or__(self, other: "Value") -> "Value":
        return self.op("Or", other)

    def differs(self, other: Number) -> "Value":
        """Returns where the two differ."""
        return self.op("Equal", other, kind="bool").op("Not")

    def cast(self, kind: Kind) -> "Value":
        """Returns the value in another kind."""
        return self.op("Cast", kind=kind, to=_ONNX_TYPES[kind])

    @property
    def number(self) -> "Value":
        """The value as float: 1 and 0 for true and false."""
        return self.cast("float")

    def at_least(self, other: Number) -> "Value":
        """Returns the larger of the two."""
        return self.op("Max", other)

    def at_most(self, other: Number) -> "Value":
        """Returns the smaller of the two."""
        return self.op("Min", other)

    def log1p(self) -> "Value":
        """Returns log(1 + value)."""
        return (self + 1).op("Log")

    def halved_every(self, half_life: float) -> "Value":
        """Returns 0.5 to the power of value / half_life."""
        return (self * (-float(np.log(2)) / half_life)).op("Exp")

    def floor(self) -> "Value":
        """Returns the largest whole number that is not above."""
        return self.op("Floor")

    def sqrt(self) -> "Value":
        """Returns the square root."""
        return self.op("Sqrt")

    def __getitem__(self, index: Union["Value", int]) -> "Value":
        """Returns the rows of `index`; a whole number gives one row, without its axis."""
        place = index if isinstance(index, Value) else constant(self.graph, index, "int")
        return self.op("Gather", place, axis=0)

    def cumulated(self) -> "Value":
        """Returns the sums of all entries up to each one."""
        return self.op("CumSum", constant(self.graph, 0, "int"))

    def total(self, axis: int = 0) -> "Value":
        """Returns the sum over an axis, which goes."""
        axes = constant(self.graph, np.array([axis]), "int")
        return self.op("ReduceSum", axes, keepdims=0)

    def size(self) -> "Value":
        """Returns the length of a 1-dimensional value, as one int."""
        return self.op("Size", kind="int")

    def before(self) -> "Value":
        """Returns a 1-dimensional value moved on by one place, the first entry repeated."""
        first, end = constant(self.graph, np.array([0]), "int"), constant(self.graph, np.array([-1]), "int")
        joined = self.graph.node(
            "Concat",
            self.op("Slice", first, constant(self.graph, np.array([1]), "int")).name,
            self.op("Slice", first, end).name,
            axis=0,
        )
        # Of one entry, both slices together are too short by none: [x] + [] is [x].
        return Value(self.graph, joined, self.kind)

    def unique(self) -> tuple["Value", "Value", "Value", "Value"]:
        """Returns the different entries.

        Returns:
            The entries, sorted; the first place of each; the number of each original entry; how often each occurs.
        """
        names = self.graph.nodes("Unique", self.name, results=4, axis=0, sorted=1)
        first, inverse, count = (Value(self.graph, name, "int") for name in names[1:])
        return Value(self.graph, names[0], self.kind), first, inverse, count


def constant(graph: GraphBuilder, value: NDArray[Any] | float, kind: Kind = "float") -> Value:
    """Returns a constant of this kind."""
    return Value(graph, graph.constant(np.asarray(value, _DTYPES[kind])), kind)


def where(condition: Value, yes: Value, no: Number) -> Value:
    """Returns `yes` where the condition holds and `no` elsewhere."""
    return condition.op("Where", yes, yes.like(no), kind=yes.kind)


def columns(values: Sequence[Value]) -> Value:
    """Returns (N, F) from F values of shape (N,)."""
    graph = values[0].graph
    joined = Value(graph, graph.node("Concat", *(value.name for value in values), axis=0), values[0].kind)
    rows = joined.op("Reshape", constant(graph, np.array([len(values), -1]), "int"))
    return rows.op("Transpose", perm=[1, 0])


def side_by_side(parts: Sequence[Value]) -> Value:
    """Returns (N, all columns) from parts of shape (N, some columns)."""
    graph = parts[0].graph
    return Value(graph, graph.node("Concat", *(part.name for part in parts), axis=1))


def segment_sums(values: Sequence[Value], segment: Value, count: Value) -> list[Value]:
    """Returns the sum of each of F float values of shape (E,) over segments: F times (count,).

    Args:
        values: What to add up.
        segment: (E,) int, 0 to count - 1.
        count: Number of segments, one int.
    """
    graph = segment.graph
    shape = Value(
        graph,
        graph.node(
            "Concat",
            count.op("Reshape", constant(graph, np.array([1]), "int")).name,
            constant(graph, np.array([len(values)]), "int").name,
            axis=0,
        ),
        "int",
    )
    place = segment.op("Unsqueeze", constant(graph, np.array([1]), "int"))
    zeros = shape.op("ConstantOfShape", kind="float")
    sums = zeros.op("ScatterND", place, columns(values), reduction="add")  # (count, F)
    flat = sums.op("Transpose", perm=[1, 0]).op("Reshape", constant(graph, np.array([-1]), "int"))
    if len(values) == 1:
        return [flat]
    return [
        Value(graph, name) for name in graph.nodes("Split", flat.name, results=len(values), num_outputs=len(values))
    ]


def ranges(starts: Value, stops: Value) -> tuple[Value, Value]:
    """Returns the whole numbers from each start to before its stop, one range after the other.

    Args:
        starts: (P,) int.
        stops: (P,) int, none below its start.

    Returns:
        The number of the range, 0 to P - 1, and the whole number: two int values of one length.
    """
    graph = starts.graph
    zero, one = constant(graph, 0, "int"), constant(graph, 1, "int")
    ends = (stops - starts).cumulated()
    total = ends[-1]
    length = (total + 1).op("Reshape", constant(graph, np.array([1]), "int"))
    # Each end moves the entries after it on to the next range; ends that coincide do so several times.
    marks = length.op("ConstantOfShape", kind="int", value=numpy_helper.from_array(np.zeros(1, np.int64)))
    ones = (ends >= 0).cast("int")
    number = marks.op("ScatterElements", ends, ones, axis=0, reduction="add").cumulated()
    places = zero.op("Range", total, one)
    number = number.op("Slice", constant(graph, np.array([0]), "int"), constant(graph, np.array([-1]), "int"))
    return number, places - (ends - stops)[number]


def segment_largest(value: Value, segment: Value, count: int, empty: float) -> Value:
    """Returns (count,): the largest float of each segment, `empty` for one without any; no value is below `empty`."""
    table = constant(value.graph, np.full(count, empty))
    return table.op("ScatterElements", segment, value, axis=0, reduction="max")
