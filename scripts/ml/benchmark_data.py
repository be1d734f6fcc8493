"""What the benchmark measures on: generated interactions, encoded sequences, requests, inventories of any size."""

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from scripts.ml.generate_interactions import generate
from scripts.ml.interaction_output import write_interaction_file
from scripts.ml.interaction_rules import DEFAULT_RULES
from training.config import TrainingConfig
from training.data.amazon_format import write_amazon_files
from training.data.columns import CATEGORY, INTERACTION_COLUMNS, ITEM, TIMESTAMP, USER
from training.data.interactions import read_interactions
from training.data.inventory import Inventory, inventory_from_records, load_inventory, save_inventory
from training.data.sequences import EncodedSequences, build_dataset

DAY = 86_400
EVENTS_A_USER = 41.8  # of a generated shopper
START = 1_700_000_000
SEED = 42
SEQUENCE_LENGTH = 50
NUM_CATEGORIES = 11
# Both sides: the values of recommenders' sli_rec.yaml, but for a start and a rate with which three short epochs suffice
# to learn something: with 0.01 and 0.001 both networks would hardly leave the loss they start from.
CONFIG = TrainingConfig().replaced(
    data={"max_seq_length": SEQUENCE_LENGTH},
    train={"init_value": 0.1, "learning_rate": 0.005, "batch_size": 400, "train_num_ngs": 4, "seed": SEED},
)


def reference_settings(config: TrainingConfig = CONFIG) -> dict[str, Any]:
    """Returns the same hyper-parameters under the names of recommenders' `prepare_hparams`."""
    model, train = config.model, config.train
    names = ("item_embedding_dim", "cate_embedding_dim", "hidden_size", "attention_size", "enable_BN")
    lists = ("layer_sizes", "att_fcn_layer_sizes", "activation", "dropout")
    rates = ("init_value", "embed_l2", "layer_l2", "learning_rate", "loss", "optimizer", "batch_size", "train_num_ngs")
    return (
        {name: getattr(model, name) for name in names}
        | {name: list(getattr(model, name)) for name in lists}
        | {name: getattr(train, name) for name in rates}
        | {"max_seq_length": config.data.max_seq_length, "epochs": train.epochs}
    )


def write_interactions_file(inventory: Path, rows: int, path: Path) -> None:
    """Writes exactly `rows` generated interactions as tab-separated text, sorted by time."""
    users = int(rows / EVENTS_A_USER * 1.06) + 8
    whole = path.with_suffix(".parquet")
    path.parent.mkdir(parents=True, exist_ok=True)
    write_interaction_file(generate(load_inventory(inventory), users=users, days=120, seed=SEED), whole, "parquet")
    found = pl.scan_parquet(whole).select(pl.len()).collect().item()
    if found < rows:
        raise ValueError(f"The generator should have made {rows} interactions. Received: {found}")
    table = pl.scan_parquet(whole).select(INTERACTION_COLUMNS).head(rows)
    table.sink_csv(path, separator="\t", include_header=False, quote_style="never")
    whole.unlink()


def write_reference_tables(interactions: Path, folder: Path) -> None:
    """Writes the two tables that recommenders' `_create_instance` reads, from a file of interactions."""
    folder.mkdir(parents=True, exist_ok=True)
    table = read_interactions(interactions, "polars")
    form: dict[str, Any] = {"separator": "\t", "include_header": False, "quote_style": "never"}
    table.select(USER, ITEM, TIMESTAMP).sink_csv(folder / "reviews_output", **form)
    table.select(ITEM, CATEGORY).unique(ITEM, maintain_order=True).sink_csv(folder / "meta_output", **form)


def make_training_data(inventory: Path, folder: Path, *, users: int, events: int) -> EncodedSequences:
    """Makes encoded sequences of `users` shoppers with about `events` events each, and recommenders' files of them.

    `folder/dataset` holds the sequences, `folder/amazon` the files, in which ids mean the same.
    """
    interactions = folder / "interactions.tsv"
    folder.mkdir(parents=True, exist_ok=True)
    longer = events / EVENTS_A_USER
    default = DEFAULT_RULES.parameters
    parameters = replace(
        default,
        median_sessions=default.median_sessions * longer,
        max_sessions=round(default.max_sessions * longer),
    )
    rules, days = replace(DEFAULT_RULES, parameters=parameters), round(120 * longer)
    generated = generate(load_inventory(inventory), rules, users=users, days=days, seed=SEED)
    write_interaction_file(generated, interactions, "tsv")
    dataset = build_dataset(read_interactions(interactions), folder / "dataset", rng_seed=SEED)
    files = write_amazon_files(dataset, folder / "amazon", ids="dataset")
    # Examples whose history fills the window: the content of a batch is then the same on both sides.
    with files.train.open(encoding="utf-8") as lines, (folder / "amazon" / "full_data").open("w") as full:
        full.writelines(line for line in lines if line.rsplit("\t", 1)[1].count(",") + 1 >= SEQUENCE_LENGTH)
    return dataset


def make_catalogue(folder: Path, products: int) -> tuple[EncodedSequences, Inventory]:
    """Makes an inventory of `products` products, all of them known to training, and sequences in which they occur.

    `folder/dataset`, `folder/inventory.json`, and in `folder/amazon` recommenders' files.
    """
    rng = np.random.default_rng(SEED)
    length = SEQUENCE_LENGTH + 10
    users = max(40, -(-products // (length - 2)))
    items = np.concatenate([rng.permutation(products) for _ in range(-(-users * length // products))])
    # Every product first, among the events that are not held out.
    bought = np.empty((users, length), np.int64)
    bought[:, : length - 2] = items[: users * (length - 2)].reshape(users, -1)
    bought[:, length - 2 :] = rng.integers(0, products, (users, 2))
    times = START + np.cumsum(rng.choice([30, 600, DAY, 5 * DAY], (users, length)), axis=1)
    records = [
        {
            "id": f"gid://shopify/Product/{1_000_000 + number}",
            "handle": f"product-{number:06d}",
            "title": f"Product {number:06d}",
            "category": f"Category {number % NUM_CATEGORIES}",
        }
        for number in range(products)
    ]
    inventory = inventory_from_records(records)
    handles = np.array([record["handle"] for record in records])
    categories = np.array([record["category"] for record in records])
    frame = pl.DataFrame(
        {
            "label": np.ones(users * length, np.int64),
            USER: np.repeat([f"user_{number:06d}" for number in range(users)], length),
            ITEM: handles[bought.reshape(-1)],
            TIMESTAMP: times.reshape(-1),
            CATEGORY: categories[bought.reshape(-1)],
        }
    )
    folder.mkdir(parents=True, exist_ok=True)
    save_inventory(inventory, folder / "inventory.json")
    dataset = build_dataset(frame, folder / "dataset", rng_seed=SEED)
    write_amazon_files(dataset, folder / "amazon", ids="dataset")
    return dataset, inventory


def make_requests(handles: Sequence[str], lengths: Sequence[int], count: int = 1) -> list[dict[str, list[str]]]:
    """Returns `count` requests for each length: items and timestamps as the registered model takes them."""
    rng = np.random.default_rng(SEED + 1)
    requests: list[dict[str, list[str]]] = []
    for length in lengths:
        for _ in range(count):
            items = [handles[place] for place in rng.choice(len(handles), length, replace=len(handles) < length)]
            times = START + np.cumsum(rng.choice([30, 600, DAY, 5 * DAY], length))
            requests.append({"items": items, "timestamps": [str(time) for time in times]})
    return requests


def folder_size(path: Path) -> int:
    """Returns the bytes of all files below a folder."""
    return sum(file.stat().st_size for file in path.rglob("*") if file.is_file())


def read_json(path: Path) -> Any:
    """Returns the content of a JSON file, or None if there is none."""
    return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else None
