"""Typed configuration of serving: ranking defaults and where the model is registered."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from serving.gate import GateConfig

DEFAULT_CONFIG_PATH = Path(__file__).with_name("model_serve_config.yaml")

NonEmpty = Annotated[str, Field(min_length=1)]


class ConfigError(ValueError):
    """The serving configuration is missing, unreadable or has a wrong key or value."""


RULE_KEYS = frozenset({"include_categories", "exclude_categories", "include_tags", "exclude_tags",
                       "exclude_out_of_stock", "exclude_seen"})  # fmt: skip
# What travels with a registered model; the rest is about where it is registered.
RANKING_KEYS = RULE_KEYS | {"k", "recommend_seen", "candidate_chunk_size", "num_threads", "two_stage_from",
                            "shortlist_size", "shortlist_sample"}  # fmt: skip


class ServeConfig(BaseModel):
    """How products are ranked, and under which name the model is registered.

    Unknown keys are refused, so that a misspelt key cannot silently keep its default.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    k: int = Field(default=16, ge=1, description="Products to recommend when a request does not say how many.")
    recommend_seen: bool = Field(
        default=False, description="Whether products of the shopper's history may be recommended by default."
    )
    candidate_chunk_size: int = Field(
        default=1024,
        ge=1,
        description="Most candidates scored in one call of a graph; long histories take fewer. Bounds its memory.",
    )
    num_threads: int = Field(
        default=0,
        ge=0,
        description="Threads that share the work of ranking; 0: OMP_NUM_THREADS where it is set, else the physical "
        "cores divided by WEB_CONCURRENCY, the workers of a server.",
    )
    two_stage_from: int | None = Field(
        default=20_000,
        ge=1,
        description="Candidates from which on only a shortlist is scored exactly; null: everything, always.",
    )
    shortlist_size: int = Field(
        default=1_000, ge=1, description="Candidates on the shortlist, at least 4 k: scored exactly."
    )
    shortlist_sample: int = Field(
        default=512,
        ge=1,
        description="Candidates that a shopper's tastes are evaluated on, to approximate them for all others.",
    )
    include_categories: list[NonEmpty] = Field(
        default=[], description="Only products of these categories are recommended; empty: of all."
    )
    exclude_categories: list[NonEmpty] = Field(
        default=[], description="Products of these categories are never recommended."
    )
    include_tags: list[NonEmpty] = Field(
        default=[], description="Only products with at least one of these tags are recommended; empty: all."
    )
    exclude_tags: list[NonEmpty] = Field(
        default=[], description="Products with any of these tags are never recommended."
    )
    exclude_out_of_stock: bool = Field(
        default=False, description="Products that cannot be bought, as the snapshot says, are never recommended."
    )
    exclude_seen: bool = Field(
        default=False,
        description="Products that the shopper has seen are never recommended, whatever a request's recommend_seen.",
    )
    registered_model_name: NonEmpty = Field(
        default="slirec_shopify_model",
        description="Name in the registry; `catalog.schema.model` in Unity Catalog. SLIREC_MODEL_NAME overrides.",
    )
    alias: NonEmpty = Field(default="champion", description="Registry alias that clients load the model by.")
    experiment_name: NonEmpty = Field(
        default="slirec_shopify", description="MLflow experiment of new runs. MLFLOW_EXPERIMENT_NAME overrides."
    )
    example_tolerance: float = Field(
        default=1e-5, gt=0, description="Largest accepted difference from the bundle's example scores on reload."
    )
    reload_timeout_seconds: float = Field(
        default=300.0, gt=0, description="Seconds that reloading and scoring in a clean process may take."
    )
    gate: GateConfig = Field(default=GateConfig(), description="What a version has to show to become the champion.")

    def without_rules(self) -> "ServeConfig":
        """Returns the configuration without its rules, under which products compare as the network scores them."""
        return ServeConfig(**self.model_dump(exclude=set(RULE_KEYS)))


def problems_of(error: ValidationError, named: Callable[[str], str] = str) -> str:
    """Returns what Pydantic found on one line, without the values received; `named` turns a field into its name."""
    found = error.errors(include_url=False)
    return "; ".join(f"`{named('.'.join(map(str, each['loc'])))}`: {each['msg']}" for each in found)


def serve_config(values: dict[str, Any]) -> ServeConfig:
    """Returns the configuration with `values` over the defaults.

    Args:
        values: Keys and values of `ServeConfig`; the rest keep their defaults.

    Raises:
        ConfigError: An unknown key or a wrong value, named.
    """
    try:
        return ServeConfig(**values)
    except ValidationError as error:
        raise ConfigError(f"Serving configuration: {problems_of(error)}") from None


def load_config(path: str | os.PathLike[str] = DEFAULT_CONFIG_PATH) -> ServeConfig:
    """Reads a YAML file of `ServeConfig` keys.

    Args:
        path: YAML file; by default `model_serve_config.yaml` beside this module.

    Raises:
        ConfigError: The file is missing, is not a YAML mapping, or has an unknown key or a wrong value.
    """
    try:
        document = yaml.safe_load(Path(path).read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise ConfigError(f"Serving configuration {path} should be a readable YAML file: {error}") from error
    if not isinstance(document, dict):
        raise ConfigError(f"Serving configuration {path} should be a mapping. Received: {type(document).__name__}")
    return serve_config({str(key): value for key, value in document.items()})
