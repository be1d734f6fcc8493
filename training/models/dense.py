"""The fully connected networks of SLi-Rec, and their batch normalisation."""

from collections.abc import Sequence
from typing import Any

import keras
import tensorflow as tf

ops: Any = keras.ops  # Keras ships no usable types for its operations


@keras.saving.register_keras_serializable("slirec")
class FusedBatchNormalization(keras.layers.Layer):
    """Batch normalisation over rows, as recommenders sets it: momentum 0.95, epsilon 1e-4.

    Keras 3's own layer has lost the fused kernel; in training this one takes about a third of its time on a CPU.
    """

    MOMENTUM = 0.95
    EPSILON = 1e-4

    def build(self, input_shape: Any) -> None:
        """Creates scale, offset and the moving statistics, all (width,) and float32 under any precision."""
        for name, start, trainable in (
            ("gamma", "ones", True),
            ("beta", "zeros", True),
            ("moving_mean", "zeros", False),
            ("moving_variance", "ones", False),
        ):
            weight = self.add_weight(
                shape=(input_shape[-1],),
                initializer=start,
                trainable=trainable,
                autocast=False,
                aggregation="mean",  # of the devices' statistics, under tf.distribute
                name=name,
            )
            setattr(self, name, weight)
        self.built = True

    def call(self, inputs: Any, training: bool = False) -> Any:
        """Normalises (N, width) by the batch's statistics in training, by the moving ones otherwise."""
        if not training:
            scale = ops.rsqrt(self.moving_variance + self.EPSILON) * self.gamma
            offset = self.beta - self.moving_mean * scale
            return inputs * ops.cast(scale, inputs.dtype) + ops.cast(offset, inputs.dtype)
        normalised, mean, variance, *_ = tf.raw_ops.FusedBatchNormV3(
            x=inputs[None, :, None, :],  # (1, N, 1, width): the kernel normalises over all axes but the last
            scale=tf.convert_to_tensor(self.gamma),
            offset=tf.convert_to_tensor(self.beta),
            mean=tf.zeros(0),
            variance=tf.zeros(0),
            epsilon=self.EPSILON,
            is_training=True,
        )
        for moving, now in ((self.moving_mean, mean), (self.moving_variance, variance)):
            moving.assign(moving * self.MOMENTUM + tf.stop_gradient(now) * (1.0 - self.MOMENTUM))
        return tf.squeeze(normalised, (0, 2))


@keras.saving.register_keras_serializable("slirec")
class FullyConnected(keras.layers.Layer):
    """Hidden layers of dense, batch normalisation, dropout, activation; then one linear output (paper, section 4.4).

    Works on rank-2 inputs. With `call(..., projected=True)` it is fed the first layer's pre-activations, which is how
    target attention avoids building its wide input.
    """

    def __init__(
        self,
        layer_sizes: Sequence[int],
        activation: Sequence[str],
        dropout: Sequence[float],
        enable_BN: bool,
        initializer: Any = "truncated_normal",
        seed: int = 0,
        **kwargs: Any,
    ):
        super().__init__(**kwargs)
        self.layer_sizes = tuple(layer_sizes)
        self.activation = tuple(activation)
        self.dropout = tuple(dropout)
        self.enable_BN = enable_BN
        self.initializer: Any = keras.initializers.get(initializer)
        self.seed = seed
        self.dense = [self._dense(size, f"dense_{i}") for i, size in enumerate(self.layer_sizes)]
        self.norms = [
            FusedBatchNormalization(name=f"norm_{i}") for i, _ in enumerate(self.layer_sizes if enable_BN else ())
        ]
        self.drops = [
            keras.layers.Dropout(rate, seed=seed + i, name=f"drop_{i}") for i, rate in enumerate(self.dropout)
        ]
        self.output_layer = self._dense(1, "output")

    def _dense(self, units: int, name: str) -> keras.layers.Dense:
        return keras.layers.Dense(units, kernel_initializer=self.initializer, name=name)

    def build(self, input_shape: Any) -> None:
        """Builds every inner layer for inputs of width `input_shape[-1]`."""
        width = input_shape[-1]
        for i, (dense, size) in enumerate(zip(self.dense, self.layer_sizes, strict=True)):
            dense.build((None, width))
            if self.enable_BN:
                self.norms[i].build((None, size))
            width = size
        self.output_layer.build((None, width))
        self.built = True

    def call(self, inputs: Any, training: bool = False, projected: bool = False) -> Any:
        """Computes one logit a row.

        Args:
            inputs: (N, width), or with `projected` the first layer's pre-activations (N, layer_sizes[0]).
            training: Whether dropout and batch statistics are on.
            projected: Whether the first matrix product has been done by the caller.

        Returns:
            (N, 1) logits.
        """
        hidden = inputs
        for i, dense in enumerate(self.dense):
            if i or not projected:
                hidden = dense(hidden)
            if self.enable_BN:
                hidden = self.norms[i](hidden, training=training)
            hidden = self.drops[i](hidden, training=training)
            if self.activation[i] != "identity":
                hidden = getattr(ops, self.activation[i])(hidden)
        return self.output_layer(hidden)

    def get_config(self) -> dict[str, Any]:
        """Returns the constructor's arguments."""
        names = ("layer_sizes", "activation", "dropout", "enable_BN", "seed")
        config = {name: getattr(self, name) for name in names}
        return {**super().get_config(), **config, "initializer": keras.initializers.serialize(self.initializer)}
