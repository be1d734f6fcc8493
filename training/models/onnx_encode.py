"""The ONNX graph that reads a history, written node by node: what a converter makes of it takes longer to run."""

from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray

from training.models.feature_layers import FIRST_WEEKDAY, SECONDS_PER_HOUR
from training.models.graph_builder import GraphBuilder, Layer
from training.models.layers import SECONDS_PER_DAY, SHORTEST_DAYS
from training.models.slirec import SliRec

USER_STATE = "shopper_prediction"  # what user features add to the first layer of the prediction
_TIME_WEIGHTS = ("input_weight", "input_bias", "kernel", "time_kernel", "bias", "output_kernel")


def encode_graph(model: SliRec, attention: Layer, gate: Layer, prediction: Layer) -> onnx.ModelProto:
    """Returns the graph `encode` of `training.models.onnx_graphs`.

    Args:
        model: The network.
        attention: First layer of target attention.
        gate: First layer of the fusion gate.
        prediction: First layer of the prediction.
    """
    width, first = model.width, len(attention[1])
    of_key, of_query, of_difference, of_product = np.split(attention[0], 4)  # (D, F) each
    _, of_long_term, _, of_time, gate_of_user = gate_parts(gate, width)
    compatible = model.config.recommenders_compatible
    graph = GraphBuilder("encode")
    int32, int64 = onnx.TensorProto.INT32, onnx.TensorProto.INT64
    items, timestamps = graph.input("items", ["B", "T"], int32), graph.input("timestamps", ["B", "T"], int64)
    length = graph.input("length", ["B"], int32)
    first_timestamp, now = graph.input("first_timestamp", ["B"], int64), graph.input("now", ["B"], int64)

    # Padding is read by the long-term attention that recommenders' checkpoints need, and by nothing else.
    events = graph.node("ReduceMax", length, keepdims=1)  # (1,)
    window = (graph.constant(np.array([0], np.int32)), events, graph.constant(np.array([1], np.int32)))
    shown = items if compatible else graph.node("Slice", items, *window)
    item, both = embed(graph, model, shown)
    if model.features.event_width:
        times = timestamps if compatible else graph.node("Slice", timestamps, *window)
        ids = {name: graph.input(name, ["B", "T"], int32) for name in event_inputs(model)}
        if not compatible:
            ids = {name: graph.node("Slice", value, *window) for name, value in ids.items()}
        of_events = _event_features(graph, model, ids, times)  # (B, T, width of event features)
        projection = graph.constant(_array(model.event_projection.kernel))
        both = graph.node("Add", both, graph.node("MatMul", of_events, projection))
        item = graph.node("Concat", item, of_events, axis=2)
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
    user = _user_features(graph, model)
    if user is not None:
        shopper = graph.node("Gemm", user, graph.constant(gate_of_user), shopper)
    shopper = graph.node("Gemm", long_term, graph.constant(of_long_term), shopper)
    graph.output("shopper_gate", ["B", len(gate[1])], shopper)
    if user is not None:
        of_user = graph.constant(prediction[0][2 * width :])
        graph.output(USER_STATE, ["B", len(prediction[1])], graph.node("MatMul", user, of_user))
    return graph.model()


def embed(graph: GraphBuilder, model: SliRec, items: str) -> tuple[str, str]:
    """Adds embeddings of items (..., item dim and features), and of items with their category (..., D)."""
    category = graph.node("Gather", graph.constant(np.asarray(model.item_category, np.int32)), items)
    item, category = (
        graph.node("Gather", graph.constant(_array(table.embeddings)), ids)
        for table, ids in ((model.item_embedding, items), (model.cate_embedding, category))
    )
    if not model.features.item_width:
        return item, graph.node("Concat", item, category, axis=-1)
    # Of all items at once: several values are a mean, and then it is a table like any other.
    every = np.arange(model.num_items, dtype=np.int32)
    table = np.concatenate([np.asarray(each, np.float32) for each in model.features.of_items(every)], axis=1)
    features = graph.node("Gather", graph.constant(table), items)
    read = graph.node("Concat", item, features, axis=-1)
    return read, graph.node("Concat", item, category, features, axis=-1)  # last: `candidates` makes it an output


def event_inputs(model: SliRec) -> list[str]:
    """Returns the inputs (B, T) of event features."""
    return [each.input_name for each in model.features.features if each.of == "event" and not each.feature.from_clock]


def _event_features(graph: GraphBuilder, model: SliRec, ids: dict[str, str], timestamps: str) -> str:
    """Adds the embeddings of event features, beside each other (B, T, width)."""
    found: list[str] = []
    for each, table in zip(model.features.features, model.features.tables, strict=True):
        if each.of == "event":
            numbers = _clock(graph, each.feature.kind, timestamps) if each.feature.from_clock else ids[each.input_name]
            found.append(graph.node("Gather", graph.constant(_array(table.embeddings)), numbers))
    return found[0] if len(found) == 1 else graph.node("Concat", *found, axis=2)


def _user_features(graph: GraphBuilder, model: SliRec) -> str | None:
    """Adds the embeddings of user features, beside each other (B, width); None: there are none."""
    found = [
        graph.node(
            "Gather",
            graph.constant(_array(table.embeddings)),
            graph.input(each.input_name, ["B"], onnx.TensorProto.INT32),
        )
        for each, table in zip(model.features.features, model.features.tables, strict=True)
        if each.of == "user"
    ]
    return (found[0] if len(found) == 1 else graph.node("Concat", *found, axis=1)) if found else None


def _clock(graph: GraphBuilder, kind: str, timestamps: str) -> str:
    """Adds `feature_layers.clock_ids`; timestamps are not negative, so that division rounds as it does there."""
    day, hour, one, week, first = (
        graph.constant(np.array(number)) for number in (SECONDS_PER_DAY, SECONDS_PER_HOUR, 1, 7, FIRST_WEEKDAY)
    )
    if kind == "hour":
        return graph.node("Add", graph.node("Div", graph.node("Mod", timestamps, day), hour), one)
    days = graph.node("Add", graph.node("Div", timestamps, day), first)
    return graph.node("Add", graph.node("Mod", days, week), one)


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
    layer, units = model.time_lstm, model.width
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
    step = GraphBuilder("step", prefix="step_")
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


def gate_parts(gate: Layer, width: int) -> list[NDArray[np.float32]]:
    """Returns the gate's first kernel as parts for candidate, long-term taste, short-term taste, time and user."""
    return np.split(gate[0], [width, 2 * width, 3 * width, 3 * width + 1])


def _array(variable: Any) -> NDArray[np.float32]:
    return np.asarray(variable, np.float32)
