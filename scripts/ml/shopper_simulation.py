"""The shoppers' choice model: from hidden state to the next product, as exact weights.

A step is a mixture of four components. The generator draws a component and then a product of it; the oracle adds the
components up. Both call the same weight functions, so the oracle's probabilities are those of the generator exactly.

- return (only where a session starts): a product of the previous session, rather a late one; its group goes on;
- within: a product of the active within-category group that this session has not touched. An exhausted group gives
  way to one drawn by taste; a session that does not return takes up the group that follows on the previous session's,
  or one by taste;
- across (not where a session starts): a product that shares an across-category group with the current product, else
  any product of across-category groups by taste;
- random: any product by taste and popularity.

Nothing is touched twice in a session. Product ids are numbers 0..P-1 in catalogue order; P is padding in every table.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from scripts.ml.interaction_rules import ShopperParameters

RETURN, WITHIN, ACROSS, RANDOM = range(4)
COMPONENTS: Final = ("return", "within", "across", "random")


@dataclass(frozen=True)
class World:
    """The catalogue and its groups as tables; the same for all shoppers.

    Attributes:
        parameters: Probabilities and limits.
        category: (P,) int64, category number of each product.
        popularity: (P,) float64, summing to 1 in each category.
        groups: (G, M) int64 products of each within-category group in order, padded with P.
        group_category: (G,) int64.
        group_size: (G,) int64.
        next_group: (G,) int64, the group of the same category whose need follows.
        slot_of: (G, P + 1) int64, place of a product in a group, -1 if it is not in it.
        entry: (2, G, M) float64, weights of the first product when a shopper turns to the group, forwards, backwards.
        partners: (P + 1, X) int64, products that share an across-category group, padded with P.
        partner_weight: (P + 1, X) float64, number of shared groups.
        across: (H, K) int64 products of each across-category group, padded with P.
        across_products: (A,) int64, products in any across-category group.
        across_count: (A,) float64, in how many.
    """

    parameters: ShopperParameters
    category: NDArray[np.int64]
    popularity: NDArray[np.float64]
    groups: NDArray[np.int64]
    group_category: NDArray[np.int64]
    group_size: NDArray[np.int64]
    next_group: NDArray[np.int64]
    slot_of: NDArray[np.int64]
    entry: NDArray[np.float64]
    partners: NDArray[np.int64]
    partner_weight: NDArray[np.float64]
    across: NDArray[np.int64]
    across_products: NDArray[np.int64]
    across_count: NDArray[np.float64]

    @property
    def num_products(self) -> int:
        """P."""
        return len(self.category)

    @classmethod
    def build(
        cls,
        parameters: ShopperParameters,
        category: NDArray[np.int64],
        popularity: NDArray[np.float64],
        groups: NDArray[np.int64],
        across: NDArray[np.int64],
    ) -> "World":
        """Derives all tables.

        Args:
            parameters: Probabilities and limits.
            category: (P,) category number of each product.
            popularity: (P,) summing to 1 in each category.
            groups: (G, M) products of the within-category groups, padded with P.
            across: (H, K) products of the across-category groups, padded with P.
        """
        num_products = len(category)
        real = groups < num_products
        slot_of = np.full((len(groups), num_products + 1), -1)
        slot_of[np.nonzero(real)[0], groups[real]] = np.nonzero(real)[1]
        products = np.unique(across[across < num_products])
        shared = np.zeros((len(products), len(products)))
        for row in across:
            members = np.searchsorted(products, row[row < num_products])
            shared[np.ix_(members, members)] += 1.0
        count = np.diag(shared).copy()
        np.fill_diagonal(shared, 0.0)
        nearest = np.argsort(-shared, axis=1, kind="stable")[:, : int((shared > 0).sum(axis=1).max())]
        weight = np.zeros((num_products + 1, nearest.shape[1]))
        weight[products] = np.take_along_axis(shared, nearest, axis=1)
        partners = np.full(weight.shape, num_products)
        partners[products] = np.where(weight[products] > 0, products[nearest], num_products)
        size = real.sum(axis=1)[:, None]
        group_category = category[groups[:, 0]]
        next_group = np.arange(len(groups))
        for number in np.unique(group_category):
            members = np.flatnonzero(group_category == number)
            next_group[members] = np.roll(members, -1)
        place = np.arange(groups.shape[1])
        place = np.where(real, np.stack([np.broadcast_to(place, groups.shape), size - 1 - place]), 0)
        return cls(
            parameters=parameters,
            category=category,
            popularity=popularity,
            groups=groups,
            group_category=group_category,
            group_size=size[:, 0],
            next_group=next_group,
            slot_of=slot_of,
            entry=parameters.entry_decay**place * real,
            partners=partners,
            partner_weight=weight,
            across=across,
            across_products=products,
            across_count=count,
        )


@dataclass(frozen=True)
class Taste:
    """What lasts of each shopper.

    Attributes:
        category: (n, C) float, probabilities of the categories.
        group: (n, G) float, probabilities of the within-category groups.
        backwards: (n,) bool, goes through the groups from their last product to their first.
    """

    category: NDArray[np.float32]
    group: NDArray[np.float32]
    backwards: NDArray[np.bool_]

    def __getitem__(self, rows: NDArray[np.int64] | slice) -> "Taste":
        return Taste(self.category[rows], self.group[rows], self.backwards[rows])


@dataclass(frozen=True)
class State:
    """What the generator knows before a step, one row a shopper.

    Attributes:
        start: (n,) bool, this step starts a session.
        gap_days: (n,) float, time since the shopper's last step in days.
        group: (n,) active group (where a session starts: that of the previous session), -1 before the first step.
        slot: (n,) place in the active group's order from which the shopper goes on.
        current: (n,) product of the last step, P before the first one.
        seen: (n, P + 1) bool, touched in this session; the padding column is True.
        previous: (n, L) products of the previous session, oldest first, padded with P.
    """

    start: NDArray[np.bool_]
    gap_days: NDArray[np.float32]
    group: NDArray[np.int64]
    slot: NDArray[np.int64]
    current: NDArray[np.int64]
    seen: NDArray[np.bool_]
    previous: NDArray[np.int64]


def draw_taste(world: World, users: int, rng: np.random.Generator) -> Taste:
    """Draws sparse lasting tastes over categories, and over the groups of each category."""
    parameters = world.parameters
    num_categories = int(world.category.max()) + 1
    category = _dirichlet(rng, parameters.category_concentration, (users, num_categories), parameters.taste_floor)
    group = np.zeros((users, len(world.groups)))
    for number in np.unique(world.group_category):
        columns = np.flatnonzero(world.group_category == number)
        preference = _dirichlet(rng, parameters.group_concentration, (users, len(columns)), parameters.taste_floor)
        group[:, columns] = category[:, [number]] * preference
    group /= group.sum(axis=1, keepdims=True)
    backwards = rng.random(users) < parameters.backwards_probability
    return Taste(category.astype(np.float32), group.astype(np.float32), backwards)


def component_weights(world: World, state: State) -> NDArray[np.float64]:
    """Returns (n, 4) probabilities of the components `COMPONENTS`, summing to 1.

    Where a session starts there is no current product, hence no across component: within and random share what the
    return component leaves, in the proportion they have everywhere.
    """
    parameters = world.parameters
    within, across = parameters.within_probability, parameters.across_probability
    rest = 1.0 - within - across
    has_previous = state.previous[:, 0] < world.num_products
    recency = 0.5 ** (state.gap_days.astype(np.float64) / parameters.return_half_life_days)
    come_back = np.where(state.start & has_previous, parameters.return_probability * recency, 0.0)
    weights = np.empty((len(come_back), 4))
    weights[:, RETURN] = come_back
    weights[:, WITHIN] = np.where(state.start, (1.0 - come_back) * within / (within + rest), within)
    weights[:, ACROSS] = np.where(state.start, 0.0, across)
    weights[:, RANDOM] = np.where(state.start, (1.0 - come_back) * rest / (within + rest), rest)
    return weights


def return_weights(world: World, previous: NDArray[np.int64]) -> NDArray[np.float64]:
    """Returns (n, L) weights of the products of the previous session; the last one weighs most."""
    real = previous < world.num_products
    age = real.sum(axis=1, keepdims=True) - 1 - np.arange(previous.shape[1])
    return np.where(real, world.parameters.return_decay ** np.maximum(age, 0), 0.0)


def within_weights(
    world: World,
    taste: Taste,
    group: NDArray[np.int64],
    slot: NDArray[np.int64],
    seen: NDArray[np.bool_],
) -> NDArray[np.float64]:
    """Returns (n, M) weights of the active group's slots; a row of zeros where the group is exhausted.

    The weight falls with the circular distance from the shopper's place in the group's order, in the direction in
    which this shopper goes.
    """
    slots = np.arange(world.groups.shape[1])
    step = np.where(taste.backwards, -1, 1)[:, None]
    distance = ((slots - slot[:, None]) * step - 1) % world.group_size[group][:, None]
    open_slot = ~seen[np.arange(len(group))[:, None], world.groups[group]]
    powers = world.parameters.order_decay**slots
    return powers[distance] * open_slot


def first_slot(world: World, taste: Taste, group: NDArray[np.int64]) -> NDArray[np.int64]:
    """Returns (n,) the place from which the shopper's way through the group leads to its beginning."""
    return np.where(taste.backwards, 0, world.group_size[group] - 1)


def new_group_weights(
    world: World, taste: Taste, group: NDArray[np.int64], start: NDArray[np.bool_], seen: NDArray[np.bool_]
) -> NDArray[np.float64]:
    """Returns (n, G) weights, summing to 1, of the groups to which a shopper may turn.

    Groups of which nothing is untouched in this session are left out. Where a session starts, the need that follows on
    that of the previous session is taken up with `follow_probability`; everything else is by taste.
    """
    is_open = ~seen[:, world.groups].all(axis=2)  # (n, G, M) -> (n, G)
    weights = taste.group * is_open.astype(np.float64)
    weights /= weights.sum(axis=1, keepdims=True)
    follows = np.where(start & (group >= 0), world.parameters.follow_probability, 0.0)
    weights *= (1.0 - follows)[:, None]
    weights[np.arange(len(group)), world.next_group[group]] += follows
    return weights


def entry_weights(world: World, taste: Taste, group: NDArray[np.int64], seen: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Returns (n, M) weights of the slots of a newly chosen group."""
    entry = world.entry[taste.backwards.astype(np.int64), group]
    return entry * ~seen[np.arange(len(group))[:, None], world.groups[group]]


def partner_weights(world: World, current: NDArray[np.int64], seen: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Returns (n, X) weights of the current product's partners; a row of zeros where none is left."""
    return world.partner_weight[current] * ~seen[np.arange(len(current))[:, None], world.partners[current]]


def across_weights(world: World, taste: Taste, seen: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Returns (n, A) weights of all products of across-category groups, for where the current one has no partner."""
    products = world.across_products
    return taste.category[:, world.category[products]] * world.across_count * ~seen[:, products]


def random_weights(world: World, taste: Taste, seen: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Returns (n, P) weights of all products by taste and popularity."""
    return taste.category[:, world.category] * world.popularity * ~seen[:, :-1]


def _dirichlet(rng: np.random.Generator, concentration: float, shape: tuple[int, int], floor: float) -> NDArray:
    """Draws symmetric Dirichlet rows, mixed with `floor` of the even distribution."""
    draws = rng.gamma(concentration, size=shape) + 1e-300  # sparse draws may underflow to all zeros
    return (1.0 - floor) * draws / draws.sum(axis=1, keepdims=True) + floor / shape[1]
