"""Our side in serving and preprocessing, as a measuring process: no TensorFlow in it."""

import importlib
import sys
import time
from collections.abc import Sequence
from typing import Any

from scripts.ml.benchmark_worker import peak_memory, serve, timed

_state: dict[str, Any] = {}


def open_recommender(bundle: str, config: dict[str, Any] | None = None, mode: str = "") -> None:
    """Opens a bundle as `serving.recommender` does, under a name where there are several."""
    # Imported here, so that the time to the first answer has it in.
    from serving.bundle import open_bundle
    from serving.config import serve_config
    from serving.recommender import Recommender

    _state[mode] = Recommender(open_bundle(bundle), serve_config(config or {}))


def recommend(items: Sequence[str], timestamps: Sequence[str], k: int, repeats: int, mode: str = "") -> dict[str, Any]:
    """Returns the seconds of `repeats` requests through `serving.recommender`, and the answer."""
    recommender = _state[mode]
    answer: dict[str, Any] = {}

    def once() -> None:
        answer["of"] = recommender.recommend(None, items, timestamps, k=k, recommend_seen=True)

    once()
    seconds = timed(once, repeats)
    return {"seconds": seconds, "answer": {"items": answer["of"].handles, "scores": answer["of"].scores}}


def recommend_first(
    bundle: str, items: Sequence[str], timestamps: Sequence[str], k: int, config: dict[str, Any] | None = None
) -> dict[str, Any]:
    """Opens a bundle and answers one request."""
    open_recommender(bundle, config)
    answer = _state[""].recommend(None, items, timestamps, k=k, recommend_seen=True)
    return {"items": answer.handles, "scores": answer.scores}


def recommend_many(shoppers: Sequence[tuple[Sequence[str], Sequence[str]]], k: int) -> dict[str, Any]:
    """Ranks for all shoppers at once."""
    recommender = _state[""]
    start = time.perf_counter()
    answers = recommender.recommend_batch([(None, *shopper) for shopper in shoppers], k=k, recommend_seen=True)
    assert len(answers) == len(shoppers)
    return {"seconds": time.perf_counter() - start}


def recall(bundle: str, requests: Sequence[dict[str, Any]], modes: Sequence[dict[str, Any]], k: int) -> list[float]:
    """Returns the share of the exact k best products that the two-stage mode finds, for each request.

    Args:
        bundle: The bundle.
        requests: Items and timestamps.
        modes: Configuration of the exact recommender, and of the two-stage one.
        k: Products.
    """
    answers: list[list[set[str]]] = []
    for mode in modes:
        open_recommender(bundle, mode)
        ask = _state[""].recommend
        answers.append(
            [set(ask(None, r["items"], r["timestamps"], k=k, recommend_seen=True).handles) for r in requests]
        )
    return [len(one & other) / len(one) for one, other in zip(*answers, strict=True)]


def register(bundle: str, name: str) -> str:
    """Registers a bundle as MLflow model `name` with the default alias; the tracking store is the environment's."""
    from serving.config import ServeConfig
    from serving.registry import log_and_register, set_alias

    config = ServeConfig()
    return set_alias(log_and_register(bundle, config, name=name), config.alias)


def open_pyfunc(name: str) -> None:
    """Loads the registered model as any MLflow client would."""
    from serving.registry import load_champion

    _state["pyfunc"] = load_champion(name=name)


def predict(items: Sequence[str], timestamps: Sequence[str], k: int, repeats: int) -> dict[str, Any]:
    """Returns the seconds of `repeats` requests through the pyfunc with its schema check, and the answer."""
    model = _state["pyfunc"]
    row = {"userId": "", "items": list(items), "timestamps": list(timestamps)}
    params = {"k": k, "recommend_seen": True}
    model.predict(row, params=params)
    answer: dict[str, Any] = {}

    def once() -> None:
        answer["of"] = model.predict(row, params=params)

    seconds = timed(once, repeats)
    (result,) = answer["of"]
    return {"seconds": seconds, "answer": {"items": result["itemIds"], "scores": result["preds"]}}


def predict_first(name: str, items: Sequence[str], timestamps: Sequence[str], k: int) -> list[dict[str, Any]]:
    """Loads the registered model and answers one request."""
    open_pyfunc(name)
    row = {"userId": "", "items": list(items), "timestamps": list(timestamps)}
    return _state["pyfunc"].predict(row, params={"k": k, "recommend_seen": True})


def preprocess(interactions: str, output: str) -> dict[str, Any]:
    """Runs the command `scripts.ml.preprocess`; its import is not part of the time.

    Returns:
        seconds and peak memory.
    """
    command = importlib.import_module("scripts.ml.preprocess")
    start = time.perf_counter()
    status = command.main([interactions, output])
    if status:
        raise RuntimeError(f"scripts.ml.preprocess ended with status {status}")
    return {"seconds": time.perf_counter() - start, "peak": peak_memory()}


def loaded(module: str) -> bool:
    """Returns whether a module has been imported."""
    return module in sys.modules


def main() -> None:
    """Answers the parent's requests."""
    functions = (
        open_recommender,
        recommend,
        recommend_first,
        recommend_many,
        recall,
        register,
        open_pyfunc,
        predict,
        predict_first,
        preprocess,
        loaded,
    )
    serve({function.__name__: function for function in functions})


if __name__ == "__main__":
    main()
