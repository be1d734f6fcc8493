"""A tiny but real model bundle whose answers can be worked out by hand.

The encode graph averages the history's item vectors and adds two time terms; the score graph is
`mean . vector(candidate) + bias(candidate) + days since the first event - 0.5 * days since the last event`.
Short-term taste is `mean * vector(candidate)`, element by element, so a linear map of the vector gives it exactly.
"""

import hashlib
import json
import math
from pathlib import Path

import numpy as np
import onnx
import pyarrow as pa
import pyarrow.parquet as pq
from onnx import TensorProto, helper, numpy_helper

DAY = 86_400
T0 = 1_700_000_000
CATEGORIES = ("Clothing", "Books")
# Six trained items; in the catalogue "gone" is no longer sold and "fresh" was never seen in training.
HANDLES = ("shirt", "jeans", "novel", "atlas", "scarf", "gone")
VECTORS = np.array([[0, 0], [1, 0], [2, 0], [0, 1], [0, 2], [1, 1], [3, 3]], np.float32)  # by item id
BIAS = np.array([0, 0.5, 0.25, 0.0, -0.25, -0.5, 0.0], np.float32)
STORED = {
    "ann": {"items": [1, 2], "timestamps": [T0, T0 + DAY], "first_timestamp": T0 - 9 * DAY, "seen": [1, 2, 3]},
    "bob": {"items": [0], "timestamps": [T0], "first_timestamp": T0, "seen": [0]},
    "cid": {"items": [0, 6], "timestamps": [T0, T0 + 5], "first_timestamp": T0, "seen": [0, 6]},
}

APPROXIMATED = ["scores", "gate_readings", "gate", "score_readings"]
READ_OUT = ["gate_slope", "gate_offset", "score_slope", "score_offset"]
GRAPHS = {
    "encode": (["items", "timestamps", "length", "first_timestamp", "now"], ["mean", "clock"]),
    "candidates": (["items"], ["candidate", "candidate_bias"]),
    "score": (["mean", "clock", "candidate", "candidate_bias"], ["scores", "short_term"]),
    "features": (["candidate", "candidate_bias"], ["features"]),
    "approximate": (["slope", "offset", "basis", "clock", "candidate", "candidate_bias"], APPROXIMATED),
    "sketch": (["slope", "offset", "basis", *READ_OUT, "clock", "candidate", "candidate_bias"], ["scores"]),
}


def gid(number: int) -> str:
    return f"gid://shopify/Product/{number}"


# Catalogue order; "gone" is not sold any more.
GID = {"novel": gid(30), "fresh": gid(70), "shirt": gid(10), "jeans": gid(20), "atlas": gid(40), "scarf": gid(50)}
ID = {handle: number for number, handle in enumerate(HANDLES, 1)}


def ranked(logits, seen=()):
    """Handles and scores that follow from logits by item id, slowly: sorted, untrained last, seen removed."""
    trained = [handle for handle in GID if handle in ID and handle not in seen]
    trained.sort(key=lambda handle: -logits[ID[handle]])  # stable: ties keep catalogue order
    scores = [1 / (1 + math.exp(-logits[ID[handle]])) for handle in trained]
    fresh = [] if "fresh" in seen else ["fresh"]
    return trained + fresh, scores + [0.0] * len(fresh)


def expected_logits(items, timestamps, first, now, vectors=VECTORS, bias=BIAS):
    """(num_items,) logits of the graphs below, in NumPy."""
    days, idle = (now - first) / DAY, (now - max(timestamps)) / DAY
    return vectors[items].mean(axis=0) @ vectors.T + bias + days - 0.5 * idle


def _graph(name, nodes, inputs, outputs, constants, path):
    def values(spec):
        return [helper.make_tensor_value_info(n, t, shape) for n, (t, shape) in spec.items()]

    initializers = [numpy_helper.from_array(np.asarray(value), n) for n, value in constants.items()]
    graph = helper.make_graph(nodes, name, values(inputs), values(outputs), initializers)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    onnx.checker.check_model(model)
    path.write_bytes(model.SerializeToString())


def write_graphs(folder: Path, vectors, bias, time_axis="T"):
    node, i32, i64, f32 = helper.make_node, TensorProto.INT32, TensorProto.INT64, TensorProto.FLOAT
    dimension = vectors.shape[1]
    _graph(
        "encode",
        [
            node("Gather", ["vectors", "items"], ["embedded"]),
            node("ReduceSum", ["embedded", "axis1"], ["total"], keepdims=0),
            node("Cast", ["length"], ["length_f"], to=f32),
            node("Unsqueeze", ["length_f", "axis1"], ["length_2d"]),
            node("Div", ["total", "length_2d"], ["mean"]),
            node("Sub", ["now", "first_timestamp"], ["elapsed"]),
            node("ReduceMax", ["timestamps"], ["last"], axes=[1], keepdims=0),
            node("Sub", ["now", "last"], ["idle"]),
            node("Cast", ["elapsed"], ["elapsed_f"], to=f32),
            node("Cast", ["idle"], ["idle_f"], to=f32),
            node("Mul", ["idle_f", "half"], ["idle_half"]),
            node("Sub", ["elapsed_f", "idle_half"], ["seconds"]),
            node("Div", ["seconds", "day"], ["clock"]),
        ],
        {
            "items": (i32, ["B", time_axis]),
            "timestamps": (i64, ["B", time_axis]),
            "length": (i32, ["B"]),
            "first_timestamp": (i64, ["B"]),
            "now": (i64, ["B"]),
        },
        {"mean": (f32, ["B", dimension]), "clock": (f32, ["B"])},
        {"vectors": vectors, "axis1": np.array([1]), "half": np.float32(0.5), "day": np.float32(DAY)},
        folder / "encode.onnx",
    )
    candidate, vector = {"candidate": (f32, ["C", dimension])}, (f32, ["C", dimension])
    fit = {"slope": (f32, [dimension, "R"]), "offset": (f32, ["R"]), "basis": (f32, ["R", dimension])}
    axis = {"axis1": np.array([1])}
    biased, clock, scores = {"candidate_bias": (f32, ["C"])}, {"clock": (f32, [])}, {"scores": (f32, ["C"])}
    _graph(
        "candidates",
        [node("Gather", ["vectors", "items"], ["candidate"]), node("Gather", ["bias", "items"], ["candidate_bias"])],
        {"items": (i32, ["C"])},
        candidate | biased,
        {"vectors": vectors, "bias": bias},
        folder / "candidates.onnx",
    )
    add = [
        node("Add", ["product", "candidate_bias"], ["with_bias"]),
        node("Add", ["with_bias", "clock"], ["scores"]),
    ]
    _graph(
        "score",
        [
            node("Mul", ["candidate", "mean"], ["short_term"]),
            node("ReduceSum", ["short_term", "axis1"], ["product"], keepdims=0),
            *add,
        ],
        {"mean": (f32, [dimension])} | clock | candidate | biased,
        scores | {"short_term": vector},
        axis,
        folder / "score.onnx",
    )
    _graph(
        "features",
        [node("Identity", ["candidate"], ["features"])],
        candidate | biased,
        {"features": vector},
        {},
        folder / "features.onnx",
    )
    readings = [
        node("Gemm", ["candidate", "slope", "offset"], ["place"]),
        node("MatMul", ["place", "basis"], ["mapped"]),
        node("Unsqueeze", ["candidate_bias", "axis1"], ["bias_column"]),
        node("Concat", ["mapped", "bias_column"], ["score_readings"], axis=1),
    ]
    _graph(
        "approximate",
        [
            *readings,
            node("ReduceSum", ["mapped", "axis1"], ["product"], keepdims=0),
            *add,
            node("Identity", ["candidate"], ["gate_readings"]),
            node("Identity", ["with_bias"], ["gate"]),
        ],
        fit | clock | candidate | biased,
        scores | {"gate_readings": vector, "gate": (f32, ["C"]), "score_readings": (f32, ["C", dimension + 1])},
        axis,
        folder / "approximate.onnx",
    )
    single = (f32, [1])
    read_out = {
        "gate_slope": (f32, [1, dimension]),
        "gate_offset": single,
        "score_slope": (f32, [1, dimension + 1]),
        "score_offset": single,
    }
    _graph(
        "sketch",
        [
            *readings,
            node("Gemm", ["score_readings", "score_slope", "score_offset"], ["column"], transB=1),
            node("Reshape", ["column", "flat"], ["scores"]),
        ],
        fit | read_out | clock | candidate | biased,
        scores,
        axis | {"flat": np.array([-1])},
        folder / "sketch.onnx",
    )


def seal(folder: Path, **changes):
    """Writes bundle.json with the hashes of the files that are there; `changes` replace top-level keys."""
    files = sorted(p for p in folder.rglob("*") if p.is_file() and p.name != "bundle.json")
    rows = {n: pq.read_metadata(folder / f"{n}.parquet").num_rows for n in
            ("vocabulary_item", "vocabulary_category", "vocabulary_user", "catalogue")}  # fmt: skip
    document = {
        "format_version": 4,
        "model": "sli_rec",
        "ranker": {"kind": "sli_rec", "settings": {}, "parts": []},
        "created_at": "2026-01-01T00:00:00+00:00",
        "features": {"item": ["item", "category"], "event": ["timestamp"]},
        "sizes": {
            "num_items": rows["vocabulary_item"],
            "num_categories": rows["vocabulary_category"],
            "num_users": rows["vocabulary_user"],
            "num_products": rows["catalogue"],
            "max_seq_length": 4,
        },
        "graphs": {
            name: {"file": f"{name}.onnx", "inputs": inputs, "outputs": outputs}
            for name, (inputs, outputs) in GRAPHS.items()
        },
        "config": {"train": {"learning_rate": 0.001}},
        "metrics": {"ndcg": 0.5},
        "library_versions": {"keras": "3.15"},
        "data_fingerprint": "0" * 64,
        "sha256": {p.relative_to(folder).as_posix(): hashlib.sha256(p.read_bytes()).hexdigest() for p in files},
    }
    document.update(changes)
    (folder / "bundle.json").write_text(json.dumps(document))


def _vocabulary(folder, feature, values, counts):
    table = {"id": pa.array(range(len(values)), pa.int32()), "value": values, "count": counts}
    pq.write_table(pa.table(table), folder / f"vocabulary_{feature}.parquet")


def write_events(folder: Path, stored):
    rows = list(stored.values())
    table = {
        "user_id": list(stored),
        "items": pa.array([row["items"] for row in rows], pa.list_(pa.int32())),
        "timestamps": pa.array([row["timestamps"] for row in rows], pa.list_(pa.int64())),
        "first_timestamp": pa.array([row["first_timestamp"] for row in rows], pa.int64()),
        "seen": pa.array([row["seen"] for row in rows], pa.list_(pa.int32())),
    }
    pq.write_table(pa.table(table), folder / "events.parquet")


def build_fake_bundle(folder: Path, *, bias=BIAS, time_axis="T", **changes) -> Path:
    """The six-item bundle described above; `changes` go into bundle.json."""
    folder.mkdir(parents=True)
    write_graphs(folder, VECTORS, np.asarray(bias, np.float32), time_axis)
    _vocabulary(folder, "item", [None, *HANDLES], [0, 60, 50, 40, 30, 20, 10])
    _vocabulary(folder, "category", [None, *CATEGORIES], [0, 140, 70])
    _vocabulary(folder, "user", [None, *STORED], [0, 3, 2, 1])
    catalogue = {
        "item_id": pa.array([3, 0, 1, 2, 4, 5], pa.int32()),
        "handle": list(GID),
        "gid": list(GID.values()),
        "title": ["A Novel", "Fresh Socks", "Shirt", "Jeans", "An Atlas", "Scarf"],
        "category": ["Books", "Clothing", "Clothing", "Clothing", "Books", "Clothing"],
        "popularity": pa.array([40, 7, 60, 50, 30, 20], pa.int64()),
        "tags": [["gift"], ["New"], ["cotton"], ["cotton", "sale"], ["gift", "sale"], []],
        "available": [None, True, True, True, False, None],
    }
    pq.write_table(pa.table(catalogue), folder / "catalogue.parquet")
    write_events(folder, STORED)
    (folder / "arrays.safetensors").write_bytes(b"\x02\0\0\0\0\0\0\0{}")
    request = {"userId": "dee", "items": ["shirt", "atlas"], "timestamps": [str(T0), str(T0 + DAY)]}
    # taste = mean of [1, 0] and [0, 2] = [0.5, 1]; one day since the first event, none since the last:
    # jeans 1 + 0.25 + 1, novel 1 + 0 + 1, scarf 1.5 - 0.5 + 1; ties in catalogue order, then the untrained "fresh".
    logits = np.array([2.25, 2.0, 2.0])
    answer = {
        "request": request,
        "params": {"k": 16, "recommend_seen": False},
        "itemIds": [gid(20), gid(30), gid(50), gid(70)],
        "preds": [*(1 / (1 + np.exp(-logits))).tolist(), 0.0],
    }
    (folder / "example.json").write_text(json.dumps(answer))
    seal(folder, **changes)
    return folder


def build_large_bundle(folder: Path, *, products=234, dimension=40, seed=0, bias=1.0, broken=()) -> Path:
    """A bundle of random item vectors, for properties over many products; NaN for the items `broken`."""
    rng = np.random.default_rng(seed)
    folder.mkdir(parents=True)
    vectors = rng.normal(0, 0.3, (products + 1, dimension)).astype(np.float32)
    vectors[list(broken)] = np.nan
    write_graphs(folder, vectors, rng.normal(0, bias, products + 1).astype(np.float32))
    handles = [f"product-{n}" for n in range(products)]
    popularity = np.sort(rng.integers(1, 1000, products))[::-1]
    _vocabulary(folder, "item", [None, *handles], [0, *popularity.tolist()])
    _vocabulary(folder, "category", [None, *CATEGORIES], [0, 1, 1])
    _vocabulary(folder, "user", [None, *STORED], [0, 3, 2, 1])
    catalogue = {
        "item_id": pa.array(range(1, products + 1), pa.int32()),
        "handle": handles,
        "gid": [gid(n) for n in range(products)],
        "title": handles,
        "category": ["Books"] * products,
        "popularity": pa.array(popularity, pa.int64()),
        "tags": pa.array([[]] * products, pa.list_(pa.string())),
        "available": pa.array([None] * products, pa.bool_()),
    }
    pq.write_table(pa.table(catalogue), folder / "catalogue.parquet")
    write_events(folder, STORED)
    (folder / "arrays.safetensors").write_bytes(b"\x02\0\0\0\0\0\0\0{}")
    (folder / "example.json").write_text("{}")
    sizes = {"num_items": products + 1, "num_categories": 3, "num_users": 4, "num_products": products}
    seal(folder, sizes={**sizes, "max_seq_length": 50})
    return folder
