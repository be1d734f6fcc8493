"""Opaque names of shoppers: HMAC-SHA256 with a secret of the merchant's, so that no customer id leaves the shop.

    customer GID --HMAC--> user_id (interactions, model)  --HMAC--> handle (metaobject that the storefront reads)

Twice, because a storefront's metaobjects can be listed by anybody: who knows the interactions cannot find a shopper's
entry, and who lists the entries learns no user id. A theme computes the same in Liquid:

    {{ 'gid://shopify/Customer/' | append: customer.id | hmac_sha256: secret | hmac_sha256: secret }}

See https://shopify.dev/docs/api/liquid/filters/hmac_sha256.
"""

import hmac
import os
import re
from collections.abc import Mapping
from typing import Never, Self

from pydantic import SecretStr

from scripts.shopify.settings import SettingsError

VARIABLE = "SLIREC_HMAC_SECRET"
SHORTEST_SECRET = 32
_CUSTOMER = re.compile(r"gid://shopify/Customer/[1-9][0-9]*")


class ShopperIds:
    """Derives the opaque ids of one shop's customers.

    Args:
        secret: The merchant's secret, at least 32 characters; the same for ever, or all ids change.

    Raises:
        SettingsError: The secret is too short.
    """

    def __init__(self, secret: SecretStr):
        length = len(secret.get_secret_value())
        if length < SHORTEST_SECRET:
            raise SettingsError(
                f"`{VARIABLE}` should have at least {SHORTEST_SECRET} characters. Received: {length}. "
                "Make one with `openssl rand -hex 32` and keep it: with another secret every shopper is a stranger"
            )
        self._secret = secret

    @classmethod
    def from_environment(cls, env: Mapping[str, str] | None = None) -> Self:
        """Reads the secret from the variable SLIREC_HMAC_SECRET.

        Args:
            env: Variables to read instead of the process's own.

        Raises:
            SettingsError: It is missing or too short.
        """
        secret = (os.environ if env is None else env).get(VARIABLE, "").strip()
        if not secret:
            raise SettingsError(
                f"set {VARIABLE} to a secret of at least {SHORTEST_SECRET} characters, from which the shoppers' opaque "
                "ids are made: `openssl rand -hex 32` makes one. Keep it: with another secret every shopper is a "
                "stranger"
            )
        return cls(SecretStr(secret))

    def __repr__(self) -> str:
        return "ShopperIds(secret='***')"

    def __reduce__(self) -> Never:
        raise TypeError("ShopperIds holds a secret, which should not get into a file; make it from the environment")

    def user_id_of(self, customer: str) -> str:
        """Returns the `user_id` of a customer in the interactions: 64 hexadecimal digits.

        Args:
            customer: `gid://shopify/Customer/123`.

        Raises:
            ValueError: It is no customer's GID.
        """
        if not _CUSTOMER.fullmatch(customer):
            raise ValueError(f"`customer` should be like gid://shopify/Customer/123. Received: customer = {customer!r}")
        return self._digest(customer)

    def handle_of(self, user_id: str) -> str:
        """Returns the handle of the metaobject with a shopper's recommendations: 64 hexadecimal digits.

        Args:
            user_id: The shopper's id in the interactions, of whatever form.
        """
        return self._digest(user_id)

    def order_key_of(self, order: str) -> str:
        """Returns the key under which the state of an export knows an order: 32 hexadecimal digits.

        Args:
            order: `gid://shopify/Order/123`.
        """
        return self._digest(order)[:32]

    def fingerprint(self) -> str:
        """Returns a value by which two secrets can be told apart, and from which neither can be computed."""
        return self._digest("slirec: which secret is this?")[:16]

    def _digest(self, text: str) -> str:
        return hmac.digest(self._secret.get_secret_value().encode(), text.encode(), "sha256").hex()
