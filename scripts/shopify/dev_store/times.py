"""Times as Shopify writes and reads them."""

from datetime import UTC, datetime


def utc_text(seconds: float) -> str:
    """Returns UNIX seconds as ISO 8601, to the second, in UTC."""
    return datetime.fromtimestamp(int(seconds), UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def parse_time(text: str) -> float:
    """Returns an ISO 8601 time in UNIX seconds; without a zone it is UTC, which the shop's own zone is.

    Raises:
        ValueError: It is none.
    """
    moment = datetime.fromisoformat(text)
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
