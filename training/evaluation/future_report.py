"""Report of a temporal cut: every method with settings chosen before it, with intervals over shoppers."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any, Final, cast

import numpy as np
from tqdm import tqdm

from training.evaluation.bootstrap import SAMPLES, Lead, bootstrap_means, interval, lead_of
from training.evaluation.future import (
    DAYS,
    METRICS,
    PRIMARY,
    TIE_RULE,
    VIEW_TITLES,
    VIEWS,
    FutureCut,
    Outcome,
    Target,
    View,
    evaluate_ranker,
    temporal_cut,
)
from training.evaluation.future_tuning import Choice, Method, simple_methods, tune_methods, validation_cut
from training.evaluation.purchases import MIN_PURCHASES, Purchases

LEVEL: Final = 0.95
TARGET_TITLES: Final[Mapping[Target, str]] = {
    "window": "all items of the next {days} days",
    "next_basket": "the next basket within {days} days",
    "next_item": "the next item within {days} days",
}


@dataclass(frozen=True, eq=False)
class MethodResult:
    """Figures of one method in one view.

    Attributes:
        settings: Chosen on the validation window.
        validation: NDCG@10 on the validation window.
        means: Metric to mean over shoppers.
        intervals: Metric to the 95 % percentile interval of its mean.
        lead: Lead in NDCG@10 over the reference.
        outcome: Values of each shopper.
    """

    settings: Mapping[str, Any]
    validation: float
    means: Mapping[str, float]
    intervals: Mapping[str, tuple[float, float]]
    lead: Lead
    outcome: Outcome


@dataclass(frozen=True, eq=False)
class FutureReport:
    """All figures of one cut.

    Attributes:
        before: The cut, seconds UTC.
        days: Length of the window.
        target: Which purchases of the window are targets.
        min_purchases: Lines an item needed before the cut.
        num_items: Items of the vocabulary, all of them ranked.
        targets_per_shopper: View to the mean number of targets.
        references: View to the simple method that was best on the validation window.
        results: View to method to its figures.
    """

    before: int
    days: int
    target: Target
    min_purchases: int
    num_items: int
    targets_per_shopper: Mapping[View, float]
    references: Mapping[View, str]
    results: Mapping[View, Mapping[str, MethodResult]]

    def lead(self, view: View, method: str, other: str, rng: np.random.Generator, metric: str = PRIMARY) -> Lead:
        """Returns the paired lead of one method over another in a metric."""
        pair = {name: self.results[view][name].outcome.values[metric] for name in (method, other)}
        means = bootstrap_means(pair, rng)
        return lead_of(float(pair[method].mean()), float(pair[other].mean()), means[method], means[other])

    def document(self) -> dict[str, Any]:
        """Returns what the JSON file holds."""
        views: dict[str, Any] = {}
        for view, table in self.results.items():
            views[view] = {
                "shoppers": len(next(iter(table.values())).outcome.users),
                "targets_per_shopper": self.targets_per_shopper[view],
                "reference": self.references[view],
                "methods": {name: _method_document(result) for name, result in table.items()},
            }
        return {
            "before": datetime.fromtimestamp(self.before, UTC).isoformat(),
            "days": self.days,
            "target": self.target,
            "min_purchases": self.min_purchases,
            "items": self.num_items,
            "ties": TIE_RULE,
            "level": LEVEL,
            "views": views,
        }

    def markdown(self) -> str:
        """Returns the report as Markdown: one table for each view, best method first."""
        day = datetime.fromtimestamp(self.before, UTC).date().isoformat()
        lines = [
            f"# Learned before {day}, judged on {TARGET_TITLES[self.target].format(days=self.days)}",
            "",
            f"{self.num_items:,} items with at least {self.min_purchases} purchases before the cut, all of them "
            f"ranked; {TIE_RULE}; settings chosen on the {self.days} days before the cut.",
            f"In brackets: 95 % intervals from {SAMPLES:,} paired resamples of shoppers.",
        ]
        for view, table in self.results.items():
            lines += ["", *self._table(view, table)]
        return "\n".join(lines) + "\n"

    def _table(self, view: View, table: Mapping[str, MethodResult]) -> list[str]:
        shoppers = len(next(iter(table.values())).outcome.users)
        reference = self.references[view]
        lines = [
            f"## {VIEW_TITLES[view].capitalize()}",
            "",
            f"{shoppers:,} shoppers with {self.targets_per_shopper[view]:.1f} targets on average. "
            f"Reference, the best simple method on the validation window: {reference}.",
            "",
            f"| method | {' | '.join(METRICS)} | lead over the reference |",
            f"|---|{'---|' * (len(METRICS) + 1)}",
        ]
        for name, result in sorted(table.items(), key=lambda entry: -entry[1].means[PRIMARY]):
            cells = [f"{result.means[metric]:.4f}" for metric in METRICS]
            low, high = result.intervals[PRIMARY]
            cells[0] += f" ({low:.4f} to {high:.4f})"
            cells.append("" if name == reference else _lead_text(result.lead))
            lines.append(f"| {name} | {' | '.join(cells)} |")
        lines += ["", "Settings chosen:", ""]
        lines += [f"- {name}: {_settings_text(result.settings)}" for name, result in table.items() if result.settings]
        return lines


def _method_document(result: MethodResult) -> dict[str, Any]:
    return {
        "settings": dict(result.settings),
        "validation": result.validation,
        "means": dict(result.means),
        "intervals": {name: list(ends) for name, ends in result.intervals.items()},
        "lead": asdict(result.lead),
    }


def _lead_text(lead: Lead) -> str:
    if lead.relative is None or lead.relative_low is None or lead.relative_high is None:
        return f"{lead.difference:+.4f} ({lead.low:+.4f} to {lead.high:+.4f})"
    return f"{lead.relative:+.1%} ({lead.relative_low:+.1%} to {lead.relative_high:+.1%})"


def _settings_text(settings: Mapping[str, Any]) -> str:
    return ", ".join(f"{name} {_value_text(value)}" for name, value in settings.items() if value is not None) or "none"


def _value_text(value: Any) -> str:
    if isinstance(value, Mapping):
        return f"({_settings_text(cast(Mapping[str, Any], value))})"
    if isinstance(value, Sequence) and not isinstance(value, str):
        return " and ".join(_value_text(each) for each in cast(Sequence[Any], value))
    return str(value)


def evaluate_future(
    purchases: Purchases,
    before: int,
    rng: np.random.Generator,
    days: int = DAYS,
    min_purchases: int = MIN_PURCHASES,
    target: Target = "window",
    methods: Sequence[Method] = (),
    views: Sequence[View] = VIEWS,
    progress: bool = False,
) -> FutureReport:
    """Chooses every method's settings on the window before the cut, refits it before the cut and judges it after.

    Args:
        purchases: All purchases.
        before: The cut, seconds UTC.
        rng: Source of tie orders and resamples.
        days: Length of the test window, and of the validation window before the cut.
        min_purchases: Lines an item needs before a cut to be in its vocabulary.
        target: One of `future.TARGETS`.
        methods: Methods to judge beside the simple ones, such as learned rankers.
        views: Which of `future.VIEWS`.
        progress: Whether to show bars.

    Raises:
        ValueError: If an argument is out of range or a window is empty.
    """
    simple = simple_methods()
    earlier = validation_cut(purchases, before, days, min_purchases, target)
    chosen = tune_methods(earlier, [*simple, *methods], views, rng, progress=progress)
    extra = {method.name for method in methods}
    cut = temporal_cut(purchases, before, days, min_purchases, target)
    outcomes = _test(cut, chosen, rng, progress)
    references: dict[View, str] = {}
    for view, table in chosen.items():
        values = {name: choice.value for name, choice in table.items() if name not in extra}
        references[view] = max(values, key=lambda name: values[name])
    total, again = int(cut.targets.sum()), int(cut.targets.multiply(cut.history.user_item()[cut.users] > 0).sum())
    counts: dict[View, int] = {"all": total, "new": total - again}
    return FutureReport(
        before=before,
        days=days,
        target=target,
        min_purchases=min_purchases,
        num_items=cut.history.num_items,
        targets_per_shopper={
            view: counts[view] / max(len(next(iter(table.values())).users), 1) for view, table in outcomes.items()
        },
        references=references,
        results={view: _results(outcomes[view], chosen[view], references[view], rng) for view in views},
    )


def _test(
    cut: FutureCut, chosen: Mapping[View, Mapping[str, Choice]], rng: np.random.Generator, progress: bool
) -> dict[View, dict[str, Outcome]]:
    """Returns view to method to its outcome; settings chosen for several views are fitted once."""
    found: dict[str, dict[View, Outcome]] = {}
    outcomes: dict[View, dict[str, Outcome]] = {view: {} for view in chosen}
    names = list(dict.fromkeys(name for table in chosen.values() for name in table))
    with tqdm(total=len(names), desc="test window", unit="method", disable=not progress) as bar:
        for name in names:
            for view, table in chosen.items():
                ranker = table[name].ranker
                key = f"{name} {dict(ranker.settings)}"
                if key not in found:
                    ranker.fit(cut.history)
                    found[key] = evaluate_ranker(ranker, cut, rng, tuple(chosen))
                outcomes[view][name] = found[key][view]
            bar.update()
    return outcomes


def _results(
    outcomes: Mapping[str, Outcome], chosen: Mapping[str, Choice], reference: str, rng: np.random.Generator
) -> dict[str, MethodResult]:
    means = {name: outcome.means for name, outcome in outcomes.items()}
    values = {f"{name}\n{metric}": outcome.values[metric] for name, outcome in outcomes.items() for metric in METRICS}
    resampled = bootstrap_means(values, rng)
    base = resampled[f"{reference}\n{PRIMARY}"]
    return {
        name: MethodResult(
            settings=chosen[name].ranker.settings,
            validation=chosen[name].value,
            means=means[name],
            intervals={metric: interval(resampled[f"{name}\n{metric}"], LEVEL) for metric in METRICS},
            lead=lead_of(means[name][PRIMARY], means[reference][PRIMARY], resampled[f"{name}\n{PRIMARY}"], base),
            outcome=outcome,
        )
        for name, outcome in outcomes.items()
    }
