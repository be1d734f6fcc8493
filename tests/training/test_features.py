"""Custom features in the data: vocabularies, buckets, several values, and the same from every engine."""

import numpy as np
import pandas as pd
import polars as pl
import pytest
from feature_data import FEATURES, MORE, feature_config, feature_interactions, feature_inventory

from scripts.ml import preprocess
from training.config import ConfigError, TrainingConfig, load_config
from training.data.batches import history_window
from training.data.columns import INTERACTION_COLUMNS
from training.data.features import FeatureError, bucket_ids, example_value, fit_numbers, fit_texts
from training.data.interactions import read_interactions
from training.data.sequences import build_dataset, load_dataset
from training.data.validation import InteractionsError
from training.feature_config import FeaturesConfig

DAY = 86_400
# Of ann's and bob's events the last is test, the last but one valid.
ROWS = [
    # user, item, day, kind, quantity, segment
    ("ann", "a", 1, "view", 1.0, "old"),
    ("ann", "b", 2, "cart", 2.0, "new"),
    ("ann", "a", 3, None, None, None),
    ("ann", "b", 4, "view", 3.0, "newer"),
    ("ann", "c", 5, "gift", 9.0, "newest"),
    ("bob", "a", 1, "view", 3.0, None),
    ("bob", "b", 1, "view", 4.0, None),
    ("bob", "a", 2, "cart", 0.5, "later"),
    ("bob", "c", 3, "late", 8.0, "latest"),
    ("cid", "c", 7, "", 4.0, "new"),
]
PRODUCTS = [
    {"handle": "a", "vendor": "Nut", "tags": ["red", "new", "red"], "price": "10.00"},
    {"handle": "b", "vendor": "Oak", "tags": "new, blue,", "price": 20},
    {"handle": "c", "vendor": "Nut", "tags": [], "price": None},
    {"handle": "unsold", "vendor": "Ash", "tags": ["green"], "price": 5},
]
CONFIG = FeaturesConfig.model_validate(MORE | {"event": MORE["event"][:2]})


def interactions():
    events = [(1, user, item, DAY * day, "c", kind, number, of) for user, item, day, kind, number, of in ROWS]
    return pd.DataFrame(events, columns=[*INTERACTION_COLUMNS, "kind", "quantity", "segment"])


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    folder = tmp_path_factory.mktemp("features") / "dataset"
    build_dataset(
        interactions(), folder, valid_num_ngs=0, test_num_ngs=0, features=CONFIG, products=PRODUCTS
    )  # fmt: skip
    return load_dataset(folder)


def feature(dataset, name):
    return next(each for each in dataset.features.all if each.name == name)


def test_vocabularies_are_of_the_training_split(small):
    kind = feature(small, "kind")
    assert kind.vocabulary.values.tolist() == ["", "view", "cart"]
    assert kind.vocabulary.counts.tolist() == [0, 3, 1]
    by_user = {}
    for user, number in zip(small.user.tolist(), kind.ids.tolist(), strict=True):
        by_user.setdefault(small.vocabularies["user"].values[user], []).append(number)
    assert by_user == {"ann": [1, 2, 0, 1, 0], "bob": [1, 1, 2, 0], "cid": [0]}


def test_numbers_go_into_quantile_buckets_of_training(small):
    quantity = feature(small, "quantity")  # training has 1, 2, 3, 4, 4
    assert quantity.bounds == (2.0,)  # the second third ends at the largest value
    assert quantity.vocabulary.values.tolist() == ["", "up to 2.0", "above 2.0"]
    assert quantity.vocabulary.counts.tolist() == [0, 2, 3]
    numbers = np.array([np.nan, -np.inf, 0.5, 2.0, 2.5, 99.0])
    assert bucket_ids(numbers, quantity.bounds, quantity.size).tolist() == [0, 0, 1, 1, 2, 2]


def test_a_user_has_the_latest_training_value(small):
    segment = feature(small, "segment")
    values = {user: segment.vocabulary.values[segment.ids[small.vocabularies["user"].index[user]]]
              for user in ("ann", "bob", "cid")}  # fmt: skip
    assert values == {"ann": "new", "bob": "", "cid": "new"}
    assert segment.vocabulary.values.tolist() == ["", "new"]  # counted once a user
    assert segment.vocabulary.counts.tolist() == [0, 2]
    assert segment.ids[0] == 0


def test_items_have_what_the_catalogue_says(small):
    handles = small.vocabularies["item"].values.tolist()
    found = {}
    for name in ("vendor", "tags", "price"):
        each = feature(small, name)
        for item, handle in enumerate(handles):
            ids = each.ids[each.offsets[item] : each.offsets[item + 1]]
            found[name, handle] = each.vocabulary.values[ids].tolist()
    assert found["vendor", "a"] == found["vendor", "c"] == ["Nut"]
    assert found["tags", "a"] == ["red", "new"]
    assert found["tags", "b"] == ["new", "blue"]
    assert found["tags", "c"] == found["tags", ""] == found["price", "c"] == [""]
    assert found["price", "a"] == ["up to 10.0"]
    assert found["price", "b"] == ["above 10.0"]
    assert feature(small, "vendor").vocabulary.values.tolist() == ["", "Nut", "Oak"]  # nothing of the unsold


def test_rare_texts_are_unknown_and_ties_are_by_bytes():
    assert fit_texts(["b", "é", "a", "", "rare"], np.array([2, 2, 2, 9, 1]), 2).values.tolist() == ["", "a", "b", "é"]


def test_quantiles_of_few_and_of_no_values():
    vocabulary, bounds = fit_numbers(np.array([5.0, np.nan, 5.0]), 4)
    assert bounds == ()
    assert vocabulary.values.tolist() == ["", "any"]
    assert bucket_ids(np.array([7.0, np.inf]), bounds, vocabulary.size).tolist() == [1, 0]
    vocabulary, bounds = fit_numbers(np.array([np.nan]), 4)
    assert vocabulary.size == 1
    assert bucket_ids(np.array([7.0]), bounds, vocabulary.size).tolist() == [0]
    vocabulary, bounds = fit_numbers(np.arange(10.0), 5)
    assert bounds == (1.0, 3.0, 5.0, 7.0)
    assert vocabulary.counts.tolist() == [0, 2, 2, 2, 2, 2]


def test_an_example_value_has_its_id(small):
    for name in ("kind", "quantity", "segment"):
        each = feature(small, name)
        for number in range(each.size):
            text = example_value(each, number)
            if each.feature.kind == "numeric":
                assert bucket_ids(np.array([float(text or "nan")]), each.bounds, each.size)[0] == number
            else:
                assert each.vocabulary.encode([text])[0] == number


def test_windows_carry_ids(small):
    row = np.flatnonzero((small.user == small.vocabularies["user"].index["ann"]) & (small.position == 3))
    inputs = history_window(small, row, 10, pad_to=5).as_inputs()
    assert inputs["event_kind"].tolist() == [[1, 2, 0, 0, 0]]
    assert inputs["user_segment"].tolist() == [1]
    assert inputs["event_kind"].dtype == inputs["user_segment"].dtype == np.int32


@pytest.mark.parametrize("engine", ["duckdb", "pandas", "polars"])
def test_engines_write_the_same_files(engine, tmp_path):
    """Also of events that only their features tell apart, in any order."""
    frame = feature_interactions()
    twice = frame.iloc[::3].assign(kind="view", quantity=np.nan)
    frame = pd.concat([frame, twice, twice.assign(kind=None), twice.assign(quantity=2.5)])
    config = FeaturesConfig.model_validate(MORE)
    folders = []
    for number, name in enumerate(("polars", engine)):
        path = tmp_path / f"{number}.parquet"
        pl.from_pandas(frame.sample(frac=1, random_state=number)).write_parquet(path)
        folders.append(tmp_path / f"dataset{number}")
        build_dataset(
            read_interactions(path, name, features=config), folders[-1], features=config,
            products=feature_inventory().products,
        )  # fmt: skip
    first, second = folders
    for path in sorted(first.iterdir()):
        if path.name != "dataset.json":
            assert path.read_bytes() == (second / path.name).read_bytes(), path.name
    assert load_dataset(first).metadata["features"] == load_dataset(second).metadata["features"]
    assert load_dataset(first).metadata["fingerprint"] == load_dataset(second).metadata["fingerprint"]


def test_without_features_the_files_are_what_they_were(tmp_path):
    frame = feature_interactions()
    build_dataset(frame, tmp_path / "one", features=FeaturesConfig())
    build_dataset(frame[list(INTERACTION_COLUMNS)], tmp_path / "two")
    assert (tmp_path / "one" / "dataset.json").read_text() == (tmp_path / "two" / "dataset.json").read_text()
    names = {path.name for path in (tmp_path / "one").iterdir()}
    assert not {name for name in names if name.startswith("features")}
    assert "features" not in TrainingConfig().model_dump(mode="json")
    assert "features" not in load_config().model_dump()


def test_a_configuration_may_use_some_of_a_datasets_features(small):
    some = small.features.chosen(FeaturesConfig.model_validate({"event": [{"name": "kind", "dim": 5}]}))
    assert [(each.name, each.feature.dim) for each in some.all] == [("kind", 5)]
    assert not small.features.chosen(FeaturesConfig())
    with pytest.raises(FeatureError, match=r"event feature 'colour'.*the features \['kind', 'quantity'\].*--config"):
        small.features.chosen(FeaturesConfig.model_validate({"event": [{"name": "colour"}]}))
    with pytest.raises(FeatureError, match="another definition"):
        small.features.chosen(FeaturesConfig.model_validate({"event": [{"name": "kind", "min_count": 2}]}))


@pytest.mark.parametrize(
    ("features", "message"),
    [
        ({"event": [{"name": "items"}]}, "none of this project's names"),
        ({"event": [{"name": "x"}], "user": [{"name": "x"}]}, "should be its own"),
        ({"user": [{"name": "x", "kind": "multi"}]}, "only items have several values"),
        ({"user": [{"name": "x", "kind": "hour"}]}, "read off the timestamp"),
        ({"event": [{"name": "x", "kind": "hour", "column": "t"}]}, "read off the timestamp"),
        ({"event": [{"name": "a b"}]}, "features.event.0.name"),
        ({"event": [{"name": "x", "width": 3}]}, "features.event.0.width: Extra inputs"),
    ],
)
def test_a_bad_feature_is_refused_by_name(features, message):
    with pytest.raises(ConfigError, match=message):
        TrainingConfig().replaced(features=features)


@pytest.mark.parametrize(
    ("features", "options", "message"),
    [
        ({"event": [{"name": "colour"}]}, {}, "event feature 'colour' should have the column 'colour'"),
        ({"item": [{"name": "vendor"}]}, {}, r"name the snapshot \(--inventory\)"),
        ({"item": [{"name": "colour"}]}, {"products": PRODUCTS}, "no product record with that key"),
        ({"item": [{"name": "tags"}]}, {"products": PRODUCTS}, "Give it `kind: multi`"),
        ({"event": [{"name": "kind", "kind": "numeric"}]}, {}, "Column `kind` should hold numbers"),
        ({"event": [{"name": "quantity"}]}, {}, "Column `quantity` should hold texts or whole numbers"),
    ],
)
def test_data_without_the_values_is_refused(features, options, message, tmp_path):
    config = FeaturesConfig.model_validate(features)
    with pytest.raises((FeatureError, InteractionsError), match=message):
        build_dataset(interactions(), tmp_path / "x", valid_num_ngs=0, test_num_ngs=0, features=config, **options)


def test_sizes_follow_from_the_features():
    config = feature_config(FEATURES)
    assert config.model.hidden_size == config.model.attention_size == 8 + 7
    with pytest.raises(ConfigError, match=r"item features' dim = 15.*hidden_size = 9"):
        config.replaced(model={"hidden_size": 9})


def test_the_command_line_takes_the_configuration(tmp_path, capsys):
    frame = feature_interactions()
    pl.from_pandas(frame).write_parquet(tmp_path / "interactions.parquet")
    (tmp_path / "config.yaml").write_text("features: {event: [{name: kind}, {name: hour, kind: hour}]}\n")
    paths = [str(tmp_path / "interactions.parquet"), str(tmp_path / "dataset")]
    assert preprocess.main([*paths, "--config", str(tmp_path / "config.yaml")]) == 0
    assert "Event feature kind: values" in capsys.readouterr().out
    dataset = load_dataset(tmp_path / "dataset")
    assert [each.name for each in dataset.features.all] == ["kind", "hour"]
    assert feature(dataset, "hour").size == 25
