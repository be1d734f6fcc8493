"""Configuration of the candidate-history ranker."""

from pydantic import Field

from training.config import Count, NonNegativeFloat, PositiveInt, Section


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
    hidden: tuple[PositiveInt, ...] = Field(default=(64, 32), description="Hidden layers of each head.")
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
