import numpy as np
import pytest
import tensorflow as tf

from training.config import OptimizerConfig, TrainingConfig
from training.losses import MEMORY, binary_loss, check_memory, full_softmax_bytes, gbce_beta, make_loss, softmax_loss
from training.steps import hardest

LOGITS = tf.constant([[0.0, 0.0, np.log(2.0)], [np.log(3.0), 0.0, 0.0]], tf.float32)


def test_softmax_is_minus_the_logarithm_of_the_positives_share():
    np.testing.assert_allclose(softmax_loss(LOGITS), [np.log(4), -np.log(3 / 5)], rtol=1e-6)


def test_binary_cross_entropy_judges_each_candidate_alone():
    # Probabilities: 1/2, 1/2, 2/3 and 3/4, 1/2, 1/2; a negative's share is the rest to 1.
    expected = [-np.log(1 / 2 * 1 / 2 * 1 / 3) / 3, -np.log(3 / 4 * 1 / 2 * 1 / 2) / 3]
    np.testing.assert_allclose(binary_loss(LOGITS), expected, rtol=1e-6)


def test_the_generalised_one_raises_the_positives_probability_to_a_power():
    expected = [-np.log(0.5**0.25 * 1 / 2 * 1 / 3) / 3, -np.log(0.75**0.25 * 1 / 2 * 1 / 2) / 3]
    np.testing.assert_allclose(binary_loss(LOGITS, 0.25), expected, rtol=1e-6)


@pytest.mark.parametrize(
    ("negatives", "items", "t", "beta"),
    [(5, 101, 0.0, 1.0), (5, 101, 1.0, 0.05), (5, 101, 0.5, 0.525), (100, 101, 0.5, 1.0), (300, 101, 1.0, 1.0)],
)
def test_beta_goes_from_1_to_the_sampling_rate(negatives, items, t, beta):
    assert gbce_beta(negatives, items, t) == pytest.approx(beta)


def test_beta_without_a_negative_is_refused():
    with pytest.raises(ValueError, match="`num_negatives` should be at least 1"):
        gbce_beta(0, 10, 0.5)


def test_the_configuration_names_the_loss():
    gbce = make_loss(OptimizerConfig(loss="gbce", gbce_t=1.0, train_num_ngs=1, catalogue_num_ngs=1), 9)
    np.testing.assert_allclose(gbce(LOGITS), binary_loss(LOGITS, 0.25))
    np.testing.assert_allclose(make_loss(OptimizerConfig(loss="bce"), 9)(LOGITS), binary_loss(LOGITS))
    for name in ("softmax", "full_softmax"):
        assert make_loss(OptimizerConfig(loss=name), 9) is softmax_loss


def test_a_full_softmax_that_does_not_fit_is_refused_with_what_to_use():
    config = TrainingConfig().replaced(train={"loss": "full_softmax", "batch_size": 64})
    most = MEMORY * 200 // full_softmax_bytes(config, 200)  # bytes grow in proportion to the items
    check_memory(config, most)
    with pytest.raises(ValueError, match=r"at most 6 GiB.*Use loss softmax with catalogue_num_ngs"):
        check_memory(config, most + 2)
    check_memory(TrainingConfig(), 10**9)


def test_the_hardest_are_the_highest_scores_each_once():
    scores = tf.constant([[0.1, 0.9, 0.9, 0.5], [3.0, 2.0, 1.0, 0.0]])
    pool = tf.constant([[4, 7, 7, 2], [1, 2, 3, 4]])
    assert hardest(scores, pool, 2).numpy().tolist() == [[7, 2], [1, 2]]
    assert hardest(scores, pool, 4).numpy()[0].tolist() == [7, 2, 4, 7]  # no other is left
