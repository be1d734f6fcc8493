"""The network as ONNX graphs, cut where the work of serving is done at different times.

`candidates` (items -> candidate tensors) runs once for a catalogue, `encode` (history -> shopper state) once for a
shopper, `score` (one shopper's state x candidates -> logits) for every pair. `approximate` and `sketch` are `score`
with its costly parts replaced by a linear map of the candidate that serving fits to the shopper: the former gets
short-term taste (attention over events) from it, the latter taste itself (attention and gate).

What is constant in inference is multiplied out before: batch normalisation into the dense layers, and the first
attention layer on [k, q, k - q, k * q] into one matrix for each event,

    first layer (event k, candidate q) = q (diag(k) W_product + W_query - W_difference) + k (W_key + W_difference) + b,

so that a candidate meets all events in one matrix product and no product of pairs is ever laid out.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
import onnx
import tensorflow as tf
import tf2onnx
from numpy.typing import NDArray

from training.models.dense import EPSILON
from training.models.graph_builder import GraphBuilder
from training.models.slirec import HISTORY_INPUTS, SliRec

OPSET = 17  # ONNX Runtime 1.14 and later read it
STATE = ("attention_kernel", "attention_bias", "hidden", "long_term", "shopper_gate")
CANDIDATE = ("candidate", "candidate_gate", "candidate_prediction")

Layer = tuple[NDArray[np.float32], NDArray[np.float32], str]  # kernel, bias, activation


def export_graphs(model: SliRec) -> dict[str, onnx.ModelProto]:
    """Converts the network, in inference mode.

    The time features are part of `encode`, so a server passes raw timestamps. All histories of one call of `encode`
    have the same length; B shoppers, C candidates, T events, D and H as in `training.models.layers`, F, G and P: the
    first hidden layers of attention, gate and prediction.

    Args:
        model: The network, in float32.

    Returns:
        encode: `HISTORY_INPUTS` -> `STATE`: attention_kernel (B, D, T, F), attention_bias (B, T F), hidden (B, T, H),
            long_term (B, D), shopper_gate (B, G).
        candidates: items (C,) -> `CANDIDATE`: candidate (C, D), candidate_gate (C, G), candidate_prediction (C, P).
        score: state of one shopper, without the axis B, and candidate tensors -> scores (C,), short_term (C, H),
            taste (C, H).
        approximate: slope (D, H), offset (H,), long_term, shopper_gate and candidate tensors -> scores (C,).
        sketch: slope (D, H), offset (H,), candidate -> scores (C,).
    """
    attention, gate = folded_layers(model.target_attention.network), folded_layers(model.fusion)
    prediction = folded_layers(model.prediction)
    return {
        "encode": _encode_graph(model, attention[0], gate[0]),
        "candidates": _candidates_graph(model, gate[0], prediction[0]),
        "score": _score_graph(model, attention, gate, prediction),
        "approximate": _approximate_graph(model, gate, prediction),
        "sketch": _sketch_graph(model, prediction),
    }


def folded_layers(network: Any) -> list[Layer]:
    """Returns the layers of a `FullyConnected` with batch normalisation multiplied into kernel and bias."""
    layers: list[Layer] = []
    for i, dense in enumerate(network.dense):
        kernel, bias = np.asarray(dense.kernel, np.float64), np.asarray(dense.bias, np.float64)
        if network.enable_BN:
            norm = network.norms[i]
            scale = np.asarray(norm.gamma, np.float64) / np.sqrt(np.asarray(norm.moving_variance) + EPSILON)
            kernel, bias = kernel * scale, (bias - np.asarray(norm.moving_mean)) * scale + np.asarray(norm.beta)
        layers.append((kernel.astype(np.float32), bias.astype(np.float32), network.activation[i]))
    output = network.output_layer
    return [*layers, (np.asarray(output.kernel, np.float32), np.asarray(output.bias, np.float32), "identity")]


def _encode_graph(model: SliRec, attention: Layer, gate: Layer) -> onnx.ModelProto:
    width, first = model.config.embedding_dim, model.config.att_fcn_layer_sizes[0]
    kernel, bias, _ = attention
    of_key, of_query, of_difference, of_product = np.split(kernel, 4)  # (D, F) each
    _, of_long_term, _, of_time = _gate_parts(gate, width)

    def encode(*inputs: Any) -> dict[str, Any]:
        history: dict[str, Any] = dict(zip(HISTORY_INPUTS, inputs, strict=True))
        state = model.encode(history)
        # What recommenders' checkpoints need padded is read by now; nothing after the last event is attended to.
        hidden = state["hidden"][:, : tf.reduce_max(history["length"])]  # (B, T, H)
        batch, events = tf.shape(hidden)[0], tf.shape(hidden)[1]
        flat = tf.reshape(hidden, (-1, width))
        keys: Any = tf.matmul(flat, tf.convert_to_tensor(model.target_attention.attention_mat))  # (B T, D)
        # diag(k) W_product + W_query - W_difference of each event as a product of (T, 2) and (2, F) for each of D.
        by_event = tf.transpose(tf.reshape(keys, (batch, events, width)), (0, 2, 1))  # (B, D, T)
        with_one = tf.stack([by_event, tf.ones_like(by_event)], axis=3)
        kernels = tf.matmul(with_one, np.stack([of_product, of_query - of_difference], axis=1))  # (B, D, T, F)
        long_term = state["long_term"]
        return {
            "attention_kernel": kernels,
            "attention_bias": tf.reshape(tf.matmul(keys, of_key + of_difference) + bias, (batch, events * first)),
            "hidden": hidden,
            "long_term": long_term,
            "shopper_gate": tf.matmul(long_term, of_long_term) + state["last_time"] * of_time + gate[1],
        }

    specifications = {
        "items": tf.TensorSpec((None, None), tf.int32, "items"),
        "timestamps": tf.TensorSpec((None, None), tf.int64, "timestamps"),
        "length": tf.TensorSpec((None,), tf.int32, "length"),
        "first_timestamp": tf.TensorSpec((None,), tf.int64, "first_timestamp"),
        "now": tf.TensorSpec((None,), tf.int64, "now"),
    }
    return _convert(encode, [specifications[name] for name in HISTORY_INPUTS])


def _candidates_graph(model: SliRec, gate: Layer, prediction: Layer) -> onnx.ModelProto:
    width = model.config.embedding_dim
    of_candidate = _gate_parts(gate, width)[0]
    graph = GraphBuilder("candidates", OPSET)
    items = graph.input("items", ["C"], onnx.TensorProto.INT32)
    category = graph.node("Gather", graph.constant(np.asarray(model.item_category, np.int32)), items)
    parts = [
        graph.node("Gather", graph.constant(np.asarray(table.embeddings, np.float32)), ids)
        for table, ids in ((model.item_embedding, items), (model.cate_embedding, category))
    ]
    candidate = graph.output("candidate", ["C", width], graph.node("Concat", *parts, axis=1))
    graph.output("candidate_gate", ["C", len(gate[1])], graph.node("MatMul", candidate, graph.constant(of_candidate)))
    # Its input is [taste, candidate].
    kernel, bias = graph.constant(prediction[0][width:]), graph.constant(prediction[1])
    graph.output("candidate_prediction", ["C", len(prediction[1])], graph.node("Gemm", candidate, kernel, bias))
    return graph.model()


def _score_graph(model: SliRec, attention: list[Layer], gate: list[Layer], prediction: list[Layer]) -> onnx.ModelProto:
    width, first = model.config.embedding_dim, model.config.att_fcn_layer_sizes[0]
    graph = GraphBuilder("score", OPSET)
    kernel, bias = graph.input("attention_kernel", [width, "T", first]), graph.input("attention_bias", ["TF"])
    hidden = graph.input("hidden", ["T", width])
    shopper = [graph.input("long_term", [width]), graph.input("shopper_gate", [len(gate[0][1])])]
    candidate = _candidate_inputs(graph, model, gate[0], prediction[0])
    kernel = graph.node("Reshape", kernel, graph.constant(np.array([width, -1], np.int64)))  # (D, T F)
    pairs = graph.activation(graph.node("Gemm", candidate[0], kernel, bias), attention[0][2])  # (C, T F)
    pairs = graph.node("Reshape", pairs, graph.constant(np.array([-1, first], np.int64)))  # (C T, F)
    logits = graph.dense(pairs, attention[1:])  # (C T, 1)
    events = graph.node("Shape", hidden, start=0, end=1)
    shape = graph.node("Concat", graph.constant(np.array([-1], np.int64)), events, axis=0)
    weights = graph.node("Softmax", graph.node("Reshape", logits, shape), axis=1)  # (C, T)
    short_term = graph.output("short_term", ["C", width], graph.node("MatMul", weights, hidden))
    taste = graph.output("taste", ["C", width], _taste(graph, short_term, shopper, candidate, gate))
    _predict(graph, taste, candidate, prediction)
    return graph.model()


def _approximate_graph(model: SliRec, gate: list[Layer], prediction: list[Layer]) -> onnx.ModelProto:
    width = model.config.embedding_dim
    graph = GraphBuilder("approximate", OPSET)
    slope, offset = graph.input("slope", [width, width]), graph.input("offset", [width])
    shopper = [graph.input("long_term", [width]), graph.input("shopper_gate", [len(gate[0][1])])]
    candidate = _candidate_inputs(graph, model, gate[0], prediction[0])
    short_term = graph.node("Gemm", candidate[0], slope, offset)
    _predict(graph, _taste(graph, short_term, shopper, candidate, gate), candidate, prediction)
    return graph.model()


def _sketch_graph(model: SliRec, prediction: list[Layer]) -> onnx.ModelProto:
    width = model.config.embedding_dim
    graph = GraphBuilder("sketch", OPSET)
    slope, offset = graph.input("slope", [width, width]), graph.input("offset", [width])
    candidate = graph.input("candidate", ["C", width])
    kernel, bias, activation = prediction[0]
    of_taste = graph.constant(kernel[:width])
    # taste = candidate @ slope + offset, so the first layer on [taste, candidate] is one of the candidate alone.
    mapped = graph.node("Gemm", slope, of_taste, graph.constant(kernel[width:]))  # (D, P)
    shift = graph.node("Add", graph.node("MatMul", offset, of_taste), graph.constant(bias))  # (P,)
    first = graph.activation(graph.node("Gemm", candidate, mapped, shift), activation)
    _scores(graph, graph.dense(first, prediction[1:]))
    return graph.model()


def _candidate_inputs(graph: GraphBuilder, model: SliRec, gate: Layer, prediction: Layer) -> list[str]:
    widths = (model.config.embedding_dim, len(gate[1]), len(prediction[1]))
    return [graph.input(name, ["C", width]) for name, width in zip(CANDIDATE, widths, strict=True)]


def _taste(graph: GraphBuilder, short_term: str, shopper: list[str], candidate: list[str], gate: list[Layer]) -> str:
    """Adds the fusion of long- and short-term taste (paper, section 4.4): (C, H), from short-term taste (C, H)."""
    long_term, shopper_gate = shopper
    of_short_term = graph.constant(_gate_parts(gate[0], gate[0][0].shape[0] // 3)[2])
    fused = graph.node("Add", graph.node("Gemm", short_term, of_short_term, shopper_gate), candidate[1])
    share = graph.node("Sigmoid", graph.dense(graph.activation(fused, gate[0][2]), gate[1:]))  # (C, 1), of long_term
    difference = graph.node("Sub", long_term, short_term)
    return graph.node("Add", graph.node("Mul", share, difference), short_term)


def _predict(graph: GraphBuilder, taste: str, candidate: list[str], prediction: list[Layer]) -> None:
    """Adds the prediction network, from taste (C, H) to the output scores (C,)."""
    kernel, bias = prediction[0][0], candidate[2]
    first = graph.node("Gemm", taste, graph.constant(kernel[: len(kernel) // 2]), bias)
    _scores(graph, graph.dense(graph.activation(first, prediction[0][2]), prediction[1:]))


def _scores(graph: GraphBuilder, logits: str) -> None:
    graph.output("scores", ["C"], graph.node("Reshape", logits, graph.constant(np.array([-1], np.int64))))


def _gate_parts(gate: Layer, width: int) -> list[NDArray[np.float32]]:
    """Returns the gate's first kernel as parts for candidate, long-term taste, short-term taste and time."""
    return np.split(gate[0], [width, 2 * width, 3 * width])


def _convert(function: Callable[..., dict[str, Any]], signature: list[tf.TensorSpec]) -> onnx.ModelProto:
    graph, _ = tf2onnx.convert.from_function(tf.function(function), input_signature=signature, opset=OPSET)
    onnx.checker.check_model(graph)
    return graph
