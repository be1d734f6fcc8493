"""The network as ONNX graphs, cut where the work of serving is done at different times.

`candidates` (items -> candidate tensors) runs once for a catalogue, `encode` (history -> shopper state) once for a
shopper, `score` (one shopper's state x candidates -> logits) for every pair. `approximate` is `score` with its costly
part, short-term taste (attention over events), replaced by a linear map of `features` of the candidate that serving
fits to the shopper.

What is constant in inference is multiplied out before: batch normalisation into the dense layers, and the first
attention layer on [k, q, k - q, k * q] into one matrix for each event,

    first layer (event k, candidate q) = q (diag(k) W_product + W_query - W_difference) + k (W_key + W_difference) + b,

so that a candidate meets all events in one matrix product and no product of pairs is ever laid out.
"""

from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray

from training.models.dense import EPSILON
from training.models.graph_builder import GraphBuilder
from training.models.layers import SECONDS_PER_DAY, SHORTEST_DAYS
from training.models.slirec import SliRec

OPSET = 17  # ONNX Runtime 1.14 and later read it
STATE = ("attention_kernel", "attention_bias", "hidden", "long_term", "shopper_gate")
CANDIDATE = ("candidate", "candidate_gate", "candidate_prediction")

_TIME_WEIGHTS = ("input_weight", "input_bias", "kernel", "time_kernel", "bias", "output_kernel")

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
        score: state of one shopper, without the axis B, and candidate tensors -> scores (C,), short_term (C, H).
        features: candidate tensors -> features (C, D + G + P), the first D of them the candidate's vector.
        approximate: slope (D + G + P, R), offset (R,), basis (R, H), long_term, shopper_gate and candidate tensors ->
            scores (C,), with short-term taste = (features slope + offset) basis, where the last column of slope is 0
            and the last of offset 1.
    """
    attention, gate = folded_layers(model.target_attention.network), folded_layers(model.fusion)
    prediction = folded_layers(model.prediction)
    return {
        "encode": _encode_graph(model, attention[0], gate[0]),
        "candidates": _candidates_graph(model, gate[0], prediction[0]),
        "score": _score_graph(model, attention, gate, prediction),
        "approximate": _approximate_graph(model, gate, prediction),
        "features": _features_graph(model, gate[0], prediction[0]),
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
    width, first = model.config.embedding_dim, len(attention[1])
    of_key, of_query, of_difference, of_product = np.split(attention[0], 4)  # (D, F) each
    _, of_long_term, _, of_time = _gate_parts(gate, width)
    compatible = model.config.recommenders_compatible
    graph = GraphBuilder("encode", OPSET)
    int32, int64 = onnx.TensorProto.INT32, onnx.TensorProto.INT64
    items, timestamps = graph.input("items", ["B", "T"], int32), graph.input("timestamps", ["B", "T"], int64)
    length = graph.input("length", ["B"], int32)
    first_timestamp, now = graph.input("first_timestamp", ["B"], int64), graph.input("now", ["B"], int64)

    # Padding is read by the long-term attention that recommenders' checkpoints need, and by nothing else.
    events = graph.node("ReduceMax", length, keepdims=1)  # (1,)
    window = (graph.constant(np.array([0], np.int32)), events, graph.constant(np.array([1], np.int32)))
    item, both = _embed(graph, model, items if compatible else graph.node("Slice", items, *window))
    weights = graph.node("MatMul", both, graph.constant(_long_term_direction(model)))  # (B, T, 1)
    weights = graph.node("Softmax", graph.node("Transpose", weights, perm=[0, 2, 1]), axis=2)
    long_term = graph.node("Reshape", graph.node("MatMul", weights, both), graph.constant(np.array([-1, width])))
    long_term = graph.output("long_term", ["B", width], long_term)
    if compatible:
        item = graph.node("Slice", item, *window)
    times = _times(graph, graph.node("Slice", timestamps, *window), first_timestamp, now)  # (T, B, 2)
    hidden = _recurrence(graph, model, graph.node("Transpose", item, perm=[1, 0, 2]), times, length)  # (T, B, H)
    hidden = graph.output("hidden", ["B", "E", width], graph.node("Transpose", hidden, perm=[1, 0, 2]))

    keys = graph.node("MatMul", hidden, graph.constant(_array(model.target_attention.attention_mat)))  # (B, T, D)
    by_event = graph.node("Transpose", keys, perm=[0, 2, 1])
    by_event = graph.node("Unsqueeze", by_event, graph.constant(np.array([3])))  # (B, D, T, 1)
    # diag(k) W_product + W_query - W_difference of each event as a product of (T, 2) and (2, F) for each of D.
    one, pads = graph.constant(np.array(1, np.float32)), graph.constant(np.array([0, 0, 0, 0, 0, 0, 0, 1]))
    kernel = graph.constant(np.stack([of_product, of_query - of_difference], axis=1))
    kernel = graph.node("MatMul", graph.node("Pad", by_event, pads, one), kernel)
    graph.output("attention_kernel", ["B", width, "E", first], kernel)
    bias = graph.node("MatMul", keys, graph.constant(of_key + of_difference))
    bias = graph.node("Add", bias, graph.constant(attention[1]))
    graph.output("attention_bias", ["B", "EF"], graph.node("Reshape", bias, graph.constant(np.array([0, -1]))))

    last = graph.node("Gather", times, graph.constant(np.array(-1)), axis=0)  # (B, 2)
    if compatible:  # the last column's, and padding has none
        columns = graph.node("Cast", graph.node("Shape", items, start=1), to=int32)
        full = graph.node("Cast", graph.node("Equal", columns, events), to=onnx.TensorProto.FLOAT)
        last = graph.node("Mul", last, full)
    of_times = graph.constant(np.concatenate([of_time, np.zeros_like(of_time)]))
    shopper = graph.node("Gemm", last, of_times, graph.constant(gate[1]))
    shopper = graph.node("Gemm", long_term, graph.constant(of_long_term), shopper)
    graph.output("shopper_gate", ["B", len(gate[1])], shopper)
    return graph.model()


def _embed(graph: GraphBuilder, model: SliRec, items: str) -> tuple[str, str]:
    """Adds the embedding of items, and that of items with their category (..., D)."""
    category = graph.node("Gather", graph.constant(np.asarray(model.item_category, np.int32)), items)
    item, category = (
        graph.node("Gather", graph.constant(_array(table.embeddings)), ids)
        for table, ids in ((model.item_embedding, items), (model.cate_embedding, category))
    )
    return item, graph.node("Concat", item, category, axis=-1)


def _long_term_direction(model: SliRec) -> NDArray[np.float32]:
    """Returns projection times query, (D, 1)."""
    layer = model.long_term
    return _array(layer.attention_mat) @ _array(layer.query)[:, None]


def _times(graph: GraphBuilder, timestamps: str, first_timestamp: str, now: str) -> str:
    """Adds `TimeFeatures` of whole histories (B, T): (T, B, 2), time to now and from the first event."""
    timestamps = graph.node("Transpose", timestamps, perm=[1, 0])
    one, most = graph.constant(np.array([1])), graph.constant(np.array([np.iinfo(np.int64).max]))
    later = graph.node("Slice", timestamps, one, most, graph.constant(np.array([0])))
    now_as_event = graph.node("Unsqueeze", now, graph.constant(np.array([0])))
    following = graph.node("Concat", later, now_as_event, axis=0)
    seconds = [graph.node("Sub", now, timestamps), graph.node("Sub", following, first_timestamp)]
    last_axis = graph.constant(np.array([2]))
    seconds = graph.node("Concat", *(graph.node("Unsqueeze", value, last_axis) for value in seconds), axis=2)
    seconds = graph.node("Cast", seconds, to=onnx.TensorProto.FLOAT)
    days = graph.node("Div", seconds, graph.constant(np.array(SECONDS_PER_DAY, np.float32)))
    return graph.node("Log", graph.node("Max", days, graph.constant(np.array(SHORTEST_DAYS, np.float32))))


def _recurrence(graph: GraphBuilder, model: SliRec, item: str, times: str, length: str) -> str:
    """Adds the time-aware LSTM over embeddings (T, B, I): outputs (T, B, H).

    A step costs what its number of operations does, so all four gates go through one sigmoid: the candidate's tanh is
    2 sigmoid(2 x) - 1, the first 2 multiplied into its weights, the second into the time gate on what is written.
    """
    layer, units = model.time_lstm, model.config.hidden_size
    entered, candidate, forget, shown = np.split(_array(layer.kernel), 4, axis=1)
    bias = np.split(_array(layer.bias), 4)
    now, last = ({name: _array(getattr(layer, f"{side}_{name}")) for name in _TIME_WEIGHTS} for side in ("now", "last"))
    nothing = np.zeros((units, units), np.float32)
    # Columns: input, forget and output gate, candidate, the gates of time on what is written and on what is kept.
    of_item = np.concatenate([entered, forget, shown, 2 * candidate, now["kernel"], last["kernel"]], axis=1)
    constant = np.concatenate([bias[0], bias[2] + 1, bias[3], 2 * bias[1], now["bias"], last["bias"]])
    of_now = np.concatenate([nothing, nothing, now["output_kernel"], nothing, now["time_kernel"], nothing], axis=1)
    of_last = np.concatenate([nothing, nothing, last["output_kernel"], nothing, nothing, last["time_kernel"]], axis=1)
    no_weight = np.zeros(units, np.float32)
    of_times = [[now["input_weight"], no_weight], [no_weight, last["input_weight"]]]

    read = graph.node("MatMul", times, graph.constant(np.array(of_times).reshape(2, 2 * units)))
    read = graph.node("Add", read, graph.constant(np.concatenate([now["input_bias"], last["input_bias"]])))
    both = graph.node("Concat", item, graph.node("Tanh", read), axis=2)
    gates = graph.node("MatMul", both, graph.constant(np.concatenate([of_item, of_now, of_last])))
    gates = graph.node("Add", gates, graph.constant(constant))  # (T, B, 6H)
    sizes = graph.constant(np.array([4, 2]) * units)
    gates, time_gates = graph.nodes("Split", gates, sizes, results=2, axis=2)
    scale = graph.constant(np.repeat([2, 1], units).astype(np.float32))
    time_gates = graph.node("Mul", graph.node("Sigmoid", time_gates), scale)
    shape = graph.node("Concat", graph.node("Shape", length), graph.constant(np.array([units])), axis=0)
    start = graph.node("ConstantOfShape", shape)  # (B, H)
    return graph.scan(_step(_array(layer.recurrent_kernel)), [start, start], [gates, time_gates])[-1]


def _step(recurrent: NDArray[np.float32]) -> GraphBuilder:
    """Returns one event of `_recurrence`, from the kernel (H, 4H)."""
    units = len(recurrent)
    entered, candidate, forget, shown = np.split(recurrent, 4, axis=1)
    recurrent = np.concatenate([entered, forget, shown, 2 * candidate], axis=1)
    step = GraphBuilder("step", OPSET, prefix="step_")
    cell, output = (step.input(name, ["B", units]) for name in ("cell_before", "output_before"))
    gates, time_gates = step.input("gates", ["B", 4 * units]), step.input("time_gates", ["B", 2 * units])
    gates = step.node("Sigmoid", step.node("Gemm", output, step.constant(recurrent), gates))
    sizes = step.constant(np.array([2, 1, 1]) * units)
    write_keep, shown, candidate = step.nodes("Split", gates, sizes, results=3, axis=1)
    candidate = step.node("Sub", candidate, step.constant(np.array(0.5, np.float32)))
    write, keep = step.nodes("Split", step.node("Mul", write_keep, time_gates), results=2, axis=1)
    written, kept = step.node("Mul", write, candidate), step.node("Mul", keep, cell)
    cell = step.output("cell", ["B", units], step.node("Add", kept, written))
    output = step.output("output", ["B", units], step.node("Mul", shown, step.node("Tanh", cell)))
    step.output("event", ["B", units], step.node("Identity", output))
    return step


def _candidates_graph(model: SliRec, gate: Layer, prediction: Layer) -> onnx.ModelProto:
    width = model.config.embedding_dim
    of_candidate = _gate_parts(gate, width)[0]
    graph = GraphBuilder("candidates", OPSET)
    items = graph.input("items", ["C"], onnx.TensorProto.INT32)
    candidate = graph.output("candidate", ["C", width], _embed(graph, model, items)[1])
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
    of_short_term = graph.constant(_gate_parts(gate[0], width)[2])
    candidate_gate = graph.node("Add", candidate[1], shopper_gate)
    share = _share(graph, short_term, of_short_term, candidate_gate, gate)
    taste = graph.node("Mul", share, graph.node("Sub", long_term, short_term))
    of_taste = graph.constant(prediction[0][0][:width])
    _predict(graph, graph.node("Add", taste, short_term), of_taste, candidate, prediction)
    return graph.model()


def _features_graph(model: SliRec, gate: Layer, prediction: Layer) -> onnx.ModelProto:
    graph = GraphBuilder("features", OPSET)
    parts = _features(graph, _candidate_inputs(graph, model, gate, prediction), gate, prediction)
    width = model.config.embedding_dim + len(gate[1]) + len(prediction[1])
    graph.output("features", ["C", width], graph.node("Concat", *parts, axis=1))
    return graph.model()


def _approximate_graph(model: SliRec, gate: list[Layer], prediction: list[Layer]) -> onnx.ModelProto:
    width, sizes = model.config.embedding_dim, [model.config.embedding_dim, len(gate[0][1]), len(prediction[0][1])]
    graph = GraphBuilder("approximate", OPSET)
    slope, offset = graph.input("slope", [sum(sizes), "R"]), graph.input("offset", ["R"])
    basis = graph.input("basis", ["R", width])
    long_term, shopper_gate = graph.input("long_term", [width]), graph.input("shopper_gate", [sizes[1]])
    candidate = _candidate_inputs(graph, model, gate[0], prediction[0])
    parts = graph.nodes("Split", slope, graph.constant(np.array(sizes)), results=3, axis=0)
    place = offset  # of short-term taste in the basis, (C, R)
    for features, part in zip(_features(graph, candidate, gate[0], prediction[0]), parts, strict=True):
        place = graph.node("Gemm", features, part, place)
    of_short_term = graph.node("MatMul", basis, graph.constant(_gate_parts(gate[0], width)[2]))  # (R, G)
    # What does not depend on the candidate belongs to the constant in `place`: no addition for every candidate.
    start, last, end = (graph.constant(np.array([place])) for place in (0, -1, np.iinfo(np.int64).max))
    constant = graph.node("Add", graph.node("Slice", of_short_term, last, end), shopper_gate)
    of_short_term = graph.node("Concat", graph.node("Slice", of_short_term, start, last), constant, axis=0)
    share = _share(graph, place, of_short_term, candidate[1], gate)
    # taste = (1 - share) short_term + share long_term, so the first layer on taste is one of R + 1 numbers.
    place = graph.node("Sub", place, graph.node("Mul", share, place))
    long_term = graph.node("Reshape", long_term, graph.constant(np.array([1, -1])))
    tastes = graph.node("Concat", basis, long_term, axis=0)
    of_taste = graph.node("MatMul", tastes, graph.constant(prediction[0][0][:width]))  # (R + 1, P)
    _predict(graph, graph.node("Concat", place, share, axis=1), of_taste, candidate, prediction)
    return graph.model()


def _features(graph: GraphBuilder, candidate: list[str], gate: Layer, prediction: Layer) -> list[str]:
    """Adds what short-term taste is close to a linear map of: a candidate's vector, and first layers that it meets."""
    return [candidate[0], graph.activation(candidate[1], gate[2]), graph.activation(candidate[2], prediction[2])]


def _candidate_inputs(graph: GraphBuilder, model: SliRec, gate: Layer, prediction: Layer) -> list[str]:
    widths = (model.config.embedding_dim, len(gate[1]), len(prediction[1]))
    return [graph.input(name, ["C", width]) for name, width in zip(CANDIDATE, widths, strict=True)]


def _share(graph: GraphBuilder, short_term: str, of_short_term: str, others: str, gate: list[Layer]) -> str:
    """Adds the fusion gate (paper, section 4.4), from what other inputs give its first layer: (C, 1)."""
    fused = graph.node("Gemm", short_term, of_short_term, others)
    share = graph.node("Sigmoid", graph.dense_to_one(graph.activation(fused, gate[0][2]), gate[1:]))
    return graph.node("Reshape", share, graph.constant(np.array([-1, 1])))


def _predict(graph: GraphBuilder, taste: str, of_taste: str, candidate: list[str], prediction: list[Layer]) -> None:
    """Adds the prediction network, from taste and its part of the first kernel to the output scores (C,)."""
    first = graph.activation(graph.node("Gemm", taste, of_taste, candidate[2]), prediction[0][2])
    logits = graph.dense_to_one(first, prediction[1:])
    graph.output("scores", ["C"], graph.node("Reshape", logits, graph.constant(np.array([-1]))))


def _gate_parts(gate: Layer, width: int) -> list[NDArray[np.float32]]:
    """Returns the gate's first kernel as parts for candidate, long-term taste, short-term taste and time."""
    return np.split(gate[0], [width, 2 * width, 3 * width])


def _array(variable: Any) -> NDArray[np.float32]:
    return np.asarray(variable, np.float32)
