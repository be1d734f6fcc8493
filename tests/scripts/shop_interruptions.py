"""Stops a command at one of its requests, as Ctrl-C would."""

import contextlib
from collections.abc import Iterator
from unittest import mock

import requests


@contextlib.contextmanager
def interrupted_at(number: int, after: bool = False) -> Iterator[None]:
    """Raises KeyboardInterrupt at the request with this number (the first is 1).

    Args:
        number: Of the request.
        after: Whether the server has carried it out by then; else it is never sent.
    """
    send, seen = requests.Session.send, 0

    def counted(*args, **kwargs):
        nonlocal seen
        seen += 1
        if seen == number and not after:
            raise KeyboardInterrupt
        answer = send(*args, **kwargs)
        if seen == number:
            raise KeyboardInterrupt
        return answer

    with mock.patch.object(requests.Session, "send", counted):
        yield
