"""Evaluates naive baselines, the network before and after training, and the oracle; writes tables and plots.

Usage: python -m scripts.ml.evaluate DATASET [--run runs/slirec] [--oracle data/interactions.oracle.npz]
    [--output runs/evaluation] [--split test|valid] [--seed 42] [--report]

With --report also report.md, report.html (one file, plots inside) and report.json: segments, coverage, novelty,
calibration, and which method to deploy.
"""

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from serving.config import ConfigError, load_config
from training.config import load_config as load_training_config
from training.data.sequences import EncodedSequences, load_dataset
from training.evaluation.baselines import default_baselines
from training.evaluation.plots import metric_by_history_length, model_comparison, training_curves
from training.evaluation.protocol import NamedRanker, Ranker, primary_metric
from training.evaluation.report import FULL_RANKING, ORACLE, PRIMARY, Report, evaluate_all
from training.evaluation.report_full import TITLE, FullReport, full_report
from training.evaluation.report_page import to_html, to_markdown
from training.evaluation.report_watch import Watcher, watch_baselines
from training.files import atomic_path, write_json

DEFAULT_RUN = Path("runs/slirec")
DEFAULT_ORACLE = Path("data/interactions.oracle.npz")
DEFAULT_OUTPUT = Path("runs/evaluation")


def network_rankers(run: Path, dataset: EncodedSequences) -> list[Ranker]:
    """Returns the network before (if its checkpoint was kept) and after training."""
    from training.models.ranker import load_rankers  # TensorFlow takes seconds to import, baselines do not need it

    before, after = load_rankers(run, dataset)
    return [ranker for ranker in (before, after) if ranker is not None]


def load_oracle(path: Path) -> Ranker:
    """Returns the generator's true next-product probabilities as a ranker."""
    from scripts.ml.interaction_oracle import Oracle

    return NamedRanker(ORACLE, Oracle.load(path))


def fitting_oracle(dataset: EncodedSequences, split: str, path: Path = DEFAULT_ORACLE) -> Ranker | None:
    """Returns the oracle at a place, or None if it is not there or (said on stderr) belongs to other interactions."""
    from scripts.ml.interaction_oracle import Oracle

    if not path.is_file():
        return None
    try:
        oracle = Oracle.load(path)
        oracle.check(dataset, dataset.rows(split))
    except ValueError as error:
        print(f"without the oracle of {path}, which is of other interactions: {error}", file=sys.stderr)
        return None
    return NamedRanker(ORACLE, oracle)


def history_of(run: Path) -> list[dict[str, float]]:
    """Returns the run's records by epoch, or an empty list if it has none."""
    path = run / "history.json"
    if not path.is_file():
        return []
    return json.loads(path.read_text(encoding="utf-8"))


def figures_of(report: Report, dataset: EncodedSequences) -> dict[str, Figure]:
    """Returns file stem to plot: model against baselines, and quality by history length, for both protocols."""
    figures: dict[str, Figure] = {}
    for protocol in FULL_RANKING:
        table = report.evaluations[protocol]
        place = protocol.replace("_", " items ")
        values = {method: row[PRIMARY] for method, row in report.metrics(protocol).items()}
        title = f"Model against naive baselines, full ranking, {place}"
        figures[f"comparison_{protocol}"] = model_comparison(values, baselines=report.baselines, title=title)
        trained = [name for name in table if name not in (*report.baselines, ORACLE)][-1:]
        shown = [*trained, report.best_baseline(protocol), report.baselines[0], *({ORACLE} & set(table))]
        rows = table[report.baselines[0]].rows
        figures[f"history_length_{protocol}"] = metric_by_history_length(
            dataset.position[rows],
            {name: primary_metric(table[name].ranks) for name in dict.fromkeys(shown)},
            title=f"Quality by length of the shopper's history, {place}",
        )
    return figures


def write_report(report: Report, figures: dict[str, Figure], output: Path) -> list[Path]:
    """Writes `evaluation.json` and the plots, each atomically, and returns the paths."""
    paths = [output / "evaluation.json"]
    write_json(report.document(), paths[0])
    for stem, figure in figures.items():
        paths.append(output / f"{stem}.png")
        with atomic_path(paths[-1]) as temporary:
            figure.savefig(temporary)
    return paths


def evaluate_fully(
    dataset: EncodedSequences,
    rankers: Sequence[Ranker],
    *,
    protocol: str,
    rng: np.random.Generator,
    split: str = "test",
    batch_size: int = 512,
    progress: bool = True,
) -> FullReport:
    """Evaluates as `training.evaluation.report.evaluate_all` does, and watches what is recommended meanwhile.

    Args:
        dataset: Encoded sequences.
        rankers: The network before and after training, the oracle, or others.
        protocol: "seen_in" or "seen_out": whether the shop recommends items that the shopper has seen.
        rng: Source of the resamples.
        split: "valid" or "test".
        batch_size: Rows scored at a time.
        progress: Whether to show progress bars.
    """
    watcher = Watcher(dataset, split)
    fitted = watch_baselines(
        watcher, {"out": default_baselines(dataset, seen="out"), "in": default_baselines(dataset, seen="in")}
    )
    watched = [watcher.watch(ranker) for ranker in rankers]
    report = evaluate_all(
        dataset, watched, rng=rng, baselines=fitted, split=split, batch_size=batch_size, progress=progress
    )
    return full_report(report, dataset, watcher, protocol, rng)


def write_full_report(full: FullReport, output: Path) -> list[Path]:
    """Writes `report.md`, `report.html` and `report.json`, each atomically, and returns the paths."""
    paths = [output / "report.md", output / "report.html", output / "report.json"]
    blocks = full.blocks()
    for path, text in zip(paths, (to_markdown(TITLE, blocks), to_html(TITLE, blocks)), strict=False):
        with atomic_path(path) as temporary:
            temporary.write_text(text, encoding="utf-8")
    write_json(full.document(), paths[2])
    return paths


def served_protocol() -> str:
    """Returns the protocol that the serving configuration recommends under."""
    config = load_config()
    return "seen_in" if config.recommend_seen and not config.exclude_seen else "seen_out"


def parse(argv: Sequence[str] | None) -> argparse.Namespace:
    """Returns the command line's arguments."""
    parser = argparse.ArgumentParser(prog="python -m scripts.ml.evaluate", description=(__doc__ or "").split("\n")[0])
    parser.add_argument("dataset", type=Path, help="folder of encoded sequences")
    parser.add_argument("--run", type=Path, help=f"folder of a training run (default: {DEFAULT_RUN} if it exists)")
    parser.add_argument("--oracle", type=Path, help=f"the generator's sidecar (default: {DEFAULT_ORACLE} if it exists)")
    parser.add_argument("--output", type=Path, default=DEFAULT_OUTPUT, help="folder of the JSON file and plots")
    parser.add_argument("--split", choices=("test", "valid"), default="test")
    parser.add_argument("--batch-size", type=int, default=512, help="rows scored at a time")
    parser.add_argument("--seed", type=int, default=42, help="seed of the bootstrap's resamples")
    parser.add_argument("--report", action="store_true", help="also write report.md, report.html and report.json")
    parser.add_argument(
        "--protocol", choices=FULL_RANKING, help="whose verdict the report is (default: as the serving configuration)"
    )
    return parser.parse_args(argv)


def evaluate(arguments: argparse.Namespace) -> None:
    """Runs the evaluation that the command line asks for.

    Raises:
        FileNotFoundError: If a run or an oracle was asked for by name and is not there.
        ValueError: If the data set, the run and the oracle do not fit together.
    """
    for path in (arguments.run, arguments.oracle):
        if path is not None and not path.exists():
            raise FileNotFoundError(f"{path} does not exist; leave the option out to evaluate without it")
    dataset = load_dataset(arguments.dataset)
    rankers: list[Ranker] = []
    run = arguments.run or (DEFAULT_RUN if DEFAULT_RUN.is_dir() else None)
    oracle = load_oracle(arguments.oracle) if arguments.oracle else fitting_oracle(dataset, arguments.split)
    if run is None:
        print("no training run: baselines only", file=sys.stderr)
    else:
        # All methods are judged by the rule for events at one second that the network was trained by.
        dataset = dataset.viewed(load_training_config(run / "config.yaml").data.same_time)
        rankers += network_rankers(run, dataset)
    if oracle is not None:
        rankers.append(oracle)
    rng = np.random.default_rng(arguments.seed)
    options: dict[str, Any] = {"rng": rng, "split": arguments.split, "batch_size": arguments.batch_size}
    full = None
    if arguments.report:
        full = evaluate_fully(dataset, rankers, protocol=arguments.protocol or served_protocol(), **options)
    report = evaluate_all(dataset, rankers, **options) if full is None else full.report
    print(report.text())
    figures = figures_of(report, dataset)
    if run is not None and (history := history_of(run)):
        figures["training_curves"] = training_curves(history)
    if full is not None:
        print(f"\n{full.verdicts[full.protocol].text()}\n")
    written = write_report(report, figures, arguments.output)
    for path in written if full is None else [*written, *write_full_report(full, arguments.output)]:
        print(f"wrote {path}")


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command line; returns the exit status."""
    arguments = parse(argv)
    try:
        evaluate(arguments)
    except (ConfigError, OSError, ValueError) as error:
        print(f"error: {' '.join(str(error).split())}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
