"""Shared by all tests."""

import os
import sys
from collections.abc import Iterator

import pytest

os.environ.setdefault("PYSPARK_PYTHON", sys.executable)  # Spark's workers run in this environment too


def require(condition: object, what: str) -> None:
    """Skips the test by name where `what` is missing on a user's machine; fails under CI=true."""
    if condition:
        return
    if os.environ.get("CI") == "true":
        pytest.fail(f"{what} is missing; .ci/run should have installed it")
    pytest.skip(f"needs {what}")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Runs the tests marked `slow` last, so that a mistake shows soon; first where processes share the tests.

    There, none should be left with a long one when the others have ended.
    """
    shared = "PYTEST_XDIST_WORKER" in os.environ
    items.sort(key=lambda item: (item.get_closest_marker("slow") is not None) != shared)


HMAC_SECRET = "a-secret-of-the-shop-0123456789abcdef"


class FakeTime:
    """Sleeping advances the clock and takes no time."""

    def __init__(self) -> None:
        self.now = 1_795_000_000.0
        self.waits: list[float] = []

    def sleep(self, seconds: float) -> None:
        self.waits.append(seconds)
        self.now += seconds

    def clock(self) -> float:
        return self.now


@pytest.fixture
def fake_time() -> FakeTime:
    return FakeTime()


@pytest.fixture
def store(fake_time: FakeTime) -> Iterator:
    """A running local shop whose clock is `fake_time`."""
    from scripts.shopify.dev_store import DevStore

    with DevStore(clock=fake_time.clock) as store:
        yield store


@pytest.fixture
def unserved_store(fake_time: FakeTime) -> Iterator:
    """A local shop to be asked in process, whose clock is `fake_time`."""
    from scripts.shopify.dev_store import DevStore

    store = DevStore(clock=fake_time.clock)
    yield store
    store.stop()
    assert store.crashes == []


@pytest.fixture
def shop_environment(store, monkeypatch: pytest.MonkeyPatch) -> None:
    """Points the commands at `store`, with the client-credentials grant."""
    for name in [name for name in os.environ if name.startswith(("SHOPIFY_", "SLIREC_"))]:
        monkeypatch.delenv(name)
    for name, value in {**store.environment(), "SLIREC_HMAC_SECRET": HMAC_SECRET}.items():
        monkeypatch.setenv(name, value)


@pytest.fixture
def client(store, fake_time: FakeTime) -> Iterator:
    """A client of `store` with a static token, whose waits take no time."""
    import numpy as np

    from scripts.shopify.client import ShopifyClient
    from scripts.shopify.settings import Settings

    settings = Settings(store_url=store.url, access_token=store.access_token)
    rng = np.random.default_rng(7)
    with ShopifyClient(settings, sleep=fake_time.sleep, clock=fake_time.clock, rng=rng) as client:
        yield client


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator:
    """Headless Chromium."""
    from theme_shop import chromium

    with chromium(tmp_path_factory.mktemp("chromium")) as browser:
        yield browser


@pytest.fixture
def page(browser, store, shop_environment) -> Iterator:
    """The storefront page of `store` in the browser."""
    from theme_shop import shop_page

    with shop_page(browser, store) as page:
        yield page
