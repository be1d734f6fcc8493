"""Fits a ranker on all purchases given and writes the model bundle: any method but SLi-Rec alone.

Usage: python -m scripts.ml.fit_ranker INTERACTIONS --ranker own_frequency|popularity|ease|candidate_history|blend
    [--inventory INVENTORY]
    [--settings settings.json | --report runs/future/window_2017-10-02.json | --report runs/evaluation/report.json]
    [--network runs/slirec/bundle] [--output runs/ranker/bundle]

INTERACTIONS is a file of interactions, every row of which is learned from; or a folder of encoded sequences, whose
held-out rows are not, so that `scripts.ml.promote` can judge the bundle. Settings come from `--settings`, from a
report's verdict, or are chosen on the last days of the purchases. A blend with `--network` is one with SLi-Rec.
"""

import argparse
import json
import logging
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from scripts.ml.item_groups import DEFAULT_GROUPS, inventory_groups
from training.data.columns import ITEM_ID
from training.data.inventory import load_inventory
from training.data.sequences import EncodedSequences
from training.evaluation.future import DAYS, VIEWS
from training.evaluation.histories import training_events
from training.evaluation.purchases import Purchases
from training.export import catalogue_table
from training.export_ranker import export_blend_bundle, export_ranker_bundle, manifest_of_network
from training.fit_rankers import BLEND, KINDS, LEARNED, document_of_report, fit_ranker, tuned_document
from training.models.network_session import NetworkSession
from training.models.rank_session import HISTORY_LENGTH, RankSession
from training.network_blend import learn_weights
from training.ranker_data import history_of, ranker_data

DEFAULT_OUTPUT = Path("runs/ranker/bundle")
DEFAULT_INVENTORY = Path("training/inventory.pkl")


def groups_of(document: Mapping[str, Any], given: Sequence[str] | None) -> Sequence[str]:
    """Returns the groups that a learned ranker is fitted with: given ones, else those of its document."""
    learned = [each for each in (document, *(document.get("parts") or ())) if each["kind"] == LEARNED]
    named = [(each.get("settings") or {}).get("groups") for each in learned]
    return given if given is not None else next((names for names in named if names is not None), DEFAULT_GROUPS)


def history_length_of(document: Mapping[str, Any], given: int | None) -> int:
    """Returns the events of a shopper that the bundle keeps and reads: given ones, else as learned and evaluated with.

    Args:
        document: Of the ranker, complete.
        given: On the command line.
    """
    parts = (document, *(document.get("parts") or ()))
    lengths = [of for part in parts if (of := (part.get("settings") or {}).get("history_length"))]
    return given if given is not None else max(lengths, default=HISTORY_LENGTH)


def ranker_of(arguments: argparse.Namespace, dataset: EncodedSequences) -> tuple[dict[str, Any], dict[str, float]]:
    """Returns the document of the ranker to fit, and figures of its choice.

    Raises:
        ValueError: The settings file or the report does not fit.
    """
    kind = arguments.ranker
    if arguments.report is not None:
        document, notes = document_of_report(_json(arguments.report), kind, arguments.view)
        for note in notes:
            print(note, file=sys.stderr)
        return document, {}
    if kind is None:
        raise ValueError("`--ranker` or `--report` should say what to fit. Received: neither")
    if arguments.settings is not None:
        given = _json(arguments.settings)
        document = dict(given) if "kind" in given or "parts" in given else {"kind": kind, "settings": dict(given)}
        document.setdefault("kind", kind)
        if document["kind"] != kind:
            raise ValueError(f"{arguments.settings} should be of a {kind}. Received: of a {document['kind']}")
        return document, {}
    if kind in (LEARNED, "popularity"):
        return {"kind": kind, "settings": {}}, {}
    if kind == BLEND and arguments.network is not None:
        kind = "own_frequency"
    rows = training_events(dataset)
    rows = rows[dataset.item[rows] > 0]
    purchases = Purchases.of(dataset.user[rows], dataset.item[rows], dataset.timestamp[rows])
    rng = np.random.default_rng(arguments.seed)
    document, value = tuned_document(
        kind,
        purchases,
        rng,
        days=arguments.days,
        min_purchases=arguments.min_purchases,
        view=arguments.view or VIEWS[0],
        progress=not arguments.quiet,
    )
    return document, {"validation/NDCG@10": value}


def run(arguments: argparse.Namespace) -> Path:
    """Fits and writes what the command line asks for; returns the bundle's folder.

    Raises:
        ValueError: A file or an argument does not fit.
    """
    inventory = load_inventory(arguments.inventory)
    dataset = ranker_data(arguments.interactions, arguments.min_purchases)
    catalogue_table(dataset, inventory)  # a wrong inventory shows now, not after the fit
    if arguments.network is not None:
        manifest_of_network(arguments.network, dataset)
    document, metrics = ranker_of(arguments, dataset)
    kinds = {document["kind"], *(part["kind"] for part in document.get("parts") or [])}
    handles = dataset.vocabularies[ITEM_ID].values[1:].tolist()
    names = groups_of(document, arguments.groups) if LEARNED in kinds else ()
    groups = inventory_groups(inventory, handles, names)
    graph, ranker = fit_ranker(document, history_of(dataset), groups, progress=not arguments.quiet)
    length = history_length_of(ranker, arguments.history_length)
    if arguments.network is None:
        export_ranker_bundle(graph, ranker, dataset, inventory, arguments.output, metrics, history_length=length)
    else:
        network = NetworkSession(arguments.network)
        options = (arguments.seen, not arguments.quiet)
        ranker, value = learn_weights(dataset, network, RankSession(graph), ranker, *options, history_length=length)
        metrics["validation/NDCG@10"] = value
        export_blend_bundle(arguments.network, graph, ranker, dataset, arguments.output, metrics, history_length=length)
    print(f"ranker: {json.dumps(_shown(ranker))}")
    for name, figure in metrics.items():
        print(f"{name}: {figure:.4f}")
    return arguments.output


def _shown(ranker: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in ranker.items() if value not in ([], {})}


def _json(path: Path) -> Mapping[str, Any]:
    document = json.loads(path.read_text(encoding="utf-8"))
    if not isinstance(document, dict):
        raise ValueError(f"{path} should hold a JSON object. Received: {type(document).__name__}")
    return document


def parse(argv: Sequence[str] | None) -> argparse.Namespace:
    """Returns the command line's arguments."""
    parser = argparse.ArgumentParser(
        prog="fit_ranker", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("interactions", type=Path, help="interactions (.parquet or .tsv), or a folder of encoded sequences")
    add("--ranker", choices=KINDS, help="what to fit; with --report, which kind of its methods (default: the best)")
    add("--inventory", type=Path, default=DEFAULT_INVENTORY, help="snapshot, .pkl or .json (default: %(default)s)")
    source = parser.add_mutually_exclusive_group()
    source.add_argument("--settings", type=Path, help="JSON of settings, or of a whole ranker as in bundle.json")
    source.add_argument(
        "--report", type=Path, help="JSON report of scripts.ml.evaluate_future, or of evaluate --report"
    )
    add("--view", choices=VIEWS, help="table of the report, or what to tune for (default: the report's own; all)")
    add("--network", type=Path, help="bundle of SLi-Rec, of the same encoded sequences, to blend with")
    add(
        "--seen",
        choices=("in", "out"),
        default="in",
        help="whether bought products are ranked while weights are learned",
    )
    add(
        "--groups",
        nargs="*",
        help="attributes that candidate_history learns from, a+b for combinations (default: as in the report or the "
        "settings, else the category)",
    )
    add("--min-purchases", type=int, default=1, help="interactions an item needs to be ranked (default: 1)")
    add("--days", type=int, default=DAYS, help="last days that settings are chosen on (default: %(default)s)")
    add("--history-length", type=int, help=f"events of a shopper (default: as learned with, else {HISTORY_LENGTH})")
    add("--output", type=Path, default=DEFAULT_OUTPUT, help="folder of the bundle (default: %(default)s)")
    add("--seed", type=int, default=42, help="seed of the order of equal scores (default: %(default)s)")
    add("--quiet", action="store_true", help="no progress bars")
    arguments = parser.parse_args(argv)
    if arguments.network is not None and arguments.ranker != BLEND:
        parser.error("--network needs --ranker blend")
    return arguments


def main(argv: Sequence[str] | None = None) -> int:
    """Command line; returns the exit status."""
    arguments = parse(argv)
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    try:
        folder = run(arguments)
    except (OSError, ValueError) as error:
        print(f"error: {' '.join(str(error).split())}", file=sys.stderr)
        return 1
    print(f"bundle: {folder}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
