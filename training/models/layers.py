"""The parts of SLi-Rec as Keras layers.

Zeping Yu, Jianxun Lian, Ahmad Mahmoody, Gongshen Liu, Xing Xie: Adaptive User Modeling with Long and Short-Term
Preferences for Personalized Recommendation, IJCAI 2019; below "the paper". Where the paper and recommenders'
`SLI_RECModel` differ (the choice of the two time features), the layers follow recommenders: its checkpoints load.

Shapes: B shoppers, C candidates, T events, D = width of an event, H = LSTM units (= D).
"""

from typing import Any

import keras
import tensorflow as tf

from training.models.dense import FullyConnected

ops: Any = keras.ops  # Keras ships no usable types for its operations

SECONDS_PER_DAY = 86_400
SHORTEST_DAYS = 0.5  # recommenders' floor under the logarithm: everything within half a day counts as "just now"
MASKED_LOGIT = -(2.0**32) + 1.0


def masked_softmax(logits: Any, mask: Any) -> Any:
    """Softmax over the last axis in which masked-out entries get (almost surely exactly) zero weight.

    Args:
        logits: (..., T).
        mask: Boolean, broadcastable to `logits`; False entries are padding.

    Returns:
        (..., T) float32 weights. Computed in float32, because the mask value overflows half precision.
    """
    logits = ops.cast(logits, "float32")
    return ops.softmax(ops.where(mask, logits, MASKED_LOGIT), axis=-1)


@keras.saving.register_keras_serializable("slirec")
class TimeFeatures(keras.layers.Layer):
    """Turns raw timestamps into the two time features of each event, in the graph.

    Computed here and nowhere else, so that training and serving cannot differ (paper, section 4.2; the features
    themselves are recommenders' `time_from_first_action` and `time_to_now`).
    """

    def call(self, timestamps: Any, length: Any, first_timestamp: Any, now: Any) -> tuple[Any, Any]:
        """Computes log days, floored at half a day; 0 at padding.

        Args:
            timestamps: (B, T) int64 UNIX seconds, oldest first, right-padded.
            length: (B,) int32 number of events.
            first_timestamp: (B,) int64 time of the shopper's first event, also when it is cut off.
            now: (B,) int64 time of the request.

        Returns:
            time_from_first (B, T), from the first event to the event *after* this one (the last: to now), and
            time_to_now (B, T).
        """
        columns = ops.shape(timestamps)[1]
        place = ops.expand_dims(ops.arange(columns, dtype="int32"), 0)  # (1, T)
        length = ops.expand_dims(ops.cast(length, "int32"), 1)
        now = ops.expand_dims(now, 1)
        following = ops.concatenate([timestamps[:, 1:], now], axis=1)
        following = ops.where(place + 1 < length, following, now)
        inside = place < length
        return (
            ops.where(inside, self._log_days(following - ops.expand_dims(first_timestamp, 1)), 0.0),
            ops.where(inside, self._log_days(now - timestamps), 0.0),
        )

    def _log_days(self, seconds: Any) -> Any:
        return ops.log(ops.maximum(ops.cast(seconds, "float32") / SECONDS_PER_DAY, SHORTEST_DAYS))


@keras.saving.register_keras_serializable("slirec")
class LongTermAttention(keras.layers.Layer):
    """Attentive asymmetric SVD: long-term taste as a weighted mean of all events (paper, section 4.1)."""

    def __init__(self, initializer: Any = "truncated_normal", mask_padding: bool = True, **kwargs: Any):
        super().__init__(**kwargs)
        self.initializer: Any = keras.initializers.get(initializer)
        self.mask_padding = mask_padding

    def build(self, input_shape: Any) -> None:
        """Creates the projection (D, D) and the query (D,)."""
        width = input_shape[-1]
        start = self.initializer
        self.attention_mat = self.add_weight(shape=(width, width), initializer=start, name="attention_mat")
        self.query = self.add_weight(shape=(width,), initializer=start, name="query")
        self.built = True

    def call(self, events: Any, mask: Any) -> Any:
        """Pools events.

        Args:
            events: (B, T, D) item and category embeddings.
            mask: (B, T) boolean; False at padding.

        Returns:
            (B, D) long-term taste.
        """
        direction = ops.matmul(self.attention_mat, ops.expand_dims(self.query, 1))  # (D, 1): two products are one
        width = ops.shape(events)[2]
        logits = ops.matmul(ops.reshape(events, (-1, width)), direction)
        logits = ops.reshape(logits, ops.shape(events)[:2])  # (B, T)
        weights = masked_softmax(logits, mask if self.mask_padding else ops.ones_like(mask))
        return ops.sum(events * ops.expand_dims(ops.cast(weights, events.dtype), 2), axis=1)

    def get_config(self) -> dict[str, Any]:
        """Returns the constructor's arguments."""
        config = {"initializer": keras.initializers.serialize(self.initializer), "mask_padding": self.mask_padding}
        return {**super().get_config(), **config}


@keras.saving.register_keras_serializable("slirec")
class TargetAttention(keras.layers.Layer):
    """Short-term taste: the LSTM's outputs weighted by how they match a candidate (paper, section 4.3).

    The first layer reads [k, q, k - q, k * q] (k: projected event, q: candidate). Its matrix splits into a part of the
    event, a part of the candidate and a product term; the first two are computed once each, not once a pair.

    Attributes:
        in_chunks: Whether training goes through the pairs in chunks (`pair_network`): faster on a CPU, not on a GPU.
    """

    in_chunks = False

    def __init__(self, network: FullyConnected, initializer: Any = "truncated_normal", **kwargs: Any):
        super().__init__(**kwargs)
        self.network = network
        self.initializer: Any = keras.initializers.get(initializer)

    def build(self, input_shape: Any) -> None:
        """Creates the projection (H, D) for events of width `input_shape[-1]`, with D = H."""
        self.width = input_shape[-1]
        start = self.initializer
        self.attention_mat = self.add_weight(shape=(self.width, self.width), initializer=start, name="attention_mat")
        self.network.build((None, 4 * self.width))
        self.built = True

    def _parts(self) -> tuple[Any, Any, Any]:
        """Returns the first layer's matrix as parts for k, q and k * q, each (D, first)."""
        of_key, of_query, of_difference, of_product = ops.split(self.network.dense[0].kernel, 4, axis=0)
        return of_key + of_difference, of_query - of_difference, of_product

    def encode(self, hidden: Any) -> tuple[Any, Any]:
        """Computes what does not depend on the candidate.

        Args:
            hidden: (B, T, H) LSTM outputs.

        Returns:
            keys (B, T, D) and the events' part of the first layer, bias included (B, T, first).
        """
        batch, columns = ops.shape(hidden)[0], ops.shape(hidden)[1]
        of_key, _, _ = self._parts()
        flat = ops.reshape(hidden, (-1, self.width))
        keys = ops.matmul(flat, ops.cast(self.attention_mat, flat.dtype))
        first = ops.matmul(keys, ops.cast(of_key, flat.dtype)) + ops.cast(self.network.dense[0].bias, flat.dtype)
        return (
            ops.reshape(keys, (batch, columns, self.width)),
            ops.reshape(first, (batch, columns, self.network.layer_sizes[0])),
        )

    def call(self, hidden: Any, keys: Any, key_part: Any, mask: Any, query: Any, training: bool = False) -> Any:
        """Pools the events for each candidate.

        Args:
            hidden: (B, T, H) LSTM outputs.
            keys: (B, T, D), from `encode`.
            key_part: (B, T, first), from `encode`.
            mask: (B, T) boolean; False at padding.
            query: (B, C, D) candidates.
            training: Whether dropout and batch statistics are on.

        Returns:
            Short-term taste (B, C, H) and the attention weights (B, C, T).
        """
        batch, candidates = ops.shape(query)[0], ops.shape(query)[1]
        columns, first = ops.shape(hidden)[1], self.network.layer_sizes[0]
        of_key, of_query, of_product = (ops.cast(part, query.dtype) for part in self._parts())
        normalised = training and self.network.enable_BN
        if normalised:  # by scaling the matrices, which are small
            scale, offset = (ops.cast(array, query.dtype) for array in self._first_normalisation(keys, query))
            of_key, of_query, of_product = of_key * scale, of_query * scale, of_product * scale
            offset = offset + ops.cast(self.network.dense[0].bias, query.dtype) * scale
            key_part = ops.matmul(ops.reshape(keys, (-1, self.width)), of_key) + offset
            key_part = ops.reshape(key_part, (batch, columns, first))
        query_part = ops.matmul(ops.reshape(query, (-1, self.width)), of_query)
        if normalised and self.in_chunks and self.network.pairs_in_chunks:
            query_part = ops.reshape(query_part, (batch, candidates, first))
            logits = self.network.pair_logits(keys, query, key_part, query_part, of_product)
            return self._pool(logits, mask, hidden)
        product = ops.expand_dims(keys, 1) * ops.expand_dims(query, 2)  # (B, C, T, D)
        product = ops.matmul(ops.reshape(product, (-1, self.width)), of_product)
        # Added over three axes each, which is faster than over four.
        pairs = ops.reshape(product, (-1, columns, first)) + ops.expand_dims(query_part, 1)  # (B * C, T, first)
        pairs = ops.reshape(pairs, (batch, candidates, columns * first))
        pairs = pairs + ops.reshape(key_part, (batch, 1, columns * first))
        logits = self.network(ops.reshape(pairs, (-1, first)), training=training, projected=True, normalised=normalised)
        return self._pool(ops.reshape(logits, (batch, candidates, columns)), mask, hidden)

    def _pool(self, logits: Any, mask: Any, hidden: Any) -> tuple[Any, Any]:
        weights = masked_softmax(logits, ops.expand_dims(mask, 1))
        return ops.matmul(ops.cast(weights, hidden.dtype), hidden), weights

    def _first_normalisation(self, keys: Any, query: Any) -> tuple[Any, Any]:
        """Normalises the first layer before its B * C * T rows exist, which spares two passes over them each way.

        A row is linear in u = [k, q, k * q], so its mean and variance follow from those of u, and these from sums of
        each shopper over events and over candidates. Centred k and q keep the variance exact in float32.

        Args:
            keys: (B, T, D) events, from `encode`.
            query: (B, C, D) candidates.

        Returns:
            scale and offset of the first layer's outputs, (first,) float32 each.
        """
        keys, query = ops.cast(keys, "float32"), ops.cast(query, "float32")
        events = ops.cast(ops.shape(keys)[1], "float32")
        candidates = ops.cast(ops.shape(query)[1], "float32")
        rows = ops.cast(ops.shape(keys)[0], "float32") * events * candidates
        key_mean, query_mean = ops.mean(keys, axis=(0, 1)), ops.mean(query, axis=(0, 1))  # (D,)
        keys, query = keys - key_mean, query - query_mean
        key_sum, query_sum = ops.sum(keys, axis=1), ops.sum(query, axis=1)  # (B, D)
        key_square = _gram(keys)  # (B, D, D)
        query_square = _gram(query)
        key_query = ops.matmul(ops.transpose(key_sum), query_sum)  # (D, D), as all below
        key_product = ops.sum(key_square * ops.expand_dims(query_sum, 1), axis=0)
        query_product = ops.sum(query_square * ops.expand_dims(key_sum, 1), axis=0)
        product_product = ops.sum(key_square * query_square, axis=0)
        moments = ops.concatenate(
            [
                ops.concatenate([ops.sum(key_square, axis=0) * candidates, key_query, key_product], axis=1),
                ops.concatenate(
                    [ops.transpose(key_query), ops.sum(query_square, axis=0) * events, query_product], axis=1
                ),
                ops.concatenate([ops.transpose(key_product), ops.transpose(query_product), product_product], axis=1),
            ],
            axis=0,
        )
        of_key, of_query, of_product = (ops.cast(part, "float32") for part in self._parts())
        # k * q = k' * q' + k' * mean(q) + mean(k) * q' + mean(k) * mean(q) for the centred k', q'.
        matrix = ops.concatenate(
            [
                of_key + ops.expand_dims(query_mean, 1) * of_product,
                of_query + ops.expand_dims(key_mean, 1) * of_product,
                of_product,
            ],
            axis=0,
        )  # (3 D, first)
        product_mean = ops.sum(key_sum * query_sum, axis=0) / rows
        centre = ops.sum(matrix[2 * self.width :] * ops.expand_dims(product_mean, 1), axis=0)
        variance = ops.sum(matrix * ops.matmul(moments / rows, matrix), axis=0) - centre * centre
        constants = ((key_mean, of_key), (query_mean, of_query), (key_mean * query_mean, of_product))
        mean = centre + ops.cast(self.network.dense[0].bias, "float32")
        for value, part in constants:
            mean = mean + ops.sum(ops.expand_dims(value, 1) * part, axis=0)
        return self.network.norms[0].fold(mean, ops.maximum(variance, 0.0), rows)

    def get_config(self) -> dict[str, Any]:
        """Returns the constructor's arguments."""
        config = {
            "network": keras.saving.serialize_keras_object(self.network),
            "initializer": keras.initializers.serialize(self.initializer),
        }
        return {**super().get_config(), **config}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> "TargetAttention":
        """Rebuilds the layer from `get_config`."""
        network = keras.saving.deserialize_keras_object(config.pop("network"))
        return cls(network=network, **config)


@tf.custom_gradient
def _gram(rows: Any) -> Any:
    """Sums of products of columns, (B, N, D) -> (B, D, D), with a gradient of one product instead of two."""

    def gradient(upstream: Any) -> Any:
        return tf.matmul(rows, upstream + tf.transpose(upstream, (0, 2, 1)))

    return tf.matmul(rows, rows, transpose_a=True), gradient
