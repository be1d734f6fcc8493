"""Spark: the session that frames come from, and encoded sequences written by its executors.

PySpark is imported only here and only when Spark is asked for. What the rows are is decided elsewhere, in narwhals.
"""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import narwhals as nw

from training.data.columns import POSITION, TIMESTAMP, USER_ID

PART_ROWS: Final = 1 << 21  # about 20 MB of encoded sequences
ROW_ORDER: Final = (USER_ID, TIMESTAMP, POSITION)
# Spark's own 200 partitions are for a cluster: on one machine, most of the time would go into beginning tasks.
_DEFAULTS: Final = {
    "spark.ui.enabled": "false",
    "spark.app.name": "interactions",
    "spark.sql.shuffle.partitions": "16",
}


def is_spark(frame: Any) -> bool:
    """Returns whether a narwhals frame is a Spark DataFrame, classic or Connect."""
    return frame.implementation in (nw.Implementation.PYSPARK, nw.Implementation.PYSPARK_CONNECT)


def spark_session(settings: Mapping[str, str] | None = None) -> Any:
    """Returns the active session (on Databricks: the notebook's), or a new one.

    Args:
        settings: Of a new session, such as `{"spark.master": "local[2]", "spark.driver.memory": "6g"}`. Of an active
            one, only settings that may change at run time have an effect.
    """
    from pyspark.sql import SparkSession

    builder: Any = SparkSession.builder
    active = SparkSession.getActiveSession()
    for name, value in ((_DEFAULTS if active is None else {}) | dict(settings or {})).items():
        builder = builder.config(name, value)
    return active if active is not None and not settings else builder.getOrCreate()


def location(path: str | os.PathLike[str]) -> str:
    """Returns how Spark is told of a file or folder that this process sees under `path`; a URL stays what it is.

    The scheme keeps it from looking in the cluster's default file system. On Databricks a path of a volume is the same
    for Spark and for Python, and has none.
    """
    if "://" in os.fspath(path) or os.fspath(path).startswith(("dbfs:", "file:")):
        return os.fspath(path)
    absolute = Path(path).absolute()
    return str(absolute) if "DATABRICKS_RUNTIME_VERSION" in os.environ else absolute.as_uri()


def write_parts(native: Any, folder: Path, rows: int) -> None:
    """Has the executors write encoded sequences as `part-00000.parquet` and so on; no row passes the driver.

    Args:
        native: Spark DataFrame with the columns of encoded sequences, in any order.
        folder: Missing; in a folder that every executor sees. Parts rise by user, the rows of a user are in one part,
            sorted by time and position.
        rows: About how many there are.
    """
    parts = max(1, -(-rows // PART_ROWS))
    ordered = native.repartitionByRange(parts, USER_ID).sortWithinPartitions(*ROW_ORDER)
    write_parquet(ordered, folder)


def write_parquet(native: Any, folder: Path) -> None:
    """Has the executors write a Spark DataFrame as `part-00000.parquet` and so on, in the order of its partitions.

    Args:
        native: Spark DataFrame.
        folder: Missing; in a folder that every executor sees.
    """
    native.write.option("compression", "zstd").parquet(location(folder))
    for number, part in enumerate(sorted(folder.glob("part-*.parquet"))):
        part.rename(folder / f"part-{number:05}.parquet")
    for path in [path for path in folder.iterdir() if path.suffix != ".parquet"]:
        path.unlink()  # _SUCCESS and checksums, of which those of renamed parts would be missing
