"""The network of target attention in training, a few shoppers at a time.

Its rows are pairs of an event and a candidate: B * C * T of them, whose arrays no cache holds, so that on a CPU most of
the time goes into moving them. Here everything that is done to a row is done while its chunk is in a core's own cache.
Only the statistics of the second normalisation need all rows at once, forward and backward. The numbers are those of
`FullyConnected`, and so are the gradients; only dropout's masks are drawn in another way.

Shapes: B shoppers, C candidates, T events, D width, F and G units of the two hidden layers, N rows of a chunk.
"""

from collections.abc import Callable
from typing import Any

import tensorflow as tf

from training.devices import cores
from training.models.dropout import Masks, kept_share

ROWS = 2_000  # of a chunk: what is computed from them then stays close to the core

_relu_gradient: Any = tf.raw_ops.ReluGrad  # type: ignore[attr-defined]


def pair_logits(
    keys: Any,
    query: Any,
    key_part: Any,
    query_part: Any,
    of_product: Any,
    hidden_kernel: Any,
    gamma: Any,
    beta: Any,
    output_kernel: Any,
    *,
    epsilon: float,
    rates: tuple[float, ...],
    seed: Any,
) -> tuple[Any, Any, Any]:
    """Computes relu layer, dropout, dense layer, batch normalisation, dropout, relu and output for all pairs.

        first = key_part + query_part + (keys * query) of_product
        logit = relu(dropout(normalise(relu(dropout(first)) hidden_kernel))) output_kernel

    Args:
        keys: (B, T, D) float32 events.
        query: (B, C, D) candidates.
        key_part: (B, T, F) the events' part of the first layer, normalised.
        query_part: (B, C, F) the candidates' part, likewise.
        of_product: (D, F) kernel of the product, likewise.
        hidden_kernel: (F, G).
        gamma: (G,) scale of the second normalisation.
        beta: (G,) its offset.
        output_kernel: (G, 1).
        epsilon: Of the normalisation.
        rates: Dropout after the first and the second layer.
        seed: (2,) integers.

    Returns:
        logits (B, C, T) without the output's bias; mean and unbiased variance (G,) of what is normalised, which have no
        gradient.
    """
    tensors = (keys, query, key_part, query_part, of_product, hidden_kernel, gamma, beta, output_kernel)
    return tf.custom_gradient(lambda *given: _compute(given, epsilon, rates, seed))(*tensors)


def _compute(tensors: tuple[Any, ...], epsilon: float, rates: tuple[float, ...], seed: Any) -> Any:
    keys, query, key_part, query_part, of_product, hidden_kernel, gamma, beta, output_kernel = tensors
    shape: Any = tf.shape(keys)
    shoppers, columns, candidates = shape[0], shape[1], tf.shape(query)[1]
    width, first, second = keys.shape[-1], hidden_kernel.shape[0], hidden_kernel.shape[1]
    size = tf.maximum(ROWS // (columns * candidates), 1)  # shoppers of a chunk
    count = (shoppers + size - 1) // size
    total = tf.cast(shoppers * columns * candidates, keys.dtype)
    masks = Masks(seed, size * columns * candidates, count, (first, second), rates)
    first_kept, second_kept = kept_share(rates[0]), kept_share(rates[1])
    hidden_kernel = hidden_kernel / first_kept
    output_kernel = output_kernel / second_kept

    def wide(vector: Any) -> Any:
        """Repeats (G,) so that rows of `columns` * G are multiplied with it: broadcasting narrow rows is slow."""
        return tf.tile(vector, [columns])

    def affine(rows: Any, slope: Any, constant: Any) -> Any:
        flat = tf.reshape(rows, (-1, columns * second))
        return tf.reshape(flat * slope + constant, (-1, second))

    def chunk(i: Any, array: Any) -> Any:
        return array[i * size : tf.minimum((i + 1) * size, shoppers)]

    def products(i: Any) -> tuple[Any, Any, Any]:
        key, candidate = chunk(i, keys)[:, None], chunk(i, query)[:, :, None]
        return key, candidate, tf.reshape(key * candidate, (-1, width))  # (N, D)

    def first_layers(i: Any, *arrays: Any) -> Any:
        pairs = tf.matmul(products(i)[2], of_product)
        # Added over three axes each, which is faster than over four.
        pairs = tf.reshape(pairs, (-1, columns, first)) + tf.reshape(chunk(i, query_part), (-1, 1, first))
        pairs = tf.reshape(pairs, (-1, candidates, columns * first))
        pairs = tf.reshape(pairs + tf.reshape(chunk(i, key_part), (-1, 1, columns * first)), (-1, first))
        hidden = masks.apply(0, i, tf.nn.relu(pairs))
        inner = tf.matmul(hidden, hidden_kernel)  # (N, G)
        mean = tf.reduce_mean(inner, 0)
        spread = tf.reduce_sum(tf.math.squared_difference(tf.reshape(inner, (-1, columns * second)), wide(mean)), 0)
        spread = tf.reduce_sum(tf.reshape(spread, (columns, second)), 0)
        return i + 1, *_written(arrays, i, (hidden, inner, mean, spread))

    arrays = [_array(count, shape, keys.dtype) for shape in ((None, first), (None, second), (second,), (second,))]
    hiddens, inners, means, spreads = _loop(first_layers, count, arrays)
    means, spreads = means.stack(), spreads.stack()
    places = tf.minimum((tf.range(count) + 1) * size, shoppers) - tf.range(count) * size
    weights = tf.cast(places * columns * candidates, keys.dtype)[:, None] / total  # (chunks, 1)
    mean = tf.reduce_sum(weights * means, 0)
    variance = tf.reduce_sum(spreads, 0) / total + tf.reduce_sum(weights * tf.math.squared_difference(means, mean), 0)
    deviation = tf.math.rsqrt(variance + epsilon)
    scale = deviation * gamma
    offset = beta - mean * scale

    wide_scale, wide_offset = wide(scale), wide(offset)

    def last_layers(i: Any, *arrays: Any) -> Any:
        outer = masks.apply(1, i, tf.nn.relu(affine(inners.read(i), wide_scale, wide_offset)))
        return i + 1, *_written(arrays, i, (outer, tf.matmul(outer, output_kernel)))

    outers, logits = _loop(last_layers, count, [_array(count, (None, n), keys.dtype) for n in (second, 1)])
    logits = tf.reshape(logits.concat(), (shoppers, candidates, columns))
    unbiased = variance * total / tf.maximum(total - 1.0, 1.0)

    def gradient(upstream: Any, *_: Any) -> Any:
        upstream = tf.reshape(upstream, (shoppers, -1))

        def of_outer(i: Any, kernel: Any) -> tuple[Any, Any]:
            of_logits = tf.reshape(chunk(i, upstream), (-1, 1))
            of_rows = tf.matmul(of_logits, kernel, transpose_b=True)
            return of_logits, _relu_gradient(gradients=of_rows, features=outers.read(i))  # relu and dropout in one

        def sums(i: Any, of_output: Any, of_beta: Any, of_scale: Any) -> Any:
            of_logits, of_rows = of_outer(i, output_kernel)
            of_output += tf.matmul(outers.read(i), of_logits, transpose_a=True)
            of_scale += tf.reduce_sum(of_rows * inners.read(i), 0)
            return i + 1, of_output, of_beta + tf.reduce_sum(of_rows, 0), of_scale

        nothing = tf.zeros(second, keys.dtype)
        of_output, of_beta, of_scale = _loop(sums, count, [tf.zeros_like(output_kernel), nothing, nothing])
        # As everywhere for batch normalisation: the parts of the gradient along 1 and along the rows are taken out.
        of_gamma = (of_scale - mean * of_beta) * deviation
        slope = -scale * deviation * of_gamma / total
        constant = -scale * of_beta / total - mean * slope
        wide_slope, wide_constant = wide(slope), wide(constant)
        scaled_kernel = output_kernel * scale[:, None]

        def first_gradients(i: Any, of_hidden: Any, of_kernel: Any, *arrays: Any) -> Any:
            of_inner = of_outer(i, scaled_kernel)[1] + affine(inners.read(i), wide_slope, wide_constant)
            hidden = hiddens.read(i)
            of_pairs = tf.matmul(of_inner, hidden_kernel, transpose_b=True)
            of_pairs = _relu_gradient(gradients=of_pairs, features=hidden)  # (N, F)
            key, candidate, product = products(i)
            of_product_rows = tf.reshape(
                tf.matmul(of_pairs, of_product, transpose_b=True), (-1, candidates, columns, width)
            )
            over_candidates = tf.reduce_sum(tf.reshape(of_pairs, (-1, candidates, columns * first)), 1)
            over_events = tf.reduce_sum(tf.reshape(of_pairs, (-1, columns, first)), 1)
            values = (
                tf.reduce_sum(of_product_rows * candidate, 1),
                tf.reduce_sum(of_product_rows * key, 2),
                tf.reshape(over_candidates, (-1, columns, first)),
                tf.reshape(over_events, (-1, candidates, first)),
            )
            of_hidden += tf.matmul(hidden, of_inner, transpose_a=True)
            of_kernel += tf.matmul(product, of_pairs, transpose_a=True)
            return i + 1, of_hidden, of_kernel, *_written(arrays, i, values)

        shapes = ((None, None, width), (None, None, width), (None, None, first), (None, None, first))
        start = [tf.zeros_like(hidden_kernel), tf.zeros_like(of_product)]
        arrays = [_array(count, shape, keys.dtype) for shape in shapes]
        of_hidden, of_kernel, *parts = _loop(first_gradients, count, [*start, *arrays])
        of_keys, of_query, of_key_part, of_query_part = (part.concat() for part in parts)
        return (
            of_keys,
            of_query,
            of_key_part,
            of_query_part,
            of_kernel,
            of_hidden / first_kept,
            of_gamma,
            of_beta,
            of_output / second_kept,
        )

    return (logits, mean, unbiased), gradient


def _loop(body: Callable[..., Any], count: Any, variables: list[Any]) -> list[Any]:
    _, *results = tf.while_loop(
        lambda i, *_: i < count, body, (0, *variables), parallel_iterations=cores(), maximum_iterations=count
    )
    return results


def _array(count: Any, shape: tuple[int | None, ...], dtype: Any) -> Any:
    return tf.TensorArray(dtype, count, element_shape=shape, infer_shape=False)


def _written(arrays: Any, place: Any, values: tuple[Any, ...]) -> Any:
    return (array.write(place, value) for array, value in zip(arrays, values, strict=True))
