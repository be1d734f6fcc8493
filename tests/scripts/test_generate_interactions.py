from dataclasses import replace

import numpy as np
import polars as pl
import pytest
from small_shop import INVENTORY, RULES, rules_with

from scripts.ml import generate_interactions
from scripts.ml.generate_interactions import generate, main, user_ids
from scripts.ml.interaction_output import write_interaction_file
from scripts.ml.interaction_rules import DEFAULT_RULES, ProductGroup
from scripts.ml.interaction_world import RulesError
from scripts.ml.shopper_simulation import COMPONENTS
from scripts.shopify.inventory import catalogue_inventory
from training.data.columns import INTERACTION_COLUMNS
from training.data.interactions import read_interactions
from training.data.inventory import save_inventory

DAY = 86_400


@pytest.fixture(scope="module")
def shop():
    return catalogue_inventory()


@pytest.fixture(scope="module")
def generated(shop):
    return generate(shop, users=1000, days=120, seed=11)


@pytest.fixture(scope="module")
def by_user(generated):
    """Which step has the same user's step before it."""
    first = np.zeros(len(generated.product), bool)
    first[generated.plan.offsets[:-1]] = True
    return ~first


def test_the_amount_is_as_documented(generated):
    counts = np.diff(generated.plan.offsets)
    assert counts.min() >= 5
    assert 40 <= counts.mean() <= 50
    assert np.quantile(counts, 0.9) > 3 * np.quantile(counts, 0.1)  # some users are far more active than others


def test_timestamps_strictly_increase_for_every_user(generated, by_user):
    assert (np.diff(generated.plan.timestamp)[by_user[1:]] > 0).all()


def test_timestamps_are_within_the_observation(generated):
    first = np.datetime64("2025-01-01").astype("datetime64[s]").astype(int)
    assert generated.plan.timestamp.min() >= first
    assert generated.plan.timestamp.max() < first + 120 * DAY


def test_products_of_a_session_are_minutes_apart_and_sessions_days(generated, by_user):
    gaps = np.diff(generated.plan.timestamp)
    start = generated.plan.start[1:]
    within = gaps[~start]
    assert within.min() >= 15 and within.max() <= 1200 and 120 < np.median(within) < 200
    between = gaps[start & by_user[1:]]
    assert between.min() > DAY - 9 * 1200 and np.median(between) > 3 * DAY
    starts = generated.plan.timestamp[generated.plan.start]
    user = np.repeat(np.arange(1000), np.diff(generated.plan.offsets))[generated.plan.start]
    assert np.diff(starts)[user[1:] == user[:-1]].min() >= DAY


def test_shoppers_sleep(generated):
    hour = generated.plan.timestamp[generated.plan.start] // 3600 % 24
    assert np.mean((hour >= 1) & (hour < 5)) < 0.05 < 0.2 < np.mean((hour >= 18) & (hour < 22))


def test_session_lengths_are_within_the_limits_but_for_the_last_one(generated):
    starts = np.flatnonzero(generated.plan.start)
    ends = np.append(starts[1:], len(generated.product))
    length = ends - starts
    last = np.isin(ends, generated.plan.offsets[1:])
    assert length[~last].min() == 2 and length[~last].max() == 7
    assert length[last].min() == 1 and length[last].max() <= 7  # the observation ends in the middle of a session


def test_nothing_is_touched_twice_in_a_session(generated):
    session = np.cumsum(generated.plan.start)
    pairs = session.astype(np.int64) * 1000 + generated.product
    assert len(np.unique(pairs)) == len(pairs)


def test_steps_take_the_components_as_often_as_stated(generated):
    inside = generated.component[~generated.plan.start]
    share = np.bincount(inside, minlength=4) / len(inside)
    assert COMPONENTS == ("return", "within", "across", "random")
    np.testing.assert_allclose(share, [0, 0.65, 0.25, 0.10], atol=4 * np.sqrt(0.25 / len(inside)))
    begin = generated.component[generated.plan.start]
    share = np.bincount(begin, minlength=4) / len(begin)
    assert share[2] == 0 and 0.15 < share[0] < 0.4
    assert share[1] / share[3] == pytest.approx(6.5, rel=0.1)  # 0.65 to 0.10, as inside a session


def test_within_steps_stay_in_the_active_group_and_its_category(generated):
    world = generated.world
    rows = np.flatnonzero((generated.component == 1) & ~generated.plan.start)
    group, product = generated.group[rows], generated.product[rows]
    in_group = world.slot_of[group, product] >= 0
    assert in_group.mean() > 0.9  # the others had exhausted their group
    assert (world.category[product] == world.group_category[group])[in_group].all()


def test_users_have_lasting_tastes(generated):
    user = np.repeat(np.arange(1000), np.diff(generated.plan.offsets))
    counts = np.zeros((1000, 10))
    np.add.at(counts, (user, generated.world.category[generated.product]), 1)
    share = np.sort(counts / counts.sum(axis=1, keepdims=True), axis=1)
    assert 0.6 < np.median(share[:, -3:].sum(axis=1)) < 0.95  # three favourites of ten, and the rest as well
    # Taste lasts: the first and the second half of a user's history have the same favourites.
    half = np.arange(len(user)) < np.repeat(
        (generated.plan.offsets[:-1] + generated.plan.offsets[1:]) / 2, counts.sum(1).astype(int)
    )
    halves = np.zeros((2, 1000, 10))
    np.add.at(halves, (half.astype(int), user, generated.world.category[generated.product]), 1)
    halves -= halves.mean(axis=2, keepdims=True)
    norm = np.linalg.norm(halves, axis=2)
    assert np.median((halves[0] * halves[1]).sum(axis=1) / norm.prod(axis=0)) > 0.7


def test_every_product_is_found_by_somebody_but_not_equally(generated):
    counts = np.bincount(generated.product, minlength=240)
    assert counts.min() > 0
    assert counts.max() > 10 * counts.min() and counts.max() < 0.05 * counts.sum()


def test_the_seed_decides_everything(shop):
    first, again, other = (generate(shop, users=30, days=60, seed=seed) for seed in (3, 3, 4))
    for name in ("product", "group", "slot", "component"):
        assert np.array_equal(getattr(first, name), getattr(again, name))
    assert np.array_equal(first.plan.timestamp, again.plan.timestamp)
    assert np.array_equal(first.taste.category, again.taste.category)
    assert not np.array_equal(first.product[:20], other.product[:20])


def test_chunks_of_users_are_independent_of_each_other(shop, monkeypatch):
    monkeypatch.setattr(generate_interactions, "CHUNK", 100)
    one, two = (generate(shop, users=users, days=60, seed=3) for users in (100, 150))
    end = one.plan.offsets[-1]
    assert np.array_equal(one.product, two.product[:end])
    assert np.array_equal(one.plan.timestamp, two.plan.timestamp[:end])
    assert two.num_users == 150 and len(two.taste.group) == 150
    assert two.plan.offsets[-1] == len(two.product) == len(two.plan.start)
    assert two.plan.start[two.plan.offsets[:-1]].all()


def test_progress_counts_every_interaction(shop):
    steps = []
    result = generate(shop, users=20, days=60, seed=1, progress=steps.append)
    assert sum(steps) == len(result.product)


@pytest.mark.parametrize("form", ["tsv", "parquet"])
def test_the_file_is_contract_2(tmp_path, generated, shop, form):
    path = tmp_path / f"interactions.{form}"
    write_interaction_file(generated, path, form)
    frame = read_interactions(path, "polars").lazy().collect()
    assert tuple(frame.columns) == INTERACTION_COLUMNS
    assert frame.height == len(generated.product)
    assert frame["label"].unique().to_list() == [1]
    assert frame["timestamp"].is_sorted()
    assert frame["user_id"].n_unique() == 1000
    category = frame.select("item_handle", "item_category").unique()
    assert dict(category.iter_rows()) == shop.category_of
    own = frame.filter(pl.col("user_id") == "user_000123").sort("timestamp")
    begin, end = generated.plan.offsets[123:125]
    assert own["timestamp"].to_list() == generated.plan.timestamp[begin:end].tolist()
    assert own["item_handle"].to_list() == [shop.handles[product] for product in generated.product[begin:end]]


def test_user_ids_sort_by_number():
    ids = user_ids(1_000_002)
    assert ids[0] == "user_0000000" and ids[-1] == "user_1000001"
    assert user_ids(12).tolist()[-1] == "user_000011"


@pytest.fixture
def snapshot(tmp_path):
    path = tmp_path / "inventory.pkl"
    save_inventory(catalogue_inventory(), path)
    return str(path)


def test_command_line(tmp_path, snapshot, capsys):
    output = tmp_path / "out" / "some.tsv"
    assert main([snapshot, str(output), "--users", "20", "--days", "60", "--seed", "5"]) == 0
    assert "interactions of 20 users" in capsys.readouterr().out
    assert sorted(path.name for path in output.parent.iterdir()) == ["some.oracle.npz", "some.tsv"]
    first = output.read_bytes()
    assert main([snapshot, str(output), "--users", "20", "--days", "60", "--seed", "5", "--no-oracle"]) == 0
    assert output.read_bytes() == first
    assert [path.name for path in output.parent.iterdir()] == ["some.tsv"]  # no oracle of an earlier run stays
    parquet = output.with_suffix(".parquet")
    assert main([snapshot, str(parquet), "--users", "20", "--days", "60", "--seed", "5"]) == 0
    assert pl.read_parquet(parquet).rows() == read_interactions(output, "polars").lazy().collect().rows()


def test_products_that_the_snapshot_lacks_are_all_listed_and_nothing_is_written(tmp_path, capsys):
    inventory = catalogue_inventory()
    kept = tuple(product for product in inventory.products if product["title"] not in ("Yoga Strap", "Silk Tie"))
    save_inventory(replace(inventory, products=kept), tmp_path / "inventory.json")
    output = tmp_path / "out" / "interactions.tsv"
    assert main([str(tmp_path / "inventory.json"), str(output)]) == 1
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith("error: The rules should name products of the inventory")
    assert captured.err.endswith("2 are not in it: Silk Tie; Yoga Strap\n")
    assert captured.err.count("\n") == 1
    assert not output.parent.exists()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--users", "0"], "`users` should be a positive integer. Received: users = 0"),
        (["--days", "1"], "`days` should leave room for 2 sessions. Received: days = 1"),
        (["--format", "parquet"], "should end with .parquet for --format parquet"),
        (["--seed", "-1"], "non-negative"),
    ],
)
def test_command_line_errors(tmp_path, snapshot, capsys, options, message):
    assert main([snapshot, str(tmp_path / "x.tsv"), *options]) == 1
    error = capsys.readouterr().err
    assert error.startswith("error: ") and message in error and error.count("\n") == 1
    assert not (tmp_path / "x.tsv").exists()


def test_a_missing_snapshot(tmp_path, capsys):
    assert main([str(tmp_path / "none.pkl"), str(tmp_path / "x.tsv")]) == 1
    assert "which is not a file" in capsys.readouterr().err


@pytest.mark.parametrize("days", [2, 5, 30])
def test_short_observations(days):
    result = generate(INVENTORY, RULES, users=200, days=days, seed=1)
    assert np.diff(result.plan.offsets).min() >= 5
    assert result.plan.timestamp.max() - result.plan.timestamp.min() < days * DAY
    same = np.diff(np.repeat(np.arange(200), np.diff(result.plan.offsets))) == 0
    assert (np.diff(result.plan.timestamp)[same] > 0).all()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"within": (ProductGroup("no", ("X One", "Z One", "z-two")),)}, "2 are not in it: Z One; z-two"),
        ({"across": ()}, "`across` should hold at least one group"),
        ({"within": (*RULES.within, ProductGroup("one", ("X One",)))}, "'one' should have at least 2 products"),
        ({"within": (*RULES.within, ProductGroup("twice", ("X One", "x-one")))}, "'twice' should have at least 2"),
        ({"within": (*RULES.within, ProductGroup("both", ("X One", "Y One")))}, "'both' should be of one category"),
        ({"across": (*RULES.across, ProductGroup("same", ("X One", "X Two")))}, "at least two categories. Received: 1"),
        ({"across": RULES.across[:1]}, "as many products as the longest session"),
    ],
)
def test_rules_that_do_not_fit(changes, message):
    with pytest.raises(RulesError, match=message):
        generate(INVENTORY, replace(RULES, **changes), users=5, days=30, seed=1)


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"within_probability": 0.8, "across_probability": 0.3}, "sum with `across_probability` under 1"),
        ({"within_probability": 0.0}, "should be positive"),
        ({"mean_session_length": 9.0}, "1 <= min <= mean <= max"),
        ({"min_interactions": 50}, "cannot be met by the shortest sessions"),
        ({"min_days_between_sessions": 0.01}, "over twice the longest session"),
    ],
)
def test_parameters_that_contradict_themselves(parameters, message):
    with pytest.raises(ValueError, match=message):
        generate(INVENTORY, rules_with(**parameters), users=5, days=30, seed=1)


def test_default_rules_are_not_changed_by_anything_here():
    with pytest.raises(AttributeError):
        DEFAULT_RULES.parameters.within_probability = 1.0
