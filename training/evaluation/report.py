"""One report: every ranker under both protocols, the lead over the best naive baseline, and the share of the oracle."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Final

import numpy as np

from training.data.sequences import EncodedSequences
from training.evaluation.baselines import default_baselines, settings_of
from training.evaluation.bootstrap import Lead, paired_bootstrap
from training.evaluation.metrics import TIE_RULE, metrics_table
from training.evaluation.protocol import (
    PRIMARY_K,
    PROTOCOLS,
    Evaluation,
    Ranker,
    Seen,
    evaluate_full_ranking,
    evaluate_ranker,
    primary_metric,
)
from training.evaluation.tuning import Baseline

ORACLE: Final = "oracle"  # name of the ranker that knows the generator's true probabilities
PRIMARY: Final = f"NDCG@{PRIMARY_K}"
FULL_RANKING: Final = ("seen_in", "seen_out")
SEEN: Final[Mapping[str, Seen]] = {"seen_in": "in", "seen_out": "out"}
_HEADINGS: Final = {
    "seen_out": "Full ranking, seen items out (targets new to the shopper)",
    "seen_in": "Full ranking, seen items in (the whole inventory)",
    "sampled": "SAMPLED: the target among {negatives} items its shopper never touched, unlike full ranking",
}


@dataclass(frozen=True)
class Report:
    """All figures of one evaluation.

    Attributes:
        split: "valid" or "test".
        evaluations: Protocol ("seen_out", "seen_in", "sampled") to method to its figures, in order of the table.
        baselines: Names of the naive baselines.
        leads: Protocol to method to its lead over the best naive baseline in NDCG@10 (full ranking only).
        settings: Protocol to baseline to the settings chosen on the validation split.
        negatives: Number of sampled negatives beside each target.
        fingerprint: Fingerprint of the data set.
    """

    split: str
    evaluations: Mapping[str, Mapping[str, Evaluation]]
    baselines: tuple[str, ...]
    leads: Mapping[str, Mapping[str, Lead]]
    settings: Mapping[str, Mapping[str, Mapping[str, Any]]]
    negatives: int
    fingerprint: str | None

    def best_baseline(self, protocol: str) -> str:
        """Returns the naive baseline with the highest NDCG@10 under a full-ranking protocol."""
        return best_of(self.evaluations[protocol], self.baselines)

    def metrics(self, protocol: str) -> dict[str, dict[str, float]]:
        """Returns method to metric to value."""
        return {method: dict(found.metrics) for method, found in self.evaluations[protocol].items()}

    def shares_of_oracle(self, protocol: str) -> dict[str, float]:
        """Returns method to its NDCG@10 divided by the oracle's; empty without an oracle."""
        table = self.metrics(protocol)
        if ORACLE not in table or table[ORACLE][PRIMARY] == 0:
            return {}
        return {name: row[PRIMARY] / table[ORACLE][PRIMARY] for name, row in table.items() if name != ORACLE}

    def num_rows(self) -> dict[str, int]:
        """Returns protocol to number of rows ranked."""
        return {protocol: next(iter(table.values())).num_rows for protocol, table in self.evaluations.items()}

    def document(self) -> dict[str, Any]:
        """Returns what `evaluation.json` holds."""
        return {
            "full_ranking": {protocol: self.metrics(protocol) for protocol in FULL_RANKING},
            "sampled": self.metrics("sampled"),
            "split": self.split,
            "num_test_rows": self.num_rows()["seen_in"],
            "num_rows": self.num_rows(),
            "num_sampled_negatives": self.negatives,
            "k": PRIMARY_K,
            "tie_rule": TIE_RULE,
            "best_baseline": {protocol: self.best_baseline(protocol) for protocol in FULL_RANKING},
            "lead_over_best_baseline": {
                protocol: {method: asdict(lead) for method, lead in self.leads[protocol].items()}
                for protocol in FULL_RANKING
            },
            "share_of_oracle": {protocol: self.shares_of_oracle(protocol) for protocol in FULL_RANKING},
            "baseline_settings": {protocol: dict(found) for protocol, found in self.settings.items()},
            "data_fingerprint": self.fingerprint,
        }

    def text(self) -> str:
        """Returns the tables with their row counts, the tie rule, the leads and the shares of the oracle."""
        all_rows = self.num_rows()["seen_in"]
        blocks: list[str] = []
        for protocol in PROTOCOLS:
            heading = _HEADINGS[protocol].format(negatives=self.negatives)
            count = f"{self.num_rows()[protocol]:,} of {all_rows:,} {self.split} rows"
            lines = [f"{heading}: {count}", *metrics_table(self.metrics(protocol))]
            lines += self._verdicts(protocol) if protocol in FULL_RANKING else []
            blocks.append("\n".join(lines))
        return "\n\n".join([*blocks, f"Tie rule: {TIE_RULE}. One target a row: Recall@k is HR@k."])

    def _verdicts(self, protocol: str) -> list[str]:
        best, lines = self.best_baseline(protocol), list[str]()
        for method, lead in self.leads[protocol].items():
            shown = f"{method}: {PRIMARY} {lead.difference:+.4f} [{lead.low:+.4f}, {lead.high:+.4f}]"
            if lead.relative is not None:
                shown += f" = {lead.relative:+.1%} [{lead.relative_low:+.1%}, {lead.relative_high:+.1%}]"
            lines.append(f"{shown} against {best}, the best naive baseline (95 % paired bootstrap)")
        shares = self.shares_of_oracle(protocol)
        named = [method for method in (best, *self.leads[protocol]) if method in shares]
        if named:
            lines.append("Share of the oracle: " + ", ".join(f"{method} {shares[method]:.1%}" for method in named))
        return lines


def best_of(table: Mapping[str, Evaluation], names: Sequence[str]) -> str:
    """Returns which of the named methods has the highest NDCG@10; the first one on a tie."""
    return max(names, key=lambda name: float(primary_metric(table[name].ranks).mean()))


def evaluate_all(
    dataset: EncodedSequences,
    rankers: Sequence[Ranker] = (),
    *,
    rng: np.random.Generator,
    baselines: Mapping[Seen, Sequence[Baseline]] | None = None,
    split: str = "test",
    ks: tuple[int, ...] = (5, PRIMARY_K, 20),
    batch_size: int = 512,
    progress: bool = True,
) -> Report:
    """Evaluates naive baselines and the given rankers under both protocols.

    Each baseline is tuned once for "seen out" and once for "seen in". The sampled table has those tuned for "seen in",
    since its targets may have been seen too.

    Args:
        dataset: Encoded sequences.
        rankers: The network before and after training, the oracle (named "oracle"), or others.
        rng: Source of the bootstrap's resamples.
        baselines: Fitted baselines by protocol; `default_baselines` for each by default.
        split: "valid" or "test".
        ks: Cut-offs; 10 should be among them.
        batch_size: Rows scored at a time.
        progress: Whether to show progress bars.

    Raises:
        ValueError: If 10 is not among `ks`, two methods share a name, or there is no row to rank.
    """
    if PRIMARY_K not in ks:
        raise ValueError(f"`ks` should contain {PRIMARY_K}, the headline. Received: ks = {ks}")
    seens: tuple[Seen, Seen] = ("out", "in")
    fitted = baselines or {seen: default_baselines(dataset, seen=seen) for seen in seens}
    naive = tuple(baseline.name for baseline in fitted["out"])
    names = [*naive, *(ranker.name for ranker in rankers)]
    if len(set(names)) < len(names) or tuple(baseline.name for baseline in fitted["in"]) != naive:
        raise ValueError(f"methods should have one name each, the same in both protocols. Received: {names}")
    tables: dict[str, dict[str, Evaluation]] = {protocol: {} for protocol in PROTOCOLS}
    options: dict[str, Any] = {"batch_size": batch_size, "progress": progress}
    for baseline in fitted["out"]:
        found = evaluate_full_ranking(baseline, dataset, split, seen="out", ks=ks, **options)
        tables["seen_out"][baseline.name] = found
    for baseline in fitted["in"]:
        both = evaluate_ranker(baseline, dataset, split, ks=ks, protocols=("seen_in", "sampled"), **options)
        for protocol, found in both.items():
            tables[protocol][baseline.name] = found
    for ranker in rankers:
        for protocol, found in evaluate_ranker(ranker, dataset, split, ks=ks, **options).items():
            tables[protocol][ranker.name] = found
    leads: dict[str, dict[str, Lead]] = {}
    for protocol in FULL_RANKING:
        best = tables[protocol][best_of(tables[protocol], naive)].ranks
        leads[protocol] = {
            ranker.name: paired_bootstrap(tables[protocol][ranker.name].ranks, best, primary_metric, rng)
            for ranker in rankers
            if ranker.name != ORACLE
        }
    settings = {protocol: settings_of(fitted[seen]) for protocol, seen in SEEN.items()}
    negatives = dataset.negatives[split].shape[1]
    return Report(split, tables, naive, leads, settings, negatives, dataset.metadata.get("fingerprint"))
