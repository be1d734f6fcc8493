"""The time, as it is written into notes and answers."""

from datetime import UTC, datetime


def utc_now() -> str:
    """Returns the time to the second: ISO 8601, UTC."""
    return datetime.now(UTC).isoformat(timespec="seconds")
