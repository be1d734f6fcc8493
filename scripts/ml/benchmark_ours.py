"""Our side in training and evaluation, as a measuring process; serving is measured by `benchmark_serving`."""

import itertools
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from scripts.ml.benchmark_data import CONFIG, SEQUENCE_LENGTH
from scripts.ml.benchmark_worker import SETTLING_STEPS, serve
from training.config import TrainingConfig
from training.data.batches import history_window
from training.data.inventory import load_inventory
from training.data.sequences import EncodedSequences, load_dataset
from training.evaluation.protocol import evaluate_ranker
from training.export import export_bundle
from training.models.ranker import build_model
from training.models.recommenders_checkpoint import load_recommenders_checkpoint
from training.trainer import Trainer

_state: dict[str, Any] = {}


class MeasuredTrainer(Trainer):
    """A trainer whose epochs can be run one at a time, on its own batches or on given ones, without validation."""

    def __init__(self, *arguments: Any, **keywords: Any):
        super().__init__(*arguments, progress=False, **keywords)
        self.started = self.waited = 0.0
        self.asked = self.settled = 0

    def _validate(self) -> dict[str, float]:
        return {self._metric: 0.0}

    def _timed(self, batches: Iterable[dict[str, Any]]) -> Iterator[dict[str, Any]]:
        iterator = iter(batches)
        for number in itertools.count():
            start = time.perf_counter()
            if number == SETTLING_STEPS:
                self.started, self.waited, self.settled = start, 0.0, self.asked
            batch = next(iterator, None)
            self.waited += time.perf_counter() - start
            if batch is None:
                return
            self.asked += len(batch["length"])
            yield batch

    def epoch(self, number: int, given: Iterable[dict[str, Any]] | None = None) -> dict[str, Any]:
        """Trains one epoch; returns seconds, waiting and examples after the settling steps, and the loss of all."""
        self.waited, self.asked, self.settled = 0.0, 0, 0
        self.started = time.perf_counter()
        report = self._run_epoch(number, self._timed(self._batches(number) if given is None else given))
        return {
            "seconds": time.perf_counter() - self.started,
            "waiting": self.waited,
            "examples": self.asked - self.settled,
            "loss": report["loss"],
        }


def build(dataset: str, run: str, overrides: dict[str, dict[str, Any]] | None = None) -> None:
    """Opens a data set and builds a trainer for it."""
    config = CONFIG.replaced(**(overrides or {}))
    data = load_dataset(dataset)
    _state.update(dataset=data, config=config, trainer=MeasuredTrainer(data, config, run))


def train_epoch(number: int) -> dict[str, Any]:
    """Trains one epoch with the trainer's own batches."""
    return _state["trainer"].epoch(number)


def train_steps(repeats: int) -> list[float]:
    """Returns the seconds of a step on a batch whose histories are all full, `repeats` times; each a mean of 3."""
    trainer, dataset, config = _state["trainer"], _state["dataset"], _state["config"]
    rows = dataset.rows("train")
    rows = rows[dataset.position[rows] >= SEQUENCE_LENGTH][: config.train.batch_size]
    batch = _batch(dataset, rows, np.random.default_rng(0), config)
    trainer.epoch(1, [batch])
    return [trainer.epoch(1, [batch] * 3)["seconds"] / 3 for _ in range(repeats)]


def loss_curve(dataset: str, run: str, epochs: int, seed: int) -> list[float]:
    """Trains a new network on batches as recommenders makes them, and returns the loss of each step.

    Shuffled over the whole training split, with negatives drawn from the batch, of which only the positive itself is
    spared. Our own batches spare the history, too, which makes another loss.
    """
    config = CONFIG.replaced(train={"seed": seed})
    data = load_dataset(dataset)
    trainer = MeasuredTrainer(data, config, run)
    rng = np.random.default_rng(seed)
    losses: list[float] = []
    for _ in range(epochs):
        rows = rng.permutation(data.rows("train"))
        for start in range(0, len(rows), config.train.batch_size):
            batch = _batch(data, rows[start : start + config.train.batch_size], rng, config)
            losses.append(trainer.epoch(1, [batch])["loss"])
    return losses


def _batch(
    data: EncodedSequences, rows: NDArray[np.int64], rng: np.random.Generator, config: TrainingConfig
) -> dict[str, Any]:
    history = history_window(data, rows, SEQUENCE_LENGTH, SEQUENCE_LENGTH)
    candidates = np.repeat(data.item[rows][:, None], 1 + config.train.train_num_ngs, axis=1)
    negatives = candidates[:, 1:]
    while (same := negatives == candidates[:, :1]).any():
        negatives[same] = rng.choice(data.item[rows], int(same.sum()))
    batch = {**history.as_inputs(), "candidates": candidates, "correction": np.zeros(candidates.shape, np.float32)}
    return {name: tf.convert_to_tensor(value) for name, value in batch.items()}


def mean_length() -> float:
    """Returns the mean number of events that an example of the training split is read with."""
    dataset = _state["dataset"]
    return float(np.minimum(dataset.position[dataset.rows("train")], SEQUENCE_LENGTH).mean())


def evaluate(split: str) -> dict[str, Any]:
    """Evaluates under all protocols: the whole vocabulary, seen items in and out, and sampled negatives."""
    start = time.perf_counter()
    results = evaluate_ranker(_state["trainer"].ranker, _state["dataset"], split, progress=False)
    seconds = time.perf_counter() - start
    return {"seconds": seconds, "rows": results["sampled"].num_rows, "metrics": dict(results["sampled"].metrics)}


def export(folder: str, checkpoint: str) -> None:
    """Exports the network of a checkpoint of recommenders for the data set and the inventory in `folder`.

    It is exported without recommenders' two habits (see `ModelConfig.recommenders_compatible`), as a network of our
    own is; where a history fills the window, they make no difference.
    """
    path = Path(folder)
    dataset = load_dataset(path / "dataset")
    theirs = load_recommenders_checkpoint(checkpoint, CONFIG.model, dataset.item_category)
    model = build_model(dataset, CONFIG)
    values = {weight.path: weight for weight in theirs.weights}
    for weight in model.weights:
        weight.assign(values[weight.path])
    export_bundle(model, dataset, load_inventory(path / "inventory.json"), CONFIG, path / "bundle")


def main() -> None:
    """Answers the parent's requests."""
    functions = (build, train_epoch, train_steps, loss_curve, mean_length, evaluate, export)
    serve({function.__name__: function for function in functions})


if __name__ == "__main__":
    main()
