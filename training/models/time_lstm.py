"""The time-aware LSTM of SLi-Rec (paper, section 4.2; recommenders' `Time4LSTMCell`)."""

from typing import Any

import keras
import tensorflow as tf

from training.models.time_lstm_scan import TIMES, scan

ops: Any = keras.ops  # Keras ships no usable types for its operations
_PARTS = 2  # of a batch in training, run side by side; each costs the loop's overhead once more


@keras.saving.register_keras_serializable("slirec")
class TimeLSTMStep(keras.layers.Layer):
    """The part of the cell that needs the previous state; everything else is computed before the loop.

    Reads pre-computed columns (B, 6H): input, candidate, forget and output pre-activations without the recurrent
    product, then the two time gates.
    """

    def __init__(self, units: int, initializer: Any = "truncated_normal", **kwargs: Any):
        super().__init__(**kwargs)
        self.units = units
        self.initializer = keras.initializers.get(initializer)
        self.state_size = (units, units)
        self.output_size = units

    def build(self, input_shape: Any) -> None:
        """Creates the recurrent kernel (H, 4H)."""
        start = self.initializer
        self.recurrent_kernel = self.add_weight(
            shape=(self.units, 4 * self.units), initializer=start, name="recurrent_kernel"
        )
        self.built = True

    def call(self, inputs: Any, states: Any, training: bool = False) -> tuple[Any, list[Any]]:
        """One event: (B, 6H) and [output (B, H), cell (B, H)] -> the next of both."""
        output, cell = states
        gates, time_now, time_last = ops.split(inputs, (4 * self.units, 5 * self.units), axis=1)
        gates = gates + ops.matmul(output, ops.cast(self.recurrent_kernel, output.dtype))
        entered, candidate, forget, shown = ops.split(gates, 4, axis=1)
        cell = ops.sigmoid(forget) * time_last * cell + ops.sigmoid(entered) * time_now * ops.tanh(candidate)
        output = ops.sigmoid(shown) * ops.tanh(cell)
        return output, [output, cell]

    def get_initial_state(self, batch_size: Any = None) -> list[Any]:
        """Returns zeros for output and cell."""
        return [ops.zeros((batch_size, self.units), self.compute_dtype) for _ in range(2)]

    def get_config(self) -> dict[str, Any]:
        """Returns the constructor's arguments."""
        config = {"units": self.units, "initializer": keras.initializers.serialize(self.initializer)}
        return {**super().get_config(), **config}


@keras.saving.register_keras_serializable("slirec")
class TimeLSTM(keras.layers.Layer):
    """LSTM whose write and forget gates also depend on time.

    With x the event's item embedding, a = time to now and b = time from the first event (both log days):

        n = tanh(a * w1 + b1),  l = tanh(b * w2 + b2)
        T_now = sigmoid(x K1 + n R1 + c1),  T_last = sigmoid(x K2 + l R2 + c2)
        cell = sigmoid(f + 1) T_last cell + sigmoid(i) T_now tanh(j);  the output gate also reads n and l.

    Outside training all products with x, n and l are done for the whole (B * T) at once, and the loop multiplies the
    state only; in training `scan` does everything of an event in one go.
    """

    def __init__(self, units: int, initializer: Any = "truncated_normal", **kwargs: Any):
        super().__init__(**kwargs)
        self.units = units
        self.initializer = keras.initializers.get(initializer)
        self.loop = keras.layers.RNN(TimeLSTMStep(units, initializer, name="step"), return_sequences=True, name="loop")

    def build(self, input_shape: Any) -> None:
        """Creates the weights for events of width `input_shape[-1]`."""
        width, units = input_shape[-1], self.units
        start = self.initializer

        def weight(name: str, *shape: int, initializer: Any = start) -> Any:
            return self.add_weight(shape=shape, initializer=initializer, name=name)

        self.kernel = weight("kernel", width, 4 * units)
        self.bias = weight("bias", 4 * units, initializer="zeros")
        for side in ("now", "last"):
            setattr(self, f"{side}_input_weight", weight(f"{side}_input_weight", units))
            setattr(self, f"{side}_input_bias", weight(f"{side}_input_bias", units))
            setattr(self, f"{side}_kernel", weight(f"{side}_kernel", width, units))
            setattr(self, f"{side}_time_kernel", weight(f"{side}_time_kernel", units, units))
            setattr(self, f"{side}_bias", weight(f"{side}_bias", units))
            setattr(self, f"{side}_output_kernel", weight(f"{side}_output_kernel", units, units))
        self.loop.build((None, None, 6 * units))
        self.built = True

    def _time_side(self, side: str, events: Any, time: Any) -> tuple[Any, Any]:
        """Returns one time gate (N, H) and its addition to the output gate (N, H)."""
        dtype = events.dtype

        def weight(name: str) -> Any:
            return ops.cast(getattr(self, f"{side}_{name}"), dtype)

        read = ops.tanh(time * weight("input_weight") + weight("input_bias"))
        gate = ops.matmul(events, weight("kernel")) + ops.matmul(read, weight("time_kernel")) + weight("bias")
        return ops.sigmoid(gate), ops.matmul(read, weight("output_kernel"))

    def call(self, events: Any, time_from_first: Any, time_to_now: Any, training: bool = False) -> Any:
        """Runs over the history.

        Args:
            events: (B, T, width) item embeddings.
            time_from_first: (B, T), from `TimeFeatures`.
            time_to_now: (B, T), from `TimeFeatures`.
            training: Whether gradients will be wanted: the same numbers then come from `scan`, whose own are fast.

        Returns:
            (B, T, H) outputs; those after a history's end are not meant to be read.
        """
        if training:
            return self._call_by_scan(events, time_from_first, time_to_now)
        batch, columns = ops.shape(events)[0], ops.shape(events)[1]
        flat = ops.reshape(events, (-1, events.shape[-1]))
        dtype = flat.dtype
        now_gate, now_shown = self._time_side("now", flat, ops.cast(ops.reshape(time_to_now, (-1, 1)), dtype))
        last_gate, last_shown = self._time_side("last", flat, ops.cast(ops.reshape(time_from_first, (-1, 1)), dtype))
        gates = ops.matmul(flat, ops.cast(self.kernel, dtype)) + ops.cast(self.bias, dtype)
        entered, candidate, forget, shown = ops.split(gates, 4, axis=1)
        parts = [entered, candidate, forget + 1.0, shown + now_shown + last_shown, now_gate, last_gate]
        columns_of_gates = ops.reshape(ops.concatenate(parts, axis=1), (batch, columns, 6 * self.units))
        return self.loop(columns_of_gates)

    def _call_by_scan(self, events: Any, time_from_first: Any, time_to_now: Any) -> Any:
        """Runs equal parts of the shoppers side by side: a loop of small operations keeps one core busy, not several.

        `scan` wants shoppers as columns, best a multiple of 16; shoppers of zeros fill the parts and are cut off again.
        """
        rows, columns, units = tf.shape(events)[0], tf.shape(events)[1], self.units
        each = (rows + 16 * _PARTS - 1) // (16 * _PARTS) * 16  # shoppers of a part
        one = tf.ones_like(events[:, :, :1])  # for the biases
        now, first = (tf.cast(time, events.dtype)[:, :, None] for time in (time_to_now, time_from_first))
        inputs: Any = tf.concat([events, one, now, first, one], 2)
        height: int = inputs.shape[-1]
        inputs = tf.pad(tf.reshape(inputs, (rows, columns * height)), tf.stack([[0, _PARTS * each - rows], [0, 0]]))
        weights = self._weights_for_scan(events.dtype)

        def outputs(part: Any) -> Any:
            shown = scan(tf.reshape(tf.transpose(part), (columns, height, each)), *weights)
            return tf.transpose(tf.reshape(shown, (columns * units, each)))

        together = tf.concat([outputs(part) for part in tf.split(inputs, _PARTS)], 0)
        return tf.reshape(tf.slice(together, (0, 0), (rows, -1)), (rows, columns, units))

    def _weights_for_scan(self, dtype: Any) -> tuple[Any, ...]:
        """Returns the weights as `scan` names them."""

        def values(*names: str) -> list[Any]:
            return [tf.cast(tf.convert_to_tensor(getattr(self, name)), dtype) for name in names]

        now_weight, last_weight, *input_bias = values(*_sides("input_weight"), *_sides("input_bias"))
        nothing = tf.zeros_like(now_weight)
        read_weight = tf.concat([now_weight, nothing, nothing, last_weight, *input_bias], 0)
        kernel, bias, recurrent = (_gates_for_scan(weight) for weight in values("kernel", "bias", "recurrent_kernel"))
        bias += tf.repeat(tf.constant([0.0, 0.0, 1.0, 0.0], dtype), self.units)  # the forget gate's f + 1
        kernel = tf.concat([kernel, *values(*_sides("kernel"))], 1)
        bias = tf.concat([bias, *values(*_sides("bias"))], 0)
        now_shown, last_shown, now_time, last_time = values(*_sides("output_kernel"), *_sides("time_kernel"))
        now, last = tf.concat([now_shown, now_time], 1), tf.concat([last_time, last_shown], 1)
        return tf.reshape(read_weight, (TIMES, -1)), recurrent, tf.concat([kernel, bias[None]], 0), now, last

    @property
    def recurrent_kernel(self) -> Any:
        """The recurrent kernel (H, 4H), which the loop's cell holds."""
        return self.loop.cell.recurrent_kernel

    def get_config(self) -> dict[str, Any]:
        """Returns the constructor's arguments."""
        config = {"units": self.units, "initializer": keras.initializers.serialize(self.initializer)}
        return {**super().get_config(), **config}


def _sides(name: str) -> tuple[str, str]:
    return f"now_{name}", f"last_{name}"


def _gates_for_scan(weight: Any) -> Any:
    """Returns a weight (..., 4H) with its columns for input and candidate exchanged: the order that `scan` reads."""
    entered, candidate, forget, shown = tf.split(weight, 4, axis=-1)
    return tf.concat([candidate, entered, forget, shown], -1)
