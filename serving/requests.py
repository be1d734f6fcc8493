"""What a client may ask: parsing and validation of one recommendation request.

Messages name the argument, the position and the type of a bad value, never the value itself where it could identify a
shopper: they may be sent back to a client or logged as they are.
"""

import math
import numbers
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from serving.config import ServeConfig

# 1e11 s is the year 5138, 1e11 ms is March 1973: nothing a shop records lies on the wrong side of it.
MILLISECONDS_ABOVE = 1e11
_LATEST_MILLISECONDS = MILLISECONDS_ABOVE * 1000


class RequestError(ValueError):
    """A request that has no right answer; the message says what to change."""


@dataclass(frozen=True)
class Request:
    """A validated request, events in order of time.

    Attributes:
        user_id: The shopper; None for an anonymous one.
        handles: Product handles, oldest first; None where the client sent null or something that is not text.
        timestamps: (len(handles),) int64 UNIX seconds, never falling.
        k: Products wanted.
        recommend_seen: Whether products of the history may be recommended.
        candidate_ids: Handles or GIDs to choose among, each once; empty = the whole catalogue.
        now: UNIX seconds of the recommendation; None = the time of the latest event.
    """

    user_id: str | None
    handles: tuple[str | None, ...]
    timestamps: npt.NDArray[np.int64]
    k: int
    recommend_seen: bool
    candidate_ids: tuple[str, ...]
    now: int | None


def parse_request(
    user_id: object,
    items: object,
    timestamps: object,
    *,
    k: object,
    recommend_seen: object,
    candidate_ids: object,
    now: object,
    config: ServeConfig,
) -> Request:
    """Validates the arguments of `Recommender.recommend` and sorts the events by time (stable).

    Raises:
        RequestError: See `Recommender.recommend`.
    """
    handles = [item if isinstance(item, str) else None for item in _values("items", items)]
    seconds = [_seconds(f"timestamps[{i}]", value) for i, value in enumerate(_values("timestamps", timestamps))]
    if len(handles) != len(seconds):
        raise RequestError(
            "`items` and `timestamps` should have the same length, one timestamp an item. "
            f"Received: {len(handles)} items and {len(seconds)} timestamps"
        )
    times = np.array(seconds, np.int64)
    order = np.argsort(times, kind="stable")
    return Request(
        user_id=_user_id(user_id),
        handles=tuple(handles[i] for i in order),
        timestamps=times[order],
        k=config.k if k is None else _k(k),
        recommend_seen=config.recommend_seen if recommend_seen is None else _boolean(recommend_seen),
        candidate_ids=_candidate_ids(candidate_ids),
        now=None if now is None else _seconds("now", now),
    )


def _values(name: str, values: object) -> list[object]:
    if values is None:
        return []
    # A text is iterable too, but a list of its letters is never what the client meant.
    if isinstance(values, str | bytes | Mapping) or not isinstance(values, Iterable):
        raise RequestError(f"`{name}` should be a list. Received: {type(values).__name__}")
    try:
        return list(values)
    except TypeError:  # a zero-dimensional array
        raise RequestError(f"`{name}` should be a list. Received: a {type(values).__name__} without length") from None


def _seconds(name: str, value: object) -> int:
    problem = RequestError(
        f"`{name}` should be UNIX seconds or milliseconds, as a number or as text. "
        f"Received: a {type(value).__name__} that is not one"
    )
    if isinstance(value, bool) or not isinstance(value, str | numbers.Real):
        raise problem
    try:
        number = float(value)
    except (ValueError, OverflowError):
        raise problem from None
    if not 0 <= number < _LATEST_MILLISECONDS:  # also refuses NaN
        raise problem
    return math.floor(number / 1000 if number > MILLISECONDS_ABOVE else number)


def _user_id(value: object) -> str | None:
    if value is None or (isinstance(value, str) and not value):
        return None
    if not isinstance(value, str):
        raise RequestError(f"`user_id` should be text or null. Received: {type(value).__name__}")
    return value


def _k(value: object) -> int:
    if isinstance(value, bool) or not isinstance(value, numbers.Integral):
        raise RequestError(f"`k` should be a positive integer. Received: a {type(value).__name__}")
    if value < 1:
        raise RequestError(f"`k` should be a positive integer. Received: k = {value}")
    return int(value)


def _boolean(value: object) -> bool:
    if not isinstance(value, bool | np.bool_):
        raise RequestError(f"`recommend_seen` should be true or false. Received: a {type(value).__name__}")
    return bool(value)


def _candidate_ids(values: object) -> tuple[str, ...]:
    unique: dict[str, None] = {}
    for i, value in enumerate(_values("candidate_ids", values)):
        if not isinstance(value, str) or not value:
            received = "an empty text" if isinstance(value, str) else type(value).__name__
            raise RequestError(f"`candidate_ids[{i}]` should be a product handle or GID. Received: {received}")
        unique[value] = None
    return tuple(unique)
