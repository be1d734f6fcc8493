"""Rank graph -> model bundle: any method but SLi-Rec alone, for the same servers and callers (contract 4)."""

import importlib.metadata
import json
import os
import shutil
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import numpy as np
import onnx
import pyarrow.parquet as pq

from training.data.features import NO_FEATURES
from training.data.inventory import Inventory
from training.data.sequences import EncodedSequences
from training.export import (
    FORMAT_VERSION,
    catalogue_table,
    events_table,
    example_answer,
    example_events,
    graph_entry,
    vocabulary_tables,
)
from training.files import atomic_folder, sha256_of, write_json
from training.models.network_session import NetworkSession, part_of_blend
from training.models.rank_session import HISTORY_LENGTH, RankSession

RANK: Final = "rank"
MANIFEST: Final = "bundle.json"
LIBRARIES: Final = ("onnx", "onnxruntime", "numpy", "scipy", "pyarrow", "polars")


def export_ranker_bundle(
    graph: onnx.ModelProto,
    ranker: Mapping[str, Any],
    dataset: EncodedSequences,
    inventory: Inventory,
    folder: str | os.PathLike[str],
    metrics: Mapping[str, Any] | None = None,
    *,
    history_length: int = HISTORY_LENGTH,
) -> Path:
    """Writes a bundle without a network; a bundle already in `folder` is replaced only when the new one is whole.

    Args:
        graph: Rank graph over the data set's item vocabulary.
        ranker: Its document: kind, settings, parts.
        dataset: What it was fitted on; the last events of its shoppers go into the bundle.
        inventory: Catalogue to recommend from.
        folder: Folder to write.
        metrics: JSON-able figures to carry along.
        history_length: Latest events of a shopper that are kept, and read from a request.

    Returns:
        `folder`.

    Raises:
        ValueError: The graph is of another vocabulary, no product of the inventory occurs in the data, or no shopper
            can serve as the example.
    """
    dataset = replace(dataset, features=NO_FEATURES)  # a rank graph reads none
    session = _session(graph, dataset, history_length)
    target = Path(folder)
    with atomic_folder(target) as temporary:
        catalogue = catalogue_table(dataset, inventory)
        (temporary / f"{RANK}.onnx").write_bytes(graph.SerializeToString())
        pq.write_table(catalogue, temporary / "catalogue.parquet")
        for name, table in vocabulary_tables(dataset).items():
            pq.write_table(table, temporary / f"vocabulary_{name}.parquet")
        pq.write_table(events_table(dataset, history_length), temporary / "events.parquet")
        user, events = example_events(dataset, min(3, history_length))
        logits = session.score(dataset.item[events], dataset.timestamp[events], int(dataset.timestamp[events[-1]]))
        example = example_answer(dataset, catalogue, user, events, logits, recommend_seen=True)
        write_json(example, temporary / "example.json")
        manifest = {
            "format_version": FORMAT_VERSION,
            "model": ranker["kind"],
            "ranker": dict(ranker),
            "created_at": _now(),
            "features": {"item": ["item"], "event": ["timestamp"]},
            "sizes": {
                "num_items": dataset.num_items,
                "num_categories": dataset.num_categories,
                "num_users": dataset.num_users,
                "max_seq_length": history_length,
                "history_length": history_length,
                "num_products": len(inventory.products),
            },
            "graphs": {RANK: graph_entry(RANK, graph)},
            "config": {"ranker": dict(ranker)},
            "metrics": dict(metrics or {}),
            "library_versions": _libraries(),
            "data_fingerprint": dataset.metadata["fingerprint"],
        }
        _seal(manifest, temporary)
    return target


def export_blend_bundle(
    network: str | os.PathLike[str],
    graph: onnx.ModelProto,
    ranker: Mapping[str, Any],
    dataset: EncodedSequences,
    folder: str | os.PathLike[str],
    metrics: Mapping[str, Any] | None = None,
    *,
    history_length: int = HISTORY_LENGTH,
) -> Path:
    """Writes a bundle of SLi-Rec with another method beside it.

    Args:
        network: Bundle of SLi-Rec, of the same data set.
        graph: Rank graph of the other method.
        ranker: Document of the blend; one of its two parts is SLi-Rec.
        dataset: What both were fitted on.
        folder: As in `export_ranker_bundle`, and so are the others.
        metrics: As there.
        history_length: As there.

    Returns:
        `folder`.

    Raises:
        ValueError: The network is of another data set, or the graph of another vocabulary.
    """
    source, target = Path(network), Path(folder)
    manifest = manifest_of_network(source, dataset)
    dataset = replace(dataset, features=NO_FEATURES)  # of events and users; `NetworkSession` refuses these
    session = _session(graph, dataset, history_length)
    with atomic_folder(target) as temporary:
        for name in manifest["sha256"]:
            shutil.copyfile(source / name, temporary / name)
        (temporary / f"{RANK}.onnx").write_bytes(graph.SerializeToString())
        pq.write_table(events_table(dataset, history_length), temporary / "events.parquet")
        user, events = example_events(dataset, min(3, manifest["sizes"]["max_seq_length"], history_length))
        items, times = dataset.item[events], dataset.timestamp[events]
        now = int(times[-1])
        logits = np.zeros(dataset.num_items)
        for part in ranker["parts"]:
            if part["kind"] == "sli_rec":
                scores = NetworkSession(source).score(items, times, int(times[0]), now)
            else:
                scores = session.score(items, times, now)
            logits[1:] += part_of_blend(part, scores[1:])
        catalogue = pq.read_table(temporary / "catalogue.parquet")
        example = example_answer(dataset, catalogue, user, events, logits, recommend_seen=True)
        write_json(example, temporary / "example.json")
        manifest["sizes"]["history_length"] = history_length
        manifest["graphs"][RANK] = graph_entry(RANK, graph)
        manifest["metrics"] = {**manifest["metrics"], **(metrics or {})}
        manifest["library_versions"] = {**manifest["library_versions"], **_libraries()}
        manifest |= {"model": ranker["kind"], "ranker": dict(ranker), "created_at": _now()}
        manifest["config"] = {**manifest["config"], "ranker": dict(ranker)}
        _seal(manifest, temporary)
    return target


def manifest_of_network(network: Path, dataset: EncodedSequences) -> dict[str, Any]:
    """Returns `bundle.json` of a network's bundle.

    Raises:
        ValueError: It was trained on another data set, whose ids mean other products.
    """
    manifest: dict[str, Any] = json.loads((network / MANIFEST).read_text(encoding="utf-8"))
    if (received := manifest.get("data_fingerprint")) != (expected := dataset.metadata["fingerprint"]):
        raise ValueError(
            f"`network` should be a bundle of the data {expected[:12]}. Received: one of {str(received)[:12]}. "
            "Fit on the folder of encoded sequences that the network was trained on"
        )
    return manifest


def _session(graph: onnx.ModelProto, dataset: EncodedSequences, history_length: int) -> RankSession:
    if history_length < 1:
        raise ValueError(f"`history_length` should be a positive integer. Received: history_length = {history_length}")
    session = RankSession(graph)
    scores = session.score(np.zeros(1), np.zeros(1), 0)
    if scores.shape != (dataset.num_items,):
        raise ValueError(
            f"`graph` should score the data set's {dataset.num_items} item ids. Received: scores of {scores.shape}"
        )
    return session


def _seal(manifest: dict[str, Any], folder: Path) -> None:
    manifest["sha256"] = {path.name: sha256_of(path) for path in sorted(folder.iterdir()) if path.name != MANIFEST}
    write_json(manifest, folder / MANIFEST)


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")


def _libraries() -> dict[str, str]:
    return {name: importlib.metadata.version(name) for name in LIBRARIES}
