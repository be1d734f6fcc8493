"""Report of a temporal cut: every method with settings chosen before it, with intervals over shoppers."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from functools import cached_property
from typing import Any, Final

import numpy as np
from tqdm import tqdm

from training.evaluation.bootstrap import SAMPLES, Lead, bootstrap_means, interval, lead_of
from training.evaluation.future import (
    DAYS,
    METRICS,
    PRIMARY,
    TARGET_TITLES,
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
from training.evaluation.plots import model_comparison
from training.evaluation.protocol import PRIMARY_K
from training.evaluation.purchases import MIN_PURCHASES, IntArray, Purchases
from training.evaluation.report_full import groups_document, lead_text, segment_blocks, settings_text, variety_blocks
from training.evaluation.report_page import Block, Bullets, Heading, Table, Text, picture_of, to_html, to_markdown
from training.evaluation.report_watch import WatchedFuture
from training.evaluation.segments import Group, by_length, by_newness, groups_of
from training.evaluation.variety import Variety, variety_of
from training.evaluation.verdict import RULE, Verdict, decide, deployment_of

LEVEL: Final = 0.95


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
        learned: Methods that are not simple.
        baskets: View to (N,) how many baskets before the cut each of its shoppers has.
        variety: View to method to the figures of its lists.
        verdicts: View to which method to deploy.
    """

    before: int
    days: int
    target: Target
    min_purchases: int
    num_items: int
    targets_per_shopper: Mapping[View, float]
    references: Mapping[View, str]
    results: Mapping[View, Mapping[str, MethodResult]]
    learned: tuple[str, ...]
    baskets: Mapping[View, IntArray]
    variety: Mapping[View, Mapping[str, Variety]]
    verdicts: Mapping[View, Verdict]

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
                "verdict": self.verdicts[view].document(),
                "segments": {title: groups_document(groups) for title, groups in self.segments(view).items()},
                "variety": {name: asdict(figures) for name, figures in self.variety[view].items()},
            }
        view, verdict = next(iter(self.verdicts.items()))
        return {
            **verdict.document(),
            "view": view,
            "before": datetime.fromtimestamp(self.before, UTC).isoformat(),
            "days": self.days,
            "target": self.target,
            "min_purchases": self.min_purchases,
            "items": self.num_items,
            "ties": TIE_RULE,
            "level": LEVEL,
            "views": views,
        }

    @property
    def title(self) -> str:
        """Title of the report."""
        day = datetime.fromtimestamp(self.before, UTC).date().isoformat()
        return f"Learned before {day}, judged on {TARGET_TITLES[self.target].format(days=self.days)}"

    def segments(self, view: View) -> dict[str, list[Group]]:
        """Returns NDCG@10 by how much is known of the shopper."""
        return self._segments[view]

    @cached_property
    def _segments(self) -> dict[View, dict[str, list[Group]]]:
        segments: dict[View, dict[str, list[Group]]] = {}
        for view, table in self.results.items():
            values = {name: result.outcome.values[PRIMARY] for name, result in table.items()}
            counts, rng = self.baskets[view], np.random.default_rng(0)
            found = (by_newness(counts, "baskets"), by_length(counts, "baskets"))
            segments[view] = {each.title: groups_of(values, each, rng) for each in found}
        return segments

    @cached_property
    def blocks(self) -> list[Block]:
        """The report for `report_page`: verdicts, then for each view tables, segments and variety; drawn once."""
        notes = [f"{VIEW_TITLES[view].capitalize()}: {verdict.text()}" for view, verdict in self.verdicts.items()]
        blocks: list[Block] = [
            *(Text(note, note=True) for note in notes),
            Text(
                f"{self.num_items:,} items with at least {self.min_purchases} purchases before the cut, all of them "
                f"ranked; {TIE_RULE}; settings chosen on the {self.days} days before the cut. "
                f"In brackets: 95 % intervals from {SAMPLES:,} paired resamples of shoppers. Rule: {RULE}."
            ),
        ]
        blocks += [block for view, table in self.results.items() for block in self._view(view, table)]
        return blocks

    def markdown(self) -> str:
        """Returns the report as Markdown."""
        return to_markdown(self.title, self.blocks)

    def html(self) -> str:
        """Returns the report as one self-contained HTML file."""
        return to_html(self.title, self.blocks)

    def _view(self, view: View, table: Mapping[str, MethodResult]) -> list[Block]:
        shoppers = len(next(iter(table.values())).outcome.users)
        reference, verdict = self.references[view], self.verdicts[view]
        rows: list[list[str]] = []
        for name, result in sorted(table.items(), key=lambda entry: -entry[1].means[PRIMARY]):
            cells = [f"{result.means[metric]:.4f}" for metric in METRICS]
            low, high = result.intervals[PRIMARY]
            cells[0] += f" ({low:.4f} to {high:.4f})"
            rows.append([name, *cells, "" if name == reference else lead_text(result.lead)])
        values = {name: result.means[PRIMARY] for name, result in table.items()}
        simple = [name for name in table if name not in self.learned]
        title = f"All methods, {VIEW_TITLES[view]}"
        settings = [f"{name}: {settings_text(result.settings)}" for name, result in table.items() if result.settings]
        blocks: list[Block] = [
            Heading(VIEW_TITLES[view].capitalize()),
            Text(
                f"{shoppers:,} shoppers with {self.targets_per_shopper[view]:.1f} targets on average. "
                f"Reference, the best simple method on the validation window: {reference}."
            ),
            Table(["method", *METRICS, "lead over the reference"], rows),
            picture_of(model_comparison(values, baselines=simple, title=title), title),
            Text("Settings chosen:"),
            Bullets(settings),
        ]
        shown = dict.fromkeys([verdict.deploy, verdict.against, *self.learned, reference, "popularity"])
        for name, groups in self.segments(view).items():
            kept = [Group(g.label, g.rows, {each: g.methods[each] for each in shown}) for g in groups]
            blocks += segment_blocks(name, kept, PRIMARY)
        return [*blocks, *variety_blocks(self.variety[view], values, PRIMARY_K)]


def _method_document(result: MethodResult) -> dict[str, Any]:
    return {
        "settings": dict(result.settings),
        "validation": result.validation,
        "means": dict(result.means),
        "intervals": {name: list(ends) for name, ends in result.intervals.items()},
        "lead": asdict(result.lead),
    }


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
    outcomes, lists = _test(cut, chosen, rng, progress)
    references: dict[View, str] = {}
    for view, table in chosen.items():
        values = {name: choice.value for name, choice in table.items() if name not in extra}
        references[view] = max(values, key=lambda name: values[name])
    total, again = int(cut.targets.sum()), int(cut.targets.multiply(cut.history.user_item()[cut.users] > 0).sum())
    events = cut.history.popularity()
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
        learned=tuple(method.name for method in methods),
        baskets={view: cut.history.num_baskets[next(iter(found.values())).users] for view, found in outcomes.items()},
        variety={
            view: {name: variety_of(counts, events) for name, counts in lists[view].items() if counts.sum()}
            for view in views
        },
        verdicts={view: _verdict(outcomes[view], chosen[view], extra, rng) for view in views},
    )


def _verdict(
    outcomes: Mapping[str, Outcome], chosen: Mapping[str, Choice], learned: set[str], rng: np.random.Generator
) -> Verdict:
    values = {name: outcome.values[PRIMARY] for name, outcome in outcomes.items()}
    deployments = {name: deployment_of(name, choice.ranker.settings) for name, choice in chosen.items()}
    return decide(values, [name for name in values if name not in learned], deployments, rng, PRIMARY)


def _test(
    cut: FutureCut, chosen: Mapping[View, Mapping[str, Choice]], rng: np.random.Generator, progress: bool
) -> tuple[dict[View, dict[str, Outcome]], dict[View, dict[str, IntArray]]]:
    """Returns view to method to its outcome and lists; settings chosen for several views are fitted once."""
    found: dict[str, tuple[dict[View, Outcome], WatchedFuture]] = {}
    lists: dict[View, dict[str, IntArray]] = {view: {} for view in chosen}
    outcomes: dict[View, dict[str, Outcome]] = {view: {} for view in chosen}
    names = list(dict.fromkeys(name for table in chosen.values() for name in table))
    with tqdm(total=len(names), desc="test window", unit="method", disable=not progress) as bar:
        for name in names:
            for view, table in chosen.items():
                ranker = table[name].ranker
                key = f"{name} {dict(ranker.settings)}"
                if key not in found:
                    ranker.fit(cut.history)
                    watched = WatchedFuture(ranker, cut, tuple(chosen))
                    found[key] = evaluate_ranker(watched, cut, rng, tuple(chosen)), watched
                outcomes[view][name], lists[view][name] = found[key][0][view], found[key][1].lists[view]
            bar.update()
    return outcomes, lists


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
