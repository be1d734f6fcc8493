"""The trained network on ONNX Runtime: histories -> states -> logits."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
import numpy.typing as npt
import onnxruntime as ort

from serving.bundle import Bundle, BundleError, Graph
from serving.config import ServeConfig
from serving.ranking import Float64, finite_or_lowest

States = Mapping[str, Any]


@dataclass(frozen=True)
class History:
    """What the network sees of a shopper, in whole: truncation to `max_seq_length` is the network's part.

    Attributes:
        items: (n,) int32 known item ids, oldest first, n >= 1.
        timestamps: (n,) int64 UNIX seconds.
        first_timestamp: Time of the shopper's first event.
        now: Time of the recommendation, not before the last event.
    """

    items: npt.NDArray[np.int32]
    timestamps: npt.NDArray[np.int64]
    first_timestamp: int
    now: int


class Network:
    """The two graphs of a bundle. Thread-safe: ONNX Runtime sessions may be run from many threads at once."""

    def __init__(self, bundle: Bundle, config: ServeConfig) -> None:
        """Opens the graphs on the CPU.

        Raises:
            BundleError: A graph cannot be opened or has other inputs or outputs than `bundle.json` says.
        """
        self._manifest = bundle.manifest
        self._state_names = list(bundle.encode.outputs)
        self._chunk = config.candidate_chunk_size
        self._encoder = _session(bundle.encode, config)
        self._scorer = _session(bundle.score, config)

    def encode(self, histories: Sequence[History]) -> States:
        """Encodes the latest `max_seq_length` events of each history.

        Returns:
            State tensors by name, float32, first axis len(histories).
        """
        limit = self._manifest.sizes.max_seq_length
        lengths = [min(len(history.items), limit) for history in histories]
        shape = (len(histories), limit if self._manifest.pad_to_max_seq_length else max(lengths))  # (B, T)
        items, timestamps = np.zeros(shape, np.int32), np.zeros(shape, np.int64)
        for row, (history, length) in enumerate(zip(histories, lengths, strict=True)):
            items[row, :length] = history.items[-length:]
            timestamps[row, :length] = history.timestamps[-length:]
        feeds = {
            "items": items,
            "timestamps": timestamps,
            "length": np.array(lengths, np.int32),
            "first_timestamp": np.array([history.first_timestamp for history in histories], np.int64),
            "now": np.array([history.now for history in histories], np.int64),
        }
        return dict(zip(self._state_names, self._encoder.run(self._state_names, feeds), strict=True))

    def logits(self, states: States, candidates: npt.NDArray[np.int32]) -> Float64:
        """Scores the same candidates for every encoded history.

        Args:
            states: B encoded histories.
            candidates: (C,) int32 item ids.

        Returns:
            (B, C) float64; what is not finite is -inf, the lowest.
        """
        rows = len(states[self._state_names[0]])
        scores = np.empty((rows, len(candidates)), np.float32)
        for start in range(0, len(candidates), self._chunk):
            chunk = candidates[start : start + self._chunk]
            feeds = {**states, "candidates": np.broadcast_to(chunk, (rows, len(chunk)))}
            scores[:, start : start + len(chunk)] = cast(Any, self._scorer.run(["scores"], feeds)[0])
        return finite_or_lowest(scores)


def _session(graph: Graph, config: ServeConfig) -> ort.InferenceSession:
    options = ort.SessionOptions()
    options.intra_op_num_threads = config.intra_op_num_threads
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
