"""Windows and training batches, straight from the encoded columns.

A training example is a row number; its history is a slice of the columns before it. Nothing is expanded to text or to
Python objects.
"""

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

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
    """

    items: NDArray[np.int32]
    timestamps: NDArray[np.int64]
    length: NDArray[np.int32]
    first_timestamp: NDArray[np.int64]
    now: NDArray[np.int64]

    def as_inputs(self) -> dict[str, NDArray[Any]]:
        """Returns the arrays by name, as `SliRec.encode` takes them."""
        return {name: getattr(self, name) for name in asdict(self)}


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
    return HistoryBatch(
        items=np.where(inside, dataset.item[event], 0).astype(np.int32),
        timestamps=np.where(inside, dataset.timestamp[event], 0),
        length=length.astype(np.int32),
        first_timestamp=dataset.timestamp[rows - position],
        now=dataset.timestamp[rows],
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
    *,
    batch_size: int,
    max_seq_length: int,
    train_num_ngs: int,
    catalogue_num_ngs: int,
    pad_to: int | None,
    rng: np.random.Generator,
) -> Iterator[dict[str, NDArray[Any]]]:
    """Yields one epoch of network inputs.

    Args:
        dataset: Encoded sequences.
        batch_size: Most positives in a batch.
        max_seq_length: Events of a history at most.
        train_num_ngs: In-batch negatives for each positive: neither it nor anything in its history.
        catalogue_num_ngs: Further negatives, uniform over the catalogue; only the positive is spared.
        pad_to: Columns of every batch; None for what each batch needs.
        rng: Source of order and negatives.

    Yields:
        The arrays of `HistoryBatch` and candidates (B, 1 + train_num_ngs + catalogue_num_ngs) int32, positive first.
    """
    for rows in epoch_rows(dataset, batch_size, rng):
        history = history_window(dataset, rows, max_seq_length, pad_to)
        positives = dataset.item[rows]
        candidates = [positives[:, None]]
        candidates.append(
            sample_in_batch_negatives(positives, history.items, train_num_ngs, rng, num_items=dataset.num_items)
        )
        if catalogue_num_ngs:
            # Drawn from one id fewer, then moved past the positive: uniform over all others, without a second try.
            drawn = rng.integers(1, dataset.num_items - 1, (len(rows), catalogue_num_ngs), dtype=np.int32)
            candidates.append(drawn + (drawn >= positives[:, None]))
        yield {**history.as_inputs(), "candidates": np.concatenate(candidates, axis=1).astype(np.int32)}
