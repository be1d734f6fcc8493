"""A vocabulary: the frozen map between the values of one categorical feature and integer ids."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

UNKNOWN_ID = 0


@dataclass(frozen=True, eq=False)
class Vocabulary:
    """Values of one categorical feature by integer id. Id 0 is the unknown value.

    Attributes:
        values: (size,) text; `values[0]` is the empty text and stands for "unknown".
        counts: (size,) int64, how often each value occurs in the training rows; `counts[0]` is 0.
    """

    values: npt.NDArray[np.str_]
    counts: npt.NDArray[np.int64]

    def __post_init__(self) -> None:
        if self.values.shape != self.counts.shape or self.values.ndim != 1 or not len(self.values):
            raise ValueError(
                "`values` and `counts` should be one-dimensional, of equal length and at least 1 long. "
                f"Received: values.shape = {self.values.shape}, counts.shape = {self.counts.shape}"
            )
        if self.values[UNKNOWN_ID] != "" or self.counts[UNKNOWN_ID] != 0:
            raise ValueError(
                "`values[0]` and `counts[0]` should be '' and 0 (the unknown value). "
                f"Received: values[0] = {str(self.values[0])!r}, counts[0] = {self.counts[0]}"
            )
        if len(self.index) != self.size - 1:
            raise ValueError(
                "`values` should hold every value once. "
                f"Received: {self.size - 1} values, {len(self.index)} of them different"
            )

    @property
    def size(self) -> int:
        """Number of ids, the unknown value included."""
        return len(self.values)

    @cached_property
    def index(self) -> Mapping[str, int]:
        """Map from value to id, without the unknown value."""
        return {value: position for position, value in enumerate(self.values.tolist()) if position != UNKNOWN_ID}

    def encode(self, values: Iterable[str]) -> npt.NDArray[np.int32]:
        """Returns the ids of `values`, (n,) int32; a value that is not in the vocabulary has id 0."""
        index = self.index
        return np.fromiter((index.get(value, UNKNOWN_ID) for value in values), dtype=np.int32)

    def decode(self, ids: npt.ArrayLike) -> list[str]:
        """Returns the values of `ids` ((n,) integers); id 0 is the empty text.

        Raises:
            ValueError: If an id is outside the vocabulary.
        """
        numbers = np.asarray(ids, dtype=np.int64)
        if numbers.size and (numbers.min() < 0 or numbers.max() >= self.size):
            raise ValueError(
                f"`ids` should be between 0 and {self.size - 1}. Received: ids from {numbers.min()} to {numbers.max()}"
            )
        return self.values[numbers].tolist()
