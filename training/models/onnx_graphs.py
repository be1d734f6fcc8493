"""The network's two halves as ONNX graphs: `encode` (history -> state) and `score` (state x candidates -> logits)."""

from collections.abc import Callable
from typing import Any

import onnx
import tensorflow as tf
import tf2onnx

from training.models.slirec import HISTORY_INPUTS, STATE_OUTPUTS, SliRec

OPSET = 17  # ONNX Runtime 1.14 and later read it


def export_graphs(model: SliRec) -> dict[str, onnx.ModelProto]:
    """Converts the network, in inference mode.

    The time features are part of `encode`, so a server passes raw timestamps.

    Args:
        model: The network, in float32.

    Returns:
        "encode" and "score"; inputs and outputs carry the names of `HISTORY_INPUTS`, `STATE_OUTPUTS`, "candidates" and
        "scores"; shoppers, events and candidates are free dimensions.
    """
    width, units = model.config.embedding_dim, model.config.hidden_size
    first = model.config.att_fcn_layer_sizes[0]
    history = {
        "items": tf.TensorSpec((None, None), tf.int32, "items"),
        "timestamps": tf.TensorSpec((None, None), tf.int64, "timestamps"),
        "length": tf.TensorSpec((None,), tf.int32, "length"),
        "first_timestamp": tf.TensorSpec((None,), tf.int64, "first_timestamp"),
        "now": tf.TensorSpec((None,), tf.int64, "now"),
    }
    shapes = {
        "long_term": (None, width),
        "hidden": (None, None, units),
        "keys": (None, None, width),
        "key_part": (None, None, first),
        "mask": (None, None),
        "last_time": (None, 1),
    }
    state = {name: tf.TensorSpec(shapes[name], tf.float32, name) for name in STATE_OUTPUTS}

    def encode(*inputs: Any) -> dict[str, Any]:
        return model.encode(dict(zip(HISTORY_INPUTS, inputs, strict=True)))

    def score(*inputs: Any) -> dict[str, Any]:
        return {"scores": model.score(dict(zip(STATE_OUTPUTS, inputs[:-1], strict=True)), inputs[-1])}

    candidates = tf.TensorSpec((None, None), tf.int32, "candidates")
    return {
        "encode": _convert(encode, [history[name] for name in HISTORY_INPUTS]),
        "score": _convert(score, [*(state[name] for name in STATE_OUTPUTS), candidates]),
    }


def _convert(function: Callable[..., dict[str, Any]], signature: list[tf.TensorSpec]) -> onnx.ModelProto:
    graph, _ = tf2onnx.convert.from_function(tf.function(function), input_signature=signature, opset=OPSET)
    onnx.checker.check_model(graph)
    return graph
