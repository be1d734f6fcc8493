"""The command that judges methods on a temporal cut."""

import json

import numpy as np
import polars as pl
import pytest
from future_data import made_up

from scripts.ml.evaluate_future import main, read_purchases


@pytest.fixture
def table():
    purchases = made_up(np.random.default_rng(3), users=30, baskets=12)
    return pl.DataFrame(
        {
            "label": np.ones(len(purchases), dtype=np.int64),
            "user_id": [f"user-{user}" for user in purchases.user],
            "item_handle": [f"item-{item}" for item in purchases.item],
            "timestamp": purchases.time,
            "item_category": ["all"] * len(purchases),
            "basket_id": [str(basket) for basket in purchases.basket],
        }
    )


def test_read_purchases(table, tmp_path):
    path = tmp_path / "interactions.parquet"
    table.write_parquet(path)
    purchases = read_purchases(path, "basket_id")
    assert sorted(set(table["user_id"]))[purchases.user[5]] == table["user_id"][5]
    assert sorted(set(table["item_handle"]))[purchases.item[5]] == table["item_handle"][5]
    assert purchases.time.tolist() == table["timestamp"].to_list()
    assert sorted(set(table["basket_id"]))[purchases.basket[5]] == table["basket_id"][5]
    assert read_purchases(path).basket.tolist() == purchases.time.tolist()


def test_the_command_writes_json_and_markdown(table, tmp_path, capsys):
    path = tmp_path / "interactions.parquet"
    table.write_parquet(path)
    settings = {"cuts": 1, "min_history_days": 2, "seeds": 1, "epochs": 1, "hidden": [4], "negatives": 5}
    (tmp_path / "ranker.yaml").write_text(json.dumps(settings))
    common = ["--before", "1970-01-31", "--days", "8", "--min-purchases", "3", "--quiet"]
    common += ["--ranker-config", str(tmp_path / "ranker.yaml")]
    assert main([str(path), *common, "--basket", "basket_id", "--output", str(tmp_path / "out")]) == 0
    printed = capsys.readouterr().out
    written = (tmp_path / "out" / "window_1970-01-31.md").read_text(encoding="utf-8")
    assert written in printed and "own frequency, basket decay + EASE" in written
    document = json.loads((tmp_path / "out" / "window_1970-01-31.json").read_text(encoding="utf-8"))
    assert document["before"] == "1970-01-31T00:00:00+00:00" and document["target"] == "window"
    assert set(document["views"]) == {"all", "new"}
    learned = document["views"]["all"]["methods"]["candidate history"]
    assert learned["settings"]["groups"] == ["item_category"] and learned["settings"]["days"] == 8


def test_mistakes_are_said_in_one_line(table, tmp_path, capsys):
    path = tmp_path / "interactions.parquet"
    table.write_parquet(path)
    (tmp_path / "wrong.yaml").write_text("half_life: 3")
    assert main([str(path), "--before", "1970-01-31", "--ranker-config", str(tmp_path / "wrong.yaml")]) == 1
    assert "half_life" in capsys.readouterr().err
    assert main([str(path), "--before", "1970-01-31", "--basket", "cart"]) == 1
    assert "`basket` should name a column" in capsys.readouterr().err
    assert main([str(path), "--before", "1970-01-31", "--simple-only", "--min-purchases", "100000"]) == 1
    assert "lower it or move the cut" in capsys.readouterr().err
    assert main([str(tmp_path / "none.parquet"), "--before", "1970-01-31"]) == 1
    table.with_columns(user_id=pl.lit(None, dtype=pl.String)).write_parquet(path)
    assert main([str(path), "--before", "1970-01-31"]) == 1
    assert "missing ones in user_id" in capsys.readouterr().err
