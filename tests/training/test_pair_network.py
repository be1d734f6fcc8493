"""Going through the pairs in chunks gives the numbers and gradients of going through them whole."""

import numpy as np
import pytest
import tensorflow as tf

from training.models import pair_network
from training.models.dense import FullyConnected
from training.models.layers import TargetAttention

SHOPPERS, CANDIDATES, EVENTS, WIDTH = 7, 3, 6, 4


def attention(dropout=(0.0, 0.0), activation=("relu", "relu"), **options):
    network = FullyConnected((6, 5), activation, dropout, True, name="network", **options)
    layer = TargetAttention(network, name="attention")
    layer.build((None, None, WIDTH))
    rng = np.random.default_rng(3)
    for weight in layer.weights:
        if weight.dtype == "float32":
            weight.assign(rng.normal(0, 0.5, weight.shape) + ("gamma" in weight.path))
    return layer


def trained_once(layer, in_chunks):
    """Short-term taste, attention, gradients and moving statistics of one training step."""
    rng = np.random.default_rng(4)
    hidden = tf.constant(rng.normal(size=(SHOPPERS, EVENTS, WIDTH)), tf.float32)
    query = tf.constant(rng.normal(size=(SHOPPERS, CANDIDATES, WIDTH)), tf.float32)
    mask = tf.sequence_mask(rng.integers(1, EVENTS + 1, SHOPPERS), EVENTS)
    upstream = tf.constant(rng.normal(size=(SHOPPERS, CANDIDATES, WIDTH)), tf.float32)
    layer.in_chunks = in_chunks
    watched = [hidden, query, *(weight.value for weight in layer.trainable_variables)]

    @tf.function
    def step():
        with tf.GradientTape() as tape:
            tape.watch(watched)
            taste, weights = layer(hidden, *layer.encode(hidden), mask, query, training=True)
            loss = tf.reduce_sum(taste * upstream)
        return taste, weights, tape.gradient(loss, watched, unconnected_gradients=tf.UnconnectedGradients.ZERO)

    taste, weights, gradients = step()
    statistics = [weight.numpy() for weight in layer.weights if "moving" in weight.path]
    return [taste.numpy(), weights.numpy(), *(gradient.numpy() for gradient in gradients), *statistics]


# Of one shopper, of two (so that the last chunk is smaller), and one chunk for all.
@pytest.mark.parametrize("rows", [1, 2 * CANDIDATES * EVENTS, 10_000])
def test_chunks_change_no_number(rows, monkeypatch):
    monkeypatch.setattr(pair_network, "ROWS", rows)
    layers = attention(), attention()
    whole, chunked = (trained_once(layer, in_chunks) for layer, in_chunks in zip(layers, (False, True), strict=True))
    assert len(whole) == len(chunked) > 10
    for one, other in zip(whole, chunked, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-5)


def test_other_networks_go_through_them_whole():
    assert attention().network.pairs_in_chunks
    others = [attention(activation=("relu", "tanh")), attention(dtype="mixed_bfloat16")]
    others.append(TargetAttention(FullyConnected((6, 5), ("relu", "relu"), (0.0, 0.0), False)))
    others.append(TargetAttention(FullyConnected((6,), ("relu",), (0.0,), True)))
    assert not any(layer.network.pairs_in_chunks for layer in others)


@pytest.mark.parametrize("dropout", [(0.3, 0.2), (0.0, 0.3), (0.3, 0.0)])
def test_dropout_differs_from_step_to_step(dropout):
    layer = attention(dropout=dropout)
    one, other = trained_once(layer, True), trained_once(layer, True)
    assert not np.allclose(one[0], other[0])


@pytest.mark.parametrize("rate", [0.1, 0.3, 0.5])
def test_masks_have_the_rate_and_differ_from_chunk_to_chunk(rate):
    rows, chunks = 400, 3
    seed = tf.constant([5, 6], tf.int64)
    masks = pair_network.Masks(seed, rows, chunks, (50, 25), (rate, rate))
    for layer, width in enumerate((50, 25)):
        kept = [masks.apply(layer, tf.constant(i), tf.ones((rows, width))).numpy() for i in range(chunks)]
        assert set(np.unique(kept)) == {0.0, 1.0}
        # Five standard deviations of the mean of independent draws.
        assert np.mean(kept) == pytest.approx(1 - rate, abs=5 * (rate * (1 - rate) / np.size(kept)) ** 0.5)
        for axis in (0, 1):  # no row and no unit is favoured
            share = np.mean(kept, axis=(0, 1 + axis))
            spread = (rate * (1 - rate) / (chunks * (rows, width)[axis])) ** 0.5
            assert abs(share - (1 - rate)).max() < 6 * spread
        both = np.mean(kept[0] * kept[1])
        assert both == pytest.approx((1 - rate) ** 2, abs=0.02)
    again = pair_network.Masks(seed, rows, chunks, (50, 25), (rate, rate)).apply(1, tf.constant(2), tf.ones((rows, 25)))
    np.testing.assert_array_equal(again, kept[2])
    nothing = pair_network.Masks(seed, rows, chunks, (50, 25), (rate, 0.0))
    np.testing.assert_array_equal(nothing.apply(1, tf.constant(0), tf.ones((rows, 25))), 1.0)
