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
from training.data.columns import ITEM_ID
from training.data.negatives import sample_in_batch_negatives
from training.data.sequences import EncodedSequences
from training.data.training_negatives import Catalogue, all_others, expected_counts, from_history

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

    What counts as earlier is `dataset.same_time`: with "together", no event of the row's own second.

    Args:
        dataset: Encoded sequences.
        rows: (B,) row numbers; each should have at least one earlier event.
        max_seq_length: Events at most.
        pad_to: Columns of the result; by default the longest window here, rounded up to `LENGTH_STEP`.

    Returns:
        The windows; `now` is the row's own time.
    """
    end, position = dataset.history_ends(rows), dataset.history_lengths(rows)
    length = np.minimum(position, max_seq_length)
    if pad_to is None:
        longest = max(1, int(length.max(initial=1)))
        pad_to = min(max_seq_length, -(-longest // LENGTH_STEP) * LENGTH_STEP)
    place = np.arange(pad_to)
    inside = place < length[:, None]  # (B, T)
    event = np.where(inside, (end - length)[:, None] + place, 0)
    features = {each.input_name: np.where(inside, each.ids[event], 0) for each in dataset.features.stored_events}
    features |= {each.input_name: each.ids[dataset.user[rows]] for each in dataset.features.of("user")}
    return HistoryBatch(
        items=np.where(inside, dataset.item[event], 0).astype(np.int32),
        timestamps=np.where(inside, dataset.timestamp[event], 0),
        length=length.astype(np.int32),
        first_timestamp=dataset.timestamp[end - position],
        now=dataset.timestamp[rows],
        features=features,
    )


def epoch_rows(
    dataset: EncodedSequences, batch_size: int, rng: np.random.Generator, most: int | None = None
) -> list[NDArray[np.int64]]:
    """Shuffles training rows into batches of nearly equal size, none dropped, each of similar history lengths.

    Rows are shuffled, then sorted by length within `BUCKET_BATCHES` batches' worth, so that a batch of short histories
    costs little while its content stays random. The order of batches is shuffled again.

    Args:
        dataset: Encoded sequences.
        batch_size: Most rows of a batch.
        rng: Source of the order.
        most: Rows to draw, without repetition; None takes all of the training split.

    Returns:
        Row numbers of each batch.

    Raises:
        ValueError: The training split has no row with a history.
    """
    rows = rng.permutation(dataset.rows("train"))[:most]
    if not len(rows):
        raise ValueError("The training split should have users with at least two interactions in it. Received: none")
    parts = max(1, -(-len(rows) // (batch_size * BUCKET_BATCHES)))
    batches: list[NDArray[np.int64]] = []
    for part in np.array_split(rows, parts):
        by_length = part[np.argsort(dataset.history_lengths(part), kind="stable")]
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
        config: Batch size, loss, the kinds of negatives, and whether to correct for how they are drawn.
        max_seq_length: Events of a history at most.
        pad_to: Columns of every batch; None for what each batch needs.
        rng: Source of order and negatives.

    Yields:
        The arrays of `HistoryBatch`; candidates (B, C) int32, the positive first, then in-batch negatives (neither it
        nor anything in its history), then items of its history, then items of the whole catalogue (with full_softmax:
        all other items); correction (B, C) float32, what to add to the logits; and with hard negatives pool (B, P)
        int32, items of which the network chooses some.
    """
    catalogue = Catalogue(dataset.vocabularies[ITEM_ID].counts, config.catalogue_power)
    for rows in epoch_rows(dataset, config.batch_size, rng, config.epoch_examples):
        history = history_window(dataset, rows, max_seq_length, pad_to)
        yield {**history.as_inputs(), **_candidates(history, dataset.item[rows], catalogue, config, rng)}


def _candidates(
    history: HistoryBatch,
    positives: NDArray[np.int32],
    catalogue: Catalogue,
    config: OptimizerConfig,
    rng: np.random.Generator,
) -> dict[str, NDArray[Any]]:
    """Returns candidates and correction, and the pool where hard negatives are asked for."""
    items, length = history.items, history.length
    if config.loss == "full_softmax":
        negatives = [all_others(positives, catalogue.num_items)]
    else:
        negatives = [
            _from_batch(positives, items, catalogue.num_items, config.train_num_ngs, rng),
            from_history(catalogue, items, length, positives, config.history_num_ngs, rng),
            catalogue.draw(positives, config.catalogue_num_ngs, rng),
        ]
    candidates = np.concatenate([positives[:, None], *negatives], axis=1).astype(np.int32)
    correction = np.zeros(candidates.shape, np.float32)
    if config.logq_correction:
        expected = expected_counts(candidates, items, length, catalogue, config)
        correction -= np.log(expected).astype(np.float32)
    pool = {"pool": catalogue.draw(positives, config.hard_pool, rng)} if config.hard_num_ngs else {}
    return {"candidates": candidates, "correction": correction, **pool}


def _from_batch(
    positives: NDArray[np.int32], items: NDArray[np.int32], num_items: int, count: int, rng: np.random.Generator
) -> NDArray[np.int32]:
    if not count:
        return np.zeros((len(positives), 0), np.int32)
    return sample_in_batch_negatives(positives, items, count, rng, num_items=num_items)
