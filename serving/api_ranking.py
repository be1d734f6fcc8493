"""From a request's body to the answer's bytes: what leaves the event loop, and the bounded pool that does it."""

import asyncio
import json
import logging
import threading
from collections.abc import Callable, Generator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any, TypeVar

from pydantic import ValidationError
from pydantic_core import from_json

from serving.api_limits import Refusal
from serving.api_models import (
    MOST_PRODUCTS_OF_A_BATCH,
    BatchRequest,
    RecommendationRequest,
    refusal,
)
from serving.recommender import Recommender, RequestError

logger = logging.getLogger("serving.api")

T = TypeVar("T")
M = TypeVar("M", RecommendationRequest, BatchRequest)


class Pool:
    """Threads that rank, and a queue of bounded length before them."""

    def __init__(self, threads: int, queue_size: int) -> None:
        self._executor = ThreadPoolExecutor(threads, "requests")
        self._most = threads + queue_size
        self._pending, self._lock = 0, threading.Lock()

    @contextmanager
    def place(self) -> Generator[None]:
        """Holds one of the places, in a thread or before one.

        Raises:
            Refusal: 503, all places are taken.
        """
        with self._lock:
            if self._pending >= self._most:
                raise Refusal(503, "Too many requests are waiting. Try again shortly.", {"Retry-After": "1"})
            self._pending += 1
        try:
            yield
        finally:
            with self._lock:
                self._pending -= 1

    async def run(self, work: Callable[[], T]) -> T:
        """Returns what `work` returns, from one of the threads."""
        return await asyncio.get_running_loop().run_in_executor(self._executor, work)

    def close(self) -> None:
        """Ends the threads when their work is done."""
        self._executor.shutdown(wait=True, cancel_futures=True)


def parse(model: type[M], body: bytes) -> M:
    """Validates a body.

    Raises:
        Refusal: 422, saying what to change.
    """
    try:
        return model.model_validate_json(body)
    except ValidationError as error:
        try:
            document: object = from_json(body)
        except ValueError:
            document = None
        raise Refusal(422, refusal(error.errors(include_url=False, include_context=False), document, model)) from None


def parse_batch(body: bytes, recommender: Recommender) -> list[RecommendationRequest | str]:
    """Validates the body of a batch; a row that is no right request is the text of its refusal.

    Raises:
        Refusal: 422, the body as a whole, or more products than one answer should hold.
    """
    rows = parse(BatchRequest, body).requests
    size = len(recommender.bundle.catalogue)
    asked = sum(
        min(row.k or recommender.config.k, size + len(row.candidate_ids))
        for row in rows
        if isinstance(row, RecommendationRequest)
    )
    if asked > MOST_PRODUCTS_OF_A_BATCH:
        raise Refusal(
            422,
            f"The rows together should ask for at most {MOST_PRODUCTS_OF_A_BATCH:,} products. Received: {asked:,}.",
        )
    return rows


def recommend(recommender: Recommender, request: RecommendationRequest, min_rating: float) -> dict[str, Any]:
    """Ranks for one shopper.

    Interactions rated below `min_rating` are no part of the history, but their products count as seen.

    Raises:
        RequestError: The recommender's refusal.
    """
    disliked: set[str] = set()
    items: list[str] = []
    timestamps: list[Any] = []
    of_events: list[dict[str, str | float | None]] = []
    for handle, interaction in request.user_interactions.items():
        if interaction.rating is not None and interaction.rating < min_rating:
            disliked.add(handle)
        else:
            items.append(handle)
            timestamps.append(interaction.timestamp)
            of_events.append(interaction.features)
    names = {name for values in of_events for name in values}
    features: dict[str, Any] = {name: [values.get(name) for values in of_events] for name in names}
    features |= request.features
    config = recommender.config
    k = request.k or config.k
    seen_allowed = config.recommend_seen if request.recommend_seen is None else request.recommend_seen
    if seen_allowed and not config.exclude_seen:
        disliked.clear()
    answer = recommender.recommend(
        request.user_id,
        items,
        timestamps,
        k=k + len(disliked),  # as many as may have to be left out
        recommend_seen=request.recommend_seen,
        candidate_ids=request.candidate_ids,
        now=request.now,
        features=features,
    )
    products = [
        {"id": item, "score": score}
        for item, score, handle in zip(answer.item_ids, answer.scores, answer.handles, strict=True)
        if (handle or item) not in disliked  # a candidate that is not in the catalogue has no handle
    ]
    return {"recommendations": products[:k], "message": answer.message}


def recommend_row(
    recommender: Recommender, request: RecommendationRequest | str, min_rating: float, request_id: str
) -> dict[str, Any]:
    """Ranks for one row of a batch, which fails alone: its `error` says why."""
    error = request if isinstance(request, str) else None
    if isinstance(request, RecommendationRequest):
        try:
            return {**recommend(recommender, request, min_rating), "error": None}
        except RequestError as refused:
            error = str(refused)
        except Exception:
            logger.exception("A row of request %s failed", request_id)
            error = "The row could not be answered; the server's log has the reason."
    return {"recommendations": [], "message": None, "error": error}


def render(document: dict[str, Any]) -> bytes:
    """Returns JSON.

    Raises:
        ValueError: A score is not finite.
    """
    return json.dumps(document, allow_nan=False, ensure_ascii=False, separators=(",", ":")).encode()
