"""Scores whole tables of shoppers, in this process or on Spark: the same rows, bit for bit, from both.

Shoppers come as a Parquet file of `SHOPPERS`, one row each, rising by `userId`; scored rows leave in that order, in
record batches of `SCORED`. A shopper whom the contract refuses has empty lists and a message that begins with
`REFUSED`. On Spark every task answers for its rows alone, so that one that is run again, after its worker has died,
gives the same rows. MLflow is imported when a registered model is asked for, PySpark when Spark is.
"""

import logging
import os
import sys
import uuid
from collections.abc import Callable, Generator, Iterator
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from serving.bundle import Bundle
from serving.config import ServeConfig, serve_config
from serving.promotion import RegisteredVersion
from serving.recommender import Recommendation, Recommender, RequestError

__all__ = ["BatchError", "BatchModel", "Options", "fetch_registered", "score_locally", "score_on_spark", "spark"]

logger = logging.getLogger("serving.batch")

_TEXTS = pa.list_(pa.string())
SHOPPERS: Final = pa.schema(
    [("row", pa.int64()), ("userId", pa.string()), ("items", _TEXTS), ("timestamps", _TEXTS)]
)  # fmt: skip
"""`row` says where a shopper came from and is passed through; the lists are never null, their values may be."""
SCORED: Final = pa.schema(
    [
        ("row", pa.int64()),
        ("userId", pa.string()),
        ("itemIds", _TEXTS),
        ("preds", pa.list_(pa.float64())),
        ("message", pa.string()),
    ]
)
REFUSED: Final = "Refused: "
"""How `serving.slirec_model` begins the message of a refused row."""
DEFAULT_MASTER: Final = "local[*,4]"
"""All cores, and a task may fail three times: plain `local[*]` would give up at the first failure."""

_CHUNK: Final = 1_024  # shoppers ranked in one call, here and on Spark
_TASK: Final = 5_000  # shoppers of one Spark task: it loads the model once, and is what a failure repeats
_ATTEMPTS: Final = 3  # of a chunk in this process
_STRUCT: Final = "struct<itemIds:array<string>,preds:array<double>,message:string>"
_ROWS_OF_A_CALL: Final = "spark.sql.execution.arrow.maxRecordsPerBatch"
_POLL_SECONDS: Final = 0.2


class BatchError(RuntimeError):
    """A table of shoppers cannot be scored."""


@dataclass(frozen=True)
class Options:
    """What is asked for all shoppers; None: as the model's own configuration says.

    Attributes:
        k: Products a shopper.
        recommend_seen: Whether products that a shopper has touched may be recommended.
        now: UNIX seconds of the recommendation; None: of each shopper's latest event.
    """

    k: int | None = None
    recommend_seen: bool | None = None
    now: int | None = None


@dataclass(frozen=True)
class BatchModel:
    """A registered version, fetched and verified.

    Attributes:
        version: Which one it is.
        bundle: Its bundle.
        config: The configuration that it was logged with.
        folder: The whole model, as MLflow loads it.
    """

    version: RegisteredVersion
    bundle: Bundle
    config: ServeConfig
    folder: Path


def fetch_registered(config: ServeConfig, folder: Path, name: str | None = None) -> BatchModel:
    """Fetches the version that `config.alias` points to.

    Args:
        config: Alias and registered name.
        folder: Where it is fetched to.
        name: Registered name; by default SLIREC_MODEL_NAME, else the configuration's.

    Raises:
        BatchError: The alias is not set.
        BundleError: A byte has changed since it was registered.
        ConfigError: It was logged with a configuration that this code does not know.
        RegistryError: MLflow refused.
    """
    from serving.registry import find_version, open_registered

    version = find_version(config, name=name, alias=config.alias)
    if version is None:
        raise BatchError(
            f"The alias {config.alias!r} should be set. Received: no version. Promote one, or name another alias"
        )
    bundle = open_registered(version, folder)
    from mlflow.models import Model

    model_folder = bundle.path.parents[1]
    logged = Model.load(str(model_folder)).flavors["python_function"].get("config") or {}
    return BatchModel(version, bundle, serve_config(dict(logged)), model_folder)


def score_locally(recommender: Recommender, shoppers: Path, options: Options) -> Iterator[pa.RecordBatch]:
    """Yields the scored rows of a file of shoppers; a chunk at a time is in memory.

    A chunk that fails for another reason than what a shopper or `options` say is ranked again, twice.

    Args:
        recommender: Ranks; its threads share each chunk.
        shoppers: Parquet file of `SHOPPERS`.
        options: What is asked for.

    Raises:
        BatchError: `options` are malformed, or a chunk failed three times.
    """
    with pq.ParquetFile(shoppers) as file:
        for chunk in file.iter_batches(_CHUNK):
            rows: list[tuple[Any, ...]] = list(
                zip(*(chunk.column(name).to_pylist() for name in SHOPPERS.names), strict=True)
            )
            asking = [(user, items, timestamps) for _, user, items, timestamps in rows]
            answers = _ranked(recommender, asking, options)
            columns = zip(*(_scored(row, answer) for row, answer in zip(rows, answers, strict=True)), strict=True)
            arrays = [pa.array(column, kind.type) for column, kind in zip(columns, SCORED, strict=True)]
            yield pa.RecordBatch.from_arrays(arrays, schema=SCORED)


def _ranked(
    recommender: Recommender, shoppers: list[tuple[Any, Any, Any]], options: Options
) -> list[Recommendation | RequestError]:
    for attempt in range(1, _ATTEMPTS + 1):
        try:
            return recommender.recommend_batch(
                shoppers, k=options.k, recommend_seen=options.recommend_seen, now=options.now
            )
        except RequestError as error:
            raise BatchError(str(error)) from None
        except Exception as error:
            logger.warning("Attempt %d of %d at %d shoppers failed", attempt, _ATTEMPTS, len(shoppers), exc_info=True)
            if attempt == _ATTEMPTS:
                raise BatchError(
                    f"{len(shoppers)} shoppers could not be ranked in {_ATTEMPTS} attempts: {type(error).__name__}"
                ) from error
    raise AssertionError("unreachable")


def _scored(row: tuple[Any, ...], answer: Recommendation | RequestError) -> tuple[Any, ...]:
    if isinstance(answer, RequestError):
        return *row[:2], [], [], f"{REFUSED}{answer}"
    return *row[:2], answer.item_ids, answer.scores, answer.message


@contextmanager
def spark(master: str = DEFAULT_MASTER) -> Generator[Any]:
    """Yields the active Spark session, or one of its own that is stopped afterwards.

    Args:
        master: Of a session of its own, for instance `local[4,4]` (four cores, four attempts) or `spark://host:7077`.

    Raises:
        BatchError: There is no PySpark, or no Java that it can run on.
    """
    # Workers would otherwise run in whichever python3 comes first in PATH.
    for variable in ("PYSPARK_PYTHON", "PYSPARK_DRIVER_PYTHON"):
        os.environ.setdefault(variable, sys.executable)
    try:
        from pyspark.errors import PySparkException
        from pyspark.sql import SparkSession
    except ImportError:
        raise BatchError("Scoring on Spark needs PySpark: pip install 'pyspark>=4'") from None
    active = SparkSession.getActiveSession()
    if active is not None:
        yield active
        return
    builder = SparkSession.builder.master(master).appName("score_inventory")  # pyright: ignore[reportAttributeAccessIssue]
    settings = {"spark.ui.enabled": "false", "spark.ui.showConsoleProgress": "false"}
    for name, value in settings.items():
        builder = builder.config(name, value)
    try:
        session = builder.getOrCreate()
    except (PySparkException, OSError) as error:
        first = (str(error).strip().splitlines() or ["no message"])[0]
        raise BatchError(f"Spark could not start on {master}; it needs Java 17 or later: {first}") from error
    try:
        yield session
    finally:
        session.stop()


def score_on_spark(
    session: Any,
    model: BatchModel,
    shoppers: Path,
    options: Options,
    work: Path,
    progress: Callable[[float, int], object] = lambda done, failed: None,
) -> Iterator[pa.RecordBatch]:
    """Scores a file of shoppers on Spark through `mlflow.pyfunc.spark_udf`, then yields the scored rows.

    Args:
        session: Spark session, whose workers have the model's requirements.
        model: The registered model.
        shoppers: Parquet file of `SHOPPERS`, in a folder that every worker sees.
        options: What is asked for.
        work: Folder that every worker sees; Spark's parts are written to a new folder in it.
        progress: Told from time to time which share of the tasks is done, and how many attempts at one have failed.

    Raises:
        BatchError: The job failed: one of its tasks did, every time that it was run.
    """
    parts = work / "scored"
    with pq.ParquetFile(shoppers) as file:
        rows = file.metadata.num_rows
    tasks = max(-(-rows // _TASK), min(_cores(session), -(-rows // _CHUNK)), 1)
    _with_progress(session, lambda: _write_scored(session, model, shoppers, options, tasks, parts), tasks, progress)
    for part in sorted(parts.glob("part-*.parquet")):  # the number of a part is its place in the order of users
        with pq.ParquetFile(part) as file:
            for batch in file.iter_batches(_CHUNK):
                row, user, (ids, preds, message) = batch.column(0), batch.column(1), batch.column(2).flatten()
                # MLflow makes texts of a column in which any row has one: a null becomes "None".
                message = pc.if_else(pc.equal(message, "None"), pa.scalar(None, pa.string()), message)
                arrays = [
                    pc.cast(a, kind.type) for a, kind in zip((row, user, ids, preds, message), SCORED, strict=True)
                ]
                yield pa.RecordBatch.from_arrays(arrays, schema=SCORED)


def _write_scored(session: Any, model: BatchModel, shoppers: Path, options: Options, tasks: int, parts: Path) -> None:
    from mlflow.pyfunc import spark_udf

    asked = {"k": options.k, "recommend_seen": options.recommend_seen, "now": options.now}
    params = {name: value for name, value in asked.items() if value is not None} | {"with_message": True}
    # The model as it was fetched and verified: what the alias points to may have changed since.
    score = spark_udf(session, str(model.folder), env_manager="local", result_type=_STRUCT, params=params)
    table = session.read.parquet(shoppers.absolute().as_uri())
    table = table.repartitionByRange(tasks, "userId").sortWithinPartitions("userId")
    # One struct: of three columns taken from it, Spark may call the model for each.
    scored = table.select("row", "userId", score("userId", "items", "timestamps").alias("scored"))
    before = session.conf.get(_ROWS_OF_A_CALL)
    session.conf.set(_ROWS_OF_A_CALL, str(_CHUNK))
    try:
        scored.write.parquet(parts.absolute().as_uri())
    finally:
        session.conf.set(_ROWS_OF_A_CALL, before)


def _cores(session: Any) -> int:
    context = getattr(session, "sparkContext", None)  # Spark Connect has none
    return 1 if context is None else int(context.defaultParallelism)


def _with_progress(session: Any, job: Callable[[], None], tasks: int, progress: Callable[[float, int], object]) -> None:
    context = getattr(session, "sparkContext", None)
    if context is None:
        job()
        return
    group = f"score_inventory {uuid.uuid4()}"

    def run() -> None:
        context.setJobGroup(group, "score shoppers")  # of this thread alone
        job()

    with ThreadPoolExecutor(1, "spark") as threads:
        future = threads.submit(run)
        try:
            while not wait([future], _POLL_SECONDS).done:
                progress(*_state(context.statusTracker(), group, tasks))
            future.result()
        except Exception as error:  # of Spark, of its gateway, or of MLflow
            logger.exception("Spark could not score the shoppers")
            lines = str(error).strip().splitlines() or [type(error).__name__]
            # Of a worker's exception, the last line says what it was.
            reason = lines[-1 if any(line.startswith("Traceback") for line in lines) else 0]
            raise BatchError(f"Spark could not score the shoppers, its log says more: {reason}") from error
        finally:
            if not future.done():  # stopped from the keyboard
                context.cancelJobGroup(group)
    progress(1.0, _state(context.statusTracker(), group, tasks)[1])


def _state(tracker: Any, group: str, tasks: int) -> tuple[float, int]:
    """Share of the scoring tasks that are done, and how many attempts have failed in all stages."""
    jobs = [job for number in tracker.getJobIdsForGroup(group) if (job := tracker.getJobInfo(number))]
    numbers = sorted({number for job in jobs for number in job.stageIds})
    stages = [stage for number in numbers if (stage := tracker.getStageInfo(number))]
    # Scoring is the last stage; those before it sort, in other numbers of tasks.
    done = stages[-1].numCompletedTasks if stages and stages[-1].numTasks == tasks else 0
    return done / tasks, sum(stage.numFailedTasks for stage in stages)
