"""Small interactions with columns for custom features, and a configuration that names some."""

import numpy as np
import pandas as pd
from small_data import NUM_ITEMS, small_interactions

from training.config import TrainingConfig
from training.data.inventory import Inventory, inventory_from_records

FEATURES = {
    "item": [{"name": "vendor", "dim": 3}, {"name": "tags", "kind": "multi", "dim": 4}],
    "user": [{"name": "segment", "dim": 2}],
    "event": [{"name": "kind", "dim": 3}],
}
MORE = {
    "item": [*FEATURES["item"], {"name": "price", "kind": "numeric", "dim": 2, "buckets": 4}],
    "user": FEATURES["user"],
    "event": [
        *FEATURES["event"],
        {"name": "quantity", "kind": "numeric", "buckets": 3},
        {"name": "hour", "kind": "hour", "dim": 2},
        {"name": "weekday", "kind": "weekday", "dim": 2},
    ],
}
TINY = {"item_embedding_dim": 6, "cate_embedding_dim": 2, "att_fcn_layer_sizes": [8, 4], "layer_sizes": [8, 4]}


def feature_config(features: dict | None = None, **sections) -> TrainingConfig:
    train = {"init_value": 0.3, "epochs": 1, "batch_size": 64, "seed": 3} | sections.pop("train", {})
    model = TINY | sections.pop("model", {})
    chosen = FEATURES if features is None else features
    return TrainingConfig().replaced(features=chosen, model=model, train=train, **sections)


def feature_interactions(num_users: int = 20) -> pd.DataFrame:
    """As `small_interactions`, with columns kind, quantity and segment; some values are missing."""
    frame = small_interactions(num_users)
    rng = np.random.default_rng(3)
    kinds = np.array(["view", "cart", "purchase", None], object)
    frame["kind"] = kinds[rng.integers(0, 4, len(frame))]
    frame["quantity"] = np.where(rng.random(len(frame)) < 0.2, np.nan, rng.integers(1, 9, len(frame)) / 2)
    frame["segment"] = [("a", "b", "c", None)[int(user[1:]) % 4] for user in frame["user_id"]]
    return frame


def feature_inventory() -> Inventory:
    """Products with vendor, price (as text) and tags; some have none."""
    records = []
    for i in range(NUM_ITEMS):
        record = {"id": f"gid://shopify/Product/{1000 + i}", "handle": f"p{i}", "title": f"Product {i}"}
        record |= {"category": f"c{i % 6}", "vendor": f"v{i % 5}" if i % 7 else None}
        record |= {"price": f"{i}.50" if i % 9 else None, "tags": [f"t{t}" for t in range(i % 4)]}
        records.append(record)
    return inventory_from_records(records)
