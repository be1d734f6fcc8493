"""Configuration of the candidate-history ranker."""

import os
from pathlib import Path
from typing import Any, Final

import yaml
from pydantic import Field, ValidationError

from training.config import ConfigError, Count, NonNegativeFloat, PositiveInt, Section

# What a fitted ranker's settings say beside its configuration; it is not read back, but for the groups' names.
FACTS: Final = frozenset({"groups", "examples", "pairs_bought_before", "pairs_new"})


class HistoryRankerConfig(Section):
    """How the candidate-history ranker learns."""

    days: PositiveInt = Field(default=21, description="Length of the window of purchases that is predicted, in days.")
    cuts: PositiveInt = Field(
        default=6, description="Earlier moments to learn from; fewer if the history does not reach back so far."
    )
    step_days: PositiveInt = Field(default=14, description="Days between two of these moments.")
    min_history_days: Count = Field(default=28, description="Days of history that the earliest moment has at least.")
    negatives: PositiveInt = Field(
        default=150,
        description="Items never bought that are sampled for each shopper and moment, half of them uniformly, half by "
        "their rank by EASE.",
    )
    regularization: float = Field(default=1000.0, gt=0, description="Lambda of EASE.")
    neighbours: PositiveInt = Field(default=100, description="Items whose EASE weight is kept for each item.")
    hidden: tuple[PositiveInt, ...] = Field(default=(64, 32), min_length=1, description="Hidden layers of each head.")
    clip: float = Field(default=4.0, gt=0, description="Standardised features are cut off at plus and minus this.")
    epochs: PositiveInt = Field(default=4, description="Passes over the examples.")
    batch_size: PositiveInt = Field(default=32, description="Shoppers (at one moment each) in a training step.")
    learning_rate: float = Field(default=2e-3, gt=0, description="First learning rate of Adam; it falls as a cosine.")
    kernel_l2: NonNegativeFloat = Field(default=1e-5, description="Squared weight of the kernels in the loss.")
    bias_l2: NonNegativeFloat = Field(
        default=1e-3, description="Squared weight, in the loss, of the bias of each item bought before."
    )
    seeds: PositiveInt = Field(default=3, description="Networks whose logits are averaged.")
    seed: Count = Field(default=42, description="Seed of the sampled items, the order of examples and the networks.")
    history_length: PositiveInt = Field(default=5000, description="Latest events of a shopper that are read.")


def load_history_config(path: str | os.PathLike[str]) -> HistoryRankerConfig:
    """Reads settings from YAML; what is left out has its default.

    Args:
        path: YAML file.

    Raises:
        ConfigError: If the file is missing, is not YAML, or holds an unknown key or a value out of range.
    """
    try:
        document: Any = yaml.safe_load(Path(path).read_text(encoding="utf-8")) or {}
        return HistoryRankerConfig.model_validate(document)
    except (OSError, yaml.YAMLError) as error:
        raise ConfigError(f"Cannot read the ranker's configuration {path}: {error}") from error
    except ValidationError as error:
        problems = "; ".join(
            f"{'.'.join(str(part) for part in each['loc']) or 'file'}: {each['msg']}" for each in error.errors()
        )
        raise ConfigError(f"{path} is not a valid configuration of the ranker: {problems}") from error
