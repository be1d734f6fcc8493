"""The fully connected networks of SLi-Rec, and their batch normalisation."""

from collections.abc import Sequence
from typing import Any

import keras
import tensorflow as tf

from training.models.dropout import Dropout
from training.models.pair_network import pair_logits

ops: Any = keras.ops  # Keras ships no usable types for its operations

MOMENTUM = 0.95  # of the moving statistics of batch normalisation; both as recommenders sets them
EPSILON = 1e-4


@keras.saving.register_keras_serializable("slirec")
class FusedBatchNormalization(keras.layers.Layer):
    """Batch normalisation over rows.

    Keras 3's own layer has lost the fused kernel; in training this one takes about a third of its time on a CPU.
    """

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

    def call(self, inputs: Any, training: bool = False, left_out: Any = 0.0) -> Any:
        """Normalises (N, width) by the batch's statistics in training, by the moving ones otherwise.

        A constant makes no difference to rows that are normalised by their own mean: one that the caller has therefore
        `left_out` in training, the bias, is added to the moving mean only.
        """
        if not training:
            scale, offset = self._affine(self.moving_mean, self.moving_variance)
            return inputs * ops.cast(scale, inputs.dtype) + ops.cast(offset, inputs.dtype)
        gamma, beta = tf.convert_to_tensor(self.gamma), tf.convert_to_tensor(self.beta)
        normalised, mean, variance = _normalise(inputs, gamma, beta)
        self.remember(mean + ops.cast(left_out, mean.dtype), variance)
        return normalised

    def fold(self, mean: Any, variance: Any, rows: Any) -> tuple[Any, Any]:
        """Does a training step's normalisation for a caller that knows the statistics before it has the rows.

        Args:
            mean: (width,) mean over the batch's rows.
            variance: (width,) their variance, divided by N.
            rows: N, as a scalar tensor.

        Returns:
            scale and offset, (width,) each: `x * scale + offset` is normalised. Gradients flow through both.
        """
        rows = tf.cast(rows, variance.dtype)
        self.remember(mean, variance * rows / tf.maximum(rows - 1.0, 1.0))
        return self._affine(mean, variance)

    def _affine(self, mean: Any, variance: Any) -> tuple[Any, Any]:
        scale = ops.rsqrt(variance + EPSILON) * self.gamma
        return scale, self.beta - mean * scale

    def remember(self, mean: Any, variance: Any) -> None:
        """Moves the statistics for inference towards a batch's mean and unbiased variance, (width,) each."""
        for moving, now in ((self.moving_mean, mean), (self.moving_variance, variance)):
            moving.assign(moving * MOMENTUM + tf.stop_gradient(now) * (1.0 - MOMENTUM))


@tf.custom_gradient
def _normalise(rows: Any, gamma: Any, beta: Any) -> Any:
    """Normalises (N, width); also returns mean and (unbiased) variance, which have no gradient of their own.

    TensorFlow's gradient of the same kernel also fills arrays of zeros for the outputs that nobody differentiates.
    """
    shape: Any = tf.shape(rows)
    four_axes = (1, shape[0], 1, shape[1])  # the kernel normalises over all axes but the last
    rows = tf.reshape(rows, four_axes)
    kernel: Any = tf.raw_ops.FusedBatchNormV3
    kernel_gradient: Any = tf.raw_ops.FusedBatchNormGradV3
    normalised, mean, variance, *kept = kernel(
        x=rows, scale=gamma, offset=beta, mean=tf.zeros(0), variance=tf.zeros(0), epsilon=EPSILON, is_training=True
    )

    def gradient(upstream: Any, *_: Any) -> Any:
        of_rows, of_gamma, of_beta, *_unused = kernel_gradient(
            y_backprop=tf.reshape(upstream, four_axes),
            x=rows,
            scale=gamma,
            reserve_space_1=kept[0],
            reserve_space_2=kept[1],
            reserve_space_3=kept[2],
            epsilon=EPSILON,
            is_training=True,
        )
        return tf.reshape(of_rows, shape), of_gamma, of_beta

    return (tf.reshape(normalised, shape), mean, variance), gradient


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
        self.drops = [Dropout(rate, seed + i, name=f"drop_{i}") for i, rate in enumerate(self.dropout)]
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

    def call(self, inputs: Any, training: bool = False, projected: bool = False, normalised: bool = False) -> Any:
        """Computes one logit a row.

        Args:
            inputs: (N, width), or with `projected` the first layer's pre-activations (N, layer_sizes[0]).
            training: Whether dropout and batch statistics are on.
            projected: Whether the first matrix product has been done by the caller.
            normalised: Whether the first normalisation has been, too.

        Returns:
            (N, 1) logits.
        """
        hidden = inputs
        for i, dense in enumerate(self.dense):
            left_out: Any = 0.0
            if i or not projected:
                if training and self.enable_BN:
                    hidden = ops.matmul(hidden, ops.cast(dense.kernel, hidden.dtype))
                    left_out = dense.bias
                else:
                    hidden = dense(hidden)
            if self.enable_BN and (i or not normalised):
                hidden = self.norms[i](hidden, training=training, left_out=left_out)
            hidden = self.drops[i](hidden, training=training)
            if self.activation[i] != "identity":
                hidden = getattr(ops, self.activation[i])(hidden)
        return self.output_layer(hidden)

    @property
    def pairs_in_chunks(self) -> bool:
        """Whether `pair_logits` can stand for `call`: it knows two normalised layers of relu, in float32."""
        layers = (self.enable_BN, self.activation[:2], len(self.layer_sizes), self.compute_dtype)
        return layers == (True, ("relu", "relu"), 2, "float32")

    def pair_logits(self, keys: Any, query: Any, key_part: Any, query_part: Any, of_product: Any) -> Any:
        """Trains on all pairs of an event and a candidate, as `pair_network.pair_logits`; returns (B, C, T) logits."""
        norm, output = self.norms[1], self.output_layer
        drop = next((drop for drop in self.drops if drop.rate), self.drops[0])  # one without a rate has no generator
        weights = (self.dense[1].kernel, norm.gamma, norm.beta, output.kernel)
        logits, mean, variance = pair_logits(
            keys,
            query,
            key_part,
            query_part,
            of_product,
            *(tf.convert_to_tensor(weight) for weight in weights),
            epsilon=EPSILON,
            rates=self.dropout[:2],
            seed=drop.next_seed(),
        )
        norm.remember(mean + tf.convert_to_tensor(self.dense[1].bias), variance)
        return logits + tf.convert_to_tensor(output.bias)

    def get_config(self) -> dict[str, Any]:
        """Returns the constructor's arguments."""
        names = ("layer_sizes", "activation", "dropout", "enable_BN", "seed")
        config = {name: getattr(self, name) for name in names}
        return {**super().get_config(), **config, "initializer": keras.initializers.serialize(self.initializer)}
