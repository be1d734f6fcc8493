"""How the theme section looks, and how it is without a mouse or without sight; in a real browser."""

import pytest
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.support.ui import WebDriverWait
from theme_shop import TITLES, VISITOR, add_product, answer, recommend, visit


def test_an_image_is_lazy_sized_and_described_only_where_the_title_does_not_say_it(page):
    image = {"url": "/page/icon.svg", "altText": "A mug on a table", "width": 600, "height": 400}
    node = {"handle": "mug", "title": "Mug", "onlineStoreUrl": "https://x.example/products/mug", "featuredImage": image}
    twin = node | {"featuredImage": image | {"altText": "Mug"}}
    page.before_scripts(answer([node, twin]))
    visit(page)
    names = ("alt", "loading", "width", "height", "src")
    found = page.js(
        "return [...document.querySelectorAll('.slirec img')].map(i => arguments[0].map(n => i.getAttribute(n)))", names
    )
    url = f"{page.store.url}/page/icon.svg"
    assert found == [["A mug on a table", "lazy", "600", "400", url], ["", "lazy", "600", "400", url]]


@pytest.mark.parametrize(
    ("amounts", "shown"),
    [(("5.0", "5.0"), "$5.00"), (("5.0", "12.5"), "$5.00 – $12.50"), (("1234.5", "1234.5"), "$1,234.50")],
)
def test_prices_in_the_language_of_the_page(page, amounts, shown):
    low, high = ({"amount": amount, "currencyCode": "USD"} for amount in amounts)
    node = {"handle": "mug", "title": "Mug", "onlineStoreUrl": "https://x.example/products/mug"}
    page.before_scripts(answer([node | {"priceRange": {"minVariantPrice": low, "maxVariantPrice": high}}]))
    visit(page)
    assert page.cards()[0]["text"][-1] == shown
    visit(page, "show_price=false")
    assert page.cards()[0]["text"][-1] == "Mug"


def test_keyboard_reaches_each_card_in_order_and_focus_is_seen(page):
    visit(page)
    page.js("document.querySelector('.goods li:last-child a').focus()")
    reached = []
    for _ in TITLES:
        page.driver.switch_to.active_element.send_keys(Keys.TAB)
        focus = page.js(
            """const e = document.activeElement; const s = getComputedStyle(e, '::after');
            return {title: e.textContent, style: s.outlineStyle, width: parseFloat(s.outlineWidth)}"""
        )
        assert (focus["style"], focus["width"] >= 2) == ("solid", True)
        reached.append(focus["title"])
    assert reached == list(TITLES)
    page.driver.switch_to.active_element.send_keys(Keys.ENTER)
    WebDriverWait(page.driver, 10).until(lambda d: d.current_url.endswith("/products/cast-iron-skillet"))
    assert page.driver.find_element(By.TAG_NAME, "h1").text == TITLES[-1]


def test_the_whole_card_is_the_link(page):
    visit(page)
    page.js("document.querySelector('.slirec__frame').scrollIntoView({block: 'center'})")
    hit = """const box = arguments[0].getBoundingClientRect();
        return document.elementFromPoint(box.x + box.width / 2, box.y + box.height / 2).textContent"""
    for selector in (".slirec__frame", ".slirec__price"):
        assert page.js(hit, page.driver.find_element(By.CSS_SELECTOR, selector)) == TITLES[0]


def test_accessibility_tree(page):
    visit(page)
    nodes = page.driver.execute_cdp_cmd("Accessibility.getFullAXTree", {})["nodes"]
    by_id = {node["nodeId"]: node for node in nodes}

    def role(node):
        return node.get("role", {}).get("value")

    def named(node):
        return role(node), node.get("name", {}).get("value", "")

    def below(node):
        for child in node.get("childIds", ()):
            if child in by_id:
                yield by_id[child]
                yield from below(by_id[child])

    (region,) = [node for node in nodes if named(node) == ("region", "Recommended for you")]
    inside = [named(node) for node in below(region) if not node.get("ignored")]
    assert [name for kind, name in inside if kind == "heading"] == ["Recommended for you"]
    assert [kind for kind, _ in inside].count("list") == 1
    assert [kind for kind, _ in inside].count("listitem") == len(TITLES)
    assert [name for kind, name in inside if kind == "link"] == list(TITLES)
    assert not any("live" in {p["name"] for p in node.get("properties", ())} for node in below(region))
    assert not any(name in "MTSLC" for kind, name in inside if kind == "StaticText")  # the letters on the tiles


def test_a_quiet_section_is_not_in_the_accessibility_tree(page):
    page.open()
    nodes = page.driver.execute_cdp_cmd("Accessibility.getFullAXTree", {})["nodes"]
    names = [node.get("name", {}).get("value") for node in nodes if not node.get("ignored")]
    assert "Recommended for you" not in names


def test_without_a_heading_there_is_no_nameless_landmark(page):
    visit(page, "heading=")
    assert page.titles() == list(TITLES)
    assert page.js("return document.querySelectorAll('.slirec h2, .slirec [aria-labelledby]').length") == 0


@pytest.mark.parametrize("width", [320, 360, 768, 1280, 1920])
def test_no_width_overflows_and_no_cards_overlap(page, width):
    long = [add_product(page.store, title) for title in ("Pneumonoultramicroscopicsilicovolcanoconiosis" * 3, "A")]
    recommend(page.store, VISITOR, [*long, *(add_product(page.store, title) for title in TITLES)])
    visit(page, "sections=2", width=width)
    assert page.js("return document.documentElement.scrollWidth <= document.documentElement.clientWidth")
    boxes = page.js(
        """return [...document.querySelectorAll('.slirec__card')].map(c => {
            const b = c.getBoundingClientRect(); return [b.left, b.top, b.right, b.bottom]})"""
    )
    assert len(boxes) == 2 * 7
    for number, (left, top, right, bottom) in enumerate(boxes):
        assert left >= 0 and right <= width and right - left >= 120
        for other in boxes[:number]:
            assert other[2] <= left or right <= other[0] or other[3] <= top or bottom <= other[1]


@pytest.mark.parametrize(("preference", "moves"), [("reduce", False), ("no-preference", True)])
def test_nothing_moves_where_the_shopper_prefers_it_still(page, preference, moves):
    image = {"url": "/page/icon.svg", "altText": "", "width": 6, "height": 4}
    node = {"handle": "mug", "title": "Mug", "onlineStoreUrl": "https://x.example/products/mug", "featuredImage": image}
    page.before_scripts(answer([node]))
    feature = {"name": "prefers-reduced-motion", "value": preference}
    page.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [feature]})
    try:
        visit(page)
        duration = page.js("return getComputedStyle(document.querySelector('.slirec img')).transitionDuration")
    finally:
        page.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": []})
    assert (duration != "0s") is moves
