"""The HTTP door: a FastAPI application that ranks for shops, and switches models without a dropped request.

Bodies are parsed, ranked and rendered in a bounded pool of threads; the event loop only reads, admits and sends, so
that /health answers however busy the ranking is.
"""

import logging
import math
from collections.abc import AsyncGenerator, Generator
from contextlib import asynccontextmanager, contextmanager
from functools import partial
from typing import Any, cast

from fastapi import FastAPI, Request, Response
from prometheus_client import CONTENT_TYPE_LATEST
from starlette.exceptions import HTTPException

from serving.api_limits import OPEN_PATHS, Door, Rate, Refusal, client_of, error_response, read_body
from serving.api_metrics import Metrics
from serving.api_models import (
    BatchAnswer,
    ModelAnswer,
    RecommendationAnswer,
    RecommendationRequest,
    SourceAnswer,
    StatusAnswer,
)
from serving.api_openapi import VERSION_HEADER, answers, batch_body, describe, ranked, single_body
from serving.api_ranking import Pool, parse, parse_batch, recommend, recommend_row, render
from serving.api_settings import ApiSettings
from serving.api_source import ModelSource
from serving.api_switch import LoadedModel, Models
from serving.config import ServeConfig
from serving.recommender import Recommender, RequestError

logger = logging.getLogger("serving.api")

_NOT_READY = "No model is loaded yet. Try again shortly."
_HTTP_ERRORS = {404: "There is no such route.", 405: "The route does not know this method."}


def create_app(source: ModelSource, settings: ApiSettings | None = None, config: ServeConfig | None = None) -> FastAPI:
    """Builds the application; models are looked for once it starts.

    Args:
        source: Says which model should answer.
        settings: Of the HTTP door.
        config: How products are ranked.

    Returns:
        The application; `state.models` is its `Models`.
    """
    settings, config = settings or ApiSettings(), config or ServeConfig()
    metrics = Metrics()
    models = Models(source, config, metrics, settings.switch_seconds)
    pool = Pool(settings.threads, settings.queue_size)
    rate = Rate(settings.rate_per_second, settings.rate_burst)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncGenerator[None]:
        models.start()
        yield
        models.stop()
        pool.close()

    app = FastAPI(
        title="Shopify SLi-Rec", version="1", lifespan=lifespan, docs_url=None, redoc_url=None, redirect_slashes=False
    )
    app.state.models = models
    app.state.metrics = metrics
    app.add_middleware(Door, settings=settings, metrics=metrics, rate=rate)
    app.add_exception_handler(Refusal, _refused)
    app.add_exception_handler(HTTPException, _http_error)
    _add_recommendations(app, settings, models, pool, rate)
    _add_state(app, models, metrics)
    app.state.paths = frozenset(getattr(route, "path", "") for route in app.routes)
    app.openapi = partial(describe, app, with_token=settings.token is not None, open_paths=OPEN_PATHS)
    return app


def _add_recommendations(app: FastAPI, settings: ApiSettings, models: Models, pool: Pool, rate: Rate) -> None:
    def single(recommender: Recommender, body: bytes) -> bytes:
        request = parse(RecommendationRequest, body)
        try:
            return render(recommend(recommender, request, settings.min_rating))
        except RequestError as error:
            raise Refusal(422, str(error)) from None

    @contextmanager
    def admitted() -> Generator[tuple[Recommender, dict[str, str]]]:
        with models.lease() as leased:
            model = _loaded(leased)
            with pool.place():
                yield model.recommender, {VERSION_HEADER: model.source.version}

    async def one(request: Request) -> Response:
        """Ranks the products for one shopper."""
        body = await read_body(request, settings)
        with admitted() as (recommender, headers):
            answer = await pool.run(partial(single, recommender, body))
        return Response(answer, headers=headers, media_type="application/json")

    async def batch(request: Request) -> Response:
        """Ranks the products for each of several shoppers, all by one model."""
        body = await read_body(request, settings)
        with admitted() as (recommender, headers):
            rows = await pool.run(partial(parse_batch, body, recommender))
            rate.charge(client_of(request), len(rows) - 1)
            arguments = (settings.min_rating, request.state.request_id)
            # Row by row: requests of other clients get their turn between two rows.
            results = [await pool.run(partial(recommend_row, recommender, row, *arguments)) for row in rows]
            answer = await pool.run(partial(render, {"results": results}))
        return Response(answer, headers=headers, media_type="application/json")

    for path, endpoint, model, body in (
        ("/recommendations", one, RecommendationAnswer, single_body()),
        ("/recommendations/batch", batch, BatchAnswer, batch_body()),
    ):
        app.add_api_route(
            path,
            endpoint,
            methods=["POST"],
            response_model=model,
            openapi_extra={"requestBody": body},
            responses=ranked() | answers(401, 408, 413, 422, 429, 500, 503),
        )


def _add_state(app: FastAPI, models: Models, metrics: Metrics) -> None:
    async def health() -> StatusAnswer:
        """Whether the process lives."""
        return StatusAnswer(status="ok")

    async def ready() -> StatusAnswer:
        """Whether a model is loaded."""
        with models.lease() as model:
            _loaded(model)
        return StatusAnswer(status="ready")

    async def describe_model() -> ModelAnswer:
        """The model that answers now, and how the last look for a newer one went."""
        with models.lease() as leased:
            model = _loaded(leased)
            manifest = model.recommender.bundle.manifest
            figures: dict[str, Any] = dict(model.source.metadata.get("metrics") or manifest.metrics)
            return ModelAnswer(
                name=model.name,
                version=model.source.version,
                trained_at=manifest.created_at,
                loaded_at=model.loaded_at,
                format_version=manifest.format_version,
                metrics={name: float(value) for name, value in figures.items() if _is_figure(value)},
                source=SourceAnswer(checked_at=models.checked_at, error=models.error),
            )

    async def prometheus() -> Response:
        """Figures of this process in Prometheus' text format."""
        return Response(metrics.text(), media_type=CONTENT_TYPE_LATEST)

    text: dict[int | str, dict[str, Any]] = {200: {"content": {"text/plain": {"schema": {"type": "string"}}}}}
    app.add_api_route("/health", health, responses=answers(500))
    app.add_api_route("/ready", ready, responses=answers(500, 503))
    app.add_api_route("/model", describe_model, responses=answers(401, 429, 500, 503))
    app.add_api_route("/metrics", prometheus, response_class=Response, responses=text | answers(401, 429, 500))


def _loaded(model: LoadedModel | None) -> LoadedModel:
    if model is None:
        raise Refusal(503, _NOT_READY, {"Retry-After": "5"})
    return model


def _is_figure(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


async def _refused(request: Request, error: Exception) -> Response:
    return error_response(request, cast(Refusal, error))


async def _http_error(request: Request, error: Exception) -> Response:
    http = cast(HTTPException, error)
    text = _HTTP_ERRORS.get(http.status_code, "The request cannot be answered.")
    return error_response(request, Refusal(http.status_code, text, http.headers))
