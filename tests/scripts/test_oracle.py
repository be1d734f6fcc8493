from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from small_shop import INVENTORY, PARAMETERS, RULES

from scripts.ml.generate_interactions import generate
from scripts.ml.interaction_oracle import Oracle, OracleError
from scripts.ml.interaction_output import write_interaction_file, write_oracle_file
from scripts.ml.interaction_world import build_world
from scripts.ml.shopper_simulation import State, Taste
from scripts.ml.shopper_steps import draw_step, sample, step_probabilities
from scripts.shopify.inventory import catalogue_inventory
from training.data.interactions import read_interactions
from training.data.sequences import build_dataset

WORLD = build_world(INVENTORY, RULES, np.random.default_rng(0))
X1, X2, X3, X4, Y1, Y2, Y3, Y4, NONE = range(9)
SHOPPER = Taste(np.float32([[0.75, 0.25]]), np.float32([[0.75, 0.25]]), np.array([False]))


def state(*touched, start=False, group=0, slot=0, previous=(), gap_days=0.0):
    seen = np.zeros((1, 9), bool)
    seen[0, [*([] if start else touched), NONE]] = True
    last = [*previous, *touched][-1:] or [NONE]
    return State(
        start=np.array([start]),
        gap_days=np.float32([gap_days]),
        group=np.array([group]),
        slot=np.array([slot]),
        current=np.array(last),
        seen=seen,
        previous=np.array([[*previous, *[NONE] * (4 - len(previous))]]),
    )


def probabilities(state, shopper=SHOPPER):
    return step_probabilities(WORLD, shopper, state)[0]


def test_inside_a_session():
    # X One is touched and current. Its group goes on with X Two or X Three, 2 to 1; its only partner is Y One; the
    # random component has 0.75 / 4 for each open X and 0.25 / 4 for each Y, scaled up by the missing X One.
    x, y = 0.10 * 3 / 13, 0.10 * 1 / 13
    expected = [0, 0.65 * 2 / 3 + x, 0.65 / 3 + x, x, 0.25 + y, y, y, y]
    np.testing.assert_allclose(probabilities(state(X1)), expected, rtol=1e-12)


def test_backwards():
    x, y = 0.10 * 3 / 13, 0.10 * 1 / 13
    backwards = replace(SHOPPER, backwards=np.array([True]))
    expected = [0, 0.65 / 3 + x, 0.65 * 2 / 3 + x, x, 0.25 + y, y, y, y]
    np.testing.assert_allclose(probabilities(state(X1), backwards), expected, rtol=1e-12)


def test_no_partner_is_left():
    # X Four has none: across goes to products of across-category groups (X1 X2 Y1 Y2) by taste, of which X1 is touched.
    x, y = 0.10 * 3 / 10, 0.10 * 1 / 10
    ax, ay = 0.25 * 3 / 5, 0.25 * 1 / 5
    expected = [0, 0.65 * 2 / 3 + x + ax, 0.65 / 3 + x, 0, y + ay, y + ay, y, y]
    np.testing.assert_allclose(probabilities(state(X1, X4)), expected, rtol=1e-12)


def test_the_group_is_exhausted():
    # The Xs are done: a new group by taste among those with something left, that is the Ys, entered 4 : 2 : 1.
    x, y = 0.10 * 3 / 7, 0.10 * 1 / 7
    expected = [0, 0, 0, x, 0.65 * 4 / 7 + y, 0.65 * 2 / 7 + y, 0.65 / 7 + y, y]
    got = probabilities(state(X1, X2, X3, slot=2))
    got[[Y1, Y2]] -= 0.25 / 2  # X Three has no partner; of the across products only Y1 and Y2 are open
    np.testing.assert_allclose(got, expected, rtol=1e-12)


def test_the_first_session():
    # No previous session, no current product: within and random in the proportion 0.65 : 0.10.
    within, rest = 0.65 / 0.75, 0.10 / 0.75
    entry = within * np.array([3 / 4 * 4 / 7, 3 / 4 * 2 / 7, 3 / 4 / 7, 0, 1 / 4 * 4 / 7, 1 / 4 * 2 / 7, 1 / 4 / 7, 0])
    expected = entry + rest * np.repeat([3 / 16, 1 / 16], 4)
    np.testing.assert_allclose(probabilities(state(start=True, group=-1)), expected, rtol=1e-12)


def test_a_later_session_returns_the_more_probably_the_sooner():
    # Otherwise the need that follows is taken up half of the times: the Xs' only group follows on itself.
    within, rest = 0.65 / 0.75, 0.10 / 0.75
    xs, ys = 0.5 + 0.5 * 3 / 4, 0.5 * 1 / 4
    new = within * np.array([xs * 4 / 7, xs * 2 / 7, xs / 7, 0, ys * 4 / 7, ys * 2 / 7, ys / 7, 0])
    new += rest * np.repeat([3 / 16, 1 / 16], 4)
    for days, come_back in ((0.0, 0.6), (10.0, 0.3), (20.0, 0.15)):
        expected = (1 - come_back) * new
        expected[[Y4, X2]] += come_back * np.array([1 / 3, 2 / 3])  # the last one weighs twice as much
        got = probabilities(state(start=True, group=0, slot=1, previous=(Y4, X2), gap_days=days))
        np.testing.assert_allclose(got, expected, rtol=1e-6)


def test_the_groups_of_a_category_follow_each_other_in_a_circle(generated):
    world = generated.world
    following = world.next_group
    assert sorted(following) == list(range(len(world.groups)))
    assert (world.group_category[following] == world.group_category).all()
    for category in range(10):
        members = np.flatnonzero(world.group_category == category).tolist()
        assert following[members].tolist() == [*members[1:], members[0]]


STATES = {
    "inside": state(X1),
    "no partner": state(X1, X4),
    "exhausted": state(X1, X2, X3, slot=2),
    "first": state(start=True, group=-1),
    "later": state(start=True, slot=1, previous=(Y4, X2), gap_days=4.0),
}


@pytest.mark.parametrize("backwards", [False, True])
@pytest.mark.parametrize("name", STATES)
def test_draws_follow_the_probabilities(name, backwards):
    n = 40_000
    shopper = replace(SHOPPER, backwards=np.array([backwards]))
    rows = np.zeros(n, int)
    many = State(*(getattr(STATES[name], field)[rows] for field in State.__dataclass_fields__))
    product, group, slot, component = draw_step(WORLD, shopper[rows], many, np.random.default_rng(5))
    expected = n * probabilities(STATES[name], shopper)
    observed = np.bincount(product, minlength=8)
    assert observed[expected == 0].sum() == 0
    possible = expected > 0
    assert stats.chisquare(observed[possible], expected[possible]).pvalue > 0.001
    assert not many.seen[np.arange(n), product].any()
    touched_group = WORLD.slot_of[group, product] >= 0
    assert touched_group[(component == 1)].all()
    assert (WORLD.groups[group, slot] == product)[touched_group].all()


@given(st.integers(0, 2**32 - 1), st.integers(1, 6), st.integers(1, 30))
@settings(max_examples=50)
def test_sampling_never_takes_what_has_no_weight(seed, columns, rows):
    rng = np.random.default_rng(seed)
    weights = rng.random((rows, columns)) ** 20 * (rng.random((rows, columns)) < 0.5)
    weights[np.arange(rows), rng.integers(0, columns, rows)] += 1e-30
    chosen = sample(weights, rng)
    assert (weights[np.arange(rows), chosen] > 0).all()


def test_sampling_of_no_rows():
    assert sample(np.zeros((0, 3)), np.random.default_rng(0)).shape == (0,)


@pytest.fixture(scope="module")
def generated():
    return generate(catalogue_inventory(), users=400, days=90, seed=21)


@pytest.fixture(scope="module")
def oracle(generated, tmp_path_factory):
    path = tmp_path_factory.mktemp("oracle") / "interactions.oracle.npz"
    write_oracle_file(generated, path)
    return Oracle.load(path)


@pytest.fixture(scope="module")
def everything(generated, oracle):
    return oracle.row_probabilities(np.arange(len(generated.product)))


def test_every_row_is_a_distribution(everything):
    assert (everything >= 0).all()
    np.testing.assert_allclose(everything.sum(axis=1), 1.0, rtol=1e-12)


def test_what_happened_was_possible(generated, everything):
    assert (everything[np.arange(len(everything)), generated.product] > 0).all()


def test_the_oracle_is_calibrated(generated, everything):
    # If the product is drawn from p, the mean of p(product) is the sum of p squared, and its spread is known as well.
    chosen = everything[np.arange(len(everything)), generated.product]
    mean = (everything**2).sum(axis=1)
    spread = np.sqrt(((everything**3).sum(axis=1) - mean**2).sum())
    assert abs((chosen - mean).sum()) < 4 * spread
    # The same for the logarithm, which a wrong small probability would spoil ...
    logs = np.log(np.where(everything > 0, everything, 1.0))
    entropy = (everything * logs).sum(axis=1)
    spread = np.sqrt(((everything * logs**2).sum(axis=1) - entropy**2).sum())
    assert abs((np.log(chosen) - entropy).sum()) < 4 * spread
    # ... and for the number of times that every product is touched.
    counts = np.bincount(generated.product, minlength=everything.shape[1])
    spread = np.sqrt((everything * (1 - everything)).sum(axis=0))
    z = (counts - everything.sum(axis=0)) / spread
    assert np.abs(z).max() < 4.5 and 0.7 < z.std() < 1.3


@pytest.mark.parametrize("starting", [False, True])
def test_the_oracle_is_calibrated_at_every_level(generated, everything, starting):
    rows = np.flatnonzero(generated.plan.start == starting)
    chosen = everything[rows, generated.product[rows]]
    for low, high in ((0.0, 0.01), (0.01, 0.05), (0.05, 0.2), (0.2, 0.5), (0.5, 1.0)):
        mass = np.where((everything[rows] >= low) & (everything[rows] < high), everything[rows], 0.0).sum(axis=1)
        spread = np.sqrt((mass * (1 - mass)).sum())
        assert abs(((chosen >= low) & (chosen < high)).sum() - mass.sum()) < 4 * spread + 1e-9


def test_the_state_is_rebuilt_for_any_selection_of_rows(generated, oracle, everything):
    rows = np.random.default_rng(0).permutation(len(generated.product))[:300]
    np.testing.assert_allclose(oracle.row_probabilities(rows), everything[rows], rtol=1e-12)
    assert oracle.row_probabilities(np.arange(0)).shape == (0, 240)


def test_nothing_of_the_running_session_is_probable(generated, oracle, everything):
    rows = np.flatnonzero(~generated.plan.start)
    assert (everything[rows, generated.product[rows - 1]] == 0).all()


def test_probabilities_by_user_and_position(generated, oracle, everything):
    ids = np.array(["user_000007", "user_000399", "user_000007"])
    positions = np.array([0, 3, 4])
    rows = generated.plan.offsets[[7, 399, 7]] + positions
    np.testing.assert_allclose(oracle.probabilities(ids, positions), everything[rows], rtol=1e-12)


@pytest.mark.parametrize(
    ("user", "position"), [("user_000400", 0), ("", 0), ("user_000007", 5000), ("user_000007", -1)]
)
def test_unknown_users_and_positions(oracle, user, position):
    with pytest.raises(OracleError, match=r"Received"):
        oracle.probabilities(np.array([user]), np.array([position]))


@pytest.fixture(scope="module")
def dataset(generated, tmp_path_factory):
    folder = tmp_path_factory.mktemp("dataset")
    write_interaction_file(generated, folder / "interactions.tsv")
    frame = read_interactions(folder / "interactions.tsv", "polars")
    return build_dataset(frame, folder / "dataset", rng_seed=1)


@pytest.mark.parametrize("split", ["train", "valid", "test"])
def test_scores_are_in_the_order_of_the_vocabulary(generated, oracle, everything, dataset, split):
    rows = dataset.rows(split)[:2000]
    scores = oracle.score(dataset, rows)
    assert scores.shape == (len(rows), dataset.num_items)
    assert (scores[:, 0] == 0).all()
    users = [int(name.removeprefix("user_")) for name in dataset.vocabularies["user"].decode(dataset.user[rows])]
    own_rows = generated.plan.offsets[users] + dataset.position[rows]
    product_of = {handle: product for product, handle in enumerate(generated.inventory.handles)}
    products = [product_of[handle] for handle in dataset.vocabularies["item"].values[1:]]
    np.testing.assert_allclose(scores[:, 1:], everything[np.ix_(own_rows, products)], rtol=1e-12)
    known = np.flatnonzero(dataset.item[rows])
    chosen = everything[own_rows, generated.product[own_rows]][known]
    np.testing.assert_allclose(scores[known, dataset.item[rows][known]], chosen, rtol=1e-12)


def test_a_dataset_of_other_interactions_is_refused(oracle, dataset):
    rows = dataset.rows("test")
    shifted = replace(dataset, timestamp=dataset.timestamp + 1)
    with pytest.raises(OracleError, match="should be made from the interactions that were generated with this oracle"):
        oracle.score(shifted, rows)


def test_a_dataset_with_other_products_is_refused(oracle, dataset):
    items = dataset.vocabularies["item"]
    values = items.values.astype("<U40")
    values[3] = "from-elsewhere"
    other = replace(dataset, vocabularies={**dataset.vocabularies, "item": replace(items, values=values)})
    with pytest.raises(OracleError, match=r"is of 'from-elsewhere' at \d+, the oracle has '"):
        oracle.score(other, dataset.rows("test"))


def test_nothing_ranks_better_than_the_oracle_on_average(generated, everything):
    # Expected log-likelihood is highest at the truth: any blend with something else loses.
    chosen = everything[np.arange(len(everything)), generated.product]
    popularity = np.bincount(generated.product) / len(generated.product)
    for share in (0.02, 0.2, 1.0):
        blended = (1 - share) * chosen + share * popularity[generated.product]
        assert np.log(blended).mean() < np.log(chosen).mean()


def test_small_rules_run_out_of_nothing(tmp_path):
    # Eight products, sessions of up to four: groups and partners are exhausted all the time.
    result = generate(INVENTORY, RULES, users=300, days=60, seed=2)
    write_oracle_file(result, tmp_path / "small.oracle.npz")
    table = Oracle.load(tmp_path / "small.oracle.npz").row_probabilities(np.arange(len(result.product)))
    np.testing.assert_allclose(table.sum(axis=1), 1.0, rtol=1e-12)
    counts = np.bincount(result.product, minlength=8)
    spread = np.sqrt((table * (1 - table)).sum(axis=0))
    assert (np.abs(counts - table.sum(axis=0)) < 4 * spread).all()
    assert result.world.parameters == PARAMETERS
