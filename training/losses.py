"""Losses of one positive among candidates, as functions of logits: for each row, the positive is the first candidate.

Shapes: B rows, C candidates, the positive and C - 1 negatives.
"""

from collections.abc import Callable
from typing import Any, Final

import tensorflow as tf

from training.config import OptimizerConfig, TrainingConfig

Loss = Callable[[Any], Any]
MEMORY: Final = 6 * 2**30  # bytes that a step of the full softmax may take, by `full_softmax_bytes`


def softmax_loss(logits: Any) -> Any:
    """Returns (B,) cross-entropy of the positive under the softmax over the candidates (B, C).

    Over all items it is the full softmax; over drawn ones, with the logarithm of their expected counts subtracted from
    the logits, its estimate (Bengio and Senecal, IEEE Transactions on Neural Networks 19(4), 2008).
    """
    positive = tf.zeros(tf.shape(logits)[0], tf.int32)
    return tf.nn.sparse_softmax_cross_entropy_with_logits(positive, logits)


def binary_loss(logits: Any, beta: float = 1.0) -> Any:
    """Returns (B,) generalised binary cross-entropy, the mean over the candidates (B, C); beta 1 is the plain one.

    The positive's probability is raised to the power beta, so that beta below 1 takes back the overconfidence that
    few negatives teach: -(log sigmoid(s+)^beta + sum log(1 - sigmoid(s-))) / C.

    Source: Petrov and Macdonald, gSASRec: Reducing overconfidence in sequential recommendation trained with negative
    sampling, RecSys 2023, section 5.1, equation 10.

    Args:
        logits: (B, C), the positive first.
        beta: Power of the positive's probability, from `gbce_beta`.
    """
    positive = beta * tf.nn.softplus(-logits[:, 0])
    negatives = tf.reduce_sum(tf.nn.softplus(logits[:, 1:]), axis=1)
    return (positive + negatives) / tf.cast(tf.shape(logits)[1], logits.dtype)


def gbce_beta(num_negatives: int, num_items: int, calibration: float) -> float:
    """Returns beta = alpha * (t * (1 - 1 / alpha) + 1 / alpha) with the sampling rate alpha.

    Source: as `binary_loss`, section 5.2, equation 13. The paper draws negatives uniformly; with others alpha is only
    the share of the catalogue that they make up.

    Args:
        num_negatives: Negatives of a positive, k.
        num_items: Items that could be recommended, |I|; alpha = k / (|I| - 1), at most 1.
        calibration: t: 0 is plain binary cross-entropy, 1 corrects the probabilities fully.

    Raises:
        ValueError: If there is no negative or no item to draw it from.
    """
    if num_negatives < 1 or num_items < 2:
        raise ValueError(
            "`num_negatives` should be at least 1 and `num_items` at least 2. "
            f"Received: num_negatives = {num_negatives}, num_items = {num_items}"
        )
    alpha = min(1.0, num_negatives / (num_items - 1))
    return alpha * (calibration * (1 - 1 / alpha) + 1 / alpha)


def make_loss(config: OptimizerConfig, num_items: int) -> Loss:
    """Returns the loss that the configuration names, from logits (B, C) to (B,).

    Args:
        config: `loss`, `gbce_t` and the numbers of negatives.
        num_items: Items that could be recommended, the unknown one not counted.
    """
    if config.loss in ("softmax", "full_softmax"):
        return softmax_loss
    beta = 1.0 if config.loss == "bce" else gbce_beta(config.num_negatives, num_items, config.gbce_t)
    return lambda logits: binary_loss(logits, beta)


def full_softmax_bytes(config: TrainingConfig, num_items: int) -> int:
    """Returns about how many bytes a step over the whole catalogue takes at full histories.

    Every item meets every event of every row in the network of target attention, whose layers are kept for the
    gradients; beside it each item has the layers of fusion and prediction. Each number is 4 bytes, and its gradient
    again as many.
    """
    model = config.model
    attention = config.data.max_seq_length * sum(model.att_fcn_layer_sizes)
    others = 5 * model.embedding_dim + sum(model.att_fcn_layer_sizes) + sum(model.layer_sizes)
    return 2 * 4 * config.train.batch_size * num_items * (attention + others)


def check_memory(config: TrainingConfig, num_items: int) -> None:
    """Makes sure that the full softmax, if the configuration asks for it, fits into `MEMORY`.

    Raises:
        ValueError: Saying what it would take and what to use instead.
    """
    if config.train.loss != "full_softmax" or (needed := full_softmax_bytes(config, num_items)) <= MEMORY:
        return
    raise ValueError(
        f"`loss` full_softmax should need at most {MEMORY / 2**30:.0f} GiB a step. Received: about "
        f"{needed / 2**30:.1f} GiB, for batch_size = {config.train.batch_size} rows of max_seq_length = "
        f"{config.data.max_seq_length} events and {num_items} items. Use loss softmax with catalogue_num_ngs and "
        "logq_correction, which estimates it, or gbce; or a smaller batch_size"
    )
