"""How the synthetic shoppers behave: parameters and product groups. Data only; see `shopper_simulation`."""

from dataclasses import dataclass, field
from typing import Final

from scripts.ml.interaction_groups import ACROSS_CATEGORIES, WITHIN_CATEGORY


@dataclass(frozen=True)
class ProductGroup:
    """Products that are used together, or alternatives that are looked at together.

    Attributes:
        name: For messages only.
        products: Titles or handles, in the order in which shoppers loosely go through them.
    """

    name: str
    products: tuple[str, ...]


@dataclass(frozen=True)
class ShopperParameters:
    """Probabilities, session limits and user limits.

    Attributes:
        within_probability: A step goes to a product of the session's active within-category group.
        across_probability: A step goes to a product that shares an across-category group with the current one. The
            rest of the steps goes to any product, by the shopper's taste and the product's popularity.
        return_probability: A session starts at a product of the previous one, if that ended this moment ...
        return_half_life_days: ... and half as probably for every so many days since.
        return_decay: Factor on the weight of a product to return to, for each step further back.
        follow_probability: A session that does not return takes up the need that follows on that of the previous
            session: the group listed next in its category (after the last one, the first).
        backwards_probability: Share of shoppers who always go through groups from the last product to the first.
        order_decay: Factor on the weight of the next product of a group, for each place further on in its order.
        entry_decay: The same for the first product of a group that a shopper turns to.
        category_concentration: Dirichlet parameter of a shopper's taste over categories; small = few favourites.
        group_concentration: Dirichlet parameter of a shopper's taste over the groups of one category.
        taste_floor: Share of every taste that is spread evenly, so that nothing is impossible.
        popularity_exponent: Popularity inside a category is proportional to (rank + 2) ** -exponent.
        min_session_length: Products of the shortest session. The last one may be cut by the end of the observation.
        max_session_length: Products of the longest session.
        mean_session_length: Mean of the session lengths, which are binomial between the two.
        min_sessions: Sessions of the least active user.
        max_sessions: Sessions of the most active user.
        median_sessions: Median of the users' sessions.
        sessions_sigma: Standard deviation of the logarithm of the users' sessions.
        min_interactions: Interactions that every user has at least.
        min_seconds_between_products: Shortest time between two products of a session.
        mean_seconds_between_products: Mean of that time, which is exponential beyond the shortest.
        max_seconds_between_products: Longest time between two products of a session.
        min_days_between_sessions: Shortest time from the start of a session to the start of the next.
        first_day: UTC date on which the observation begins.
        hourly_activity: Relative activity in each of the 24 hours (UTC).
    """

    within_probability: float = 0.65
    across_probability: float = 0.25
    return_probability: float = 0.6
    return_half_life_days: float = 10.0
    return_decay: float = 0.6
    follow_probability: float = 0.6
    backwards_probability: float = 0.1
    order_decay: float = 0.3
    entry_decay: float = 0.45
    category_concentration: float = 0.2
    group_concentration: float = 0.1
    taste_floor: float = 0.03
    popularity_exponent: float = 0.7
    min_session_length: int = 2
    max_session_length: int = 7
    mean_session_length: float = 3.5
    min_sessions: int = 2
    max_sessions: int = 30
    median_sessions: float = 11.0
    sessions_sigma: float = 0.5
    min_interactions: int = 5
    min_seconds_between_products: int = 15
    mean_seconds_between_products: int = 180
    max_seconds_between_products: int = 1200
    min_days_between_sessions: float = 1.0
    first_day: str = "2025-01-01"
    hourly_activity: tuple[float, ...] = (
        *(2, 1, 1, 1, 1, 2, 4, 6, 8, 9, 10, 11),
        *(12, 12, 10, 10, 10, 12, 14, 17, 18, 16, 10, 5),
    )  # fmt: skip


@dataclass(frozen=True)
class InteractionRules:
    """Everything the generator needs beside the inventory.

    Attributes:
        within: Groups of products of one category.
        across: Groups of products of at least two categories.
        parameters: Probabilities and limits.
    """

    within: tuple[ProductGroup, ...]
    across: tuple[ProductGroup, ...]
    parameters: ShopperParameters = field(default_factory=ShopperParameters)


def parse_groups(table: str) -> tuple[ProductGroup, ...]:
    """Reads groups from lines of `name: product; product; ...`."""
    lines = (line.partition(":") for line in table.strip().splitlines())
    return tuple(ProductGroup(name, tuple(part.strip() for part in products.split(";"))) for name, _, products in lines)


DEFAULT_RULES: Final = InteractionRules(within=parse_groups(WITHIN_CATEGORY), across=parse_groups(ACROSS_CATEGORIES))
