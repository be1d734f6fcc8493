"""The gates that compare a version with others on held-out rows: what it leads, or at least is no worse than."""

from typing import Any

import numpy as np

from scripts.ml.held_out import HeldOut, Served, baseline_ranks
from serving.bundle import Bundle
from serving.gate import BASELINE, Gate, GateConfig, failed, judge_lead, judge_no_worse, passed
from training.evaluation.baselines import default_baselines, settings_of
from training.evaluation.bootstrap import paired_bootstrap
from training.evaluation.metrics import Ranks
from training.evaluation.protocol import primary_metric
from training.evaluation.verdict import Deployment, deployment_of


def baseline_gates(
    bundle: Bundle, ours: Served, data: HeldOut, gates: GateConfig, rng: np.random.Generator
) -> tuple[list[Gate], dict[str, float]]:
    """Judges a version against every naive baseline, by the rule of the evaluation's verdict.

    A learned version has to lead each of them. A simple one should be no worse than any, beyond luck; the baseline that
    it is itself is named and not compared, since nothing can lead itself.

    Args:
        bundle: Of the version to judge.
        ours: How it did.
        data: Rows that it was asked for.
        gates: Margin, confidence and resamples.
        rng: Source of the resamples.

    Returns:
        One gate a baseline, and NDCG@10 by baseline.
    """
    baselines = default_baselines(data.dataset, seen=data.seen)
    settings, version = settings_of(baselines), deployment_in(bundle)
    tried: list[Gate] = []
    scores: dict[str, float] = {}
    for name, ranks in baseline_ranks(baselines, data).items():
        scores[name] = ndcg(ranks)
        gate, same = f"{BASELINE} {name}", deployment_of(name, settings[name])
        if same is not None and same.method == version.method:
            tried.append(passed(gate, f"not compared: this version is {name} itself"))
            continue
        options = (ours.answered, gates.baseline_margin, gates, rng)
        tried.append(judge_ranks(gate, name, ours, ranks, *options, simple=not version.is_learned))
    return tried, scores


def deployment_in(bundle: Bundle) -> Deployment:
    """Returns which ranker a bundle holds."""
    ranker = bundle.manifest.ranker
    parts = {"parts": [part.model_dump() for part in ranker.parts]} if ranker.parts else {}
    return Deployment(ranker.kind, {**ranker.settings, **parts})


def judge_ranks(
    gate: str,
    opponent: str,
    ours: Served,
    theirs: Ranks,
    rows: Any,
    margin: float,
    gates: GateConfig,
    rng: np.random.Generator,
    simple: bool = False,
) -> Gate:
    """Judges a version against one opponent by the paired bootstrap of the difference.

    Args:
        gate: Name of the gate.
        opponent: Who it is compared with, for the reason.
        ours: How the version did.
        theirs: How the opponent did, on the same rows.
        rows: (N,) bool, the rows that count.
        margin: Share of the opponent's NDCG@10 that the interval is held against.
        gates: Confidence and resamples.
        rng: Source of the resamples.
        simple: Whether it is enough to be no worse.
    """
    if not rows.any():
        return failed(gate, f"there is no row that both this version and {opponent} can answer")
    mine, other = ours.ranks.take(rows), theirs.take(rows)
    lead = paired_bootstrap(mine, other, primary_metric, rng, gates.bootstrap_repeats, gates.confidence)
    means = {"ours": ndcg(mine), "theirs": ndcg(other), "margin": margin}
    if simple:
        return judge_no_worse(gate, opponent, high=lead.high, **means)
    return judge_lead(gate, opponent, low=lead.low, **means)


def ndcg(ranks: Ranks) -> float:
    """Returns the mean NDCG@10."""
    return float(primary_metric(ranks).mean())
