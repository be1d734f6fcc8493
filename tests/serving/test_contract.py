"""The contract of requests: rows that fail alone, times in the future, limits, and the rules of a model."""

import logging
import math
from itertools import repeat

import numpy as np
import pytest
from fake_bundle import DAY, GID, HANDLES, T0, build_fake_bundle

from serving.bundle import open_bundle
from serving.config import ConfigError, serve_config
from serving.recommender import Recommendation, Recommender, RequestError

SHIRT = (None, ["shirt"], [T0])


@pytest.fixture(scope="module")
def bundle(tmp_path_factory):
    return open_bundle(build_fake_bundle(tmp_path_factory.mktemp("contract") / "bundle"))


@pytest.fixture(scope="module")
def recommender(bundle):
    return Recommender(bundle)


def handles(bundle, request=SHIRT, **rules):
    return Recommender(bundle, serve_config(rules)).recommend(*request).handles


def test_a_batch_gets_the_answers_of_one_by_one(recommender):
    rng = np.random.default_rng(0)
    shoppers = [
        (user, [HANDLES[n] for n in rng.integers(0, 6, length)], [T0 + int(n) for n in rng.integers(0, DAY, length)])
        for user, length in zip([None, "ann", "bob", "cid", "x"] * 8, range(40), strict=True)
    ]
    for keywords in ({}, {"k": 2, "recommend_seen": True}, {"candidate_ids": ["jeans", "gone"], "now": T0 + 9 * DAY}):
        expected = [recommender.recommend(*shopper, **keywords) for shopper in shoppers]
        assert recommender.recommend_batch(shoppers, **keywords) == expected
        assert recommender.recommend_batch(shoppers[::-1], **keywords) == expected[::-1]
    assert recommender.recommend_batch([]) == []


def test_a_bad_row_fails_alone(recommender):
    refused, answered, empty = recommender.recommend_batch([(None, "shirt", [T0]), SHIRT, (None, ["shirt"], [])])
    assert answered == recommender.recommend(*SHIRT)
    assert isinstance(refused, RequestError) and str(refused) == "`items` should be a list. Received: str"
    assert isinstance(empty, RequestError) and "Received: 1 items and 0 timestamps" in str(empty)


def test_what_is_asked_for_all_rows_fails_at_once(recommender):
    for shoppers in ([], [SHIRT, SHIRT]):
        with pytest.raises(RequestError, match=r"^`k` should be a positive integer"):
            recommender.recommend_batch(shoppers, k=0)


def test_events_in_the_future_are_set_to_the_time_of_the_request(bundle):
    recommender = Recommender(bundle, clock=lambda: T0 + 0.5)
    items = ["shirt", "novel", "atlas"]
    # A day is left for clocks that differ.
    assert recommender.recommend(None, items, [T0 - 5, T0, T0 + DAY]).message is None
    answer = recommender.recommend(None, items, [T0 + 9 * DAY, T0 + DAY + 1, T0])
    assert answer.message == "2 of 3 timestamps lie in the future and were set to the time of the request."
    assert answer.scores == recommender.recommend(None, items, [T0 + DAY, T0 + DAY, T0]).scores
    late = recommender.recommend(None, items, [T0, T0 + 7, T0 + 9], now=T0 + 8)
    assert late.message == "1 of 3 timestamps lie in the future and were set to the time of the request."
    assert late.scores == recommender.recommend(None, items, [T0, T0 + 7, T0 + 8], now=T0 + 8).scores


def test_what_is_set_to_one_time_keeps_its_order(bundle):
    recommender = Recommender(bundle, clock=lambda: T0)
    items = ["shirt", "jeans", "novel", "atlas", "scarf", "gone"]  # of which the latest four are read
    times = [T0 + DAY * (n + 2) for n in range(6)]
    expected = recommender.recommend(None, items, times, recommend_seen=True)
    assert recommender.recommend(None, items[::-1], times[::-1], recommend_seen=True) == expected
    milliseconds = [T0 * 1000 + n for n in range(6)]  # of one second
    expected = recommender.recommend(None, items, milliseconds, recommend_seen=True)
    assert recommender.recommend(None, items[::-1], milliseconds[::-1], recommend_seen=True) == expected


def test_limits_are_refused_clearly(recommender):
    many = 100_001
    for arguments in ((None, ["shirt"] * many, [T0] * many), (None, repeat("shirt"), repeat(T0))):
        with pytest.raises(RequestError, match=r"`items` should have at most 100,000 values\. Received: more"):
            recommender.recommend(*arguments)
    with pytest.raises(RequestError, match="`candidate_ids` should have at most 100,000 values"):
        recommender.recommend(*SHIRT, candidate_ids=repeat("shirt"))
    answer = recommender.recommend(None, ["shirt"] * 100_000, [T0] * 100_000, candidate_ids=map(str, range(100_000)))
    assert len(answer.item_ids) == 16


def test_long_and_foreign_ids_are_unknown(recommender):
    anonymous = recommender.recommend()
    for user in ("u" * 2000, "ünïcode-☃", "\ud800", math.nan):
        assert recommender.recommend(user) == anonymous
    for item in ("i" * 2000, "日本", "\ud800", "gid://shopify/Product/10"):
        answer = recommender.recommend(None, [item, "shirt"], [T0, T0])
        assert answer.message == "1 of 2 items are not known to the model and were skipped."
    answer = recommender.recommend(*SHIRT, candidate_ids=["日本", "jeans"])
    assert answer.item_ids == [GID["jeans"], "日本"]
    with pytest.raises(RequestError, match=r"`candidate_ids\[0\]` .*Received: half of a character"):
        recommender.recommend(*SHIRT, candidate_ids=["\ud800"])


@pytest.mark.parametrize("value", ["1_700_000_000", "1" * 65, {"a"}, b"1", np.datetime64("2026-01-01")])
def test_what_python_would_take_for_a_time(recommender, value):
    with pytest.raises(RequestError, match=r"`timestamps\[0\]` should be UNIX seconds"):
        recommender.recommend(None, ["shirt"], [value])


def test_numbers_too_long_to_be_written_and_sets(recommender):
    with pytest.raises(RequestError, match=r"`k` .* Received: a number far below 0"):
        recommender.recommend(*SHIRT, k=-(10**5000))
    assert recommender.recommend(*SHIRT, k=10**5000) == recommender.recommend(*SHIRT, k=100)
    with pytest.raises(RequestError, match=r"`items` should be a list\. Received: set"):
        recommender.recommend(None, {"shirt"}, [T0])
    assert recommender.recommend(None, None, math.nan) == recommender.recommend()


@pytest.mark.parametrize(
    ("rules", "left"),
    [
        ({"include_categories": ["books"]}, ["novel", "atlas"]),
        ({"exclude_categories": ["Clothing"]}, ["novel", "atlas"]),
        ({"include_tags": ["Cotton", "GIFT"]}, ["jeans", "novel", "atlas"]),
        ({"exclude_tags": ["sale"]}, ["scarf", "novel", "fresh"]),
        ({"include_tags": ["new"]}, ["fresh"]),
        ({"include_tags": ["sale"], "exclude_tags": ["gift"]}, ["jeans"]),
        ({"exclude_out_of_stock": True}, ["jeans", "scarf", "novel", "fresh"]),
        ({"exclude_out_of_stock": True, "include_categories": ["Books"]}, ["novel"]),
    ],
)
def test_rules_keep_what_they_allow(bundle, recommender, rules, left):
    assert handles(bundle, **rules) == left
    whole = recommender.recommend(*SHIRT)
    score = dict(zip(whole.handles, whole.scores, strict=True))
    assert Recommender(bundle, serve_config(rules)).recommend(*SHIRT).scores == [score[handle] for handle in left]


def test_rules_hold_for_popularity_and_candidates_too(bundle, recommender):
    books = Recommender(bundle, serve_config({"include_categories": ["Books"]}))
    assert books.recommend().handles == ["novel", "atlas"]
    share = dict(zip(recommender.recommend().handles, recommender.recommend().scores, strict=True))
    assert books.recommend().scores == [share["novel"], share["atlas"]]
    answer = books.recommend(*SHIRT, candidate_ids=["jeans", "fresh", GID["atlas"], "nothing"])
    assert answer.item_ids == [GID["atlas"], "nothing"]
    assert answer.message == (
        "1 of 4 candidate ids are not in the catalogue; they score 0 and come last. "
        "2 of 4 candidate ids are excluded by this model's rules and were left out."
    )
    # What is not recommended still tells of the shopper.
    assert books.recommend(*SHIRT).scores == recommender.recommend(*SHIRT, candidate_ids=["novel", "atlas"]).scores


def test_bought_products_are_excluded_whatever_a_request_says(bundle):
    strict = Recommender(bundle, serve_config({"exclude_seen": True, "recommend_seen": True}))
    answer = strict.recommend(*SHIRT, recommend_seen=True)
    assert "shirt" not in answer.handles
    assert answer.message == "Products that the shopper has seen are never recommended by this model."
    assert strict.recommend(*SHIRT) == Recommendation(answer.item_ids, answer.scores, answer.handles, None)


def test_nothing_left_is_said(bundle, recommender):
    everything = (None, list(GID), [T0] * 6)
    assert recommender.recommend(*everything).item_ids == []
    assert recommender.recommend(*everything).message.endswith("No product is left to recommend.")
    with pytest.raises(ConfigError, match=r"should leave products to recommend\. Received: rules that exclude all 6"):
        Recommender(bundle, serve_config({"include_tags": ["no-such-tag"]}))


def test_a_rule_that_no_product_meets_is_logged(bundle, caplog):
    with caplog.at_level(logging.WARNING, logger="serving.rules"):
        handles(bundle, exclude_tags=["sale", "sael"])
    assert caplog.messages == ["exclude_tags: no product of the catalogue has 'sael'"]
