"""The recurrence of the time-aware LSTM with a hand-written gradient.

Automatic differentiation of a loop stores and adds up something for every operation of every step. Here the forward
loop keeps its gates; the factors of the gradient are computed from them for all steps at once; the backward loop does
only what truly depends on the next step; and the recurrent kernel's gradient is one product.

Shapes: T events, B shoppers, H units, N = T * B.
"""

from typing import Any

import tensorflow as tf


@tf.custom_gradient
def scan(cell_gates: Any, other_gates: Any, recurrent: Any) -> Any:
    """Runs the cell over all events.

        j, i, f = cell_gates[t] + output R1;  o, n, l = other_gates[t] + [output R2, 0, 0]
        cell = sigmoid(f) sigmoid(l) cell + sigmoid(i) sigmoid(n) tanh(j);  output = sigmoid(o) tanh(cell)

    Args:
        cell_gates: (T, B, 3H) pre-activations without the recurrent product: candidate, input gate, forget gate.
        other_gates: (T, B, 3H) output gate, likewise, and the gates of time on what is written and what is kept.
        recurrent: (H, 4H) recurrent kernel, R1 and R2.

    Returns:
        (T, B, H) outputs.
    """
    steps, rows, units = tf.shape(cell_gates)[0], tf.shape(cell_gates)[1], recurrent.shape[0]
    dtype = cell_gates.dtype
    nothing = tf.zeros((rows, units), dtype)
    recurrent_cell, recurrent_shown = tf.split(recurrent, [3 * units, units], 1)
    cell_gates_at, other_gates_at = _steps(cell_gates), _steps(other_gates)

    def forward(t: Any, output: Any, cell: Any, *kept: Any) -> Any:
        candidate, write_keep = tf.split(cell_gates_at.read(t) + tf.matmul(output, recurrent_cell), [units, -1], 1)
        shown, times = tf.split(other_gates_at.read(t), [units, -1], 1)
        candidate, write_keep, times = tf.tanh(candidate), tf.sigmoid(write_keep), tf.sigmoid(times)
        shown = tf.sigmoid(shown + tf.matmul(output, recurrent_shown))
        write, keep = tf.split(write_keep * times, 2, 1)
        cell = keep * cell + write * candidate
        read = tf.tanh(cell)
        output = shown * read
        values = (output, cell, candidate, write_keep, times, shown, read)
        return t + 1, output, cell, *(array.write(t, value) for array, value in zip(kept, values, strict=True))

    widths = (units, units, units, 2 * units, 2 * units, units, units)
    start = (0, nothing, nothing, *(_empty(steps, width, dtype) for width in widths))
    _, _, _, *kept = tf.while_loop(lambda t, *_: t < steps, forward, start, maximum_iterations=steps)
    outputs = kept[0].stack()

    def gradient(upstream: Any) -> Any:
        candidate, write_keep, times, shown, read = (array.concat() for array in kept[2:])  # (N, H or 2H) each
        before, cell_before = _shifted(outputs), _shifted(kept[1].stack())  # (N, H): the state before each event
        both = write_keep * times
        write, keep = tf.split(both, 2, 1)
        by_gate = both * tf.concat([candidate, cell_before], 1)  # of the cell, by the logarithm of i n and of f l
        write_keep_slope, times_slope = by_gate * (1.0 - write_keep), by_gate * (1.0 - times)
        shown_read = shown * read
        slopes_at = _steps(_timed(tf.concat([write * (1.0 - candidate * candidate), write_keep_slope], 1), steps))
        keep_at, shown_at = _steps(_timed(keep, steps)), _steps(_timed(shown_read * (1.0 - shown), steps))
        read_at, upstream_at = _steps(_timed(shown - shown_read * read, steps)), _steps(upstream)

        def backward(t: Any, of_next: Any, of_cell: Any, all_gates: Any, all_shown: Any, all_cells: Any) -> Any:
            of_output = upstream_at.read(t) + of_next
            of_cell = of_cell + of_output * read_at.read(t)
            of_gates = tf.concat([of_cell, of_cell, of_cell], 1) * slopes_at.read(t)
            of_shown = of_output * shown_at.read(t)
            of_next = tf.matmul(of_gates, recurrent_cell, transpose_b=True)
            of_next += tf.matmul(of_shown, recurrent_shown, transpose_b=True)
            written = (all_gates.write(t, of_gates), all_shown.write(t, of_shown), all_cells.write(t, of_cell))
            return t - 1, of_next, of_cell * keep_at.read(t), *written

        arrays = (_empty(steps, width, dtype) for width in (3 * units, units, units))
        start = (steps - 1, nothing, nothing, *arrays)
        _, _, _, *arrays = tf.while_loop(lambda t, *_: t >= 0, backward, start, maximum_iterations=steps)
        of_gates, of_shown, of_cell = (array.concat() for array in arrays)
        of_others = tf.concat([of_shown, tf.concat([of_cell, of_cell], 1) * times_slope], 1)
        of_recurrent = [tf.matmul(before, of, transpose_a=True) for of in (of_gates, of_shown)]
        return _timed(of_gates, steps), _timed(of_others, steps), tf.concat(of_recurrent, 1)

    return outputs, gradient


def _steps(array: Any) -> Any:
    return tf.TensorArray(array.dtype, tf.shape(array)[0], element_shape=(None, array.shape[-1])).unstack(array)


def _empty(steps: Any, width: int, dtype: Any) -> Any:
    return tf.TensorArray(dtype, steps, element_shape=(None, width))


def _timed(flat: Any, steps: Any) -> Any:
    """Returns (N, width) as (T, B, width)."""
    return tf.reshape(flat, (steps, tf.shape(flat)[0] // steps, flat.shape[-1]))


def _shifted(states: Any) -> Any:
    """Returns (N, H) states one event earlier: zeros, then all but the last."""
    return tf.reshape(tf.concat([tf.zeros_like(states[:1]), states[:-1]], 0), (-1, states.shape[-1]))
