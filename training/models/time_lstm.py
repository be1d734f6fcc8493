"""The time-aware LSTM of SLi-Rec (paper, section 4.2; recommenders' `Time4LSTMCell`)."""

from typing import Any

import keras

ops: Any = keras.ops  # Keras ships no usable types for its operations


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

    All products with x, n and l are done for the whole (B * T) at once; the loop multiplies the state only.
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

    def call(self, events: Any, time_from_first: Any, time_to_now: Any) -> Any:
        """Runs over the history.

        Args:
            events: (B, T, width) item embeddings.
            time_from_first: (B, T), from `TimeFeatures`.
            time_to_now: (B, T), from `TimeFeatures`.

        Returns:
            (B, T, H) outputs; those after a history's end are not meant to be read.
        """
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

    def get_config(self) -> dict[str, Any]:
        """Returns the constructor's arguments."""
        config = {"units": self.units, "initializer": keras.initializers.serialize(self.initializer)}
        return {**super().get_config(), **config}
