"""The theme section where the Storefront API fails: it stays hidden and quiet; in a real browser."""

import threading

import pytest
from theme_shop import assert_quiet, visit


def test_a_token_that_is_wrong(page):
    visit(page, "storefront_token=wrong")
    assert page.states() == ["failed"]
    assert_quiet(page, network=True)
    assert len(page.storefront_requests()) <= 1  # never asked again


@pytest.mark.parametrize(
    "fetch",
    [
        "async () => new Response('oops', {status: 500})",
        "async () => new Response(JSON.stringify({data: {}}), {status: 500})",
        "async () => new Response('{}')",
        "async () => new Response('<html>')",
        "async () => new Response('null')",
        'async () => new Response(\'{"errors": [{"message": "Access denied"}], "data": null}\')',
        'async () => new Response(\'{"data": {"metaobject": {"field": {"references": {"nodes": 7}}}}}\')',
        "async () => { throw new TypeError('Failed to fetch') }",
    ],
)
def test_an_api_that_fails(page, fetch):
    page.before_scripts(
        f"window.calls = 0; const f = {fetch}; window.fetch = (...a) => {{ window.calls += 1; return f(...a) }}"
    )
    visit(page)
    assert page.states() == ["failed"]
    assert_quiet(page)
    assert page.js("return window.calls") == 1


def test_a_shop_that_breaks_down(page, monkeypatch):
    carry_out = page.store.carry_out

    def broken(prepared, variables, api, scopes):
        if prepared.name == "SlirecRecommendations":
            raise OSError("no disk")
        return carry_out(prepared, variables, api, scopes)

    monkeypatch.setattr(page.store, "carry_out", broken)
    visit(page)
    assert page.states() == ["failed"]
    assert_quiet(page, network=True)
    (crash,) = page.store.crashes
    assert str(crash) == "no disk"
    page.store.crashes.clear()


def test_a_connection_that_fails(page):
    page.driver.execute_cdp_cmd("Network.enable", {})
    page.driver.execute_cdp_cmd("Network.setBlockedURLs", {"urls": ["*/graphql.json"]})
    try:
        visit(page)
    finally:
        page.driver.execute_cdp_cmd("Network.setBlockedURLs", {"urls": []})
    assert page.states() == ["failed"]
    assert_quiet(page, network=True)
    assert page.storefront_requests() == []


def test_an_answer_that_does_not_come_is_given_up_after_eight_seconds(page, monkeypatch):
    page.before_scripts(
        """window.timeouts = []; const later = window.setTimeout;
        window.setTimeout = (f, ms) => { window.timeouts.push(ms); return later(f, ms / 40) };"""
    )
    late, carry_out = threading.Event(), page.store.carry_out

    def slowly(prepared, variables, api, scopes):
        if prepared.name == "SlirecRecommendations":
            late.wait(20)
        return carry_out(prepared, variables, api, scopes)

    monkeypatch.setattr(page.store, "carry_out", slowly)
    try:
        visit(page)
        assert page.states() == ["failed"]
        assert page.js("return window.timeouts") == [8000]
    finally:
        late.set()
    assert_quiet(page)
