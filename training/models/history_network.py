"""The network of the candidate-history ranker, and the rank graph that is made of it.

Two heads, one for items that the shopper has bought and one for the others, give the log odds of a purchase in the
window; each is the sum of a linear function and a small MLP of standardised features. One ranking joins them.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
import onnx
import tensorflow as tf

from training.models.graph_builder import GraphBuilder
from training.models.graph_values import OPSET, Value, constant, side_by_side
from training.models.history_features import build_features, feature_matrix, feature_row
from training.models.history_tables import Float32, HistoryTables

START_LOG_ODDS = (-2.5, -6.0)  # about how often an item bought before, and another one, is bought in a window
_LOWEST = float(np.finfo(np.float32).min)


class Head(keras.layers.Layer):
    """A linear function plus an MLP of (N, F) features: (N,) log odds."""

    def __init__(self, hidden: Sequence[int], start: float, seed: int, **options: Any) -> None:
        """Sets up the layers.

        Args:
            hidden: Widths of the hidden layers.
            start: Log odds before training.
            seed: Seed of the kernels.
            options: Of `keras.layers.Layer`.
        """
        super().__init__(**options)
        self.hidden, self.start, self.seed = tuple(hidden), start, seed
        initial: Any = keras.initializers.Constant(start)
        kernels: list[Any] = [keras.initializers.HeNormal(seed + 1 + place) for place in range(len(self.hidden))]
        of_last: Any = keras.initializers.GlorotNormal(seed)
        self.linear = keras.layers.Dense(1, kernel_initializer="zeros", bias_initializer=initial, name="linear")
        self.layers = [
            keras.layers.Dense(width, "relu", kernel_initializer=kernel, name=f"hidden_{place}")
            for place, (width, kernel) in enumerate(zip(self.hidden, kernels, strict=True))
        ]
        self.last = keras.layers.Dense(1, use_bias=False, kernel_initializer=of_last, name="last")

    def build(self, input_shape: tuple[int | None, int]) -> None:
        """Makes the weights."""
        self.linear.build(input_shape)
        width = input_shape[-1]
        for layer, units in zip(self.layers, self.hidden, strict=True):
            layer.build((None, width))
            width = units
        self.last.build((None, width))
        self.built = True

    def call(self, features: Any) -> Any:
        """Returns (N,) log odds of (N, F) features."""
        value = features
        for layer in self.layers:
            value = layer(value)
        return tf.squeeze(self.linear(features) + self.last(value), axis=1)

    def get_config(self) -> dict[str, Any]:
        """Returns the arguments."""
        return {**super().get_config(), "hidden": self.hidden, "start": self.start, "seed": self.seed}

    def kernels(self) -> list[Any]:
        """Returns the kernels of all layers."""
        return [layer.kernel for layer in (self.linear, *self.layers, self.last)]


class HistoryNetwork(keras.Model):
    """Both heads, and a bias for each item in the head of items bought before."""

    def __init__(self, num_items: int, widths: tuple[int, int], hidden: Sequence[int], seed: int) -> None:
        """Makes the weights.

        Args:
            num_items: Ids of the vocabulary, I + 1.
            widths: Number of features of each head.
            hidden: Widths of the hidden layers.
            seed: Seed of the kernels.
        """
        super().__init__()
        self.heads = [
            Head(hidden, start, seed + 1000 * place, name=name)
            for place, (start, name) in enumerate(zip(START_LOG_ODDS, ("seen", "new"), strict=True))
        ]
        for head, width in zip(self.heads, widths, strict=True):
            head.build((None, width))
        self.item_bias = self.add_weight(shape=(num_items,), initializer="zeros", name="item_bias")
        self.built = True

    def seen(self, features: Any, ids: Any) -> Any:
        """Returns (N,) log odds of items bought before."""
        return self.heads[0](features) + tf.gather(self.item_bias, ids)

    def new(self, features: Any) -> Any:
        """Returns (N,) log odds of items never bought."""
        return self.heads[1](features)


@dataclass(frozen=True, eq=False)
class Scale:
    """Standardisation of columns: (value - mean) / deviation, cut off at plus and minus `clip`."""

    mean: Float32
    deviation: Float32
    clip: float

    @classmethod
    def of(cls, values: Float32, clip: float) -> "Scale":
        """Returns the scale of (N, F) values; a constant column becomes 0."""
        mean, deviation = values.mean(axis=0, dtype=np.float64), values.std(axis=0, dtype=np.float64)
        return cls(mean.astype(np.float32), np.where(deviation > 1e-6, deviation, 1e6).astype(np.float32), clip)

    def apply(self, values: Float32) -> None:
        """Standardises (N, F) values in place."""
        values -= self.mean
        values /= self.deviation
        np.clip(values, -self.clip, self.clip, out=values)

    def add(self, value: Value) -> Value:
        """Adds the standardisation of an (N, F) value to its graph."""
        moved = (value - constant(value.graph, self.mean)) / constant(value.graph, self.deviation)
        return moved.at_least(-self.clip).at_most(self.clip)


@dataclass(frozen=True, eq=False)
class Scales:
    """Scales of the columns of both heads, of the item statistics and of the shopper."""

    seen: Scale
    new: Scale
    item: Scale
    house: Scale


def rank_graph(tables: HistoryTables, days: int, scales: Scales, networks: Sequence[HistoryNetwork]) -> onnx.ModelProto:
    """Returns the rank graph that averages the log odds of several networks.

    Args:
        tables: Item statistics of the moment of deployment.
        days: Length of the window.
        scales: Standardisation used in training.
        networks: Trained networks.
    """
    graph = GraphBuilder("rank", opset=OPSET)
    features = build_features(graph, tables, days)
    dense, item = feature_matrix(features.dense), scales.item.add(constant(graph, tables.item))
    house = scales.house.add(feature_row(features.house))
    seen = scales.seen.add(side_by_side([feature_matrix(features.seen), dense[features.pairs]]))
    widths = (len(scales.item.mean), len(scales.house.mean))
    of_new = _head(scales.new.add(dense), item, None, house, widths, [network.heads[1] for network in networks])
    of_seen = _head(seen, item, features.pairs, house, widths, [network.heads[0] for network in networks])
    bias = np.mean([np.asarray(network.item_bias) for network in networks], axis=0)
    of_seen = of_seen + constant(graph, bias)[features.pairs]
    scores = of_new.op("ScatterElements", features.pairs, of_seen, axis=0)
    unknown = constant(graph, np.arange(tables.num_items) == 0, "bool")
    scores = unknown.op("Where", constant(graph, _LOWEST), scores, kind="float")
    graph.output("scores", [tables.num_items], scores.name)
    return graph.model()


def _array(weight: Any) -> Float32:
    return np.asarray(weight, np.float32)


def _head(
    own: Value, item: Value, pairs: Value | None, house: Value, widths: tuple[int, int], heads: Sequence[Head]
) -> Value:
    """Returns (N,) mean log odds of the same head of all networks.

    The first layers of all networks, with their linear parts, are one product. It is split by family of features: the
    part of the item statistics does not depend on the shopper, so that the runtime computes it once, at loading.
    `widths` are those of the item statistics and of the shopper's features.
    """
    graph = own.graph
    first = np.concatenate(
        [np.concatenate([_array(h.layers[0].kernel), _array(h.linear.kernel)], axis=1) for h in heads], axis=1
    )
    bias = np.concatenate([np.concatenate([_array(h.layers[0].bias), _array(h.linear.bias)]) for h in heads])
    of_own, of_item, of_house = (
        constant(graph, part) for part in np.split(first, [len(first) - sum(widths), len(first) - widths[1]])
    )
    by_item = item.op("MatMul", of_item)
    summed = own.op("MatMul", of_own) + (by_item if pairs is None else by_item[pairs])
    summed = summed + (house.op("MatMul", of_house) + constant(graph, bias))
    width = len(bias) // len(heads)
    total: Value | None = None
    for place, head in enumerate(heads):
        columns = constant(graph, np.arange(place * width, (place + 1) * width - 1), "int")
        value = summed.op("Gather", columns, axis=1).op("Relu")
        for layer in head.layers[1:]:
            value = (
                value.op("MatMul", constant(graph, _array(layer.kernel))) + constant(graph, _array(layer.bias))
            ).op("Relu")
        linear = summed.op("Gather", constant(graph, (place + 1) * width - 1, "int"), axis=1)
        logit = linear + value.op("MatMul", constant(graph, _array(head.last.kernel)[:, 0]))
        total = logit if total is None else total + logit
    assert total is not None  # there is at least one network
    return total / len(heads)
