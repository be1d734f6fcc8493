"""Custom features of events and users: what a request says of them, as ids.

Id 0 is the unknown or missing value. Features of items are constants of the network; hour and weekday are read off the
timestamps inside it: a request has neither.
"""

import math
import numbers
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from serving.manifest import FeatureEntry
from serving.requests import Request
from serving.tables import StoredHistory, Vocabulary

Ids = Mapping[str, npt.NDArray[np.int32]]
"""By input of the network: (n,) of events, () of a user."""


class Features:
    """The features of a bundle that requests may carry.

    Attributes:
        of_events, of_users: Their names.
    """

    def __init__(self, entries: Sequence[FeatureEntry], vocabularies: Mapping[str, Vocabulary]) -> None:
        """Takes what `bundle.json` says of all features, and the vocabularies by name."""
        self._entries = {entry.name: entry for entry in entries if entry.in_requests}
        self._vocabularies = vocabularies
        self.of_events, self.of_users = (
            tuple(name for name, entry in self._entries.items() if entry.of == owner) for owner in ("event", "user")
        )

    def __bool__(self) -> bool:
        """Whether there is any."""
        return bool(self._entries)

    def of_request(
        self, request: Request, known: npt.NDArray[np.bool_], stored: StoredHistory | None, notes: list[str]
    ) -> Ids:
        """Ids of a request's events whose product is known, and of its user.

        Args:
            request: The request.
            known: (events,) which of them are encoded.
            stored: What is stored of the user: stands in for a user feature that the request does not have.
            notes: Receives what was unusual.
        """
        ids: dict[str, npt.NDArray[np.int32]] = {}
        for name in self.of_events:
            values = request.features.get(name)
            if values is None:
                ids[self._entries[name].input_name] = np.zeros(int(known.sum()), np.int32)
            else:
                ids[self._entries[name].input_name] = self._encode(name, values, notes)[known]
        return {**ids, **self._of_user(request, stored, notes)}

    def of_stored(self, request: Request, stored: StoredHistory, kept: npt.NDArray[np.bool_], notes: list[str]) -> Ids:
        """Ids of those stored events that are kept, and of the user."""
        names = (self._entries[name].input_name for name in self.of_events)
        return {**{name: stored.features[name][kept] for name in names}, **self._of_user(request, stored, notes)}

    def _of_user(self, request: Request, stored: StoredHistory | None, notes: list[str]) -> Ids:
        ids: dict[str, npt.NDArray[np.int32]] = {}
        for name in self.of_users:
            key, value = self._entries[name].input_name, request.features.get(name, (None,))
            if missing(value[0]):
                ids[key] = np.zeros((), np.int32) if stored is None else stored.features[key]
            else:
                ids[key] = self._encode(name, value, notes)[0]
        return ids

    def _encode(self, name: str, values: Sequence[object], notes: list[str]) -> npt.NDArray[np.int32]:
        entry = self._entries[name]
        ids = np.array([self._id(entry, value) for value in values], np.int32)
        strange = sum(not id_ and not missing(value) for id_, value in zip(ids.tolist(), values, strict=True))
        if strange:
            notes.append(f"{strange} of {len(ids)} values of `{name}` are not known to the model and count as missing.")
        return ids

    def _id(self, entry: FeatureEntry, value: Any) -> int:
        if missing(value):
            return 0
        if entry.kind != "numeric":
            return self._vocabularies[entry.name].index.get(_text(value), 0)
        try:
            number = float(value)
        except (TypeError, ValueError, OverflowError):
            return 0
        if not math.isfinite(number) or entry.size == 1:
            return 0
        return 1 + int(np.searchsorted(np.array(entry.bounds), number, side="left"))


def _text(value: Any) -> str:
    """A value as the vocabulary has it; "" for what is none."""
    if isinstance(value, bool | np.bool_):
        return str(value).lower()
    if isinstance(value, float) and value.is_integer():  # JSON knows one kind of number
        return str(int(value))
    return str(value) if isinstance(value, str | numbers.Integral) else ""


def missing(value: object) -> bool:
    """Null, NaN, which is how a table says null, and the empty text, which is how a list of texts does.

    What is no text or number is not missing but unknown.
    """
    if isinstance(value, str):
        return not value
    return value is None or (isinstance(value, float | np.floating) and math.isnan(value))
