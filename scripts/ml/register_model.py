"""Logs a model bundle in MLflow, registers it, sets its alias, and scores it from a clean process.

Usage: python -m scripts.ml.register_model [BUNDLE] [--name NAME] [--alias ALIAS] [--evaluation JSON] [--report REPORT]
    [--run-id ID]

The version becomes the challenger; `scripts.ml.promote` then makes it the champion if it passes the gate. `--alias`
sets another alias, whether or not the version is better than the one that has it. The report of the evaluation
(`scripts.ml.evaluate --report`), where there is one of the same data, is stored with the version's run under `report/`.
For a ranker that `scripts.ml.fit_ranker` made of a temporal cut's report, name that one: `--report window_DAY.json`.
"""

import argparse
import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from scripts.ml.run_summary import format_registered
from serving.bundle import Bundle, BundleError, open_bundle
from serving.clean_process import RegistryError
from serving.config import DEFAULT_CONFIG_PATH, ConfigError, ServeConfig, load_config
from serving.manifest import SLI_REC
from training.files import write_json

DEFAULT_BUNDLE = Path("runs/slirec/bundle")
DEFAULT_EVALUATION = Path("runs/evaluation/evaluation.json")
DEFAULT_REPORT = DEFAULT_EVALUATION.parent
DEFAULT_SUMMARY = Path("runs/registered.json")
METHOD = "SLi-Rec"
REPORT = "report.json"
REPORT_SUFFIXES = (".md", ".html", ".json")


def evaluation_metrics(evaluation: Mapping[str, Any], method: str = METHOD) -> dict[str, float]:
    """Flattens one method's figures of an evaluation report.

    Args:
        evaluation: `runs/evaluation/evaluation.json`: `full_ranking` -> seen_out / seen_in -> method -> metric, and
            `sampled` -> method -> metric.
        method: The method that is registered.

    Returns:
        For instance `{"full_ranking/seen_out/NDCG@10": 0.31, "sampled/auc": 0.9}`.

    Raises:
        ValueError: The report has no figures of `method`.
    """
    tables = {f"full_ranking/{seen}": table for seen, table in evaluation.get("full_ranking", {}).items()}
    tables["sampled"] = evaluation.get("sampled", {})
    metrics = {
        f"{prefix}/{name}": float(value)
        for prefix, table in tables.items()
        for name, value in table.get(method, {}).items()
        if isinstance(value, int | float)
    }
    if not metrics:
        raise ValueError(f"The evaluation report should have figures of {method!r}. Received: none")
    return metrics


def register(
    bundle: Bundle,
    config: ServeConfig,
    summary_path: Path,
    *,
    name: str | None = None,
    alias: str | None = None,
    metrics: Mapping[str, float] | None = None,
    run_id: str | None = None,
    tags: Mapping[str, str] | None = None,
    report: Path | None = None,
) -> dict[str, Any]:
    """Registers a bundle, scores it from a clean process, sets the alias if that went well, and notes the result.

    Args:
        bundle: The opened model bundle.
        config: Serving configuration.
        summary_path: JSON file to write: name, version, alias, model_uri, run_id, and the answer to the bundle's
            example as `sample`, a list of title, gid and score.
        name: Registered name; by default SLIREC_MODEL_NAME, else the configuration's.
        alias: Alias to set; by default the challenger's.
        metrics: Figures to link with the version.
        run_id: Training run to log into.
        tags: Tags of the version, beside those of its lineage.
        report: The evaluation's full report, as in `report_files`, stored under `report/`; its verdict becomes tags.

    Returns:
        What the file holds.

    Raises:
        OSError: A file of the report is missing.
        ValueError: The report has no verdict, or is of other data.
        RegistryError: MLflow refused, or the reloaded model does not answer as the bundle's example says.
    """
    # MLflow takes seconds to import; --help and a wrong bundle should not wait for it.
    from serving.registry import log_and_register, reload_and_score, set_alias

    all_tags = dict(tags or {}) | ({} if report is None else report_tags(report, bundle))
    files = [] if report is None else report_files(report)
    registered = log_and_register(
        bundle.path, config, name=name, metrics=metrics, tags=all_tags, run_id=run_id, report=files
    )
    (answer,) = reload_and_score(registered.model_uri, config)
    alias = alias or config.gate.challenger_alias
    model_uri = set_alias(registered, alias)  # only now: clients that load the alias never meet a broken version
    titles = bundle.catalogue.titles
    summary = {
        "name": registered.name,
        "version": registered.version,
        "alias": alias,
        "model_uri": model_uri,
        "run_id": registered.run_id,
        "sample": [
            {"title": titles[bundle.catalogue.row_of_gid[gid]].as_py(), "gid": gid, "score": score}
            for gid, score in zip(answer["itemIds"], answer["preds"], strict=True)
        ],
    }
    write_json(summary, summary_path)
    return summary


def report_files(report: Path) -> list[Path]:
    """Returns the Markdown, HTML and JSON file of a report.

    Args:
        report: Folder of `scripts.ml.evaluate --report`, or the JSON file of any report, with the others beside it.

    Raises:
        OSError: One of them is missing.
    """
    document = report if report.suffix == REPORT_SUFFIXES[-1] else report / REPORT
    files = [document.with_suffix(suffix) for suffix in REPORT_SUFFIXES]
    for file in files:
        if not file.is_file():
            raise FileNotFoundError(
                f"{file} does not exist; write it by scripts.ml.evaluate --report, or by scripts.ml.evaluate_future"
            )
    return files


def report_tags(report: Path, bundle: Bundle) -> dict[str, str]:
    """Returns the tags that say what the evaluation's report would deploy.

    Args:
        report: As in `report_files`.
        bundle: The bundle to register.

    Raises:
        OSError: A file is missing.
        ValueError: It has no verdict; or is neither of the test split of the data that the bundle was trained on, nor
            of a temporal cut with a verdict for such a ranker.
    """
    document = report_files(report)[-1]
    verdict = json.loads(document.read_text(encoding="utf-8"))
    if missing := [key for key in ("deploy", "kind", "lead", "rule") if key not in verdict]:
        raise ValueError(f"{document} should hold a verdict. Missing: {missing}")
    kind = bundle.manifest.ranker.kind
    if "before" in verdict:  # a bundle is fitted on what came after the cut, too: no fingerprint can be equal
        if verdict["kind"] != kind:
            raise ValueError(
                f"{document} should be a report that deploys the bundle's {kind}. Received: {verdict['kind']}"
            )
    elif (verdict.get("split"), verdict.get("data_fingerprint")) != ("test", bundle.manifest.data_fingerprint):
        raise ValueError(
            f"{report} should be a report of the test split of the data that the bundle was trained on; evaluate again"
        )
    low, mean, high = verdict["lead"]
    lead = f"{mean:+.4f} ({low:+.4f} to {high:+.4f})"
    return {"verdict_method": str(verdict["deploy"]), "verdict_kind": str(verdict["kind"]), "verdict_lead": lead}


def main(argv: Sequence[str] | None = None) -> int:
    """Command line; returns the exit status."""
    parser = argparse.ArgumentParser(prog="register_model", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("bundle", nargs="?", type=Path, default=DEFAULT_BUNDLE, help="folder of the model bundle")
    parser.add_argument("--config", type=Path, default=DEFAULT_CONFIG_PATH, help="serving configuration (YAML)")
    parser.add_argument("--name", help="registered model name (else SLIREC_MODEL_NAME, else the configuration's)")
    parser.add_argument("--alias", help="registry alias to set (else the configuration's gate.challenger_alias)")
    parser.add_argument("--evaluation", type=Path, help=f"evaluation report (default {DEFAULT_EVALUATION} if present)")
    parser.add_argument("--method", help=f"its name in the report (default: {METHOD}, for a bundle of it)")
    parser.add_argument("--report", type=Path, help=f"full report, folder or JSON (default {DEFAULT_REPORT} if there)")
    parser.add_argument("--run-id", help="training run to log into (default: from run.json beside the bundle)")
    parser.add_argument("--summary", type=Path, default=DEFAULT_SUMMARY, help="where the result is noted")
    arguments = parser.parse_args(argv)
    try:
        bundle = open_bundle(arguments.bundle)
        config = load_config(arguments.config)
        metrics = _metrics(arguments.evaluation, bundle, arguments.method)
        run_id = arguments.run_id or _training_run(arguments.bundle)
        # The file's name alone: folders are this machine's business.
        tags = {"serving_config_file": arguments.config.name}
        options: dict[str, Any] = {"name": arguments.name, "alias": arguments.alias, "run_id": run_id, "tags": tags}
        report = arguments.report or found_report(bundle)
        summary = register(bundle, config, arguments.summary, metrics=metrics, report=report, **options)
    except (BundleError, ConfigError, RegistryError, OSError, ValueError) as error:
        print(f"register_model: {error}", file=sys.stderr)
        return 1
    print(
        f"Reloaded in a clean process without TensorFlow; the example's scores agree to {config.example_tolerance:g}."
    )
    print(format_registered(summary))
    return 0


def _metrics(path: Path | None, bundle: Bundle, method: str | None) -> dict[str, float]:
    """Figures of the evaluation report; none where the default one is not there, or is of other data or methods."""
    report_path = path or DEFAULT_EVALUATION
    if method is None:
        kind = bundle.manifest.ranker.kind
        if kind != SLI_REC:
            if path is not None:
                raise ValueError(f"`--method` should name the {kind} among those of {path}. Received: none")
            return {}
        method = METHOD
    if path is None and not report_path.exists():
        return {}
    report = json.loads(report_path.read_text(encoding="utf-8"))
    expected = ("test", bundle.manifest.data_fingerprint)
    if (report.get("split"), report.get("data_fingerprint")) == expected:
        return evaluation_metrics(report, method)
    problem = f"{report_path} should be an evaluation of the test split of the data that the bundle was trained on"
    if path is not None:
        raise ValueError(f"{problem}; evaluate again, or name another report")
    print(f"without the evaluation: {problem}", file=sys.stderr)
    return {}


def found_report(bundle: Bundle, folder: Path = DEFAULT_REPORT) -> Path | None:
    """Returns the folder if it has a report of the bundle's data; None if it has none, or (said on stderr) another."""
    if not (folder / REPORT).exists():
        return None
    try:
        report_tags(folder, bundle)
    except (OSError, ValueError) as error:
        print(f"without the report: {error}", file=sys.stderr)
        return None
    return folder


def _training_run(bundle: Path) -> str | None:
    """MLflow run that training noted in `run.json` beside the bundle."""
    path = bundle.resolve().parent / "run.json"
    if not path.exists():
        return None
    return json.loads(path.read_text(encoding="utf-8")).get("mlflow_run_id")


if __name__ == "__main__":
    sys.exit(main())
