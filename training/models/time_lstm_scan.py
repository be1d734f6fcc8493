"""The recurrence of the time-aware LSTM with a hand-written gradient.

Automatic differentiation of a loop stores and adds up something for every operation of every step. Here the forward
loop keeps its gates, and the backward loop computes one event's gradient from them.

What is to be paid for are the products, so all else is kept small. An event is done in one go while its numbers are in
the processor's cache, instead of every operation for all events in turn. Shoppers are the columns of each matrix, since
rows can be taken out of it without a copy (if the shoppers are a multiple of 16, for alignment), and so each product
reads just the rows that it needs: none multiplies blocks of zeros.

Shapes: T events, B shoppers, H units, W width of an event with a one for the biases.
"""

from typing import Any

import tensorflow as tf

TIMES = 3  # rows of an event for its times: to now, from the first event, and a one for their biases
_of_sigmoid, _of_tanh = tf.raw_ops.SigmoidGrad, tf.raw_ops.TanhGrad


@tf.custom_gradient
def scan(events: Any, read_weight: Any, recurrent: Any, kernel: Any, now_weight: Any, last_weight: Any) -> Any:
    """Runs the cell over all events.

    For one shopper, whose numbers are a row here:

        [x, times] = events[t];  [a, b] = tanh(times read_weight)
        [j, i, f, o, n, l] = [output recurrent, 0, 0] + x kernel;  [o, n] += a now_weight;  [l, o] += b last_weight
        cell = sigmoid(f) sigmoid(l) cell + sigmoid(i) sigmoid(n) tanh(j);  output = sigmoid(o) tanh(cell)

    Args:
        events: (T, W + 3, B) events, the last of whose W rows is one, then their times (see `TIMES`).
        read_weight: (3, 2H) from the times to what is read of each.
        recurrent: (H, 4H) to candidate, input gate, forget gate and output gate.
        kernel: (W, 6H) to the same and to the gates of time on what is written and on what is kept.
        now_weight: (H, 2H) from what is read of the time to now, to the output gate and the first gate of time.
        last_weight: (H, 2H) from what is read of the other time, to the second gate of time and the output gate.

    Returns:
        (T, H, B) outputs.
    """
    steps, rows, dtype = tf.shape(events)[0], tf.shape(events)[2], events.dtype
    units, width = recurrent.shape[0], kernel.shape[0]
    nothing = tf.zeros((units, rows), dtype)
    # To each gate from the rows that it reads, which stand side by side in [output, x, a, b, x].
    to_cell = tf.concat([recurrent[:, : 3 * units], kernel[:, : 3 * units]], 0)
    shown_weights = recurrent[:, 3 * units :], kernel[:, 3 * units : 4 * units], now_weight[:, :units]
    to_shown = tf.concat([*shown_weights, last_weight[:, units:]], 0)
    to_now = tf.concat([kernel[:, 4 * units : 5 * units], now_weight[:, units:]], 0)
    to_last = tf.concat([last_weight[:, :units], kernel[:, 5 * units :]], 0)

    def forward(t: Any, output: Any, cell: Any, *kept: Any) -> Any:
        event, times = tf.split(events[t], [width, TIMES])
        read = tf.tanh(tf.matmul(read_weight, times, transpose_a=True))
        inputs = tf.concat([output, event, read, event], 0)

        def gate(weight: Any, start: int) -> Any:
            return tf.matmul(weight, _rows(inputs, start, weight.shape[0]), transpose_a=True)

        candidate, write_keep = tf.split(gate(to_cell, 0), [units, 2 * units])
        candidate, write_keep, shown = tf.tanh(candidate), tf.sigmoid(write_keep), tf.sigmoid(gate(to_shown, 0))
        now, last = tf.sigmoid(gate(to_now, units)), tf.sigmoid(gate(to_last, width + 2 * units))
        write, keep = tf.split(write_keep, 2)
        next_cell = write * now * candidate + keep * last * cell
        next_output = shown * tf.tanh(next_cell)
        values = (next_output, output, cell, candidate, write_keep, now, last, shown, read)
        written = (array.write(t, value) for array, value in zip(kept, values, strict=True))
        return t + 1, next_output, next_cell, *written

    widths = (units, units, units, units, 2 * units, units, units, units, 2 * units)
    start = (0, nothing, nothing, *(_empty(steps, width, dtype) for width in widths))
    _, _, last_cell, *kept = tf.while_loop(lambda t, *_: t < steps, forward, start)
    outputs = kept[0].stack()

    def gradient(upstream: Any) -> Any:
        weights = (read_weight, recurrent, kernel, now_weight, last_weight)

        def backward(
            t: Any, next_cell: Any, of_output: Any, of_cell: Any, of_weights: Any, of_events: Any
        ) -> tuple[Any, ...]:
            output, cell, candidate, write_keep, now, last, shown, read = (array.read(t) for array in kept[1:])
            seen = tf.tanh(next_cell)
            event, times = tf.split(events[t], [width, TIMES])
            (write, keep), (read_now, read_last) = tf.split(write_keep, 2), tf.split(read, 2)
            of_output = upstream[t] + of_output
            of_cell = of_cell + _of_tanh(y=seen, dy=of_output * shown)
            of_shown = _of_sigmoid(y=shown, dy=of_output * seen)
            of_candidate = _of_tanh(y=candidate, dy=of_cell * (write * now))
            of_written, of_kept = of_cell * candidate, of_cell * cell
            of_write, of_now = _of_sigmoid(y=write, dy=of_written * now), _of_sigmoid(y=now, dy=of_written * write)
            of_keep, of_last = _of_sigmoid(y=keep, dy=of_kept * last), _of_sigmoid(y=last, dy=of_kept * keep)
            # The output gate stands in here twice: then the gates that each weight leads to are side by side.
            of_gates = tf.concat([of_candidate, of_write, of_keep, of_shown, of_now, of_last, of_shown], 0)
            by_output, by_event = _rows(of_gates, 0, 4 * units), _rows(of_gates, 0, 6 * units)
            by_now, by_last = _rows(of_gates, 3 * units, 2 * units), _rows(of_gates, 5 * units, 2 * units)
            of_read = tf.concat([tf.matmul(now_weight, by_now), tf.matmul(last_weight, by_last)], 0)
            of_read = _of_tanh(y=read, dy=of_read)
            added = (
                tf.matmul(times, of_read, transpose_b=True),
                tf.matmul(output, by_output, transpose_b=True),
                tf.matmul(event, by_event, transpose_b=True),
                tf.matmul(read_now, by_now, transpose_b=True),
                tf.matmul(read_last, by_last, transpose_b=True),
            )  # summed in float32, for the events can be many
            of_weights = tuple(total + tf.cast(part, tf.float32) for total, part in zip(of_weights, added, strict=True))
            of_event = tf.concat([tf.matmul(kernel, by_event), tf.matmul(read_weight, of_read)], 0)
            of_output = tf.matmul(recurrent, by_output)
            return t - 1, cell, of_output, of_cell * (keep * last), of_weights, of_events.write(t, of_event)

        zeros = tuple(tf.zeros(weight.shape) for weight in weights)
        start = (steps - 1, last_cell, nothing, nothing, zeros, _empty(steps, width + TIMES, dtype))
        *_, of_weights, of_events = tf.while_loop(lambda t, *_: t >= 0, backward, start)
        return of_events.stack(), *(tf.cast(total, dtype) for total in of_weights)

    return outputs, gradient


def _rows(array: Any, start: int, count: int) -> Any:
    return tf.slice(array, (start, 0), (count, -1))


def _empty(steps: Any, width: int, dtype: Any) -> Any:
    return tf.TensorArray(dtype, steps, element_shape=(width, None))
