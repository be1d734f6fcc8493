"""What the soak asks: two models of one catalogue, some hundred requests, and the right answer of each model."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from scripts.ml.soak_records import digest
from serving.bundle import open_bundle
from serving.config import ServeConfig
from serving.recommender import Recommender

SEED = 20
START = 1_700_000_000
DAY = 86_400
LONGEST = 50
KINDS = {"history": 0.6, "known shopper": 0.2, "candidates": 0.1, "unknown products": 0.1}


@dataclass(frozen=True)
class Case:
    """A request, whichever way it is asked."""

    user_id: str
    items: tuple[str, ...]
    timestamps: tuple[int, ...]
    candidates: tuple[str, ...] = ()

    def http(self) -> dict[str, Any]:
        """The body for `POST /recommendations`."""
        events = {item: {"timestamp": time} for item, time in zip(self.items, self.timestamps, strict=True)}
        return {"user_id": self.user_id or None, "user_interactions": events, "candidate_ids": list(self.candidates)}

    def pyfunc(self) -> dict[str, Any]:
        """The body for `POST /invocations` of `mlflow models serve`."""
        times = [str(time) for time in self.timestamps]
        row = {"userId": self.user_id, "items": list(self.items), "timestamps": times}
        return {"inputs": [row], "params": {"candidate_ids": list(self.candidates)}}


def make_cases(bundle: Path, count: int) -> list[Case]:
    """Makes requests in the shares of `KINDS`: histories of 1 to 50 products, known shoppers, candidates, strangers.

    Args:
        bundle: Its products and shoppers.
        count: Requests.
    """
    opened = open_bundle(bundle)
    handles = opened.catalogue.handles.to_pylist()
    shoppers = list(opened.vocabularies["user"].index)
    rng = np.random.default_rng(SEED)
    kinds = rng.choice(list(KINDS), count, p=list(KINDS.values()))
    return [_case(str(kind), handles, shoppers, rng) for kind in kinds]


def _case(kind: str, handles: Sequence[str], shoppers: Sequence[str], rng: np.random.Generator) -> Case:
    if kind == "known shopper":
        return Case(shoppers[rng.integers(len(shoppers))], (), ())
    length = int(rng.integers(1, min(LONGEST, len(handles)) + 1))
    items = [handles[place] for place in rng.choice(len(handles), length, replace=False)]
    times = [int(time) for time in START + np.cumsum(rng.choice([30, 600, DAY, 5 * DAY], length))]
    candidates: list[str] = []
    if kind == "unknown products":
        items[:: max(2, length // 3)] = [f"sold-out-{place}" for place in range(len(items[:: max(2, length // 3)]))]
    elif kind == "candidates":
        candidates = [handles[place] for place in rng.choice(len(handles), len(handles) // 4, replace=False)]
    return Case("", tuple(items), tuple(times), tuple(candidates))


def write_cases(path: Path, cases: Sequence[Case], bundles: Mapping[str, Path], *, pyfunc: bool = False) -> None:
    """Writes requests with the right answers, for `scripts.ml.soak_load`.

    Args:
        path: File to write.
        cases: Requests.
        bundles: Model version -> its bundle.
        pyfunc: For `mlflow models serve` instead of the HTTP door.

    Raises:
        ValueError: Two models give most requests the same answer, so that wrong answers would not show.
    """
    right: list[dict[str, str]] = [{} for _ in cases]
    for version, bundle in bundles.items():
        recommender = Recommender(open_bundle(bundle), ServeConfig())
        for answers, case in zip(right, cases, strict=True):
            answers.setdefault(_answer(recommender, case, pyfunc), version)
    different = sum(len(answers) == len(bundles) for answers in right)
    if different < len(cases) // 2:
        raise ValueError(f"The models should differ in most of {len(cases)} answers. Received: {different}")
    document = {
        "path": "/invocations" if pyfunc else "/recommendations",
        "field": "predictions" if pyfunc else None,
        "cases": [
            {"body": json.dumps(case.pyfunc() if pyfunc else case.http()), "right": answers}
            for case, answers in zip(cases, right, strict=True)
            if len(answers) == len(bundles)
        ],
    }
    path.write_text(json.dumps(document), encoding="utf-8")


def _answer(recommender: Recommender, case: Case, pyfunc: bool) -> str:
    answer = recommender.recommend(
        case.user_id or None, case.items, case.timestamps, candidate_ids=case.candidates or ()
    )
    if pyfunc:
        document: Any = {"predictions": [{"itemIds": answer.item_ids, "preds": answer.scores}]}
        return digest(json.dumps(document).encode(), "predictions")
    products = [{"id": item, "score": score} for item, score in zip(answer.item_ids, answer.scores, strict=True)]
    document = {"recommendations": products, "message": answer.message}
    return digest(json.dumps(document, ensure_ascii=False, separators=(",", ":")).encode(), None)
