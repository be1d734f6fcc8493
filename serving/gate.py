"""The gate before promotion: what a new version has to show, gate by gate, and the report of it.

Pure judgement on numbers that others have measured: nothing is read, scored or registered here.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Literal

from pydantic import BaseModel, ConfigDict, Field

Verdict = Literal["passed", "failed", "not run"]

BUNDLE: Final = "bundle"  # every byte is the one that was registered
DATA: Final = "data"  # trained on the data whose held-out rows judge it
RELOAD: Final = "reload"  # loads from the registry in a clean process
EXAMPLE: Final = "example"  # gives the scores that were logged with it
CHAMPION: Final = "champion"  # better than the current champion
BASELINE: Final = "baseline"  # better than a naive baseline; one gate for each
LATENCY: Final = "latency"  # answers in time
_LONGEST_TAG: Final = 250  # registries cut tags: Unity Catalog at 256 characters


class GateConfig(BaseModel):
    """What a version has to show before it becomes the champion."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    champion_margin: float = Field(
        default=0.0,
        ge=-10,
        description="Lead over the champion that the whole interval has to exceed, as a share of the champion's "
        "NDCG@10. Negative: how much worse a newer version may be; -10: it need not compare.",
    )
    baseline_margin: float = Field(
        default=0.0,
        ge=-10,
        description="The same over each naive baseline, as a share of the baseline's NDCG@10; of a simple method the "
        "interval only has to reach it.",
    )
    confidence: float = Field(
        default=0.95, gt=0, lt=1, description="Coverage of the two-sided paired bootstrap interval of a lead."
    )
    bootstrap_repeats: int = Field(default=2000, ge=100, description="Resamples of the paired bootstrap.")
    latency_p95_ms: float = Field(
        default=50.0, gt=0, description="Milliseconds within which 95 of 100 single requests have to be answered."
    )
    held_out_rows: int = Field(
        default=20_000, ge=1, description="Most held-out rows to judge by; of more, so many are drawn at random."
    )
    challenger_alias: str = Field(
        default="challenger", min_length=1, description="Registry alias of a version that was not promoted."
    )


@dataclass(frozen=True)
class Gate:
    """One gate and how the version did.

    Attributes:
        name: "bundle", "data", "reload", "example", "champion", "baseline <name>" or "latency".
        verdict: "passed", "failed", or "not run" because an earlier gate failed.
        value: What was measured; None where there is nothing to measure.
        bound: What the value is held against; None as above.
        reason: One sentence about the verdict, with the unit of value and bound.
    """

    name: str
    verdict: Verdict
    value: float | None
    bound: float | None
    reason: str


@dataclass(frozen=True)
class GateReport:
    """All gates of one version.

    Attributes:
        name: Registered name.
        version: The version that was judged.
        champion: Version of the champion that it was compared with; None: there was none.
        gates: The gates, in the order in which they were tried.
        notes: What else a reader should know, such as a champion that was trained on other data.
        facts: What the judgement rests on: data fingerprint, protocol, number of rows, NDCG@10 of each contender.
    """

    name: str
    version: str
    champion: str | None
    gates: tuple[Gate, ...]
    notes: tuple[str, ...] = ()
    facts: Mapping[str, Any] = field(default_factory=dict[str, Any])

    @property
    def passed(self) -> bool:
        """Whether there are gates and all of them were passed."""
        return bool(self.gates) and all(gate.verdict == "passed" for gate in self.gates)

    @property
    def failed(self) -> tuple[str, ...]:
        """Names of the gates that failed."""
        return tuple(gate.name for gate in self.gates if gate.verdict == "failed")

    def document(self) -> dict[str, Any]:
        """Returns the report as JSON-able values."""
        return {
            "name": self.name,
            "version": self.version,
            "champion": self.champion,
            "passed": self.passed,
            "failed": list(self.failed),
            "gates": [vars(gate) for gate in self.gates],
            "notes": list(self.notes),
            "facts": dict(self.facts),
        }

    def markdown(self) -> str:
        """Returns the report as Markdown: verdict, table of gates, notes, facts."""
        against = "no champion yet" if self.champion is None else f"champion: version {self.champion}"
        verdict = "passed the gate" if self.passed else f"refused by: {', '.join(self.failed) or 'no gate was tried'}"
        lines = [f"**{self.name} version {self.version}**: {verdict} ({against})", ""]
        lines += ["| Gate | Verdict | Value | Bound | Reason |", "| --- | --- | ---: | ---: | --- |"]
        for gate in self.gates:
            cells = (gate.name, gate.verdict, _shown(gate.value), _shown(gate.bound), gate.reason)
            lines.append(f"| {' | '.join(cell.replace('|', '/') for cell in cells)} |")
        if self.notes:
            lines += ["", *(f"- {note}" for note in self.notes)]
        if self.facts:
            lines += ["", *(f"- {name}: {_shown(value)}" for name, value in self.facts.items())]
        return "\n".join(lines)

    def tags(self) -> dict[str, str]:
        """Returns the report as tags of a version: the verdict, and one tag for each gate."""
        tags = {"gate_verdict": "passed" if self.passed else "refused", "gate_failed": ", ".join(self.failed) or "none"}
        for gate in self.gates:
            # Letters, digits and underscores are what every registry takes in the name of a tag.
            key = "gate_" + "".join(c if c.isalnum() else "_" for c in gate.name).strip("_").lower()
            figures = "" if gate.value is None else f" ({_shown(gate.value)} against {_shown(gate.bound)})"
            tags[key] = f"{gate.verdict}{figures}: {gate.reason}"
        return {key: value[:_LONGEST_TAG] for key, value in tags.items()}


def passed(name: str, reason: str) -> Gate:
    """Returns a gate that was passed, without figures."""
    return Gate(name, "passed", None, None, reason)


def failed(name: str, reason: str) -> Gate:
    """Returns a gate that failed, without figures."""
    return Gate(name, "failed", None, None, reason)


def not_run(names: Sequence[str]) -> list[Gate]:
    """Returns gates that could not be tried, because one before them failed."""
    return [Gate(name, "not run", None, None, "an earlier gate failed") for name in names]


def judge_lead(name: str, opponent: str, *, ours: float, theirs: float, low: float, margin: float) -> Gate:
    """Judges the lead in NDCG@10 over an opponent on the same rows.

    Args:
        name: Name of the gate.
        opponent: Whom the lead is over, for the reason.
        ours: Mean NDCG@10 of the version.
        theirs: Mean NDCG@10 of the opponent.
        low: Lower end of the paired interval of the difference.
        margin: Share of the opponent's NDCG@10 that `low` has to exceed.

    Returns:
        A gate whose value is `low` and whose bound is `margin * theirs`; NaN fails.
    """
    bound = margin * theirs
    wins = low > bound
    reason = (
        f"NDCG@10 {ours:.4f} against {theirs:.4f} of {opponent}; the interval of the difference begins at {low:+.4f} "
        f"and should begin above {bound:+.4f}"
    )
    return Gate(name, "passed" if wins else "failed", low, bound, reason)


def judge_no_worse(name: str, opponent: str, *, ours: float, theirs: float, high: float, margin: float) -> Gate:
    """Judges whether a simple method is no worse than another one, beyond luck, in NDCG@10 on the same rows.

    Args:
        name: Name of the gate.
        opponent: Whom it is compared with, for the reason.
        ours: Mean NDCG@10 of the version.
        theirs: Mean NDCG@10 of the opponent.
        high: Upper end of the paired interval of the difference.
        margin: Share of the opponent's NDCG@10 that `high` has to reach.

    Returns:
        A gate whose value is `high` and whose bound is `margin * theirs`; NaN fails.
    """
    bound = margin * theirs
    reason = (
        f"NDCG@10 {ours:.4f} against {theirs:.4f} of {opponent}, both simple; the interval of the difference ends at "
        f"{high:+.4f} and should not end below {bound:+.4f}"
    )
    return Gate(name, "passed" if high >= bound else "failed", high, bound, reason)


def judge_latency(p95_ms: float, budget_ms: float) -> Gate:
    """Judges the 95th percentile of single requests, both in milliseconds; NaN fails."""
    reason = f"p95 of single requests is {p95_ms:.3g} ms; the budget is {budget_ms:g} ms"
    return Gate(LATENCY, "passed" if p95_ms <= budget_ms else "failed", p95_ms, budget_ms, reason)


def judge_example(difference: float, tolerance: float, problem: str | None) -> Gate:
    """Judges the answer to the logged example.

    Args:
        difference: Largest difference of a score, place by place.
        tolerance: Largest accepted difference.
        problem: What the comparison of products and scores objects to; None: nothing.
    """
    reason = problem or f"the logged example's scores came back to within {difference:.3g}"
    return Gate(EXAMPLE, "failed" if problem else "passed", difference, tolerance, reason)


def _shown(value: Any) -> str:
    if value is None:
        return "-"
    return f"{value:.6g}" if isinstance(value, float) else str(value)
