"""Trained network -> model bundle: all that a server needs, and nothing that can run code (contract 4)."""

import importlib.metadata
import os
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from training.config import TrainingConfig
from training.data.feature_requests import request_values
from training.data.features import vocabulary_table
from training.data.inventory import Inventory
from training.data.sequences import EncodedSequences
from training.files import atomic_folder, sha256_of, write_json

if TYPE_CHECKING:
    from training.models.slirec import SliRec

FORMAT_VERSION = 4
EXAMPLE_K = 16
LIBRARIES = ("tensorflow", "keras", "onnx", "numpy", "pandas", "pyarrow", "narwhals", "recommenders")


def export_bundle(
    model: "SliRec",
    dataset: EncodedSequences,
    inventory: Inventory,
    config: TrainingConfig,
    folder: str | os.PathLike[str],
    metrics: Mapping[str, Any] | None = None,
) -> Path:
    """Writes the model bundle; a bundle already in `folder` is replaced only when the new one is whole.

    Args:
        model: Trained network.
        dataset: What it was trained on; the last events of its shoppers go into the bundle.
        inventory: Catalogue to recommend from.
        config: Training configuration.
        folder: Folder to write.
        metrics: JSON-able figures to carry along.

    Returns:
        `folder`.

    Raises:
        ValueError: No product of the inventory occurs in the training data, or no shopper can serve as the example.
    """
    # Here, because TensorFlow takes seconds to import: the tables below serve rankers without a network, too.
    from training.models.arrays import named_variables, save_arrays
    from training.models.onnx_graphs import export_graphs

    target = Path(folder)
    with atomic_folder(target) as temporary:
        catalogue = catalogue_table(dataset, inventory)
        graphs = export_graphs(model)
        for name, graph in graphs.items():
            (temporary / f"{name}.onnx").write_bytes(graph.SerializeToString())
        save_arrays(temporary / "arrays.safetensors", named_variables(model.weights), {"model": "sli_rec"})
        pq.write_table(catalogue, temporary / "catalogue.parquet")
        dataset = replace(dataset, features=dataset.features.chosen(config.features))
        for name, table in vocabulary_tables(dataset).items():
            pq.write_table(table, temporary / f"vocabulary_{name}.parquet")
        pq.write_table(events_table(dataset, config.data.max_seq_length), temporary / "events.parquet")
        write_json(make_example(model, dataset, catalogue, config), temporary / "example.json")
        manifest = _manifest(model, dataset, len(inventory.products), config, graphs, metrics or {})
        manifest["sha256"] = {path.name: sha256_of(path) for path in sorted(temporary.iterdir())}
        write_json(manifest, temporary / "bundle.json")
    return target


def catalogue_table(dataset: EncodedSequences, inventory: Inventory) -> pa.Table:
    """Returns the inventory with the vocabulary id (0 = never seen in training) and training count of each product.

    `tags` are the record's, empty where it has none. `available` is false where the record says so, or says that the
    product is a draft, archived or unlisted, whatever stock it has; null where it says nothing.
    """
    items = dataset.vocabularies["item"]
    ids = items.encode(inventory.handles)
    if not ids.any():
        raise ValueError(
            "The inventory should hold products of the training data. Received: none in common; was the dataset made "
            "from interactions with another shop?"
        )
    titles = [str(product["title"]) for product in inventory.products]
    gids = [str(product["id"]) for product in inventory.products]
    return pa.table(
        {
            "item_id": ids.astype(np.int32),
            "handle": pa.array(inventory.handles, pa.string()),
            "gid": pa.array(gids, pa.string()),
            "title": pa.array(titles, pa.string()),
            "category": pa.array([inventory.category_of[handle] for handle in inventory.handles], pa.string()),
            "popularity": np.where(ids > 0, items.counts[ids], 0).astype(np.int64),
            "tags": pa.array([_tags(product) for product in inventory.products], pa.list_(pa.string())),
            "available": pa.array([_available(product) for product in inventory.products], pa.bool_()),
        }
    )


def _tags(product: Mapping[str, Any]) -> list[str]:
    """Tags of a product record: a list, or one text with commas, as Shopify's own exports have it."""
    tags = product.get("tags") or []
    listed = tags.split(",") if isinstance(tags, str) else tags if isinstance(tags, list) else [tags]
    return list(dict.fromkeys(text for tag in cast(list[Any], listed) if (text := str(tag).strip())))


def _available(product: Mapping[str, Any]) -> bool | None:
    if str(product.get("status") or "ACTIVE").upper() != "ACTIVE":
        return False
    available = product.get("available")
    return available if isinstance(available, bool) else None


def events_table(dataset: EncodedSequences, max_seq_length: int) -> pa.Table:
    """Returns the last events of every known shopper, oldest first, and the ids of all items that they ever touched.

    Of custom features: `event_<name>`, ids aligned with the events, and `user_<name>`, an id.
    """
    offsets = dataset.user_offsets
    known = np.arange(1, dataset.num_users)
    starts, ends = offsets[known], offsets[known + 1]
    last = np.maximum(starts, ends - max_seq_length)
    window = _slices(last, ends)
    users, items = dataset.user.astype(np.int64), dataset.item.astype(np.int64)
    seen = np.unique(users * dataset.num_items + items)
    seen_users, seen_items = seen // dataset.num_items, seen % dataset.num_items
    kept = (seen_users > 0) & (seen_items > 0)
    seen_offsets = np.searchsorted(seen_users[kept], np.arange(1, dataset.num_users + 1))
    of_features = {each.input_name: _lists(each.ids[window], ends - last) for each in dataset.features.stored_events}
    of_features |= {each.input_name: pa.array(each.ids[1:]) for each in dataset.features.of("user")}
    return pa.table(
        {
            "user_id": pa.array(dataset.vocabularies["user"].values[1:], pa.string()),
            "items": _lists(dataset.item[window].astype(np.int32), ends - last),
            "timestamps": _lists(dataset.timestamp[window], ends - last),
            "first_timestamp": dataset.timestamp[starts],
            "seen": _lists(seen_items[kept].astype(np.int32), np.diff(seen_offsets)),
            **of_features,
        }
    )


def _slices(starts: NDArray[np.int64], ends: NDArray[np.int64]) -> NDArray[np.int64]:
    """Returns the row numbers of all slices, one after another."""
    lengths = ends - starts
    before = np.cumsum(lengths) - lengths
    return np.arange(int(lengths.sum())) + np.repeat(starts - before, lengths)


def _lists(values: NDArray[Any], lengths: NDArray[np.int64]) -> pa.ListArray:
    offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int32)
    return pa.ListArray.from_arrays(pa.array(offsets), pa.array(values))


def vocabulary_tables(dataset: EncodedSequences) -> dict[str, pa.Table]:
    """Returns id, value (null for the unknown value 0) and count for each vocabulary."""
    of_features = {each.name: each.vocabulary for each in dataset.features.all if each.vocabulary is not None}
    return {name: vocabulary_table(each) for name, each in {**dataset.vocabularies, **of_features}.items()}


def example_events(dataset: EncodedSequences, count: int = 3) -> tuple[int, NDArray[np.int64]]:
    """Returns the most active shopper whose last `count` events are of products seen in training, and these rows.

    Raises:
        ValueError: There is no such shopper.
    """
    lengths = np.diff(dataset.user_offsets)[1:]
    for user in 1 + np.argsort(-lengths, kind="stable"):
        end = int(dataset.user_offsets[user + 1])
        events = np.arange(max(int(dataset.user_offsets[user]), end - count), end)
        if len(events) and (dataset.item[events] > 0).all():
            return int(user), events
    raise ValueError(
        "The data set should have a shopper whose last events are all of products seen in training. Received: "
        "none; were the training rows cut off long before the others?"
    )


def example_answer(
    dataset: EncodedSequences,
    catalogue: pa.Table,
    user: int,
    events: NDArray[np.int64],
    logits: NDArray[Any],
    *,
    recommend_seen: bool = False,
) -> dict[str, Any]:
    """Returns a request with these events, and the answer that follows from logits of all item ids, (num_items,)."""
    ids = catalogue["item_id"].to_numpy()
    # What a known shopper has touched is not recommended.
    start, end = dataset.user_offsets[user], dataset.user_offsets[user + 1]
    touched = dataset.item[:0] if recommend_seen else dataset.item[start:end]
    open_to_choice = np.flatnonzero((ids > 0) & ~np.isin(ids, touched))
    logits = logits[ids[open_to_choice]]
    best = np.argsort(-logits, kind="stable")[:EXAMPLE_K]
    # Products that training never saw score 0 and come last, in catalogue order.
    unseen = np.flatnonzero(ids == 0)[: EXAMPLE_K - len(best)]
    places = np.concatenate([open_to_choice[best], unseen])
    scores = 1.0 / (1.0 + np.exp(-logits[best].astype(np.float64)))
    gids = catalogue["gid"].to_pylist()
    return {
        "request": {
            "userId": str(dataset.vocabularies["user"].values[user]),
            "items": dataset.vocabularies["item"].decode(dataset.item[events]),
            "timestamps": [str(time) for time in dataset.timestamp[events]],
            **request_values(dataset, user, events),
        },
        "params": {"k": EXAMPLE_K, "recommend_seen": recommend_seen},
        "itemIds": [gids[place] for place in places],
        "preds": [*scores.tolist(), *[0.0] * len(unseen)],
    }


def make_example(
    model: "SliRec", dataset: EncodedSequences, catalogue: pa.Table, config: TrainingConfig
) -> dict[str, Any]:
    """Returns a request, a real shopper's last three events, and its answer as Keras computes it.

    Whoever loads the bundle can compare: same scores to 1e-5.
    """
    # Events known to the vocabulary, of the most active shopper who has them: the documented example.
    user, events = example_events(dataset, min(3, config.data.max_seq_length))
    pad_to = config.data.max_seq_length if config.model.recommenders_compatible else len(events)
    items, timestamps = np.zeros((1, pad_to), np.int32), np.zeros((1, pad_to), np.int64)
    items[0, : len(events)], timestamps[0, : len(events)] = dataset.item[events], dataset.timestamp[events]
    history = {
        "items": items,
        "timestamps": timestamps,
        "length": np.asarray([len(events)], np.int32),
        "first_timestamp": dataset.timestamp[events[:1]],
        "now": dataset.timestamp[events[-1:]],
    }
    for each in dataset.features.stored_events:
        history[each.input_name] = np.zeros((1, pad_to), np.int32)
        history[each.input_name][0, : len(events)] = each.ids[events]
    for each in dataset.features.of("user"):
        history[each.input_name] = each.ids[[user]]
    known = np.arange(1, dataset.num_items, dtype=np.int32)
    logits = np.asarray(model.score(model.encode(history), known[None, :]))[0]
    return example_answer(dataset, catalogue, user, events, np.concatenate([logits[:1], logits]))


def _manifest(
    model: "SliRec",
    dataset: EncodedSequences,
    num_products: int,
    config: TrainingConfig,
    graphs: Mapping[str, Any],
    metrics: Mapping[str, Any],
) -> dict[str, Any]:
    return {
        "format_version": FORMAT_VERSION,
        "model": config.model.model_type,
        "ranker": {"kind": config.model.model_type, "settings": {}, "parts": []},
        "created_at": datetime.now(UTC).isoformat(timespec="seconds"),
        "features": _feature_names(dataset),
        "sizes": {
            "num_items": model.num_items,
            "num_categories": model.num_categories,
            "num_users": dataset.num_users,
            "max_seq_length": config.data.max_seq_length,
            "num_products": num_products,
        },
        "pad_to_max_seq_length": config.model.recommenders_compatible,
        "graphs": {name: graph_entry(name, graph) for name, graph in graphs.items()},
        "config": config.model_dump(mode="json"),
        "metrics": dict(metrics),
        "library_versions": {name: importlib.metadata.version(name) for name in LIBRARIES},
        "data_fingerprint": dataset.metadata["fingerprint"],
        **({"custom_features": [each.document() for each in dataset.features.all]} if dataset.features else {}),
    }


def _feature_names(dataset: EncodedSequences) -> dict[str, list[str]]:
    names = {"item": ["item", "category"], "event": ["timestamp"]}
    for each in dataset.features.all:
        names.setdefault(each.of, []).append(each.name)
    return names


def graph_entry(name: str, graph: Any) -> dict[str, Any]:
    """Returns what `bundle.json` says of an ONNX graph."""
    inputs, outputs = ([entry.name for entry in side] for side in (graph.graph.input, graph.graph.output))
    return {"file": f"{name}.onnx", "inputs": inputs, "outputs": outputs}
