"""A small Spark session for tests."""

import importlib.util
import shutil
from collections.abc import Iterator
from contextlib import contextmanager

from conftest import require

SETTINGS = {
    "spark.master": "local[2]",
    "spark.ui.enabled": "false",
    "spark.sql.shuffle.partitions": "2",
    "spark.sql.adaptive.enabled": "false",
    "spark.sql.codegen.wholeStage": "false",  # compiling costs more than a small table gains
    "spark.sql.codegen.factoryMode": "NO_CODEGEN",
    "spark.driver.memory": "1g",
    "spark.driver.extraJavaOptions": "-XX:TieredStopAtLevel=1 -XX:+UseSerialGC",
    "spark.log.level": "ERROR",
}


@contextmanager
def local_spark() -> Iterator:
    """Yields a session, which is the active one; skips the test where Java or PySpark is missing."""
    require(shutil.which("java"), "Java")
    require(importlib.util.find_spec("pyspark"), "pyspark")
    from training.data.spark import spark_session

    session = spark_session(SETTINGS)
    try:
        yield session
    finally:
        session.stop()
