"""The network as ONNX graphs, cut where the work of serving is done at different times.

`candidates` (items -> candidate tensors) runs once for a catalogue, `encode` (history -> shopper state) once for a
shopper, `score` (one shopper's state x candidates -> logits) for every pair. `approximate` is `score` with its costly
part, short-term taste (attention over events), replaced by a linear map of `features` of the candidate that serving
fits to the shopper; in `sketch`, so are the layers after the first ones.

What is constant in inference is multiplied out before: batch normalisation into the dense layers, and the first
attention layer on [k, q, k - q, k * q] into one matrix for each event,

    first layer (event k, candidate q) = q (diag(k) W_product + W_query - W_difference) + k (W_key + W_difference) + b,

so that a candidate meets all events in one matrix product and no product of pairs is ever laid out.
"""

from typing import Any

import numpy as np
import onnx

from training.models.dense import EPSILON
from training.models.graph_builder import GraphBuilder, Layer
from training.models.onnx_encode import USER_STATE, embed, encode_graph, gate_parts
from training.models.slirec import SliRec

STATE = ("attention_kernel", "attention_bias", "hidden", "long_term", "shopper_gate")
CANDIDATE = ("candidate", "candidate_gate", "candidate_prediction")


def export_graphs(model: SliRec) -> dict[str, onnx.ModelProto]:
    """Converts the network, in inference mode.

    The time features are part of `encode`, so a server passes raw timestamps. All histories of one call of `encode`
    have the same length; B shoppers, C candidates, T events, D and H as in `training.models.layers`, F, G and P: the
    first hidden layers of attention, gate and prediction.

    Args:
        model: The network, in float32.

    Returns:
        encode: `HISTORY_INPUTS` -> `STATE`: attention_kernel (B, D, T, F), attention_bias (B, T F), hidden (B, T, H),
            long_term (B, D), shopper_gate (B, G); with custom features of users also shopper_prediction (B, P).
            Custom features of events and users are inputs beside `HISTORY_INPUTS`, see `SliRec.history_inputs`.
        candidates: items (C,) -> `CANDIDATE`: candidate (C, D), candidate_gate (C, G), candidate_prediction (C, P).
        score: state of one shopper, without the axis B, and candidate tensors -> scores (C,), short_term (C, H).
        features: candidate tensors -> features (C, D + G + P), the first D of them the candidate's vector.
        approximate: slope (D + G + P, R), offset (R,), basis (R, H), long_term, shopper_gate, shopper_prediction where
            there is one, and candidate tensors -> scores (C,), with short-term taste = (features slope + offset) basis,
            where the last column of slope is 0 and the last of offset 1; also gate_readings (C, G) and score_readings
            (C, P), the first layers of gate and prediction, and the gate's logits gate (C,).
        sketch: as `approximate`, and gate_slope (1, G), gate_offset (1,), score_slope (1, P), score_offset (1,) for a
            linear map of the first layers in place of the layers after them -> scores (C,).
    """
    attention, gate = folded_layers(model.target_attention.network), folded_layers(model.fusion)
    prediction = folded_layers(model.prediction)
    return {
        "encode": encode_graph(model, attention[0], gate[0], prediction[0]),
        "candidates": _candidates_graph(model, gate[0], prediction[0]),
        "score": _score_graph(model, attention, gate, prediction),
        "features": _features_graph(model, gate[0], prediction[0]),
        "approximate": _approximate_graph(model, gate, prediction, read_out=False),
        "sketch": _approximate_graph(model, gate, prediction, read_out=True),
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


def _candidates_graph(model: SliRec, gate: Layer, prediction: Layer) -> onnx.ModelProto:
    width = model.width
    of_candidate = gate_parts(gate, width)[0]
    graph = GraphBuilder("candidates")
    items = graph.input("items", ["C"], onnx.TensorProto.INT32)
    candidate = graph.output("candidate", ["C", width], embed(graph, model, items)[1])
    graph.output("candidate_gate", ["C", len(gate[1])], graph.node("MatMul", candidate, graph.constant(of_candidate)))
    # Its input is [taste, candidate].
    kernel, bias = graph.constant(prediction[0][width : 2 * width]), graph.constant(prediction[1])
    graph.output("candidate_prediction", ["C", len(prediction[1])], graph.node("Gemm", candidate, kernel, bias))
    return graph.model()


def _score_graph(model: SliRec, attention: list[Layer], gate: list[Layer], prediction: list[Layer]) -> onnx.ModelProto:
    width, first = model.width, model.config.att_fcn_layer_sizes[0]
    graph = GraphBuilder("score")
    kernel, bias = graph.input("attention_kernel", [width, "T", first]), graph.input("attention_bias", ["TF"])
    hidden = graph.input("hidden", ["T", width])
    long_term, shopper_gate = graph.input("long_term", [width]), graph.input("shopper_gate", [len(gate[0][1])])
    candidate = _candidate_inputs(graph, model, gate[0], prediction[0])
    kernel = graph.node("Reshape", kernel, graph.constant(np.array([width, -1], np.int64)))  # (D, T F)
    pairs = graph.activation(graph.node("Gemm", candidate[0], kernel, bias), attention[0][2])  # (C, T F)
    pairs = graph.node("Reshape", pairs, graph.constant(np.array([-1, first], np.int64)))  # (C T, F)
    logits = graph.dense_to_one(pairs, attention[1:])  # (1, C T)
    events = graph.node("Shape", hidden, start=0, end=1)
    shape = graph.node("Concat", graph.constant(np.array([-1], np.int64)), events, axis=0)
    weights = graph.node("Softmax", graph.node("Reshape", logits, shape), axis=1)  # (C, T)
    short_term = graph.output("short_term", ["C", width], graph.node("MatMul", weights, hidden))
    of_short_term = graph.constant(gate_parts(gate[0], width)[2])
    candidate_gate = graph.node("Add", candidate[1], shopper_gate)
    first = graph.activation(graph.node("Gemm", short_term, of_short_term, candidate_gate), gate[0][2])
    share = _share(graph, graph.dense_to_one(first, gate[1:]))
    taste = graph.node("Mul", share, graph.node("Sub", long_term, short_term))
    of_taste = graph.constant(prediction[0][0][:width])
    of_candidate = candidate[2]
    if model.features.user_width:
        of_candidate = graph.node("Add", of_candidate, graph.input(USER_STATE, [len(prediction[0][1])]))
    first = graph.node("Gemm", graph.node("Add", taste, short_term), of_taste, of_candidate)
    _scores(graph, graph.dense_to_one(graph.activation(first, prediction[0][2]), prediction[1:]))
    return graph.model()


def _features_graph(model: SliRec, gate: Layer, prediction: Layer) -> onnx.ModelProto:
    graph = GraphBuilder("features")
    parts = _features(graph, _candidate_inputs(graph, model, gate, prediction), gate, prediction)
    width = model.width + len(gate[1]) + len(prediction[1])
    graph.output("features", ["C", width], graph.node("Concat", *parts, axis=1))
    return graph.model()


def _approximate_graph(model: SliRec, gate: list[Layer], prediction: list[Layer], *, read_out: bool) -> onnx.ModelProto:
    """Returns `sketch` (`read_out`) or `approximate`."""
    width, sizes = model.width, [model.width, len(gate[0][1]), len(prediction[0][1])]
    graph = GraphBuilder("sketch" if read_out else "approximate")
    slope, offset = graph.input("slope", [sum(sizes), "R"]), graph.input("offset", ["R"])
    basis = graph.input("basis", ["R", width])
    long_term, shopper_gate = graph.input("long_term", [width]), graph.input("shopper_gate", [sizes[1]])
    candidate = _candidate_inputs(graph, model, gate[0], prediction[0])

    def last_layers(first: str, layers: list[Layer], name: str) -> str:
        """Adds the layers after the first, or the linear map that stands for them: (1, C)."""
        if read_out:
            slope = graph.input(f"{name}_slope", [1, layers[0][0].shape[0]])
            return graph.node("Gemm", slope, first, graph.input(f"{name}_offset", [1]), transB=1)
        return graph.dense_to_one(graph.output(f"{name}_readings", ["C", layers[0][0].shape[0]], first), layers)

    parts = graph.nodes("Split", slope, graph.constant(np.array(sizes)), results=3, axis=0)
    place = offset  # of short-term taste in the basis, (C, R)
    for features, part in zip(_features(graph, candidate, gate[0], prediction[0]), parts, strict=True):
        place = graph.node("Gemm", features, part, place)
    of_short_term = graph.node("MatMul", basis, graph.constant(gate_parts(gate[0], width)[2]))  # (R, G)
    # What does not depend on the candidate belongs to the constant in `place`: no addition for every candidate.
    start, last, end = (graph.constant(np.array([place])) for place in (0, -1, np.iinfo(np.int64).max))
    constant = graph.node("Add", graph.node("Slice", of_short_term, last, end), shopper_gate)
    of_short_term = graph.node("Concat", graph.node("Slice", of_short_term, start, last), constant, axis=0)
    first = graph.activation(graph.node("Gemm", place, of_short_term, candidate[1]), gate[0][2])
    of_gate = graph.node("Reshape", last_layers(first, gate[1:], "gate"), graph.constant(np.array([-1])))
    share = _share(graph, of_gate if read_out else graph.output("gate", ["C"], of_gate))
    # taste = (1 - share) short_term + share long_term, so the first layer on taste is one of R + 1 numbers.
    place = graph.node("Sub", place, graph.node("Mul", share, place))
    tastes = graph.node("Reshape", long_term, graph.constant(np.array([1, -1])))
    tastes = graph.node("Concat", basis, tastes, axis=0)
    of_taste = graph.node("MatMul", tastes, graph.constant(prediction[0][0][:width]))  # (R + 1, P)
    if model.features.user_width:  # the last two of the numbers are shares of 1: it is the same for all candidates
        of_user, shares = graph.input(USER_STATE, [sizes[2]]), graph.constant(np.array([-2]))
        constant = graph.node("Add", graph.node("Slice", of_taste, shares, end), of_user)
        of_taste = graph.node("Concat", graph.node("Slice", of_taste, start, shares), constant, axis=0)
    taste = graph.node("Concat", place, share, axis=1)
    first = graph.activation(graph.node("Gemm", taste, of_taste, candidate[2]), prediction[0][2])
    _scores(graph, last_layers(first, prediction[1:], "score"))
    return graph.model()


def _features(graph: GraphBuilder, candidate: list[str], gate: Layer, prediction: Layer) -> list[str]:
    """Adds what short-term taste is close to a linear map of: a candidate's vector, and first layers that it meets."""
    return [candidate[0], graph.activation(candidate[1], gate[2]), graph.activation(candidate[2], prediction[2])]


def _candidate_inputs(graph: GraphBuilder, model: SliRec, gate: Layer, prediction: Layer) -> list[str]:
    widths = (model.width, len(gate[1]), len(prediction[1]))
    return [graph.input(name, ["C", width]) for name, width in zip(CANDIDATE, widths, strict=True)]


def _share(graph: GraphBuilder, gate: str) -> str:
    """Adds the share of long-term taste (paper, section 4.4), (C, 1), from its logits, in any shape."""
    return graph.node("Reshape", graph.node("Sigmoid", gate), graph.constant(np.array([-1, 1])))


def _scores(graph: GraphBuilder, logits: str) -> None:
    graph.output("scores", ["C"], graph.node("Reshape", logits, graph.constant(np.array([-1]))))
