import traceback

import pytest
from pydantic import ValidationError

from scripts.shopify.settings import Settings, SettingsError


def test_settings_normalise_the_shop():
    for text in ("my-shop.myshopify.com", "https://my-shop.myshopify.com", " HTTPS://My-Shop.myshopify.com/ "):
        settings = Settings.from_environment({"SHOPIFY_STORE_URL": text, "SHOPIFY_ACCESS_TOKEN": "shpat_1"})
        assert (settings.store_url, settings.api_version, settings.is_local) == (
            "https://my-shop.myshopify.com",
            "2026-10",
            False,
        )
    local = Settings(store_url="http://localhost:8080/", access_token="x")
    assert (local.store_url, local.is_local) == ("http://localhost:8080", True)


@pytest.mark.parametrize(
    "url",
    [
        "http://my-shop.myshopify.com",  # the token would travel in clear text
        "evil.com",
        "my-shop.myshopify.com.evil.com",
        "my-shop.myshopify.com@evil.com",
        "https://evil.com/my-shop.myshopify.com",
        "https://my-shop.myshopify.com/admin",
        "https://my-shop.myshopify.com:8443",
        "http://127.0.0.1.evil.com:80",
        "http://user:password@127.0.0.1:80",
        "http://192.168.0.1:80",
        "http://127.0.0.1:port",
        "https://[",
        "ftp://my-shop.myshopify.com",
    ],
)
def test_settings_refuse_other_hosts(url):
    with pytest.raises(SettingsError, match=r"SHOPIFY_STORE_URL.*should be NAME.myshopify.com"):
        Settings.from_environment({"SHOPIFY_STORE_URL": url, "SHOPIFY_ACCESS_TOKEN": "shpat_1"})


def test_settings_name_everything_missing():
    with pytest.raises(SettingsError, match=r"SHOPIFY_STORE_URL.*SHOPIFY_ACCESS_TOKEN, or .*_ID and .*_SECRET"):
        Settings.from_environment({"SHOPIFY_ACCESS_TOKEN": " "})
    with pytest.raises(SettingsError, match="SHOPIFY_ACCESS_TOKEN, or SHOPIFY_CLIENT_SECRET of"):
        Settings.from_environment({"SHOPIFY_STORE_URL": "a.myshopify.com", "SHOPIFY_CLIENT_ID": "1"})
    with pytest.raises(SettingsError, match=r"SHOPIFY_API_VERSION.*Received: '2026-11'"):
        Settings.from_environment(
            {"SHOPIFY_STORE_URL": "a.myshopify.com", "SHOPIFY_ACCESS_TOKEN": "1", "SHOPIFY_API_VERSION": "2026-11"}
        )
    with pytest.raises(ValidationError, match="`access_token`, or `client_id`"):
        Settings(store_url="a.myshopify.com")


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("SHOPIFY_STORE_URL", "https://key:shpat_0a1b2c@my-shop.myshopify.com"),
        ("SHOPIFY_STORE_URL", "https://key:0a1b2c@my-shop.myshopify.com"),
        ("SHOPIFY_STORE_URL", "my-shop.myshopify.com/shpat_0a1b2c"),
        ("SHOPIFY_API_VERSION", "2026-10 shpat_0a1b2c"),
        ("SHOPIFY_CLIENT_ID", "id shpss_0a1b2c"),
    ],
)
def test_a_secret_within_another_value_is_not_shown(variable, value):
    env = {"SHOPIFY_STORE_URL": "a.myshopify.com", "SHOPIFY_ACCESS_TOKEN": "shpat_1", variable: value}
    with pytest.raises(SettingsError, match="looks like a token") as caught:
        Settings.from_environment(env)
    assert "0a1b" not in "".join(traceback.format_exception(caught.value))


def test_settings_never_show_a_secret():
    env = {
        "SHOPIFY_STORE_URL": "shpat_0a1b2c",  # pasted into the wrong variable
        "SHOPIFY_ACCESS_TOKEN": "shpat_0a1b\n2c",
        "SHOPIFY_CLIENT_ID": "1",
        "SHOPIFY_CLIENT_SECRET": "shpss_ 0a1b2c",
    }
    with pytest.raises(SettingsError) as caught:
        Settings.from_environment(env)
    shown = "".join(traceback.format_exception(caught.value))
    assert "plain ASCII" in shown
    assert "looks like a token" in shown
    assert "0a1b" not in shown
    settings = Settings(store_url="a.myshopify.com", access_token="shpat_1", client_secret="shpss_2")
    assert "shp" not in f"{settings!r}{settings}{settings.model_dump()}".replace("shopify", "")
