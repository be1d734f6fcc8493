"""Simple methods, and graphs that exist already, as parts of a rank graph (`training.models.rank_graphs`).

Parts give raw scores, the same as their counterparts in `training.evaluation.future_rankers`, in float64.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal, Protocol

import numpy as np
import onnx
from numpy.typing import NDArray

from training.evaluation.item_models import Ease
from training.evaluation.purchases import SECONDS_PER_DAY, History
from training.models.graph_builder import GraphBuilder

TIE_BREAK: Final = 1e-5
"""Weight of popularity, 0 to 1, beside counts of baskets: what float32 logits still keep apart."""
NEIGHBOURS: Final = 200
"""Weights of EASE kept for each item: on retail purchases a ranking as good as with all of them."""
INT64: Final = onnx.TensorProto.INT64
DOUBLE: Final = onnx.TensorProto.DOUBLE

Float64 = NDArray[np.float64]


@dataclass(frozen=True)
class Asked:
    """Names of what all parts of a graph read.

    Attributes:
        ids: (T,) int64 item ids.
        basket: (T,) int64 number of the event's basket, from 0, oldest first.
        starts: (T,) float64, 1 at the first event of each basket, else 0.
        age: (T,) float64, how many baskets ago; 0 is the latest one.
        seconds: (T,) float64, how long ago.
    """

    ids: str
    basket: str
    starts: str
    age: str
    seconds: str


class RankPart(Protocol):
    """A ranker as it is written into a graph."""

    @property
    def kind(self) -> str:
        """Kind in the bundle's `ranker` document."""
        ...

    @property
    def settings(self) -> Mapping[str, Any]:
        """Settings it was fitted with."""
        ...

    @property
    def num_items(self) -> int:
        """Size of the item vocabulary, 0 included."""
        ...

    def add(self, graph: GraphBuilder, asked: Asked) -> tuple[str, str | None]:
        """Adds itself to a graph.

        Returns:
            Names of its raw scores, (num_items,) float64, and of the largest that one could be, (1,) float64; None
            where the scores are logits already.
        """
        ...


@dataclass(frozen=True, eq=False)
class PopularityPart:
    """Number of purchases: `future_rankers.Popularity`.

    Attributes:
        counts: (num_items,) float64.
        days: Only the purchases of so many days before the end of the data count; None: all.
    """

    counts: Float64
    days: int | None = None
    kind: str = "popularity"

    @classmethod
    def fit(cls, history: History, days: int | None = None) -> "PopularityPart":
        """Counts the purchases of a history."""
        since = None if days is None else history.before - days * SECONDS_PER_DAY
        return cls(np.concatenate([[0.0], history.popularity(since)]), days)

    @property
    def settings(self) -> Mapping[str, Any]:
        """Days that count."""
        return {"days": self.days}

    @property
    def num_items(self) -> int:
        """Size of the item vocabulary, 0 included."""
        return len(self.counts)

    def add(self, graph: GraphBuilder, asked: Asked) -> tuple[str, str | None]:
        """Adds itself to a graph."""
        return graph.constant(self.counts), graph.constant(np.array([self.counts.sum()]))


@dataclass(frozen=True, eq=False)
class OwnFrequencyPart:
    """Weight of the shopper's own baskets that held the product: `future_rankers.OwnFrequency`.

    A basket weighs half for each `half_life` baskets after it, and half for each `half_life_days` since it; without
    either, all weigh 1. Popularity, as a share of the most popular product's, counts `prior` baskets.

    Attributes:
        popularity: (num_items,) float64, 0 to 1.
        half_life: In baskets; baskets of unknown products count.
        half_life_days: In days before the request.
        prior: Weight of popularity; by default it orders only what is otherwise equal.
    """

    popularity: Float64
    half_life: float | None = None
    half_life_days: float | None = None
    prior: float = TIE_BREAK
    kind: str = "own_frequency"

    def __post_init__(self) -> None:
        for name in ("half_life", "half_life_days", "prior"):
            value = getattr(self, name)
            if value is not None and not (np.isfinite(value) and value > 0):
                raise ValueError(f"`{name}` should be a positive number. Received: {name} = {value!r}")

    @classmethod
    def fit(
        cls,
        history: History,
        half_life: float | None = None,
        half_life_days: float | None = None,
        prior: float = TIE_BREAK,
    ) -> "OwnFrequencyPart":
        """Takes from a history what orders products that the shopper never had."""
        return cls(_relative_popularity(history), half_life, half_life_days, prior)

    @property
    def settings(self) -> Mapping[str, Any]:
        """Half-lives and prior."""
        return {"half_life": self.half_life, "half_life_days": self.half_life_days, "prior": self.prior}

    @property
    def num_items(self) -> int:
        """Size of the item vocabulary, 0 included."""
        return len(self.popularity)

    def add(self, graph: GraphBuilder, asked: Asked) -> tuple[str, str | None]:
        """Adds itself to a graph."""
        exponent = graph.constant(np.zeros(1))
        for value, unit, name in (
            (self.half_life, 1, asked.age),
            (self.half_life_days, SECONDS_PER_DAY, asked.seconds),
        ):
            if value is not None:
                rate = graph.constant(np.array([-np.log(2) / (value * unit)]))
                exponent = graph.node("Add", exponent, graph.node("Mul", name, rate))
        # Added to zeros, so that the weights have an entry for each event even where nothing decays.
        zeros = graph.node("Mul", asked.age, graph.constant(np.zeros(1)))
        weights = graph.node("Exp", graph.node("Add", zeros, exponent))
        ids, (chosen,) = _items_of_baskets(graph, asked, self.num_items, [weights])
        own = _sum_by_item(graph, ids, chosen, self.num_items)
        raw = graph.node("Add", own, graph.constant(self.prior * self.popularity))
        total = graph.node("ReduceSum", graph.node("Mul", weights, asked.starts), keepdims=1)
        return raw, graph.node("Add", total, graph.constant(np.array([self.prior])))


@dataclass(frozen=True, eq=False)
class EasePart:
    """EASE with pruned neighbours: `future_rankers.EaseRanker` (Steck, WWW 2019).

    Attributes:
        neighbours: (num_items, N) int32, the items that each item speaks for most, in size of the weight.
        weights: (num_items, N) float32, their weights; 0 where an item has fewer neighbours.
        popularity: (num_items,) float64, 0 to 1; orders what is otherwise equal.
        regularization: Its lambda.
        values: "binary": bought or not; "log": log(1 + number of baskets with the item).
    """

    neighbours: NDArray[np.int32]
    weights: NDArray[np.float32]
    popularity: Float64
    regularization: float
    values: Literal["binary", "log"] = "binary"
    kind: str = "ease"

    @classmethod
    def fit(
        cls,
        history: History,
        regularization: float = 300.0,
        values: Literal["binary", "log"] = "binary",
        neighbours: int = NEIGHBOURS,
    ) -> "EasePart":
        """Solves EASE on a history's shoppers and keeps the `neighbours` largest weights of each item.

        Raises:
            ValueError: A setting is out of range.
        """
        if values not in ("binary", "log"):
            raise ValueError(f"`values` should be 'binary' or 'log'. Received: values = {values!r}")
        if neighbours < 1:
            raise ValueError(f"`neighbours` should be a positive integer. Received: neighbours = {neighbours}")
        inputs = history.basket_counts()
        inputs.data = np.log1p(inputs.data) if values == "log" else np.ones_like(inputs.data)
        matrix = Ease.fit(np.asarray((inputs.T @ inputs).toarray()), regularization).weights
        size, count = history.num_items, min(neighbours, history.num_items)
        ids, kept = np.zeros((size + 1, count), np.int32), np.zeros((size + 1, count), np.float32)
        chosen = np.argpartition(-np.abs(matrix), count - 1, axis=1)[:, :count]
        ids[1:], kept[1:] = 1 + chosen, np.take_along_axis(matrix, chosen, axis=1)
        return cls(ids, kept, _relative_popularity(history), regularization, values)

    @property
    def settings(self) -> Mapping[str, Any]:
        """Lambda, values and number of neighbours."""
        neighbours = self.neighbours.shape[1]
        return {"regularization": self.regularization, "values": self.values, "neighbours": neighbours}

    @property
    def num_items(self) -> int:
        """Size of the item vocabulary, 0 included."""
        return len(self.popularity)

    def add(self, graph: GraphBuilder, asked: Asked) -> tuple[str, str | None]:
        """Adds itself to a graph."""
        ids, (ones,) = _items_of_baskets(graph, asked, self.num_items, [asked.starts])
        ones = graph.node("Exp", graph.node("Mul", ones, graph.constant(np.zeros(1))))
        baskets = _sum_by_item(graph, ids, ones, self.num_items)  # in how many baskets each item was
        baskets = graph.node("Mul", baskets, graph.constant((np.arange(self.num_items) > 0).astype(np.float64)))
        present = graph.node("NonZero", graph.node("Cast", baskets, to=INT64))
        known = graph.node("Reshape", present, graph.constant(np.array([-1])))  # (S,)
        count = graph.node("Gather", baskets, known)
        one = graph.constant(np.ones(1))
        value = (
            graph.node("Log", graph.node("Add", count, one)) if self.values == "log" else graph.node("Min", count, one)
        )
        column = graph.node("Reshape", value, graph.constant(np.array([-1, 1])))
        weights = graph.node("Cast", graph.node("Gather", graph.constant(self.weights), known), to=DOUBLE)  # (S, N)
        targets = graph.node("Cast", graph.node("Gather", graph.constant(self.neighbours), known), to=INT64)
        flat = graph.constant(np.array([-1]))
        spoken = graph.node("Reshape", graph.node("Mul", weights, column), flat)
        scores = _sum_by_item(graph, graph.node("Reshape", targets, flat), spoken, self.num_items)
        return graph.node("Add", scores, graph.constant(1e-9 * self.popularity)), one


@dataclass(frozen=True, eq=False)
class GraphPart:
    """A rank graph that exists already, such as a learned network's; its scores are logits.

    Attributes:
        model: With the inputs and the output of this module.
        kind: Kind in the bundle's `ranker` document.
        settings: Settings it was fitted with.
    """

    model: onnx.ModelProto
    kind: str
    settings: Mapping[str, Any]

    @property
    def num_items(self) -> int:
        """Size of the item vocabulary, 0 included."""
        (output,) = self.model.graph.output
        return int(output.type.tensor_type.shape.dim[0].dim_value)

    def add(self, graph: GraphBuilder, asked: Asked) -> tuple[str, str | None]:
        """Adds itself to a graph."""
        return graph.node("Cast", graph.embed(self.model), to=DOUBLE), None


def _relative_popularity(history: History) -> Float64:
    popularity = history.popularity()
    return np.concatenate([[0.0], popularity / max(popularity.max(initial=0.0), 1.0)])


def _items_of_baskets(
    graph: GraphBuilder, asked: Asked, num_items: int, columns: Sequence[str]
) -> tuple[str, list[str]]:
    """Item ids, and other columns, of the events without those that repeat an item within a basket."""
    size = graph.constant(np.array([num_items]))
    key = graph.node("Add", graph.node("Mul", asked.basket, size), asked.ids)
    _, first = graph.nodes("Unique", key, results=2, sorted=1)
    return graph.node("Gather", asked.ids, first), [graph.node("Gather", column, first) for column in columns]


def _sum_by_item(graph: GraphBuilder, ids: str, values: str, num_items: int) -> str:
    return graph.node("ScatterElements", graph.constant(np.zeros(num_items)), ids, values, axis=0, reduction="add")
