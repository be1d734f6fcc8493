"""Ordering and score arithmetic."""

import math

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from serving.ranking import popularity_shares, sigmoid, top_k


@given(st.lists(st.sampled_from([-math.inf, -1.0, 0.0, 0.5, 2.0]), max_size=30), st.integers(1, 40))
def test_top_k_is_the_head_of_a_stable_sort(scores, k):
    expected = sorted(range(len(scores)), key=lambda i: -scores[i])[:k]
    assert top_k(np.array(scores), k).tolist() == expected


def test_sigmoid_is_exact_and_never_overflows():
    with np.errstate(all="raise", under="ignore"):
        values = sigmoid(np.array([-np.inf, -800.0, -40.0, 0.0, 1.0, 800.0]))
    assert values.tolist() == [0.0, 0.0, math.exp(-40) / (1 + math.exp(-40)), 0.5, 1 / (1 + math.exp(-1)), 1.0]


def test_popularity_shares_stay_below_one():
    assert popularity_shares(np.array([3, 0, 6])).tolist() == [0.3, 0.0, 0.6]
    assert popularity_shares(np.array([2**62])).tolist()[0] <= 1.0
    assert popularity_shares(np.zeros(2, np.int64)).tolist() == [0.0, 0.0]
