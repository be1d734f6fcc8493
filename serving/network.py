"""The trained network on ONNX Runtime: histories -> states -> logits."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, cast

import numpy as np
import numpy.typing as npt
import onnxruntime as ort

from serving.bundle import CANDIDATE_VECTOR, LINEAR_FIT, READ_OUT, READINGS, Bundle, BundleError, Graph
from serving.config import ServeConfig
from serving.ranking import Float32, lowest_where_not_finite
from serving.threads import Workers

Positions = npt.NDArray[np.intp]

# Found by trial: what one call computes then stays in a core's own cache.
_PAIRS_PER_CALL = 8_192  # of an event and a candidate
_HISTORIES_PER_CALL = 16  # even, see `Network.encode`
_PREPARED_PER_CALL = 4_096
_PARTS = 2  # chunks, where one call is not enough: a multiple of this, whoever then shares them
_PAIRS_OF_A_CANDIDATE = 3  # what fusion and prediction cost, in pairs


@dataclass(frozen=True)
class State:
    """One encoded history: the number of its events, and the state tensors by name."""

    events: int
    tensors: Mapping[str, Float32]


@dataclass(frozen=True)
class History:
    """What the network sees of a shopper, in whole: truncation to `max_seq_length` is the network's part.

    Attributes:
        items: (n,) int32 known item ids, oldest first, n >= 1.
        timestamps: (n,) int64 UNIX seconds.
        first_timestamp: Time of the shopper's first event.
        now: Time of the recommendation, not before the last event.
        unknown: (u,) int64 UNIX seconds of events of products that the vocabulary does not have, never falling.
        features: int32 ids of custom features by input of the network: (n,) of events, () of the user.
    """

    items: npt.NDArray[np.int32]
    timestamps: npt.NDArray[np.int64]
    first_timestamp: int
    now: int
    unknown: npt.NDArray[np.int64] = field(default_factory=lambda: np.zeros(0, np.int64))
    features: Mapping[str, npt.NDArray[np.int32]] = field(default_factory=dict[str, Any])

    def with_unknown(self) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.int64]]:
        """Item ids, 0 for an unknown product, and times of all events, oldest first."""
        if not len(self.unknown):
            return self.items, self.timestamps
        times = np.concatenate([self.timestamps, self.unknown])
        order = np.argsort(times, kind="stable")
        return np.concatenate([self.items, np.zeros(len(self.unknown), np.int32)])[order], times[order]


@dataclass(frozen=True)
class LinearFit:
    """What short-term taste is taken to be: `(features @ slope + offset) @ basis`.

    Attributes:
        slope: (K, R), for K features of a candidate; the last column is 0.
        offset: (R,), the last 1: the last row of `basis` is a constant.
        basis: (R, H)
    """

    slope: Float32
    offset: Float32
    basis: Float32


@dataclass(frozen=True)
class ReadOut:
    """What the layers after the first ones are taken to be: linear maps of these, for the gate and for the logit.

    Attributes:
        gate_slope, score_slope: (1, width of the first layer) each.
        gate_offset, score_offset: (1,) each.
    """

    gate_slope: Float32
    gate_offset: Float32
    score_slope: Float32
    score_offset: Float32


class Network:
    """The graphs of a bundle over a fixed list of N candidates, whose own part of the work is done once, here.

    Thread-safe: ONNX Runtime sessions may be run from many threads at once.

    Attributes:
        vectors: (N, D) float32, the candidates' embeddings.
    """

    def __init__(self, bundle: Bundle, config: ServeConfig, workers: Workers, item_ids: npt.NDArray[np.int32]) -> None:
        """Opens the graphs on the CPU.

        Args:
            bundle: Opened bundle.
            config: Bound of one call.
            workers: Who shares the work of large calls.
            item_ids: (N,) the candidates.

        Raises:
            BundleError: A graph cannot be opened or has other inputs or outputs than `bundle.json` says.
        """
        graphs = bundle.graphs
        self._manifest = bundle.manifest
        self._workers = workers
        self._bound = config.candidate_chunk_size
        self._state_names = list(graphs["encode"].outputs)
        self._encoder = open_session(graphs["encode"])
        self._scorer, self._features, self._approximator, self._sketcher = (
            _PairGraph(graphs[name], graphs["candidates"].outputs)
            for name in ("score", "features", "approximate", "sketch")
        )
        self._approximated = [name for name in self._state_names if name in graphs["approximate"].inputs]
        self._candidates = self._prepare(open_session(graphs["candidates"]), item_ids)
        self.vectors = self._candidates[CANDIDATE_VECTOR]

    def _prepare(self, session: ort.InferenceSession, item_ids: npt.NDArray[np.int32]) -> dict[str, Float32]:
        """Candidate tensors by name, first axis N."""
        names = [output.name for output in session.get_outputs()]
        tables: dict[str, Float32] = {}
        # At least once, so that the widths are known where there is no candidate.
        for start in range(0, max(1, len(item_ids)), _PREPARED_PER_CALL):
            values = cast(Any, session.run(names, {"items": item_ids[start : start + _PREPARED_PER_CALL]}))
            for name, value in zip(names, values, strict=True):
                table = tables.setdefault(name, np.empty((len(item_ids), *value.shape[1:]), np.float32))
                table[start : start + len(value)] = value
        return tables

    def encode(self, histories: Sequence[History]) -> list[State]:
        """Encodes the latest `max_seq_length` events of each history; histories of one length go together.

        The graph is called with an even number of histories, the last one twice where they are odd: ONNX Runtime
        computes a row that is left alone in another order than rows beside each other, with other last bits. So a
        state does not depend on which histories are encoded with it.

        Returns:
            One state a history.
        """
        limit = self._manifest.sizes.max_seq_length
        by_length: dict[int, list[int]] = {}
        for number, history in enumerate(histories):
            by_length.setdefault(min(len(history.items), limit), []).append(number)
        states: dict[int, State] = {}
        for length, numbers in by_length.items():
            for start in range(0, len(numbers), _HISTORIES_PER_CALL):
                group = numbers[start : start + _HISTORIES_PER_CALL]
                together = [histories[number] for number in (*group, *group[len(group) - len(group) % 2 :])]
                values = self._encode(together, length)
                for place, number in enumerate(group):
                    states[number] = State(length, {name: value[place, ...] for name, value in values.items()})
        return [states[number] for number in range(len(histories))]

    def _encode(self, histories: Sequence[History], length: int) -> dict[str, Float32]:
        columns = self._manifest.sizes.max_seq_length if self._manifest.pad_to_max_seq_length else length
        items = np.zeros((len(histories), columns), np.int32)  # (B, T)
        timestamps = np.zeros(items.shape, np.int64)
        for row, history in enumerate(histories):
            items[row, :length] = history.items[-length:]
            timestamps[row, :length] = history.timestamps[-length:]
        feeds = {
            "items": items,
            "timestamps": timestamps,
            "length": np.full(len(histories), length, np.int32),
            "first_timestamp": np.array([history.first_timestamp for history in histories], np.int64),
            "now": np.array([history.now for history in histories], np.int64),
        }
        for entry in self._manifest.request_features:
            name = entry.input_name
            feeds[name] = np.zeros(items.shape if entry.of == "event" else len(histories), np.int32)
            for row, history in enumerate(histories):
                if entry.of == "event":
                    feeds[name][row, :length] = history.features[name][-length:]
                else:
                    feeds[name][row] = history.features[name]
        return dict(zip(self._state_names, cast(Any, self._encoder.run(self._state_names, feeds)), strict=True))

    def logits(self, state: State, positions: Positions | None = None, *, share: bool = True) -> Float32:
        """Scores candidates for one shopper.

        Args:
            state: Encoded history.
            positions: (C,) places in the list of candidates, rising; by default all.
            share: Whether the workers help; not where each of them is busy with a shopper of its own.

        Returns:
            (C,) float32 logits; what is not finite is -inf, the lowest.
        """
        cost = state.events + _PAIRS_OF_A_CANDIDATE
        (logits,) = self._run(self._scorer, ["scores"], state.tensors, positions, cost, share)
        return lowest_where_not_finite(logits)

    def short_term(self, state: State, positions: Positions, *, share: bool = True) -> tuple[Float32, Float32]:
        """As `logits`, and short-term taste as it looks from candidates, (C, H): what makes them costly."""
        cost = state.events + _PAIRS_OF_A_CANDIDATE
        logits, taste = self._run(self._scorer, ["scores", "short_term"], state.tensors, positions, cost, share)
        return logits, taste

    def features(self, positions: Positions) -> Float32:
        """What short-term taste is close to a linear map of, (C, K); it begins with the candidates' vectors."""
        (features,) = self._run(self._features, ["features"], {}, positions, _PAIRS_OF_A_CANDIDATE, False)
        return features

    def approximate(
        self, state: State, fit: LinearFit, positions: Positions | None = None, *, share: bool = True
    ) -> Float32:
        """As `logits`, with short-term taste from a linear map; the cost does not grow with the history."""
        feeds = self._fitted(state, fit)
        (logits,) = self._run(self._approximator, ["scores"], feeds, positions, _PAIRS_OF_A_CANDIDATE, share)
        return lowest_where_not_finite(logits)

    def readings(self, state: State, fit: LinearFit, positions: Positions) -> list[Float32]:
        """The gate's first layer (C, G) and logits (C,), the prediction's first layer (C, P), as in `approximate`."""
        cost = _PAIRS_OF_A_CANDIDATE
        return self._run(self._approximator, list(READINGS), self._fitted(state, fit), positions, cost, False)

    def sketch(
        self, state: State, fit: LinearFit, read_out: ReadOut, positions: Positions | None = None, *, share: bool = True
    ) -> Float32:
        """As `approximate`, with linear maps for the layers after the first ones."""
        feeds = self._fitted(state, fit) | {name: getattr(read_out, name) for name in READ_OUT}
        (logits,) = self._run(self._sketcher, ["scores"], feeds, positions, _PAIRS_OF_A_CANDIDATE, share)
        return lowest_where_not_finite(logits)

    def _fitted(self, state: State, fit: LinearFit) -> dict[str, Float32]:
        feeds = {name: state.tensors[name] for name in self._approximated}
        return feeds | {name: getattr(fit, name) for name in LINEAR_FIT}

    def _run(
        self,
        graph: "_PairGraph",
        outputs: list[str],
        feeds: Mapping[str, Float32],
        positions: Positions | None,
        cost: int,
        share: bool,
    ) -> list[Float32]:
        """Outputs of a graph for candidates, in chunks of about `_PAIRS_PER_CALL` where one costs `cost` pairs.

        The chunks are the same however many threads there are: the last bits of a score depend on them.
        """
        total = len(self.vectors)
        count = total if positions is None else len(positions)
        if positions is not None and 2 * count > total:  # reading in a row beats picking
            return [output[positions] for output in self._run(graph, outputs, feeds, None, cost, share)]
        rows = max(1, min(self._bound, _PAIRS_PER_CALL // cost))
        chunks = -(-count // rows)
        if chunks > 1:
            chunks = min(count, -(-chunks // _PARTS) * _PARTS)
        bounds = [count * chunk // max(1, chunks) for chunk in range(chunks + 1)]
        results: list[list[Float32]] = [[] for _ in range(chunks)]
        tables = [(name, self._candidates[name]) for name in graph.tables]

        def task(chunk: int) -> None:
            rows = slice(bounds[chunk], bounds[chunk + 1])
            if positions is None:
                candidates = {name: table[rows] for name, table in tables}
            else:
                candidates = {name: table.take(positions[rows], axis=0) for name, table in tables}
            results[chunk] = cast(Any, graph.session.run(outputs, {**feeds, **candidates}))

        if share and chunks > 1:
            self._workers.run(task, chunks)
        else:
            for chunk in range(chunks):
                task(chunk)
        if not results:
            return [np.empty(0, np.float32) for _ in outputs]
        return [parts[0] if chunks == 1 else np.concatenate(parts) for parts in zip(*results, strict=True)]


class _PairGraph:
    """A graph that reads candidate tensors: its session, and the names of those."""

    def __init__(self, graph: Graph, candidates: Sequence[str]) -> None:
        self.session = open_session(graph)
        self.tables = [name for name in graph.inputs if name in candidates]


def open_session(graph: Graph) -> ort.InferenceSession:
    """Opens a graph on one thread of the CPU.

    Raises:
        BundleError: It cannot be opened or has other inputs or outputs than `bundle.json` says.
    """
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1  # `Workers` says why
    options.inter_op_num_threads = 1
    try:
        session = ort.InferenceSession(str(graph.file), options, providers=["CPUExecutionProvider"])
    except Exception as error:  # ONNX Runtime's exceptions share no base class of their own
        raise BundleError(f"ONNX Runtime cannot open {graph.file}: {error}") from error
    inputs = sorted(node.name for node in session.get_inputs())
    outputs = sorted(node.name for node in session.get_outputs())
    if inputs != sorted(graph.inputs) or outputs != sorted(graph.outputs):
        raise BundleError(
            f"{graph.file} should have inputs {sorted(graph.inputs)} and outputs {sorted(graph.outputs)}. "
            f"Received: {inputs} and {outputs}"
        )
    return session
