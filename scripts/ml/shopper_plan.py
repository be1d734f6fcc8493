"""When shoppers shop: how many sessions each user has, how long they are, and the time of every step."""

from dataclasses import dataclass
from datetime import UTC, datetime

import numpy as np
from numpy.typing import NDArray

from scripts.ml.interaction_rules import ShopperParameters

_DAY = 86_400


@dataclass(frozen=True)
class Plan:
    """Times of all steps, user after user, in order of time.

    Attributes:
        offsets: (U + 1,) int64, steps of user u are offsets[u]:offsets[u + 1].
        start: (N,) bool, the step starts a session.
        timestamp: (N,) int64, UNIX seconds, strictly increasing for each user.
    """

    offsets: NDArray[np.int64]
    start: NDArray[np.bool_]
    timestamp: NDArray[np.int64]


def most_sessions(parameters: ShopperParameters, days: int) -> int:
    """Returns how many sessions fit in the observation, at most `max_sessions`."""
    longest = parameters.max_session_length * parameters.max_seconds_between_products / _DAY
    if parameters.min_days_between_sessions <= 2 * longest:
        raise ValueError(
            "`min_days_between_sessions` should be over twice the longest session. "
            f"Received: {parameters.min_days_between_sessions} days, with sessions of up to {longest:.2f} days"
        )
    return min(parameters.max_sessions, int((days - 1) / parameters.min_days_between_sessions) + 1)


def draw_plan(parameters: ShopperParameters, users: int, days: int, rng: np.random.Generator) -> Plan:
    """Draws the sessions of `users` users within `days` days.

    Sessions come at random times (their gaps are exponential, given their number, beyond the shortest gap), moved to
    the busy hours of their day. The observation ends in the middle of every user's last session.
    """
    most = most_sessions(parameters, days)
    sessions = np.exp(rng.normal(np.log(parameters.median_sessions), parameters.sessions_sigma, users))
    sessions = np.clip(np.rint(sessions), min(parameters.min_sessions, most), most).astype(np.int64)
    session_offsets = np.concatenate([[0], np.cumsum(sessions)])
    user = np.repeat(np.arange(users), sessions)

    shortest, longest = parameters.min_session_length, parameters.max_session_length
    share = (parameters.mean_session_length - shortest) / max(longest - shortest, 1)
    length = shortest + rng.binomial(longest - shortest, share, len(user))
    last = session_offsets[1:] - 1
    before = np.add.reduceat(length, session_offsets[:-1]) - length[last]
    length[last] = np.maximum(rng.integers(1, length[last] + 1), parameters.min_interactions - before)

    first = _session_times(parameters, sessions, session_offsets, days, rng)
    step_offsets = np.concatenate([[0], np.cumsum(length)])
    total = int(step_offsets[-1])
    start = np.zeros(total, bool)
    start[step_offsets[:-1]] = True
    pause = rng.exponential(parameters.mean_seconds_between_products - parameters.min_seconds_between_products, total)
    pause = np.minimum(parameters.min_seconds_between_products + pause, parameters.max_seconds_between_products)
    elapsed = np.cumsum(np.where(start, 0, pause.astype(np.int64)))
    timestamp = np.repeat(first - elapsed[step_offsets[:-1]], length) + elapsed
    return Plan(offsets=step_offsets[session_offsets], start=start, timestamp=timestamp)


def _session_times(
    parameters: ShopperParameters,
    sessions: NDArray[np.int64],
    offsets: NDArray[np.int64],
    days: int,
    rng: np.random.Generator,
) -> NDArray[np.int64]:
    """Returns the UNIX time of the start of every session."""
    gap = parameters.min_days_between_sessions
    free = days - 1 - gap * (sessions - 1)  # days beyond the shortest gaps; the last day is room for the session itself
    spacing = rng.exponential(size=len(offsets) - 1 + offsets[-1])  # one more than sessions for each user: the rest
    ends = offsets[1:] + np.arange(1, len(offsets))
    begins = offsets[:-1] + np.arange(len(offsets) - 1)
    cumulative = np.cumsum(spacing)
    base = np.where(begins > 0, cumulative[begins - 1], 0.0)
    width = cumulative[ends - 1] - base
    is_session = np.ones(len(spacing), bool)
    is_session[ends - 1] = False
    position = (cumulative[is_session] - np.repeat(base, sessions)) / np.repeat(width, sessions)
    number = np.arange(offsets[-1]) - np.repeat(offsets[:-1], sessions)
    day = position * np.repeat(free, sessions) + gap * number

    # Within the day, through the inverse of the cumulated activity: monotone, so that order and whole days are kept.
    activity = np.concatenate([[0.0], np.cumsum(parameters.hourly_activity)])
    whole, fraction = np.divmod(day, 1.0)
    hour = np.interp(fraction, activity / activity[-1], np.linspace(0.0, 1.0, len(activity)))
    epoch = int(datetime.fromisoformat(parameters.first_day).replace(tzinfo=UTC).timestamp())
    return epoch + ((whole + hour) * _DAY).astype(np.int64)
