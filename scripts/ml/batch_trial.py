"""Scores many shoppers in this process and on Spark, kills a worker of Spark, and compares row for row.

Usage: python -m scripts.ml.batch_trial [--shoppers 100000] [--docs docs]

Shoppers are generated over the inventory snapshot; the network has its initial weights, which take as long and differ
as much as trained ones. Everything happens in a temporary folder, with a registry of its own; what came of it is
written to DOCS/batch.json and DOCS/batch.md. Exit status: 0 all rows are equal, 1 they are not.
"""

import argparse
import multiprocessing
import os
import sys
import tempfile
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from tqdm import tqdm

from scripts.ml.batch_faults import WorkerKiller
from scripts.ml.batch_output import REJECTED
from scripts.ml.benchmark_machine import describe_machine, moment
from scripts.ml.score_inventory import Outcome, score_inventory
from serving.bundle import open_bundle
from training.files import atomic_path, write_json

REPOSITORY = Path(__file__).resolve().parents[2]
INVENTORY = REPOSITORY / "training" / "inventory.pkl"
DEFAULT_SHOPPERS = 100_000
NEW_EVENTS = 20  # every so many shoppers one comes with events of the moment
BAD_ROWS = 100
SEED = 42
KILL_AFTER = 10.0  # CPU seconds of a worker: it scores by then
RUNS = ("local", "spark", "spark_killed")


def make_bundle(folder: Path, shoppers: int) -> None:
    """Writes `folder/bundle`: a network at its initial weights, and the stored events of generated shoppers."""
    from scripts.ml.benchmark_data import CONFIG
    from scripts.ml.generate_interactions import generate
    from scripts.ml.interaction_output import write_interaction_file
    from training.data.interactions import read_interactions
    from training.data.inventory import load_inventory
    from training.data.sequences import build_dataset
    from training.export import export_bundle
    from training.models.ranker import build_model

    inventory = load_inventory(INVENTORY)
    with tqdm(unit=" interactions", unit_scale=True, desc="generating") as bar:
        interactions = generate(inventory, users=shoppers, days=120, seed=SEED, progress=bar.update)
    write_interaction_file(interactions, folder / "interactions.parquet", "parquet")
    del interactions
    native = read_interactions(folder / "interactions.parquet")
    dataset = build_dataset(native, folder / "dataset", valid_num_ngs=0, test_num_ngs=0)
    export_bundle(build_model(dataset, CONFIG), dataset, inventory, CONFIG, folder / "bundle")


def write_shoppers(bundle_folder: Path, path: Path) -> int:
    """Writes all known shoppers in any order, some with new events, and rows that have to be refused; returns rows."""
    bundle = open_bundle(bundle_folder)
    rng = np.random.default_rng(SEED)
    handles = bundle.catalogue.handles.to_pylist()
    latest = int(bundle.events.timestamps.max())
    rows: list[tuple[str | None, list[str], list[str]]] = []
    for number, user in enumerate(bundle.events.row_of_user):
        count = int(rng.integers(1, 12)) if number % NEW_EVENTS == 0 else 0
        times = np.sort(latest + rng.integers(0, 86_400, count))
        rows.append((user, [handles[place] for place in rng.integers(0, len(handles), count)], [*map(str, times)]))
    bad = ([handles[0]], []), ([handles[0]], ["yesterday"]), ([handles[0]], [None])
    rows += [(f"bad-{number:03}", *bad[number % len(bad)]) for number in range(BAD_ROWS - 1)] + [(None, [], [])]
    order = rng.permutation(len(rows))
    users, items, timestamps = zip(*(rows[place] for place in order), strict=True)
    texts = pa.list_(pa.string())
    columns = {"userId": pa.array(users), "items": pa.array(items, texts), "timestamps": pa.array(timestamps, texts)}
    pq.write_table(pa.table(columns), path)
    return len(rows)


def read_result(folder: Path) -> pa.Table:
    """Returns the rows of a result."""
    return pa.concat_tables(pq.read_table(part) for part in sorted(folder.glob("part-*.parquet")))


def differences(left: Path, right: Path) -> int:
    """Returns how many rows of two results differ, in any column, scores by the bit; dead letters are rows, too."""
    one, other = read_result(left), read_result(right)
    rejected = [(folder / REJECTED).read_text(encoding="utf-8").splitlines() for folder in (left, right)]
    count = len(set(rejected[0]) ^ set(rejected[1]))
    if one.equals(other):
        return count
    rows = zip(one.to_batches(1_024), other.to_batches(1_024), strict=False)
    unequal = sum(a != b for x, y in rows for a, b in zip(x.to_pylist(), y.to_pylist(), strict=False))
    return count + max(unequal, abs(len(one) - len(other)), 1)


def run_trial(folder: Path, shoppers: int) -> dict[str, Any]:
    """Makes, registers, scores three times and compares; returns the report.

    Raises:
        RuntimeError: The bundle could not be made, or no worker was killed in the middle of a task.
    """
    from serving.registry import log_and_register, set_alias

    # In a process of its own: TensorFlow's threads and memory should not be there while others are timed.
    maker = multiprocessing.get_context("spawn").Process(target=make_bundle, args=(folder, shoppers))
    maker.start()
    maker.join()
    if maker.exitcode:
        raise RuntimeError(f"The bundle could not be made: exit status {maker.exitcode}")
    given = folder / "shoppers.parquet"
    rows = write_shoppers(folder / "bundle", given)
    set_alias(log_and_register(folder / "bundle"), "champion")

    def scored(run: str) -> Outcome:
        engine = run.split("_")[0]
        return score_inventory(folder / run, shoppers=given, engine=engine, progress=True)

    outcomes = {run: scored(run) for run in RUNS[:2]}
    with WorkerKiller(KILL_AFTER) as killer:
        outcomes[RUNS[2]] = scored(RUNS[2])
    if killer.killed is None or not outcomes[RUNS[2]].failed_attempts:
        raise RuntimeError(f"A worker should be killed in the middle of a task; {shoppers} shoppers are too few")
    bundle = open_bundle(folder / "bundle")
    return {
        "machine": describe_machine(),
        **moment(REPOSITORY),
        "command": f"python -m scripts.ml.batch_trial --shoppers {shoppers}",
        "spark": version("pyspark"),
        "rows_in": rows,
        "products": len(bundle.catalogue),
        "longest_history": bundle.manifest.sizes.max_seq_length,
        "runs": {
            run: {
                "seconds": round(outcome.seconds, 1),
                "shoppers_per_second": round(outcome.written.rows / outcome.seconds),
                "rows": outcome.written.rows,
                "rejected": outcome.written.rejected,
                "failed_attempts": outcome.failed_attempts,
                "rows_unlike_local": differences(folder / RUNS[0], folder / run),
            }
            for run, outcome in outcomes.items()
        },
    }


def markdown(report: Mapping[str, Any]) -> str:
    """Returns the report for people."""
    machine, runs = report["machine"], report["runs"]
    titles = {"local": "In one process", "spark": "Spark", "spark_killed": "Spark, a Python worker killed (SIGKILL)"}
    lines = [
        "# Batch scoring",
        "",
        "Written by `python -m scripts.ml.batch_trial`; do not edit. The same shoppers are scored in one process and",
        "on Spark, by the same registered model, and the results compared row for row: user id, product GIDs, scores",
        "by the bit, message, and the rows that were rejected.",
        "",
        f"{report['rows_in']:,} rows: generated shoppers known to the model, ranked by their stored events of up to "
        f"{report['longest_history']}, every {NEW_EVENTS}th by new events of its own, and {BAD_ROWS} rows that have to "
        f"be rejected. {report['products']} products, 16 recommended.",
        "",
        "| Run | Time | Shoppers/s | Rows | Rejected | Attempts at tasks that failed | Rows unlike the first run's |",
        "|---|--:|--:|--:|--:|--:|--:|",
        *(
            f"| {titles[name]} | {run['seconds']:,.1f} s | {run['shoppers_per_second']:,} | {run['rows']:,} "
            f"| {run['rejected']:,} | {run['failed_attempts']} | {run['rows_unlike_local']} |"
            for name, run in runs.items()
        ),
        "",
        "Times are from the fetched model to the complete folder, on Spark with the start of the session "
        "(`local[*,4]`: all cores of this machine, four attempts a task).",
        "",
        f"Machine: {machine['cores']} cores ({machine['processor']}), {machine['memory_gb']} GB, {machine['system']}, "
        f"Python {machine['python']}; Spark {report['spark']}, mlflow {machine['versions']['mlflow']}, onnxruntime "
        f"{machine['versions']['onnxruntime']}.",
        "",
        f"Measured {report['date']} at commit {report['commit']} by `{report['command']}`.",
    ]
    return "\n".join(lines) + "\n"


def main(argv: Sequence[str] | None = None) -> int:
    """Command line; returns the exit status."""
    parser = argparse.ArgumentParser(
        prog="batch_trial", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--shoppers", type=int, default=DEFAULT_SHOPPERS, help="default: %(default)s")
    parser.add_argument("--docs", type=Path, default=REPOSITORY / "docs", help="folder of the report")
    arguments = parser.parse_args(argv)
    with tempfile.TemporaryDirectory(prefix="batch-trial-") as folder:
        for name in ("MLFLOW_REGISTRY_URI", "MLFLOW_EXPERIMENT_NAME", "SLIREC_MODEL_NAME"):
            os.environ.pop(name, None)
        os.environ["MLFLOW_TRACKING_URI"] = f"sqlite:///{folder}/mlflow.db"
        report = run_trial(Path(folder), arguments.shoppers)
    write_json(report, arguments.docs / "batch.json")
    with atomic_path(arguments.docs / "batch.md") as path:
        path.write_text(markdown(report), encoding="utf-8")
    print(markdown(report))
    return 1 if any(run["rows_unlike_local"] for run in report["runs"].values()) else 0


if __name__ == "__main__":
    sys.exit(main())
