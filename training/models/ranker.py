"""The trained network as a ranker of the whole vocabulary, and where a run's networks are found."""

import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from training.config import TrainingConfig, load_config
from training.data.batches import history_window
from training.data.sequences import EncodedSequences
from training.devices import cores, on_few_cores
from training.models.arrays import ArraysError, load_arrays, named_variables, read_metadata
from training.models.slirec import SliRec

ops: Any = keras.ops  # Keras ships no usable types for its operations

INITIAL, BEST, LAST = "initial.safetensors", "best.safetensors", "last.safetensors"
CONFIG_FILE = "config.yaml"
_PAIRS = 200_000  # event-candidate pairs scored in one call: bounds the memory of the attention to about 150 MB


class SliRecRanker:
    """Scores every item of the vocabulary for given rows of a dataset.

    Args:
        model: The network.
        max_seq_length: Events of a history that are read.
        name: Name in tables.
    """

    def __init__(self, model: SliRec, max_seq_length: int, name: str = "SLi-Rec"):
        self.model = model
        self.max_seq_length = max_seq_length
        self.name = name
        # One trace for all shapes; otherwise every other length and number of rows is traced anew.
        self._signature = history_signature(model)
        self._score = tf.function(self._score_graph, input_signature=[self._signature])

    def _score_graph(self, history: dict[str, Any]) -> Any:
        rows = ops.shape(history["items"])[0]
        candidates = ops.broadcast_to(ops.arange(self.model.num_items, dtype="int32"), (rows, self.model.num_items))
        return self.model.score(self.model.encode(history), candidates)

    def score(self, dataset: EncodedSequences, rows: NDArray[np.int64]) -> NDArray[np.float32]:
        """Returns (len(rows), num_items) logits from the events before each row; column 0 means nothing."""
        pad_to = self.max_seq_length if self.model.config.recommenders_compatible else None
        scores = np.zeros((len(rows), self.model.num_items), np.float32)
        order = np.argsort(dataset.history_lengths(rows), kind="stable")  # similar lengths together: little padding
        lengths = np.clip(dataset.history_lengths(rows[order]), 1, self.max_seq_length)
        parts: list[NDArray[np.int64]] = []
        start = 0
        while start < len(order):
            # As many as fit where the last of them, which is the longest, has its length.
            most = max(1, _PAIRS // (self.model.num_items * int(lengths[start])))
            longest = lengths[start : start + most]
            fits = np.arange(1, len(longest) + 1) * longest * self.model.num_items <= _PAIRS
            parts.append(order[start : start + max(1, int(fits.sum()))])
            start += len(parts[-1])

        def score_part(part: NDArray[np.int64]) -> None:
            window = history_window(dataset, rows[part], self.max_seq_length, pad_to)
            inputs = window.as_inputs()
            scores[part] = self._score({name: inputs[name] for name in self._signature}).numpy()

        with ThreadPoolExecutor(cores() if on_few_cores() else 1) as pool:
            list(pool.map(score_part, parts))
        return scores

    def probability(self, scores: NDArray[Any]) -> NDArray[np.float64]:
        """Returns the sigmoid of the logits, which is what recommenders' logloss is computed from."""
        return 1.0 / (1.0 + np.exp(-np.asarray(scores, np.float64)))


def build_model(dataset: EncodedSequences, config: TrainingConfig) -> SliRec:
    """Builds an untrained network for the dataset's vocabularies.

    Raises:
        FeatureError: The dataset lacks a custom feature that the configuration names.
    """
    return SliRec(
        config.model,
        dataset.item_category,
        dataset.num_categories,
        init_value=config.train.init_value,
        seed=config.train.seed,
        features=dataset.features.chosen(config.features).all,
    )


def history_signature(model: SliRec) -> dict[str, Any]:
    """Returns the specification of what `SliRec.encode` reads, of any number and length of histories."""
    long = ("timestamps", "first_timestamp", "now")
    of_event = {each.input_name for each in model.features.features if each.of == "event"}
    return {
        name: tf.TensorSpec(
            (None, None) if name in ("items", "timestamps") or name in of_event else (None,),
            tf.int64 if name in long else tf.int32,
        )
        for name in model.history_inputs
    }


def load_model(run_folder: str | os.PathLike[str], dataset: EncodedSequences, which: str = BEST) -> SliRec:
    """Loads a network of a training run.

    Args:
        run_folder: Folder of `training.trainer`.
        dataset: The dataset it was trained on.
        which: `INITIAL` (before training) or `BEST`.

    Raises:
        ArraysError: The file is missing or belongs to another data set or configuration.
    """
    folder = Path(run_folder)
    fingerprint = dataset.metadata["fingerprint"]
    # Ids are by frequency: with other data of the same shape every id would mean another product.
    if (of := read_metadata(folder / which).get("data_fingerprint")) != fingerprint:
        raise ArraysError(
            f"{folder / which} should be of the data set with fingerprint {fingerprint}. Received: {of}. Train "
            "again, or name the data set that the run was trained on"
        )
    model = build_model(dataset, load_config(folder / CONFIG_FILE))
    load_arrays(folder / which, named_variables(model.variables))
    return model


def load_rankers(
    run_folder: str | os.PathLike[str], dataset: EncodedSequences
) -> tuple[SliRecRanker | None, SliRecRanker]:
    """Returns the rankers of a run: before training (None if it was not kept) and the best epoch."""
    folder = Path(run_folder)
    length = load_config(folder / CONFIG_FILE).data.max_seq_length
    before = None
    if (folder / INITIAL).exists():
        before = SliRecRanker(load_model(folder, dataset, INITIAL), length, "SLi-Rec before training")
    return before, SliRecRanker(load_model(folder, dataset), length)
