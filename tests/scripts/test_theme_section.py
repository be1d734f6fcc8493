"""The theme section in a real browser, on the local shop's page."""

import pytest
from conftest import HMAC_SECRET, require
from graphql import parse
from selenium.webdriver.common.by import By
from selenium.webdriver.support.ui import WebDriverWait
from shopify_schema import document_problems, published, variable_problems
from theme_shop import (
    CUSTOMER,
    TITLES,
    VISITOR,
    add_product,
    answer,
    assert_quiet,
    recommend,
    visit,
)

from scripts.shopify.dev_store.page_liquid import hmac_sha256
from scripts.shopify.fetch_schema import is_fetched
from scripts.shopify.marks import METAOBJECT_TYPE
from scripts.shopify.settings import API_VERSION

ATTACK = "<img src=x onerror=alert(1)>"
UNKNOWN = "f" * 64
TO_SECTION = "document.querySelector('slirec-recommendations').scrollIntoView()"
MOMENT = "return new Promise(done => requestAnimationFrame(() => setTimeout(done, 300)))"


def test_a_visitor_with_a_cookie_sees_the_published_products_in_order(page):
    visit(page)
    assert page.states() == ["shown"]
    assert page.titles() == list(TITLES)
    assert [card["path"] for card in page.cards()] == [
        *("/products/merino-beanie", "/products/trail-shoes", "/products/stoneware-mug"),
        *("/products/linen-shirt", "/products/cast-iron-skillet"),
    ]
    assert page.cards()[0]["text"][-1] == "$9.90"
    assert "Plainweave & Sons" not in page.cards()[0]["text"]
    assert page.console() == []
    assert len(page.storefront_requests()) == 1


def test_a_signed_in_customer_sees_theirs_and_the_secret_stays_on_the_server(page):
    handle = hmac_sha256(hmac_sha256(CUSTOMER, HMAC_SECRET), HMAC_SECRET)
    recommend(page.store, handle, [add_product(page.store, "Wool Blanket")])
    page.remember(VISITOR)
    page.open("/?customer=7")
    assert page.titles() == ["Wool Blanket"]
    assert handle in page.driver.page_source
    assert HMAC_SECRET not in page.driver.page_source
    page.open("/?customer=8")  # another customer, who has none; the cookie is not asked in their place
    assert page.states() == ["nothing to show"]
    assert_quiet(page)


@pytest.mark.parametrize(
    "cookie", ["", UNKNOWN[:-1], UNKNOWN + "0", "../" * 20 + "abcd", '"><script>alert(1)</script>']
)
def test_nobody_or_a_cookie_that_is_no_handle_sends_no_request(page, cookie):
    page.remember(cookie)
    page.open()
    assert page.states() == ["no shopper"]
    assert_quiet(page)
    assert page.storefront_requests() == []


def test_an_unknown_shopper_sees_nothing_and_the_console_stays_empty(page):
    page.remember(UNKNOWN)
    page.open()
    assert page.states() == ["nothing to show"]
    assert_quiet(page)
    assert len(page.storefront_requests()) == 1


def test_what_is_hidden_stays_hidden_under_a_theme_that_styles_every_section(page):
    page.open()
    page.js(
        """const sheet = new CSSStyleSheet();
        sheet.replaceSync('section { display: flex }');
        document.adoptedStyleSheets = [sheet];"""
    )
    assert_quiet(page)


def test_only_unpublished_products_show_nothing_and_among_others_they_are_left_out(page):
    hidden = add_product(page.store, "Hidden", published=False)
    recommend(page.store, UNKNOWN, [hidden])
    page.remember(UNKNOWN)
    page.open()
    assert page.states() == ["nothing to show"]
    assert_quiet(page)
    recommend(page.store, UNKNOWN, [hidden, add_product(page.store, "Wool Blanket"), hidden])
    page.open()
    assert page.titles() == ["Wool Blanket"]


def test_products_without_a_page_of_their_own_and_what_is_no_product_are_left_out(page):
    node = {"handle": "mug", "title": "Mug", "onlineStoreUrl": "https://x.example/products/mug"}
    page.before_scripts(answer([node | {"onlineStoreUrl": None, "title": "Elsewhere"}, {}, None, node]))
    visit(page)
    assert page.titles() == ["Mug"]


def test_markup_in_product_and_settings_is_text(page):
    recommend(page.store, VISITOR, [add_product(page.store, ATTACK), add_product(page.store, "Rock & <b>Roll</b>")])
    visit(page, "heading=%3Cimg%20src%3Dx%20onerror%3Dalert(1)%3E&cookie_name=slirec_shopper&show_vendor=true")
    assert page.titles() == [ATTACK, "Rock & <b>Roll</b>"]
    assert page.cards()[0]["text"][-2:] == ["Plainweave & Sons", "$9.90"]
    assert page.driver.find_element(By.CSS_SELECTOR, ".slirec__heading").text == ATTACK
    assert page.js("return document.querySelectorAll('img[src=\"x\"], main script:not([src]), main b').length") == 0
    assert page.console() == []  # a blocked script would be in here: the page's policy reports it
    with pytest.raises(Exception, match="no such alert"):
        _ = page.driver.switch_to.alert.text


@pytest.mark.parametrize(
    "slip",
    [
        "document.body.innerHTML = '<img src=x onerror=alert(1)>'",
        "document.body.append(Object.assign(document.createElement('script'), {text: 'alert(1)'}))",
        "document.body.append(Object.assign(document.createElement('img'), {src: 'http://x.example/x'}))",
    ],
)
def test_the_policy_of_the_page_would_have_reported_a_slip(page, slip):
    page.open()
    page.js(f"try {{ {slip} }} catch {{}}")
    assert {entry["source"] for entry in page.console()} == {"security"}


def test_urls_that_are_not_http_are_dropped(page):
    node = {"handle": "a/../b?c", "title": "Odd", "vendor": "", "onlineStoreUrl": "https://x.example/products/odd"}
    page.before_scripts(answer([node | {"featuredImage": {"url": "javascript:alert(1)", "altText": "a"}}]))
    visit(page)
    assert page.cards() == [{"title": "Odd", "path": "/products/a%2F..%2Fb%3Fc", "text": ["O", "Odd"]}]
    assert page.js("return document.querySelectorAll('.slirec img').length") == 0


def test_two_sections_on_a_page_ask_once_each(page):
    visit(page, "sections=2&count=3")
    assert page.states() == ["shown", "shown"]
    assert page.titles() == 2 * list(TITLES[:3])
    assert len(page.storefront_requests()) == 2
    assert page.js("return new Set([...document.querySelectorAll('[id]')].map(e => e.id)).size") == page.js(
        "return document.querySelectorAll('[id]').length"
    )
    assert page.console() == []


def test_the_request_is_sent_when_the_section_comes_near(page):
    for number in range(8):
        add_product(page.store, f"Other {number} {'with a long title ' * 8}")
    page.remember(VISITOR)
    page.size(320, 240)
    page.driver.get(page.store.url)
    page.js(MOMENT)
    assert page.states() == ["waiting"]
    assert page.storefront_requests() == []
    page.js("const e = document.querySelector('slirec-recommendations'); e.parentNode.append(e)")  # moved meanwhile
    for script in (TO_SECTION, "scrollTo(0, 0)", TO_SECTION):
        page.js(script)
        page.js(MOMENT)
    assert page.states() == ["shown"]
    assert len(page.storefront_requests()) == 1


def test_the_product_that_is_looked_at_is_left_out(page):
    page.remember(VISITOR)
    page.open("/products/trail-shoes?count=3")
    assert page.titles() == ["Merino Beanie", "Stoneware Mug", "Linen Shirt"]


def test_the_theme_editor_may_redraw_move_and_remove_the_section(page):
    page.driver.execute_cdp_cmd("Page.setBypassCSP", {"enabled": True})  # the editor's own scripts parse HTML
    visit(page)
    move = """const e = document.querySelector('slirec-recommendations'); const place = e.parentNode;
        e.remove(); place.append(e);"""
    page.js(move)
    assert page.states() == ["shown"]
    assert len(page.storefront_requests()) == 1  # moved: what is there stays
    redraw = """const wrapper = document.querySelector('.shopify-section');
        const fresh = new DOMParser().parseFromString(await (await fetch('/')).text(), 'text/html');
        wrapper.replaceWith(document.adoptNode(fresh.querySelector('.shopify-section')));
        document.dispatchEvent(new CustomEvent('shopify:section:load', {bubbles: true}));"""
    page.driver.execute_async_script(f"const done = arguments[0]; (async () => {{ {redraw} }})().then(done, done)")
    WebDriverWait(page.driver, 10, 0.05).until(lambda _: page.states() == ["shown"])
    assert page.titles() == list(TITLES)
    assert len(page.storefront_requests()) == 2
    page.js("document.querySelector('.shopify-section').remove()")
    assert page.console() == []


def test_removing_the_section_gives_its_request_up(page):
    page.before_scripts(
        """window.fetch = (url, {signal}) => { window.signal = signal; return new Promise((_, fail) =>
            signal.addEventListener('abort', () => fail(signal.reason))) }"""
    )
    page.remember(VISITOR)
    page.driver.get(page.store.url)
    WebDriverWait(page.driver, 10, 0.05).until(lambda _: page.js("return Boolean(window.signal)"))
    assert page.js("document.querySelector('.shopify-section').remove(); return window.signal.aborted") is True
    assert page.console() == []


@pytest.mark.parametrize(
    ("country", "language", "context"),
    [
        ("DE", "pt-BR", "@inContext(country: DE, language: PT_BR)"),
        ("ch", "fr", "@inContext(country: CH, language: FR)"),
        ("", "en", None),
        ("DE", "", None),
        ("DE) { x }", "en", None),
    ],
)
def test_the_query_is_valid_on_the_published_schema_in_each_market(page, country, language, context):
    require(is_fetched(), "Shopify's published schema (make shopify-schema)")
    page.before_scripts("window.fetch = async (url, options) => { window.sent = [url, JSON.parse(options.body)] }")
    visit(page, "count=4")
    page.js(
        """const e = document.querySelector('slirec-recommendations'); const place = e.parentNode; delete window.sent;
        [e.dataset.country, e.dataset.language] = arguments; e.remove(); place.append(e);""",
        *(country, language),
    )
    WebDriverWait(page.driver, 10, 0.05).until(lambda _: page.js("return Boolean(window.sent)"))
    url, body = page.js("return window.sent")
    assert url == f"/api/{API_VERSION}/graphql.json"
    assert body["variables"] == {"handle": {"type": METAOBJECT_TYPE, "handle": VISITOR}, "first": 8}
    schema = published("storefront").schema
    assert document_problems(schema, body["query"]) == []
    assert variable_problems(schema, parse(body["query"]), body["variables"]) == []
    assert (context in body["query"]) if context else ("@" not in body["query"])
