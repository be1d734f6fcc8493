"""How long the client waits before a request, without any server."""

import pytest

from scripts.shopify.budget import Budget


def cost(requested, available, maximum=2000.0, rate=100.0):
    bucket = {"maximumAvailable": maximum, "currentlyAvailable": available, "restoreRate": rate}
    return {"requestedQueryCost": requested, "actualQueryCost": requested, "throttleStatus": bucket}


@pytest.fixture
def budget(fake_time):
    return Budget(fake_time.sleep, fake_time.clock)


def test_nothing_is_known_and_nothing_waited_for_before_the_first_answer(budget, fake_time):
    assert (budget.available, budget.wait_for("products_page", 100), fake_time.waits) == (None, 0.0, [])
    budget.note("products_page", 100, {})  # a lost answer tells nothing either
    assert (budget.available, budget.wait_for("products_page", 100)) == (None, 0.0)


def test_bucket_refills_at_its_rate_up_to_its_maximum(budget, fake_time):
    budget.note("access", None, cost(10, 1500))
    assert budget.available == 1500
    fake_time.now += 3
    assert budget.available == 1800
    fake_time.now += 30
    assert budget.available == 2000


def test_document_is_taken_for_the_dearest_possible_until_it_was_sent(budget, fake_time):
    budget.note("access", None, cost(10, 400))
    assert budget.expected("products_page", 100) == 1000
    assert budget.wait_for("products_page", 100) == pytest.approx(6.01)  # (1000 - 400) / 100, and a point more
    assert fake_time.waits == [pytest.approx(6.01)]
    budget.note("products_page", 100, cost(108, 400))
    assert (budget.expected("products_page", 100), budget.wait_for("products_page", 100)) == (108, 0.0)


def test_cost_is_remembered_by_name_and_page_size_and_is_the_largest_seen(budget):
    budget.note("products_page", 100, cost(108, 400))
    budget.note("products_page", 100, cost(60, 400))
    budget.note("products_page", 25, cost(30, 400))
    assert [budget.expected("products_page", size) for size in (100, 25, 50)] == [108, 30, 1000]


def test_request_dearer_than_the_bucket_is_sent_when_it_is_full(budget, fake_time):
    budget.note("access", None, cost(10, 100, maximum=400.0, rate=50.0))
    budget.wait_for("products_page", 250)  # unknown, so 1,000 points, of which the bucket holds 400
    assert fake_time.waits == [pytest.approx(301 / 50)]
    assert budget.available == 400
    budget.note("products_page", 250, cost(700, 400, maximum=400.0, rate=50.0))
    assert budget.wait_for("products_page", 250) == 0.0


def test_request_without_an_answer_may_have_been_charged(budget):
    budget.note("publish", None, cost(10, 25))
    budget.note("publish", None, {})
    assert budget.available == 15
    for _ in range(3):
        budget.note("publish", None, {})
    assert budget.available == 0


def test_throttled_answer_teaches_cost_and_level(budget, fake_time):
    budget.note("access", None, cost(10, 2000))
    throttled = cost(108, 8)
    throttled["actualQueryCost"] = None
    budget.note("products_page", 100, throttled)
    assert budget.wait_for("products_page", 100) == pytest.approx(1.01)
    assert fake_time.waits == [pytest.approx(1.01)]


@pytest.mark.parametrize(("maximum", "rate"), [(2000.0, 100.0), (4000.0, 200.0), (400.0, 50.0)])
def test_leaky_bucket_is_never_overdrawn(budget, fake_time, maximum, rate):
    """A bucket kept here as Shopify keeps it: admitted on the requested cost, then refunded, refilled with time."""
    level, at, costs = (
        maximum,
        fake_time.now,
        {"product_by_handle": (14, 9), "product_set": (30, 30), "page": (390, 150)},
    )
    for number in range(500):
        name = list(costs)[number % 3]
        budget.wait_for(name)
        fake_time.now += 0.05 * (number % 4)  # the way there, and the way back
        level, at = min(maximum, level + rate * (fake_time.now - at)), fake_time.now
        requested, actual = costs[name]
        assert level >= requested, f"request {number} would be throttled"
        level -= actual
        fake_time.now += 0.02
        budget.note(name, None, cost(requested, int(level), maximum, rate))
    assert 0 < len(fake_time.waits) < 500  # neither unaware nor timid
    spent = sum(costs[list(costs)[number % 3]][1] for number in range(500))
    # What was waited for is what the bucket lacked, and not much more.
    assert sum(fake_time.waits) < (spent + 390 + 1000) / rate
