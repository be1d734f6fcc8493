"""Makes a registered version the champion if it passes every gate, or goes back to the champion before.

Usage: python -m scripts.ml.promote [DATASET] [--version N] [--name NAME] [--champion-margin X] [--latency-ms MS]
       python -m scripts.ml.promote --rollback [--name NAME]

Exit status: 0 promoted or rolled back, 3 refused by a gate (the version is the challenger then), 1 could not be judged.
"""

import argparse
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from scripts.ml.gate_leads import baseline_gates, judge_ranks, ndcg
from scripts.ml.held_out import HeldOut, held_out, serve_rows
from serving.bundle import Bundle, BundleError
from serving.clean_process import RegistryError, check_example
from serving.config import DEFAULT_CONFIG_PATH, ConfigError, ServeConfig, load_config
from serving.gate import (
    BASELINE,
    BUNDLE,
    CHAMPION,
    DATA,
    EXAMPLE,
    LATENCY,
    RELOAD,
    Gate,
    GateConfig,
    GateReport,
    failed,
    judge_example,
    judge_latency,
    not_run,
    passed,
)
from serving.promotion import RegisteredVersion
from training.data.sequences import EncodedSequences, load_dataset
from training.evaluation.protocol import PRIMARY_K
from training.files import write_json

DEFAULT_DATASET = Path("data/dataset")
DEFAULT_REPORT = Path("runs/promotion.json")
REFUSED = 3
_ALL_GATES = (BUNDLE, RELOAD, EXAMPLE, DATA, CHAMPION, BASELINE, LATENCY)


@dataclass(frozen=True)
class Measured:
    """Gates that were tried on held-out rows, with notes and facts for the report."""

    gates: list[Gate]
    notes: Sequence[str] = ()
    facts: Mapping[str, Any] = field(default_factory=dict[str, Any])


def judge(
    candidate: RegisteredVersion,
    champion: RegisteredVersion | None,
    dataset: EncodedSequences,
    config: ServeConfig,
    rng: np.random.Generator,
) -> GateReport:
    """Tries every gate on a registered version.

    The bundle's bytes, the clean process and the data come first; where one of them fails, the rest is not run. Leads
    and latency are measured on the test rows of the dataset, through the bundles as the registry holds them.

    Args:
        candidate: The version to judge.
        champion: The current champion; None: there is none, and its gate is passed by absence.
        dataset: What the candidate was trained on, with its held-out rows.
        config: Serving configuration, with the gate's margins and budget.
        rng: Source of resamples, and of the rows drawn where there are too many.

    Raises:
        RegistryError: The version is the champion already.
    """
    from serving.registry import open_registered  # MLflow takes seconds to import; --help should not wait for it

    if champion is not None and champion.version == candidate.version:
        raise RegistryError(f"{candidate.name!r} version {candidate.version} is the {config.alias!r} already")
    measured = Measured([])
    with tempfile.TemporaryDirectory() as folder:
        rival, unfit = None, None
        try:
            bundle = open_registered(candidate, f"{folder}/candidate")
            tried = [passed(BUNDLE, "every file has the SHA-256 that it was registered with")]
        except (BundleError, RegistryError) as error:
            bundle, tried = None, [failed(BUNDLE, _without(folder, error))]
        if bundle is not None:
            tried += _reload(candidate, bundle, config)
        if champion is not None:
            try:
                rival = open_registered(champion, f"{folder}/champion")
            except (BundleError, RegistryError) as error:
                unfit = (
                    f"champion version {champion.version} cannot be compared with: {_without(folder, error)} "
                    "(scripts.ml.register_model --alias sets an alias without a gate)"
                )
        if bundle is not None and all(gate.verdict == "passed" for gate in tried):
            measured = measure(bundle, rival, dataset, config, rng, unfit)
    tried += measured.gates
    reached = {gate.name.split()[0] for gate in tried}
    tried += not_run([name for name in _ALL_GATES if name not in reached])
    held = None if champion is None else champion.version
    return GateReport(candidate.name, candidate.version, held, tuple(tried), tuple(measured.notes), measured.facts)


def measure(
    bundle: Bundle,
    rival: Bundle | None,
    dataset: EncodedSequences,
    config: ServeConfig,
    rng: np.random.Generator,
    unfit: str | None = None,
) -> Measured:
    """Tries the gates that need held-out rows: data, champion, baselines, latency.

    Args:
        bundle: Bundle of the version to judge.
        rival: The champion's bundle; None: there is none.
        dataset: As in `judge`, and so are the others.
        config: As in `judge`.
        rng: As in `judge`.
        unfit: Why there is a champion but not its bundle.
    """
    bundles, gates = [bundle] if rival is None else [bundle, rival], config.gate
    seen = config.recommend_seen and not config.exclude_seen
    # As in the evaluation: all are judged by the rule for events at one second that the version was trained by.
    dataset = dataset.viewed((bundle.manifest.config.get("data") or {}).get("same_time", dataset.same_time))
    data = held_out(dataset, bundles, recommend_seen=seen, most_rows=gates.held_out_rows, rng=rng)
    tried = [judge_data(bundle, data)]
    if tried[0].verdict == "failed":
        return Measured(tried)
    ours = serve_rows(bundle, config, data)
    scores = {"this version": ndcg(ours.ranks)}
    if rival is not None:
        theirs = serve_rows(rival, config, data)
        scores["champion"] = ndcg(theirs.ranks)
        both = ours.answered & theirs.answered
        tried.append(judge_ranks(CHAMPION, "the champion", ours, theirs.ranks, both, gates.champion_margin, gates, rng))
    else:
        tried.append(failed(CHAMPION, unfit) if unfit else passed(CHAMPION, "there is no champion yet"))
    of_baselines, found = baseline_gates(bundle, ours, data, gates, rng)
    tried += of_baselines
    scores |= found
    p95 = float(np.percentile(ours.milliseconds, 95)) if len(ours.milliseconds) else float("nan")
    tried.append(judge_latency(p95, gates.latency_p95_ms))
    facts: dict[str, Any] = {
        "data_fingerprint": dataset.metadata.get("fingerprint"),
        "protocol": f"full ranking, seen items {data.seen}",
        "held_out_rows": len(data.rows),
        "rows_left_out": data.left_out,
        "products": int(data.sold.sum()),
        **{f"NDCG@{PRIMARY_K} of {name}": value for name, value in scores.items()},
    }
    return Measured(tried, _notes(bundle, rival, data), facts)


def judge_data(bundle: Bundle, data: HeldOut) -> Gate:
    """Judges whether the held-out rows can judge the bundle: kept out of its training, and of products it can offer."""
    expected, received = data.dataset.metadata.get("fingerprint"), bundle.manifest.data_fingerprint
    if received != expected:
        # Rows that are held out of one data set may be training rows of another.
        return failed(
            DATA, f"trained on the data {_short(received)}; the held-out rows are of the data {_short(expected)}"
        )
    if not len(data.rows):
        return failed(DATA, f"no held-out row has a target that every bundle sells; {data.left_out} have another")
    return passed(DATA, f"trained on the data {_short(received)}, without its {len(data.rows)} held-out rows")


def _reload(candidate: RegisteredVersion, bundle: Bundle, config: ServeConfig) -> list[Gate]:
    from serving.registry import reload_and_score

    # The comparison comes afterwards, as a gate of its own.
    any_scores = config.model_copy(update={"example_tolerance": float("inf")})
    try:
        answer = reload_and_score(candidate.model_uri, any_scores)
    except RegistryError as error:
        return [failed(RELOAD, str(error))]
    problem = None
    try:
        check_example(answer, bundle.example, config.example_tolerance)
    except RegistryError as error:
        problem = str(error)
    pairs = zip(answer[0]["preds"], bundle.example["preds"], strict=True)
    difference = max((abs(a - b) for a, b in pairs), default=0.0)
    loaded = passed(RELOAD, "loaded from the registry in a clean process, without TensorFlow")
    return [loaded, judge_example(difference, config.example_tolerance, problem)]


def _notes(bundle: Bundle, rival: Bundle | None, data: HeldOut) -> list[str]:
    notes: list[str] = []
    if rival is not None and rival.manifest.data_fingerprint != bundle.manifest.data_fingerprint:
        notes.append(
            f"The champion was trained on other data, {_short(rival.manifest.data_fingerprint)}: rows held out "
            "here may have been among its training rows, which favours it, and newer products may be unknown to it."
        )
    if data.left_out:
        notes.append(
            f"{data.left_out} held-out rows were left out: their target is unknown to training, or not every bundle "
            "sells it."
        )
    return notes


def _short(fingerprint: str | None) -> str:
    return (fingerprint or "unknown")[:12]


def _without(folder: str, error: Exception) -> str:
    """The message without the temporary folder, which tells nobody anything."""
    return str(error).replace(f"{folder}/", "")


def parse(argv: Sequence[str] | None) -> argparse.Namespace:
    """Returns the command line's arguments."""
    parser = argparse.ArgumentParser(
        prog="promote", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("dataset", nargs="?", type=Path, default=DEFAULT_DATASET, help="folder of encoded sequences")
    add("--version", help="version to judge (default: the newest one)")
    add("--name", help="registered model name (else SLIREC_MODEL_NAME, else the configuration's)")
    add("--config", type=Path, default=DEFAULT_CONFIG_PATH, help="serving configuration (YAML)")
    add("--champion-margin", type=float, help="in place of the configuration's gate.champion_margin")
    add("--baseline-margin", type=float, help="in place of gate.baseline_margin")
    add("--latency-ms", type=float, help="in place of gate.latency_p95_ms")
    add("--seed", type=int, default=42, help="seed of the bootstrap's resamples")
    add("--report", type=Path, default=DEFAULT_REPORT, help="JSON file of the report")
    add("--rollback", action="store_true", help="make the version that was champion before the champion again")
    return parser.parse_args(argv)


def run(arguments: argparse.Namespace) -> int:
    """Promotes, refuses or rolls back as the command line asks; returns the exit status.

    Raises:
        RegistryError: MLflow refused, there is no such version, or nothing to go back to.
        ValueError: A file or a setting is not as it should be.
    """
    config = load_config(arguments.config)
    asked = {
        "champion_margin": arguments.champion_margin,
        "baseline_margin": arguments.baseline_margin,
        "latency_p95_ms": arguments.latency_ms,
    }
    given = {key: value for key, value in asked.items() if value is not None}
    config = config.model_copy(update={"gate": GateConfig(**{**config.gate.model_dump(), **given})})
    from serving.registry import find_version, promote, rollback

    if arguments.rollback:
        now, left = rollback(config, name=arguments.name)
        print(f"{now.name}: {config.alias} is version {now.version} again; it was version {left or 'none'}")
        return 0
    dataset = load_dataset(arguments.dataset)
    candidate = find_version(config, name=arguments.name, number=arguments.version)
    champion = find_version(config, name=arguments.name, alias=config.alias)
    assert candidate is not None  # only an alias may point nowhere
    report = judge(candidate, champion, dataset, config, np.random.default_rng(arguments.seed))
    uri = promote(report, config)
    write_json(report.document(), arguments.report)
    print(f"{report.markdown()}\n\nLoad it by: mlflow.pyfunc.load_model({uri!r})")
    return 0 if report.passed else REFUSED


def main(argv: Sequence[str] | None = None) -> int:
    """Command line; returns the exit status."""
    arguments = parse(argv)
    try:
        return run(arguments)
    except (BundleError, ConfigError, RegistryError, OSError, ValueError) as error:
        print(f"promote: {' '.join(str(error).split())}", file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main())
