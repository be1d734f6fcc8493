"""Model bundle on disk: verify every byte, then open it.

A bundle is a folder with a ranker, Parquet tables and `bundle.json`, which names the SHA-256 of every other file.
Nothing in it is executed or unpickled. The ranker is SLi-Rec, six ONNX graphs and the network's arrays; or one ONNX
graph `rank`, which is any other method; or a blend of both, all of these files.
"""

import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from pydantic import ValidationError

from serving.config import problems_of
from serving.manifest import Manifest, Sizes, problem_of_ranker
from serving.tables import (
    BundleError,
    Catalogue,
    StoredEvents,
    Vocabulary,
    read_catalogue,
    read_events,
    read_vocabulary,
    release_unused,
)

__all__ = ["FORMAT_VERSION", "Bundle", "BundleError", "Graph", "Manifest", "Sizes", "open_bundle"]

FORMAT_VERSION = 4
MANIFEST = "bundle.json"
RANK = "rank"
RANK_INPUTS = ("items", "timestamps", "now")
ENCODE_INPUTS = ("items", "timestamps", "length", "first_timestamp", "now")
GRAPHS = ("encode", "candidates", "score", "features", "approximate", "sketch")
CANDIDATE_VECTOR = "candidate"  # an output of `candidates`, which features begin with
LINEAR_FIT = ("slope", "offset", "basis")
READINGS = ("gate_readings", "gate", "score_readings")
READ_OUT = ("gate_slope", "gate_offset", "score_slope", "score_offset")
VOCABULARIES = ("item", "category", "user")
ARRAYS = "arrays.safetensors"  # of a network
REQUIRED_FILES = (
    "catalogue.parquet",
    "events.parquet",
    "example.json",
    *(f"vocabulary_{feature}.parquet" for feature in VOCABULARIES),
)


@dataclass(frozen=True)
class Graph:
    """An ONNX graph of the bundle: its verified file and the names of its inputs and outputs, in order."""

    file: Path
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]


@dataclass(frozen=True)
class Bundle:
    """An opened, verified model bundle.

    Attributes:
        path: Folder of the bundle.
        manifest: `bundle.json`.
        graphs: Of SLi-Rec: "encode", from histories of one length to state tensors, first axis the shopper;
            "candidates", from item ids to candidate tensors, first axis the item; "score", from one shopper's state and
            candidate tensors to logits and short-term taste; "features", from candidate tensors to what short-term
            taste is close to a linear map of; "approximate", as "score", with short-term taste from one, and first
            layers with what follows from them; "sketch", as "approximate", with linear maps of the first layers for
            what follows. Of any other method: "rank", from one shopper's history to the logits of all item ids.
        catalogue: Products that can be recommended, in catalogue order.
        vocabularies: "item", "category" and "user", and those of custom features by name.
        events: Stored last events of known shoppers.
        example: A request with its answer as the trained network gave it.
        fingerprint: SHA-256 of `bundle.json`, which covers every other file.
    """

    path: Path
    manifest: Manifest
    graphs: Mapping[str, Graph]
    catalogue: Catalogue
    vocabularies: Mapping[str, Vocabulary]
    events: StoredEvents
    example: Mapping[str, Any]
    fingerprint: str


def open_bundle(path: str | os.PathLike[str]) -> Bundle:
    """Verifies a bundle's format and the SHA-256 of every file, and opens it.

    Args:
        path: Folder of the bundle.

    Raises:
        BundleError: The folder is no bundle, has another format version, lacks a key or a file, has a file that
            `bundle.json` does not list, a file with changed bytes, or tables that contradict each other.
    """
    folder = Path(path)
    document = _read_json(folder / MANIFEST)
    manifest = _manifest(folder, document)
    _verify_files(folder, manifest)
    sizes = manifest.sizes
    vocabularies = {
        feature: read_vocabulary(folder / f"vocabulary_{feature}.parquet", size)
        for feature, size in zip(VOCABULARIES, (sizes.num_items, sizes.num_categories, sizes.num_users), strict=True)
    }
    for entry in manifest.custom_features:
        if entry.has_vocabulary:
            vocabularies[entry.name] = read_vocabulary(folder / f"vocabulary_{entry.name}.parquet", entry.size)
    bundle = Bundle(
        path=folder,
        manifest=manifest,
        graphs=_graphs(folder, manifest),
        catalogue=read_catalogue(folder / "catalogue.parquet", vocabularies["item"], sizes.num_products),
        vocabularies=vocabularies,
        events=read_events(folder / "events.parquet", sizes.num_items, manifest.request_features),
        example=_read_json(folder / "example.json"),
        fingerprint=_sha256(folder / MANIFEST),
    )
    release_unused()
    return bundle


def _read_json(path: Path) -> dict[str, Any]:
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise BundleError(f"{path} is missing; a model bundle is a folder that contains it") from None
    except (OSError, ValueError) as error:
        raise BundleError(f"{path} should be a readable JSON file: {error}") from error
    if not isinstance(document, dict):
        raise BundleError(f"{path} should hold a JSON object. Received: {type(document).__name__}")
    return document


def _manifest(folder: Path, document: dict[str, Any]) -> Manifest:
    version = document.get("format_version")
    if version != FORMAT_VERSION:
        raise BundleError(
            f"{folder / MANIFEST}: `format_version` should be {FORMAT_VERSION}. Received: {version!r}. "
            "Export the bundle again with this version of the code (version 3 does not say which ranker it holds)"
        )
    try:
        manifest = Manifest.model_validate(document)
    except ValidationError as error:
        raise BundleError(f"{folder / MANIFEST}: {problems_of(error)}") from None
    if problem := problem_of_ranker(manifest):
        raise BundleError(f"{folder / MANIFEST}: {problem}")
    return manifest


def _verify_files(folder: Path, manifest: Manifest) -> None:
    listed = set(manifest.sha256)
    for name in sorted(listed):
        parts = PurePosixPath(name).parts
        # `bundle.json` may come from anywhere: no name in it may lead out of the folder, on any system.
        if not parts or name.startswith("/") or ".." in parts or any(c in name for c in "\\:\0"):
            raise BundleError(f"{folder / MANIFEST}: file names should stay inside the bundle. Received: {name!r}")
    present = {p.relative_to(folder).as_posix() for p in folder.rglob("*") if not p.is_dir()} - {MANIFEST}
    of_features = [f"vocabulary_{entry.name}.parquet" for entry in manifest.custom_features if entry.has_vocabulary]
    required = {*REQUIRED_FILES, *of_features, *([ARRAYS] if manifest.ranker.has_network else [])}
    if missing := sorted((listed | required) - present):
        raise BundleError(f"Bundle {folder} lacks files: {', '.join(missing)}")
    if extra := sorted(present - listed):
        raise BundleError(f"Bundle {folder} has files that {MANIFEST} does not list: {', '.join(extra)}")
    for name, expected in sorted(manifest.sha256.items()):
        received = _sha256(folder / name)
        if received != expected:
            raise BundleError(
                f"Bundle file {folder / name} has changed: SHA-256 expected {expected}, received {received}"
            )


def _graphs(folder: Path, manifest: Manifest) -> dict[str, Graph]:
    ranker, graphs = manifest.ranker, dict[str, Graph]()
    for name in (*(GRAPHS if ranker.has_network else ()), *([RANK] if ranker.has_rank_graph else [])):
        entry = manifest.graphs.get(name)
        if entry is None:
            raise BundleError(
                f"{folder / MANIFEST}: `graphs` should have {name!r}. Received: {sorted(manifest.graphs)}"
            )
        if entry.file not in manifest.sha256:
            raise BundleError(f"{folder / MANIFEST}: `graphs.{name}.file` should be a file listed in `sha256`")
        graphs[name] = Graph(file=folder / entry.file, inputs=entry.inputs, outputs=entry.outputs)
    for what, received, expected in (
        *(_names_of_network(graphs, manifest) if ranker.has_network else ()),
        *(_names_of_rank_graph(graphs[RANK]) if ranker.has_rank_graph else ()),
    ):
        if sorted(received) != sorted(expected):
            raise BundleError(f"{folder / MANIFEST}: {what} should be {list(expected)}. Received: {list(received)}")
    if ranker.has_network and CANDIDATE_VECTOR not in (candidates := graphs["candidates"].outputs):
        raise BundleError(
            f"{folder / MANIFEST}: candidates outputs should have {CANDIDATE_VECTOR!r}. Received: {list(candidates)}"
        )
    return graphs


def _names_of_network(
    graphs: Mapping[str, Graph], manifest: Manifest
) -> list[tuple[str, Sequence[str], Sequence[str]]]:
    """What, names in `bundle.json`, names of the contract."""
    state, candidates = graphs["encode"].outputs, graphs["candidates"].outputs
    approximated = (name for name in graphs["approximate"].inputs if name in state)
    of_features = (entry.input_name for entry in manifest.request_features)
    return [
        ("encode inputs", graphs["encode"].inputs, (*ENCODE_INPUTS, *of_features)),
        ("candidates inputs", graphs["candidates"].inputs, ("items",)),
        ("score inputs", graphs["score"].inputs, (*state, *candidates)),
        ("score outputs", graphs["score"].outputs, ("scores", "short_term")),
        ("features inputs", graphs["features"].inputs, candidates),
        ("features outputs", graphs["features"].outputs, ("features",)),
        ("approximate inputs", graphs["approximate"].inputs, (*LINEAR_FIT, *approximated, *candidates)),
        ("approximate outputs", graphs["approximate"].outputs, ("scores", *READINGS)),
        ("sketch inputs", graphs["sketch"].inputs, (*graphs["approximate"].inputs, *READ_OUT)),
        ("sketch outputs", graphs["sketch"].outputs, ("scores",)),
    ]


def _names_of_rank_graph(graph: Graph) -> list[tuple[str, Sequence[str], Sequence[str]]]:
    used = [name for name in RANK_INPUTS if name in graph.inputs]  # popularity reads none of them
    return [("rank inputs", graph.inputs, used), ("rank outputs", graph.outputs, ("scores",))]


def _sha256(path: Path) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
