"""The candidate-history ranker learns from earlier moments, and its graph scores as its parts say."""

from dataclasses import dataclass

import numpy as np
import pytest
from future_data import CUT, lines
from history_data import DAY, GROUPS, small_history, staples
from pydantic import ValidationError

from training.evaluation.future import evaluate_ranker, temporal_cut
from training.evaluation.future_rankers import OwnFrequency, Popularity
from training.evaluation.purchases import History, history_before
from training.history_config import HistoryRankerConfig
from training.history_examples import earlier_cuts, earlier_history, make_examples
from training.history_future import CandidateHistory, history_method
from training.history_ranker import FittedRanker, Forecast, fit_history_ranker
from training.history_training import standardise, train_network
from training.models.history_features import feature_graph
from training.models.history_network import rank_graph
from training.models.history_tables import history_tables
from training.models.rank_session import RankSession, ShopperEvents, cpu_session, score_users

SMALL = HistoryRankerConfig(
    days=7, cuts=4, step_days=7, min_history_days=30, negatives=20, neighbours=10, hidden=(8, 4), epochs=8, seeds=2
)


@pytest.fixture(scope="module")
def cut():
    return temporal_cut(staples(np.random.default_rng(0)), 100 * DAY, 7, 1)


@pytest.fixture(scope="module")
def groups(cut):
    return {"kind": np.arange(cut.history.num_items) % 5}


@pytest.fixture(scope="module")
def fitted(cut, groups):
    return fit_history_ranker(cut.history, groups, SMALL, progress=False)


def test_an_earlier_history_is_that_of_earlier_purchases():
    history = history_before(lines(), CUT, min_purchases=1)
    found, expected = earlier_history(history, 3 * DAY), history_before(lines(), 3 * DAY, min_purchases=1)
    assert history.item_ids[found.item].tolist() == expected.item_ids[expected.item].tolist()
    assert history.user_ids[found.user].tolist() == expected.user_ids[expected.user].tolist()
    for name in ("time", "basket", "age", "basket_time"):
        assert getattr(found, name).tolist() == getattr(expected, name).tolist()
    assert found.num_baskets.tolist() == [1, 1, 0] and found.before == 3 * DAY


def test_windows_of_earlier_moments_end_at_the_cut():
    history = history_before(lines(), CUT, min_purchases=1)
    config = HistoryRankerConfig(days=2, cuts=5, step_days=3, min_history_days=1)
    assert [moment // DAY for moment in earlier_cuts(history, config)] == [8, 5, 2]
    with pytest.raises(ValueError, match="should span"):
        earlier_cuts(history, HistoryRankerConfig(days=9, min_history_days=1))


def test_examples_are_all_old_pairs_and_weighted_new_ones(cut, groups):
    history = cut.history
    rng = np.random.default_rng(1)
    examples = make_examples(history, groups, SMALL.model_copy(update={"cuts": 1}), rng)
    known = earlier_history(history, history.before - 7 * DAY)
    window = history.time >= known.before
    active = np.intersect1d(history.user[window], known.user)
    assert examples.num_lists == len(active)
    old = known.user_item()[active]
    assert len(examples.seen.item) == old.nnz
    both = (history.user_item(rows=window)[active].toarray() > 0) & (old.toarray() > 0)
    assert examples.seen.bought.sum() == both.sum()
    assert examples.seen.item.min() >= 1
    # The sampled items stand for all items that the shopper never bought, on average.
    lists = np.repeat(np.arange(len(active)), np.diff(examples.new.starts))
    unsold = examples.new.bought == 0
    stands_for = np.bincount(lists[unsold], examples.new.weight[unsold])
    whole = (history.user_item()[active].toarray() == 0).sum(axis=1)
    assert stands_for.mean() == pytest.approx(whole.mean(), rel=0.1)


@dataclass
class Deployed:
    """A fitted ranker as a method of the evaluation."""

    fitted: FittedRanker
    history: History
    name: str = "deployed"

    @property
    def settings(self):
        return self.fitted.settings

    def fit(self, history):
        return self

    def score(self, users):
        return score_users(RankSession(self.fitted.graph), self.history, users, self.history.before)


def test_it_beats_counting_and_popularity_where_people_buy_at_intervals(cut, fitted):
    rng = np.random.default_rng(2)
    rankers = (Deployed(fitted, cut.history), OwnFrequency(20.0).fit(cut.history), Popularity().fit(cut.history))
    figures = [evaluate_ranker(each, cut, rng, ("all",))["all"].means["NDCG@10"] for each in rankers]
    assert figures[0] > figures[1] + 0.01 and figures[1] > figures[2] + 0.2


def test_the_graph_scores_what_the_networks_say(cut, groups):
    history, config = cut.history, SMALL.model_copy(update={"seeds": 1, "epochs": 1})
    examples = make_examples(history, groups, config, np.random.default_rng(3))
    scales = standardise(examples, config.clip)
    network = train_network(examples, history.num_items + 1, config, 5)
    tables = history_tables(history, groups, 10.0, 5)
    graph = rank_graph(tables, config.days, scales, [network])
    items, times = ShopperEvents.of(history).of_user(3)
    found = RankSession(graph).score(items, times, history.before)
    values = {"items": items, "timestamps": times, "now": np.array(history.before)}
    pairs, seen, dense, house = cpu_session(feature_graph(tables, config.days)[0]).run(None, values)
    item = tables.item.copy()
    old, new = np.concatenate([seen, dense[pairs]], axis=1), dense.copy()
    for scale, table in ((scales.seen, old), (scales.new, new), (scales.item, item), (scales.house, house)):
        scale.apply(table)
    expected = np.asarray(network.new(np.concatenate([new, item, np.repeat(house, len(new), 0)], axis=1))).copy()
    rows = np.concatenate([old, item[pairs], np.repeat(house, len(pairs), 0)], axis=1)
    expected[pairs] = np.asarray(network.seen(rows, pairs.astype(np.int32)))
    assert found[1:] == pytest.approx(expected[1:], rel=1e-3, abs=1e-3)
    assert found[0] == np.finfo(np.float32).min


def test_the_same_seed_gives_the_same_graph_and_the_method_the_same_scores(cut, groups):
    config = SMALL.model_copy(update={"seeds": 1, "epochs": 1, "cuts": 1})
    users = np.arange(5)
    found = fit_history_ranker(cut.history, groups, config, progress=False)
    scores = score_users(RankSession(found.graph), cut.history, users, cut.history.before)
    of_purchases = {name: np.full(cut.history.item_ids.max() + 1, -1) for name in groups}
    for name, codes in groups.items():
        of_purchases[name][cut.history.item_ids] = codes
    method = CandidateHistory(of_purchases, config).fit(cut.history)
    assert method.fit(cut.history).score(users) == pytest.approx(scores, abs=1e-5)


def test_settings_and_time_are_told(fitted):
    assert fitted.settings["groups"] == ["kind"] and fitted.settings["seeds"] == 2
    assert fitted.settings["examples"] > 0
    assert fitted.announced_seconds > 0 and fitted.seconds > 0
    assert "EASE" in fitted.names.dense and "kind: share" in fitted.names.item


def test_the_time_is_said_after_the_first_features_and_again_after_the_first_steps(caplog):
    seconds = iter([0.0, *np.arange(1.0, 1000.0)])
    said = []
    forecast = Forecast(
        HistoryRankerConfig(seeds=1, cuts=1, epochs=1, batch_size=4), said.append, lambda: next(seconds)
    )
    for done in range(1, 101):
        forecast.on_list(done, 100)
    assert len(said) == 1 and forecast.announced is not None
    for done in range(1, 26):
        forecast.on_step(done, 25)
    assert len(said) == 2 and "minutes" in said[1]


def test_a_method_of_the_temporal_cut_has_one_configuration():
    method = history_method(GROUPS, SMALL)
    assert method.name == "candidate history" and not method.grid
    assert method.make().settings["days"] == 7
    with pytest.raises(ValueError, match="fitted"):
        method.make().score(np.array([0]))


@pytest.mark.parametrize("wrong", [{"days": 0}, {"seeds": 0}, {"hidden": (0,)}, {"half_life": 3}, {"clip": 0}])
def test_settings_out_of_range_and_unknown_ones_are_refused(wrong):
    with pytest.raises(ValidationError):
        HistoryRankerConfig(**wrong)


def test_a_history_without_a_later_purchase_is_refused():
    late = earlier_history(small_history(), 2000 * DAY)  # nobody has bought for years
    with pytest.raises(ValueError, match="some shopper should buy"):
        make_examples(late, {}, HistoryRankerConfig(days=1, cuts=1, min_history_days=79), np.random.default_rng(0))
