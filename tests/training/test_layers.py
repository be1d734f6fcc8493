"""The network's parts on numbers small enough to check by hand, and its invariants."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from training.config import ModelConfig
from training.models.dense import Dropout, FullyConnected, FusedBatchNormalization
from training.models.layers import LongTermAttention, TargetAttention, TimeFeatures, masked_softmax
from training.models.slirec import HISTORY_INPUTS, STATE_OUTPUTS, SliRec
from training.models.time_lstm import TimeLSTM

DAY = 86_400
CATEGORIES = np.array([0, 1, 2, 1, 2, 1, 2, 1], np.int32)  # of items 0 to 7


def network(**settings) -> SliRec:
    model = SliRec(ModelConfig(**settings), CATEGORIES, 3, init_value=0.3, seed=5)
    rng = np.random.default_rng(0)
    for weight in model.weights:  # statistics of normalisation as after training, not 0 and 1
        if weight.path.endswith("moving_mean"):
            weight.assign(rng.normal(0, 0.1, weight.shape))
        if weight.path.endswith("moving_variance"):
            weight.assign(rng.uniform(0.5, 2, weight.shape))
    return model


@pytest.fixture(scope="module")
def model() -> SliRec:
    return network()


def histories(columns: int = 4) -> dict[str, np.ndarray]:
    items = np.zeros((2, columns), np.int32)
    times = np.zeros((2, columns), np.int64)
    items[0, :3], items[1, :4] = [1, 2, 3], [4, 5, 6, 7]
    times[0, :3], times[1, :4] = [0, DAY, 5 * DAY], [0, 2 * DAY, 2 * DAY + 60, 9 * DAY]
    return {
        "items": items,
        "timestamps": times,
        "length": np.array([3, 4], np.int32),
        "first_timestamp": np.array([0, -3 * DAY]),
        "now": np.array([7 * DAY, 9 * DAY + 5]),
    }


def test_time_features_are_log_days_floored_at_half_a_day_and_zero_at_padding():
    inputs = histories()
    first, now = TimeFeatures(dtype="float32")(
        inputs["timestamps"], inputs["length"], inputs["first_timestamp"], inputs["now"]
    )
    expected_first = [[np.log(1), np.log(5), np.log(7), 0], [np.log(5), np.log(5 + 60 / DAY), np.log(12), np.log(12)]]
    expected_now = [[np.log(7), np.log(6), np.log(2), 0], [np.log(9), np.log(7), np.log(7), np.log(0.5)]]
    np.testing.assert_allclose(first, expected_first, atol=1e-4)
    np.testing.assert_allclose(now, expected_now, atol=1e-4)


def test_masked_softmax_gives_padding_no_weight():
    weights = np.asarray(masked_softmax(np.array([[1.0, 2.0, 50.0]]), np.array([[True, True, False]])))
    np.testing.assert_allclose(weights, [[1 / (1 + np.e), np.e / (1 + np.e), 0]], rtol=1e-6)


def test_long_term_attention_is_the_softmax_weighted_mean_of_events():
    layer = LongTermAttention(mask_padding=True)
    events = np.array([[[1.0, 0.0], [0.0, 1.0], [9.0, 9.0]]], np.float32)
    layer.build(events.shape)
    layer.attention_mat.assign(np.eye(2))
    layer.query.assign([np.log(3.0), 0.0])
    pooled = layer(events, np.array([[True, True, False]]))
    np.testing.assert_allclose(pooled, [[0.75, 0.25]], rtol=1e-6)


def test_time_lstm_is_recommenders_cell_step_by_step():
    layer = TimeLSTM(3, initializer="random_normal")
    rng = np.random.default_rng(1)
    events = rng.normal(size=(2, 4, 5)).astype(np.float32)
    first, now = rng.normal(size=(2, 2, 4)).astype(np.float32)
    layer.build(events.shape)
    for weight in layer.weights:
        weight.assign(rng.normal(size=weight.shape))
    w = {weight.path.split("/")[-1]: np.asarray(weight, np.float64) for weight in layer.weights}

    def sigmoid(x):
        return 1 / (1 + np.exp(-x))

    output = cell = np.zeros((2, 3))
    for t in range(4):
        x, a, b = events[:, t], now[:, t, None], first[:, t, None]
        read_now = np.tanh(a * w["now_input_weight"] + w["now_input_bias"])
        read_last = np.tanh(b * w["last_input_weight"] + w["last_input_bias"])
        gate_now = sigmoid(x @ w["now_kernel"] + read_now @ w["now_time_kernel"] + w["now_bias"])
        gate_last = sigmoid(x @ w["last_kernel"] + read_last @ w["last_time_kernel"] + w["last_bias"])
        i, j, f, o = np.split(x @ w["kernel"] + output @ w["recurrent_kernel"] + w["bias"], 4, axis=1)
        o = o + read_now @ w["now_output_kernel"] + read_last @ w["last_output_kernel"]
        cell = sigmoid(f + 1) * gate_last * cell + sigmoid(i) * gate_now * np.tanh(j)
        output = sigmoid(o) * np.tanh(cell)
    np.testing.assert_allclose(np.asarray(layer(events, first, now))[:, -1], output, atol=1e-5)


def test_target_attention_equals_the_first_layer_on_the_concatenation():
    parts = FullyConnected((6, 4), ("relu", "relu"), (0.0, 0.0), True, "random_normal", name="network")
    layer = TargetAttention(parts, "random_normal")
    rng = np.random.default_rng(2)
    hidden = rng.normal(size=(2, 5, 3)).astype(np.float32)
    query = rng.normal(size=(2, 7, 3)).astype(np.float32)
    mask = np.arange(5) < np.array([[3], [5]])
    layer.build(hidden.shape)
    for weight in layer.trainable_weights:
        weight.assign(rng.normal(size=weight.shape))
    keys, key_part = layer.encode(hidden)
    pooled, weights = layer(hidden, keys, key_part, mask, query)
    k = np.broadcast_to((hidden @ np.asarray(layer.attention_mat))[:, None], (2, 7, 5, 3))
    q = np.broadcast_to(query[:, :, None], (2, 7, 5, 3))
    wide = np.concatenate([k, q, k - q, k * q], axis=-1).reshape(-1, 12)
    logits = np.asarray(parts(wide)).reshape(2, 7, 5)
    expected = np.asarray(masked_softmax(logits, mask[:, None]))
    np.testing.assert_allclose(weights, expected, atol=1e-5)
    np.testing.assert_allclose(pooled, np.einsum("bct,bth->bch", expected, hidden), atol=1e-5)


def test_batch_normalisation_is_that_of_keras_in_training_and_inference():
    rows = np.random.default_rng(4).normal(3, 2, (500, 6)).astype(np.float32)
    ours, theirs = FusedBatchNormalization(), keras.layers.BatchNormalization(momentum=0.95, epsilon=1e-4)
    for layer in (ours, theirs):
        layer.build(rows.shape)
        layer.gamma.assign(np.arange(1, 7))
        layer.beta.assign(np.arange(6))
    np.testing.assert_allclose(ours(rows, training=True), theirs(rows, training=True), atol=1e-4)
    np.testing.assert_allclose(ours.moving_mean, theirs.moving_mean, atol=1e-6)
    # The fused kernel keeps the unbiased variance, N / (N - 1) times Keras's.
    np.testing.assert_allclose(ours.moving_variance, theirs.moving_variance, rtol=3e-3)
    theirs.moving_variance.assign(ours.moving_variance)
    np.testing.assert_allclose(ours(rows), theirs(rows), rtol=1e-4)


def value_and_gradients(layer, inputs, training):
    """The layer's first output, and the gradients of a sum in which every number of it counts differently."""
    inputs = [tf.convert_to_tensor(array) for array in inputs]
    with tf.GradientTape() as tape:
        tape.watch(inputs)
        value = layer(*inputs, training=training)
        weights = tf.cos(tf.reshape(tf.range(tf.size(value), dtype=tf.float32), tf.shape(value)))
        total = tf.reduce_sum(value * weights)
    return value, tape.gradient(total, [*inputs, *layer.trainable_weights])


@pytest.mark.parametrize(("shoppers", "events"), [(5, 7), (1, 3), (4, 1), (37, 2)])
def test_the_scan_has_the_numbers_and_gradients_of_the_loop(shoppers, events):
    layer = TimeLSTM(3, initializer="random_normal")
    rng = np.random.default_rng(1)
    inputs = rng.normal(size=(shoppers, events, 5)), *rng.normal(size=(2, shoppers, events))
    layer.build((None, None, 5))
    for weight in layer.weights:
        weight.assign(rng.normal(size=weight.shape))
    inputs = [array.astype(np.float32) for array in inputs]
    (loop, of_loop), (scan, of_scan) = (value_and_gradients(layer, inputs, training) for training in (False, True))
    np.testing.assert_allclose(loop, scan, atol=1e-6)
    for one, two in zip(of_loop, of_scan, strict=True):
        np.testing.assert_allclose(one, two, atol=2e-5)


@pytest.mark.parametrize("shift", [0.0, 10.0])
def test_the_first_normalisation_from_moments_is_that_of_the_rows(shift):
    """Also where the mean is many times the deviation, which a plain mean of squares would not survive."""
    parts = FullyConnected((6, 4), ("relu", "relu"), (0.0, 0.0), True, "random_normal", name="network")
    layer = TargetAttention(parts, "random_normal")
    rng = np.random.default_rng(2)
    keys, query = (rng.normal(shift, 1, size).astype(np.float32) for size in ((4, 5, 3), (4, 7, 3)))
    layer.build(keys.shape)
    for weight in layer.trainable_weights:
        weight.assign(rng.normal(size=weight.shape))
    k = np.broadcast_to(keys[:, None], (4, 7, 5, 3)).astype(np.float64)
    q = np.broadcast_to(query[:, :, None], (4, 7, 5, 3))
    wide = np.concatenate([k, q, k - q, k * q], axis=-1).reshape(-1, 12)
    rows = wide @ np.asarray(parts.dense[0].kernel) + np.asarray(parts.dense[0].bias)
    scale, offset = layer._first_normalisation(keys, query)
    expected = np.asarray(parts.norms[0].gamma) / np.sqrt(rows.var(axis=0) + 1e-4)
    np.testing.assert_allclose(scale, expected, rtol=1e-4)
    np.testing.assert_allclose(offset, np.asarray(parts.norms[0].beta) - rows.mean(axis=0) * expected, rtol=1e-3)
    np.testing.assert_allclose(parts.norms[0].moving_mean, 0.05 * rows.mean(axis=0), rtol=1e-4)
    unbiased = rows.var(axis=0, ddof=1)
    np.testing.assert_allclose(parts.norms[0].moving_variance, 0.95 + 0.05 * unbiased, rtol=1e-4)


def test_dropout_zeroes_its_share_keeps_the_mean_and_draws_anew():
    layer = Dropout(0.3, seed=3)
    ones = np.ones((1001, 81), np.float32)  # an odd number: bits are drawn in pairs
    first, second = np.asarray(layer(ones, training=True)), np.asarray(layer(ones, training=True))
    assert set(np.unique(first)) == {0, np.float32(1 / (1 - 19661 / 65536))}
    assert abs((first == 0).mean() - 0.3) < 0.01
    assert 0.4 < (first == second).mean() < 0.7
    np.testing.assert_array_equal(layer(ones), ones)
    np.testing.assert_array_equal(Dropout(0.3, seed=3)(ones, training=True), first)


def test_encoding_names_what_scoring_reads(model):
    state = model.encode(histories())
    assert tuple(state) == STATE_OUTPUTS
    assert tuple(histories()) == HISTORY_INPUTS
    scores = model.score(state, np.array([[1, 2, 3], [4, 5, 6]], np.int32))
    assert scores.shape == (2, 3)


def test_a_score_does_not_depend_on_the_other_candidates_nor_on_the_other_shopper(model):
    inputs = histories()
    candidates = np.array([[1, 2, 3, 7], [4, 5, 6, 1]], np.int32)
    together = np.asarray(model.score(model.encode(inputs), candidates))
    for shopper in range(2):
        alone = model.encode({name: array[shopper : shopper + 1] for name, array in inputs.items()})
        for place in range(4):
            score = model.score(alone, candidates[shopper : shopper + 1, place : place + 1])
            np.testing.assert_allclose(np.asarray(score)[0, 0], together[shopper, place], atol=1e-5)


def test_padding_changes_nothing(model):
    candidates = np.array([[1, 2], [4, 5]], np.int32)
    short = np.asarray(model.score(model.encode(histories(4)), candidates))
    long = np.asarray(model.score(model.encode(histories(30)), candidates))
    np.testing.assert_allclose(short, long, atol=1e-5)


def test_recommenders_habits_do_depend_on_padding():
    model = network(recommenders_compatible=True)
    candidates = np.array([[1, 2], [4, 5]], np.int32)
    short = np.asarray(model.score(model.encode(histories(4)), candidates))
    long = np.asarray(model.score(model.encode(histories(30)), candidates))
    assert np.abs(short - long).max() > 1e-3


def test_order_and_time_of_events_matter(model):
    candidates = np.array([[1, 2], [4, 5]], np.int32)
    usual = np.asarray(model.score(model.encode(histories()), candidates))
    reordered, later = histories(), histories()
    reordered["items"][1, :4] = [7, 6, 5, 4]
    later["now"] = later["now"] + 30 * DAY
    for changed in (reordered, later):
        assert np.abs(np.asarray(model.score(model.encode(changed), candidates))[1] - usual[1]).max() > 1e-4


def test_equal_shapes_do_not_start_with_equal_weights_and_the_seed_decides():
    def start(seed):
        return {w.path: np.asarray(w) for w in SliRec(ModelConfig(), CATEGORIES, 3, seed=seed).weights}

    one, same, other = start(1), start(1), start(2)
    assert not np.allclose(one["time_lstm/now_kernel"], one["time_lstm/last_kernel"])
    assert not np.allclose(one["fusion/dense_1/kernel"], one["target_attention/network/dense_1/kernel"])
    for path, value in one.items():
        np.testing.assert_array_equal(value, same[path])
    assert not np.allclose(one["time_lstm/kernel"], other["time_lstm/kernel"])


@pytest.mark.parametrize(
    "layer",
    [
        FullyConnected((6, 4), ("relu", "tanh"), (0.1, 0.2), True, seed=3, name="network"),
        LongTermAttention(mask_padding=False, name="attention"),
        TimeLSTM(8, name="lstm"),
        TargetAttention(FullyConnected((6, 4), ("relu", "relu"), (0, 0), False, name="network"), name="target"),
    ],
    ids=lambda layer: layer.name,
)
def test_layers_can_be_rebuilt_from_their_configuration(layer):
    config = layer.get_config()
    assert type(layer).from_config(config).get_config() == layer.get_config()
