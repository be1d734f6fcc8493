"""Trains SLi-Rec: epochs over batches, validation, early stopping, best checkpoint, exact resume."""

import logging
import os
import sys
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf
import yaml
from tqdm import tqdm

from training.config import TrainingConfig
from training.data.batches import epoch_rows, training_batches
from training.data.sequences import EncodedSequences
from training.devices import describe_devices, make_strategy, on_few_cores, run_operations_side_by_side
from training.evaluation.protocol import evaluate_ranker
from training.files import atomic_path, write_json
from training.losses import check_memory
from training.models.arrays import load_arrays, named_variables, read_metadata, save_arrays
from training.models.ranker import (
    BEST,
    CONFIG_FILE,
    INITIAL,
    LAST,
    SliRecRanker,
    build_model,
    load_model,
)
from training.models.slirec import SliRec
from training.optimizers import make_optimizer
from training.steps import TrainingStep

LOGGER = logging.getLogger(__name__)
EpochReport = dict[str, Any]
LOSSES_AT_ONCE = 16  # steps sent before their losses are read
BATCHES_AHEAD = 4  # made while the network learns from others


@dataclass(frozen=True)
class TrainingResult:
    """What a training run ended with.

    Attributes:
        model: The network of the best epoch.
        history: One report an epoch: epoch, loss, examples_per_second, seconds, waiting (share of them spent waiting
            for a batch) and the validation metrics.
        best_epoch: The epoch that `model` is from, counted from 1.
        run_folder: Where checkpoints, history and TensorBoard summaries are.
    """

    model: SliRec
    history: list[EpochReport]
    best_epoch: int
    run_folder: Path


def run_identity(dataset: EncodedSequences, config: TrainingConfig) -> dict[str, Any]:
    """Returns what must be equal for a run to be continued; more epochs may be asked for, but for the cosine."""
    document = config.model_dump(mode="json")
    for free in ("EARLY_STOP", *(() if config.train.learning_rate_schedule == "cosine" else ("epochs",))):
        del document["train"][free]
    return {"config": document, "data_fingerprint": dataset.metadata["fingerprint"]}


def check_run_folder(
    dataset: EncodedSequences, config: TrainingConfig, run_folder: str | os.PathLike[str]
) -> list[EpochReport]:
    """Returns the history of the run that a folder holds, empty for a new one.

    Raises:
        ValueError: The folder holds a run of another configuration or dataset; nothing in it has been changed.
    """
    folder = Path(run_folder)
    if not (folder / LAST).exists():
        return []
    saved, expected = read_metadata(folder / LAST), run_identity(dataset, config)
    if {name: saved.get(name) for name in expected} != expected:
        raise ValueError(
            f"{folder} holds a run of another configuration or dataset. Choose another folder, or delete it "
            "(--fresh does) to start anew"
        )
    return saved["history"]


class Trainer:
    """One training run in one folder.

    Args:
        dataset: Encoded sequences with a training and a validation split.
        config: Configuration.
        run_folder: Folder for checkpoints and history. An interrupted run in it is continued, exactly: at most the
            epoch that was under way is done again.
        on_epoch: Called with each epoch's report, e.g. to track it.
        progress: Whether to show progress bars.

    Raises:
        ValueError: The folder holds a run of another configuration or dataset, or the loss needs too much memory.
    """

    def __init__(
        self,
        dataset: EncodedSequences,
        config: TrainingConfig,
        run_folder: str | os.PathLike[str],
        on_epoch: Callable[[EpochReport], None] | None = None,
        progress: bool = True,
    ):
        train = config.train
        self.dataset = dataset.viewed(config.data.same_time)
        self.config = config
        check_memory(config, dataset.num_items)
        self.folder = Path(run_folder)
        self.on_epoch = on_epoch
        self.progress = progress
        self.history: list[EpochReport] = []
        run_operations_side_by_side()
        self._metric = f"valid/{train.eval_metric}"  # its name in the reports
        self.strategy = make_strategy(config.device.strategy)
        LOGGER.info(describe_devices(self.strategy, config))
        previous = keras.config.dtype_policy()
        keras.config.set_dtype_policy(config.device.precision)
        try:
            with self.strategy.scope():
                self.model = build_model(self.dataset, config)
                steps = len(epoch_rows(self.dataset, train.batch_size, np.random.default_rng(0), train.epoch_examples))
                self.optimizer = make_optimizer(config, self.model.trainable_variables, steps)
        finally:
            keras.config.set_dtype_policy(previous)
        self.model.target_attention.in_chunks = on_few_cores() and not config.device.jit_compile
        self.ranker = SliRecRanker(self.model, config.data.max_seq_length)
        self.step = TrainingStep(self.model, self.optimizer, self.strategy, config)

    def fit(self) -> TrainingResult:
        """Trains until the epochs are used up or the validation metric no longer improves.

        Returns:
            The best network, loaded, and the history.
        """
        self._start_or_resume()
        train = self.config.train
        with tf.summary.create_file_writer(str(self.folder / "tensorboard")).as_default():
            for epoch in range(len(self.history) + 1, train.epochs + 1):
                if train.EARLY_STOP and epoch - 1 - self._best_epoch() >= train.EARLY_STOP:
                    LOGGER.info("No better %s for %d epochs: stopped.", train.eval_metric, train.EARLY_STOP)
                    break
                report = self._run_epoch(epoch)
                self.history.append(report)
                if self._best_epoch() == epoch:
                    self._save_model(BEST, epoch)
                # Last of all: what it says has happened is then on disk.
                identity = run_identity(self.dataset, self.config)
                save_arrays(self.folder / LAST, self._everything(), identity | {"history": self.history})
                write_json(self.history, self.folder / "history.json")
                for name, value in report.items():
                    tf.summary.scalar(name, value, step=epoch)
                if self.on_epoch:
                    self.on_epoch(report)
        # Built anew, so in float32 whatever the precision of the training: that is what is exported and served.
        return TrainingResult(load_model(self.folder, self.dataset), self.history, self._best_epoch(), self.folder)

    def _everything(self) -> dict[str, Any]:
        """Weights, statistics, random states of dropout, and the optimiser's variables."""
        optimizer = named_variables(self.optimizer.variables)
        return named_variables(self.model.variables) | {f"optimizer/{name}": v for name, v in optimizer.items()}

    def _start_or_resume(self) -> None:
        self.history = check_run_folder(self.dataset, self.config, self.folder)
        with atomic_path(self.folder / CONFIG_FILE) as temporary:
            temporary.write_text(yaml.safe_dump(self.config.model_dump(mode="json"), sort_keys=False), encoding="utf-8")
        if self.history:
            load_arrays(self.folder / LAST, self._everything())
            LOGGER.info("Continuing after epoch %d of the run in %s.", len(self.history), self.folder)
        else:
            self._save_model(INITIAL, 0)

    def _save_model(self, name: str, epoch: int) -> None:
        metadata = {"epoch": epoch, "data_fingerprint": self.dataset.metadata["fingerprint"]}
        save_arrays(self.folder / name, named_variables(self.model.variables), metadata)

    def _best_epoch(self) -> int:
        return max(self.history, key=lambda report: report[self._metric])["epoch"] if self.history else 0

    def _run_epoch(self, epoch: int, given: Iterable[Any] | None = None) -> EpochReport:
        """Trains on the epoch's own batches, or on given ones."""
        start = time.perf_counter()
        total = np.float64(0)
        done, waiting = 0, 0.0
        unread: list[Any] = []
        rows = min(len(self.dataset.rows("train")), self.config.train.epoch_examples or sys.maxsize)
        bar = tqdm(total=rows, desc=f"epoch {epoch}", unit="example", unit_scale=True, disable=not self.progress)
        batches = self._batches(epoch) if given is None else iter(given)
        with bar:
            while True:
                asked = time.perf_counter()
                batch = next(batches, None)
                waiting += time.perf_counter() - asked
                if batch is not None:
                    unread.append(self.step(batch))
                    done += len(batch["length"])
                    bar.update(len(batch["length"]))
                # Reading a loss waits for its step, so that a GPU would stand idle until the next one is sent.
                if batch is None or len(unread) == LOSSES_AT_ONCE:
                    for loss in unread:
                        total += float(loss)
                    unread.clear()
                    bar.set_postfix(loss=f"{total / done:.4f}", refresh=False)
                if batch is None:
                    break
        seconds = time.perf_counter() - start
        metrics = self._validate()
        report: EpochReport = {
            "epoch": epoch,
            "loss": float(total / done),
            "examples_per_second": done / seconds,
            "seconds": seconds,
            "waiting": waiting / seconds,
            **metrics,
        }
        LOGGER.info("epoch %d: loss %.4f, %s %.4f", epoch, report["loss"], self._metric, report[self._metric])
        return report

    def _validate(self) -> dict[str, float]:
        evaluations = evaluate_ranker(self.ranker, self.dataset, "valid", progress=self.progress)
        return {
            f"valid/{protocol}/{name}": value
            for protocol, evaluation in evaluations.items()
            for name, value in evaluation.metrics.items()
        }

    def _batches(self, epoch: int) -> Iterator[dict[str, Any]]:
        """Yields the epoch's batches, made in a thread of their own a few steps before they are asked for."""
        train, data = self.config.train, self.config.data
        pad_to = data.max_seq_length if self.config.model.recommenders_compatible else None
        rng = np.random.default_rng([train.seed, epoch])
        batches = training_batches(self.dataset, train, data.max_seq_length, pad_to, rng)

        def following() -> dict[str, Any] | None:
            return (batch := next(batches, None)) and {name: tf.convert_to_tensor(x) for name, x in batch.items()}

        with ThreadPoolExecutor(1, "batches") as thread:
            ahead = deque(thread.submit(following) for _ in range(BATCHES_AHEAD))
            while (batch := ahead.popleft().result()) is not None:
                ahead.append(thread.submit(following))
                yield batch


def train(
    dataset: EncodedSequences,
    config: TrainingConfig,
    run_folder: str | os.PathLike[str],
    on_epoch: Callable[[EpochReport], None] | None = None,
    progress: bool = True,
) -> TrainingResult:
    """Trains the network; see `Trainer`."""
    return Trainer(dataset, config, run_folder, on_epoch, progress).fit()
