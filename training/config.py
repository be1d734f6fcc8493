"""Typed training configuration, read from YAML."""

import os
from pathlib import Path
from typing import Annotated, Any, Literal, Self

import yaml
from pydantic import (
    Field,
    SerializerFunctionWrapHandler,
    ValidationError,
    ValidationInfo,
    field_validator,
    model_serializer,
    model_validator,
)

from training.config_section import Count, PositiveInt, Section
from training.feature_config import FeaturesConfig

DEFAULT_CONFIG = Path(__file__).with_name("model_train_config.yaml")

NonNegativeFloat = Annotated[float, Field(ge=0)]
Rate = Annotated[float, Field(ge=0, lt=1)]
Activation = Literal["relu", "sigmoid", "tanh", "elu", "identity"]


class ConfigError(ValueError):
    """A configuration file that cannot be used."""


class DataConfig(Section):
    """How interactions become examples."""

    max_seq_length: PositiveInt = Field(default=50, description="Latest events of a history that the network reads.")
    valid_num_ngs: PositiveInt = Field(
        default=4, description="Sampled negatives of a validation row (sampled protocol)."
    )
    test_num_ngs: PositiveInt = Field(default=9, description="Sampled negatives of a test row (sampled protocol).")
    same_time: Literal["ordered", "together"] = Field(
        default="ordered",
        description="Events of a user at one second: ordered by handle, or together: a set, no history of each other.",
    )


class ModelConfig(Section):
    """Shape of the network; names as in recommenders' `sli_rec.yaml`."""

    model_type: Literal["sli_rec"] = Field(default="sli_rec", description="Network to train.")
    item_embedding_dim: PositiveInt = Field(default=32, description="Width of the item embedding.")
    cate_embedding_dim: PositiveInt = Field(default=8, description="Width of the category embedding.")
    hidden_size: Count = Field(
        default=0, description="Units of the time-aware LSTM; 0 = as wide as an event, item features included."
    )
    attention_size: Count = Field(default=0, description="Width of the long-term attention query; 0 = likewise.")
    att_fcn_layer_sizes: tuple[PositiveInt, ...] = Field(
        default=(80, 40), description="Hidden layers of target attention."
    )
    layer_sizes: tuple[PositiveInt, ...] = Field(default=(100, 64), description="Hidden layers of the prediction MLP.")
    activation: tuple[Activation, ...] = Field(default=("relu", "relu"), description="Activation of each hidden layer.")
    dropout: tuple[Rate, ...] = Field(default=(0.3, 0.3), description="Dropout rate of each hidden layer.")
    enable_BN: bool = Field(default=True, description="Batch normalisation in the hidden layers.")
    recommenders_compatible: bool = Field(
        default=False,
        description="Repeat two habits of recommenders' code, which its checkpoints need: long-term attention that "
        "also reads the padding, and the fusion gate's time taken from the last padded column.",
    )

    @property
    def embedding_dim(self) -> int:
        """Width of one event or candidate: item and category embeddings, concatenated."""
        return self.item_embedding_dim + self.cate_embedding_dim

    def with_width(self, item_width: int) -> "ModelConfig":
        """Returns a copy whose `hidden_size` and `attention_size` are as wide as an event.

        Args:
            item_width: What the item features add to `embedding_dim`.

        Raises:
            ValueError: One of them is another number than 0 and this.
        """
        width = self.embedding_dim + item_width
        features = " + the item features' dim" if item_width else ""
        for name in ("hidden_size", "attention_size"):
            if getattr(self, name) not in (0, width):
                raise ValueError(
                    f"`{name}` should equal item_embedding_dim + cate_embedding_dim{features} = {width}, because "
                    f"long- and short-term taste are added; 0 stands for it. Received: {name} = {getattr(self, name)}"
                )
        return self.model_copy(update={"hidden_size": width, "attention_size": width})

    @model_validator(mode="after")
    def _sizes_fit(self) -> Self:
        depth = max(len(self.layer_sizes), len(self.att_fcn_layer_sizes))
        for name in ("activation", "dropout"):
            if len(getattr(self, name)) < depth:
                raise ValueError(
                    f"`{name}` should have an entry for each of {depth} hidden layers. Received: {getattr(self, name)}"
                )
        return self


class OptimizerConfig(Section):
    """How the network is trained; names as in recommenders' `sli_rec.yaml`."""

    init_value: NonNegativeFloat = Field(default=0.01, description="Standard deviation of the truncated-normal start.")
    embed_l2: NonNegativeFloat = Field(default=1e-4, description="L2 on the embeddings used in a batch.")
    layer_l2: NonNegativeFloat = Field(default=1e-4, description="L2 on all other weights.")
    learning_rate: Annotated[float, Field(gt=0)] = Field(default=0.001, description="Learning rate of Adam.")
    learning_rate_schedule: Literal["constant", "exponential", "cosine"] = Field(
        default="exponential",
        description="exponential: falls by learning_rate_decay each epoch; cosine: falls to 0 at the last of `epochs`.",
    )
    learning_rate_decay: Annotated[float, Field(gt=0, le=1)] = Field(
        default=1.0, description="Factor on the learning rate for each epoch, applied smoothly; 1 = constant."
    )
    warmup_epochs: NonNegativeFloat = Field(default=0.0, description="Epochs of linear rise before the cosine's fall.")
    loss: Literal["softmax", "full_softmax", "gbce", "bce"] = Field(
        default="softmax",
        description="softmax: over the positive and its negatives; full_softmax: over all items, no negatives are "
        "drawn; bce: each candidate alone; gbce: bce corrected for the share of items drawn.",
    )
    gbce_t: Annotated[float, Field(ge=0, le=1)] = Field(
        default=0.75, description="Calibration of gbce: 0 = bce, 1 = corrected fully."
    )
    optimizer: Literal["adam", "adamw"] = Field(default="adam", description="Optimiser; adamw applies weight_decay.")
    weight_decay: NonNegativeFloat = Field(
        default=0.0, description="Decoupled weight decay of adamw on the layers' matrices; embeddings have embed_l2."
    )
    epochs: PositiveInt = Field(default=10, description="Most epochs to train.")
    batch_size: PositiveInt = Field(default=400, description="Positives in a batch, over all devices.")
    epoch_examples: PositiveInt | None = Field(
        default=None, description="Positives of an epoch, drawn anew for each; none = all of the training split."
    )
    train_num_ngs: Count = Field(
        default=4, description="In-batch negatives for each positive, never from the history that is read."
    )
    history_num_ngs: Count = Field(
        default=0, description="Further negatives for each positive, from its own history: not everything seen is next."
    )
    catalogue_num_ngs: Count = Field(
        default=0, description="Further negatives for each positive, from the whole catalogue; nothing is spared."
    )
    catalogue_power: Annotated[float, Field(ge=0, le=1)] = Field(
        default=0.0, description="Catalogue negatives are drawn by count^power: 0 = uniform, 1 = by popularity."
    )
    hard_num_ngs: Count = Field(
        default=0, description="Further negatives for each positive: those of hard_pool items that score highest."
    )
    hard_pool: PositiveInt = Field(
        default=32, description="Items drawn for each positive as catalogue negatives are, for hard_num_ngs to choose."
    )
    logq_correction: bool = Field(
        default=False,
        description="Correct the logits in training for how often each candidate is drawn as a negative. Needs "
        "catalogue_num_ngs of at least 1, so that everything can be drawn.",
    )
    is_clip_norm: bool = Field(default=False, description="Clip each gradient to max_grad_norm.")
    max_grad_norm: Annotated[float, Field(gt=0)] = Field(default=2.0, description="Largest norm of one gradient.")
    max_global_norm: Annotated[float, Field(gt=0)] | None = Field(
        default=None, description="Largest norm of all gradients together, instead of is_clip_norm; none = any."
    )
    EARLY_STOP: Count = Field(default=3, description="Epochs without a better metric; 0 = never stop.")
    eval_metric: str = Field(
        default="seen_in/NDCG@10",
        pattern=r"^(seen_(in|out)/((HR|NDCG|Recall)@(5|10|20)|MRR|MAP@12)|sampled/(auc|group_auc|mean_mrr|ndcg@[246]))$",
        description="Validation metric that chooses the best epoch, protocol/metric: seen_in ranks everything, "
        "seen_out products new to the shopper.",
    )
    seed: Count = Field(default=42, description="Seed of weights, batches, negatives and dropout.")

    @property
    def num_negatives(self) -> int:
        """Negatives of a positive of all kinds, where any are drawn."""
        return self.train_num_ngs + self.history_num_ngs + self.catalogue_num_ngs + self.hard_num_ngs

    @model_validator(mode="after")
    def _settings_fit(self) -> Self:
        if fault := _fault(self):
            raise ValueError(fault)
        return self


def _fault(train: OptimizerConfig) -> str | None:
    """Returns what two settings contradict each other, with what was received."""
    if train.logq_correction and train.loss != "softmax":
        return f"`logq_correction` is a correction of the sampled softmax. Received: loss = {train.loss}"
    if train.logq_correction and not train.catalogue_num_ngs:
        return "`logq_correction` needs `catalogue_num_ngs` of at least 1. Received: catalogue_num_ngs = 0"
    if train.hard_num_ngs and (train.logq_correction or train.loss == "full_softmax"):
        return (
            "`hard_num_ngs` should be 0 with `logq_correction`, because how often the network picks an item is not "
            f"known, and with full_softmax. Received: hard_num_ngs = {train.hard_num_ngs}"
        )
    if train.hard_num_ngs > train.hard_pool:
        return f"`hard_pool` should be at least hard_num_ngs = {train.hard_num_ngs}. Received: {train.hard_pool}"
    if not train.num_negatives and train.loss != "full_softmax":
        return "At least one of the numbers of negatives should be positive. Received: all are 0"
    if train.learning_rate_decay < 1 and train.learning_rate_schedule != "exponential":
        return (
            "`learning_rate_decay` should be 1 unless the schedule is exponential. Received: "
            f"{train.learning_rate_decay} with {train.learning_rate_schedule}"
        )
    if train.warmup_epochs and train.learning_rate_schedule != "cosine":
        return f"`warmup_epochs` belongs to the schedule cosine. Received: {train.learning_rate_schedule}"
    if train.warmup_epochs >= train.epochs:
        return f"`warmup_epochs` should be fewer than epochs = {train.epochs}. Received: {train.warmup_epochs}"
    if train.is_clip_norm and train.max_global_norm is not None:
        return "Gradients are clipped by `is_clip_norm` or by `max_global_norm`, not by both. Received: both"
    if (train.optimizer == "adamw") != (train.weight_decay > 0):
        return (
            "`weight_decay` belongs to optimizer adamw, and adamw needs it. Received: "
            f"optimizer = {train.optimizer}, weight_decay = {train.weight_decay}"
        )
    if train.weight_decay and train.layer_l2:
        return (
            "`layer_l2` should be 0 with `weight_decay`: both shrink the same weights. "
            f"Received: layer_l2 = {train.layer_l2}"
        )
    return None


class DeviceConfig(Section):
    """Where the network is trained."""

    strategy: Literal["auto", "default", "mirrored"] = Field(
        default="auto", description="auto: mirrored over all GPUs where there are several, else one device."
    )
    precision: Literal["float32", "mixed_float16", "mixed_bfloat16"] = Field(
        default="float32", description="Keras policy."
    )
    jit_compile: bool = Field(default=False, description="Compile the training step with XLA.")


class TrainingConfig(Section):
    """The whole of `model_train_config.yaml`."""

    data: DataConfig = DataConfig()
    features: FeaturesConfig = FeaturesConfig()
    model: ModelConfig = Field(default=ModelConfig(), validate_default=True)
    train: OptimizerConfig = OptimizerConfig()
    device: DeviceConfig = DeviceConfig()

    @field_validator("model")
    @classmethod
    def _as_wide_as_an_event(cls, model: ModelConfig, info: ValidationInfo) -> ModelConfig:
        features: FeaturesConfig | None = info.data.get("features")  # None: refused already
        return model if features is None else model.with_width(features.item_width)

    @model_serializer(mode="wrap")
    def _without_empty_features(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        # Without features a run, and the bundle made of it, is what it was before there were any.
        document: dict[str, Any] = handler(self)
        if not self.features:
            document.pop("features", None)
        return document

    def replaced(self, **sections: dict[str, Any]) -> "TrainingConfig":
        """Returns a validated copy with some keys of some sections replaced, e.g. `train={"epochs": 3}`."""
        document = self.model_dump()
        if "features" in sections:  # other features, another width
            document["model"] |= {"hidden_size": 0, "attention_size": 0}
        for section, values in sections.items():
            document[section] = {**document.get(section, {}), **values}
        return _validated(document, "the replaced configuration")


def load_config(path: str | os.PathLike[str] = DEFAULT_CONFIG) -> TrainingConfig:
    """Reads a training configuration.

    Args:
        path: YAML file with the sections `data`, `features`, `model`, `train` and `device`; what is left
            out has its default.

    Returns:
        The validated configuration.

    Raises:
        ConfigError: The file is missing, is not YAML, or holds an unknown key or a value out of range.
    """
    try:
        document: Any = yaml.safe_load(Path(path).read_text(encoding="utf-8")) or {}
    except (OSError, yaml.YAMLError) as error:
        raise ConfigError(f"Cannot read the training configuration {path}: {error}") from error
    return _validated(document, str(path))


def _validated(document: Any, source: str) -> TrainingConfig:
    try:
        return TrainingConfig.model_validate(document)
    except ValidationError as error:
        problems = "; ".join(
            f"{'.'.join(str(part) for part in problem['loc']) or 'file'}: {problem['msg']}"
            for problem in error.errors()
        )
        raise ConfigError(f"{source} is not a valid training configuration: {problems}") from error
