"""Preprocesses many generated interactions here and on Spark, measures both, and compares the results row for row.

Usage: python -m scripts.ml.benchmark_scale [--interactions 20000000] [--docs docs] [--work FOLDER]

Each run is the command `scripts.ml.preprocess` in a process of its own. What came of it is written to DOCS/scale.json
and DOCS/scale.md. Exit status: 0 all rows are equal, 1 they are not.
"""

import argparse
import os
import sys
import tempfile
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
from tqdm import tqdm

from scripts.ml.benchmark_data import folder_size
from scripts.ml.benchmark_machine import describe_machine, moment
from scripts.ml.process_memory import Measured, measure
from scripts.ml.scale_data import write_scale_data
from training.data.columns import SEQUENCE_COLUMNS
from training.data.dataset import FEATURES, HELD_OUT, file_name
from training.data.interactions import ENGINES
from training.data.sequences import EncodedSequences, load_dataset
from training.files import atomic_path, write_json

REPOSITORY = Path(__file__).resolve().parents[2]
SEED = 42
LOCAL, SPARK = "local", "spark"
MASTER = "local[2]"
DRIVER_MEMORY = "6g"


def commands(data: Path, work: Path, master: str, driver_memory: str) -> dict[str, list[str]]:
    """Returns the command of each run by name; it writes the folder of that name in `work`."""
    preprocess = [sys.executable, "-m", "scripts.ml.preprocess", str(data)]
    settings = [
        f"spark.master={master}",
        f"spark.driver.memory={driver_memory}",
        f"spark.local.dir={work / 'spilled'}",
        "spark.log.level=ERROR",
    ]
    return {
        LOCAL: [*preprocess, str(work / LOCAL), "--engine", ENGINES[0]],
        SPARK: [*preprocess, str(work / SPARK), "--engine", "spark", "--spark", *settings],
    }


def unlike_rows(one: EncodedSequences, other: EncodedSequences) -> int:
    """Returns how many rows of two data sets differ in any column, missing rows included."""
    rows = min(len(one.user), len(other.user))
    unlike = np.zeros(rows, bool)
    for name in SEQUENCE_COLUMNS:
        unlike |= getattr(one, name)[:rows] != getattr(other, name)[:rows]
    return int(unlike.sum()) + abs(len(one.user) - len(other.user))


def unlike_tables(one: Path, other: Path) -> list[str]:
    """Returns the names of the vocabularies and tables of negatives that differ between two folders."""
    names = [*(file_name(name) for name in FEATURES), *(f"negatives_{split}.parquet" for split in HELD_OUT)]
    return [name for name in names if not pq.read_table(one / name).equals(pq.read_table(other / name))]


def run_scale(
    work: Path,
    interactions: int,
    users: int,
    products: int,
    *,
    master: str = MASTER,
    driver_memory: str = DRIVER_MEMORY,
) -> dict[str, Any]:
    """Generates, preprocesses twice and compares; returns the report.

    Args:
        work: Empty folder, with room for some 200 bytes an interaction.
        interactions: Rows to generate.
        users: Users to draw from.
        products: Products to draw from.
        master: Of Spark.
        driver_memory: Heap of Spark's driver, in which a local master also does the work.

    Raises:
        RuntimeError: If a run failed.
    """
    data = work / "interactions"
    with tqdm(total=interactions, unit=" interactions", unit_scale=True, desc="generating") as bar:
        write_scale_data(data, interactions, users, products, np.random.default_rng(SEED), bar.update)
    runs: dict[str, dict[str, Any]] = {}
    for name, command in commands(data, work, master, driver_memory).items():
        load = os.getloadavg()[0]
        with tqdm(desc=f"preprocessing, {name}", bar_format="{desc}: {n:.0f} s{postfix}", mininterval=1) as bar:

            def show(seconds: float, peak: int, bar: Any = bar) -> None:
                bar.set_postfix_str(f"peak {peak / 2**30:.1f} GiB", refresh=False)
                bar.update(seconds - bar.n)

            runs[name] = _described(measure(command, REPOSITORY, show), interactions, load)
        runs[name]["bytes_written"] = folder_size(work / name)
        runs[name]["parts"] = len(list((work / name / "sequences").glob("*.parquet"))) or 1
    local, spark = (load_dataset(work / name) for name in (LOCAL, SPARK))
    return {
        "machine": describe_machine(),
        **moment(REPOSITORY),
        "command": f"python -m scripts.ml.benchmark_scale --interactions {interactions}"
        f" --users {users} --products {products}",
        "engines": {name: version(name) for name in ("polars", "pyspark", "narwhals", "pyarrow")},
        "spark": {"master": master, "driver_memory": driver_memory},
        "interactions": interactions,
        "bytes_in": folder_size(data),
        "sizes": dict(local.metadata["sizes"]),
        "longest_sequence": int(local.position.max()) + 1,
        "runs": runs,
        "rows_compared": len(local.user),
        "rows_unlike": unlike_rows(local, spark),
        "tables_unlike": unlike_tables(work / LOCAL, work / SPARK),
        "same_fingerprint": local.metadata["fingerprint"] == spark.metadata["fingerprint"],
    }


def _described(measured: Measured, interactions: int, load: float) -> dict[str, Any]:
    return {
        "seconds": round(measured.seconds, 1),
        "interactions_per_second": round(interactions / measured.seconds),
        "peak_bytes": measured.peak_bytes,
        "peak_bytes_by_kind": dict(measured.peak_by_kind),
        "load_before": round(load, 2),
    }


def is_equal(report: Mapping[str, Any]) -> bool:
    """Returns whether both runs gave the same rows, vocabularies and negatives."""
    return not report["rows_unlike"] and not report["tables_unlike"] and report["same_fingerprint"]


def markdown(report: Mapping[str, Any]) -> str:
    """Returns the report for people."""
    machine, runs, sizes, spark = (report[name] for name in ("machine", "runs", "sizes", "spark"))
    titles = {LOCAL: f"In one process ({ENGINES[0]})", SPARK: f"Spark, `{spark['master']}`"}
    unlike = ", ".join(report["tables_unlike"]) or "none"
    lines = [
        "# Preprocessing at scale",
        "",
        "Written by `make scale`; do not edit. The same generated interactions go through `scripts.ml.preprocess` in",
        "one process and on Spark, and the results are compared row for row.",
        "",
        f"{report['interactions']:,} interactions ({report['bytes_in'] / 1e6:,.0f} MB of Parquet) of "
        f"{sizes['user'] - 1:,} users with up to {report['longest_sequence']:,} each, {sizes['item'] - 1:,} products, "
        f"{sizes['category'] - 1:,} categories.",
        "",
        "| Run | Time | Interactions/s | Peak memory | of it: Python / JVM | Parts | Written |",
        "|---|--:|--:|--:|--:|--:|--:|",
        *(
            f"| {titles[name]} | {run['seconds']:,.1f} s | {run['interactions_per_second']:,} "
            f"| {_gib(run['peak_bytes'])} | {_kinds(run['peak_bytes_by_kind'])} | {run['parts']} "
            f"| {run['bytes_written'] / 1e6:,.0f} MB |"
            for name, run in runs.items()
        ),
        "",
        f"Rows compared: {report['rows_compared']:,}. Rows unlike: {report['rows_unlike']:,}. Vocabularies and "
        f"negatives unlike: {unlike}. Fingerprints: {'equal' if report['same_fingerprint'] else 'different'}.",
        "",
        "Time is of the whole command, start of Python and of the JVM included. Memory is the resident memory of all",
        "processes of the command together, looked at every 0.1 s. With a local master, all of Spark's work is done in",
        f"one JVM, whose heap may grow to {spark['driver_memory']}: what it took is not what it needs at least.",
        "",
        f"Machine: {machine['cores']} cores ({machine['processor']}), {machine['memory_gb']} GB, {machine['system']}, "
        f"Python {machine['python']}; {', '.join(f'{name} {number}' for name, number in report['engines'].items())}. "
        f"Load before the runs: {', '.join(str(run['load_before']) for run in runs.values())}.",
        "",
        f"Measured {report['date']} at commit {report['commit']} by `{report['command']}`.",
    ]
    return "\n".join(lines) + "\n"


def _gib(size: float) -> str:
    return f"{size / 2**30:.2f} GiB"


def _kinds(sizes: Mapping[str, int]) -> str:
    java = sizes.get("java")
    python = sizes.get("main", 0) + sizes.get("other", 0)
    return f"{_gib(python)} / {'-' if java is None else _gib(java)}"


def main(argv: Sequence[str] | None = None) -> int:
    """Command line; returns the exit status."""
    parser = argparse.ArgumentParser(
        prog="benchmark_scale", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--interactions", type=int, default=20_000_000, help="default: %(default)s")
    add("--users", type=int, default=400_000, help="default: %(default)s")
    add("--products", type=int, default=20_000, help="default: %(default)s")
    add("--master", default=MASTER, help="of Spark (default: %(default)s)")
    add("--driver-memory", default=DRIVER_MEMORY, help="heap of Spark's driver (default: %(default)s)")
    add("--docs", type=Path, default=REPOSITORY / "docs", help="folder of the report")
    add("--work", type=Path, help="folder for data and results, with 4 GB of room (default: the system's)")
    arguments = parser.parse_args(argv)
    try:
        with tempfile.TemporaryDirectory(prefix="scale-", dir=arguments.work) as folder:
            report = run_scale(
                Path(folder),
                arguments.interactions,
                arguments.users,
                arguments.products,
                master=arguments.master,
                driver_memory=arguments.driver_memory,
            )
    except (ValueError, OSError, RuntimeError) as error:
        print(f"error: {' '.join(str(error).split())}", file=sys.stderr)
        return 1
    write_json(report, arguments.docs / "scale.json")
    with atomic_path(arguments.docs / "scale.md") as path:
        path.write_text(markdown(report), encoding="utf-8")
    print(markdown(report))
    return 0 if is_equal(report) else 1


if __name__ == "__main__":
    sys.exit(main())
