"""What a client may ask: parsing and validation of recommendation requests.

Messages name the argument, the position and the type of a bad value, never the value itself where it could identify a
shopper: they may be sent back to a client or logged as they are.
"""

import math
import numbers
from collections.abc import Iterable, Mapping, Sequence, Set
from dataclasses import dataclass, field
from itertools import islice
from typing import Any, Final, NoReturn, cast

import numpy as np
import numpy.typing as npt

from serving.config import ServeConfig

# 1e11 s is the year 5138, 1e11 ms is March 1973: nothing a shop records lies on the wrong side of it.
MILLISECONDS_ABOVE: Final = 1e11
MAX_VALUES: Final = 100_000
"""Most events of one shopper, and most candidate ids of one request."""
MAX_ID_LENGTH: Final = 1024
"""Characters of an id; a longer one is no id that the bundle could know."""
CLOCK_TOLERANCE: Final = 86_400
"""Seconds that a client's clock may be ahead of the server's."""
LATEST_MILLISECONDS: Final = MILLISECONDS_ABOVE * 1000
_LONGEST_NUMBER = 64  # characters of a time as text
_SMALLEST_SHOWN = -(10**18)  # Python refuses to write numbers of thousands of digits


class RequestError(ValueError):
    """A request that has no right answer; the message says what to change."""


@dataclass(frozen=True)
class Options:
    """What is asked for, the same for all shoppers of one call; validated.

    Attributes:
        k: Products wanted.
        recommend_seen: Whether products of the history may be recommended.
        candidate_ids: Handles or GIDs to choose among, each once; empty = the whole catalogue.
        now: UNIX seconds of the recommendation; None = the time of the latest event.
        latest: UNIX seconds that no event is taken to lie after.
        notes: What was unusual.
    """

    k: int
    recommend_seen: bool
    candidate_ids: tuple[str, ...]
    now: int | None
    latest: int
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Request:
    """A validated shopper, events in order of time.

    Attributes:
        user_id: The shopper; None for an anonymous one.
        handles: Product handles, oldest first; None where the client sent null, a text that is too long or something
            that is not text.
        timestamps: (len(handles),) int64 UNIX seconds, never falling.
        late: How many timestamps lay after the latest possible one and were set to it.
        features: By name, values of custom features as they came: one an event, in order of time, or one of the user.
        strange: How many names of features the model does not have.
    """

    user_id: str | None
    handles: tuple[str | None, ...]
    timestamps: npt.NDArray[np.int64]
    late: int
    features: Mapping[str, Sequence[object]] = field(default_factory=dict[str, Any])
    strange: int = 0


def parse_options(
    *, k: object, recommend_seen: object, candidate_ids: object, now: object, config: ServeConfig, clock: float
) -> Options:
    """Validates what `Recommender.recommend` is asked for.

    Args:
        k: As in `Recommender.recommend`, and so are the others.
        recommend_seen: As there.
        candidate_ids: As there.
        now: As there.
        config: Defaults.
        clock: UNIX seconds of the server.

    Raises:
        RequestError: See `Recommender.recommend`.
    """
    moment = None if now is None else math.floor(_seconds("now", now))
    asked = None if recommend_seen is None else _boolean(recommend_seen)
    notes = ["Products that the shopper has seen are never recommended by this model."] * bool(
        asked and config.exclude_seen
    )
    return Options(
        k=config.k if k is None else _k(k),
        recommend_seen=(config.recommend_seen if asked is None else asked) and not config.exclude_seen,
        candidate_ids=_candidate_ids(candidate_ids),
        now=moment,
        latest=math.floor(clock) + CLOCK_TOLERANCE if moment is None else moment,
        notes=tuple(notes),
    )


def parse_request(
    user_id: object,
    items: object,
    timestamps: object,
    latest: int,
    features: object = None,
    of_events: Sequence[str] = (),
    of_users: Sequence[str] = (),
) -> Request:
    """Validates one shopper and sorts the events by time; those at one time keep their order.

    Args:
        user_id: As in `Recommender.recommend`, and so are the others.
        items: As there.
        timestamps: As there.
        latest: UNIX seconds that later events are set to.
        features: As in `Recommender.recommend`.
        of_events: Names of the features of events that the model has.
        of_users: Likewise of users.

    Raises:
        RequestError: See `Recommender.recommend`.
    """
    handles = [item if isinstance(item, str) and len(item) <= MAX_ID_LENGTH else None
               for item in _values("items", items)]  # fmt: skip
    values = _values("timestamps", timestamps)
    if len(handles) != len(values):
        raise RequestError(
            "`items` and `timestamps` should have the same length, one timestamp an item. "
            f"Received: {len(handles)} items and {len(values)} timestamps"
        )
    # Sorted before they are rounded to seconds and set to `latest`: neither may change their order.
    exact = np.array([_seconds("timestamps", value, place) for place, value in enumerate(values)], np.float64)
    order = np.argsort(exact, kind="stable")
    times = np.floor(exact[order]).astype(np.int64)
    given = _features(features)
    values = {name: _event_values(name, given[name], len(handles)) for name in of_events if name in given}
    values = {name: [listed[i] for i in order] for name, listed in values.items() if listed is not None}
    values |= {name: [_one_value(name, given[name])] for name in of_users if name in given}
    return Request(
        user_id=_user_id(user_id),
        handles=tuple(handles[i] for i in order),
        timestamps=np.minimum(times, latest),
        late=int(np.count_nonzero(times > latest)),
        features=values,
        strange=len(set(given) - {*of_events, *of_users}),
    )


def _features(features: object) -> Mapping[str, object]:
    if features is None:
        return {}
    if not isinstance(features, Mapping):
        raise RequestError(f"`features` should be an object of values by name. Received: {type(features).__name__}")
    return cast(Mapping[str, object], features)


def _event_values(name: str, values: object, events: int) -> list[object] | None:
    """One value an event; None: the feature is missing as a whole."""
    if _missing(values):
        return None
    listed = _values(name, values)
    if len(listed) != events:
        raise RequestError(
            f"`items` and `{name}` should have the same length, one value an item. "
            f"Received: {events} items and {len(listed)} values"
        )
    return listed


def _one_value(name: str, value: object) -> object:
    if not _missing(value) and not isinstance(value, str | numbers.Real | np.bool_):
        raise RequestError(f"`{name}` should be a text, a number or null. Received: {type(value).__name__}")
    return value


def _missing(value: object) -> bool:
    """Null, or NaN, which is how a table says null."""
    return value is None or (isinstance(value, float | np.floating) and math.isnan(value))


def _values(name: str, values: object) -> list[object]:
    if _missing(values):
        return []
    # A text is iterable too, but a list of its letters is never what the client meant; and a set has no order.
    if isinstance(values, str | bytes | bytearray | Mapping | Set) or not isinstance(values, Iterable):
        raise RequestError(f"`{name}` should be a list. Received: {type(values).__name__}")
    try:
        listed: list[object] = list(islice(values, MAX_VALUES + 1))
    except TypeError:  # a zero-dimensional array
        raise RequestError(f"`{name}` should be a list. Received: a {type(values).__name__} without length") from None
    if len(listed) > MAX_VALUES:
        raise RequestError(f"`{name}` should have at most {MAX_VALUES:,} values. Received: more")
    return listed


def _seconds(name: str, value: object, place: int | None = None) -> float:
    """UNIX seconds, with their fraction."""
    if isinstance(value, bool) or not isinstance(value, str | numbers.Real):
        _no_time(name, value, place)
    if isinstance(value, str) and (len(value) > _LONGEST_NUMBER or "_" in value):  # Python reads 1_000 as a number
        _no_time(name, value, place)
    try:
        number = float(value)
    except (ValueError, OverflowError):
        _no_time(name, value, place)
    if not 0 <= number < LATEST_MILLISECONDS:  # also refuses NaN
        _no_time(name, value, place)
    return number / 1000 if number > MILLISECONDS_ABOVE else number


def _no_time(name: str, value: object, place: int | None) -> NoReturn:
    where = name if place is None else f"{name}[{place}]"
    raise RequestError(
        f"`{where}` should be UNIX seconds or milliseconds, as a number or as text. "
        f"Received: a {type(value).__name__} that is not one"
    ) from None


def _user_id(value: object) -> str | None:
    if _missing(value):
        return None
    if not isinstance(value, str):
        raise RequestError(f"`user_id` should be text or null. Received: {type(value).__name__}")
    return value if 0 < len(value) <= MAX_ID_LENGTH else None


def _k(value: object) -> int:
    if isinstance(value, bool) or not isinstance(value, numbers.Integral):
        raise RequestError(f"`k` should be a positive integer. Received: a {type(value).__name__}")
    number = int(value)
    if number < 1:
        received = f"k = {number}" if number >= _SMALLEST_SHOWN else "a number far below 0"
        raise RequestError(f"`k` should be a positive integer. Received: {received}")
    return number


def _boolean(value: object) -> bool:
    if not isinstance(value, bool | np.bool_):
        raise RequestError(f"`recommend_seen` should be true or false. Received: a {type(value).__name__}")
    return bool(value)


def _candidate_ids(values: object) -> tuple[str, ...]:
    unique: dict[str, None] = {}
    for place, value in enumerate(_values("candidate_ids", values)):
        if not isinstance(value, str) or not value:
            received = "an empty text" if isinstance(value, str) else type(value).__name__
            raise RequestError(f"`candidate_ids[{place}]` should be a product handle or GID. Received: {received}")
        try:
            value.encode()  # an id that is not in the catalogue comes back in the answer, which must be sendable
        except UnicodeEncodeError:
            raise RequestError(
                f"`candidate_ids[{place}]` should be a product handle or GID. Received: half of a character"
            ) from None
        unique[str(value)] = None  # NumPy has texts of its own
    return tuple(unique)
