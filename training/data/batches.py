"""Windows and training batches, straight from the encoded columns.

A training example is a row number; its history is a slice of the columns before it. Nothing is expanded to text or to
Python objects.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, fields
from typing import Any

import numpy as np
from numpy.typing import NDArray

from training.config import OptimizerConfig
from training.data.negatives import sample_in_batch_negatives
from training.data.sequences import EncodedSequences

LENGTH_STEP = 10  # histories are padded to a multiple of this, so that few shapes occur
BUCKET_BATCHES = 16  # batches of similar length are cut from this many shuffled ones


@dataclass(frozen=True)
class HistoryBatch:
    """What the network reads of B shoppers.

    Attributes:
        items: (B, T) int32 item ids, oldest first, right-padded with 0.
        timestamps: (B, T) int64 UNIX seconds, right-padded with 0.
        length: (B,) int32 number of events in the window.
        first_timestamp: (B,) int64 time of the first event of the whole history, also when it is cut off.
        now: (B,) int64 time of the request.
        features: int32 ids of the data set's custom features by input name: (B, T) of events, (B,) of users.
    """

    items: NDArray[np.int32]
    timestamps: NDArray[np.int64]
    length: NDArray[np.int32]
    first_timestamp: NDArray[np.int64]
    now: NDArray[np.int64]
    features: Mapping[str, NDArray[np.int32]] = field(default_factory=dict[str, Any])

    def as_inputs(self) -> dict[str, NDArray[Any]]:
        """Returns the arrays by name, as `SliRec.encode` takes them."""
        return {each.name: getattr(self, each.name) for each in fields(self) if each.name != "features"} | {
            **self.features
        }


def history_window(
    dataset: EncodedSequences, rows: NDArray[np.int64], max_seq_length: int, pad_to: int | None = None
) -> HistoryBatch:
    """Cuts the history of each row: the latest earlier events of the same user, of all splits.

    Args:
        dataset: Encoded sequences.
        rows: (B,) row numbers; each should have at least one earlier event.
        max_seq_length: Events at most.
        pad_to: Columns of the result; by default the longest window here, rounded up to `LENGTH_STEP`.

    Returns:
        The windows; `now` is the row's own time.
    """
    position = dataset.position[rows].astype(np.int64)
    length = np.minimum(position, max_seq_length)
    if pad_to is None:
        longest = max(1, int(length.max(initial=1)))
        pad_to = min(max_seq_length, -(-longest // LENGTH_STEP) * LENGTH_STEP)
    place = np.arange(pad_to)
    inside = place < length[:, None]  # (B, T)
    event = np.where(inside, (rows - length)[:, None] + place, 0)
    features = {each.input_name: np.where(inside, each.ids[event], 0) for each in dataset.features.stored_events}
    features |= {each.input_name: each.ids[dataset.user[rows]] for each in dataset.features.of("user")}
    return HistoryBatch(
        items=np.where(inside, dataset.item[event], 0).astype(np.int32),
        timestamps=np.where(inside, dataset.timestamp[event], 0),
        length=length.astype(np.int32),
        first_timestamp=dataset.timestamp[rows - position],
        now=dataset.timestamp[rows],
        features=features,
    )


def epoch_rows(dataset: EncodedSequences, batch_size: int, rng: np.random.Generator) -> list[NDArray[np.int64]]:
    """Shuffles the training rows into batches of nearly equal size, none dropped, each of similar history lengths.

    Rows are shuffled, then sorted by length within `BUCKET_BATCHES` batches' worth, so that a batch of short histories
    costs little while its content stays random. The order of batches is shuffled again.

    Args:
        dataset: Encoded sequences.
        batch_size: Most rows of a batch.
        rng: Source of the order.

    Returns:
        Row numbers of each batch.

    Raises:
        ValueError: The training split has no row with a history.
    """
    rows = rng.permutation(dataset.rows("train"))
    if not len(rows):
        raise ValueError("The training split should have users with at least two interactions in it. Received: none")
    parts = max(1, -(-len(rows) // (batch_size * BUCKET_BATCHES)))
    batches: list[NDArray[np.int64]] = []
    for part in np.array_split(rows, parts):
        by_length = part[np.argsort(dataset.position[part], kind="stable")]
        batches.extend(np.array_split(by_length, max(1, -(-len(part) // batch_size))))
    return [batches[i] for i in rng.permutation(len(batches))]


def training_batches(
    dataset: EncodedSequences,
    config: OptimizerConfig,
    max_seq_length: int,
    pad_to: int | None,
    rng: np.random.Generator,
) -> Iterator[dict[str, NDArray[Any]]]:
    """Yields one epoch of network inputs.

    Args:
        dataset: Encoded sequences.
        config: Batch size, the three kinds of negatives, and whether to correct for how they are drawn.
        max_seq_length: Events of a history at most.
        pad_to: Columns of every batch; None for what each batch needs.
        rng: Source of order and negatives.

    Yields:
        The arrays of `HistoryBatch`; candidates (B, C) int32, the positive first, then in-batch negatives (neither it
        nor anything in its history), then items of its history, then items of the whole catalogue; and correction
        (B, C) float32, what to add to the logits.
    """
    for rows in epoch_rows(dataset, config.batch_size, rng):
        history = history_window(dataset, rows, max_seq_length, pad_to)
        positives = dataset.item[rows]
        candidates = np.concatenate(
            [
                positives[:, None],
                sample_in_batch_negatives(
                    positives, history.items, config.train_num_ngs, rng, num_items=dataset.num_items
                ),
                _from_history(dataset.num_items, history, positives, config.history_num_ngs, rng),
                _from_catalogue(dataset.num_items, positives, config.catalogue_num_ngs, rng),
            ],
            axis=1,
        ).astype(np.int32)
        correction = np.zeros(candidates.shape, np.float32)
        if config.logq_correction:
            correction -= np.log(expected_counts(candidates, history, dataset.num_items, config)).astype(np.float32)
        yield {**history.as_inputs(), "candidates": candidates, "correction": correction}


def _from_catalogue(num_items: int, positives: NDArray[np.int32], count: int, rng: np.random.Generator) -> Any:
    """Draws (B, count) items uniformly from all but the positive."""
    # From one id fewer, then moved past the positive: no second try is needed.
    drawn = rng.integers(1, num_items - 1, (len(positives), count), dtype=np.int32)
    return drawn + (drawn >= positives[:, None])


def _from_history(
    num_items: int, history: HistoryBatch, positives: NDArray[np.int32], count: int, rng: np.random.Generator
) -> Any:
    """Draws (B, count) events of the history; where one is the positive, an item of the catalogue instead."""
    place = (rng.random((len(positives), count)) * history.length[:, None]).astype(np.int64)
    drawn = np.take_along_axis(history.items, place, axis=1)
    unusable = (drawn == positives[:, None]) | (drawn == 0)
    return np.where(unusable, _from_catalogue(num_items, positives, count, rng), drawn)


def expected_counts(
    candidates: NDArray[np.int32], history: HistoryBatch, num_items: int, config: OptimizerConfig
) -> NDArray[np.float64]:
    """Returns how often each candidate is expected among its row's negatives, (B, C).

    Subtracting its logarithm from the logits in training makes the softmax over a few candidates estimate the one over
    the whole catalogue (Bengio and Senecal, IEEE Transactions on Neural Networks 19(4), 2008): without it an item's
    score also says how seldom it is drawn, and items of the history, which in-batch negatives spare, are overrated.

    Args:
        candidates: (B, C) item ids, the positive first.
        history: The rows' histories.
        num_items: Size of the item vocabulary.
        config: Numbers of negatives of each kind.
    """
    share = np.bincount(candidates[:, 0], minlength=num_items) / len(candidates)  # of an item among the positives
    spared = np.sort(np.concatenate([history.items, candidates[:, :1]], axis=1), axis=1)
    first = np.concatenate([np.ones((len(spared), 1), bool), spared[:, 1:] != spared[:, :-1]], axis=1)
    open_share = 1.0 - (share[spared] * first).sum(axis=1)  # of the batch that may serve as a negative
    occurrences = (history.items[:, None, :] == candidates[:, :, None]).sum(axis=2)  # (B, C)
    frequency = occurrences / history.length[:, None]
    in_batch = config.train_num_ngs * share[candidates] / np.maximum(open_share, 1.0 / len(candidates))[:, None]
    replaced = config.history_num_ngs * frequency[:, :1]  # draws from the history that hit the positive
    anywhere = (config.catalogue_num_ngs + replaced) / (num_items - 2)
    return np.where(occurrences > 0, 0.0, in_batch) + config.history_num_ngs * frequency + anywhere
