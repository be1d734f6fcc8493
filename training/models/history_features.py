"""Features of the candidate-history ranker, as formulas in an ONNX graph over one shopper's events.

Four families: `seen`, of the (P,) different items that the shopper has bought; `dense`, of every item of the
vocabulary; `house`, of the shopper; and `item`, the statistics of `history_tables`. Days count back from `now`, baskets
from the latest one. Counts enter as log(1 + count). An item counts once a basket; the unknown product only as time.

What a shopper's own history tells of the next purchase is taken from counting methods (Hu et al., SIGIR 2020) and from
work on repeat consumption: recency, frequency and regularity of the pair.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np
import onnx

from training.evaluation.purchases import SECONDS_PER_DAY
from training.models.graph_builder import GraphBuilder
from training.models.graph_values import (
    OPSET,
    Value,
    columns,
    constant,
    ranges,
    segment_largest,
    segment_sums,
    side_by_side,
    where,
)
from training.models.history_tables import LONG_AGO, HistoryTables

DAY_HALF_LIVES: Final = (7, 21, 60, 150)
BASKET_HALF_LIVES: Final = (3, 8, 20, 50)
WINDOWS: Final = 6  # past windows, each as long as the one that is predicted
NEVER_GAP: Final = 200.0  # days between purchases, for what was bought once
UNKNOWN_SPREAD: Final = 60.0  # standard deviation of gaps, for what has one gap at most


@dataclass(frozen=True)
class Features:
    """Values of a graph.

    Attributes:
        pairs: (P,) int, ids of the items that the shopper has bought, rising; 0 among them if an unknown product was.
        seen: Name to (P,) float.
        dense: Name to (I + 1,) float.
        house: Name to a scalar float.
    """

    pairs: Value
    seen: Mapping[str, Value]
    dense: Mapping[str, Value]
    house: Mapping[str, Value]


@dataclass(frozen=True)
class _Events:
    """The shopper's purchases, each item once a basket, sorted by item and time; and the pairs they make up."""

    item: Value  # (E,)
    known: Value  # (E,) 1 or 0
    age: Value  # (E,) days
    baskets_ago: Value  # (E,)
    pairs: Value  # (P,) item of each pair
    start: Value  # (P,) first event of the pair
    count: Value  # (P,) number of events
    pair: Value  # (E,) number of the pair
    total: Value  # baskets, a scalar float

    @property
    def end(self) -> Value:
        """Last event of each pair, its latest."""
        return self.start + self.count - 1

    @property
    def known_pairs(self) -> Value:
        """1 for each pair with a known item, 0 for the unknown product."""
        return (self.pairs > 0).number


def build_features(graph: GraphBuilder, tables: HistoryTables, days: int) -> Features:
    """Adds the inputs of a rank graph and the features to a graph.

    Args:
        graph: An empty graph of `graph_values.OPSET`.
        tables: Item statistics, groups and neighbours.
        days: Length of the window that is predicted.
    """
    items = Value(graph, graph.input("items", ["T"], onnx.TensorProto.INT32), "int").cast("int")
    times = Value(graph, graph.input("timestamps", ["T"], onnx.TensorProto.INT64), "int")
    now = Value(graph, graph.input("now", [], onnx.TensorProto.INT64), "int")
    age = (now - times).number / SECONDS_PER_DAY  # (T,)
    opens = times.differs(times.before())  # the first event opens a basket as well, but differs from nothing
    basket = opens.cast("int").cumulated()
    total = basket[-1] + 1
    key, place, _, _ = (items * total + basket).unique()
    item = key / total
    pairs, start, pair, count = item.unique()
    known, ago = (item > 0).number, (total - 1 - (key - item * total)).number
    events = _Events(item, known, age[place], ago, pairs, start, count, pair, total.number)
    seen, raw = _seen(events, constant(graph, tables.gap), days)
    dense = _ease(events, raw, tables)
    for name in tables.groups:
        of_seen, of_all = _group(events, raw, tables, name)
        seen, dense = {**seen, **of_seen}, {**dense, **of_all}
    return Features(pairs, seen, dense, _house(events, raw, age, opens))


def _seen(events: _Events, item_gap: Value, days: int) -> tuple[dict[str, Value], dict[str, Value]]:
    """Returns features of the pairs, and the plain values that other families use."""
    age, count = events.age, events.count.number
    earlier, same = age.before(), (events.item.differs(events.item.before())).op("Not")
    another_day = (same & age.floor().differs(earlier.floor())).number
    another_window = (same & (age / days).floor().differs((earlier / days).floor())).number
    gap = (earlier - age) * same.number
    of_day = gap * another_day
    parts = {f"decay {life} days": age.halved_every(life) for life in DAY_HALF_LIVES}
    parts |= {f"decay {life} baskets": events.baskets_ago.halved_every(life) for life in BASKET_HALF_LIVES}
    parts |= {f"count {each} days": (age < each).number for each in (7, 14)}
    recent = {f"window {k}": ((age >= days * k) & (age < days * (k + 1))).number for k in range(WINDOWS)}
    others = {"days": another_day, "windows": another_window, "gaps": of_day, "squares": of_day * of_day}
    everything = {**parts, **recent, **others}
    sums = dict(zip(everything, segment_sums(list(everything.values()), events.pair, events.pairs.size()), strict=True))
    last, first = age[events.end], age[events.start]
    last_basket, first_basket = events.baskets_ago[events.end], events.baskets_ago[events.start]
    gaps, of_item = sums["days"], item_gap[events.pairs]
    several, some = gaps > 0, gaps.at_least(1)
    mean = sums["gaps"] / some
    typical = (where(several, first - last, 0) + of_item) / (gaps + 1)
    spread = (sums["squares"] / some - mean * mean).at_least(0).sqrt()
    windows = sums["windows"] + 1
    possible = (first / days).floor() + 1
    lines = {
        name: (sums[name] * events.known_pairs).total().at_least(1e-6) for name in ("decay 60 days", "decay 20 baskets")
    }
    seen = {"count": count.log1p()} | {name: sums[name].log1p() for name in parts}
    seen |= {name: (sums[name] > 0).number for name in recent}
    seen |= {
        "days since last": last.log1p(),
        "baskets since last": last_basket.log1p(),
        "days since first": first.log1p(),
        "days": (gaps + 1).log1p(),
        "gap": typical.log1p(),
        "own gap": where(several, (first - last) / some, NEVER_GAP).log1p(),
        "gap spread": where(gaps > 1, spread, UNKNOWN_SPREAD).log1p(),
        "last gap": where(count > 1, gap[events.end], NEVER_GAP).log1p(),
        "overdue ratio": (last / (typical + 1)).log1p(),
        "overdue days": (last - typical).at_least(-60).at_most(120),
        "overdue ratio of item": (last / (of_item + 1)).log1p(),
        "share of baskets": count / events.total,
        "share since first": count / (first_basket + 3),
        "daily rate": count / (first + 14),
        "share of windows": windows / possible,
        "damped share of windows": (windows + 0.3) / (possible + 2),
    }
    seen |= {f"share of {name}": (sums[name] / lines[name] + 1e-4).op("Log") for name in lines}
    raw = {"count": count, "last": last, "first": first, "several": several.number, "decay": sums["decay 60 days"]}
    return seen, raw


def _ease(events: _Events, raw: Mapping[str, Value], tables: HistoryTables) -> dict[str, Value]:
    """Returns EASE scores of all items, from the set of items and from recent amounts."""
    graph, starts = events.item.graph, constant(events.item.graph, tables.links.starts, "int")
    first = starts[events.pairs]
    number, link = ranges(first, starts[events.pairs + 1])
    target = constant(graph, tables.links.targets, "int")[link]
    weight = constant(graph, tables.links.weights)[link]
    amounts = {"EASE": events.known_pairs, "recent EASE": events.known_pairs * raw["decay"].at_most(4).sqrt()}
    nothing = constant(graph, np.zeros(tables.num_items))
    return {
        name: nothing.op("ScatterElements", target, amount[number] * weight, axis=0, reduction="add")
        for name, amount in amounts.items()
    }


def _group(
    events: _Events, raw: Mapping[str, Value], tables: HistoryTables, name: str
) -> tuple[dict[str, Value], dict[str, Value]]:
    """Returns features of the pairs and of all items from what the shopper bought of the item's group."""
    graph, number = events.item.graph, int(tables.groups[name].max()) + 1
    code = constant(graph, tables.groups[name], "int")
    of_event = code[events.item]
    decay = events.known * events.age.halved_every(60)
    count, decayed = segment_sums([events.known, decay], of_event, constant(graph, number, "int"))
    latest = where(events.known > 0, 0 - events.age, -LONG_AGO)
    since = 0 - segment_largest(latest, of_event, number, -LONG_AGO)
    of_pair = code[events.pairs]
    seen = {
        f"{name}: own share": raw["count"] / count[of_pair].at_least(1),
        f"{name}: own recent share": raw["decay"] / decayed[of_pair].at_least(1e-6),
        f"{name}: bought since": (raw["last"] - since[of_pair]).at_least(0).log1p(),
    }
    recent = decayed.log1p()[code]
    dense = {
        f"{name}: count": count.log1p()[code],
        f"{name}: decay": recent,
        f"{name}: days since": since.log1p()[code],
        f"{name}: affinity": recent + constant(graph, tables.market[name]),
    }
    return seen, dense


def _house(events: _Events, raw: Mapping[str, Value], age: Value, opens: Value) -> dict[str, Value]:
    """Returns scalars of the shopper."""
    known, pairs = events.known, events.known_pairs
    lines = {days: (known * (events.age < days).number).total() for days in (21, 42, 63, 400)}
    items = pairs.total()
    house = {
        f"baskets {days} days": ((opens & (age < days)).number.total() + (age[0] < days).number).log1p()
        for days in (21, 63, 400)
    }
    house |= {f"items bought {days} days": lines[days].log1p() for days in (21, 63, 400)}
    return house | {
        "days since last basket": age[-1].at_most(LONG_AGO).log1p(),
        "basket size": (known.total() / events.total).log1p(),
        "different items": items.log1p(),
        "repeat share": (pairs * raw["several"]).total() / items.at_least(1),
        "new share": (pairs * (raw["first"] < 42).number).total() / (lines[42] + 5),
    }


def feature_matrix(features: Mapping[str, Value]) -> Value:
    """Returns (N, F) from F features of shape (N,)."""
    return columns(list(features.values()))


def feature_row(features: Mapping[str, Value]) -> Value:
    """Returns (1, F) from F scalars."""
    graph = next(iter(features.values())).graph
    shape = constant(graph, np.array([1, 1]), "int")
    return side_by_side([value.op("Reshape", shape) for value in features.values()])


@dataclass(frozen=True)
class FeatureNames:
    """Names of the columns of each family."""

    seen: tuple[str, ...]
    dense: tuple[str, ...]
    house: tuple[str, ...]
    item: tuple[str, ...]


def feature_graph(tables: HistoryTables, days: int) -> tuple[onnx.ModelProto, FeatureNames]:
    """Returns the graph that training runs, and the names of its columns.

    Outputs: `pairs` int64 (P,), `seen` (P, S), `dense` (I + 1, D), `house` (1, H), all as in `Features`.
    """
    graph = GraphBuilder("features", opset=OPSET)
    features = build_features(graph, tables, days)
    names = FeatureNames(tuple(features.seen), tuple(features.dense), tuple(features.house), tables.item_names)
    graph.output("pairs", ["P"], features.pairs.op("Identity").name, onnx.TensorProto.INT64)
    graph.output("seen", ["P", len(names.seen)], feature_matrix(features.seen).op("Identity").name)
    graph.output("dense", [tables.num_items, len(names.dense)], feature_matrix(features.dense).op("Identity").name)
    graph.output("house", [1, len(names.house)], feature_row(features.house).op("Identity").name)
    return graph.model(), names
