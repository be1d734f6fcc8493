"""Over thousands of generated requests: every one is answered as promised, or refused by name."""

import math
import re
from decimal import Decimal

import numpy as np
import pytest
from fake_bundle import DAY, GID, HANDLES, STORED, T0, build_fake_bundle, build_large_bundle, gid
from hypothesis import given, settings
from hypothesis import strategies as st

from serving.bundle import open_bundle
from serving.config import serve_config
from serving.recommender import Recommender, RequestError

NOW = T0 + 300 * DAY
RULES = {"exclude_tags": ["sale"], "exclude_out_of_stock": True, "exclude_seen": True}
NAMES = ("user_id", "items", "timestamps", "k", "recommend_seen", "candidate_ids", "now")


@pytest.fixture(scope="module")
def recommenders(tmp_path_factory):
    folder = tmp_path_factory.mktemp("contract_properties")
    small = open_bundle(build_fake_bundle(folder / "small"))
    large = open_bundle(build_large_bundle(folder / "large", products=60, dimension=4))
    return [
        Recommender(bundle, serve_config({**rules, "num_threads": threads}), clock=lambda: NOW)
        for bundle, rules, threads in [
            (small, {}, 1),
            (small, RULES, 2),
            (large, {"candidate_chunk_size": 7}, 2),
            (large, {"two_stage_from": 20, "shortlist_size": 10, "shortlist_sample": 30}, 1),
        ]
    ]


which = st.integers(0, 3)
products = st.sampled_from([*HANDLES, *HANDLES, "fresh", *(f"product-{n}" for n in range(0, 60, 5))])
# "secret" marks what belongs to a shopper: no message may hold it.
secrets = st.text(max_size=6).map(lambda text: f"secret{text}")
seconds = st.integers(T0, NOW + 9 * DAY)
times = st.one_of(seconds, seconds.map(str), seconds.map(lambda t: t * 1000.0), seconds.map(lambda t: f" {t}.5 "))
sound_users = st.one_of(st.none(), st.sampled_from([*STORED, "", "x" * 2000]), secrets)
sound_items = st.one_of(products, products, products, secrets, st.none())
sound_events = st.lists(st.tuples(sound_items, times), max_size=8)
candidates = st.one_of(
    products, st.sampled_from([*GID.values(), gid(3), gid(999), "日本", "y" * 2000]), st.text("abc\0é☃", min_size=1)
)
sound_keywords = st.fixed_dictionaries(
    {},
    optional={
        "k": st.one_of(st.none(), st.integers(1, 70), st.just(10**30)),
        "recommend_seen": st.one_of(st.none(), st.booleans(), st.just(np.True_)),
        "candidate_ids": st.one_of(st.none(), st.lists(candidates, max_size=8), st.just(np.array(["jeans", "atlas"]))),
        "now": st.one_of(st.none(), times),
    },
)
odd = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    secrets,
    st.text(max_size=4),
    st.binary(max_size=3),
    st.sampled_from([Decimal(3), object(), {"secret": 1}, {"secret"}, np.array("secret"), np.float32("nan"), 10**400]),
    st.sampled_from(["\ud800", "secret" * 200, "9" * 5000, -(10**5000), "1_0", [["secret"]], np.zeros((2, 2)), 1j]),
)
odd_lists = st.one_of(odd, st.lists(odd, max_size=4), st.lists(st.one_of(odd, times), max_size=4))


def check(recommender, answer, items, keywords):
    """What every answer promises."""
    k, seen = keywords.get("k"), keywords.get("recommend_seen")
    wanted = keywords.get("candidate_ids")
    wanted = list(wanted) if isinstance(wanted, list | np.ndarray) else []  # null and NaN: the whole catalogue
    assert len(answer.item_ids) == len(answer.scores) == len(answer.handles) <= (16 if k is None else k)
    assert len({*answer.item_ids}) == len(answer.item_ids)
    assert all(0 <= score <= 1 for score in answer.scores)  # also refuses NaN
    assert all(type(score) is float for score in answer.scores)
    assert answer.scores == sorted(answer.scores, reverse=True)
    catalogue = recommender.bundle.catalogue
    known = set(catalogue.gids.to_pylist())
    rows = {catalogue.row_of(candidate) for candidate in wanted}
    assert {*answer.item_ids} - known <= {*wanted}
    assert not wanted or {catalogue.row_of(id_) for id_ in answer.item_ids} <= rows
    rules = recommender.config
    if rules.exclude_tags:
        assert not {*answer.handles} & {"jeans", "atlas"}  # out of stock and for sale
    if not seen or rules.exclude_seen:
        assert not {item for item in items if isinstance(item, str)} & ({*answer.handles} - {""})
    assert answer.message is None or (answer.message and "secret" not in answer.message)
    assert answer.item_ids or "No product is left to recommend." in answer.message


def refusal(error):
    """The message of a refusal, which names an argument and holds nothing of the shopper."""
    message = str(error)
    assert re.match(r"`(\w+)(\[\d+\])?`", message)[1] in NAMES
    assert "secret" not in message and len(message) < 300
    assert "should" in message and "Received: " in message
    return message


@settings(max_examples=2500, deadline=None)
@given(which, sound_users, sound_events, sound_keywords)
def test_a_sound_request_is_answered_the_same_each_time(recommenders, number, user, events, keywords):
    recommender = recommenders[number]
    items, timestamps = [item for item, _ in events], [time for _, time in events]
    answer = recommender.recommend(user, items, timestamps, **keywords)
    check(recommender, answer, items, keywords)
    assert recommender.recommend(user, tuple(items), np.array(timestamps, object), **keywords) == answer


@settings(max_examples=1500, deadline=None)
@given(which, st.sampled_from(NAMES), st.data())
def test_a_request_with_something_odd_is_answered_or_refused_by_name(recommenders, number, name, data):
    recommender = recommenders[number]
    events = data.draw(sound_events)
    request = {"user_id": data.draw(sound_users), **data.draw(sound_keywords)}
    request |= {"items": [item for item, _ in events], "timestamps": [time for _, time in events]}
    request[name] = data.draw(odd_lists)
    try:
        answer = recommender.recommend(**request)
    except RequestError as error:
        message = refusal(error)
        # A list of another length is told as what `items` and `timestamps` should have in common.
        assert name in message
        return
    items = request["items"] if isinstance(request["items"], list) else []
    check(recommender, answer, items, request)


@settings(max_examples=800, deadline=None)
@given(which, sound_users, st.lists(sound_items, min_size=1, max_size=8), sound_keywords, st.randoms(), st.data())
def test_the_order_of_events_does_not_matter(recommenders, number, user, items, keywords, random, data):
    # At different times, some of them in one second: events at one time keep the order they are given in.
    milliseconds = st.integers(0, 40).map(lambda t: T0 * 1000 + t * 100)
    times = data.draw(st.lists(milliseconds, min_size=len(items), max_size=len(items), unique=True))
    events = list(zip(items, times, strict=True))
    expected = recommenders[number].recommend(user, items, times, **keywords)
    random.shuffle(events)
    answer = recommenders[number].recommend(
        user, [item for item, _ in events], [time for _, time in events], **keywords
    )
    assert answer == expected


@settings(max_examples=500, deadline=None)
@given(which, st.lists(st.tuples(sound_users, sound_events, st.booleans()), min_size=2, max_size=5), sound_keywords)
def test_a_batch_gives_what_single_requests_give(recommenders, number, shoppers, keywords):
    recommender = recommenders[number]
    requests = [
        (user, [item for item, _ in events], [time for _, time in events] if sound else [math.inf, "secret"])
        for user, events, sound in shoppers
    ]
    answers = recommender.recommend_batch(requests, **keywords)
    for request, answer, (_, _, sound) in zip(requests, answers, shoppers, strict=True):
        if sound:
            assert answer == recommender.recommend(*request, **keywords)
        else:
            assert refusal(answer)
