"""The full report of a leave-last-out evaluation: verdict, tables with intervals, segments, variety, calibration."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Final, cast

import numpy as np
from numpy.typing import NDArray

from training.data.columns import CATEGORY_ID
from training.data.sequences import EncodedSequences
from training.evaluation.bootstrap import Lead, bootstrap_means, interval
from training.evaluation.calibration import Curve
from training.evaluation.histories import training_events
from training.evaluation.metrics import TIE_RULE, FloatArray, hr_at_k, map_at_k, mrr
from training.evaluation.plots import model_comparison
from training.evaluation.protocol import PRIMARY_K, primary_metric
from training.evaluation.report import FULL_RANKING, ORACLE, PRIMARY, Report
from training.evaluation.report_page import Block, Bullets, Heading, Picture, Table, Text, picture_of
from training.evaluation.report_plots import calibration_plot, segment_plot, variety_plot
from training.evaluation.report_watch import Watcher
from training.evaluation.segments import Group, by_category, by_length, by_newness, by_popularity, groups_of
from training.evaluation.variety import Variety, variety_of
from training.evaluation.verdict import RULE, Verdict, decide, deployment_of

TITLE: Final = "Evaluation report"
UNTRAINED: Final = "SLi-Rec before training"
PROTOCOL_TITLES: Final[Mapping[str, str]] = {
    "seen_in": "Items already seen allowed",
    "seen_out": "Only items new to the shopper",
}


@dataclass(frozen=True, eq=False)
class FullReport:
    """Everything that the report says.

    Attributes:
        report: The evaluation.
        protocol: Under which of `FULL_RANKING` the deployed method will recommend; its verdict is the report's.
        verdicts: Protocol to verdict.
        intervals: Protocol to method to the 95 % interval of NDCG@10.
        segments: Protocol to title of the segmentation to its groups.
        variety: Protocol to method to the figures of its lists.
        calibration: Method, and how it was read, to its curve.
    """

    report: Report
    protocol: str
    verdicts: Mapping[str, Verdict]
    intervals: Mapping[str, Mapping[str, tuple[float, float]]]
    segments: Mapping[str, Mapping[str, Sequence[Group]]]
    variety: Mapping[str, Mapping[str, Variety]]
    calibration: Mapping[str, Curve]

    def document(self) -> dict[str, Any]:
        """Returns what `report.json` holds: the verdict at the top, then everything else."""
        return {
            **self.verdicts[self.protocol].document(),
            "protocol": self.protocol,
            "verdicts": {protocol: verdict.document() for protocol, verdict in self.verdicts.items()},
            "intervals": {
                protocol: {method: list(ends) for method, ends in table.items()}
                for protocol, table in self.intervals.items()
            },
            "segments": {
                protocol: {title: groups_document(groups) for title, groups in table.items()}
                for protocol, table in self.segments.items()
            },
            "variety": {
                protocol: {method: asdict(figures) for method, figures in table.items()}
                for protocol, table in self.variety.items()
            },
            "calibration": {method: asdict(curve) for method, curve in self.calibration.items()},
            "evaluation": self.report.document(),
            "split": self.report.split,
            "data_fingerprint": self.report.fingerprint,
        }

    def blocks(self) -> list[Block]:
        """Returns the report for `report_page`."""
        report, (head, *rest) = self.report, _protocols(self.protocol)
        rows = report.num_rows()
        blocks: list[Block] = [
            Text(self.verdicts[head].text(), note=True),
            Text(
                f"Rule: {RULE}. Intervals come from paired resamples of the {report.split} rows. Full ranking of "
                f"{rows['seen_in']:,} {report.split} rows ({rows['seen_out']:,} with a target new to the shopper); "
                f"every method's settings were chosen on the validation rows. Ties: {TIE_RULE}."
            ),
        ]
        for protocol in (head, *rest):
            blocks += [Heading(PROTOCOL_TITLES[protocol]), *self._protocol(protocol)]
        return [*blocks, *self._calibration(), *self._settings()]

    def _protocol(self, protocol: str) -> list[Block]:
        report, table = self.report, self.report.evaluations[protocol]
        names = sorted(table, key=lambda name: -float(primary_metric(table[name].ranks).mean()))
        rows = [
            [name, _with_interval(*self._figure(protocol, name)), *_others(report, protocol, name)] for name in names
        ]
        values = {name: row[PRIMARY] for name, row in report.metrics(protocol).items()}
        title = f"All methods, {PROTOCOL_TITLES[protocol].lower()}"
        blocks: list[Block] = [
            *([] if protocol == self.protocol else [Text(self.verdicts[protocol].text())]),
            Table(["method", f"{PRIMARY} (95 % interval)", "HR@10", "MAP@12", "MRR"], rows),
            picture_of(model_comparison(values, baselines=report.baselines, title=title), title),
        ]
        for name, groups in self.segments[protocol].items():
            shown = self._shown(protocol)
            kept = [Group(g.label, g.rows, {each: g.methods[each] for each in shown}) for g in groups]
            blocks += segment_blocks(name, kept, PRIMARY)
        return [*blocks, *variety_blocks(self.variety[protocol], values, PRIMARY_K)]

    def _figure(self, protocol: str, method: str) -> tuple[float, float, float]:
        mean = self.report.metrics(protocol)[method][PRIMARY]
        return mean, *self.intervals[protocol][method]

    def _shown(self, protocol: str) -> list[str]:
        """The methods whose segments are worth reading side by side."""
        verdict, report = self.verdicts[protocol], self.report
        learned = [name for name in report.evaluations[protocol] if name not in (*report.baselines, ORACLE, UNTRAINED)]
        chosen = [verdict.deploy, verdict.against, *learned, report.best_baseline(protocol), report.baselines[0]]
        return list(dict.fromkeys([*chosen, *({ORACLE} & set(report.evaluations[protocol]))]))

    def _calibration(self) -> list[Block]:
        if not self.calibration:
            return []
        rows = [
            [name, f"{curve.error:.5f}", f"{_mean(curve.predicted, curve):.5f}", f"{_mean(curve.observed, curve):.5f}"]
            for name, curve in self.calibration.items()
        ]
        return [
            Heading("Calibration"),
            Text(
                "Predicted probability of the next item against the share of times it was, over all pairs of a row and "
                "an item of the catalogue, for methods whose scores can be read as probabilities. A sigmoid is what a "
                "caller gets; a softmax over the catalogue is the distribution of the next item."
            ),
            Table(["method", "expected calibration error", "mean predicted", "mean observed"], rows),
            picture_of(calibration_plot(self.calibration), "Predicted probability against observed share"),
        ]

    def _settings(self) -> list[Block]:
        blocks: list[Block] = [Heading("Settings chosen on the validation rows")]
        for protocol, found in self.report.settings.items():
            items = [f"{name}: {settings_text(settings)}" for name, settings in found.items() if settings]
            blocks += [Heading(PROTOCOL_TITLES[protocol], 3), Bullets(items)]
        return blocks


def full_report(
    report: Report, dataset: EncodedSequences, watcher: Watcher, protocol: str, rng: np.random.Generator
) -> FullReport:
    """Returns the full report of an evaluation whose rankers were watched.

    Args:
        report: From `report.evaluate_all` with rankers from `watcher`.
        dataset: Encoded sequences.
        watcher: What the rankers recommended.
        protocol: One of `FULL_RANKING`: whether the shop recommends items that the shopper has seen.
        rng: Source of the resamples.

    Raises:
        ValueError: If the protocol is not known.
    """
    if protocol not in FULL_RANKING:
        raise ValueError(f"`protocol` should be one of {FULL_RANKING}. Received: protocol = {protocol!r}")
    verdicts: dict[str, Verdict] = {}
    intervals: dict[str, dict[str, tuple[float, float]]] = {}
    segments: dict[str, dict[str, list[Group]]] = {}
    variety: dict[str, dict[str, Variety]] = {}
    events = np.bincount(dataset.item[training_events(dataset)], minlength=dataset.num_items)
    events[0] = 0
    for each in _protocols(protocol):
        values = {name: primary_metric(found.ranks) for name, found in report.evaluations[each].items()}
        candidates = {name: value for name, value in values.items() if name not in (ORACLE, UNTRAINED)}
        settings = report.settings[each]
        deployments = {name: deployment_of(name, settings.get(name, {})) for name in candidates}
        verdicts[each] = decide(candidates, report.baselines, deployments, rng, PRIMARY)
        intervals[each] = {name: interval(means) for name, means in bootstrap_means(values, rng).items()}
        rows = next(iter(report.evaluations[each].values())).rows
        segments[each] = _segments(values, dataset, rows, events, rng)
        lists = {name: watcher.lists[each, name][1:] for name in values}
        variety[each] = {name: variety_of(counts, events[1:]) for name, counts in lists.items() if counts.sum()}
    calibration = {name: found.curve() for name, found in watcher.calibration.items()}
    return FullReport(report, protocol, verdicts, intervals, segments, variety, calibration)


def _protocols(first: str) -> list[str]:
    return [first, *(protocol for protocol in FULL_RANKING if protocol != first)]


def _segments(
    values: Mapping[str, FloatArray],
    dataset: EncodedSequences,
    rows: NDArray[np.int64],
    events: NDArray[np.int64],
    rng: np.random.Generator,
) -> dict[str, list[Group]]:
    categories = dataset.vocabularies[CATEGORY_ID].values.tolist()
    found = (
        by_newness(dataset.position[rows]),
        by_length(dataset.position[rows]),
        by_popularity(events, dataset.item[rows]),
        by_category(categories, dataset.category[rows]),
    )
    return {each.title: groups_of(values, each, rng) for each in found}


def groups_document(groups: Sequence[Group]) -> list[dict[str, Any]]:
    """Returns groups as JSON-able values; each method has mean, low, high."""
    return [
        {"group": group.label, "rows": group.rows, "methods": {name: list(f) for name, f in group.methods.items()}}
        for group in groups
    ]


def segment_blocks(title: str, groups: Sequence[Group], metric: str, level: int = 3) -> list[Block]:
    """Returns heading, table and plot of one segmentation."""
    names = list(groups[0].methods) if groups else []
    rows = [[g.label, f"{g.rows:,}", *(_with_interval(*g.methods[name]) for name in names)] for g in groups]
    if not rows:
        return []
    return [
        Heading(title, level),
        Table(["group", "rows", *names], rows),
        picture_of(segment_plot(groups, title, metric), f"{title}: {metric}"),
    ]


def variety_blocks(variety: Mapping[str, Variety], values: Mapping[str, float], k: int, level: int = 3) -> list[Block]:
    """Returns heading, table and plot of what is recommended."""
    if not variety:
        return []
    rows = [
        [name, f"{found.coverage:.1%}", f"{found.gini:.3f}", f"{found.novelty:.2f}"] for name, found in variety.items()
    ]
    text = (
        f"Of the first {k} of every list: the share of the catalogue that is in somebody's list, the Gini coefficient "
        "of how often items are recommended (0: all alike), and the mean of -log2 of the items' share of training "
        "events, in bits (more: less popular items)."
    )
    plot: Picture = picture_of(variety_plot(variety, values), "Accuracy against coverage and novelty")
    return [
        Heading("Coverage and novelty", level),
        Text(text),
        Table(["method", "coverage", "Gini", "novelty"], rows),
        plot,
    ]


def lead_text(lead: Lead) -> str:
    """Returns a lead with its interval, relative where it can be."""
    if lead.relative is None or lead.relative_low is None or lead.relative_high is None:
        return f"{lead.difference:+.4f} ({lead.low:+.4f} to {lead.high:+.4f})"
    return f"{lead.relative:+.1%} ({lead.relative_low:+.1%} to {lead.relative_high:+.1%})"


def settings_text(settings: Mapping[str, Any]) -> str:
    """Returns settings as words."""
    return ", ".join(f"{name} {_value_text(value)}" for name, value in settings.items() if value is not None) or "none"


def _value_text(value: Any) -> str:
    if isinstance(value, Mapping):
        return f"({settings_text(cast(Mapping[str, Any], value))})"
    if isinstance(value, Sequence) and not isinstance(value, str):
        return " and ".join(_value_text(each) for each in cast(Sequence[Any], value))
    return str(value)


def _others(report: Report, protocol: str, name: str) -> list[str]:
    ranks = report.evaluations[protocol][name].ranks
    return [f"{value.mean():.4f}" for value in (hr_at_k(ranks, PRIMARY_K), map_at_k(ranks), mrr(ranks))]


def _with_interval(mean: float, low: float, high: float) -> str:
    return f"{mean:.4f} ({low:.4f} to {high:.4f})"


def _mean(values: Sequence[float], curve: Curve) -> float:
    return float(np.average(values, weights=curve.pairs))
