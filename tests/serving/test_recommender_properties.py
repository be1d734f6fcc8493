"""Over random requests: an answer that keeps every promise, or a clear refusal."""

import pytest
from fake_bundle import DAY, GID, HANDLES, ID, STORED, T0, build_fake_bundle, expected_logits, ranked
from hypothesis import given, settings
from hypothesis import strategies as st

from serving.bundle import open_bundle
from serving.recommender import Recommender, RequestError


@pytest.fixture(scope="module")
def recommender(tmp_path_factory):
    return Recommender(open_bundle(build_fake_bundle(tmp_path_factory.mktemp("properties") / "bundle")))


# Mostly sound values, so that most requests get as far as an answer; and every kind of unsound one.
sound_times = st.integers(T0, T0 + 400 * DAY)
times = st.one_of(sound_times, sound_times.map(str), sound_times.map(lambda t: t * 1000.0))
any_time = st.one_of(times, times, times, st.text(max_size=5), st.floats(), st.integers(), st.none(), st.booleans())
handles = st.sampled_from([*HANDLES, *HANDLES, "fresh"])
any_handle = st.one_of(handles, handles, handles, st.text(max_size=8), st.none(), st.floats())
any_candidate = st.one_of(handles, st.sampled_from(sorted(GID.values())), st.text(min_size=1, max_size=8), st.text())
users = st.one_of(st.none(), st.sampled_from([*STORED, "stranger"]), st.text(max_size=5))
any_k = st.one_of(st.none(), st.integers(1, 10), st.integers())


@settings(max_examples=600, deadline=None)
@given(
    users,
    st.lists(st.tuples(any_handle, any_time), max_size=9),
    st.one_of(st.just(0), st.integers(-1, 1)),
    any_k,
    st.one_of(st.none(), st.booleans()),
    st.lists(any_candidate, max_size=6),
    st.one_of(st.none(), any_time),
)
def test_any_request_is_answered_in_order_or_refused(recommender, user, events, uneven, k, seen, candidates, now):
    items, timestamps = [item for item, _ in events], [time for _, time in events]
    timestamps = timestamps[:-1] if uneven < 0 else timestamps + [T0] * uneven
    request = {"k": k, "recommend_seen": seen, "candidate_ids": candidates, "now": now}
    try:
        answer = recommender.recommend(user, items, timestamps, **request)
    except RequestError:
        return
    assert len(items) == len(timestamps) and (k is None or k > 0)
    assert len(answer.item_ids) == len(answer.scores) == len(answer.handles) <= (16 if k is None else k)
    assert len(set(answer.item_ids)) == len(answer.item_ids)
    assert all(0 <= score <= 1 for score in answer.scores)  # also refuses NaN
    assert answer.scores == sorted(answer.scores, reverse=True)
    assert not candidates or {*answer.item_ids} <= {*candidates, *(GID.get(c) for c in candidates)}
    if not seen:
        assert not set(items) & ({*answer.handles} - {""})
    assert answer == recommender.recommend(user, items, timestamps, **request)


@settings(max_examples=300, deadline=None)
@given(st.lists(st.tuples(handles, sound_times), min_size=1, max_size=9), st.booleans(), st.integers(0, 5 * DAY))
def test_any_sound_history_is_ranked_like_the_reference(recommender, events, seen, wait):
    answer = recommender.recommend(
        None, [item for item, _ in events], [time for _, time in events], recommend_seen=seen,
        now=max(time for _, time in events) + wait,
    )  # fmt: skip
    known = sorted(((item, time) for item, time in events if item in ID), key=lambda event: event[1])
    if not known:
        assert answer.message.endswith("ranked by popularity.")
        return
    window = known[-4:]
    logits = expected_logits(
        [ID[item] for item, _ in window], [time for _, time in window], known[0][1],
        max(time for _, time in events) + wait,
    )  # fmt: skip
    expected_handles, expected_scores = ranked(logits, set() if seen else {item for item, _ in events})
    assert answer.scores == pytest.approx(expected_scores, abs=1e-5)
    assert sorted(answer.handles) == sorted(expected_handles)
    by_handle = dict(zip(expected_handles, expected_scores, strict=True))  # float32 may swap near ties
    assert [by_handle[handle] for handle in answer.handles] == pytest.approx(answer.scores, abs=1e-5)
