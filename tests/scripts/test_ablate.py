import json
import os

import numpy as np
import polars as pl
import pytest
import yaml
from small_data import small_dataset, small_interactions, small_inventory

from scripts.ml.ablate import kept_values, main
from scripts.ml.ablate_retail import Kept, categories_of, equal_blend, read_feature_tables
from scripts.ml.evaluate_future import read_purchases
from training.ablation import Costs, Line, every_feature, load_rows, markdown, measure_costs, plot, table, with_budget
from training.ablation import with_fewer_held_out as fewer
from training.config import ConfigError, TrainingConfig, load_config
from training.data.inventory import inventory_from_records, load_inventory, save_inventory
from training.data.sequences import load_dataset
from training.feature_config import FeaturesConfig
from training.models.ranker import BEST

DAY = 86_400
ROWS = {
    "rows": [
        {"name": "plain", "config": {"train": {"init_value": 0.1, "batch_size": 64}}},
        {
            "name": "features",
            "config": {
                "train": {"init_value": 0.1, "batch_size": 64},
                "data": {"same_time": "together"},
                "features": {
                    "item": [{"name": "brand", "dim": 2}],
                    "user": [{"name": "age", "dim": 2}],
                    "event": [{"name": "hour", "kind": "hour", "dim": 2}],
                },
            },
            "only": "retail",
            "blend": True,
        },
        {
            "name": "tags",
            "config": {"features": {"item": [{"name": "tags", "kind": "multi", "dim": 2}]}},
            "only": "synthetic",
        },
        {"name": "gBCE", "config": {"train": {"loss": "gbce", "logq_correction": False}}, "only": "synthetic"},
    ]
}


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    return small_dataset(tmp_path_factory.mktemp("ablate") / "dataset", num_users=30)


def test_the_rows_that_come_along_fit_the_provided_configuration():
    base = load_config()
    for part in ("synthetic", "retail"):
        rows = load_rows("training/ablation.yaml", part)
        assert rows[0].name.startswith("plain SLi-Rec")
        configs = [base.replaced(**row.config) for row in rows]
        assert not configs[0].features
        losses = {config.train.loss for config in configs}
        assert losses >= {"softmax", "gbce", "bce"}
        features = every_feature(configs)
        assert features.item
        assert features.event
        assert [row.blend for row in rows].count(True) == (part == "retail")
        assert ("full_softmax" in losses) == (part == "synthetic")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("rows: []", "at least 1 item"),
        ("rows: [{name: a}, {name: a}]", "different names"),
        ("rows: [{name: a, only: retail}]", "rows with different names for synthetic"),
        ("rows: [{nam: a}]", "Extra inputs"),
    ],
)
def test_bad_rows_are_refused(tmp_path, text, message):
    path = tmp_path / "rows.yaml"
    path.write_text(text)
    with pytest.raises(ConfigError, match=message):
        load_rows(path, "synthetic")


def test_the_synthetic_rows_name_what_the_provided_products_have():
    products = load_inventory("training/inventory.pkl").products
    rows = load_rows("training/ablation.yaml", "synthetic")
    for feature in every_feature(load_config().replaced(**row.config) for row in rows).item:
        assert any(product.get(feature.source) for product in products)


def test_one_data_set_serves_all_rows():
    def config(**features):
        return TrainingConfig().replaced(features=features)

    wide, narrow = {"name": "price", "kind": "numeric", "dim": 9}, {"name": "price", "kind": "numeric"}
    hour = {"name": "hour", "kind": "hour"}
    found = every_feature([TrainingConfig(), config(item=[wide]), config(item=[narrow], event=[hour])])
    assert [feature.name for feature in found.item] == ["price"]
    assert [feature.name for feature in found.event] == ["hour"]
    assert not every_feature([TrainingConfig()])
    with pytest.raises(ConfigError, match="item feature 'price' should be the same in all rows"):
        every_feature([config(item=[wide]), config(item=[{"name": "price"}])])


def test_a_budget_is_spread_over_the_epochs():
    train = with_budget(TrainingConfig(), 1000, 4, seed=7).train
    assert (train.epoch_examples, train.epochs, train.EARLY_STOP, train.seed) == (250, 4, 0, 7)


def test_fewer_held_out_shoppers_change_nothing_in_training(dataset):
    some = fewer(dataset, 5, np.random.default_rng(0))
    np.testing.assert_array_equal(some.rows("train"), dataset.rows("train"))
    for split in ("valid", "test"):
        rows = some.rows(split)
        assert len(rows) == 5
        place = np.searchsorted(dataset.rows(split), rows)
        np.testing.assert_array_equal(some.negatives[split], dataset.negatives[split][place])
    assert set(dataset.user[some.rows("valid")]) == set(dataset.user[some.rows("test")])


def test_the_forecast_is_linear_in_candidates_and_rows():
    costs = Costs(example=1.0, candidate=0.1, row=2.0)
    plain = TrainingConfig()  # the positive and 4 negatives
    assert costs.seconds(plain, 101, examples=10, rows=3) == pytest.approx(10 * 1.5 + 6)
    full = plain.replaced(train={"loss": "full_softmax"})
    assert costs.seconds(full, 101, examples=10, rows=0) == pytest.approx(10 * 11.0)
    hard = plain.replaced(train={"hard_num_ngs": 5, "hard_pool": 30})
    assert costs.seconds(hard, 101, examples=10, rows=0) == pytest.approx(10 * 3.0)


def test_a_table_has_leads_over_its_first_line_from_the_same_resamples():
    values = np.random.default_rng(1).random(400)
    lines = [Line("first", values, [0.5], 3.0, 100.0), Line("better", values + 0.1, [0.6]), Line("own", values)]
    documents = table(lines, "NDCG@10", np.random.default_rng(0))
    first, better, own = documents
    assert first["lead"] is None
    assert first["NDCG@10"] == pytest.approx(values.mean())
    assert first["low"] < first["NDCG@10"] < first["high"]
    # The same shoppers are drawn for both, so a constant lead has no width.
    assert better["lead"] == pytest.approx({"mean": 0.1, "low": 0.1, "high": 0.1})
    assert own["lead"] == {"mean": 0.0, "low": 0.0, "high": 0.0}
    text = markdown("Title", ["A note."], "NDCG@10", documents)
    assert "| better |" in text
    assert "+0.1000 [+0.1000, +0.1000]" in text
    assert len(plot({"one": documents, "other": documents}, "NDCG@10").axes) == 2


def write_interactions(folder):
    rng = np.random.default_rng(0)
    rows = [
        (1, f"u{user}", f"p{item}", day * DAY, f"c{item % 3}", None if user == 3 else f"{day // 5} years")
        for user in range(15)
        for day in range(1, 12)
        for item in rng.choice(40, 3, replace=False)
    ]
    columns = ["label", "user_id", "item_handle", "timestamp", "item_category", "age"]
    pl.DataFrame(rows, schema=columns, orient="row").write_parquet(folder / "interactions.parquet")
    return folder / "interactions.parquet"


def write_items(folder):
    table = pl.DataFrame({"item_handle": [f"p{i}" for i in range(40)], "brand": [f"b{i % 4}" for i in range(40)]})
    table.write_parquet(folder / "items.parquet")
    return folder / "items.parquet"


def test_categories_are_by_the_numbers_of_the_purchases(tmp_path):
    path = write_interactions(tmp_path)
    names = sorted(f"p{item}" for item in range(40))
    assert categories_of(path).tolist() == [int(name[1:]) % 3 for name in names]
    assert read_purchases(path).item.max() == 39


def test_features_are_by_the_numbers_of_the_purchases_and_from_before_the_cut(tmp_path):
    path, items = write_interactions(tmp_path), write_items(tmp_path)
    features = FeaturesConfig(item=({"name": "maker", "column": "brand"},), user=({"name": "age"},))
    tables = read_feature_tables(path, items, features, 5 * DAY)
    names = sorted(f"p{item}" for item in range(40))
    assert list(tables.items["brand"]) == [f"b{int(name[1:]) % 4}" for name in names]
    users = sorted(f"u{user}" for user in range(15))
    assert list(tables.users["age"]) == [None if name == "u3" else "0 years" for name in users]
    none = read_feature_tables(path, None, FeaturesConfig(), 5 * DAY)
    assert (none.items, none.users) == ({}, {})
    with pytest.raises(ValueError, match="`--items` should name"):
        read_feature_tables(path, None, features, 5 * DAY)
    with pytest.raises(ValueError, match=r"none called \['size'\]"):
        read_feature_tables(path, items, FeaturesConfig(item=({"name": "size"},)), 5 * DAY)


def test_a_blend_without_weights_standardises_each_part():
    users = np.array([2, 5])
    one = Kept("one", users, np.array([[0.0, 2.0], [4.0, 4.0]]))
    other = Kept("other", users, np.array([[3.0, 1.0], [0.0, 20.0]]))
    blend = equal_blend([one, other])
    assert blend.name == "one + other"
    np.testing.assert_allclose(blend.score(np.array([5, 2])), [[-0.5, 0.5], [0.0, 0.0]])


def test_values_are_kept_until_the_run_goes_on(tmp_path):
    (tmp_path / BEST).touch()
    made = []

    def make():
        made.append(len(made))
        return {"a row": np.array([float(len(made))])}

    assert [float(kept_values(tmp_path, make)["a row"][0]) for _ in range(2)] == [1.0, 1.0]
    later = (tmp_path / "values.npz").stat().st_mtime + 5
    os.utime(tmp_path / BEST, (later, later))
    assert kept_values(tmp_path, make)["a row"] == 2.0


@pytest.mark.slow
def test_both_parts_end_in_one_document(dataset, tmp_path, capsys):
    rows, folder = tmp_path / "rows.yaml", tmp_path / "out"
    rows.write_text(yaml.safe_dump(ROWS))
    interactions, inventory = tmp_path / "small.parquet", tmp_path / "inventory.json"
    pl.from_pandas(small_interactions(30)).write_parquet(interactions)
    products = [{**product, "tags": ["even", "all"] if number % 2 else ["all"]}
                for number, product in enumerate(small_inventory().products)]  # fmt: skip
    save_inventory(inventory_from_records(products), inventory)
    common = ["--rows", str(rows), "--runs", str(tmp_path / "runs"), "--output", str(folder)]
    budget = ["--examples", "120", "--epochs", "2", "--shoppers", "8"]
    synthetic = ["synthetic", str(interactions), "--inventory", str(inventory)]
    assert main([*synthetic, *common, *budget]) == 0
    assert "about 0 minutes" in capsys.readouterr().out
    dataset = load_dataset(tmp_path / "runs" / "dataset")
    assert [each.name for each in dataset.features.all] == ["tags"]
    retail = ["retail", str(write_interactions(tmp_path)), "--before", "1970-01-09", "--min-purchases", "1"]
    retail += ["--items", str(write_items(tmp_path)), "--valid-rows", "6"]
    assert main([*retail, *common, *budget]) == 0
    parts = json.loads((folder / "ablation.json").read_text())["parts"]
    names = {part: [line["name"] for line in document["lines"]] for part, document in parts.items()}
    assert names["synthetic"] == ["plain", "tags", "gBCE", "own frequency", "popularity"]
    assert names["retail"] == [
        "plain",
        "features",
        "Blend: features + own frequency, basket decay",
        "own frequency, basket decay",
        "popularity",
    ]
    assert "--before 1970-01-09" in " ".join(parts["retail"]["notes"])
    assert "Not trained yet" not in (folder / "ablation.md").read_text()
    for document in parts.values():
        for line in document["lines"]:
            assert 0 <= line["low"] <= line["NDCG@10"] <= line["high"] <= 1
    assert (folder / "ablation.md").read_text().count("| popularity |") == 2
    assert (folder / "ablation.png").stat().st_size > 10_000
    costs = measure_costs(dataset, TrainingConfig())
    assert min(costs.example + costs.candidate, costs.row) > 0


def test_mistakes_are_one_line_and_an_exit_status(tmp_path, capsys):
    path = write_interactions(tmp_path)
    for arguments, message in (
        (["retail", str(path)], "`--before` should name the day"),
        (["retail", str(path), "--seeds", "0"], "should be positive integers"),
        (["synthetic", str(tmp_path / "nowhere")], "nowhere"),
    ):
        assert main(arguments) == 1
        assert message in capsys.readouterr().err
