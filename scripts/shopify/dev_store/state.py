"""What the local shop holds: JSON documents under GIDs, and links between them, in one SQLite file."""

import json
import re
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

Document = dict[str, Any]

SCHEMA_VERSION = 1
_GID = re.compile(r"gid://shopify/([A-Za-z]+)/([1-9][0-9]{0,17})")
_CHUNK = 500
_TABLES = """
CREATE TABLE documents (
    kind TEXT NOT NULL, number INTEGER NOT NULL, key TEXT, body TEXT NOT NULL,
    PRIMARY KEY (kind, number), UNIQUE (kind, key)
) WITHOUT ROWID;
CREATE TABLE counters (kind TEXT PRIMARY KEY, last INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE links (
    position INTEGER PRIMARY KEY AUTOINCREMENT, name TEXT NOT NULL, parent TEXT NOT NULL, child TEXT NOT NULL,
    UNIQUE (name, parent, child)
);
CREATE INDEX links_by_parent ON links (parent, name, position);
CREATE INDEX links_by_child ON links (child, name, position);
"""


class StateError(RuntimeError):
    """The file cannot be used as a shop's state."""


def gid(kind: str, number: int) -> str:
    """Returns the global id of an object, as in `gid://shopify/Product/12`."""
    return f"gid://shopify/{kind}/{number}"


def split_gid(gid: str) -> tuple[str, int]:
    """Returns kind and number of a global id.

    Raises:
        ValueError: It is not of the form gid://shopify/KIND/NUMBER.
    """
    found = _GID.fullmatch(gid)
    if found is None:
        raise ValueError(f"a global id should be of the form gid://shopify/Product/12. Received: {gid!r}")
    return found[1], int(found[2])


class State:
    """Documents and links of one shop; safe to use from several threads.

    A document is a JSON object whose `id` is its GID. It may have a key that is unique in its kind (the handle of a
    product, `type/handle` of a metaobject). Links are ordered pairs of GIDs under a name: `collection` from collection
    to product, `publication` from publication to product or collection.

    Args:
        path: SQLite file, made where it is missing, or `:memory:`.

    Raises:
        StateError: The file is of something else, of another version, or in use by another process.
    """

    def __init__(self, path: str | Path = ":memory:"):
        self.path = str(path)
        self.lock = threading.RLock()
        self._depth = 0
        try:
            self._sql = sqlite3.connect(self.path, isolation_level=None, check_same_thread=False, timeout=0.2)
            # One process owns the file; a second one gets `database is locked` instead of a stale bucket and log.
            self._sql.execute("PRAGMA locking_mode = EXCLUSIVE")
            self._sql.execute("PRAGMA journal_mode = WAL")
            self._sql.execute("PRAGMA synchronous = NORMAL")
            (version,) = self._sql.execute("PRAGMA user_version").fetchone()
            tables = {name for (name,) in self._sql.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
            if version == 0 and not tables:
                self._create()
            elif version != SCHEMA_VERSION or not {"documents", "counters", "links"} <= tables:
                raise StateError(f"{self.path} holds no local shop of version {SCHEMA_VERSION}; give another path")
            self._sql.execute("BEGIN IMMEDIATE")
            self._sql.execute("COMMIT")
        except sqlite3.OperationalError as error:
            raise StateError(
                f"{self.path} cannot be opened ({error}): is another local shop running on it, or its folder missing?"
            ) from error
        except sqlite3.DatabaseError as error:
            raise StateError(f"{self.path} is not a SQLite file ({error}); give another path") from error

    def _create(self) -> None:
        self._sql.executescript(f"BEGIN; {_TABLES} PRAGMA user_version = {SCHEMA_VERSION}; COMMIT;")
        with self.transaction():
            shop = {"name": "Local development shop", "myshopifyDomain": "local-dev-store.myshopify.com"}
            shop |= {"email": "owner@example.com", "createdAt": "2026-01-01T00:00:00Z"}
            self.insert("Shop", {**shop, "currencyCode": "USD", "ianaTimezone": "Etc/UTC"})
            self.insert("Publication", {"autoPublish": False, "catalog": None})
            for number, (handle, title) in enumerate((("pos", "Point of Sale"), ("online_store", "Online Store")), 1):
                app = {"id": gid("App", number), "handle": handle, "title": title}
                catalog = {"__typename": "AppCatalog", "id": gid("AppCatalog", number), "title": title}
                self.insert("Publication", {"autoPublish": False, "catalog": {**catalog, "apps": [app]}})

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """Holds the lock; commits at the outermost exit, takes back what was written inside on an exception."""
        with self.lock:
            level = self._depth
            self._sql.execute("BEGIN" if level == 0 else f"SAVEPOINT level_{level}")
            self._depth += 1
            try:
                yield
            except BaseException:
                self._sql.execute("ROLLBACK" if level == 0 else f"ROLLBACK TO level_{level}")
                raise
            else:
                if level == 0:
                    self._sql.execute("COMMIT")
            finally:
                self._depth -= 1
                if level:
                    self._sql.execute(f"RELEASE level_{level}")

    def insert(self, kind: str, document: Document, key: str | None = None) -> Document:
        """Stores a new document under the next number of its kind.

        Args:
            kind: Name of its type, as in `Product`.
            document: JSON object; gets its `id`.
            key: Unique key in the kind, if it has one.

        Returns:
            The document.

        Raises:
            sqlite3.IntegrityError: The kind has this key already; nothing was stored.
        """
        with self.lock:
            if not self._depth:
                with self.transaction():
                    return self.insert(kind, document, key)
            (number,) = self._sql.execute(
                "INSERT INTO counters VALUES (?, 1) ON CONFLICT (kind) DO UPDATE SET last = last + 1 RETURNING last",
                (kind,),
            ).fetchone()
            document["id"] = gid(kind, number)
            self._sql.execute("INSERT INTO documents VALUES (?, ?, ?, ?)", (kind, number, key, _dump(document)))
            return document

    def get(self, gid: str) -> Document | None:
        """Returns the document under a GID; None where there is none or the GID is malformed."""
        try:
            kind_number = split_gid(gid)
        except ValueError:
            return None
        with self.lock:
            row = self._sql.execute("SELECT body FROM documents WHERE kind = ? AND number = ?", kind_number).fetchone()
        return json.loads(row[0]) if row else None

    def exists(self, gid: str) -> bool:
        """Says whether there is a document under a GID, without reading it."""
        try:
            kind_number = split_gid(gid)
        except ValueError:
            return False
        with self.lock:
            query = "SELECT 1 FROM documents WHERE kind = ? AND number = ?"
            return self._sql.execute(query, kind_number).fetchone() is not None

    def find(self, kind: str, key: str) -> Document | None:
        """Returns the document of a kind that has this key."""
        with self.lock:
            row = self._sql.execute("SELECT body FROM documents WHERE kind = ? AND key = ?", (kind, key)).fetchone()
        return json.loads(row[0]) if row else None

    def put(self, document: Document, key: str | None = None) -> None:
        """Replaces the document that has this document's `id`.

        Args:
            document: The whole new document.
            key: New key; None keeps the old one.

        Raises:
            KeyError: There is none to replace.
            sqlite3.IntegrityError: Another document has the key.
        """
        kind, number = split_gid(document["id"])
        with self.lock:
            done = self._sql.execute(
                "UPDATE documents SET body = ?, key = coalesce(?, key) WHERE kind = ? AND number = ?",
                (_dump(document), key, kind, number),
            )
        if not done.rowcount:
            raise KeyError(document["id"])

    def delete(self, gid: str) -> bool:
        """Removes a document with its links, from it and to it; returns whether there was one."""
        kind, number = split_gid(gid)
        with self.transaction():
            done = self._sql.execute("DELETE FROM documents WHERE kind = ? AND number = ?", (kind, number))
            self._sql.execute("DELETE FROM links WHERE child = ?", (gid,))
            self._sql.execute("DELETE FROM links WHERE parent = ?", (gid,))
            return bool(done.rowcount)

    def scan(
        self,
        kind: str,
        after: int = 0,
        limit: int | None = None,
        *,
        reverse: bool = False,
        before: int | None = None,
    ) -> Iterator[Document]:
        """Yields the documents of a kind in the order of their numbers, a few hundred in memory at a time.

        Documents may be changed meanwhile; one that is added or deleted may or may not be met.

        Args:
            kind: Name of the type.
            after: Only numbers above this one.
            limit: At most so many.
            reverse: Highest number first.
            before: Only numbers below this one.
        """
        low, high = after, 2**62 if before is None else before
        query = "SELECT number, body FROM documents WHERE kind = ? AND number > ? AND number < ? ORDER BY number"
        query += " DESC LIMIT ?" if reverse else " LIMIT ?"
        while limit is None or limit > 0:
            size = _CHUNK if limit is None else min(_CHUNK, limit)
            with self.lock:
                rows = self._sql.execute(query, (kind, low, high, size)).fetchall()
            for _, body in rows:
                yield json.loads(body)
            if len(rows) < size:
                return
            low, high = (low, rows[-1][0]) if reverse else (rows[-1][0], high)
            limit = None if limit is None else limit - len(rows)

    def count(self, kind: str) -> int:
        """Returns how many documents of a kind there are."""
        with self.lock:
            return self._sql.execute("SELECT count(*) FROM documents WHERE kind = ?", (kind,)).fetchone()[0]

    def link(self, name: str, parent: str, child: str) -> None:
        """Links two GIDs; a link that exists keeps its place."""
        with self.lock:
            self._sql.execute(
                "INSERT OR IGNORE INTO links (name, parent, child) VALUES (?, ?, ?)", (name, parent, child)
            )

    def unlink(self, name: str, parent: str, child: str) -> bool:
        """Removes a link; returns whether there was one."""
        with self.lock:
            query = "DELETE FROM links WHERE name = ? AND parent = ? AND child = ?"
            return bool(self._sql.execute(query, (name, parent, child)).rowcount)

    def linked(self, name: str, parent: str, child: str) -> bool:
        """Says whether two GIDs are linked."""
        with self.lock:
            query = "SELECT 1 FROM links WHERE name = ? AND parent = ? AND child = ?"
            return self._sql.execute(query, (name, parent, child)).fetchone() is not None

    def children(self, name: str, parent: str) -> list[str]:
        """Returns the GIDs that a GID links to, in the order of linking."""
        with self.lock:
            query = "SELECT child FROM links WHERE name = ? AND parent = ? ORDER BY position"
            return [child for (child,) in self._sql.execute(query, (name, parent))]

    def parents(self, name: str, child: str) -> list[str]:
        """Returns the GIDs that link to a GID, in the order of linking."""
        with self.lock:
            query = "SELECT parent FROM links WHERE name = ? AND child = ? ORDER BY position"
            return [parent for (parent,) in self._sql.execute(query, (name, child))]

    def close(self) -> None:
        """Closes the file."""
        with self.lock:
            self._sql.close()


def _dump(document: Document) -> str:
    return json.dumps(document, ensure_ascii=False, separators=(",", ":"))
