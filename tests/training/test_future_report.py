"""Tuning before the cut, paired intervals, and the report."""

import json

import numpy as np
import pytest
from future_data import DAY, made_up

from training.evaluation.bootstrap import paired_bootstrap
from training.evaluation.future import VIEWS, temporal_cut
from training.evaluation.future_rankers import Blend, OwnFrequency, Popularity
from training.evaluation.future_report import bootstrap_means, evaluate_future
from training.evaluation.future_tuning import BLENDS, Method, Search, simple_methods, tune_methods, validation_cut
from training.evaluation.metrics import Ranks
from training.evaluation.report_full import settings_text

BEFORE = 30 * DAY


class Knowing:
    """Scores the targets of one cut first, by as much as its setting says, and remembers what it was fitted on."""

    name = "knowing"

    def __init__(self, cut, share, fitted=None):
        self.share, self.fitted = share, [] if fitted is None else fitted
        self._answer = {int(cut.history.user_ids[u]): row for u, row in zip(cut.users, cut.targets, strict=True)}
        self._items = cut.history.item_ids

    @property
    def settings(self):
        return {"share": self.share}

    def fit(self, history):
        self.history = history
        self.fitted.append((self.share, history.before))
        return self

    def score(self, users):
        out = np.random.default_rng(0).random((len(users), self.history.num_items))
        for row, user in enumerate(self.history.user_ids[users]):
            wanted = self._items[self._answer[int(user)].indices] if int(user) in self._answer else []
            out[row, np.isin(self.history.item_ids, wanted)] += self.share
        return out


@pytest.fixture
def purchases():
    return made_up(np.random.default_rng(3), users=30, baskets=12)


def test_the_best_setting_on_the_validation_window_is_chosen(purchases):
    cut = validation_cut(purchases, BEFORE, days=8, min_purchases=3)
    method = Method("knowing", lambda share: Knowing(cut, share), {"share": (0.0, 0.3, 2.0, 0.6)})
    choice = Search(cut, VIEWS, np.random.default_rng(0)).choose(method, "new")
    assert choice.ranker.settings == {"share": 2.0} and choice.value == 1.0 and choice.tried == 4


def test_the_search_walks_along_one_setting_at_a_time_and_measures_nothing_twice(purchases):
    cut = validation_cut(purchases, BEFORE, days=8, min_purchases=3)
    fitted = []

    def make(a, b):
        return Knowing(cut, a * b, fitted)

    method = Method("knowing", make, {"a": (0.0, 1.0), "b": (0.5, 2.0)})
    search = Search(cut, VIEWS, np.random.default_rng(0))
    first = search.choose(method, "all")
    assert first.ranker.settings == {"share": 2.0} and first.tried == 4
    count = len(fitted)
    assert count == len({share for share, _ in fitted}) == 3
    search.choose(method, "new")
    assert len(fitted) == count


def test_all_simple_methods_and_the_blend_are_tuned_for_both_views(purchases):
    cut = validation_cut(purchases, BEFORE, days=8, min_purchases=3)
    chosen = tune_methods(cut, simple_methods(), VIEWS, np.random.default_rng(0))
    names = [method.name for method in simple_methods()]
    assert [*chosen["all"]] == [*chosen["new"]] == [*names, *(f"{own} + {other}" for own, other in BLENDS)]
    blend = chosen["all"]["own frequency, basket decay + EASE"].ranker
    assert isinstance(blend, Blend)
    assert "weights 1.0 and" in settings_text(blend.settings) and "(half_life" in settings_text(blend.settings)
    assert [part.settings for part in blend.parts] == [
        chosen["all"][name].ranker.settings for name in ("own frequency, basket decay", "EASE")
    ]
    for view in VIEWS:
        assert all(0 <= choice.value <= 1 for choice in chosen[view].values())
    assert chosen["all"]["own frequency"].value > chosen["all"]["popularity"].value  # they do buy favourites


def test_refusals(purchases):
    cut = validation_cut(purchases, BEFORE, days=8, min_purchases=3)
    rng = np.random.default_rng(0)
    with pytest.raises(ValueError, match="different names"):
        tune_methods(cut, [Method("a", Popularity), Method("a", Popularity)], VIEWS, rng, blends=())
    with pytest.raises(ValueError, match="`blends` should name methods among"):
        tune_methods(cut, [Method("a", Popularity)], VIEWS, rng)
    with pytest.raises(ValueError, match="at least one value"):
        Search(cut, VIEWS, rng).choose(Method("a", Popularity, {"days": ()}), "all")


def test_a_method_from_outside_stands_beside_the_simple_ones(purchases):
    cut = temporal_cut(purchases, BEFORE, days=8, min_purchases=3)
    fitted = []
    method = Method("knowing", lambda share: Knowing(cut, share, fitted), {"share": (2.0,)})
    report = evaluate_future(
        purchases, BEFORE, np.random.default_rng(0), days=8, min_purchases=3, methods=[method], views=VIEWS
    )
    assert {before for _, before in fitted} == {BEFORE - 8 * DAY, BEFORE}
    lead = report.lead("all", "knowing", "popularity", np.random.default_rng(0))
    assert lead.difference == 1 - report.results["all"]["popularity"].means["NDCG@10"] and lead.is_real
    for view in VIEWS:
        result = report.results[view]["knowing"]
        assert result.means["NDCG@10"] == result.intervals["NDCG@10"][0] == 1 and result.lead.is_real
        reference = report.results[view][report.references[view]]
        assert report.references[view] != "knowing" and reference.lead.difference == 0
        low, high = reference.intervals["NDCG@10"]
        assert low < reference.means["NDCG@10"] < high
    targets = cut.targets.toarray()
    new = targets & ~(cut.history.user_item()[cut.users].toarray() > 0)
    assert report.targets_per_shopper["all"] == targets.sum() / len(targets)
    assert report.targets_per_shopper["new"] == new.sum() / new.any(axis=1).sum()
    assert sum(group.rows for group in report.segments("all")["New or returning shopper"]) == len(targets)
    assert 0 < report.variety["new"]["popularity"].coverage <= 1
    document = json.loads(json.dumps(report.document(), allow_nan=False))
    assert document["before"] == "1970-01-31T00:00:00+00:00"
    assert document["views"]["all"]["methods"]["knowing"]["settings"] == {"share": 2.0}
    lines = report.markdown().splitlines()
    rows = [line for line in lines if line.startswith("| ")]
    assert rows[0].startswith("| method | NDCG@10 | HR@12 | MAP@12 | P@12 | R@10 |")
    assert rows[1].startswith("| knowing | 1.0000 (1.0000 to 1.0000) | 1.0000 |")
    assert document["deploy"] == document["views"]["all"]["verdict"]["deploy"] != "knowing"  # which no bundle carries
    assert len(rows) > 2 * (2 + len(simple_methods()) + len(BLENDS))


def test_the_same_seed_gives_the_same_report(purchases):
    one, other = (
        evaluate_future(purchases, BEFORE, np.random.default_rng(5), days=8, min_purchases=3).document()
        for _ in range(2)
    )
    assert one == other


def test_resampled_means_are_paired_and_agree_with_paired_bootstrap():
    rng = np.random.default_rng(0)
    places = rng.integers(1, 30, 300)
    better = np.maximum(places - 1, 1)
    values = {"a": 1 / better, "b": 1 / places}
    means = bootstrap_means(values, np.random.default_rng(1), samples=4000)
    lead = paired_bootstrap(
        Ranks.of(better), Ranks.of(places), lambda ranks: 1 / ranks.mean, np.random.default_rng(2), samples=4000
    )
    low, high = np.quantile(means["a"] - means["b"], (0.025, 0.975))
    assert low == pytest.approx(lead.low, abs=0.004) and high == pytest.approx(lead.high, abs=0.004)
    assert (means["a"] >= means["b"]).all()
    with pytest.raises(ValueError, match="of the same shoppers"):
        bootstrap_means({"a": np.ones(2), "b": np.ones(3)}, rng)


def test_a_ranker_kept_from_tuning_learns_anew_before_the_test(purchases):
    earlier = validation_cut(purchases, BEFORE, days=8, min_purchases=3)
    cut = temporal_cut(purchases, BEFORE, days=8, min_purchases=3)
    kept = OwnFrequency(3.0).fit(earlier.history)
    users = np.arange(cut.history.num_users)
    np.testing.assert_array_equal(kept.fit(cut.history).score(users), OwnFrequency(3.0).fit(cut.history).score(users))
