import pickle

import pytest
from conftest import HMAC_SECRET
from pydantic import SecretStr

from scripts.shopify.settings import SettingsError
from scripts.shopify.shopper_ids import ShopperIds

# printf 'gid://shopify/Customer/123' | openssl dgst -sha256 -hmac a-secret-of-the-shop-0123456789abcdef
USER_ID = "e042199795b096e7d297fb50cade40d575b384f35af01efe31818af7036f7eda"
# printf $USER_ID | openssl dgst -sha256 -hmac a-secret-of-the-shop-0123456789abcdef
HANDLE = "74222ae2a99b5f410380fe3b127a1244779154514dfe9ef492715abd6e42ed87"


@pytest.fixture
def ids():
    return ShopperIds(SecretStr(HMAC_SECRET))


def test_ids_are_what_openssl_says(ids):
    assert ids.user_id_of("gid://shopify/Customer/123") == USER_ID
    assert ids.handle_of(USER_ID) == HANDLE
    assert len(ids.order_key_of("gid://shopify/Order/1")) == 32


def test_another_secret_gives_other_ids(ids):
    other = ShopperIds(SecretStr(HMAC_SECRET[:-1] + "0"))
    assert other.user_id_of("gid://shopify/Customer/123") != USER_ID
    assert other.fingerprint() != ids.fingerprint()
    assert ids.fingerprint() == ShopperIds(SecretStr(HMAC_SECRET)).fingerprint()


@pytest.mark.parametrize(
    "text", ["123", "gid://shopify/Customer/", "gid://shopify/Order/1", "gid://shopify/Customer/1 ", ""]
)
def test_only_customers_become_users(ids, text):
    with pytest.raises(ValueError, match="should be like gid://shopify/Customer/123"):
        ids.user_id_of(text)


def test_secret_from_the_environment():
    assert ShopperIds.from_environment({"SLIREC_HMAC_SECRET": f" {HMAC_SECRET}\n"}).handle_of(USER_ID) == HANDLE
    for env in ({}, {"SLIREC_HMAC_SECRET": "  "}):
        with pytest.raises(SettingsError, match=r"set SLIREC_HMAC_SECRET to .* `openssl rand -hex 32`"):
            ShopperIds.from_environment(env)


def test_short_secret_is_refused_and_not_repeated():
    with pytest.raises(SettingsError, match=r"at least 32 characters. Received: 31\..*openssl rand -hex 32") as error:
        ShopperIds.from_environment({"SLIREC_HMAC_SECRET": "s3cr3t" + "x" * 25})
    assert "s3cr3t" not in str(error.value)
    assert ShopperIds(SecretStr("x" * 32)).handle_of("") != ""


def test_secret_is_in_no_repr(ids):
    assert HMAC_SECRET not in repr(ids) + str(ids) + repr(vars(ids))
    with pytest.raises(TypeError, match="secret"):
        pickle.dumps(ids)
