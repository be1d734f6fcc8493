"""Pages of a connection as Shopify cuts them: `first`/`after`, `last`/`before`, `reverse`, opaque cursors.

A cursor holds the object's number and sort value, never an offset, so that a page stays right while objects come and
go, and costs no more at the end of a large shop than at its start.
https://shopify.dev/docs/api/usage/pagination-graphql
"""

import base64
import json
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import islice, pairwise
from typing import Any, Protocol

from graphql import GraphQLError, GraphQLResolveInfo

from scripts.shopify.dev_store.state import State, split_gid

MAX_PAGE = 250
"""Nodes that one page may have at most."""

Position = tuple[Any, float]
"""Sort value and number of an object; ascending in the order of the connection."""


class Source(Protocol):
    """What a connection is cut from."""

    def walk(
        self, low: Position | None, high: Position | None, descending: bool, wanted: int | None
    ) -> Iterator[tuple[Position, Any]]:
        """Yields items strictly between `low` and `high` with their positions; no more than `wanted` will be taken."""
        ...

    def load(self, item: Any) -> Mapping[str, Any]:
        """Returns the node of what `walk` yielded."""
        ...

    def locate(self, value: Any, number: int) -> Position:
        """Returns the position of a decoded cursor; raises ValueError on one of another sort order."""
        ...


class Scanned:
    """All objects of a kind in the order of their numbers, read from the state a page at a time.

    Args:
        state: The store's state.
        kind: As in `State.scan`.
        keep: Says whether an object belongs; None keeps all.
    """

    def __init__(self, state: State, kind: str, keep: Callable[[Mapping[str, Any]], bool] | None = None):
        self._state, self._kind, self._keep = state, kind, keep

    def walk(
        self, low: Position | None, high: Position | None, descending: bool, wanted: int | None
    ) -> Iterator[tuple[Position, Any]]:
        """See `Source.walk`."""
        bounds: dict[str, Any] = {"reverse": descending, "limit": wanted or MAX_PAGE}
        if low is not None:
            bounds["after"] = int(low[1])
        if high is not None:
            bounds["before"] = int(high[1])
        while True:
            chunk = list(self._state.scan(self._kind, **bounds))
            for document in chunk:
                number = split_gid(document["id"])[1]
                bounds["before" if descending else "after"] = number
                if self._keep is None or self._keep(document):
                    yield (number, number), document
            if len(chunk) < bounds["limit"]:
                return
            bounds["limit"] = min(4000, 2 * bounds["limit"])  # a rare match is far away

    def load(self, item: Any) -> Mapping[str, Any]:
        """See `Source.load`."""
        return item

    def locate(self, value: Any, number: int) -> Position:
        """See `Source.locate`."""
        return value, number


class Listed:
    """A list that is at hand: nested nodes in their own order, or any nodes in the order of a sort key.

    Args:
        items: Nodes, or their ids.
        key: Sort value of an item, a text; None keeps the order of the list.
        load: Returns the node of an item; called only for the items on the page.
    """

    def __init__(
        self,
        items: Sequence[Any],
        key: Callable[[Any], str] | None = None,
        load: Callable[[Any], Mapping[str, Any]] | None = None,
    ):
        numbers = [_number(item, index) for index, item in enumerate(items)]
        if key is not None:
            entries = [((key(item), number), item) for number, item in zip(numbers, items, strict=True)]
            entries.sort(key=lambda entry: entry[0])
        else:
            # The number says best where a page goes on when nodes have gone meanwhile; else the place in the list.
            in_order = all(low < high for low, high in pairwise(numbers))
            places = numbers if in_order else range(len(numbers))
            entries = [((place, number), item) for place, number, item in zip(places, numbers, items, strict=True)]
        self._positions: list[Position] = [position for position, _ in entries]
        self._items = [item for _, item in entries]
        self._sorted, self._load = key is not None, load

    def walk(
        self, low: Position | None, high: Position | None, descending: bool, wanted: int | None
    ) -> Iterator[tuple[Position, Any]]:
        """See `Source.walk`."""
        start = 0 if low is None else bisect_right(self._positions, low)
        stop = len(self._positions) if high is None else bisect_left(self._positions, high)
        indices = range(start, stop)
        for index in reversed(indices) if descending else indices:
            yield self._positions[index], self._items[index]

    def load(self, item: Any) -> Mapping[str, Any]:
        """See `Source.load`."""
        return item if self._load is None else self._load(item)

    def locate(self, value: Any, number: int) -> Position:
        """See `Source.locate`."""
        if not isinstance(value, str if self._sorted else int):
            raise ValueError(f"cursor of another sort order: {value!r}")
        if self._sorted:
            return value, number
        same = (position for position in self._positions if position[1] == number)
        return next(same, (value - 0.5, number))  # where it is gone: go on where it was


def connection(
    source: Source | Sequence[Any],
    *,
    first: int | None = None,
    after: str | None = None,
    last: int | None = None,
    before: str | None = None,
    reverse: bool = False,
    limit: int | None = MAX_PAGE,
) -> dict[str, Any]:
    """Returns one page of a connection.

    Args:
        source: Where the nodes come from; a plain list is a `Listed` in its own order.
        first: Nodes from the start (or from `after`).
        after: Cursor that the page comes after.
        last: Nodes from the end (or before `before`).
        before: Cursor that the page comes before.
        reverse: Turn the order around.
        limit: Nodes a page at most; None also allows neither `first` nor `last`, as in a bulk query.

    Returns:
        `{nodes, edges: [{node, cursor}], pageInfo: {hasNextPage, hasPreviousPage, startCursor, endCursor}}`.

    Raises:
        GraphQLError: Code BAD_REQUEST: no size, two sizes, a size below 0 or above `limit`, or a cursor that is none.
    """
    _check_size(first, last, limit)
    source = Listed(source) if isinstance(source, Sequence) else source
    begin, end = (None if text is None else _decode(text, source) for text in (after, before))
    size, backward = (last, True) if last is not None else (first, False)
    low, high = (end, begin) if reverse else (begin, end)
    wanted = None if size is None else size + 1
    found = list(islice(source.walk(low, high, reverse != backward, wanted), wanted))
    more = size is not None and len(found) > size
    found = found[:size]
    if backward:
        found.reverse()
        has_next, has_previous = end is not None and _any_beyond(source, end, not reverse), more
    else:
        has_next, has_previous = more, begin is not None and _any_beyond(source, begin, reverse)
    edges = [{"node": source.load(item), "cursor": _encode(position)} for position, item in found]
    return {
        "nodes": [edge["node"] for edge in edges],
        "edges": edges,
        "pageInfo": {
            "hasNextPage": has_next,
            "hasPreviousPage": has_previous,
            "startCursor": edges[0]["cursor"] if edges else None,
            "endCursor": edges[-1]["cursor"] if edges else None,
        },
    }


def page(info: GraphQLResolveInfo, source: Source | Sequence[Any], arguments: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the page that the arguments of a connection field ask for.

    Args:
        info: Of the resolver. Where its context has a true `unpaged` (a bulk query), a page may have any size, and all
            nodes come where the field has neither `first` nor `last`.
        source: As in `connection`.
        arguments: Of the resolver; those that are not about paging are ignored.
    """
    names = ("first", "after", "last", "before")
    wanted = {name: arguments.get(name) for name in names}
    limit = None if getattr(info.context, "unpaged", False) else MAX_PAGE
    return connection(source, **wanted, reverse=bool(arguments.get("reverse")), limit=limit)


def _check_size(first: int | None, last: int | None, limit: int | None) -> None:
    if first is None and last is None and limit is not None:
        raise _bad_request("you must provide one of first or last")
    if first is not None and last is not None:
        raise _bad_request("providing both first and last is not supported")
    for name, size in (("first", first), ("last", last)):
        if size is not None and size < 0:
            raise _bad_request(f"{name} cannot be less than 0. Received: {size}")
        if size is not None and limit is not None and size > limit:
            raise _bad_request(f"{name} cannot be greater than {limit}. Received: {size}")


def _bad_request(message: str) -> GraphQLError:
    return GraphQLError(message, extensions={"code": "BAD_REQUEST"})


def _number(item: Any, index: int) -> int:
    gid = item if isinstance(item, str) else item.get("id")
    return index if gid is None else split_gid(gid)[1]


def _any_beyond(source: Source, edge: Position, upward: bool) -> bool:
    """Whether there is anything at or past the cursor, on the side that the page is not on."""
    value, number = edge
    low, high = ((value, number - 1), None) if upward else (None, (value, number + 1))
    return next(source.walk(low, high, not upward, 1), None) is not None


def _encode(position: Position) -> str:
    value, number = position
    return base64.b64encode(json.dumps({"last_id": number, "last_value": value}).encode()).decode()


def _decode(cursor: str, source: Source) -> Position:
    try:
        fields = json.loads(base64.b64decode(cursor, validate=True))
        number = fields["last_id"]
        if not isinstance(number, int):
            raise ValueError("`last_id` should be an integer")
        return source.locate(fields["last_value"], number)
    except (ValueError, KeyError, TypeError):
        raise _bad_request("Invalid cursor for current pagination sort.") from None
