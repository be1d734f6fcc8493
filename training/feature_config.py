"""Custom features of items, users and events, as `model_train_config.yaml` names them."""

from typing import Annotated, Final, Literal, Self

from pydantic import Field, model_validator

from training.config_section import PositiveInt, Section

Owner = Literal["item", "user", "event"]
Kind = Literal["categorical", "multi", "numeric", "hour", "weekday"]

OWNERS: Final[tuple[Owner, ...]] = ("item", "user", "event")
CLOCK_SIZES: Final = {"hour": 25, "weekday": 8}  # ids of what is read off the timestamp, 0 included
# Names that already mean something in a dataset, a bundle, a request or an answer.
RESERVED: Final = frozenset(
    {
        "user",
        "item",
        "category",
        "items",
        "timestamps",
        "timestamp",
        "itemIds",
        "preds",
        "message",
        "userId",
        "user_id",
        "user_interactions",
        "rating",
        "k",
        "recommend_seen",
        "candidate_ids",
        "now",
        "length",
        "first_timestamp",
        "candidates",
        "correction",
        "position",
        "split",
        "label",
        "id",
        "row",
    }
)


class Feature(Section):
    """One feature: where its values come from, and how wide its embedding is."""

    name: Annotated[str, Field(pattern=r"^[A-Za-z][A-Za-z0-9_]{0,62}$")] = Field(
        description="Name in the dataset, the bundle and requests."
    )
    column: Annotated[str, Field(min_length=1)] | None = Field(
        default=None,
        description="Column of the interactions, or for an item feature key of the snapshot's products; by default the "
        "name.",
    )
    kind: Kind = Field(
        default="categorical",
        description="categorical: a text; multi: several texts; numeric: a number, bucketed by training quantiles; "
        "hour and weekday: of the event, UTC, from its timestamp.",
    )
    dim: PositiveInt = Field(default=8, description="Width of the embedding.")
    buckets: Annotated[int, Field(ge=2, le=1000)] = Field(default=10, description="Quantile buckets of a numeric one.")
    min_count: PositiveInt = Field(
        default=1,
        description="Rarer values are unknown. Counted in training: once an item, a user or an event. Not of numeric.",
    )

    @property
    def source(self) -> str:
        """Column or key that its values come from."""
        return self.column or self.name

    @property
    def from_clock(self) -> bool:
        """Whether it is read off the timestamp, so that neither data nor requests have it."""
        return self.kind in CLOCK_SIZES


class FeaturesConfig(Section):
    """Custom features; with none the network is plain SLi-Rec."""

    item: tuple[Feature, ...] = Field(default=(), description="Beside id and category: vendor, price, tags.")
    user: tuple[Feature, ...] = Field(default=(), description="One value a user: segment, age band.")
    event: tuple[Feature, ...] = Field(default=(), description="One value an interaction: kind, quantity, hour.")

    def __bool__(self) -> bool:
        """Whether there is any."""
        return bool(self.item or self.user or self.event)

    def of(self, owner: Owner) -> tuple[Feature, ...]:
        """Returns the features of items, users or events."""
        return {"item": self.item, "user": self.user, "event": self.event}[owner]

    @property
    def columns(self) -> tuple[str, ...]:
        """Columns that interactions may have for them, each once."""
        named = (feature for owner in OWNERS for feature in self.of(owner))
        return tuple(dict.fromkeys(feature.source for feature in named if not feature.from_clock))

    @property
    def item_width(self) -> int:
        """What the item features add to the width of an event and of a candidate."""
        return sum(feature.dim for feature in self.item)

    @model_validator(mode="after")
    def _fit(self) -> Self:
        names: set[str] = set()
        for owner in OWNERS:
            for feature in self.of(owner):
                if feature.name in names or feature.name in RESERVED:
                    raise ValueError(
                        f"`name` of a feature should be its own, and none of this project's names. Received: "
                        f"{owner} feature {feature.name!r}"
                    )
                names.add(feature.name)
                if feature.kind == "multi" and owner != "item":
                    raise ValueError(
                        f"`kind` of a feature of {owner}s should not be multi: only items have several values. "
                        f"Received: {owner} feature {feature.name!r}"
                    )
                if feature.from_clock and (owner != "event" or feature.column is not None):
                    raise ValueError(
                        f"`kind: {feature.kind}` is of events and needs no column: it is read off the timestamp. "
                        f"Received: {owner} feature {feature.name!r}, column {feature.column!r}"
                    )
        return self
