"""Every request has a right answer or a clear refusal; answers are worked out by hand or by a slow reference."""

import math
from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal

import numpy as np
import pytest
from fake_bundle import (
    BIAS,
    DAY,
    GID,
    HANDLES,
    STORED,
    T0,
    build_fake_bundle,
    build_large_bundle,
    expected_logits,
    gid,
    ranked,
)

from serving.bundle import open_bundle
from serving.config import ServeConfig, serve_config
from serving.recommender import Recommender, RequestError

POPULARITY = "Nothing is known of this shopper: products are ranked by popularity."


@pytest.fixture(scope="module")
def bundle(tmp_path_factory):
    return open_bundle(build_fake_bundle(tmp_path_factory.mktemp("recommender") / "bundle"))


@pytest.fixture(scope="module")
def recommender(bundle):
    return Recommender(bundle)


def check(answer, handles, scores):
    assert answer.handles == handles
    assert answer.item_ids == [GID.get(handle) for handle in handles]
    assert answer.scores == pytest.approx(scores, abs=1e-6)


def test_the_bundles_example_is_reproduced(recommender, bundle):
    request = bundle.example["request"]
    answer = recommender.recommend(request["userId"], request["items"], request["timestamps"])
    assert answer.item_ids == bundle.example["itemIds"]
    assert answer.scores == pytest.approx(bundle.example["preds"], abs=1e-7)
    assert answer.handles == ["jeans", "novel", "scarf", "fresh"]
    assert answer.message is None


def test_k_and_seen_products(recommender):
    logits = expected_logits([1], [T0], T0, T0)
    answer = recommender.recommend(None, ["shirt"], [T0], k=2)
    check(answer, *(part[:2] for part in ranked(logits, seen={"shirt"})))
    check(recommender.recommend(None, ["shirt"], [T0], recommend_seen=True), *ranked(logits))
    check(recommender.recommend(None, ["shirt"], [T0], k=np.int64(10**9)), *ranked(logits, {"shirt"}))


def test_fewer_products_than_k_where_the_rest_was_seen(recommender):
    answer = recommender.recommend(None, list(GID)[:5], [T0] * 5, k=4)
    assert answer.handles == ["scarf"]
    everything = recommender.recommend(None, list(GID), [T0] * 6)
    assert (everything.item_ids, everything.scores) == ([], [])


def test_untrained_product_just_looked_at_is_not_recommended(recommender):
    answer = recommender.recommend(None, ["shirt", "fresh"], [T0, T0 + DAY])
    assert "fresh" not in answer.handles
    assert answer.message == "1 of 2 items are not known to the model and were skipped."
    # Skipped, but it shows that the shopper was active a day after the shirt.
    check(answer, *ranked(expected_logits([1], [T0], T0, T0 + DAY), {"shirt", "fresh"}))


def test_events_in_any_order_and_unit_mean_the_same(recommender):
    items, times = ["shirt", "novel", "atlas"], [T0, T0 + 3600, T0 + 2 * DAY]
    expected = recommender.recommend(None, items, times)
    for form in (str, float, lambda t: t * 1000, lambda t: f" {t * 1000} ", lambda t: f"{t}.75", np.int64, np.float64):
        assert recommender.recommend(None, items, [form(t) for t in times]) == expected
    assert recommender.recommend(None, items[::-1], times[::-1]) == expected
    assert recommender.recommend(None, np.array(items, object), np.array(times)) == expected
    check(expected, *ranked(expected_logits([1, 3, 4], times, T0, times[-1]), set(items)))


def test_long_history_keeps_the_latest_but_counts_from_the_first(recommender):
    items = ["shirt", "jeans", "novel", "atlas", "scarf", "gone"]
    times = [T0 + DAY * n for n in range(6)]
    answer = recommender.recommend(None, items, times, recommend_seen=True)
    check(answer, *ranked(expected_logits([3, 4, 5, 6], times[2:], T0, times[-1])))
    # Also what was cut off counts as seen.
    assert recommender.recommend(None, items, times).handles == ["fresh"]


def test_now_moves_the_clock_and_no_event_lies_after_it(recommender):
    later = recommender.recommend(None, ["shirt"], [T0], now=T0 + 2 * DAY)
    check(later, *ranked(expected_logits([1], [T0], T0, T0 + 2 * DAY), {"shirt"}))
    assert later == recommender.recommend(None, ["shirt"], [T0], now=f"{(T0 + 2 * DAY) * 1000}")
    early = recommender.recommend(None, ["shirt"], [T0], now=T0 - DAY)
    assert early.scores == recommender.recommend(None, ["shirt"], [T0]).scores
    assert early.message == "1 of 1 timestamps lie in the future and were set to the time of the request."
    stored = recommender.recommend("ann", now=T0)
    assert stored.scores == recommender.recommend("ann").scores
    assert stored.message == "`now` lies before the shopper's latest stored event; that event's time was used."


def test_known_shopper_without_events_uses_the_stored_ones(recommender):
    ann = STORED["ann"]
    logits = expected_logits(ann["items"], ann["timestamps"], ann["first_timestamp"], ann["timestamps"][-1])
    answer = recommender.recommend("ann")
    check(answer, *ranked(logits, {"shirt", "jeans", "novel"}))  # all of `seen`, not only the last events
    assert answer.message is None
    check(recommender.recommend("ann", recommend_seen=True), *ranked(logits))


def test_new_events_of_a_known_shopper_take_the_place_of_the_stored_ones(recommender):
    request = (["atlas"], [T0])
    assert recommender.recommend("ann", *request, recommend_seen=True) == recommender.recommend(
        None, *request, recommend_seen=True
    )


def test_what_a_known_shopper_ever_touched_is_seen_beside_new_events_too(recommender):
    anonymous = recommender.recommend(None, ["atlas"], [T0])
    kept = [place for place, handle in enumerate(anonymous.handles) if handle not in {"shirt", "jeans", "novel"}]
    answer = recommender.recommend("ann", ["atlas"], [T0])
    assert answer.handles == [anonymous.handles[place] for place in kept]
    assert answer.scores == [anonymous.scores[place] for place in kept]


def test_known_shopper_with_unknown_items_falls_back_to_the_stored_ones(recommender):
    answer = recommender.recommend("ann", ["no-such-product", "fresh"], [T0, T0])
    assert answer.handles == [handle for handle in recommender.recommend("ann").handles if handle != "fresh"]
    assert answer.message == (
        "2 of 2 items are not known to the model and were skipped. The shopper's stored events were used instead."
    )


def test_stored_events_of_unknown_items_are_left_out(recommender):
    answer = recommender.recommend("cid")  # item 0, then "gone"
    check(answer, *ranked(expected_logits([6], [T0 + 5], T0, T0 + 5)))


@pytest.mark.parametrize("user", [None, "", "bob", "a stranger", "ünïcode-☃"])
def test_nothing_known_is_answered_by_popularity(recommender, user):
    answer = recommender.recommend(user)
    handles = ["shirt", "jeans", "novel", "atlas", "scarf", "fresh"]
    check(answer, handles, [60 / 201, 50 / 201, 40 / 201, 30 / 201, 20 / 201, 0.0])
    assert answer.message == POPULARITY
    unknown = recommender.recommend(user, ["fresh", "nothing"], [T0, T0], k=3)
    assert unknown.handles == handles[:3]
    assert unknown.message == f"2 of 2 items are not known to the model and were skipped. {POPULARITY}"


def test_candidates_by_handle_or_gid_once_each(recommender):
    everything = recommender.recommend(None, ["shirt"], [T0])
    score = dict(zip(everything.handles, everything.scores, strict=True))
    wanted = ["atlas", gid(20), "jeans", GID["fresh"], "scarf", "gone", gid(999), "gone"]
    answer = recommender.recommend(None, ["shirt"], [T0], candidate_ids=wanted)
    assert answer.handles == ["jeans", "scarf", "atlas", "fresh", "", ""]
    assert answer.item_ids == [GID[h] for h in ("jeans", "scarf", "atlas", "fresh")] + ["gone", gid(999)]
    assert answer.scores == [score[h] for h in ("jeans", "scarf", "atlas", "fresh")] + [0.0, 0.0]
    assert answer.message == "2 of 7 candidate ids are not in the catalogue; they score 0 and come last."
    assert recommender.recommend(None, ["shirt"], [T0], candidate_ids=wanted, k=5).item_ids == answer.item_ids[:5]
    assert recommender.recommend(None, ["shirt"], [T0], candidate_ids=["shirt"]).item_ids == []
    # A seen product that is no longer sold is a seen product all the same.
    assert recommender.recommend(None, ["gone"], [T0], candidate_ids=["gone", "shirt"]).handles == ["shirt"]


def test_nulls_and_oddities_among_items_are_skipped(recommender):
    odd = [None, math.nan, 7, "", "x" * 100_000, "日本", "shirt"]
    answer = recommender.recommend(None, odd, [T0] * 7)
    assert answer.message == "6 of 7 items are not known to the model and were skipped."
    assert answer.scores == recommender.recommend(None, ["shirt"], [T0]).scores


@pytest.mark.parametrize("k", [0, -1, 1.0, "16", True, math.nan, [16], Decimal(3)])
def test_k_must_be_a_positive_integer(recommender, k):
    with pytest.raises(RequestError, match=r"`k` should be a positive integer\. Received: "):
        recommender.recommend(None, ["shirt"], [T0], k=k)


@pytest.mark.parametrize(
    "value",
    [
        *(None, True, [T0], Decimal(T0)),
        *("", "soon", "2026-01-01", "-5", "nan", "9" * 9999),
        *(-1, math.nan, math.inf, 1e14, 10**400),
    ],
)
def test_timestamps_must_be_times(recommender, value):
    with pytest.raises(RequestError, match=r"`timestamps\[1\]` should be UNIX seconds or milliseconds") as caught:
        recommender.recommend("secret-user", ["shirt", "jeans"], [T0, value])
    assert "secret" not in str(caught.value)
    if value is not None:
        with pytest.raises(RequestError, match="`now` should be UNIX seconds or milliseconds"):
            recommender.recommend(None, now=value)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((None, ["shirt"], []), "Received: 1 items and 0 timestamps"),
        ((None, [], [T0, T0]), "Received: 0 items and 2 timestamps"),
        ((None, "shirt", [T0]), "`items` should be a list. Received: str"),
        ((None, ["shirt"], T0), "`timestamps` should be a list. Received: int"),
        ((None, {"shirt": T0}, [T0]), "`items` should be a list. Received: dict"),
        ((None, np.array("shirt"), [T0]), "`items` should be a list. Received: a ndarray"),
        ((7, [], []), "`user_id` should be text or null. Received: int"),
    ],
)
def test_malformed_arguments_are_named(recommender, arguments, message):
    with pytest.raises(RequestError, match=message):
        recommender.recommend(*arguments)


@pytest.mark.parametrize(
    ("keywords", "message"),
    [
        ({"recommend_seen": 1}, "`recommend_seen` should be true or false. Received: a int"),
        ({"candidate_ids": "shirt"}, "`candidate_ids` should be a list. Received: str"),
        ({"candidate_ids": ["shirt", None]}, r"`candidate_ids\[1\]` should be a product handle or GID. .* NoneType"),
        ({"candidate_ids": [""]}, r"`candidate_ids\[0\]` .* an empty text"),
    ],
)
def test_malformed_keywords_are_named(recommender, keywords, message):
    with pytest.raises(RequestError, match=message):
        recommender.recommend(None, ["shirt"], [T0], **keywords)


def test_scores_that_are_not_finite_come_last_among_the_trained(tmp_path):
    bias = BIAS.copy()
    bias[[2, 3, 4]] = [np.nan, np.inf, -np.inf]
    answer = Recommender(open_bundle(build_fake_bundle(tmp_path / "b", bias=bias))).recommend(None, ["gone"], [T0])
    assert answer.handles == ["scarf", "shirt", "novel", "jeans", "atlas", "fresh"]
    assert answer.scores[2:] == [0.0] * 4
    assert answer.scores[0] > answer.scores[1] > 0.5


def test_graphs_of_fixed_length_are_padded(tmp_path, recommender):
    path = build_fake_bundle(tmp_path / "b", time_axis=4, pad_to_max_seq_length=True)
    padded = Recommender(open_bundle(path))
    for length in range(1, 7):
        request = (None, list(HANDLES[:length]), [T0 + n for n in range(length)])
        assert padded.recommend(*request, recommend_seen=True) == recommender.recommend(*request, recommend_seen=True)


@pytest.mark.parametrize("size", [1, 7, 233, 1000])
def test_chunks_do_not_change_the_ranking(tmp_path_factory, size):
    bundle = open_bundle(build_large_bundle(tmp_path_factory.mktemp("large") / "bundle"))
    request = ("x", [f"product-{n}" for n in range(0, 234, 9)], [T0 + n * 60 for n in range(26)])
    whole = Recommender(bundle).recommend(*request, k=234)
    chunked = Recommender(bundle, ServeConfig(candidate_chunk_size=size)).recommend(*request, k=234)
    assert chunked.item_ids == whole.item_ids
    assert chunked.scores == pytest.approx(whole.scores, abs=1e-6)
    assert len(set(whole.item_ids)) == 234 - 26


def test_threads_get_the_answers_of_one_thread(recommender):
    requests = [(None, [HANDLES[n % 6], HANDLES[n // 6 % 6]], [T0 + n, T0 + 2 * n]) for n in range(200)]
    alone = [recommender.recommend(*request) for request in requests]
    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(lambda request: recommender.recommend(*request), requests)) == alone


def test_configuration_sets_the_defaults_of_requests(bundle):
    config = serve_config({"k": 2, "recommend_seen": True})
    answer = Recommender(bundle, config).recommend(None, ["shirt"], [T0])
    check(answer, *(part[:2] for part in ranked(expected_logits([1], [T0], T0, T0))))


def test_two_stages_give_the_exact_scores_of_nearly_the_same_products(tmp_path):
    bundle = open_bundle(build_large_bundle(tmp_path / "bundle", products=3000, dimension=8, bias=0.05))
    exact = Recommender(bundle, ServeConfig(two_stage_from=None))
    config = ServeConfig(two_stage_from=1000, shortlist_size=100, shortlist_sample=200)
    fast = Recommender(bundle, config)
    items = [f"product-{n}" for n in range(0, 3000, 200)]
    request = ("x", items, [T0 + n * 60 for n in range(len(items))])
    everything = exact.recommend(*request, k=3000)
    score = dict(zip(everything.handles, everything.scores, strict=True))
    answer = fast.recommend(*request)
    assert answer.scores == pytest.approx([score[handle] for handle in answer.handles], abs=1e-6)
    assert len({*answer.handles} & {*everything.handles[:16]}) >= 15
    assert answer == fast.recommend(*request) == Recommender(bundle, config).recommend(*request)
    assert fast.recommend_batch([request, request]) == [answer, answer]
    # Few candidates, and lists too long for the shortlist, are ranked exactly.
    candidates = [f"product-{n}" for n in range(500)]
    for keywords in ({"candidate_ids": candidates}, {"k": 400}, {"k": 3000}):
        assert fast.recommend(*request, **keywords) == exact.recommend(*request, **keywords)


def test_two_stages_keep_to_what_is_eligible(tmp_path):
    bundle = open_bundle(build_large_bundle(tmp_path / "bundle", products=3000, dimension=8))
    fast = Recommender(bundle, ServeConfig(two_stage_from=1000, shortlist_size=100, shortlist_sample=200))
    request = (None, ["product-7"], [T0])
    best = fast.recommend(*request, k=20, recommend_seen=True)
    seen = [*best.handles[:10], "product-7"]
    again = fast.recommend(*request, k=20, candidate_ids=[f"product-{n}" for n in range(0, 3000, 2)])
    assert all(int(handle.removeprefix("product-")) % 2 == 0 for handle in again.handles)
    assert not {*fast.recommend(None, seen, [T0] * 11, k=20).handles} & {*seen}
    empty = Recommender(open_bundle(build_fake_bundle(tmp_path / "small")), ServeConfig(two_stage_from=1))
    assert empty.recommend(None, ["shirt"], [T0]).handles[-1] == "fresh"
