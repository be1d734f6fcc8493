"""Simple rankers as ONNX graphs: one graph ranks the vocabulary for one shopper, in evaluation as in serving.

Inputs: `items` int32 (T,), ids of the item vocabulary, oldest first, 0 = a product that is not in it; `timestamps`
int64 (T,) UNIX seconds, not falling; `now` int64 (), not before the last of them. T >= 1. Events at one timestamp are
one basket: a set. Output: `scores` float32 (num_items,), finite logits, the larger the better; entry 0 is the lowest
finite number. Everything is computed in float64 and rounded at the end.

Parts give raw scores, the same as their counterparts in `training.evaluation.future_rankers`. A graph turns them into
logits by a rising function, the same for all products of a shopper, so that no order changes: the sigmoid of the logit
is what a caller sees, and reads as

- popularity: the product's share of all purchases;
- own frequency: the share of the shopper's own baskets with the product, recent ones weighing more where they decay,
  as if there had been one more basket without it;
- EASE: x / (1 + x) for its estimate x of 1 = bought, 0 = not; next to 0 where the estimate is below 0;
- blend of these: x / (1 + x) for the weighted sum over the largest sum there could be;
- blend of standardised parts: the sigmoid of the weighted mean of the parts' z-scores; 1/2 is a middling product.

None of them is a calibrated probability.
"""

from collections.abc import Sequence
from typing import Any, Final

import numpy as np
import onnx

from training.models.graph_builder import GraphBuilder
from training.models.rank_parts import DOUBLE, INT64, Asked, EasePart, Float64, RankPart

OPSET: Final = 18  # that of learned rank graphs, which parts may be

_EPSILON: Final = 1e-6  # odds below it, and below 0, go on in a straight line


def rank_graph(
    parts: Sequence[RankPart], weights: Sequence[float] = (1.0,), *, standardise: bool = False
) -> onnx.ModelProto:
    """Writes one part, or a blend of several, as a graph.

    Args:
        parts: What is added up; all of one vocabulary.
        weights: One for each part, not negative.
        standardise: Whether each part's scores are first given mean 0 and standard deviation 1 over the vocabulary.

    Returns:
        The checked graph `rank`.

    Raises:
        ValueError: Weights or vocabularies do not fit, or a part with logits is to be added to others as it is.
    """
    if not parts or len(parts) != len(weights):
        raise ValueError(
            f"`parts` and `weights` should be of one length, at least 1. Received: {len(parts)} and {len(weights)}"
        )
    if not all(np.isfinite(weight) and weight >= 0 for weight in weights) or not sum(weights):
        raise ValueError(f"`weights` should not be negative, nor all 0. Received: weights = {list(weights)}")
    if len(sizes := {part.num_items for part in parts}) != 1:
        raise ValueError(f"`parts` should be of one item vocabulary. Received: sizes {sorted(sizes)}")
    graph = GraphBuilder("rank", opset=OPSET)
    asked = _asked(graph)
    added = [part.add(graph, asked) for part in parts]
    if standardise:
        logits = _weighted(graph, [_standardised(graph, raw) for raw, _ in added], np.array(weights) / sum(weights))
    elif len(added) == 1 and added[0][1] is None:
        logits = added[0][0]
    else:
        largest = [most for _, most in added if most is not None]
        if len(largest) != len(added):
            raise ValueError("`standardise` should be true where a part's scores are logits. Received: false")
        raw = _weighted(graph, [raw for raw, _ in added], weights)
        most = _weighted(graph, largest, weights)
        logits = _log_odds(graph, raw, most, share=len(added) == 1 and not isinstance(parts[0], EasePart))
    learned = graph.node("Slice", logits, graph.constant(np.array([1])), graph.constant(np.array([sizes.pop()])))
    lowest = graph.constant(np.full(1, np.finfo(np.float32).min))
    scores = graph.node("Concat", lowest, graph.node("Cast", learned, to=onnx.TensorProto.FLOAT), axis=0)
    graph.output("scores", [parts[0].num_items], scores)
    return graph.model()


def ranker_document(
    parts: Sequence[RankPart], weights: Sequence[float] = (1.0,), *, standardise: bool = False
) -> dict[str, Any]:
    """Returns what `bundle.json` says of the graph that `rank_graph` makes of the same arguments."""
    if len(parts) == 1:
        return {"kind": parts[0].kind, "settings": dict(parts[0].settings), "parts": []}
    each = [
        {"kind": part.kind, "weight": float(weight), "settings": dict(part.settings)}
        for part, weight in zip(parts, weights, strict=True)
    ]
    return {"kind": "blend", "settings": {"standardise": standardise}, "parts": each}


def _asked(graph: GraphBuilder) -> Asked:
    items = graph.input("items", ["T"], onnx.TensorProto.INT32)
    times, now = graph.input("timestamps", ["T"], INT64), graph.input("now", [], INT64)
    zero, one, end = (graph.constant(np.array([value])) for value in (0, 1, np.iinfo(np.int64).max))
    later, earlier = (
        graph.node("Slice", times, one, end),
        graph.node("Slice", times, zero, graph.constant(np.array([-1]))),
    )
    changes = graph.node("Cast", graph.node("Not", graph.node("Equal", later, earlier)), to=INT64)
    starts = graph.node("Concat", one, changes, axis=0)
    basket = graph.node("Sub", graph.node("CumSum", starts, graph.constant(np.array(0))), one)
    age = graph.node("Sub", graph.node("ReduceMax", basket, keepdims=1), basket)
    ids = graph.node("Cast", items, to=INT64)
    counted, ago = graph.node("Cast", age, to=DOUBLE), graph.node("Cast", graph.node("Sub", now, times), to=DOUBLE)
    return Asked(ids, basket, graph.node("Cast", starts, to=DOUBLE), counted, ago)


def _weighted(graph: GraphBuilder, values: Sequence[str], weights: Sequence[float] | Float64) -> str:
    terms = [
        graph.node("Mul", value, graph.constant(np.array([float(weight)])))
        for value, weight in zip(values, weights, strict=True)
    ]
    total = terms[0]
    for term in terms[1:]:
        total = graph.node("Add", total, term)
    return total


def _standardised(graph: GraphBuilder, raw: str) -> str:
    """Mean 0 and standard deviation 1 over the products of the vocabulary, which entry 0 is none of."""
    first, end = graph.constant(np.array([1])), graph.constant(np.array([np.iinfo(np.int64).max]))
    known = graph.node("Slice", raw, first, end)
    centred = graph.node("Sub", known, graph.node("ReduceMean", known, keepdims=1))
    variance = graph.node("ReduceMean", graph.node("Mul", centred, centred), keepdims=1)
    tiny = graph.constant(np.array([1e-12]))  # where all products are alike
    values = graph.node("Div", centred, graph.node("Sqrt", graph.node("Max", variance, tiny)))
    return graph.node("Concat", graph.constant(np.zeros(1)), values, axis=0)


def _log_odds(graph: GraphBuilder, raw: str, most: str, *, share: bool) -> str:
    """log(x) for odds x well above `_EPSILON`, and its smooth, rising continuation below, asinh(x / 2e) + log(e).

    Args:
        graph: Where to add it.
        raw: (num_items,) scores.
        most: (1,) the largest that one could be.
        share: Whether the odds are those of the share raw / (most + 1), else raw / most.
    """
    above = graph.node("Add", most, graph.constant(np.ones(1)))
    odds = graph.node("Div", raw, graph.node("Sub", above, raw) if share else most)
    ratio = graph.node("Mul", odds, graph.constant(np.array([0.5 / _EPSILON])))
    size = graph.node("Abs", ratio)  # from the size: the sum below cancels out for a negative number
    root = graph.node("Sqrt", graph.node("Add", graph.node("Mul", size, size), graph.constant(np.ones(1))))
    arc = graph.node("Mul", graph.node("Sign", ratio), graph.node("Log", graph.node("Add", size, root)))
    return graph.node("Add", arc, graph.constant(np.log(np.array([_EPSILON]))))
