"""A catalogue of eight products and rules for it: small enough to compute probabilities by hand."""

from dataclasses import replace

from scripts.ml.interaction_rules import InteractionRules, ProductGroup, ShopperParameters
from training.data.inventory import inventory_from_records

TITLES = ("X One", "X Two", "X Three", "X Four", "Y One", "Y Two", "Y Three", "Y Four")
INVENTORY = inventory_from_records(
    {
        "id": f"gid://shopify/Product/{number}",
        "handle": title.lower().replace(" ", "-"),
        "title": title,
        "category": title[0],
    }
    for number, title in enumerate(TITLES, start=1)
)
PARAMETERS = ShopperParameters(
    order_decay=0.5,
    entry_decay=0.5,
    return_decay=0.5,
    follow_probability=0.5,
    return_probability=0.6,
    return_half_life_days=10.0,
    popularity_exponent=0.0,
    max_session_length=4,
    mean_session_length=3.5,
)
RULES = InteractionRules(
    within=(
        ProductGroup("xs", ("X One", "X Two", "X Three")),
        ProductGroup("ys", ("y-one", "y-two", "y-three")),  # by handle, which rules may also use
    ),
    across=(ProductGroup("ones", ("X One", "Y One")), ProductGroup("twos", ("X Two", "Y Two"))),
    parameters=PARAMETERS,
)


def rules_with(**parameters):
    """Returns the rules with other parameters."""
    return replace(RULES, parameters=replace(PARAMETERS, **parameters))
