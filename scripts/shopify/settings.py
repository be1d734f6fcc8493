"""Which shop to talk to, and as whom: read from the environment, typed, and silent about secrets."""

import os
import re
from collections.abc import Mapping
from typing import Self
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, Field, SecretStr, ValidationError, field_validator, model_validator

API_VERSION = "2026-10"
"""Version of the Admin API that the documents in `queries/` are written for; Shopify serves it until October 2027."""

_LOCAL_HOSTS = ("127.0.0.1", "localhost")
_SECRET = re.compile(r"shp[a-z]{2}_|@", re.IGNORECASE)  # a token, or credentials before a host
_SHOP_HOST = re.compile(r"[a-z0-9][a-z0-9-]*\.myshopify\.com")
_VARIABLES = {  # field -> environment variable
    "store_url": "SHOPIFY_STORE_URL",
    "access_token": "SHOPIFY_ACCESS_TOKEN",
    "client_id": "SHOPIFY_CLIENT_ID",
    "client_secret": "SHOPIFY_CLIENT_SECRET",
    "api_version": "SHOPIFY_API_VERSION",
}


def _shown(value: str) -> str:
    """Returns a wrong value for a message; a token or secret in the wrong variable is not repeated."""
    return "a value that looks like a token" if _SECRET.search(value) else repr(value)


class SettingsError(ValueError):
    """The environment does not say which shop to use, or with which credentials."""


class Settings(BaseModel):
    """The shop and the credentials for its Admin API.

    Either `access_token` (a token made in the shop's admin, `shpat_...`) or `client_id` and `client_secret` (an app of
    the Dev Dashboard, client-credentials grant; the only way for new apps since January 2026). The token is used where
    both are given. See https://shopify.dev/docs/apps/build/authentication-authorization.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    store_url: str = Field(
        description="https://NAME.myshopify.com, or http://127.0.0.1:PORT for a store on this machine"
    )
    access_token: SecretStr | None = None
    client_id: str | None = None
    client_secret: SecretStr | None = None
    api_version: str = API_VERSION

    @classmethod
    def from_environment(cls, env: Mapping[str, str] | None = None) -> Self:
        """Reads the settings from environment variables.

        Args:
            env: Variables to read instead of the process's own; empty values count as missing.

        Returns:
            Settings with the scheme and host of the shop normalised.

        Raises:
            SettingsError: A variable is missing or malformed. All problems are named; no secret is repeated.
        """
        env = os.environ if env is None else env
        given = {field: env.get(name, "").strip() for field, name in _VARIABLES.items()}
        given = {field: value for field, value in given.items() if value}
        problems = [] if "store_url" in given else ["set SHOPIFY_STORE_URL to your shop, as in my-shop.myshopify.com"]
        if "access_token" not in given and (missing := {"client_id", "client_secret"} - given.keys()):
            names = " and ".join(sorted(_VARIABLES[field] for field in missing))
            problems.append(f"set SHOPIFY_ACCESS_TOKEN, or {names} of an app of the Dev Dashboard")
        if not problems:
            try:
                return cls(**given)
            except ValidationError as error:
                problems = [
                    str(item["msg"]).removeprefix("Value error, ") for item in error.errors(include_input=False)
                ]
        raise SettingsError("Shopify settings: " + "; ".join(problems))

    @field_validator("store_url")
    @classmethod
    def _normalise_store_url(cls, value: str) -> str:
        text = value.strip().lower()
        try:
            parts = urlsplit(text if "://" in text else f"https://{text}")
            host, port = parts.hostname or "", parts.port
        except ValueError:
            host, port, parts = "", None, urlsplit("")
        plain = parts.path in ("", "/") and not (parts.query or parts.fragment or parts.username or parts.password)
        if plain and parts.scheme == "https" and port is None and _SHOP_HOST.fullmatch(host):
            return f"https://{host}"
        if plain and parts.scheme == "http" and host in _LOCAL_HOSTS:
            return f"http://{host}:{port}" if port else f"http://{host}"
        raise ValueError(
            "`SHOPIFY_STORE_URL` should be NAME.myshopify.com, with or without https://, or http://127.0.0.1:PORT for "
            f"a store on this machine. Received: {_shown(value)}"
        )

    @field_validator("client_id")
    @classmethod
    def _check_client_id(cls, value: str | None) -> str | None:
        if value is not None and _SECRET.search(value):  # the two were swapped; the id is shown in messages
            raise ValueError(f"`SHOPIFY_CLIENT_ID` should be the app's client id. Received: {_shown(value)}")
        return value

    @field_validator("access_token", "client_secret")
    @classmethod
    def _check_secret(cls, value: SecretStr | None) -> SecretStr | None:
        # requests repeats a header value that it refuses in its error, so such a value must not get that far.
        if value is not None and not re.fullmatch(r"[!-~]+", value.get_secret_value()):
            raise ValueError("the token or client secret should be plain ASCII without spaces; copy it again")
        return value

    @field_validator("api_version")
    @classmethod
    def _check_api_version(cls, value: str) -> str:
        if not re.fullmatch(r"\d{4}-(01|04|07|10)|unstable", value):
            raise ValueError(
                f"`SHOPIFY_API_VERSION` should be a version such as {API_VERSION}. Received: {_shown(value)}"
            )
        return value

    @model_validator(mode="after")
    def _check_credentials(self) -> Self:
        if self.access_token is None and (self.client_id is None or self.client_secret is None):
            raise ValueError("give `access_token`, or `client_id` and `client_secret`")
        return self

    @property
    def is_local(self) -> bool:
        """Whether the store runs on this machine."""
        return urlsplit(self.store_url).hostname in _LOCAL_HOSTS
