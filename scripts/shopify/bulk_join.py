"""Puts the lines of a bulk query's result together: each top-level node with the nodes of its connections.

Shopify writes children anywhere in the file, before or far behind their parent, which they name by `__parentId`:
https://shopify.dev/docs/api/usage/bulk-operations/queries#the-jsonl-data-format.
"""

import json
import sqlite3
from collections.abc import Iterable, Iterator, Mapping
from contextlib import closing
from typing import Any

from scripts.shopify.answers import ShopifyError
from scripts.shopify.bulk_documents import Connection

_ORPHANS = """
SELECT parent FROM lines WHERE parent IS NOT NULL AND parent NOT IN (SELECT id FROM lines WHERE id IS NOT NULL) LIMIT 1
"""


def join_lines(
    lines: Iterable[str], root: Connection, connections: Mapping[str, str], root_count: int | None = None
) -> Iterator[dict[str, Any]]:
    """Yields the top-level nodes in the file's order, with their children as paging would show them.

    A query without nested connections is passed through at once. Otherwise nothing is yielded before the whole file
    was read and found consistent; it is kept in a temporary database on disk, so that memory does not grow with it.

    Args:
        lines: Lines of the JSONL file.
        root: The query's top-level connection.
        connections: `__typename` -> name of the connection that such nodes come from; needed only where a node has
            several connections.
        root_count: Top-level nodes that there should be, if known.

    Yields:
        Nodes, in which each connection that the query selects is `{"nodes": [...]}`, empty ones too.

    Raises:
        ShopifyError: Code `BULK_RESULT`: a parent is missing, the count is wrong, or it is unclear which connection a
            node belongs to.
    """
    if not root.inside:
        found = 0
        for line in lines:
            node = parse_line(line)
            if "__parentId" in node:
                raise _error(f"a child of {node['__parentId']}, of which the query selects none")
            found += 1
            yield node
        _check_count(found, root_count)
        return
    with closing(sqlite3.connect("", isolation_level=None)) as database:  # "": a private file, deleted when closed
        database.execute("PRAGMA journal_mode = OFF")
        database.execute("CREATE TABLE lines (number INTEGER PRIMARY KEY, id TEXT, parent TEXT, line TEXT)")
        database.execute("BEGIN")
        database.executemany("INSERT INTO lines (id, parent, line) VALUES (?, ?, ?)", _rows(lines))
        database.execute("CREATE INDEX family ON lines (parent, number)")
        if orphan := database.execute(_ORPHANS).fetchone():
            raise _error(f"a child of {orphan[0]}, which it does not hold itself")
        (found,) = database.execute("SELECT count(*) FROM lines WHERE parent IS NULL").fetchone()
        _check_count(found, root_count)
        for (line,) in database.execute("SELECT line FROM lines WHERE parent IS NULL ORDER BY number"):
            yield _with_children(parse_line(line), root, connections, database)


def parse_line(line: str) -> dict[str, Any]:
    """Returns the JSON object that a line of a result holds; ShopifyError with code `BULK_RESULT` where it is none."""
    try:
        node = json.loads(line)
    except ValueError:
        node = None
    if not isinstance(node, dict):
        raise _error(f"a line that is no JSON object: {line[:80]!r}")
    return node


def _check_count(found: int, root_count: int | None) -> None:
    if root_count not in (None, found):
        raise _error(f"{found} top-level nodes instead of {root_count}")


def _rows(lines: Iterable[str]) -> Iterator[tuple[str | None, str | None, str]]:
    for line in lines:
        node = parse_line(line)
        yield node.get("id"), node.get("__parentId"), line


def _with_children(
    node: dict[str, Any], connection: Connection, connections: Mapping[str, str], database: sqlite3.Connection
) -> dict[str, Any]:
    node.pop("__parentId", None)
    if not connection.inside:
        return node
    if "id" not in node:
        raise _error(f"a node of {connection.name} without the id by which its children name it")
    children: dict[str, list[dict[str, Any]]] = {name: [] for name in connection.inside}
    for (line,) in database.execute("SELECT line FROM lines WHERE parent = ? ORDER BY number", (node["id"],)):
        child = parse_line(line)
        name = connections.get(child.get("__typename", ""), "") if len(children) > 1 else next(iter(children))
        if name not in children:
            raise _error(
                f"a child of {node['id']} with __typename {child.get('__typename')}; `connections` should say which of "
                f"{', '.join(children)} such nodes come from"
            )
        children[name].append(_with_children(child, connection.inside[name], connections, database))
    return {**node, **{name: {"nodes": nodes} for name, nodes in children.items()}}


def _error(what: str) -> ShopifyError:
    return ShopifyError(f"The result of the bulk operation holds {what}", code="BULK_RESULT")
