"""`bundle.json` as typed documents: what a model bundle says of itself."""

from typing import Any, Final, Literal

from pydantic import BaseModel, ConfigDict, Field

SLI_REC: Final = "sli_rec"
BLEND: Final = "blend"


class _Frozen(BaseModel):
    # Keys that this version does not know are kept out, not refused: a newer writer may add some within one
    # format version, and every byte is covered by the hashes anyway.
    model_config = ConfigDict(frozen=True, extra="ignore")


class Sizes(_Frozen):
    """Sizes of the ranker and its tables; vocabularies count index 0.

    `max_seq_length` is how many latest events a network reads, `history_length` how many a rank graph does; where there
    is no network both are the same.
    """

    num_items: int = Field(ge=1)
    num_categories: int = Field(ge=1)
    num_users: int = Field(ge=1)
    max_seq_length: int = Field(ge=1)
    num_products: int = Field(ge=1)
    history_length: int | None = Field(default=None, ge=1)


RankerKind = Literal["sli_rec", "popularity", "own_frequency", "ease", "candidate_history", "blend"]


class Part(_Frozen):
    """One part of a blend: `weight * (score - mean) / scale` of it is added up.

    Only a blend with SLi-Rec is added up when it is served; any other one is a rank graph, which does so itself.
    """

    kind: RankerKind
    weight: float = Field(ge=0, allow_inf_nan=False)
    mean: float = Field(default=0.0, allow_inf_nan=False)
    scale: float = Field(default=1.0, gt=0, allow_inf_nan=False)
    settings: dict[str, Any] = {}


class RankerDocument(_Frozen):
    """Which ranker the bundle holds, with what settings; `parts` are those of a blend."""

    kind: RankerKind
    settings: dict[str, Any] = {}
    parts: tuple[Part, ...] = ()

    @property
    def has_network(self) -> bool:
        """Whether SLi-Rec takes part."""
        return self.kind == SLI_REC or any(part.kind == SLI_REC for part in self.parts)

    @property
    def has_rank_graph(self) -> bool:
        """Whether another method than SLi-Rec takes part."""
        return self.kind != SLI_REC


class GraphEntry(_Frozen):
    """One ONNX graph as `bundle.json` lists it."""

    file: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]


class FeatureEntry(_Frozen):
    """One custom feature, as `bundle.json` lists it; `size` counts id 0, `bounds` lie between numeric buckets."""

    name: str = Field(pattern=r"^[A-Za-z][A-Za-z0-9_]*$")
    of: Literal["item", "user", "event"]
    kind: Literal["categorical", "multi", "numeric", "hour", "weekday"]
    size: int = Field(ge=1)
    bounds: tuple[float, ...] = ()

    @property
    def has_vocabulary(self) -> bool:
        """Whether its values are in a file, and not read off the timestamp."""
        return self.kind not in ("hour", "weekday")

    @property
    def in_requests(self) -> bool:
        """Whether a request may carry its values."""
        return self.of != "item" and self.has_vocabulary

    @property
    def input_name(self) -> str:
        """Name of its ids among the inputs of the network, and in the table of stored events."""
        return f"{self.of}_{self.name}"


class Manifest(_Frozen):
    """`bundle.json`, format version 4."""

    format_version: Literal[4]
    model: str
    ranker: RankerDocument
    created_at: str
    features: dict[str, tuple[str, ...]]
    sizes: Sizes
    graphs: dict[str, GraphEntry]
    config: dict[str, Any]
    metrics: dict[str, Any]
    library_versions: dict[str, str]
    data_fingerprint: str
    sha256: dict[str, str]
    pad_to_max_seq_length: bool = False
    custom_features: tuple[FeatureEntry, ...] = ()

    @property
    def request_features(self) -> tuple[FeatureEntry, ...]:
        """Custom features whose values a request may carry, in the order of its columns."""
        return tuple(entry for entry in self.custom_features if entry.in_requests)


def problem_of_ranker(manifest: Manifest) -> str | None:
    """Returns what is wrong with what a manifest says of its ranker; None: nothing."""
    ranker, kinds = manifest.ranker, [part.kind for part in manifest.ranker.parts]
    if (ranker.kind == BLEND) != bool(kinds):
        return f"`ranker.parts` should be those of a blend. Received: a ranker {ranker.kind!r} with parts {kinds}"
    if ranker.kind == BLEND and ranker.has_network and (len(kinds) != 2 or kinds.count(SLI_REC) != 1):
        return f"`ranker.parts` of a blend with SLi-Rec should be two, of which one is it. Received: {kinds}"
    if ranker.has_rank_graph and manifest.sizes.history_length is None:
        return "`sizes.history_length` should say how many events the rank graph reads. Received: nothing"
    return None
