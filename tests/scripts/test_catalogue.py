import re
from decimal import Decimal

import pytest

from scripts.ml.interaction_rules import DEFAULT_RULES
from scripts.shopify.inventory import catalogue_inventory, main, slugify
from training.data.inventory import load_inventory

CATEGORIES = ["Clothing", "Electronics", "Books", "Toys", "Food", "Automotive", "Home", "Sports", "Beauty", "Health"]


@pytest.fixture(scope="module")
def inventory():
    return catalogue_inventory()


def test_ten_categories_and_at_least_230_products(inventory):
    assert list(inventory.categories) == CATEGORIES
    assert len(inventory.products) >= 230
    assert min(map(len, inventory.category_to_products_dict.values())) >= 23


def test_titles_are_unique(inventory):
    assert len(inventory.title_to_handle_dict) == len(inventory.products)


def test_every_product_has_usable_attributes(inventory):
    for product in inventory.products:
        assert re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", product["handle"])
        assert re.fullmatch(r"\d+\.\d{2}", product["price"]) and Decimal(product["price"]) > 0
        assert product["vendor"]
        assert product["audience"] in {"everyone", "adults", "men", "women", "kids", "toddlers"}
        assert len(product["tags"]) == 2 and all(product["tags"])


def test_attributes_divide_the_catalogue(inventory):
    # A feature that is the same everywhere, or different everywhere, would teach nothing.
    for attribute in ("vendor", "audience"):
        values = {product[attribute] for product in inventory.products}
        assert 5 <= len(values) <= len(inventory.products) / 4


def test_the_committed_snapshot_is_what_the_command_writes(tmp_path, capsys):
    output = tmp_path / "inventory.pkl"
    assert main(["--output", str(output)]) == 0
    assert "240 products in 10 categories" in capsys.readouterr().out
    written, committed = load_inventory(output), load_inventory("training/inventory.pkl")
    assert written.document() == committed.document()
    assert written.handles == committed.handles
    assert written.document() == catalogue_inventory().document()


def test_the_command_says_in_one_line_what_is_wrong(tmp_path, capsys):
    assert main(["--output", str(tmp_path / "inventory.txt")]) == 1
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith("error: `path` should end with .pkl or .json") and captured.err.count("\n") == 1


@pytest.mark.parametrize(
    ("title", "handle"),
    [
        ("Chef Knife 20 cm", "chef-knife-20-cm"),
        ("  Crème brûlée -- Set! ", "creme-brulee-set"),
        ("Men's Tee", "mens-tee"),
    ],
)
def test_slugify(title, handle):
    assert slugify(title) == handle


def test_default_rules_are_as_many_and_as_large_as_promised(inventory):
    assert len(DEFAULT_RULES.within) >= 35 and len(DEFAULT_RULES.across) >= 20
    assert {len(group.products) for group in DEFAULT_RULES.within} <= {4, 5, 6}
    assert {len(group.products) for group in DEFAULT_RULES.across} <= {3, 4, 5}
    names = [group.name for group in (*DEFAULT_RULES.within, *DEFAULT_RULES.across)]
    assert len(set(names)) == len(names)
    assert DEFAULT_RULES.parameters.within_probability == 0.65
    assert DEFAULT_RULES.parameters.across_probability == 0.25


def test_default_rules_fit_the_catalogue(inventory):
    category = {product["title"]: product["category"] for product in inventory.products}
    for group in DEFAULT_RULES.within:
        assert len({category[title] for title in group.products}) == 1, group.name
    for group in DEFAULT_RULES.across:
        assert len({category[title] for title in group.products}) >= 2, group.name
    grouped = {title for group in DEFAULT_RULES.within for title in group.products}
    assert {category[title] for title in grouped} == set(CATEGORIES)
    assert 0.1 < 1 - len(grouped) / len(category) < 0.4  # some products belong to nothing, as in a real shop
