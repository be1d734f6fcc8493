"""One step of many shoppers at once: drawing it, and its exact probabilities."""

import numpy as np
from numpy.typing import NDArray

from scripts.ml import shopper_simulation as simulation
from scripts.ml.shopper_simulation import ACROSS, RANDOM, RETURN, WITHIN, State, Taste, World


def sample(weights: NDArray[np.floating], rng: np.random.Generator) -> NDArray[np.int64]:
    """Draws a column of each row with probability proportional to its weight, by inverting the cumulative sum.

    Args:
        weights: (n, K) non-negative; each row has a positive one.
        rng: Source of randomness.

    Returns:
        (n,) columns; never one of weight 0.
    """
    cumulative = np.cumsum(weights, axis=1, dtype=np.float64)
    total = cumulative[:, -1]
    threshold = np.minimum(rng.random(len(total)) * total, np.nextafter(total, 0.0))
    return (cumulative <= threshold[:, None]).sum(axis=1)


def draw_step(
    world: World, taste: Taste, state: State, rng: np.random.Generator
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """Draws the next product of every shopper.

    Returns:
        (product, group, slot, component), each (n,): the product, and the active group and place in it afterwards.
    """
    n = len(state.start)
    product = np.empty(n, np.int64)
    group, slot = state.group.copy(), state.slot.copy()
    component = sample(simulation.component_weights(world, state), rng)

    rows = np.flatnonzero(component == RETURN)
    previous = state.previous[rows]
    product[rows] = previous[np.arange(len(rows)), sample(simulation.return_weights(world, previous), rng)]

    # A shopper who starts a session otherwise turns to a new group, even if the first product is a random one.
    rows = np.flatnonzero(state.start & (component != RETURN))
    weights = simulation.new_group_weights(world, taste[rows], group[rows], state.start[rows], state.seen[rows])
    group[rows] = sample(weights, rng)
    slot[rows] = simulation.first_slot(world, taste[rows], group[rows])
    rows = rows[component[rows] == WITHIN]
    slots = sample(simulation.entry_weights(world, taste[rows], group[rows], state.seen[rows]), rng)
    product[rows] = world.groups[group[rows], slots]

    rows = np.flatnonzero(~state.start & (component == WITHIN))
    weights = simulation.within_weights(world, taste[rows], group[rows], slot[rows], state.seen[rows])
    going_on = weights.any(axis=1)
    exhausted = rows[~going_on]
    rows = rows[going_on]
    product[rows] = world.groups[group[rows], sample(weights[going_on], rng)]
    seen = state.seen[exhausted]
    weights = simulation.new_group_weights(world, taste[exhausted], group[exhausted], state.start[exhausted], seen)
    group[exhausted] = sample(weights, rng)
    slots = sample(simulation.entry_weights(world, taste[exhausted], group[exhausted], seen), rng)
    product[exhausted] = world.groups[group[exhausted], slots]

    rows = np.flatnonzero(component == ACROSS)
    current = state.current[rows]
    weights = simulation.partner_weights(world, current, state.seen[rows])
    has_partner = weights.any(axis=1)
    columns = sample(weights[has_partner], rng)
    product[rows[has_partner]] = world.partners[current[has_partner], columns]
    rows = rows[~has_partner]
    columns = sample(simulation.across_weights(world, taste[rows], state.seen[rows]), rng)
    product[rows] = world.across_products[columns]

    rows = np.flatnonzero(component == RANDOM)
    product[rows] = sample(simulation.random_weights(world, taste[rows], state.seen[rows]), rng)

    place = world.slot_of[group, product]
    return product, group, np.where(place >= 0, place, slot), component


def step_probabilities(world: World, taste: Taste, state: State) -> NDArray[np.float64]:
    """Returns (n, P): the probability of every product of being the next, given the state. Rows sum to 1."""
    n, num_products = len(state.start), world.num_products
    mixture = simulation.component_weights(world, state)
    total = np.zeros((n, num_products + 1))

    rows = np.flatnonzero(mixture[:, RETURN] > 0)
    weights = _share(simulation.return_weights(world, state.previous[rows]), mixture[rows, RETURN])
    _scatter(total, rows, state.previous[rows], weights)

    rows = np.flatnonzero(~state.start)
    weights = simulation.within_weights(world, taste[rows], state.group[rows], state.slot[rows], state.seen[rows])
    going_on = weights.any(axis=1)
    turning = np.concatenate([np.flatnonzero(state.start), rows[~going_on]])
    rows = rows[going_on]
    _scatter(total, rows, world.groups[state.group[rows]], _share(weights[going_on], mixture[rows, WITHIN]))

    seen = state.seen[turning]
    weights = simulation.new_group_weights(world, taste[turning], state.group[turning], state.start[turning], seen)
    group_share = _share(weights, mixture[turning, WITHIN])
    for group in range(len(world.groups)):
        weights = simulation.entry_weights(world, taste[turning], np.full(len(turning), group), seen)
        possible = weights.any(axis=1)
        weights = _share(weights[possible], group_share[possible, group])
        _scatter(total, turning[possible], np.broadcast_to(world.groups[group], weights.shape), weights)

    rows = np.flatnonzero(mixture[:, ACROSS] > 0)
    weights = simulation.partner_weights(world, state.current[rows], state.seen[rows])
    has_partner = weights.any(axis=1)
    lonely, rows = rows[~has_partner], rows[has_partner]
    _scatter(total, rows, world.partners[state.current[rows]], _share(weights[has_partner], mixture[rows, ACROSS]))
    weights = simulation.across_weights(world, taste[lonely], state.seen[lonely])
    total[np.ix_(lonely, world.across_products)] += _share(weights, mixture[lonely, ACROSS])

    weights = simulation.random_weights(world, taste, state.seen)
    total[:, :num_products] += _share(weights, mixture[:, RANDOM])
    return total[:, :num_products]


def _share(weights: NDArray[np.floating], mass: NDArray[np.float64]) -> NDArray[np.float64]:
    """Scales each row of `weights` to the sum `mass`."""
    weights = weights.astype(np.float64)
    return weights * (mass / weights.sum(axis=1))[:, None]


def _scatter(
    total: NDArray[np.float64], rows: NDArray[np.int64], products: NDArray[np.int64], weights: NDArray[np.float64]
) -> None:
    """Adds weights (n, K) at the products (n, K) of the rows; a product may repeat only as padding of weight 0."""
    for products_column, weights_column in zip(products.T, weights.T, strict=True):
        total[rows, products_column] += weights_column
