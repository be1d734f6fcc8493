"""The oracle: the true probability of every next product, from the generator's own state. Nothing can rank better."""

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from scripts.ml.interaction_rules import ShopperParameters
from scripts.ml.shopper_simulation import State, Taste, World
from scripts.ml.shopper_steps import step_probabilities

_ROWS = 4096  # rows whose (rows, products) tables are worked on at a time
_DAY = 86_400.0


class OracleError(ValueError):
    """The oracle file does not belong to these interactions."""


class EncodedInteractions(Protocol):
    """What the oracle reads of `training.data.sequences.EncodedSequences` (contract 3)."""

    user: NDArray[np.int32]
    item: NDArray[np.int32]
    timestamp: NDArray[np.int64]
    position: NDArray[np.int32]
    vocabularies: Mapping[str, Any]


@dataclass(frozen=True)
class Oracle:
    """True next-product probabilities of generated interactions.

    Attributes:
        world: Catalogue and groups as tables.
        taste: Of each user.
        handles: (P,) handles in catalogue order.
        users: (U,) user ids.
        offsets: (U + 1,) steps of user u are offsets[u]:offsets[u + 1], in order of time.
        start: (N,) bool, the step starts a session.
        timestamp: (N,) int64.
        product: (N,) product of each step.
        group: (N,) active group before the step.
        slot: (N,) place in the active group before the step.
    """

    world: World
    taste: Taste
    handles: NDArray[np.str_]
    users: NDArray[np.str_]
    offsets: NDArray[np.int64]
    start: NDArray[np.bool_]
    timestamp: NDArray[np.int64]
    product: NDArray[np.signedinteger]
    group: NDArray[np.int16]
    slot: NDArray[np.int8]

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> "Oracle":
        """Reads the `.oracle.npz` file that the generator wrote beside its interactions.

        Raises:
            FileNotFoundError: There is no such file.
            OracleError: The file is none of this version of the generator.
        """
        try:
            with np.load(path, allow_pickle=False) as stored:
                arrays = {name: stored[name] for name in stored.files}
            values = json.loads(str(arrays.pop("parameters")))
            values["hourly_activity"] = tuple(values["hourly_activity"])
            tables = (arrays.pop(name) for name in ("category", "popularity", "groups", "across"))
            return cls(
                world=World.build(ShopperParameters(**values), *tables),
                taste=Taste(*(arrays.pop(name) for name in ("taste_category", "taste_group", "backwards"))),
                **arrays,
            )
        except FileNotFoundError:
            raise
        except (KeyError, TypeError, ValueError, OSError) as error:
            raise OracleError(
                f"{path} should be an oracle file of this version of the generator. Received: {error}. Generate the "
                "interactions again"
            ) from error

    def probabilities(self, user_ids: NDArray[np.str_], positions: NDArray[np.integer]) -> NDArray[np.float64]:
        """Computes the true probabilities of the step at a position of a user.

        Args:
            user_ids: (n,) user ids.
            positions: (n,) 0-based positions in the user's order of time.

        Returns:
            (n, P) probabilities by catalogue order; rows sum to 1.

        Raises:
            OracleError: If a user or position is not among the generated ones.
        """
        return self.row_probabilities(self._rows(np.asarray(user_ids), np.asarray(positions)))

    def score(self, dataset: EncodedInteractions, rows: NDArray[np.integer]) -> NDArray[np.float64]:
        """Ranks like a model: the true probabilities in the order of the dataset's item vocabulary.

        Args:
            dataset: Encoded sequences of the interactions that were generated with this oracle.
            rows: (n,) rows of the dataset.

        Returns:
            (n, num_items) probabilities; column 0, the unknown item, is 0. Rows sum to less than 1 where products of
            the catalogue are missing from the vocabulary.

        Raises:
            OracleError: If the dataset is not of these interactions.
        """
        own_rows = self.check(dataset, rows)
        items = np.asarray(dataset.vocabularies["item"].values)[1:]
        columns = _lookup(items, self.handles, "item")
        scores = np.zeros((len(own_rows), len(items) + 1))
        scores[:, 1:] = self.row_probabilities(own_rows)[:, columns]
        return scores

    def check(self, dataset: EncodedInteractions, rows: NDArray[np.integer]) -> NDArray[np.int64]:
        """Makes sure that rows of a dataset are of these interactions: same user, position, time and product.

        Returns:
            (n,) the generator's own rows.

        Raises:
            OracleError: If they are not.
        """
        user_ids = np.asarray(dataset.vocabularies["user"].values)[dataset.user[rows]]
        own_rows = self._rows(user_ids, dataset.position[rows])
        handles = np.asarray(dataset.vocabularies["item"].values)[dataset.item[rows]]
        other_product = (dataset.item[rows] > 0) & (handles != self.handles[self.product[own_rows]])
        differing = np.flatnonzero((self.timestamp[own_rows] != dataset.timestamp[rows]) | other_product)
        if len(differing):
            first = differing[0]
            own, time = own_rows[first], dataset.timestamp[rows][first]
            raise OracleError(
                f"The dataset should be made from the interactions that were generated with this oracle. Row "
                f"{rows[first]} of {user_ids[first]} is of {str(handles[first])!r} at {time}, "
                f"the oracle has {str(self.handles[self.product[own]])!r} at {self.timestamp[own]}. Generate and "
                "preprocess again, or use the oracle file beside them."
            )
        return own_rows

    def row_probabilities(self, rows: NDArray[np.int64]) -> NDArray[np.float64]:
        """Returns (n, P) true probabilities of the generator's own rows (user after user, in order of time)."""
        parts = [self._chunk(rows[begin : begin + _ROWS]) for begin in range(0, len(rows), _ROWS)]
        return np.concatenate(parts) if parts else np.zeros((0, self.world.num_products))

    def _chunk(self, rows: NDArray[np.int64]) -> NDArray[np.float64]:
        user = np.searchsorted(self.offsets, rows, side="right") - 1
        return step_probabilities(self.world, self.taste[user], self._state(rows, self.offsets[user]))

    def _state(self, rows: NDArray[np.int64], first: NDArray[np.int64]) -> State:
        """Rebuilds the state before each row; `first` is the first row of the row's user."""
        length, padding = self.world.parameters.max_session_length, self.world.num_products
        starts = np.flatnonzero(self.start)
        session = np.searchsorted(starts, rows, side="right") - 1
        begin = starts[session]
        touched = self._products_between(begin, rows, length)
        has_previous = begin > first
        previous_begin = np.where(has_previous, starts[session - 1], begin)
        seen = np.zeros((len(rows), padding + 1), bool)
        np.put_along_axis(seen, touched, True, axis=1)
        seen[:, padding] = True
        has_current = rows > first
        gap = np.where(has_current, self.timestamp[rows] - self.timestamp[rows - 1], 0) / _DAY
        return State(
            start=self.start[rows],
            gap_days=gap.astype(np.float32),
            group=self.group[rows].astype(np.int64),
            slot=self.slot[rows].astype(np.int64),
            current=np.where(has_current, self.product[rows - 1].astype(np.int64), padding),
            seen=seen,
            previous=self._products_between(previous_begin, begin, length),
        )

    def _products_between(self, begin: NDArray[np.int64], end: NDArray[np.int64], length: int) -> NDArray[np.int64]:
        """Returns (n, length) products of rows begin:end, padded with P."""
        index = begin[:, None] + np.arange(length)
        inside = index < end[:, None]
        return np.where(inside, self.product[np.where(inside, index, 0)].astype(np.int64), self.world.num_products)

    def _rows(self, user_ids: NDArray[np.str_], positions: NDArray[np.integer]) -> NDArray[np.int64]:
        user = _lookup(user_ids, self.users, "user")
        rows = self.offsets[user] + positions
        outside = np.flatnonzero((positions < 0) | (rows >= self.offsets[user + 1]))
        if len(outside):
            raise OracleError(
                f"`positions` should be positions of the user's generated interactions. "
                f"Received: {positions[outside[0]]} for {user_ids[outside[0]]}"
            )
        return rows


def _lookup(values: NDArray[np.str_], known: NDArray[np.str_], what: str) -> NDArray[np.int64]:
    order = np.argsort(known)
    place = order[np.minimum(np.searchsorted(known[order], values), len(known) - 1)]
    unknown = np.unique(values[known[place] != values])
    if len(unknown):
        raise OracleError(
            f"Every {what} should be one that the oracle's interactions were generated with. "
            f"Received {len(unknown)} others, such as {unknown[0]!r}"
        )
    return place
