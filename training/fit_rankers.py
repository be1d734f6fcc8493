"""Fits deployable rankers from a document of their kind and settings, and finds such a document.

A document is what a bundle says of its ranker: `{"kind", "settings", "parts"}`, with parts `{"kind", "weight",
"settings"}` for a blend.
"""

import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

import numpy as np
import onnx

from training.evaluation.future import DAYS, VIEWS, View, temporal_cut
from training.evaluation.future_tuning import simple_methods, tune_methods
from training.evaluation.purchases import MIN_PURCHASES, SECONDS_PER_DAY, History, IntArray, Purchases
from training.evaluation.verdict import Deployment, deployment_of
from training.history_config import FACTS, HistoryRankerConfig
from training.models.rank_graphs import rank_graph, ranker_document
from training.models.rank_parts import EasePart, GraphPart, OwnFrequencyPart, PopularityPart, RankPart

KINDS: Final = ("popularity", "own_frequency", "ease", "candidate_history", "blend")
LEARNED: Final = "candidate_history"
BLEND: Final = "blend"

_FITS: Final[Mapping[str, Callable[..., RankPart]]] = {
    "popularity": PopularityPart.fit,
    "own_frequency": OwnFrequencyPart.fit,
    "ease": EasePart.fit,
}
_PROTOCOLS: Final[Mapping[View, str]] = {"all": "seen_in", "new": "seen_out"}
_METHODS_OF_KINDS: Final[Mapping[str, Sequence[str]]] = {
    "popularity": ("popularity", "recent popularity"),
    "own_frequency": ("own frequency", "own frequency, basket decay"),
    "ease": ("EASE", "EASE, log counts"),
    BLEND: ("own frequency, basket decay", "EASE"),
}


def fit_ranker(
    document: Mapping[str, Any], history: History, groups: Mapping[str, IntArray], *, progress: bool = False
) -> tuple[onnx.ModelProto, dict[str, Any]]:
    """Fits a ranker on all of a history.

    Args:
        document: Kind and settings; what it does not say keeps its default.
        history: Purchases, whose items 0..I-1 become the graph's ids 1..I.
        groups: For a learned ranker: name to (I,) whole numbers, the group of each item.
        progress: Whether to show bars.

    Returns:
        The rank graph, and its complete document.

    Raises:
        ValueError: A kind or a setting is not known or out of range.
    """
    if document.get("kind") != BLEND:
        parts, weights, standardise = [_part(document, history, groups, progress)], [1.0], False
    else:
        listed = document.get("parts") or []
        if not listed:
            raise ValueError("`parts` of a blend should have kind, weight and settings each. Received: none")
        parts = [_part(part, history, groups, progress) for part in listed]
        weights = [float(part.get("weight", 1.0)) for part in listed]
        standardise = bool((document.get("settings") or {}).get("standardise", False))
    graph = rank_graph(parts, weights, standardise=standardise)
    return graph, ranker_document(parts, weights, standardise=standardise)


def _part(document: Mapping[str, Any], history: History, groups: Mapping[str, IntArray], progress: bool) -> RankPart:
    kind, settings = document.get("kind"), dict(document.get("settings") or {})
    if kind == LEARNED:
        from training.history_ranker import fit_history_ranker  # imports TensorFlow

        known = {name: value for name, value in settings.items() if name not in FACTS}
        fitted = fit_history_ranker(history, groups, HistoryRankerConfig(**known), progress)
        return GraphPart(fitted.graph, LEARNED, fitted.settings)
    if kind not in _FITS:
        raise ValueError(f"`kind` should be one of {', '.join((*_FITS, LEARNED))}. Received: kind = {kind!r}")
    allowed = [name for name in inspect.signature(_FITS[kind]).parameters if name != "history"]
    if unknown := sorted(set(settings) - set(allowed)):
        raise ValueError(f"`settings` of {kind} should be among {', '.join(allowed)}. Received: {', '.join(unknown)}")
    return _FITS[kind](history, **settings)


def document_of(method: str, settings: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the document of a method of an evaluation.

    Args:
        method: Its name in the report.
        settings: Its settings there.

    Raises:
        ValueError: It is, or blends, a method that cannot be fitted here.
    """
    found = deployment_of(method, settings)
    if found is None or found.kind not in KINDS:
        raise ValueError(f"The method should be one that `kind` can be ({', '.join(KINDS)}). Received: {method!r}")
    return _document(found)


def _document(deployment: Deployment) -> dict[str, Any]:
    if deployment.kind != BLEND:
        return {"kind": deployment.kind, "settings": dict(deployment.settings)}
    return {"kind": BLEND, "settings": {"standardise": False}, "parts": [dict(part) for part in deployment.parts]}


def document_of_report(
    report: Mapping[str, Any], kind: str | None, view: View | None
) -> tuple[dict[str, Any], list[str]]:
    """Returns the document of what a report says to deploy: of its verdict.

    Where another kind is asked for, or a report of a temporal cut has no verdict: of the method that did best on the
    validation window among those that can be deployed.

    Args:
        report: `runs/future/*.json` of `scripts.ml.evaluate_future`, or `report.json` of `evaluate --report`.
        kind: Only methods of this kind; None: of any.
        view: Which of its tables; None: the one whose verdict is the report's.

    Returns:
        The document, and what else there is to say of the choice, a sentence each.

    Raises:
        ValueError: The report has no such table, or no method that fits, or deploys what is not fitted here.
    """
    verdict = _verdict(report, view)
    if verdict is not None and kind in (None, verdict["kind"]):
        if verdict["kind"] not in KINDS:
            raise ValueError(
                f"The report should deploy one of {', '.join(KINDS)}. Received: {verdict['deploy']}, whose bundle its "
                "training run has written: register that one, or ask for a kind"
            )
        return _document(Deployment(verdict["kind"], verdict["settings"])), [f"{verdict['deploy']}: {verdict['rule']}"]
    tables = report.get("views") or {}
    methods: Mapping[str, Any] = tables.get(view or VIEWS[0], {}).get("methods") or {}
    passed: list[str] = []
    for name in sorted(methods, key=lambda each: -float(methods[each]["validation"])):
        try:
            document = document_of(name, methods[name]["settings"])
        except ValueError:
            passed.append(f"{name} did better on the validation window; it cannot be deployed")
            continue
        if kind in (None, document["kind"]):
            return document, passed
    raise ValueError(
        f"The report should have a method that can be deployed{'' if kind is None else f', of kind {kind!r}'}, for the "
        f"view {view or VIEWS[0]!r}. Received: {', '.join(methods) or 'no method'}"
    )


def _verdict(report: Mapping[str, Any], view: View | None) -> Mapping[str, Any] | None:
    """The verdict of a view: of a temporal cut, or of the protocol that is its like in a leave-last-out report."""
    found: Any = report
    if view is not None:
        of_view = (report.get("views") or {}).get(view) or {}
        found = of_view.get("verdict") or (report.get("verdicts") or {}).get(_PROTOCOLS[view]) or {}
    return found if {"deploy", "kind", "settings", "rule"} <= set(found) else None


def tuned_document(
    kind: str,
    purchases: Purchases,
    rng: np.random.Generator,
    *,
    days: int = DAYS,
    min_purchases: int = MIN_PURCHASES,
    view: View = "all",
    progress: bool = False,
) -> tuple[dict[str, Any], float]:
    """Chooses the settings of a simple method, or the weights of own frequency + EASE, on the last days of purchases.

    Args:
        kind: One of `KINDS` but the learned one.
        purchases: All purchases.
        rng: Source of the order of equal scores.
        days: Length of the validation window.
        min_purchases: Lines an item needs before the window.
        view: "all", or "new": products new to the shopper.
        progress: Whether to show bars.

    Returns:
        The document, and NDCG@10 on the window.

    Raises:
        ValueError: The window is empty, or the kind has nothing to tune.
    """
    names = _METHODS_OF_KINDS.get(kind)
    if names is None:
        raise ValueError(f"`kind` should be one of {', '.join(_METHODS_OF_KINDS)}. Received: kind = {kind!r}")
    before = int(purchases.time.max()) + 1 - days * SECONDS_PER_DAY
    cut = temporal_cut(purchases, before, days, min_purchases)
    methods = [method for method in simple_methods() if method.name in names]
    blends = [(names[0], names[1])] if kind == BLEND else []
    found = tune_methods(cut, methods, (view,), rng, blends, progress)[view]
    eligible = {name: choice for name, choice in found.items() if kind != BLEND or name not in names}
    best = max(eligible, key=lambda name: eligible[name].value)
    return document_of(best, eligible[best].ranker.settings), eligible[best].value
