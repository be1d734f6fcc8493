"""Dropout from 16 random bits a number: as a layer, and for arrays that are gone through in chunks."""

from typing import Any

import keras
import tensorflow as tf

BLOCK = 16  # random words: a cache line, for what begins with one is read in place, not copied
PLACES = 4_096  # blocks at which a chunk may begin to read


def kept_share(rate: float) -> float:
    """Returns the share of the numbers that dropout of a rate keeps, to 1 / 65536."""
    return 1.0 - _threshold(rate) / 65536


def _threshold(rate: float) -> int:
    return round(rate * 65536)


def _kept(words: Any, rows: Any, rate: float) -> Any:
    """Returns 1 where a number of `rows` is kept and 0 elsewhere, from 32-bit words, one for two numbers."""
    bits = tf.reshape(tf.bitcast(words, tf.uint16), [-1])[: tf.size(rows)]
    return tf.cast(tf.reshape(bits, tf.shape(rows)) >= tf.constant(_threshold(rate), tf.uint16), rows.dtype)


@keras.saving.register_keras_serializable("slirec")
class Dropout(keras.layers.Layer):
    """Dropout that draws 16 random bits a number, not 32, which takes a third of the time; rates to 1 / 65536.

    Args:
        rate: Share of the numbers set to zero; the others are divided by 1 - rate.
        seed: Seed of the generator, whose state is saved with the weights.
    """

    def __init__(self, rate: float, seed: int = 0, **kwargs: Any):
        super().__init__(**kwargs)
        self.rate = rate
        self.seed = seed
        self.seed_generator = keras.random.SeedGenerator(seed) if rate else None

    def call(self, inputs: Any, training: bool = False) -> Any:
        """Returns `inputs` with a random part zeroed in training, unchanged otherwise."""
        if not training or self.seed_generator is None:
            return inputs
        uniform: Any = tf.random.stateless_uniform
        length: Any = (tf.size(inputs) + 1) // 2
        words = uniform([length], self.next_seed(), minval=None, maxval=None, dtype=tf.uint32)  # all 32 bits
        return inputs * (_kept(words, inputs, self.rate) * (1.0 / kept_share(self.rate)))

    def next_seed(self) -> Any:
        """Returns two int64 numbers, others at each call; zeros where the rate is 0."""
        return tf.zeros(2, tf.int64) if self.seed_generator is None else tf.cast(self.seed_generator.next(), tf.int64)

    def get_config(self) -> dict[str, Any]:
        """Returns the constructor's arguments."""
        return {**super().get_config(), "rate": self.rate, "seed": self.seed}


class Masks:
    """Dropout's masks, 16 random bits a number.

    Drawing all of them would take longer than the layer that they are for. So two short rows of random words are drawn,
    and each chunk combines them by exclusive or, reading both at random places.
    """

    def __init__(self, seed: Any, rows: Any, count: Any, widths: tuple[int, int], rates: tuple[float, ...]) -> None:
        uniform: Any = tf.random.stateless_uniform
        self._rates = rates
        self._starts = (0, _blocks(rows * widths[0]))
        blocks = self._starts[1] + _blocks(rows * widths[1]) + PLACES
        drawn = uniform((2, blocks, BLOCK), seed, minval=None, maxval=None, dtype=tf.int32)  # all 32 bits
        self._words = tf.unstack(drawn)
        self._places = uniform((2, count), seed + 1, minval=0, maxval=PLACES, dtype=tf.int32)

    def apply(self, layer: int, chunk: Any, rows: Any) -> Any:
        """Returns (N, width) with a random part zeroed; what is left is not scaled."""
        if not self._rates[layer]:
            return rows
        size = [_blocks(tf.size(rows)), BLOCK]
        starts = [[self._places[side, chunk] + self._starts[layer], 0] for side in range(2)]
        one, other = (tf.slice(words, start, size) for words, start in zip(self._words, starts, strict=True))
        return rows * _kept(tf.bitwise.bitwise_xor(one, other), rows, self._rates[layer])


def _blocks(numbers: Any) -> Any:
    return (numbers + 2 * BLOCK - 1) // (2 * BLOCK)
