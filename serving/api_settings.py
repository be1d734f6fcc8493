"""Settings of the HTTP door: environment variables with the prefix SLIREC_API_, and command line flags over them."""

from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, SecretStr, ValidationError, field_validator

from serving.config import ConfigError, problems_of

PREFIX = "SLIREC_API_"
_SHORTEST_TOKEN = 16


class ApiSettings(BaseModel):
    """How the HTTP door listens, what it lets in, and how often it looks for a new model."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    host: str = Field(default="127.0.0.1", min_length=1, description="Address to listen on.")
    port: int = Field(default=8000, ge=0, le=65535, description="Port to listen on; 0: a free one.")
    token: SecretStr | None = Field(
        default=None,
        description="Bearer token that every route but /health and /ready asks for, at least 16 characters; "
        "without it the door is open. Only from the environment.",
    )
    workers: int = Field(
        default=1, ge=1, le=64, description="Processes that answer; one that dies or hangs is replaced."
    )
    threads: int = Field(default=2, ge=1, description="Requests that a worker ranks at a time.")
    queue_size: int = Field(default=64, ge=0, description="Requests that may wait for a thread; more get 503.")
    max_body_bytes: int = Field(default=4_194_304, ge=1, description="Largest request body; a larger one gets 413.")
    body_timeout_seconds: float = Field(
        default=10.0, gt=0, description="Seconds in which a body must have arrived; a slower one gets 408."
    )
    rate_per_second: float = Field(
        default=100.0,
        ge=0,
        description="Requests per second and client, each row of a batch one, at each worker; 0: no limit.",
    )
    rate_burst: int = Field(default=200, ge=1, description="Requests that a client may send at once.")
    min_rating: float = Field(
        default=3.0, description="Interactions rated lower are no positives, but their products count as seen."
    )
    switch_seconds: float = Field(default=30.0, gt=0, description="Seconds between looks for a new model.")
    stop_seconds: int = Field(default=30, ge=1, description="Seconds that requests in flight have to end at a stop.")

    @field_validator("token")
    @classmethod
    def _usable(cls, token: SecretStr | None) -> SecretStr | None:
        text = "" if token is None else token.get_secret_value()
        # An empty variable refused: a deployment that lost its secret must not open the door in silence.
        if token is not None and (len(text) < _SHORTEST_TOKEN or not text.isascii() or not text.isprintable()):
            raise ValueError(f"should be at least {_SHORTEST_TOKEN} printable ASCII characters, or not be set")
        return token


def load_settings(environment: Mapping[str, str], flags: Mapping[str, Any] | None = None) -> ApiSettings:
    """Reads the settings.

    Args:
        environment: Variables; those with the prefix SLIREC_API_ are read.
        flags: Values that go before the environment's; None = not given.

    Raises:
        ConfigError: An unknown name or a wrong value. The message holds no value.
    """
    values: dict[str, Any] = {
        name.removeprefix(PREFIX).lower(): value for name, value in environment.items() if name.startswith(PREFIX)
    }
    values.update({name: value for name, value in (flags or {}).items() if value is not None})
    try:
        return ApiSettings(**values)
    except ValidationError as error:
        problems = problems_of(error, lambda name: f"{PREFIX}{name.upper()}")
        raise ConfigError(f"Settings of the HTTP door: {problems}") from None
