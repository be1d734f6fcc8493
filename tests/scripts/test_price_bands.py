from hypothesis import given
from hypothesis import strategies as st

from scripts.shopify.price_bands import price_bands


def test_bands_are_quantiles_and_named_by_their_edges():
    prices = ["1.00", "2.00", "3.00", "4.00", "5.00", "6.00"]
    low, middle, high = "1 (under 3.00)", "2 (3.00 to 4.99)", "3 (5.00 and more)"
    assert price_bands(prices, bands=3) == [low, low, middle, middle, high, high]
    assert price_bands(prices[::-1], bands=3) == [high, high, middle, middle, low, low]
    assert price_bands(["3.00", None, "5.00"], bands=2) == ["1 (under 5.00)", None, "2 (5.00 and more)"]


def test_bands_of_catalogues_with_little_to_divide():
    assert price_bands([]) == []
    assert price_bands([None, None]) == [None, None]
    assert price_bands(["7.50"] * 3) == ["1 (any price)"] * 3
    assert price_bands(["0.00"] * 9 + ["20.00"]) == ["1 (any price)"] * 10
    assert price_bands(["0.00"] * 7 + ["20.00"] * 3) == ["1 (under 20.00)"] * 7 + ["2 (20.00 and more)"] * 3


cents = st.integers(0, 10_000_000)


@given(st.lists(cents, min_size=1, max_size=60), st.integers(1, 8))
def test_bands_keep_the_order_of_prices_and_agree_with_their_names(amounts, bands):
    found = price_bands([f"{amount / 100:.2f}" for amount in amounts], bands)
    numbers = [int(name.split(" ")[0]) for name in found]
    assert set(numbers) == set(range(1, max(numbers) + 1))  # none is empty
    assert max(numbers) <= bands
    ordered = [number for _, number in sorted(zip(amounts, numbers, strict=True))]
    assert ordered == sorted(ordered)
    assert len({(amount, name) for amount, name in zip(amounts, found, strict=True)}) == len(set(amounts))
    for amount, name in zip(amounts, found, strict=True):
        text = name.partition("(")[2].rstrip(")")
        if text.startswith("under "):
            assert amount < round(float(text.removeprefix("under ")) * 100)
        elif text.endswith(" and more"):
            assert amount >= round(float(text.removesuffix(" and more")) * 100)
        elif text != "any price":
            low, high = (round(float(edge) * 100) for edge in text.split(" to "))
            assert low <= amount <= high
