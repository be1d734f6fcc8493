"""The pages of the local shop, and the rendering of the section on the server."""

import hashlib
import hmac
import re
import urllib.error
import urllib.request
from html.parser import HTMLParser

import pytest
from conftest import HMAC_SECRET
from theme_shop import CUSTOMER, add_product, define_recommendations, recommend

from scripts.shopify.dev_store.page_liquid import (
    THEME,
    hmac_sha256,
    render_section,
    section_schema,
    section_settings,
    section_source,
)
from scripts.shopify.dev_store.page_shop import price_text
from scripts.shopify.marks import METAOBJECT_FIELD, METAOBJECT_TYPE
from scripts.shopify.settings import API_VERSION
from scripts.shopify.shopper_ids import ShopperIds

SECTION = "slirec-recommendations"
VISITOR = "0123456789abcdef" * 4


class _Opener(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *arguments):
        return None


def fetch(store, path, cookie=None):
    """Returns status, headers and text; follows no redirect."""
    request = urllib.request.Request(store.url + path, headers={"Cookie": cookie} if cookie else {})
    try:
        with urllib.request.build_opener(_Opener).open(request, timeout=20) as answer:
            return answer.status, answer.headers, answer.read().decode()
    except urllib.error.HTTPError as answer:
        return answer.code, answer.headers, answer.read().decode()


class Tags(HTMLParser):
    """All start tags of a page with their attributes."""

    def __init__(self, html):
        super().__init__()
        self.found = []
        self.feed(html)

    def handle_starttag(self, tag, attrs):
        self.found.append((tag, dict(attrs)))

    def of(self, name):
        return [attributes for tag, attributes in self.found if tag == name]


def section(settings=None, **variables):
    """Attributes of the section's element, rendered with these settings."""
    html = render_section(SECTION, "one", section_settings(SECTION, {}) | (settings or {}), **variables)
    (attributes,) = Tags(html).of("slirec-recommendations")
    return attributes, html


def test_the_handle_is_the_one_that_recommendations_are_published_under():
    ids = ShopperIds.from_environment({"SLIREC_HMAC_SECRET": HMAC_SECRET})
    expected = ids.handle_of(ids.user_id_of("gid://shopify/Customer/7"))
    attributes, html = section({"hmac_secret": HMAC_SECRET}, customer={"id": 7})
    assert attributes["data-handle"] == expected
    assert HMAC_SECRET not in html


def test_hmac_filter():
    assert hmac_sha256("text", "key") == hmac.new(b"key", b"text", hashlib.sha256).hexdigest()
    assert hmac_sha256(None, "key") == hmac.new(b"key", b"", hashlib.sha256).hexdigest()


@pytest.mark.parametrize("customer", [None, {"id": 7}])
@pytest.mark.parametrize("secret", [None, "", "  "])
def test_without_a_secret_or_a_customer_there_is_no_handle(customer, secret):
    assert section({"hmac_secret": secret}, customer=customer)[0]["data-handle"] == ""
    assert section({"hmac_secret": HMAC_SECRET}, customer=None)[0]["data-handle"] == ""


def test_settings_and_objects_are_escaped():
    nasty = "\"><script>alert('1')</script>"
    texts = dict.fromkeys(("heading", "storefront_token", "cookie_name"), nasty)
    variables = {
        "routes": {"root_url": nasty},
        "product": {"handle": nasty},
        "localization": {"country": {"iso_code": nasty}, "language": {"iso_code": nasty}},
    }
    attributes, html = section(texts, **variables)
    names = ("token", "cookie", "root", "viewed", "country", "language")
    assert {attributes[f"data-{name}"] for name in names} == {nasty}
    assert [set(tag) for tag in Tags(html).of("script")] == [{"src", "defer"}]
    assert "<script>alert" not in html


def test_the_section_is_rendered_hidden_and_its_schema_not_at_all():
    attributes, html = section({"show_vendor": True, "show_price": False, "count": 3})
    (inner,) = Tags(html).of("section")
    assert "hidden" in inner
    assert Tags(html).of("ul")[0]["role"] == "list"  # Safari takes it away from a list without bullets
    assert inner["aria-labelledby"] == Tags(html).of("h2")[0]["id"]
    assert (attributes["data-count"], "data-vendor" in attributes, "data-price" in attributes) == ("3", True, False)
    assert "schema" not in html and "presets" not in html and "{{" not in html and "{%" not in html


def test_a_blank_heading_leaves_no_empty_element():
    _, html = section({"heading": ""})
    assert Tags(html).of("h2") == []
    assert "aria-labelledby" not in Tags(html).of("section")[0]


def test_only_the_theme_editor_shows_a_note():
    assert "slirec__note" not in section(request={"design_mode": False})[1]
    assert "slirec__note" in section(request={"design_mode": True})[1]


def test_schema_keeps_the_rules_of_the_theme_editor():
    # https://shopify.dev/docs/storefronts/themes/architecture/sections/section-schema and .../settings/input-settings
    schema = section_schema(SECTION)
    settings = [setting for setting in schema["settings"] if "id" in setting]
    ids = [setting["id"] for setting in settings]
    assert ids == [
        *("heading", "count", "show_vendor", "show_price", "storefront_token", "hmac_secret", "cookie_name"),
    ]
    assert len(schema["name"]) <= 25 and [preset["name"] for preset in schema["presets"]] == [schema["name"]]
    assert all(setting["label"] for setting in settings)
    assert all(setting.get("default") != "" for setting in settings)  # Shopify refuses an empty default
    (count,) = [setting for setting in settings if setting["type"] == "range"]
    assert (count["min"], count["max"]) == (2, 12)
    assert count["default"] in range(count["min"], count["max"] + 1, count["step"])
    assert not any("default" in setting for setting in settings if setting["id"] in ("hmac_secret", "storefront_token"))
    used = set(re.findall(r"section\.settings\.(\w+)", section_source(SECTION)))
    assert used == set(ids)


def test_what_the_script_asks_for_is_what_is_published():
    script = (THEME / "assets" / f"{SECTION}.js").read_text(encoding="utf-8")
    assert f"type: '{METAOBJECT_TYPE}'" in script
    assert f'field(key: "{METAOBJECT_FIELD}")' in script
    assert f"API_VERSION = '{API_VERSION}'" in script
    for way in ("innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval(", "setInterval"):
        assert way not in script


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"count": "1"}, "`count` should be from 2 to 12, in steps of 1. Received: 1"),
        ({"count": "13"}, "Received: 13"),
        ({"count": "3.5"}, "Received: 3.5"),
        ({"show_price": "yes"}, "`show_price` should be true or false. Received: yes"),
    ],
)
def test_settings_that_the_theme_editor_would_not_take(given, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        section_settings(SECTION, given)


def test_settings_have_the_types_of_the_schema():
    given = {"count": "4", "show_vendor": "true", "show_price": "false", "heading": "Für dich", "unknown": "x"}
    assert section_settings(SECTION, given) == {
        **{"heading": "Für dich", "count": 4, "show_vendor": True, "show_price": False},
        **dict.fromkeys(("storefront_token", "hmac_secret", "cookie_name")),
    }


def test_front_page(store, shop_environment):
    add_product(store, "Rock & Roll <b>Shoes</b>")
    add_product(store, "Hidden", published=False)
    status, headers, html = fetch(store, "/")
    assert status == 200
    policy = headers["Content-Security-Policy"]
    assert "script-src 'self';" in policy and "unsafe" not in policy
    assert headers["Cache-Control"] == "no-store"
    assert "Rock &amp; Roll &lt;b&gt;Shoes&lt;/b&gt;" in html and "Hidden" not in html
    (attributes,) = Tags(html).of("slirec-recommendations")
    assert attributes["data-token"] == store.storefront_token
    assert HMAC_SECRET not in html
    # Nothing on the page comes from elsewhere, and no script or style stands in it.
    sources = [tag.get("src") or tag.get("href") for tag in Tags(html).of("script") + Tags(html).of("link")]
    assert sources and all(source.startswith("/") and not source.startswith("//") for source in sources)
    assert not any("style" in attributes or "onclick" in attributes for _, attributes in Tags(html).found)
    for source in sources:
        assert fetch(store, source)[0] == 200


def test_the_page_offers_shoppers_who_have_recommendations(store, shop_environment):
    define_recommendations(store)
    products = [add_product(store, "Hat")]
    customer = store.state.insert("Customer", {})["id"]
    store.state.insert("Customer", {})
    handle = hmac_sha256(hmac_sha256(customer, HMAC_SECRET), HMAC_SECRET)
    recommend(store, handle, products)
    recommend(store, VISITOR, products)
    html = fetch(store, "/")[2]
    links = [tag["href"] for tag in Tags(html).of("a") if "customer=" in tag["href"] or "shopper=" in tag["href"]]
    assert links == ["/?customer=1", f"/?shopper={VISITOR}", "/?shopper=none"]
    assert customer != CUSTOMER


def test_the_cookie_comes_and_goes(store):
    status, headers, _ = fetch(store, f"/?shopper={VISITOR}")
    assert (status, headers["Location"]) == (302, "/")
    assert f"slirec_shopper={VISITOR}; Path=/; SameSite=Lax" in headers.get_all("Set-Cookie")
    assert "Visitor 01234567" in fetch(store, "/", cookie=f"slirec_shopper={VISITOR}")[2]
    forgotten = [line for line in fetch(store, "/?shopper=none")[1].get_all("Set-Cookie") if "slirec_shopper=;" in line]
    assert "Max-Age=0" in forgotten[0]


def test_a_customer_stays_signed_in_until_signing_out(store):
    headers = fetch(store, "/?customer=7")[1]
    assert headers["Set-Cookie"].startswith("dev_store_customer=7; HttpOnly")
    kept = "dev_store_customer=7"
    assert "Signed in as customer 7" in fetch(store, "/", cookie=kept)[2]
    assert "Signed in as customer 8" in fetch(store, "/?customer=8", cookie=kept)[2]
    for query in ("?customer=", "?shopper=none"):
        assert "dev_store_customer=; " in ", ".join(fetch(store, f"/{query}", cookie=kept)[1].get_all("Set-Cookie"))
    assert "Not signed in" in fetch(store, "/?customer=", cookie=kept)[2]
    assert "Not signed in" in fetch(store, "/", cookie="dev_store_customer=<b>")[2]


@pytest.mark.parametrize(
    ("query", "message"),
    [
        ("customer=x", "`customer` should be the number"),
        ("customer=0", "Received: 0"),
        ("sections=9", "`sections` should be from 1 to 4"),
        ("count=99", "`count` should be from 2 to 12"),
        ("shopper=%3Cb%3E", "`shopper` should be 64 hexadecimal digits"),
    ],
)
def test_a_query_that_makes_no_sense_is_said_so_as_plain_text(store, query, message):
    status, headers, text = fetch(store, f"/?{query}")
    assert (status, headers.get_content_type()) == (400, "text/plain")
    assert message in text


def test_a_secret_in_the_query_is_not_used(store, shop_environment):
    define_recommendations(store)
    html = fetch(store, "/?customer=7&hmac_secret=mine")[2]
    (attributes,) = Tags(html).of("slirec-recommendations")
    assert attributes["data-handle"] == hmac_sha256(hmac_sha256(CUSTOMER, HMAC_SECRET), HMAC_SECRET)


def test_without_a_secret_of_ones_own_the_page_has_the_shops(store, monkeypatch):
    monkeypatch.delenv("SLIREC_HMAC_SECRET", raising=False)
    secret = store.environment()["SLIREC_HMAC_SECRET"]
    (attributes,) = Tags(fetch(store, "/?customer=7")[2]).of("slirec-recommendations")
    assert attributes["data-handle"] == hmac_sha256(hmac_sha256(CUSTOMER, secret), secret)


def test_prices_on_the_page():
    assert price_text({"amount": "1234.5", "currencyCode": "EUR"}) == "1,234.50 EUR"
    assert price_text({"amount": "1200.0", "currencyCode": "JPY"}) == "1,200 JPY"


def test_product_page(store):
    add_product(store, "Rock & Roll <b>Shoes</b>", price="12.50")
    add_product(store, "Hidden", published=False)
    status, headers, html = fetch(store, "/products/rock-roll-b-shoes-b")
    assert status == 200 and "Content-Security-Policy" in headers
    assert "<h1>Rock &amp; Roll &lt;b&gt;Shoes&lt;/b&gt;</h1>" in html and "12.50 USD" in html
    assert Tags(html).of("slirec-recommendations")[0]["data-viewed"] == "rock-roll-b-shoes-b"
    assert fetch(store, "/products/hidden")[0] == 404
    assert fetch(store, "/products/%3Cscript%3E")[0] == 404


@pytest.mark.parametrize(
    "name", ["none.js", "../README.md", "..%2FREADME.md", "..%2Fsections%2Fslirec-recommendations.liquid"]
)
def test_only_the_themes_assets_are_served(store, name):
    assert fetch(store, f"/assets/{name}")[0] == 404
