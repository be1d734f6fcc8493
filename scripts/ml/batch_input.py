"""Brings the shoppers of a batch into the one form that both engines read: sorted, each once, without nulls."""

from collections.abc import Iterator
from pathlib import Path

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq

from serving.batch import SHOPPERS, BatchError
from serving.bundle import Bundle

NO_USER_ID = "`userId` should be text. Received: null or an empty text"
REPEATED = "`userId` should be there once. Received: another row of this shopper further down, which counts"

# What a column may hold. Numbers become text, from which the same number is read again.
_TYPES = {
    "userId": ("VARCHAR",),
    "items": ("VARCHAR[]",),
    "timestamps": ("VARCHAR[]", "DOUBLE[]", "BIGINT[]", "INTEGER[]", "UBIGINT[]", "UINTEGER[]"),
}
_EVENTS = ("items", "timestamps")
# The first row of the file is 1. A value that is null is no product and no time, as an empty text.
_GIVEN = """
    SELECT file_row_number + 1 AS row, "userId", {lists}
    FROM read_parquet(?, file_row_number = true)
"""
_LIST = """coalesce(list_transform("{name}", lambda x: coalesce(CAST(x AS VARCHAR), '')), []) AS "{name}" """
_NO_LIST = """CAST([] AS VARCHAR[]) AS "{name}" """
_LAST = """SELECT max(row) AS row FROM given WHERE "userId" <> '' GROUP BY "userId" """


def stage_known(bundle: Bundle, path: Path) -> int:
    """Writes all shoppers whose events the bundle stores, without events of their own; returns how many."""
    users = sorted(bundle.events.row_of_user)
    table = pa.table(
        {
            "row": pa.nulls(len(users), pa.int64()),
            "userId": pa.array(users, pa.string()),
            **{name: pa.array([[]] * len(users), pa.list_(pa.string())) for name in _EVENTS},
        },
        schema=SHOPPERS,
    )
    pq.write_table(table, path)
    return len(users)


class GivenShoppers:
    """A file of shoppers: Parquet with `userId` and, if they come with events, `items` and `timestamps`.

    DuckDB sorts it on disk where memory does not suffice.
    """

    def __init__(self, file: Path, scratch: Path) -> None:
        """Opens the file.

        Args:
            file: Parquet file; timestamps are text or numbers.
            scratch: Folder for what does not fit into memory.

        Raises:
            BatchError: There is no such file, it is not Parquet, or a column is missing or of another type.
        """
        if not file.is_file():
            raise BatchError(f"`shoppers` should be a Parquet file. Received: {file}")
        self._file = file
        self._connection = duckdb.connect(config={"temp_directory": str(scratch)})
        try:
            found = {name: kind for name, kind, *_ in self._query("DESCRIBE SELECT * FROM read_parquet(?)")}
        except duckdb.Error as error:
            raise BatchError(f"{file} is no readable Parquet file: {str(error).splitlines()[0]}") from error
        self._check(found)
        with_events = _EVENTS[0] in found
        lists = ", ".join((_LIST if with_events else _NO_LIST).format(name=name) for name in _EVENTS)
        self._given = _GIVEN.format(lists=lists)

    def _check(self, found: dict[str, str]) -> None:
        wanted = ["userId", *(_EVENTS if set(_EVENTS) & set(found) else ())]
        if missing := [name for name in wanted if name not in found]:
            raise BatchError(
                f"{self._file} should have the column userId, and items and timestamps both or neither. "
                f"Missing: {', '.join(missing)}. Received: {', '.join(found)}"
            )
        for name in wanted:
            if found[name] not in _TYPES[name]:
                raise BatchError(
                    f"{self._file}: `{name}` should be {' or '.join(_TYPES[name])}. Received: {found[name]}"
                )

    def _query(self, sql: str) -> list[tuple]:
        return self._connection.execute(sql, [str(self._file)]).fetchall()

    def stage(self, path: Path) -> int:
        """Writes the shoppers, sorted, the last row of each; returns how many.

        Raises:
            BatchError: The file cannot be read to its end.
        """
        try:
            self._query(
                f"""COPY (WITH given AS ({self._given}) SELECT * FROM given SEMI JOIN ({_LAST}) USING (row)
                ORDER BY "userId") TO '{_quoted(path)}' (FORMAT parquet)"""
            )
        except duckdb.Error as error:
            raise BatchError(f"{self._file} cannot be read: {str(error).splitlines()[0]}") from error
        return pq.read_metadata(path).num_rows

    def rejected(self) -> Iterator[tuple[int, str | None, str]]:
        """Yields row, user id and reason of the rows that `stage` leaves out, in the file's order."""
        cursor = self._connection.execute(
            f"""WITH given AS (SELECT file_row_number + 1 AS row, "userId" FROM read_parquet(?, file_row_number = true))
            SELECT row, "userId" FROM given ANTI JOIN ({_LAST}) USING (row) ORDER BY row""",
            [str(self._file)],
        )
        while rows := cursor.fetchmany(10_000):
            for row, user_id in rows:
                yield row, user_id, REPEATED if user_id else NO_USER_ID

    def close(self) -> None:
        """Closes the file."""
        self._connection.close()


def _quoted(path: Path) -> str:
    return str(path).replace("'", "''")
