"""Requests and answers of the HTTP door, and refusals that say what to change without repeating what was sent."""

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Annotated, Any, cast

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, WithJsonSchema
from pydantic_core import ErrorDetails

from serving.requests import LATEST_MILLISECONDS, MAX_VALUES

MOST_EVENTS = MOST_CANDIDATES = MAX_VALUES
MOST_PRODUCTS = 100_000
MOST_ROWS = 1_000
MOST_FEATURES = 100  # named by a request or an interaction
MOST_PRODUCTS_OF_A_BATCH = 200_000  # bounds what one answer takes in memory

_DIGITS = r"^[0-9]{1,14}(\.[0-9]{1,9})?$"
_TIME = "UNIX seconds or milliseconds, as a number or as text"


def _time(value: object) -> object:
    if isinstance(value, str):
        if re.fullmatch(_DIGITS[1:-1], value, re.ASCII):
            return value
    elif isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value < LATEST_MILLISECONDS:
        return value
    raise ValueError


def _whole(value: object) -> object:
    # JSON knows one kind of number: 16.0 is the integer 16.
    return int(value) if isinstance(value, float) and value.is_integer() else value


Time = Annotated[
    Any,
    AfterValidator(_time),
    WithJsonSchema(
        {
            "anyOf": [
                {"type": "number", "minimum": 0, "exclusiveMaximum": LATEST_MILLISECONDS},
                {"type": "string", "pattern": _DIGITS},
            ],
            "description": f"{_TIME.capitalize().replace('Unix', 'UNIX')}.",
        }
    ),
]


class _Strict(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)


FeatureValues = Annotated[dict[str, str | float | None], Field(max_length=MOST_FEATURES)]


class Interaction(_Strict):
    """What a shopper did with a product."""

    timestamp: Time
    rating: float | None = Field(default=None, description="A rating below the threshold is no positive.")
    features: FeatureValues = Field(
        default_factory=dict[str, str | float | None],
        description="By name, values of the event features that the model was trained with, such as its kind.",
    )


class RecommendationRequest(_Strict):
    """One shopper, by known id, by interactions, or both; interactions go before stored events."""

    user_id: str | None = Field(default=None, description="A shopper known to the model; anything else is anonymous.")
    user_interactions: dict[str, Interaction] = Field(
        default_factory=dict, max_length=MOST_EVENTS, description="By product handle, in any order."
    )
    k: Annotated[int, Field(ge=1, le=MOST_PRODUCTS), BeforeValidator(_whole)] | None = Field(
        default=None, description="Products wanted; by default the model's configuration (16)."
    )
    recommend_seen: bool | None = Field(
        default=None, description="Whether products that the shopper has touched may be recommended."
    )
    candidate_ids: list[Annotated[str, Field(min_length=1)]] = Field(
        default_factory=list[str],
        max_length=MOST_CANDIDATES,
        description="Handles or GIDs to choose among; empty: the whole catalogue.",
    )
    now: Time | None = Field(default=None, description="Time of the recommendation; by default the latest event's.")
    features: FeatureValues = Field(
        default_factory=dict[str, str | float | None],
        description="By name, values of the user features that the model was trained with, such as a segment.",
    )


def _row(value: object) -> object:
    """A request, or the text of its refusal: a bad row fails alone."""
    try:
        return RecommendationRequest.model_validate(value)
    except ValidationError as error:
        return refusal(error.errors(include_url=False, include_context=False), value, RecommendationRequest)


class BatchRequest(_Strict):
    """Several shoppers; a row that is no right request is answered with its own error."""

    requests: list[Annotated[RecommendationRequest | Any, BeforeValidator(_row)]] = Field(
        min_length=1, max_length=MOST_ROWS, description="One request a shopper."
    )


class Product(BaseModel):
    """A recommended product."""

    id: str = Field(description="Shopify GID; for a candidate that is not in the catalogue: its id as received.")
    score: float = Field(ge=0, le=1, description="Never rises down the list.")


class RecommendationAnswer(BaseModel):
    """Products for one shopper, best first."""

    recommendations: list[Product]
    message: str | None = Field(description="What was unusual about the request; null when all was well.")


class RowAnswer(RecommendationAnswer):
    """Answer to one row of a batch."""

    error: str | None = Field(description="Why this row was refused; null where it was answered.")


class BatchAnswer(BaseModel):
    """One answer a row, in the order of the request."""

    results: list[RowAnswer]


class ErrorAnswer(BaseModel):
    """A request that was not answered."""

    error: str = Field(description="What to change, or what happened. Repeats nothing of what was sent.")
    request_id: str = Field(description="Also in the header X-Request-ID and in the server's log.")


class StatusAnswer(BaseModel):
    """State of the process."""

    status: str


class SourceAnswer(BaseModel):
    """Where models come from."""

    checked_at: str | None = Field(description="When a new model was last looked for.")
    error: str | None = Field(description="Why the last look brought no usable model; null when all was well.")


class ModelAnswer(BaseModel):
    """The model that answers now."""

    name: str
    version: str
    trained_at: str
    loaded_at: str
    format_version: int
    metrics: dict[str, float]
    source: SourceAnswer


_EXPECTED = {
    "user_id": "text or null",
    "user_interactions": f"an object of at most {MOST_EVENTS:,} product handles, each with an object",
    "timestamp": _TIME,
    "rating": "a number or null",
    "k": f"an integer from 1 to {MOST_PRODUCTS:,}, or null",
    "recommend_seen": "true, false or null",
    "candidate_ids": f"a list of at most {MOST_CANDIDATES:,} product handles or GIDs",
    "now": f"{_TIME}, or null",
    "features": f"an object of at most {MOST_FEATURES} names, each with a text, a number or null",
    "requests": f"a list of 1 to {MOST_ROWS:,} requests",
}
_NAMES = ((list, "a list"), (dict, "an object"), (str, "a text"), (bool, "a truth value"), (int | float, "a number"))


def refusal(errors: Sequence[ErrorDetails], body: object, model: type[BaseModel]) -> str:
    """Returns what is wrong first, in this project's words: where, what was expected, and the kind of value received.

    Args:
        errors: What Pydantic found; its messages are not used, as some repeat what was sent.
        body: What was validated; tells keys of the client apart from names of fields.
        model: What it was validated as.
    """
    error = errors[0]
    kind, place = error["type"], list(error["loc"])
    if kind == "json_invalid":
        return "The body should be JSON in UTF-8, nested less than 200 deep. Received: something else."
    extra = kind == "extra_forbidden"
    where, field = _where(place[:-1] if extra else place, body)
    if extra:
        known = ", ".join(f"`{name}`" for name in (Interaction if where else model).model_fields)
        return f"{f'`{where}`' if where else 'The request'} should only have the keys {known}. Received: another key."
    whole = "an object with `timestamp` and perhaps `rating` and `features`" if where else "a JSON object"
    expected = _EXPECTED.get(field) or whole
    if where.startswith("candidate_ids["):
        expected = "a product handle or GID, as text that is not empty"
    return f"{f'`{where}`' if where else 'The request'} should be {expected}. Received: {_received(error)}."


def _where(place: Iterable[str | int], body: object) -> tuple[str, str]:
    """Path of a value, with the number of a handle in place of the handle, and the name of its field ("": none)."""
    where, field, at = "", "", body
    for part in place:
        if field == "user_interactions":
            where, field = f"{where}[{list(_keys(at)).index(str(part))}]", ""
            at = _keys(at).get(str(part))
        elif isinstance(part, int):
            where, field = f"{where}[{part}]", ""
        elif part in _EXPECTED:
            where, field = f"{where}.{part}" if where else part, part
            at = _keys(at).get(part)
        # Anything else is a step inside Pydantic, such as the branch of a union.
    return where, field


def _keys(value: object) -> Mapping[str, object]:
    return cast(Mapping[str, object], value) if isinstance(value, dict) else {}


def _received(error: ErrorDetails) -> str:
    value: object = error["input"]
    if error["type"] == "missing":
        return "nothing"
    if value is None:
        return "null"
    name = next((name for kind, name in _NAMES if isinstance(value, kind)), "something else")
    if isinstance(value, list | dict):
        return f"{name} of {len(cast(list[object], value)):,}"
    # Of the right kind, but out of range.
    return name if error["type"].endswith("_type") or isinstance(value, bool) else f"{name} that is not"
