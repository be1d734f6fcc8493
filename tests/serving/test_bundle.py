"""A bundle is opened only when every byte and every table is as it was written."""

import json
import shutil

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from fake_bundle import HANDLES, STORED, T0, build_fake_bundle, gid, seal

from serving.bundle import BundleError, open_bundle
from serving.recommender import Recommender


@pytest.fixture(scope="module")
def pristine(tmp_path_factory):
    return build_fake_bundle(tmp_path_factory.mktemp("bundle") / "bundle")


@pytest.fixture
def folder(pristine, tmp_path):
    return shutil.copytree(pristine, tmp_path / "copy")


def replace_column(folder, table, column, values, type_=None):
    path = folder / f"{table}.parquet"
    content = pq.read_table(path)
    index = content.column_names.index(column)
    array = pa.array(values, type_ or content.schema.field(column).type)
    pq.write_table(content.set_column(index, column, array), path)
    seal(folder)


def test_opens_columns_and_indexes(pristine):
    bundle = open_bundle(pristine)
    assert bundle.catalogue.item_ids.tolist() == [3, 0, 1, 2, 4, 5]
    assert bundle.catalogue.row_of_item.tolist() == [-1, 2, 3, 0, 4, 5, -1]
    assert bundle.catalogue.row_of("atlas") == bundle.catalogue.row_of(gid(40)) == 4
    assert bundle.catalogue.row_of("gone") is None
    assert bundle.vocabularies["item"].index == {handle: i for i, handle in enumerate(HANDLES, 1)}
    assert bundle.graphs["encode"].file == pristine / "encode.onnx"
    assert bundle.graphs["encode"].outputs == ("mean", "clock")
    assert bundle.manifest.sizes.max_seq_length == 4
    with pytest.raises(AttributeError):
        bundle.path = None


def test_stored_histories_are_those_written(pristine):
    events = open_bundle(pristine).events
    assert len(events) == 3
    for user, expected in STORED.items():
        history = events.history(user)
        assert history.items.tolist() == expected["items"]
        assert history.timestamps.tolist() == expected["timestamps"]
        assert history.first_timestamp == expected["first_timestamp"]
        assert history.seen.tolist() == expected["seen"]
    assert events.history("nobody") is None


def names(pristine):
    return sorted(json.loads((pristine / "bundle.json").read_text())["sha256"])


def test_a_changed_byte_in_any_file_is_refused(pristine, folder):
    assert len(names(pristine)) == 13
    for name in names(pristine):
        original = (folder / name).read_bytes()
        for position in {0, len(original) // 2, len(original) - 1}:
            changed = bytearray(original)
            changed[position] ^= 1
            (folder / name).write_bytes(changed)
            with pytest.raises(BundleError, match=rf"{name} has changed: SHA-256 expected [0-9a-f]+, received"):
                open_bundle(folder)
        (folder / name).write_bytes(original)
    assert open_bundle(folder).manifest == open_bundle(pristine).manifest


def test_a_missing_file_is_refused(folder):
    for name in names(folder):
        content = (folder / name).read_bytes()
        (folder / name).unlink()
        with pytest.raises(BundleError, match=f"lacks files: {name}"):
            open_bundle(folder)
        (folder / name).write_bytes(content)


@pytest.mark.parametrize("name", ["extra.pkl", "sub/hidden.py", ".DS_Store"])
def test_an_unlisted_file_is_refused(folder, name):
    (folder / name).parent.mkdir(exist_ok=True)
    (folder / name).write_bytes(b"x")
    with pytest.raises(BundleError, match=f"does not list: {name}"):
        open_bundle(folder)


@pytest.mark.parametrize("name", ["../outside", "/etc/hosts", "a/../../b", "c:\\x", "..\\x", "", "."])
def test_a_name_that_leads_out_of_the_folder_is_refused(folder, name):
    document = json.loads((folder / "bundle.json").read_text())
    document["sha256"][name] = "0" * 64
    (folder / "bundle.json").write_text(json.dumps(document))
    with pytest.raises(BundleError, match="stay inside the bundle"):
        open_bundle(folder)


def test_a_bundle_without_a_manifest_is_refused(tmp_path):
    with pytest.raises(BundleError, match=r"bundle\.json is missing"):
        open_bundle(tmp_path)
    (tmp_path / "bundle.json").write_text("[]")
    with pytest.raises(BundleError, match=r"JSON object\. Received: list"):
        open_bundle(tmp_path)
    (tmp_path / "bundle.json").write_bytes(b"\xff{")
    with pytest.raises(BundleError, match="readable JSON"):
        open_bundle(tmp_path)


@pytest.mark.parametrize("version", [0, 2, 3, 5, "4", None])
def test_another_format_version_is_refused(folder, version):
    seal(folder, format_version=version)
    with pytest.raises(BundleError, match=f"should be 4. Received: {version!r}. Export the bundle again"):
        open_bundle(folder)


KEYS = ["model", "ranker", "features", "sizes", "graphs", "config", "data_fingerprint", "sha256"]


@pytest.mark.parametrize("key", KEYS)
def test_a_missing_key_is_named(folder, key):
    document = json.loads((folder / "bundle.json").read_text())
    del document[key]
    (folder / "bundle.json").write_text(json.dumps(document))
    with pytest.raises(BundleError, match=f"`{key}`: Field required"):
        open_bundle(folder)


@pytest.mark.parametrize(
    ("graphs", "message"),
    [
        ({"encode": {"file": "encode.onnx", "inputs": [], "outputs": []}}, "should have 'candidates'"),
        ({"encode": {"file": "other.onnx", "inputs": [], "outputs": []}}, "listed in `sha256`"),
    ],
)
def test_graphs_are_checked(folder, graphs, message):
    seal(folder, graphs=graphs)
    with pytest.raises(BundleError, match=message):
        open_bundle(folder)


@pytest.mark.parametrize(
    ("graph", "side", "names", "message"),
    [
        ("encode", "inputs", ["items"], "encode inputs should be"),
        ("candidates", "inputs", ["ids"], r"candidates inputs should be \['items'\]"),
        ("candidates", "outputs", ["candidate"], "score inputs should be"),
        ("score", "inputs", ["mean", "candidate"], "score inputs should be .* Received: .*'mean', 'candidate'"),
        ("score", "outputs", ["scores"], "score outputs should be"),
        ("approximate", "inputs", ["slope", "candidate", "mean"], "approximate inputs should be"),
        ("features", "inputs", ["items"], "features inputs should be"),
        ("features", "outputs", [], "features outputs should be"),
        ("sketch", "outputs", [], "sketch outputs should be"),
    ],
)
def test_graph_names_must_match_the_contract(folder, graph, side, names, message):
    graphs = json.loads((folder / "bundle.json").read_text())["graphs"]
    graphs[graph][side] = names
    seal(folder, graphs=graphs)
    with pytest.raises(BundleError, match=message):
        open_bundle(folder)


def test_graph_names_must_match_the_file(folder):
    graphs = json.loads((folder / "bundle.json").read_text())["graphs"]
    graphs["encode"]["outputs"] = ["mean"]
    for name in ("score", "approximate", "sketch"):
        graphs[name]["inputs"].remove("clock")
    seal(folder, graphs=graphs)
    with pytest.raises(BundleError, match=r"should have inputs .* and outputs \['mean'\]"):
        Recommender(open_bundle(folder))


def test_a_graph_that_is_no_graph_is_refused(folder):
    (folder / "score.onnx").write_bytes(b"not a graph")
    seal(folder)
    with pytest.raises(BundleError, match="cannot open"):
        Recommender(open_bundle(folder))


@pytest.mark.parametrize(
    ("table", "column", "values", "message"),
    [
        ("catalogue", "handle", ["novel"] * 6, "`handle` should be unique"),
        ("catalogue", "gid", ["gid"] * 6, "`gid` should be unique"),
        ("catalogue", "item_id", [3, 0, 1, 2, 4, 9], r"0 \.\. 6. Received: 0 \.\. 9"),
        ("catalogue", "item_id", [3, 0, 1, 1, 4, 5], "`item_id` should be unique"),
        ("catalogue", "item_id", [3, 0, 2, 1, 4, 5], "vocabulary's value of `item_id`"),
        ("catalogue", "tags", [["a"], None, ["a"], ["a"], ["a"], ["a"]], "`tags` should have no null"),
        ("catalogue", "tags", [["a"], [None], ["a"], ["a"], ["a"], ["a"]], "`tags` should have no null"),
        ("catalogue", "title", ["A", None, "B", "C", "D", "E"], "`title` should have no null"),
        ("vocabulary_item", "id", [0, 1, 2, 3, 4, 6, 5], r"0 \.\. 6 in order"),
        ("vocabulary_item", "value", [None, *"abcde", "a"], "unique and not null"),
        ("vocabulary_item", "value", [None, *"abcde", None], "unique and not null"),
        ("events", "user_id", ["ann", "bob", "ann"], "`user_id` should be unique"),
        ("events", "items", [[1], [0], [0, 6]], "same length in every row"),
        ("events", "seen", [[1], [0], [7]], r"`seen` should be 0 \.\. 6"),
        ("events", "timestamps", [[T0, None], [T0], [T0, T0]], "`timestamps` should have no null"),
    ],
)
def test_tables_that_contradict_each_other_are_refused(folder, table, column, values, message):
    replace_column(folder, table, column, values)
    with pytest.raises(BundleError, match=message):
        open_bundle(folder)


def test_sizes_must_be_those_of_the_tables(folder):
    sizes = json.loads((folder / "bundle.json").read_text())["sizes"]
    seal(folder, sizes={**sizes, "num_products": 5})
    with pytest.raises(BundleError, match="should have 5 products"):
        open_bundle(folder)
    seal(folder, sizes={**sizes, "num_items": 8})
    with pytest.raises(BundleError, match=r"0 \.\. 7 in order"):
        open_bundle(folder)


def test_a_missing_column_or_a_wrong_type_is_refused(folder):
    content = pq.read_table(folder / "catalogue.parquet")
    pq.write_table(content.drop_columns(["tags", "available"]), folder / "catalogue.parquet")
    seal(folder)
    with pytest.raises(BundleError, match="lacks columns: available, tags"):
        open_bundle(folder)
    pq.write_table(content.drop_columns(["title", "gid"]), folder / "catalogue.parquet")
    seal(folder)
    with pytest.raises(BundleError, match="lacks columns: gid, title"):
        open_bundle(folder)
    pq.write_table(content, folder / "catalogue.parquet")
    replace_column(folder, "catalogue", "popularity", ["many"] * 6, pa.string())
    with pytest.raises(BundleError, match="should be a Parquet file with columns"):
        open_bundle(folder)


def test_wider_types_of_another_writer_are_read(folder, pristine):
    replace_column(folder, "catalogue", "item_id", [3, 0, 1, 2, 4, 5], pa.int64())
    replace_column(folder, "catalogue", "handle", pq.read_table(folder / "catalogue.parquet")["handle"].to_pylist(),
                   pa.large_string())  # fmt: skip
    replace_column(folder, "events", "items", [row["items"] for row in STORED.values()], pa.large_list(pa.int64()))
    bundle, original = open_bundle(folder), open_bundle(pristine)
    assert bundle.catalogue.item_ids.dtype == np.int32
    assert bundle.events.items.tolist() == original.events.items.tolist()
    assert bundle.catalogue.row_of_handle == original.catalogue.row_of_handle


def test_a_bundle_without_stored_events_opens(folder):
    empty = pq.read_table(folder / "events.parquet").slice(0, 0)
    pq.write_table(empty, folder / "events.parquet")
    seal(folder)
    events = open_bundle(folder).events
    assert len(events) == 0
    assert events.history("ann") is None
