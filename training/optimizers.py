"""Optimiser, learning-rate schedule and gradient clipping, as the configuration names them."""

from collections.abc import Sequence
from typing import Any

import keras

from training.config import TrainingConfig


def learning_rate(config: TrainingConfig, steps_per_epoch: int) -> Any:
    """Returns the learning rate: a number, or a Keras schedule of the step.

    "exponential" falls smoothly by `learning_rate_decay` each epoch. "cosine" rises linearly from 0 for
    `warmup_epochs`, then falls to 0 along half a cosine at the end of the last epoch (Loshchilov and Hutter, SGDR, ICLR
    2017, section 3, without restarts).

    Args:
        config: `train.learning_rate_schedule` and its settings.
        steps_per_epoch: Batches of an epoch.
    """
    train = config.train
    if train.learning_rate_schedule == "cosine":
        warmup = round(train.warmup_epochs * steps_per_epoch)
        steps = max(1, train.epochs * steps_per_epoch - warmup)
        if not warmup:
            return keras.optimizers.schedules.CosineDecay(train.learning_rate, steps)
        return keras.optimizers.schedules.CosineDecay(
            0.0, steps, warmup_target=train.learning_rate, warmup_steps=warmup
        )
    if train.learning_rate_schedule == "exponential" and train.learning_rate_decay < 1:
        return keras.optimizers.schedules.ExponentialDecay(
            train.learning_rate, steps_per_epoch, train.learning_rate_decay
        )
    return train.learning_rate


def decayed(variable: Any) -> bool:
    """Returns whether weight decay applies to a variable: to matrices of layers only.

    Embeddings are left to `embed_l2`: decay would shrink every row at every step, those of rare items most, which no
    gradient brings back. Biases and the scales of normalisation are left alone as usual.
    """
    return len(variable.shape) >= 2 and not variable.path.endswith("embeddings")


def make_optimizer(config: TrainingConfig, variables: Sequence[Any], steps_per_epoch: int) -> Any:
    """Builds the optimiser for these variables.

    Args:
        config: Learning rate, clipping, weight decay and precision.
        variables: Trainable variables of the network.
        steps_per_epoch: Batches of an epoch.

    Returns:
        Adam, or with decoupled weight decay AdamW (Loshchilov and Hutter, ICLR 2019, algorithm 2: the decay is
        multiplied by the learning rate of the step); with loss scaling under mixed_float16.
    """
    train = config.train
    rate: Any = learning_rate(config, steps_per_epoch)
    clipping: dict[str, Any] = {
        "clipnorm": train.max_grad_norm if train.is_clip_norm else None,
        "global_clipnorm": train.max_global_norm,
    }
    optimizer: Any
    if train.optimizer == "adamw":
        optimizer = keras.optimizers.AdamW(rate, weight_decay=train.weight_decay, name="adam", **clipping)
        optimizer.exclude_from_weight_decay([each for each in variables if not decayed(each)])
    else:
        optimizer = keras.optimizers.Adam(rate, name="adam", **clipping)
    if config.device.precision == "mixed_float16":
        optimizer = keras.optimizers.LossScaleOptimizer(optimizer, name="scaled_adam")
    optimizer.build(variables)
    return optimizer
