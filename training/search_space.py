"""The search space of tuning: what is tried for which setting, read from YAML."""

import json
import os
from pathlib import Path
from typing import Annotated, Any, Final, Literal, Protocol, Self

import yaml
from pydantic import Field, ValidationError, model_validator

from training.config import ConfigError, Section, TrainingConfig

DEFAULT_SPACE: Final = Path(__file__).with_name("tune_space.yaml")


class Numbers(Section):
    """A range of numbers, both ends included."""

    kind: Literal["float", "int"]
    low: float
    high: float
    log: bool = Field(default=False, description="Evenly over the logarithm.")

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if self.low >= self.high or (self.log and self.low <= 0):
            raise ValueError(
                f"`low` should be below `high`, and above 0 with log. Received: low = {self.low}, high = {self.high}"
            )
        if self.kind == "int" and not (self.low.is_integer() and self.high.is_integer()):
            raise ValueError(f"ends of an int should be whole numbers. Received: {self.low} and {self.high}")
        return self


class Choice(Section):
    """A few values without an order."""

    kind: Literal["choice"]
    choices: tuple[Any, ...] = Field(min_length=2)


class Pruner(Section):
    """When a trial is stopped early."""

    kind: Literal["median", "hyperband", "none"] = Field(
        default="median",
        description="median: worse than half of the earlier trials at the same epoch; hyperband: brackets of rising "
        "numbers of epochs (Li et al., JMLR 18, 2018); none: never.",
    )
    startup_trials: int = Field(default=5, ge=0, description="Trials before median stops any.")
    warmup_epochs: int = Field(default=1, ge=0, description="Epochs of a trial that median never judges.")


class SearchSpace(Section):
    """The whole of `tune_space.yaml`."""

    pruner: Pruner = Pruner()
    space: dict[str, Annotated[Numbers | Choice, Field(discriminator="kind")]] = Field(min_length=1)

    @model_validator(mode="after")
    def _settings_exist(self) -> Self:
        known = {
            f"{section}.{name}" for section, values in TrainingConfig().model_dump().items() for name in values
        } - {"train.epochs", "train.EARLY_STOP", "train.eval_metric", "model.hidden_size", "model.attention_size"}
        if unknown := sorted(set(self.space) - known):
            raise ValueError(
                "names in `space` should be section.name of the training configuration that can be tried (not epochs, "
                "EARLY_STOP, eval_metric, hidden_size or attention_size, which the study or the embeddings decide). "
                f"Received: {', '.join(unknown)}"
            )
        return self


class Suggester(Protocol):
    """What is needed of an Optuna trial."""

    def suggest_float(self, name: str, low: float, high: float, *, log: bool = False) -> float:
        """Returns a number."""
        ...

    def suggest_int(self, name: str, low: int, high: int, *, log: bool = False) -> int:
        """Returns a whole number."""
        ...

    def suggest_categorical(self, name: str, choices: Any) -> Any:
        """Returns one of the choices."""
        ...


def load_space(path: str | os.PathLike[str] = DEFAULT_SPACE) -> SearchSpace:
    """Reads a search space.

    Raises:
        ConfigError: The file is missing, is not YAML, or holds something else than a search space.
    """
    try:
        return SearchSpace.model_validate(yaml.safe_load(Path(path).read_text(encoding="utf-8")))
    except (OSError, yaml.YAMLError, ValidationError) as error:
        raise ConfigError(f"Cannot read the search space {path}: {error}") from error


def suggest(space: SearchSpace, trial: Suggester) -> dict[str, Any]:
    """Asks a trial for a value of each setting.

    Returns:
        section.name to value.
    """
    values: dict[str, Any] = {}
    for name, each in space.space.items():
        if isinstance(each, Choice):
            # Optuna stores plain values only, hence lists go in as their JSON.
            texts = [json.dumps(value) for value in each.choices]
            values[name] = json.loads(trial.suggest_categorical(name, texts))
        elif each.kind == "int":
            values[name] = trial.suggest_int(name, int(each.low), int(each.high), log=each.log)
        else:
            values[name] = trial.suggest_float(name, each.low, each.high, log=each.log)
    return values


def configured(base: TrainingConfig, values: dict[str, Any]) -> TrainingConfig:
    """Returns the configuration with these settings; widths that must equal that of an event follow it.

    Raises:
        ConfigError: The settings contradict each other or a bound.
    """
    sections: dict[str, dict[str, Any]] = {}
    for name, value in values.items():
        section, setting = name.split(".", 1)
        sections.setdefault(section, {})[setting] = value
    # 0: as wide as an event, whose item features add to the embeddings.
    sections["model"] = sections.get("model", {}) | {"hidden_size": 0, "attention_size": 0}
    return base.replaced(**sections)
