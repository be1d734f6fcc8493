"""What a shortlist must withstand; that it finds the best is tested through the recommender."""

import tracemalloc

import numpy as np
from fake_bundle import T0, build_large_bundle

from serving.bundle import open_bundle
from serving.config import ServeConfig
from serving.recommender import Recommender

CONFIG = ServeConfig(two_stage_from=1000, shortlist_size=100, shortlist_sample=200)
REQUEST = (None, [f"product-{n}" for n in range(1, 1500, 100)], [T0 + n for n in range(15)])


def test_products_with_a_broken_vector_come_last_and_spoil_nothing(tmp_path):
    broken = range(1, 3001, 10)  # also among those that the fit is made on
    bundle = open_bundle(build_large_bundle(tmp_path / "bundle", products=3000, dimension=8, broken=broken))
    history = (None, REQUEST[1][:5], REQUEST[2][:5])  # product-1 is item 2: none of it is broken
    exact = Recommender(bundle, ServeConfig(two_stage_from=None)).recommend(*history)
    found = Recommender(bundle, CONFIG).recommend(*history)
    assert len({*exact.handles} & {*found.handles}) >= 15
    assert np.all(np.isfinite(found.scores)) and found.scores[-1] > 0
    assert not {*found.handles} & {f"product-{item - 1}" for item in broken}


def test_the_memory_of_a_batch_does_not_grow_with_shoppers_times_products(tmp_path):
    bundle = open_bundle(build_large_bundle(tmp_path / "bundle", products=20_000, dimension=8))
    recommender = Recommender(bundle, ServeConfig(num_threads=1))
    shopper = (None, ["product-7"], [T0])
    recommender.recommend_batch([shopper] * 16)
    tracemalloc.start()
    try:
        recommender.recommend_batch([shopper] * 400)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 400 * 20_000  # not one byte for each pair
