"""Full ranking, sampled ranking, bootstrap and the report, on data small enough to rank by hand."""

import json

import numpy as np
import pytest
from evaluation_data import Fixed, encoded
from hypothesis import given, settings
from hypothesis import strategies as st

from training.evaluation.bootstrap import paired_bootstrap
from training.evaluation.histories import earlier_events, history_matrix, seen_mask
from training.evaluation.metrics import Ranks, mrr
from training.evaluation.protocol import (
    NamedRanker,
    evaluate_full_ranking,
    evaluate_ranker,
    evaluate_sampled,
    evaluation_rows,
    primary_metric,
)
from training.evaluation.report import evaluate_all

# User 1: test target 1 was seen. User 2: test target 4 is new. User 3: test target is unknown to training.
DATA = encoded(
    [[1, 2, 3, 1], [2, 2, 3, 4], [4, 1, 2, 0], [3, 1]],
    num_items=6,
    negatives={"valid": [[4, 5]] * 3, "test": [[4, 5], [1, 5], [3, 5]]},
)
QUIET = {"progress": False}


class ByRow:
    """Scores drawn once for each row of the dataset, so that any batching sees the same ones."""

    def __init__(self, dataset, seed, name="by row", levels=None):
        rng = np.random.default_rng(seed)
        shape = (len(dataset.item), dataset.num_items)
        self.table = rng.normal(size=shape) if levels is None else rng.integers(levels, size=shape).astype(float)
        self.name = name

    def score(self, dataset, rows):
        return self.table[rows]

    def probability(self, scores):
        return 1 / (1 + np.exp(-scores))


def brute_force_rank(scores, target, removed):
    """1-based (first, last) place of the target by plain Python."""
    others = [score for item, score in enumerate(scores) if item not in (0, target) and item not in removed]
    if target == 0:
        return len(others) + 1, len(others) + 1
    first = 1 + sum(score > scores[target] for score in others)
    return first, first + sum(score == scores[target] for score in others)


def test_history_is_all_earlier_events_latest_first():
    rows = DATA.rows("test")
    events = earlier_events(DATA, rows)
    assert DATA.item[events.event].tolist() == [3, 2, 1, 3, 2, 2, 2, 1, 4]
    assert events.age.tolist() == [0, 1, 2] * 3 and events.index.tolist() == [0, 0, 0, 1, 1, 1, 2, 2, 2]
    assert DATA.item[earlier_events(DATA, rows, last=1).event].tolist() == [3, 3, 2]
    assert history_matrix(DATA, rows, events).toarray()[1].tolist() == [0, 0, 2, 1, 0, 0]
    assert seen_mask(DATA, rows)[2].tolist() == [False, True, True, False, True, False]


def test_rows_of_the_two_protocols():
    assert DATA.item[evaluation_rows(DATA, "test", "in")].tolist() == [1, 4, 0]
    assert DATA.item[evaluation_rows(DATA, "test", "out")].tolist() == [4, 0]
    assert DATA.item[evaluation_rows(DATA, "valid", "out")].tolist() == [3, 3, 2]


def test_seen_items_in_ranks_the_whole_vocabulary_and_unknown_targets_at_the_bottom():
    found = evaluate_full_ranking(Fixed([99, 5, 4, 3, 2, 1]), DATA, seen="in", ks=(1, 5), **QUIET)
    assert found.ranks.first.tolist() == [1, 4, 6] and found.num_rows == 3 and found.protocol == "seen_in"
    assert found.metrics["HR@1"] == pytest.approx(1 / 3) and found.metrics["HR@5"] == pytest.approx(2 / 3)
    assert found.metrics["MRR"] == pytest.approx((1 + 1 / 4 + 1 / 6) / 3)


def test_seen_items_out_removes_them_and_the_rows_they_answer():
    found = evaluate_full_ranking(Fixed([99, 5, 4, 3, 2, 1]), DATA, seen="out", ks=(1, 5), **QUIET)
    # User 2 has seen 2 and 3: item 1 stays above item 4. User 3 has seen all but 3 and 5; the target is below both.
    assert found.ranks.first.tolist() == [2, 3] and found.num_rows == 2


def test_history_longer_than_a_window_still_counts_as_seen():
    dataset = encoded([[1, *([2] * 60), 3, 1], [1, 2, 3]], num_items=4)
    assert evaluation_rows(dataset, "test", "out").tolist() == [65]


@pytest.mark.parametrize("levels", [None, 2])
@pytest.mark.parametrize("seen", ["in", "out"])
def test_ranks_equal_brute_force_under_any_batch_size(seen, levels):
    rng = np.random.default_rng(5)
    histories = [rng.integers(0, 12, size=rng.integers(3, 9)).tolist() for _ in range(25)]
    dataset = encoded(histories, num_items=12)
    ranker = ByRow(dataset, 6, levels=levels)
    whole = evaluate_full_ranking(ranker, dataset, seen=seen, **QUIET)
    for batch_size in (1, 7):
        part = evaluate_full_ranking(ranker, dataset, seen=seen, batch_size=batch_size, **QUIET)
        assert part.ranks.first.tolist() == whole.ranks.first.tolist() and part.metrics == whole.metrics
    for index, row in enumerate(whole.rows):
        before = set(dataset.item[row - dataset.position[row] : row].tolist())
        expected = brute_force_rank(ranker.table[row], dataset.item[row], before if seen == "out" else set())
        assert (whole.ranks.first[index], whole.ranks.last[index]) == expected


@given(st.lists(st.lists(st.integers(0, 6), min_size=1, max_size=7), min_size=2, max_size=6), st.integers(0, 99))
@settings(max_examples=40, deadline=None)
def test_one_pass_gives_what_three_passes_give(histories, seed):
    dataset = encoded([*histories, [1, 2, 3], [1, 1, 2, 4]], num_items=7)
    ranker = ByRow(dataset, seed)
    together = evaluate_ranker(ranker, dataset, batch_size=3, **QUIET)
    apart = {f"seen_{seen}": evaluate_full_ranking(ranker, dataset, seen=seen, **QUIET) for seen in ("out", "in")}
    apart["sampled"] = evaluate_sampled(ranker, dataset, **QUIET)
    for protocol, found in apart.items():
        assert together[protocol].metrics == found.metrics
        assert together[protocol].rows.tolist() == found.rows.tolist()
        assert together[protocol].ranks.last.tolist() == found.ranks.last.tolist()


def test_sampled_ranks_the_target_among_the_stored_negatives():
    found = evaluate_sampled(Fixed([99, 5, 4, 3, 2, 1]), DATA, **QUIET)
    # 1 against 4, 5: place 1. 4 against 1, 5: place 2. Unknown target: place 3, whatever its score.
    assert found.ranks.first.tolist() == [1, 2, 3]
    assert found.metrics["mean_mrr"] == pytest.approx((1 + 1 / 2 + 1 / 3) / 3)
    assert found.metrics["group_auc"] == pytest.approx(0.5)
    assert found.metrics["ndcg@2"] == pytest.approx((1 + 1 / np.log2(3)) / 3)
    assert "logloss" not in found.metrics
    assert "logloss" in evaluate_sampled(ByRow(DATA, 0), DATA, **QUIET).metrics


def test_a_name_for_anything_that_scores():
    found = evaluate_full_ranking(NamedRanker("oracle", Fixed([0, 1, 2, 3, 4, 5])), DATA, seen="in", **QUIET)
    assert found.method == "oracle" and found.ranks.first.tolist() == [5, 2, 6]


class Wrong:
    name = "wrong"

    def __init__(self, scores):
        self.scores = scores

    def score(self, dataset, rows):
        return self.scores


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: evaluate_full_ranking(Wrong(np.zeros((2, 2))), DATA, seen="in", **QUIET), "'wrong' should have shape"),
        (lambda: evaluate_full_ranking(Wrong(np.full((3, 6), np.nan)), DATA, seen="in", **QUIET), "Received: NaN"),
        (lambda: evaluate_full_ranking(Fixed(range(6)), DATA, seen="maybe", **QUIET), "Received: seen = 'maybe'"),
        (lambda: evaluate_full_ranking(Fixed(range(6)), DATA, "train", seen="in", **QUIET), "split = 'train'"),
        (lambda: evaluate_full_ranking(Fixed(range(6)), DATA, seen="in", batch_size=0, **QUIET), "batch_size = 0"),
        (
            lambda: evaluate_sampled(Fixed(range(6)), encoded([[1, 2, 3]], 6, negatives={"test": []}), **QUIET),
            "build the dataset again",
        ),
        (lambda: evaluate_all(DATA, rng=np.random.default_rng(0), ks=(5,)), "`ks` should contain 10"),
        (lambda: evaluate_all(DATA, [Fixed(range(6), "EASE")], rng=np.random.default_rng(0)), "one name each"),
        (lambda: paired_bootstrap(Ranks.of([1]), Ranks.of([1, 2]), mrr, np.random.default_rng(0)), "the same rows"),
    ],
)
def test_wrong_values_are_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_bootstrap_of_equal_rankers_is_zero():
    ranks = Ranks.of(np.arange(1, 50))
    lead = paired_bootstrap(ranks, ranks, mrr, np.random.default_rng(0), samples=100)
    assert (lead.difference, lead.low, lead.high, lead.relative) == (0, 0, 0, 0) and not lead.is_real


def test_bootstrap_of_a_constant_lead_has_no_width():
    lead = paired_bootstrap(Ranks.of([1] * 20), Ranks.of([2] * 20), mrr, np.random.default_rng(0), samples=50)
    assert lead.difference == lead.low == lead.high == 0.5
    assert lead.relative == lead.relative_low == lead.relative_high == pytest.approx(1.0) and lead.is_real


def test_bootstrap_interval_matches_the_normal_one():
    rng = np.random.default_rng(1)
    a, b = Ranks.of(rng.integers(1, 20, 800)), Ranks.of(rng.integers(1, 30, 800))
    lead = paired_bootstrap(a, b, primary_metric, rng, samples=4000)
    each = primary_metric(a) - primary_metric(b)
    error = each.std() / np.sqrt(len(each))
    assert lead.low == pytest.approx(each.mean() - 1.96 * error, abs=0.15 * error)
    assert lead.high == pytest.approx(each.mean() + 1.96 * error, abs=0.15 * error)


def test_bootstrap_over_nothing_gives_no_relative_lead():
    lead = paired_bootstrap(Ranks.of([1, 1]), Ranks.of([90, 90]), primary_metric, np.random.default_rng(0))
    assert lead.difference == 1 and lead.relative is None


def test_report_document_and_text():
    rng = np.random.default_rng(3)
    dataset = encoded([rng.integers(1, 15, size=8).tolist() for _ in range(40)], num_items=15)
    best = ByRow(dataset, 4, "oracle")
    best.table[np.arange(len(dataset.item)), dataset.item] += 3
    rankers = [ByRow(dataset, 5, "SLi-Rec before training"), ByRow(dataset, 6, "SLi-Rec"), best]
    report = evaluate_all(dataset, rankers, rng=rng, **QUIET)
    document = json.loads(json.dumps(report.document(), allow_nan=False))
    methods = [*report.baselines, "SLi-Rec before training", "SLi-Rec", "oracle"]
    assert len(methods) == 13
    for table in (document["sampled"], *document["full_ranking"].values()):
        assert list(table) == methods
    for protocol in ("seen_out", "seen_in"):
        ndcg = {method: row["NDCG@10"] for method, row in document["full_ranking"][protocol].items()}
        naive = document["best_baseline"][protocol]
        assert ndcg[naive] == max(ndcg[method] for method in report.baselines)
        lead = document["lead_over_best_baseline"][protocol]["SLi-Rec"]
        assert lead["difference"] == pytest.approx(ndcg["SLi-Rec"] - ndcg[naive])
        assert lead["low"] <= lead["difference"] <= lead["high"]
        assert document["share_of_oracle"][protocol]["SLi-Rec"] == pytest.approx(ndcg["SLi-Rec"] / ndcg["oracle"])
    assert document["num_test_rows"] == 40 and document["num_rows"]["seen_out"] < 40 and document["k"] == 10
    assert document["data_fingerprint"] == "abc" and "random" in document["tie_rule"]
    text = report.text()
    for expected in (
        "SAMPLED",
        "Tie rule",
        f"{document['num_rows']['seen_out']} of 40 test rows",
        "Share of the oracle",
    ):
        assert expected in text
