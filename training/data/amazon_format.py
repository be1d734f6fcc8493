"""recommenders' expanded text files and vocabularies, written from encoded sequences, and read.

The format is that of `recommenders.datasets.amazon_reviews` (1.2.1), which `SequentialIterator` reads: one line for
each row that has a history,

    label <tab> user <tab> item <tab> category <tab> timestamp <tab> items <tab> categories <tab> timestamps

where the last three are the history, oldest first, separated by commas. In the files for validation and test every
positive is followed by its offline negatives, with label 0. The files grow with the square of the length of the
histories; they are for comparisons with recommenders, not for training at scale.

Three things differ from what `recommenders.datasets.amazon_reviews` writes for the same interactions: negatives are
never items that the user touched; users with fewer than 3 events are wholly in train; and an item or category that
training never saw is written as `default_mid` or `default_cat`, the name of index 0 which recommenders gives it anyway.
"""

import os
import pickle
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal

import numpy as np
import numpy.typing as npt
import pandas as pd

from training.data.columns import CATEGORY_ID, ITEM_ID, SPLITS, USER_ID
from training.data.dataset import EncodedSequences
from training.data.vocabulary import Vocabulary
from training.files import atomic_path

DEFAULT_USER: Final = "default_uid"
DEFAULT_ITEM: Final = "default_mid"
DEFAULT_CATEGORY: Final = "default_cat"
AMAZON_COLUMNS: Final = (
    "label",
    "user_id",
    "item_handle",
    "item_category",
    "timestamp",
    "item_history",
    "category_history",
    "time_history",
)


class AmazonFormatError(ValueError):
    """Values that recommenders' text format cannot carry, or a file that is not in it."""


@dataclass(frozen=True)
class AmazonFiles:
    """Paths of the files that recommenders' sequential models read."""

    train: Path
    valid: Path
    test: Path
    user_vocab: Path
    item_vocab: Path
    cate_vocab: Path


def write_amazon_files(
    dataset: EncodedSequences,
    folder: str | os.PathLike[str],
    *,
    ids: Literal["recommenders", "dataset"] = "recommenders",
) -> AmazonFiles:
    """Writes encoded sequences as recommenders' files.

    Args:
        dataset: Encoded sequences with offline negatives.
        folder: Folder for `train_data`, `valid_data`, `test_data`, `user_vocab.pkl`, `item_vocab.pkl` and
            `category_vocab.pkl`; created if missing.
        ids: "recommenders" numbers users, items and categories as `amazon_reviews._create_vocab` does: by how often
            they occur in the expanded training file. "dataset" keeps the ids of `dataset`, so that the rows of
            embedding tables mean the same on both sides; users then begin at 1, after `default_uid`.

    Returns:
        Paths of the six files.

    Raises:
        AmazonFormatError: If a value holds a comma, a tab or a line break.
    """
    users = _names(dataset.vocabularies[USER_ID], DEFAULT_USER, "\t\r\n")
    items = _names(dataset.vocabularies[ITEM_ID], DEFAULT_ITEM, ",\t\r\n")
    categories = _names(dataset.vocabularies[CATEGORY_ID], DEFAULT_CATEGORY, ",\t\r\n")
    path = Path(folder)
    files = AmazonFiles(
        train=path / "train_data",
        valid=path / "valid_data",
        test=path / "test_data",
        user_vocab=path / "user_vocab.pkl",
        item_vocab=path / "item_vocab.pkl",
        cate_vocab=path / "category_vocab.pkl",
    )
    for split, target in zip(SPLITS, (files.train, files.valid, files.test), strict=True):
        with atomic_path(target) as temporary, temporary.open("w", encoding="utf-8", newline="\n") as stream:
            stream.writelines(_lines(dataset, split, users, items, categories))
    if ids == "dataset":
        vocabularies = [{name: number for number, name in enumerate(names)} for names in (users, items, categories)]
    else:
        vocabularies = _recommenders_vocabularies(dataset, users, items, categories)
    for vocabulary, target in zip(vocabularies, (files.user_vocab, files.item_vocab, files.cate_vocab), strict=True):
        with atomic_path(target) as temporary:
            temporary.write_bytes(pickle.dumps(vocabulary))
    return files


def _names(vocabulary: Vocabulary, default: str, forbidden: str) -> list[str]:
    names = [default, *vocabulary.values[1:].tolist()]
    for name in names[1:]:
        if name == default or name != name.strip() or any(character in name for character in forbidden):
            raise AmazonFormatError(
                f"Values should be free of commas (users may have them), tabs, line breaks and outer spaces, and not "
                f"be {default!r}, to be written in recommenders' text format. Received: {name!r}"
            )
    return names


def _lines(
    dataset: EncodedSequences, split: str, users: list[str], items: list[str], categories: list[str]
) -> Iterator[str]:
    rows = dataset.rows(split)
    negatives = dataset.negatives.get(split, np.empty((len(rows), 0), dtype=np.int32))
    starts = rows - dataset.position[rows]
    for row, start, row_negatives in zip(rows.tolist(), starts.tolist(), negatives.tolist(), strict=True):
        history = slice(start, row)
        user, timestamp = users[dataset.user[row]], dataset.timestamp[row]
        tail = "\t".join(
            (
                str(timestamp),
                ",".join([items[item] for item in dataset.item[history].tolist()]),
                ",".join([categories[category] for category in dataset.category[history].tolist()]),
                ",".join(map(str, dataset.timestamp[history].tolist())),
            )
        )
        yield f"1\t{user}\t{items[dataset.item[row]]}\t{categories[dataset.category[row]]}\t{tail}\n"
        for item in row_negatives:
            yield f"0\t{user}\t{items[item]}\t{categories[dataset.item_category[item]]}\t{tail}\n"


def _recommenders_vocabularies(
    dataset: EncodedSequences, users: list[str], items: list[str], categories: list[str]
) -> list[dict[str, int]]:
    """Numbers values as `_create_vocab` does, without expanding anything.

    In the expanded training file a row occurs once as a target, if it has a history, and once in the history of every
    later training row of its user. Equally frequent values are in the order of their first occurrence: on a user's
    first line the target, which is the user's second event, comes before the history, the first event.
    """
    train = np.flatnonzero(dataset.split == 0)
    user, position = dataset.user[train], dataset.position[train].astype(np.int64)
    events = np.bincount(user, minlength=dataset.num_users)  # training rows of each user
    occurrences = (position > 0) + (events[user] - 1 - position)
    second_first = np.where(position == 0, 1, np.where(position == 1, 0, position))
    in_file = np.lexsort((second_first, user))
    by_user = np.where(position > 0, 1, 0)  # a user occurs once a line
    return [
        dict(zip(_by_frequency(dataset.user[train], by_user, in_file, users), range(len(users)), strict=False)),
        _after_default(_by_frequency(dataset.item[train], occurrences, in_file, items), DEFAULT_ITEM),
        _after_default(_by_frequency(dataset.category[train], occurrences, in_file, categories), DEFAULT_CATEGORY),
    ]


def _by_frequency(
    values: npt.NDArray[np.int32], occurrences: npt.NDArray[np.int64], in_file: npt.NDArray[np.int64], names: list[str]
) -> list[str]:
    in_order, weights = values[in_file], occurrences[in_file]
    in_order, weights = in_order[weights > 0], weights[weights > 0]
    distinct, first, inverse = np.unique(in_order, return_index=True, return_inverse=True)
    counts = np.bincount(inverse, weights=weights).astype(np.int64)
    return [names[value] for value in distinct[np.lexsort((first, -counts))].tolist()]


def _after_default(names: Iterable[str], default: str) -> dict[str, int]:
    vocabulary = {default: 0}
    for number, name in enumerate((name for name in names if name != default), start=1):
        vocabulary[name] = number
    return vocabulary


def read_amazon_file(path: str | os.PathLike[str]) -> pd.DataFrame:
    """Reads `train_data`, `valid_data` or `test_data`.

    Args:
        path: File in recommenders' expanded format.

    Returns:
        One row for each line, columns `AMAZON_COLUMNS`: label and timestamp int64, the three histories lists (of text,
        text and int).

    Raises:
        AmazonFormatError: If a line is not in the format.
    """
    records: list[tuple[Any, ...]] = []
    with Path(path).open(encoding="utf-8", newline="\n") as stream:
        for number, line in enumerate(stream, start=1):
            try:
                label, user, item, category, timestamp, items, categories, times = line.rstrip("\n").split("\t")
                history = (items.split(","), categories.split(","), [int(time) for time in times.split(",")])
                if len({len(part) for part in history}) != 1:
                    raise ValueError("the three histories differ in length")
                records.append((int(label), user, item, category, int(timestamp), *history))
            except ValueError as error:
                raise AmazonFormatError(
                    f"Line {number} of {os.fspath(path)} should have 8 fields separated by tabs: "
                    f"{', '.join(AMAZON_COLUMNS)}. Received: {line[:100]!r} ({error})"
                ) from error
    frame = pd.DataFrame.from_records(records, columns=list(AMAZON_COLUMNS))
    return frame.astype({"label": np.int64, "timestamp": np.int64})


def read_amazon_vocabulary(path: str | os.PathLike[str]) -> dict[str, int]:
    """Reads a vocabulary that recommenders or `write_amazon_files` wrote; nothing in the file can run code.

    Args:
        path: Pickle of a dict from text to int.

    Returns:
        The dict.

    Raises:
        AmazonFormatError: If the file holds anything else.
    """
    try:
        with Path(path).open("rb") as stream:
            content: Any = _PlainUnpickler(stream).load()
    except (pickle.UnpicklingError, EOFError, AttributeError, IndexError, KeyError, ValueError, TypeError) as error:
        raise AmazonFormatError(f"{os.fspath(path)} should be a pickled vocabulary. Received: {error}") from error
    if not isinstance(content, dict) or not all(type(k) is str and type(v) is int for k, v in content.items()):
        raise AmazonFormatError(
            f"{os.fspath(path)} should hold a dict from text to int. Received: {type(content).__name__}"
        )
    return content


class _PlainUnpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        """Refuses every global: a vocabulary is a dict of text and numbers."""
        raise pickle.UnpicklingError(f"a reference to {module}.{name}, which a vocabulary does not need")
