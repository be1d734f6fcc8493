"""Ranks the inventory for every known shopper, or for those of a file, in this process or on Spark.

Usage: python -m scripts.ml.score_inventory OUTPUT [--shoppers FILE.parquet] [--bundle FOLDER | --name N --alias A]
           [--k K] [--recommend-seen] [--engine local|spark] [--master local[*,4]]

OUTPUT is a folder of Parquet parts, as `scripts.ml.batch_output` describes them, which `publish_recommendations` reads;
both engines write the same rows. A former result is replaced when the new one is complete. Rows that cannot be answered
are in OUTPUT/_rejected.jsonl. On Spark, OUTPUT should be in a folder that every worker sees.
"""

import argparse
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tqdm import tqdm

from scripts.ml.batch_input import GivenShoppers, stage_known
from scripts.ml.batch_output import REJECTED, Rejection, Written, result_folder, write_result, write_summary
from serving.batch import (
    DEFAULT_MASTER,
    BatchError,
    BatchModel,
    Options,
    fetch_registered,
    score_locally,
    score_on_spark,
    spark,
)
from serving.bundle import Bundle, BundleError, open_bundle
from serving.clean_process import RegistryError
from serving.clock import utc_now
from serving.config import DEFAULT_CONFIG_PATH, ConfigError, ServeConfig, load_config
from serving.recommender import Recommender

ENGINES = ("local", "spark")


@dataclass(frozen=True)
class Outcome:
    """What a batch did.

    Attributes:
        written: Rows answered and rejected.
        seconds: From the fetched model to the complete result; on Spark without the start of a session.
        failed_attempts: Attempts at Spark tasks that failed and were made again.
    """

    written: Written
    seconds: float
    failed_attempts: int = 0


def score_inventory(
    output: Path,
    *,
    bundle: Path | None = None,
    config: ServeConfig | None = None,
    name: str | None = None,
    shoppers: Path | None = None,
    options: Options | None = None,
    engine: str = ENGINES[0],
    master: str = DEFAULT_MASTER,
    progress: bool = False,
) -> Outcome:
    """Scores shoppers and writes the result.

    Args:
        output: Folder to write or replace.
        bundle: Bundle to rank with, by `config`; None: the registered version that `config.alias` points to, by the
            configuration that it was logged with.
        config: Serving configuration.
        name: Registered name; by default SLIREC_MODEL_NAME, else the configuration's.
        shoppers: Parquet file with `userId` and, optionally, `items` and `timestamps`; None: every shopper whose events
            the bundle stores.
        options: What is asked for all shoppers.
        engine: One of `ENGINES`.
        master: Of Spark, unless a session is active.
        progress: Show a progress bar on standard error.

    Raises:
        BatchError: A file, a folder or an option is not as it should be, or the engine failed.
        BundleError: The bundle cannot be trusted.
        ConfigError: The model's configuration cannot be used.
        RegistryError: MLflow refused.
    """
    if engine not in ENGINES:
        raise BatchError(f"`engine` should be {' or '.join(ENGINES)}. Received: {engine}")
    if bundle is not None and engine == "spark":
        raise BatchError("Spark loads models from the registry: register the bundle first, or score it locally")
    config, options = config or ServeConfig(), options or Options()
    with ExitStack() as stack:
        folder, work = stack.enter_context(result_folder(output))
        if bundle is None:
            fetched = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="model-")))
            model = fetch_registered(config, fetched, name)
            opened = model.bundle
        else:
            model, opened = None, open_bundle(bundle)
        started = time.perf_counter()
        count, rejected = _stage(shoppers, opened, work, stack)
        session = stack.enter_context(spark(master)) if engine == "spark" else None
        bar = stack.enter_context(tqdm(total=count, unit=" shoppers", desc=f"scoring, {engine}", disable=not progress))
        failed = [0]
        if session is None:
            ranking = config if model is None else model.config
            batches = score_locally(Recommender(opened, ranking), work / "shoppers.parquet", options)
            written = write_result(batches, rejected, folder, count, bar.update)
        else:
            assert model is not None

            def show(done: float, attempts: int) -> None:
                bar.update(max(0, int(done * count) - int(bar.n)))
                failed[0] = attempts

            batches = score_on_spark(session, model, work / "shoppers.parquet", options, work, show)
            written = write_result(batches, rejected, folder, count)
        outcome = Outcome(written, time.perf_counter() - started, failed[0])
        write_summary(_summary(opened, model, options, engine, outcome), folder)
    return outcome


def _stage(shoppers: Path | None, bundle: Bundle, work: Path, stack: ExitStack) -> tuple[int, Iterator[Rejection]]:
    staged = work / "shoppers.parquet"
    if shoppers is None:
        return stage_known(bundle, staged), iter(())
    given = GivenShoppers(shoppers, work)
    stack.callback(given.close)
    return given.stage(staged), given.rejected()


def _summary(
    bundle: Bundle, model: BatchModel | None, options: Options, engine: str, outcome: Outcome
) -> dict[str, Any]:
    return {
        "rows": outcome.written.rows,
        "rejected": outcome.written.rejected,
        "engine": engine,
        "model": None if model is None else {"name": model.version.name, "version": model.version.version},
        "bundle_sha256": bundle.fingerprint,
        "k": options.k,
        "recommend_seen": options.recommend_seen,
        "now": options.now,
        "finished_at": utc_now(),
        "seconds": round(outcome.seconds, 1),
        "failed_attempts": outcome.failed_attempts,
    }


def _positive(text: str) -> int:
    if not text.isdecimal() or not int(text):
        raise argparse.ArgumentTypeError(f"should be a positive integer. Received: {text}")
    return int(text)


def parse(argv: Sequence[str] | None) -> argparse.Namespace:
    """Returns the command line's arguments."""
    parser = argparse.ArgumentParser(
        prog="score_inventory", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("output", type=Path, help="folder to write, or a former result to replace")
    add("--shoppers", type=Path, help="Parquet: userId, optional items and timestamps (default: all known shoppers)")
    add("--bundle", type=Path, help="folder of a model bundle (default: a registered version)")
    add("--name", help="registered model name (else SLIREC_MODEL_NAME, else the configuration's)")
    add("--alias", help="registry alias (else the configuration's)")
    add("--config", type=Path, default=DEFAULT_CONFIG_PATH, help="serving configuration (YAML)")
    add("--k", type=_positive, help="products a shopper (default: as the model is configured)")
    add("--recommend-seen", action=argparse.BooleanOptionalAction, help="(default: as the model is configured)")
    add("--now", type=_positive, help="UNIX seconds of the recommendation (default: of each shopper's latest event)")
    add("--engine", choices=ENGINES, default=ENGINES[0], help="default: %(default)s")
    add("--master", default=DEFAULT_MASTER, help="of Spark (default: %(default)s, all cores, four attempts a task)")
    arguments = parser.parse_args(argv)
    if arguments.bundle and (arguments.name or arguments.alias):
        parser.error("--bundle names a folder, --name and --alias a registered version: give the one or the other")
    return arguments


def main(argv: Sequence[str] | None = None) -> int:
    """Command line; returns the exit status: 0 also where rows were rejected, which are counted on standard error."""
    arguments = parse(argv)
    try:
        config = load_config(arguments.config)
        if arguments.alias:
            config = config.model_copy(update={"alias": arguments.alias})
        outcome = score_inventory(
            arguments.output,
            bundle=arguments.bundle,
            config=config,
            name=arguments.name,
            shoppers=arguments.shoppers,
            options=Options(arguments.k, arguments.recommend_seen, arguments.now),
            engine=arguments.engine,
            master=arguments.master,
            progress=True,
        )
    except (BatchError, BundleError, ConfigError, RegistryError, OSError) as error:
        print(f"score_inventory: {' '.join(str(error).split())}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("Stopped; nothing was written", file=sys.stderr)
        return 130
    written = outcome.written
    if written.rejected:
        print(f"warning: {written.rejected} rows were rejected, see {arguments.output / REJECTED}", file=sys.stderr)
    if outcome.failed_attempts:
        print(f"warning: {outcome.failed_attempts} attempts at Spark tasks failed and were repeated", file=sys.stderr)
    rate = written.rows / outcome.seconds
    print(f"{arguments.output}: {written.rows:,} shoppers in {outcome.seconds:.1f} s ({rate:,.0f} a second)")
    return 0


if __name__ == "__main__":
    sys.exit(main())
