"""Runs a rank graph: one ONNX graph that scores every item of the vocabulary for one shopper.

Inputs are `items` int32 (T,), ids of the item vocabulary, oldest first, 0 for an unknown product (its time counts as
activity, and nothing else of it); `timestamps` int64 (T,), UNIX seconds, not falling; `now` int64 (), not before the
last of them. Events at one timestamp are one basket, a set. The output `scores` is float32 (num_items,), finite; entry
0, the unknown product, has the lowest finite value.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import onnx
import onnxruntime as ort
from numpy.typing import NDArray

from training.evaluation.purchases import History, IntArray

HISTORY_LENGTH: Final = 5000  # latest events that are read
INPUTS: Final = ("items", "timestamps", "now")
OUTPUT: Final = "scores"

Scores = NDArray[np.float32]


def cpu_session(graph: onnx.ModelProto, threads: int = 1) -> ort.InferenceSession:
    """Returns an ONNX Runtime session of a graph on the CPU.

    Args:
        graph: Checked graph.
        threads: Threads within an operation; one is fastest for graphs of many small operations.
    """
    options = ort.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
    options.log_severity_level = 3
    return ort.InferenceSession(graph.SerializeToString(), options, providers=["CPUExecutionProvider"])


class RankSession:
    """A rank graph, ready to score one shopper at a time."""

    def __init__(self, graph: onnx.ModelProto, threads: int = 1) -> None:
        """Loads the graph.

        Args:
            graph: A rank graph.
            threads: Threads within an operation.

        Raises:
            ValueError: If it has other inputs or another output than a rank graph has.
        """
        self._session: Any = cpu_session(graph, threads)
        inputs = tuple(sorted(each.name for each in self._session.get_inputs()))
        outputs = tuple(each.name for each in self._session.get_outputs())
        if not set(inputs) <= set(INPUTS) or outputs != (OUTPUT,):
            raise ValueError(
                f"`graph` should have inputs {INPUTS} and the output {OUTPUT!r}. Received: {inputs} and {outputs}"
            )
        self._inputs = inputs

    def score(self, items: NDArray[Any], timestamps: NDArray[Any], now: int) -> Scores:
        """Returns (num_items,) scores of one shopper; entry 0 is the unknown product.

        Args:
            items: (T,) item ids, oldest first, T at least 1.
            timestamps: (T,) UNIX seconds, not falling.
            now: UNIX seconds, at or after the last timestamp.

        Raises:
            ValueError: If the lengths differ or are 0, or times fall.
        """
        if items.ndim != 1 or items.shape != timestamps.shape or not len(items):
            raise ValueError(
                "`items` and `timestamps` should be 1-dimensional and of one length, at least 1. "
                f"Received: shapes {items.shape} and {timestamps.shape}"
            )
        if now < timestamps[-1] or (np.diff(timestamps) < 0).any():
            raise ValueError(
                f"`timestamps` should not fall, and `now` not be before the last. Received: {timestamps} and {now}"
            )
        values = {
            "items": np.ascontiguousarray(items, np.int32),
            "timestamps": np.ascontiguousarray(timestamps, np.int64),
            "now": np.array(now, np.int64),
        }
        return self._session.run([OUTPUT], {name: values[name] for name in self._inputs})[0]


@dataclass(frozen=True, eq=False)
class ShopperEvents:
    """All shoppers' events as a rank graph reads them, shopper by shopper, oldest first.

    A basket without any item of the vocabulary is one event of the unknown product. All lines of a basket have the
    time of its first one, so that they stay one basket.

    Attributes:
        items: (E,) int32 graph ids, 1..I for the history's items 0..I-1, 0 for the unknown product.
        timestamps: (E,) int64, seconds UTC.
        starts: (U + 1,) int64, first event of each shopper.
    """

    items: NDArray[np.int32]
    timestamps: IntArray
    starts: IntArray

    @classmethod
    def of(cls, history: History) -> "ShopperEvents":
        """Returns the events of a history."""
        empty = np.setdiff1d(np.arange(len(history.basket_time)), history.basket)
        basket = np.concatenate([history.basket, empty])
        order = np.argsort(basket, kind="stable")  # baskets are numbered shopper by shopper, oldest first
        items = np.concatenate([history.item + 1, np.zeros(len(empty), np.int64)])
        owner = np.repeat(np.arange(history.num_users), history.num_baskets)
        counts = np.bincount(owner[basket], minlength=history.num_users)
        starts = np.concatenate([[0], np.cumsum(counts)])
        return cls(items[order].astype(np.int32), history.basket_time[basket[order]], starts)

    def of_user(self, user: int, length: int = HISTORY_LENGTH) -> tuple[NDArray[np.int32], IntArray]:
        """Returns items and timestamps of the shopper's latest `length` events."""
        stop = int(self.starts[user + 1])
        kept = slice(max(int(self.starts[user]), stop - length), stop)
        return self.items[kept], self.timestamps[kept]


def score_users(
    session: RankSession,
    history: History | ShopperEvents,
    users: IntArray,
    now: int,
    on_user: Callable[[int], Any] | None = None,
    length: int = HISTORY_LENGTH,
) -> Scores:
    """Returns (len(users), I) float32 scores of the history's items, the unknown product left out.

    Args:
        session: Rank graph whose ids 1..I are the history's items 0..I-1.
        history: History, or its events if they are asked for several times.
        users: Shoppers, as indices of the history.
        now: Moment of the request, seconds UTC.
        on_user: Called with 1 after each shopper.
        length: Latest events of a shopper that are read.
    """
    events = ShopperEvents.of(history) if isinstance(history, History) else history
    rows: list[Scores] = []
    for user in users:
        rows.append(session.score(*events.of_user(int(user), length), now)[1:])
        if on_user is not None:
            on_user(1)
    return np.stack(rows) if rows else np.zeros((0, 0), np.float32)
