"""Features of the candidate-history ranker on events whose figures are counted by hand."""

import numpy as np
import pytest
from history_data import DAY, DAYS, GROUPS, ITEMS, NOW, run_features, small_history
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose

from training.evaluation.purchases import Purchases, history_before
from training.history_examples import earlier_history
from training.models.history_features import feature_graph
from training.models.history_tables import history_tables
from training.models.rank_session import cpu_session


def log1p(*values):
    return pytest.approx(np.log1p(values), rel=1e-5, abs=1e-6)


def plain(*values):
    return pytest.approx(np.array(values, float), rel=1e-5, abs=1e-6)


@pytest.fixture(scope="module")
def found():
    return run_features()


def test_pairs_are_the_different_items_the_unknown_one_among_them(found):
    assert found[0] == [0, 1, 2, 4]


def test_counts_and_decays(found):
    seen = found[1]
    assert seen["count"][1:] == log1p(3, 1, 1)
    # Ages in days: item 1 30, 20, 6; item 2 20; item 4 6. In baskets: item 1 3, 2, 0; item 2 2; item 4 0.
    assert seen["decay 7 days"][1:] == log1p(*(sum(0.5 ** (a / 7) for a in ages) for ages in ([30, 20, 6], [20], [6])))
    assert seen["decay 20 baskets"][1:] == log1p(*(sum(0.5 ** (a / 20) for a in b) for b in ([3, 2, 0], [2], [0])))
    assert seen["count 7 days"][1:] == log1p(1, 0, 1)
    assert [seen[f"window {k}"][1] for k in range(6)] == [1, 1, 0, 0, 0, 0]
    assert [seen[f"window {k}"][2] for k in range(6)] == [1, 0, 0, 0, 0, 0]


def test_recency_and_regularity(found):
    seen = found[1]
    assert seen["days since last"][1:] == log1p(6, 20, 6)
    assert seen["baskets since last"][1:] == log1p(0, 2, 0)
    assert seen["days since first"][1:] == log1p(30, 20, 6)
    assert seen["days"][1:] == log1p(3, 1, 1)
    assert seen["own gap"][1:] == log1p(12, 200, 200)
    assert seen["last gap"][1:] == log1p(14, 200, 200)
    assert seen["gap spread"][1:] == log1p(2, 60, 60)  # gaps of 10 and 14 days
    gap = history_tables(small_history(), GROUPS, 10.0, 3).gap
    typical = np.array([(24 + gap[1]) / 3, gap[2], gap[4]])
    assert seen["gap"][1:] == log1p(*typical)
    assert seen["overdue ratio"][1:] == log1p(*(np.array([6, 20, 6]) / (typical + 1)))
    assert seen["overdue days"][1:] == plain(*np.clip(np.array([6, 20, 6]) - typical, -60, 120))


def test_shares(found):
    seen = found[1]
    assert seen["share of baskets"][1:] == plain(3 / 4, 1 / 4, 1 / 4)
    assert seen["share since first"][1:] == plain(3 / 6, 1 / 5, 1 / 3)
    assert seen["daily rate"][1:] == plain(3 / 44, 1 / 34, 1 / 20)
    assert seen["share of windows"][1:] == plain(2 / 2, 1, 1)
    decays = np.array([sum(0.5 ** (a / 20) for a in b) for b in ([3, 2, 0], [2], [0])])
    assert seen["share of decay 20 baskets"][1:] == plain(*np.log(decays / decays.sum() + 1e-4))


def test_groups(found):
    _, seen, dense, _ = found
    assert seen["kind: own share"][1:] == plain(3 / 4, 1 / 4, 1)
    assert seen["kind: bought since"][1:] == log1p(0, 14, 0)
    assert dense["kind: count"][1:] == log1p(4, 4, 4, 1)
    assert dense["kind: days since"][1:] == log1p(6, 6, 6, 6)
    decay = sum(0.5 ** (a / 60) for a in (30, 20, 20, 6))
    assert dense["kind: decay"][1:] == log1p(decay, decay, decay, 0.5 ** (6 / 60))
    # In the 63 days before the tables' moment: items 1 (day 950), 2 (970), 3 (950), 4 (940 and 979).
    market = np.log(np.array([1.5 / 8, 1.5 / 8, 1.5 / 8, 2.5 / 7]))
    assert dense["kind: affinity"][1:] == plain(*(np.log1p([decay] * 3 + [0.5 ** (6 / 60)]) + market))


def test_shopper(found):
    house = found[3]
    assert house["baskets 21 days"] == log1p(3) and house["baskets 63 days"] == log1p(4)
    assert house["items bought 21 days"] == log1p(4)
    assert house["days since last basket"] == log1p(6)
    assert house["basket size"] == log1p(5 / 4)
    assert house["different items"] == log1p(3)
    assert house["repeat share"] == pytest.approx(1 / 3)
    assert house["new share"] == pytest.approx(3 / 10)


def test_ease_is_that_of_all_items_when_none_is_left_out(found):
    history = small_history()
    bought = (history.user_item().toarray() > 0).astype(float)
    inverse = np.linalg.inv(bought.T @ bought + 10 * np.eye(4))
    weights = -inverse / np.diag(inverse)
    np.fill_diagonal(weights, 0)
    assert found[2]["EASE"][1:] == pytest.approx(np.array([1, 1, 0, 1]) @ weights, rel=1e-4)
    amounts = [sum(0.5 ** (a / 60) for a in ages) ** 0.5 for ages in ([30, 20, 6], [20], [], [6])]
    assert found[2]["recent EASE"][1:] == pytest.approx(np.array(amounts) @ weights, rel=1e-4)


def test_each_item_keeps_its_loudest_links():
    full, few = (history_tables(small_history(), {}, 10.0, count).links for count in (4, 1))
    dense = np.zeros((5, 5))
    for item in range(5):
        kept = slice(full.starts[item], full.starts[item + 1])
        dense[item, full.targets[kept]] = full.weights[kept]
    for target in range(1, 5):
        place = int(np.flatnonzero(few.targets == target)[0])
        source = int(np.searchsorted(few.starts, place, side="right")) - 1
        assert source == np.abs(dense[:, target]).argmax() and few.weights[place] == pytest.approx(
            dense[source, target]
        )


def test_only_unknown_products_give_finite_features():
    pairs, seen, dense, house = run_features(items=[0], days=[999])
    assert pairs == [0]
    assert all(np.isfinite(value).all() for family in (seen, dense, house) for value in family.values())
    assert not dense["EASE"].any() and house["different items"] == 0


def compare(one, other):
    """Compares all but the seen features of the unknown product, which no score is made of."""
    assert one[0] == other[0]
    for family, same in zip(one[1:], other[1:], strict=True):
        rest = slice(1, None) if family is one[1] else ...
        for name in family:
            assert_allclose(family[name][rest], same[name][rest], rtol=2e-5, atol=2e-5, err_msg=name)


def test_order_within_a_basket_and_repeats_in_it_change_nothing(found):
    compare(found, run_features(items=[1, 2, 1, 0, 1, 4, 4], days=[970, 980, 980, 990, 994, 994, 994]))


def test_an_unknown_product_in_a_known_basket_changes_nothing(found):
    compare(found, run_features(items=[0, *ITEMS], days=[970, *DAYS]))


@settings(max_examples=10, deadline=None)
@given(st.integers(-900 * DAY, 9000 * DAY))
def test_moving_all_times_changes_nothing(shift):
    moved = [day + shift / DAY for day in DAYS]
    compare(run_features(), run_features(days=moved, now=NOW + shift))


def test_groups_are_as_many_as_the_tables_have():
    graph, names = feature_graph(history_tables(small_history(), {}, 10.0, 3), 21)
    assert not any(":" in name for name in names.seen)
    _, more = feature_graph(history_tables(small_history(), {**GROUPS, "brand": np.array([5, -1, 7, 7])}, 10.0, 3), 21)
    assert len(more.dense) == len(names.dense) + 8
    assert cpu_session(graph).get_inputs()[0].name == "items"


@pytest.mark.parametrize("codes", [np.array([0, 1]), np.array([0.0, 1.0, 2.0, 3.0])])
def test_groups_that_do_not_fit_are_refused(codes):
    with pytest.raises(ValueError, match="one whole number for each of 4 items"):
        history_tables(small_history(), {"kind": codes}, 10.0, 3)


def test_a_basket_that_begins_before_a_moment_and_ends_after_it_counts_as_a_whole():
    tables = []
    for seconds in (-5, 5):  # the first shopper's item 1, after the basket's other line
        times = [100 * DAY - 9, 100 * DAY + seconds, 90 * DAY, 91 * DAY]
        purchases = Purchases.of([0, 0, 1, 1], [2, 1, 1, 2], times, [1, 1, 2, 3])
        known = earlier_history(history_before(purchases, 121 * DAY, 1), 100 * DAY)
        tables.append(history_tables(known, {"kind": np.array([0, 1])}, 10.0, 1))
    assert_allclose(tables[0].item, tables[1].item, atol=1e-3)
    assert_allclose(tables[0].gap, tables[1].gap, atol=1e-3)
