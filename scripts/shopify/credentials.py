"""The token of a client: a fixed one, or one that is granted, renewed in time and kept in memory only.

Client-credentials grant:
https://shopify.dev/docs/apps/build/authentication-authorization/access-tokens/client-credentials-grant.
"""

from collections.abc import Callable
from typing import Any
from urllib.parse import quote, quote_plus

from pydantic import SecretStr

from scripts.shopify.answers import Answer, ShopifyError
from scripts.shopify.retry import Retry
from scripts.shopify.settings import Settings

RENEW_EARLY = 300.0
"""Seconds before its expiry at which a granted token is replaced."""
LIFETIME = 86_399.0
"""Seconds that a granted token lives where Shopify does not say."""


class Credentials:
    """Puts the token on each request; holds it as a secret, so that no repr of the transport can show it.

    Args:
        settings: Shop and credentials.
        send: Called with method, URL and keyword arguments as `requests.request`; sends no token.
        is_lost: Whether an exception of `send` means a broken connection, which may be tried again.
        clock: Seconds that only ever grow.
        retry: How often a token is asked for.
    """

    def __init__(
        self,
        settings: Settings,
        send: Callable[..., Any],
        is_lost: Callable[[BaseException], bool],
        clock: Callable[[], float],
        retry: Retry,
    ):
        self._settings, self._send, self._is_lost = settings, send, is_lost
        self._clock, self._retry = clock, retry
        self._token, self._expires_at = settings.access_token, float("inf")
        self._secrets = [secret for secret in (settings.access_token, settings.client_secret) if secret]

    def __call__(self, request: Any) -> Any:
        """Puts the token on a request that is about to be sent."""
        if self._token is not None:
            request.headers["X-Shopify-Access-Token"] = self._token.get_secret_value()
        return request

    def ensure(self) -> None:
        """Asks for a token where there is none, or it expires soon.

        Raises:
            ShopifyError: Code `UNAUTHORIZED`: Shopify grants none, or does not answer.
        """
        if self._token is None or self._clock() >= self._expires_at:
            self._grant()

    def discard(self) -> bool:
        """Gives up a granted token that Shopify refused; returns False for a fixed one, which cannot be replaced."""
        if self._settings.access_token is not None:
            return False
        self._token = None
        return True

    def redact(self, text: str) -> str:
        """Returns the text with stars in place of every secret that this client has had, as it is or URL-encoded."""
        for secret in self._secrets:
            plain = secret.get_secret_value()
            for written in (plain, quote(plain, safe=""), quote_plus(plain)):
                text = text.replace(written, "***")
        return text

    def _grant(self) -> None:
        attempt, answer = 1, self._ask()
        while self._retry.again("grant", answer, attempt, redact=self.redact):
            attempt, answer = attempt + 1, self._ask()
        if self._token is not None:
            return
        raise ShopifyError(
            f"Shopify granted no token for client id {self._settings.client_id}: {self.redact(answer.reason)}. Check "
            "the id, the secret, and that the app is installed on a shop of the app's own organisation",
            code="UNAUTHORIZED",
        )

    def _ask(self) -> Answer:
        """Asks for a token once. Apart from `_grant`, so that no frame of its error holds a secret in plain text."""
        self._token = None
        secret = self._settings.client_secret
        form = {"grant_type": "client_credentials", "client_id": self._settings.client_id}
        form["client_secret"] = secret.get_secret_value() if secret else ""
        try:
            response = self._send("POST", f"{self._settings.store_url}/admin/oauth/access_token", data=form)
        except OSError as error:
            return Answer(problem=str(error), lost=self._is_lost(error))
        document = _json_object(response)
        if response.status_code == 200 and document.get("access_token"):
            self._token = SecretStr(str(document["access_token"]))
            self._expires_at = self._clock() + _lifetime(document.get("expires_in")) - RENEW_EARLY
            self._secrets.append(self._token)  # those it replaces stay: an echo may come late
        reason = f"{document.get('error', '')} {document.get('error_description', '')}".strip()
        return Answer(response.status_code, response.headers, problem=reason)


def _lifetime(given: Any) -> float:
    try:
        return float(given)
    except (TypeError, ValueError):
        return LIFETIME


def _json_object(response: Any) -> dict[str, Any]:
    try:
        document = response.json()
    except ValueError:
        return {}
    return document if isinstance(document, dict) else {}
