"""Who may do what at the local shop: tokens, their scopes and expiry, and the API versions it knows.

Grants: https://shopify.dev/docs/apps/build/authentication-authorization/access-tokens/client-credentials-grant;
versions: https://shopify.dev/docs/api/usage/versioning.
"""

import hmac
import re
import secrets
from collections.abc import Callable, Iterable, Mapping
from typing import Any

ALL_SCOPES = (
    "read_all_orders",
    "read_customers",
    "read_orders",
    "unauthenticated_read_metaobjects",
    "unauthenticated_read_product_listings",
    "write_metaobject_definitions",
    "write_metaobjects",
    "write_products",
    "write_publications",
)
"""Every access scope that something in the local shop asks for."""
STOREFRONT_SCOPES = ("unauthenticated_read_metaobjects", "unauthenticated_read_product_listings")
"""What the storefront token may do."""

# The credentials of a toy shop that only this machine can reach, the same for everyone: they protect nothing.
ACCESS_TOKEN = "shpat_local-dev-store-access-token"
CLIENT_ID = "local-dev-store"
CLIENT_SECRET = "shpss_local-dev-store-client-secret"
STOREFRONT_TOKEN = "local-dev-store-storefront-token"
HMAC_SECRET = "local-dev-store-hmac-secret-that-protects-nothing"

TOKEN_LIFETIME = 86399
"""Seconds for which Shopify grants a token."""
SUPPORTED_VERSIONS = ("2026-01", "2026-04", "2026-07", "2026-10")
"""Versions that are served, oldest first; `unstable` is served besides.

There is one schema, that of 2026-10, whichever of them is asked for: what changed between them is not played.
"""
_FIRST_VERSION = "2019-04"


def served_version(asked: str) -> str | None:
    """Returns the version that a request gets, or None where there is no such version.

    An expired version is served as the oldest one that is supported, as Shopify does.
    """
    if asked in SUPPORTED_VERSIONS or asked == "unstable":
        return asked
    expired = re.fullmatch(r"20\d\d-(01|04|07|10)", asked) and _FIRST_VERSION <= asked < SUPPORTED_VERSIONS[0]
    return SUPPORTED_VERSIONS[0] if expired else None


def with_implied(scopes: Iterable[str]) -> frozenset[str]:
    """Returns the scopes with those that they imply: a write scope includes its read scope."""
    given = frozenset(scopes)
    return given | {scope.replace("write_", "read_", 1) for scope in given if scope.startswith("write_")}


class Access:
    """The tokens of one shop.

    Args:
        clock: UNIX seconds.
        scopes: Access scopes of the app.
        access_token: Token that never expires, as one made in the shop's admin.
        client_id: Of the app, for grants.
        client_secret: Of the app, for grants.
        storefront_token: Public token of the Storefront API.
        lifetime: Seconds that a granted token lives.
    """

    def __init__(
        self,
        clock: Callable[[], float],
        scopes: Iterable[str],
        *,
        access_token: str,
        client_id: str,
        client_secret: str,
        storefront_token: str,
        lifetime: float,
    ):
        self._clock, self._lifetime = clock, lifetime
        self.set_scopes(scopes)
        self._static, self._storefront = access_token, storefront_token
        self._client = (client_id, client_secret)
        self._granted: dict[str, float] = {}  # token -> UNIX seconds of its expiry

    def set_scopes(self, scopes: Iterable[str]) -> None:
        """Changes what the app may do, for all its tokens."""
        self.app_scopes = tuple(sorted(set(scopes)))
        self.scopes = with_implied(self.app_scopes)

    def is_granted(self, token: str | None) -> bool:
        """Whether this is, or was, a token of a grant."""
        return token in self._granted

    def admin_scopes(self, token: str | None) -> frozenset[str] | None:
        """Returns what a token may do; None where it is unknown or has expired."""
        if token is None:
            return None
        if hmac.compare_digest(token.encode(), self._static.encode()):
            return self.scopes
        return self.scopes if self._clock() < self._granted.get(token, float("-inf")) else None

    def storefront_scopes(self, token: str | None) -> frozenset[str] | None:
        """Returns what a storefront token may do; None where it is unknown."""
        return frozenset(STOREFRONT_SCOPES) if token == self._storefront else None

    def expire(self, token: str | None) -> None:
        """Makes a granted token invalid from now on."""
        if token in self._granted:
            self._granted[token] = float("-inf")

    def grant(self, form: Mapping[str, Any]) -> tuple[int, dict[str, Any]]:
        """Answers a client-credentials grant.

        Args:
            form: `grant_type`, `client_id`, `client_secret`.

        Returns:
            HTTP status and JSON body.
        """
        if form.get("grant_type") != "client_credentials":
            return 400, _refused("unsupported_grant_type", "grant_type should be client_credentials")
        given = (str(form.get("client_id", "")), str(form.get("client_secret", "")))
        # Both are always compared, in constant time.
        same = [hmac.compare_digest(a.encode(), b.encode()) for a, b in zip(given, self._client, strict=True)]
        if not all(same):
            return 400, _refused("invalid_client", "the client id or the client secret is not known")
        token = f"shpat_{secrets.token_hex(16)}"
        self._granted[token] = self._clock() + self._lifetime
        return 200, {"access_token": token, "scope": ",".join(self.app_scopes), "expires_in": int(self._lifetime)}


def _refused(code: str, description: str) -> dict[str, str]:
    return {"error": code, "error_description": description}
