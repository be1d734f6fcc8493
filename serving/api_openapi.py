"""The OpenAPI document of the HTTP door: bodies, examples and every answer.

Bodies are described here by hand because the application parses them itself, outside the event loop.
"""

from collections.abc import Collection
from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from pydantic.json_schema import models_json_schema

from serving.api_models import BatchRequest, ErrorAnswer, RecommendationRequest

_SCHEMAS = "#/components/schemas/{model}"
_BY_USER = {"user_id": "customer-7", "k": 4}
_BY_INTERACTIONS = {
    "user_interactions": {
        "linen-shirt": {"timestamp": 1767225600, "rating": 5},
        "wool-scarf": {"timestamp": "1767312000000", "rating": 1},
        "blue-jeans": {"timestamp": 1767398400},
    },
    "k": 8,
    "recommend_seen": False,
    "candidate_ids": [],
}
_BY_FEATURES = {
    "user_interactions": {"linen-shirt": {"timestamp": 1767225600, "features": {"kind": "cart", "quantity": 2}}},
    "features": {"segment": "students"},
    "k": 8,
}
_ERRORS = {
    401: "The bearer token is missing or wrong.",
    408: "The body did not arrive in time.",
    413: "The body is too large.",
    422: "The request has no right answer; `error` says what to change.",
    429: "Too many requests of this client.",
    500: "The request failed; the server's log has the reason beside the request id.",
    503: "No model is loaded yet, or too many requests wait.",
}
VERSION_HEADER = "X-Model-Version"
_VERSION = {VERSION_HEADER: {"description": "Version of the model that answered.", "schema": {"type": "string"}}}
_RETRY = {"Retry-After": {"description": "Seconds to wait.", "schema": {"type": "integer", "minimum": 1}}}


def answers(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """Returns the error answers of a route, as FastAPI takes them."""
    return {
        status: {
            "model": ErrorAnswer,
            "description": _ERRORS[status],
            **({"headers": _RETRY} if status in (429, 503) else {}),
        }
        for status in statuses
    }


def ranked() -> dict[int | str, dict[str, Any]]:
    """Returns what a route that ranks says of its answer, beside the answer's model."""
    return {200: {"description": "Products, best first.", "headers": _VERSION}}


def single_body() -> dict[str, Any]:
    """Returns the body of one request, with examples."""
    examples = {"by known shopper": _BY_USER, "by interactions": _BY_INTERACTIONS, "with features": _BY_FEATURES}
    return _body("RecommendationRequest", examples)


def batch_body() -> dict[str, Any]:
    """Returns the body of a batch, with an example."""
    return _body("BatchRequest", {"two shoppers": {"requests": [_BY_USER, _BY_INTERACTIONS]}})


def describe(app: FastAPI, *, with_token: bool, open_paths: Collection[str]) -> dict[str, Any]:
    """Returns the document.

    Args:
        app: Its routes.
        with_token: Whether a bearer token is asked for.
        open_paths: Routes that never ask for it.
    """
    if app.openapi_schema:
        return app.openapi_schema
    document = get_openapi(
        title=app.title,
        version=app.version,
        routes=app.routes,
        description="Ranks a shop's products for a shopper. Every answer has an X-Request-ID.",
    )
    _, bodies = models_json_schema(
        [(RecommendationRequest, "validation"), (BatchRequest, "validation")], ref_template=_SCHEMAS
    )
    components = document.setdefault("components", {})
    components.setdefault("schemas", {}).update(bodies["$defs"])
    if with_token:
        components["securitySchemes"] = {"token": {"type": "http", "scheme": "bearer"}}
        for path, operations in document["paths"].items():
            for operation in operations.values():
                operation["security"] = [] if path in open_paths else [{"token": []}]
    app.openapi_schema = document
    return document


def _body(schema: str, examples: dict[str, Any]) -> dict[str, Any]:
    return {
        "required": True,
        "content": {
            "application/json": {
                "schema": {"$ref": _SCHEMAS.format(model=schema)},
                "examples": {name: {"value": value} for name, value in examples.items()},
            }
        },
    }
