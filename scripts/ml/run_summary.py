"""What a run of the whole workflow ends with: the evaluation, the registered version, a sample recommendation."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from training.evaluation.metrics import metrics_table

TITLES = {
    "seen_out": "Full ranking, products that the shopper has not touched before",
    "seen_in": "Full ranking, the whole inventory",
    "sampled": "SAMPLED: the target among a few random products, not comparable with full ranking",
}


class RunSummaryError(RuntimeError):
    """A result file of the run is missing or is not what it should be."""


def format_evaluation(evaluation: Mapping[str, Any]) -> str:
    """Returns the tables of `evaluation.json`, full ranking first."""
    tables = [
        "\n".join([f"{TITLES[protocol]}: {evaluation['num_rows'][protocol]:,} rows", *metrics_table(methods)])
        for protocol, methods in (*evaluation["full_ranking"].items(), ("sampled", evaluation["sampled"]))
    ]
    return "\n\n".join(tables)


def format_registered(registered: Mapping[str, Any]) -> str:
    """Returns the lines about the registered version and its sample recommendation."""
    lines = [
        f"Registered: {registered['name']} version {registered['version']}, alias {registered['alias']}",
        f"Load it by: mlflow.pyfunc.load_model({registered['model_uri']!r})",
        "",
        "Recommended for the example shopper",
    ]
    sample = registered["sample"]
    width = max((len(product["title"]) for product in sample), default=0)
    for rank, product in enumerate(sample, start=1):
        lines.append(f"{rank:3d}  {product['title'].ljust(width)}  {product['score']:.4f}  {product['gid']}")
    return "\n".join(lines)


def summarise_run(runs: Path) -> str:
    """Returns the closing report of a run.

    Args:
        runs: Folder with `evaluation/evaluation.json` and `registered.json`.

    Raises:
        RunSummaryError: One of them is missing or incomplete.
    """
    evaluation = _read(runs / "evaluation" / "evaluation.json", ("full_ranking", "sampled", "num_rows"))
    registered = _read(runs / "registered.json", ("name", "version", "alias", "model_uri", "sample"))
    return f"\n{format_evaluation(evaluation)}\n\n{format_registered(registered)}"


def _read(path: Path, keys: tuple[str, ...]) -> dict[str, Any]:
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise RunSummaryError(f"{path} should have been written by the notebooks; it is missing") from None
    except ValueError as error:
        raise RunSummaryError(f"{path} should be JSON: {error}") from error
    if missing := [key for key in keys if key not in document]:
        raise RunSummaryError(f"{path} should have the keys {list(keys)}. Missing: {missing}")
    return document
