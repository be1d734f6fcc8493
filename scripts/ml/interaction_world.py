"""Brings the interaction rules and an inventory together, and says where they do not fit."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from scripts.ml.interaction_rules import InteractionRules, ProductGroup, ShopperParameters
from scripts.ml.shopper_simulation import World
from training.data.inventory import Inventory


class RulesError(ValueError):
    """The rules do not fit the inventory, or contradict themselves."""


def build_world(inventory: Inventory, rules: InteractionRules, rng: np.random.Generator) -> World:
    """Looks the rules' products up in the inventory, and draws which products are popular.

    Raises:
        RulesError: Listing every product that the inventory lacks, and every group that breaks its rule.
    """
    _check_groups(inventory, rules)
    number = {handle: index for index, handle in enumerate(inventory.handles)}
    handle_of = inventory.title_to_handle_dict
    categories = {name: index for index, name in enumerate(inventory.categories)}
    category = np.array([categories[inventory.category_of[handle]] for handle in inventory.handles])

    def table(groups: Sequence[ProductGroup]) -> NDArray[np.int64]:
        members = [[number[handle_of.get(name, name)] for name in group.products] for group in groups]
        padded = np.full((len(members), max(map(len, members))), len(number))
        for row, products in zip(padded, members, strict=True):
            row[: len(products)] = products
        return padded

    popularity = np.empty(len(category))
    for index in range(len(categories)):
        products = np.flatnonzero(category == index)
        weights = (np.arange(len(products)) + 2.0) ** -rules.parameters.popularity_exponent
        popularity[rng.permutation(products)] = weights / weights.sum()
    return World.build(rules.parameters, category, popularity, table(rules.within), table(rules.across))


def _check_groups(inventory: Inventory, rules: InteractionRules) -> None:
    handle_of = inventory.title_to_handle_dict
    category_of = inventory.category_of
    groups = [*rules.within, *rules.across]
    missing = {
        name: None for group in groups for name in group.products if handle_of.get(name, name) not in category_of
    }
    if missing:
        raise RulesError(
            f"The rules should name products of the inventory by title or handle. {len(missing)} are not in it: "
            + "; ".join(missing)
        )
    for kind, members in (("within", rules.within), ("across", rules.across)):
        if not members:
            raise RulesError(f"`{kind}` should hold at least one group. Received: none")
        for group in members:
            handles = [handle_of.get(name, name) for name in group.products]
            count = len({category_of[handle] for handle in handles})
            if len(handles) < 2 or len(set(handles)) < len(handles):
                raise RulesError(f"Group {group.name!r} should have at least 2 products, each once.")
            if (count == 1) != (kind == "within"):
                expected = "one category" if kind == "within" else "at least two categories"
                raise RulesError(f"Group {group.name!r} should be of {expected}. Received: {count}")
        distinct = len({handle_of.get(name, name) for group in members for name in group.products})
        if distinct < rules.parameters.max_session_length:
            raise RulesError(
                f"The {kind}-category groups should have as many products as the longest session, so that no session "
                f"runs out of them. Received: {distinct} products, {rules.parameters.max_session_length} in a session"
            )


def check_parameters(parameters: ShopperParameters) -> None:
    """Raises RulesError if probabilities or limits contradict themselves."""
    within, across = parameters.within_probability, parameters.across_probability
    if not (within > 0 and across >= 0 and within + across < 1):
        raise RulesError(
            "`within_probability` should be positive and the sum with `across_probability` under 1. "
            f"Received: {within} and {across}"
        )
    if not 1 <= parameters.min_session_length <= parameters.mean_session_length <= parameters.max_session_length:
        raise RulesError(
            "Session lengths should be 1 <= min <= mean <= max. Received: "
            f"{parameters.min_session_length}, {parameters.mean_session_length}, {parameters.max_session_length}"
        )
    if (parameters.min_sessions - 1) * parameters.min_session_length + parameters.max_session_length < (
        parameters.min_interactions
    ):
        raise RulesError(f"`min_interactions` = {parameters.min_interactions} cannot be met by the shortest sessions.")
