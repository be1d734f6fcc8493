"""Writes what a batch scored: a folder of Parquet parts that is there as a whole, or not at all.

    OUTPUT/part-00000.parquet ...   userId, itemIds, preds, message; rising by userId through all parts
    OUTPUT/_rejected.jsonl          {"row", "userId", "reason"} of each row without an answer; only if there are any
    OUTPUT/_batch.json              what was scored, with what, and how many; tells a result from any other folder

Readers of Parquet folders pass over names that begin with an underscore.
"""

import json
import shutil
from collections.abc import Callable, Generator, Iterable
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from filelock import FileLock, Timeout

from serving.batch import REFUSED, SCORED, BatchError
from training.files import atomic_folder

RESULT: Final = pa.schema([field for field in SCORED if field.name != "row"])
REJECTED: Final = "_rejected.jsonl"
SUMMARY: Final = "_batch.json"
_ROW_GROUP: Final = 8_192  # rows
_PART: Final = 131_072  # rows

Rejection = tuple[int | None, str | None, str]


@dataclass(frozen=True)
class Written:
    """Rows of a result: answered and rejected ones."""

    rows: int
    rejected: int


@contextmanager
def result_folder(output: Path) -> Generator[tuple[Path, Path]]:
    """Yields a new folder for the result and one for work beside it; on success the first becomes `output`.

    A former result stays until the new one is complete. What a killed run has left behind is removed.

    Args:
        output: Folder to write or replace.

    Raises:
        BatchError: `output` is no folder or holds something else than a result, or another run is writing it.
    """
    if output.exists() and not (output.is_dir() and ((output / SUMMARY).is_file() or not any(output.iterdir()))):
        raise BatchError(f"`output` should be a new folder or a former result. Received: {output}, which is neither")
    output.parent.mkdir(parents=True, exist_ok=True)
    lock = FileLock(output.with_name(f".{output.name}.lock"), timeout=0)
    try:
        lock.acquire()
    except Timeout:
        raise BatchError(f"Another run is writing {output}; wait for it, or name another folder") from None
    try:
        work = output.with_name(f".{output.name}.work")
        for leftover in (work, *output.parent.glob(f".{output.name}.*.tmp")):
            shutil.rmtree(leftover, ignore_errors=True)
        work.mkdir()
        try:
            with atomic_folder(output) as folder:
                yield folder, work
        finally:
            shutil.rmtree(work, ignore_errors=True)
    finally:
        lock.release()


def write_result(
    batches: Iterable[pa.RecordBatch],
    rejected: Iterable[Rejection],
    folder: Path,
    expected: int,
    progress: Callable[[int], object] = lambda rows: None,
) -> Written:
    """Writes scored rows as parts, and those without an answer as dead letters.

    Args:
        batches: Of `serving.batch.SCORED`, rising by userId.
        rejected: Rows that were not even scored.
        folder: Empty folder.
        expected: Rows that `batches` should have.
        progress: Told of rows as they are written.

    Raises:
        BatchError: Another number of rows, or another order: the engine has lost or doubled some.
    """
    dead = _DeadLetters(folder / REJECTED)
    parts = _Parts(folder)
    seen, last = 0, ""
    with dead, parts:
        for rejection in rejected:
            dead.write(*rejection)
        for batch in batches:
            users = batch.column("userId").to_pylist()
            if any(after <= before for before, after in zip([last, *users], users, strict=False)):
                raise BatchError("The engine should answer each shopper once and in order. Received: another order")
            last = users[-1] if users else last
            seen += len(users)
            refused = pc.fill_null(pc.starts_with(batch.column("message"), REFUSED), False)
            for row in batch.filter(refused).select(["row", "userId", "message"]).to_pylist():
                dead.write(row["row"], row["userId"], row["message"].removeprefix(REFUSED))
            parts.write(batch.filter(pc.invert(refused)).select(RESULT.names))
            progress(len(users))
    if seen != expected:
        raise BatchError(f"The engine should answer {expected} shoppers. Received: {seen} answers")
    return Written(parts.rows, dead.rows)


def write_summary(summary: dict[str, Any], folder: Path) -> None:
    """Writes `_batch.json`, which makes the folder a result."""
    (folder / SUMMARY).write_text(json.dumps(summary, indent=2, allow_nan=False) + "\n", encoding="utf-8")


class _Parts:
    """Parquet files of `_PART` rows in groups of `_ROW_GROUP`; at least one file, for its columns."""

    def __init__(self, folder: Path) -> None:
        self.rows = 0
        self._folder = folder
        self._waiting: list[pa.RecordBatch] = []
        self._count = self._number = 0
        self._writer: pq.ParquetWriter | None = None

    def __enter__(self) -> "_Parts":
        return self

    def __exit__(self, kind: Any, *_: object) -> None:
        if kind is None and (self._waiting or not self._number):
            self._flush()
        self._close()

    def write(self, batch: pa.RecordBatch) -> None:
        self._waiting.append(batch)
        self.rows += len(batch)
        self._count += len(batch)
        if self._count >= _ROW_GROUP:
            self._flush()

    def _flush(self) -> None:
        if self._writer is None:
            self._writer = pq.ParquetWriter(self._folder / f"part-{self._number:05}.parquet", RESULT)
            self._number += 1
            self._first = self.rows - self._count
        self._writer.write_table(pa.Table.from_batches(self._waiting, RESULT), row_group_size=_ROW_GROUP)
        self._waiting, self._count = [], 0
        if self.rows - self._first >= _PART:
            self._close()

    def _close(self) -> None:
        if self._writer is not None:
            self._writer.close()
            self._writer = None


class _DeadLetters:
    """JSON lines; no file where there are none."""

    def __init__(self, path: Path) -> None:
        self.rows = 0
        self._path = path
        self._stream: Any = None

    def __enter__(self) -> "_DeadLetters":
        return self

    def __exit__(self, *_: object) -> None:
        if self._stream is not None:
            self._stream.close()

    def write(self, row: int | None, user_id: str | None, reason: str) -> None:
        if self._stream is None:
            self._stream = self._path.open("w", encoding="utf-8")
        self._stream.write(json.dumps({"row": row, "userId": user_id, "reason": reason}, ensure_ascii=False) + "\n")
        self.rows += 1
