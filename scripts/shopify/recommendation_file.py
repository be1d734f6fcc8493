"""Reads files of recommendations, `userId` and `itemIds` a row, as the model answers them (contract 5)."""

import json
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from scripts.shopify.shopper_ids import ShopperIds

USER_ID: Final = "userId"
ITEM_IDS: Final = "itemIds"
HANDLE: Final = "handle"
PRODUCTS: Final = "products"
ROW: Final = "row"
SHOPPER_SCHEMA: Final = pl.Schema({ROW: pl.Int64, HANDLE: pl.String, PRODUCTS: pl.List(pl.Int64)})

_PRODUCT = re.compile(r"gid://shopify/Product/([1-9][0-9]{0,17})")
_BATCH = 4_096  # rows of a Parquet file in memory at a time
_CHUNK = 20_000  # shoppers gathered as Python objects before they become columns
_SHOWN = 10  # problems that are kept word for word


class RecommendationFileError(ValueError):
    """A file that cannot be used as recommendations."""


@dataclass(frozen=True)
class Recommendations:
    """What a file holds; rows == len(shoppers) + bad + repeated.

    Attributes:
        shoppers: Columns of `SHOPPER_SCHEMA`: number of the row in the file (the first is 1), handle of the shopper's
            metaobject, numbers of the products, best first, each once.
        rows: Rows in the file, without empty lines.
        bad: Rows that cannot be used.
        problems: The first of them, in words.
        repeated: Rows of a shopper who has another one further down, which counts.
    """

    shoppers: pl.DataFrame
    rows: int
    bad: int
    problems: tuple[str, ...]
    repeated: int


def read_recommendations(path: str | os.PathLike[str], ids: ShopperIds, keep: int) -> Recommendations:
    """Reads recommendations batch by batch; what stays in memory is some 100 bytes a shopper and 8 a product.

    Args:
        path: Parquet file (`.parquet`), a folder of them, as `scripts.ml.score_inventory` or Spark writes it, or one
            JSON object a line (`.jsonl`, `.ndjson`); with `userId` and `itemIds`, a list of `gid://shopify/Product/N`;
            other columns are not read. Rows of a folder are numbered through, in the order of the files' names.
        ids: Makes the handles.
        keep: Products a shopper that are kept at most.

    Raises:
        RecommendationFileError: There is no such file, it is unreadable, or lacks a column.
    """
    chunks: list[pl.DataFrame] = []
    waiting: list[tuple[int, str, list[int]]] = []
    rows = bad = 0
    problems: list[str] = []
    for number, record in _records(Path(path)):
        rows += 1
        try:
            user_id, products = _checked(record)
        except ValueError as error:
            bad += 1
            if len(problems) < _SHOWN:
                problems.append(f"row {number}: {error}")
            continue
        waiting.append((number, ids.handle_of(user_id), list(products)[:keep]))
        if len(waiting) >= _CHUNK:
            chunks.append(pl.DataFrame(waiting, schema=SHOPPER_SCHEMA, orient="row"))
            waiting = []
    chunks.append(pl.DataFrame(waiting, schema=SHOPPER_SCHEMA, orient="row"))
    every = pl.concat(chunks)
    repeated = len(every) - every[HANDLE].n_unique()
    shoppers = every.unique(HANDLE, keep="last", maintain_order=True) if repeated else every
    return Recommendations(shoppers, rows, bad, tuple(problems), repeated)


def _records(path: Path) -> Iterator[tuple[int, Any]]:
    """Yields the number of a row, and the row as a dict or the ValueError that reading it gave."""
    if path.is_dir():
        yield from enumerate((record for part in _parts(path) for record in _parquet_records(part)), start=1)
    elif not path.is_file():
        raise RecommendationFileError(f"`input` should be a file of recommendations. Received: {path}")
    elif path.suffix == ".parquet":
        yield from enumerate(_parquet_records(path), start=1)
    elif path.suffix in (".jsonl", ".ndjson"):
        with path.open("rb") as stream:
            for number, line in enumerate(stream, start=1):
                if line.strip():
                    try:
                        yield number, json.loads(line)
                    except (ValueError, RecursionError):
                        yield number, ValueError("is no JSON object")
    else:
        raise RecommendationFileError(f"`input` should end with .parquet, .jsonl or .ndjson. Received: {path}")


def _parts(folder: Path) -> list[Path]:
    """Parquet files of a folder; like all readers of such folders, without those that begin with _ or a dot."""
    if (folder / "_temporary").exists():
        raise RecommendationFileError(f"{folder} is not complete: Spark was stopped, or still writes it")
    parts = sorted(path for path in folder.glob("*.parquet") if not path.name.startswith(("_", ".")))
    if not parts:
        raise RecommendationFileError(f"{folder} should hold Parquet files of recommendations. Received: none")
    return parts


def _parquet_records(path: Path) -> Iterator[Any]:
    try:
        with pq.ParquetFile(path) as file:
            names = file.schema_arrow.names
            if missing := [name for name in (USER_ID, ITEM_IDS) if name not in names]:
                raise RecommendationFileError(
                    f"{path} should have the columns {USER_ID} and {ITEM_IDS}. Missing: {', '.join(missing)}. "
                    f"Received: {', '.join(names)}"
                )
            for batch in file.iter_batches(_BATCH, columns=[USER_ID, ITEM_IDS]):
                yield from batch.to_pylist()
    except (pa.ArrowException, OSError) as error:
        first_line = (str(error).strip().splitlines() or [""])[0]
        raise RecommendationFileError(f"{path} is no readable Parquet file: {first_line}") from error


def _checked(record: Any) -> tuple[str, dict[int, None]]:
    """Returns a row's user id and the numbers of its products, each once; the error never repeats a user id."""
    if isinstance(record, ValueError):
        raise record
    if not isinstance(record, dict):
        raise ValueError(f"should be an object with {USER_ID} and {ITEM_IDS}. Received: {type(record).__name__}")
    user_id, items = record.get(USER_ID), record.get(ITEM_IDS)
    if not isinstance(user_id, str) or not user_id:
        received = "an empty text" if user_id == "" else type(user_id).__name__
        raise ValueError(f"`{USER_ID}` should be text. Received: {received}")
    if user_id.startswith("gid://"):
        raise ValueError(f"`{USER_ID}` should be an opaque id, as export_orders makes it. Received: a GID")
    if not isinstance(items, list):
        raise ValueError(f"`{ITEM_IDS}` should be a list. Received: {type(items).__name__}")
    products: dict[int, None] = {}
    for place, item in enumerate(items):
        match = _PRODUCT.fullmatch(item) if isinstance(item, str) else None
        if match is None:
            raise ValueError(f"`{ITEM_IDS}[{place}]` should be like gid://shopify/Product/123. Received: {item!r:.80}")
        products[int(match[1])] = None
    return user_id, products
