"""Which method to deploy: a learned one only if its lead over the best simple method is more than luck."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, cast

import numpy as np

from training.evaluation.bootstrap import Lead, bootstrap_means, lead_of
from training.evaluation.metrics import FloatArray

# From simple to less simple; a blend is less simple than all of them, and any other method less simple than a blend.
SIMPLICITY: Final = (
    "popularity",
    "recent popularity",
    "own frequency",
    "own frequency, basket decay",
    "last-item Markov",
    "Markov basket -> basket",
    "decayed Markov mix",
    "item-kNN (SAR)",
    "item-kNN (cosine)",
    "EASE",
    "EASE, log counts",
    "TIFU-kNN",
)
# Kinds of rankers that are learned; blends of theirs are, too. All others are simple.
LEARNED_KINDS: Final = frozenset({"sli_rec", "candidate_history"})
_PLAIN: Final = frozenset({"popularity", "own_frequency", "ease"})  # whose scores a bundle's blend adds up as they are
RULE: Final = (
    "a learned model is deployed only if the 95 % paired-bootstrap interval of its lead over the best simple method is "
    "above 0; otherwise the simplest method within noise of the best is"
)


@dataclass(frozen=True)
class Deployment:
    """How a bundle carries a method.

    Attributes:
        kind: Of the bundle's ranker: "popularity", "own_frequency", "ease", "blend", "sli_rec", "candidate_history".
        settings: What a ranker of this kind is made with; a blend has `parts`, each with kind, settings and weight.
    """

    kind: str
    settings: Mapping[str, Any]

    @property
    def parts(self) -> Sequence[Mapping[str, Any]]:
        """Kind, settings and weight of each part of a blend; empty otherwise."""
        return cast(Sequence[Mapping[str, Any]], self.settings.get("parts") or ())

    @property
    def is_learned(self) -> bool:
        """Whether it is, or blends, a learned model."""
        return bool({self.kind, *(part["kind"] for part in self.parts)} & LEARNED_KINDS)

    @property
    def method(self) -> tuple[Any, ...]:
        """What it is, whatever its settings were tuned to; equal for two of one method."""
        of = self.settings
        match self.kind:
            case "popularity":
                return self.kind, of.get("days") is None
            case "own_frequency":
                return self.kind, of.get("half_life") is None, of.get("half_life_days") is None
            case "ease":
                return self.kind, of.get("values", "binary")
            case "blend":
                each = sorted(repr(Deployment(part["kind"], part.get("settings") or {}).method) for part in self.parts)
                return self.kind, bool(of.get("standardise", False)), *each
            case _:
                return (self.kind,)


def deployment_of(name: str, settings: Mapping[str, Any]) -> Deployment | None:
    """Returns how a bundle carries a method, or a blend of some; None if no bundle does.

    Args:
        name: Name in tables.
        settings: Settings of the method, as the evaluations give them.
    """
    if "parts" in settings and "weights" in settings:
        return _blend(settings)
    match name:
        case "popularity":
            return Deployment("popularity", {})
        case "recent popularity" if "days" in settings:  # halved by age instead, it is no table of counts
            return Deployment("popularity", {"days": settings["days"]})
        case "own frequency" | "own frequency, basket decay":
            return Deployment("own_frequency", {"half_life": settings.get("half_life")})
        case "EASE" | "EASE, log counts":
            strength = settings.get("lambda", settings.get("regularization"))
            chosen = {} if strength is None else {"regularization": strength}
            values = "binary" if name == "EASE" else "log"
            return Deployment("ease", {**chosen, "values": values})
        case "SLi-Rec":
            return Deployment("sli_rec", {})
        case "candidate history":
            return Deployment("candidate_history", dict(settings))
        case _:
            return None


def _blend(settings: Mapping[str, Any]) -> Deployment | None:
    parts: list[dict[str, Any]] = []
    for part, weight in zip(settings["parts"], settings["weights"], strict=True):
        ((name, of_part),) = cast(Mapping[str, Mapping[str, Any]], part).items()
        found = deployment_of(name, of_part)
        if found is None or found.kind not in _PLAIN:
            return None
        parts.append({"kind": found.kind, "settings": dict(found.settings), "weight": weight})
    return Deployment("blend", {"parts": parts})


@dataclass(frozen=True)
class Verdict:
    """Which method to deploy, and why.

    Attributes:
        deploy: Name of the method.
        deployment: How a bundle carries it.
        lead: Its lead over `against`.
        against: The best simple method if a learned one is deployed; else the best learned one, or without any the best
            other one.
        rule: What decided, in words.
        metric: Of the lead.
    """

    deploy: str
    deployment: Deployment
    lead: Lead
    against: str
    rule: str
    metric: str

    def document(self) -> dict[str, Any]:
        """Returns the verdict as JSON-able values; `lead` is low, mean, high."""
        return {
            "deploy": self.deploy,
            "kind": self.deployment.kind,
            "settings": dict(self.deployment.settings),
            "lead": [self.lead.low, self.lead.difference, self.lead.high],
            "against": self.against,
            "metric": self.metric,
            "rule": self.rule,
        }

    def text(self) -> str:
        """Returns the verdict in a paragraph."""
        lead = self.lead
        shown = f"{lead.difference:+.4f} (95 % interval {lead.low:+.4f} to {lead.high:+.4f})"
        return f"Deploy {self.deploy}. Its {self.metric} against {self.against}: {shown}. {self.rule}"


def decide(
    values: Mapping[str, FloatArray],
    simple: Collection[str],
    deployments: Mapping[str, Deployment | None],
    rng: np.random.Generator,
    metric: str = "NDCG@10",
) -> Verdict:
    """Applies `RULE`. A method that no bundle carries still has to be beaten, but is never deployed.

    Args:
        values: Method to (N,) values of the metric, of the same rows; larger is better.
        simple: Which of the methods are simple; the others are learned.
        deployments: Method to how a bundle carries it; a missing one or None: none does.
        rng: Source of the resamples.
        metric: Name of the metric, for the words.

    Raises:
        ValueError: If there is no simple method that a bundle carries.
    """
    served = [name for name in values if deployments.get(name) is not None]
    if not any(name in simple for name in served):
        raise ValueError(f"`values` should hold a simple method that a bundle carries. Received: {list(values)}")
    comparison = _Comparison(values, simple, rng)
    deploy, words = comparison.choose(list(values), served)
    if deploy is None:
        better = words
        deploy, words = comparison.choose(served, served)
        words = f"{better} Among the methods that one carries: {words}"
    assert deploy is not None  # among methods that all are carried one is always found
    others = [name for name in values if name != deploy]
    rivals = [name for name in others if (name in simple) != (deploy in simple)] or others or [deploy]
    against = comparison.best(rivals)
    deployment = deployments[deploy]
    assert deployment is not None
    return Verdict(deploy, deployment, comparison.lead(deploy, against), against, words, metric)


class _Comparison:
    def __init__(self, values: Mapping[str, FloatArray], simple: Collection[str], rng: np.random.Generator) -> None:
        self._means = {name: float(value.mean()) for name, value in values.items()}
        self._resampled = bootstrap_means(values, rng)
        self._simple = simple

    def best(self, names: Sequence[str]) -> str:
        return max(names, key=lambda name: self._means[name])

    def lead(self, one: str, other: str) -> Lead:
        return lead_of(self._means[one], self._means[other], self._resampled[one], self._resampled[other])

    def choose(self, names: Sequence[str], served: Sequence[str]) -> tuple[str | None, str]:
        """Returns the choice among `names`, None if none of `served` may be taken, and the words for it."""
        simple = [name for name in names if name in self._simple]
        learned = [name for name in names if name not in self._simple]
        leader = self.best(simple)
        if learned and self.lead(champion := self.best(learned), leader).is_real:
            if champion not in served:
                return None, f"{champion} leads {leader}, the best simple method, but no bundle carries it."
            return champion, (
                f"The whole interval of the lead of {champion}, a learned model, over {leader}, the best simple "
                "method, is above 0."
            )
        best = self.best(names)
        near = [name for name in simple if name == best or not self.lead(best, name).is_real]
        near = sorted(near, key=lambda name: (simplicity(name), -self._means[name]))
        head = f"No learned model leads {leader}, the best simple method, beyond noise." if learned else ""
        if found := [name for name in near if name in served]:
            middle = f"{found[0]} is the best." if best == found[0] else f"{best} is the best."
            tail = f" The simplest method within noise of it that a bundle carries is {found[0]}."
            return found[0], f"{head} {middle}{'' if best == found[0] else tail}".strip()
        return None, f"{head} {best} is the best, but no bundle carries it, or any method within noise of it.".strip()


def simplicity(name: str) -> int:
    """Returns a number that is larger the less simple the method is."""
    if name in SIMPLICITY:
        return SIMPLICITY.index(name)
    return len(SIMPLICITY) + name.count(" + ") if " + " in name else 2 * len(SIMPLICITY)
