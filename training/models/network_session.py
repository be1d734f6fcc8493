"""Runs the graphs of an exported SLi-Rec bundle: its logits as they are served, for blends with another method."""

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray

_INPUTS: Final = frozenset({"items", "timestamps", "length", "first_timestamp", "now"})
_CHUNK: Final = 1_024  # items scored in one call


class NetworkSession:
    """SLi-Rec of a bundle, over the whole item vocabulary, one shopper at a time."""

    def __init__(self, bundle: str | os.PathLike[str]) -> None:
        """Opens the graphs and prepares all items.

        Args:
            bundle: Folder of a bundle with a network.

        Raises:
            ValueError: The bundle has no network, or one that reads custom features of events or users.
        """
        folder = Path(bundle)
        manifest: dict[str, Any] = json.loads((folder / "bundle.json").read_text(encoding="utf-8"))
        if missing := sorted({"encode", "candidates", "score"} - set(manifest["graphs"])):
            raise ValueError(f"{folder} should be a bundle of SLi-Rec. Received: one without {', '.join(missing)}")
        self._encode, candidates, self._score = (
            _opened(folder / manifest["graphs"][name]["file"]) for name in ("encode", "candidates", "score")
        )
        if others := sorted({each.name for each in self._encode.get_inputs()} - _INPUTS):
            raise ValueError(
                f"{folder} should be of a network without custom features of events and users, to be blended. "
                f"Received: one that reads {', '.join(others)}"
            )
        self._states = [each.name for each in self._encode.get_outputs()]
        self._length = int(manifest["sizes"]["max_seq_length"])
        self._padded = bool(manifest.get("pad_to_max_seq_length"))
        self.num_items = int(manifest["sizes"]["num_items"])
        names = [each.name for each in candidates.get_outputs()]
        known = np.arange(1, self.num_items, dtype=np.int32)
        self._tables = dict(zip(names, candidates.run(names, {"items": known}), strict=True))

    def score(self, items: NDArray[Any], timestamps: NDArray[Any], first: int, now: int) -> NDArray[np.float32]:
        """Returns (num_items,) logits; entry 0, the unknown product, is the lowest finite number.

        Args:
            items: (T,) item ids, oldest first; unknown ones are skipped, and one is known.
            timestamps: (T,) UNIX seconds.
            first: Time of the shopper's first event.
            now: Time of the recommendation.

        Raises:
            ValueError: No item is known.
        """
        known = np.flatnonzero(items > 0)[-self._length :]
        if not len(known):
            raise ValueError("`items` should hold a product of the vocabulary. Received: none")
        columns = self._length if self._padded else len(known)
        feeds: dict[str, Any] = {
            "items": np.zeros((1, columns), np.int32),
            "timestamps": np.zeros((1, columns), np.int64),
            "length": np.array([len(known)], np.int32),
            "first_timestamp": np.array([first], np.int64),
            "now": np.array([now], np.int64),
        }
        feeds["items"][0, : len(known)], feeds["timestamps"][0, : len(known)] = items[known], timestamps[known]
        values = self._encode.run(self._states, feeds)
        state = {name: value[0] for name, value in zip(self._states, values, strict=True)}
        wanted = {each.name for each in self._score.get_inputs()}
        parts = [np.full(1, np.finfo(np.float32).min)]
        for start in range(0, self.num_items - 1, _CHUNK):
            chunk = {name: table[start : start + _CHUNK] for name, table in self._tables.items()}
            given = {name: value for name, value in {**state, **chunk}.items() if name in wanted}
            parts.append(self._score.run(["scores"], given)[0])
        return np.concatenate(parts)


def part_of_blend(part: Mapping[str, Any], logits: NDArray[Any]) -> NDArray[np.float32]:
    """Returns `weight * (logits - mean) / scale` of a part's document, as serving adds it up."""
    centred = logits.astype(np.float64) - part.get("mean", 0.0)
    value = part["weight"] * centred / part.get("scale", 1.0)
    limits = np.finfo(np.float32)
    return np.clip(value, limits.min, limits.max).astype(np.float32)  # entry 0, no product, is the lowest there is


def _opened(path: Path) -> Any:
    options = ort.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    return ort.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
