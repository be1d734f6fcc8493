"""Parts of the benchmark: cold load, single requests, batch scoring."""

import time
from collections.abc import Mapping
from statistics import median
from typing import Any

import numpy as np

from scripts.ml.benchmark_context import Catalogue, Context, K
from scripts.ml.benchmark_data import folder_size, make_requests
from scripts.ml.benchmark_flops import rank_flops
from scripts.ml.benchmark_learning import SIZES, Step
from scripts.ml.benchmark_rows import Row
from scripts.ml.benchmark_worker import Worker
from serving.config import ServeConfig

TOLERANCE = 1e-5
EXACT: dict[str, Any] = {"two_stage_from": None}
TWO_STAGE_FROM = ServeConfig().two_stage_from or 10**9


def load(context: Context, step: Step) -> dict[str, Any]:
    """From starting a process to its first answer, three processes each in alternation; memory and size on disk."""
    scale = context.scale
    rows: list[Row] = []
    for products in scale.inventories[:2]:
        step(f"preparing {products:,} products")
        catalogue = context.catalogue(products)
        (request,) = make_requests(catalogue.inventory.handles, scale.lengths[-1:])
        seconds: dict[str, list[float]] = {"reference": [], "recommender": [], "pyfunc": []}
        memory: dict[str, list[float]] = {name: [] for name in seconds}
        for number in range(min(3, scale.repeats)):
            for side in seconds:
                if side == "reference" and number and products != scale.inventories[0]:
                    continue
                step(f"cold load {number + 1}, {products:,} products, {side}")
                taken, resident = _first_answer(context, catalogue, side, request)
                seconds[side].append(taken)
                memory[side].append(resident)
        named = f"{products:,} products"
        for side, label in (("recommender", "recommender"), ("pyfunc", "registered pyfunc")):
            rows.append(
                Row(
                    f"Start of the process to first answer, {named}, {label}",
                    "seconds",
                    seconds[side],
                    seconds["reference"],
                    headline=products == scale.inventories[0],
                )
            )
            rows.append(Row(f"Resident memory then, {named}, {label}", "bytes", memory[side], memory["reference"]))
        size = [float(folder_size(catalogue.bundle))]
        theirs = [float(folder_size(catalogue.folder / "checkpoint") + _vocabularies(catalogue))]
        rows.append(
            Row(
                f"Model on disk, {named}",
                "bytes",
                size,
                theirs,
                note="ours has the catalogue and the last events of known shoppers in it",
            )
        )
    return {"rows": rows}


def _vocabularies(catalogue: Catalogue) -> int:
    return sum(path.stat().st_size for path in (catalogue.folder / "amazon").glob("*_vocab.pkl"))


def _first_answer(context: Context, catalogue: Catalogue, side: str, request: dict[str, Any]) -> tuple[float, float]:
    with context.reference() if side == "reference" else context.serving() as worker:
        if side == "reference":
            inventory = catalogue.inventory
            worker.call(
                "first_answer",
                **catalogue.reference_arguments(),
                products=inventory.handles,
                categories=catalogue.categories,
                **request,
                k=K,
            )
        elif side == "recommender":
            worker.call("recommend_first", bundle=str(catalogue.bundle), **request, k=K)
        else:
            worker.call("predict_first", name=catalogue.name, **request, k=K)
        seconds = time.perf_counter() - worker.started
        return seconds, worker.call("memory")["resident"]


def serving(context: Context, step: Step) -> dict[str, Any]:
    """One request at every history length and inventory size, through the recommender and through the pyfunc."""
    scale, rows = context.scale, []
    agreement: dict[str, float] = {}
    for products in scale.inventories:
        step(f"preparing {products:,} products")
        catalogue = context.catalogue(products)
        ways = {"recommender, exact": ("recommend", EXACT)}
        if products == scale.inventories[-1]:
            ways["recommender, two stages"] = ("recommend", dict(scale.two_stage))
        ways["registered pyfunc"] = ("predict", None)
        with context.reference() as reference, context.serving() as ours:
            reference.call("build", **catalogue.reference_arguments())
            reference.call("open_ranker", products=catalogue.inventory.handles, categories=catalogue.categories)
            ours.call("open_pyfunc", name=catalogue.name)
            for mode, (_, config) in ways.items():
                if config is not None:
                    ours.call("open_recommender", bundle=str(catalogue.bundle), config=config, mode=mode)
            if products == scale.inventories[0]:
                (request,) = make_requests(catalogue.inventory.handles, scale.lengths[-1:])
                lean = reference.call("rank", **request, k=K, repeats=2 * scale.repeats, parsed_once=True)["seconds"]
            for length in scale.lengths:
                step(f"{products:,} products, history {length}")
                measured, difference = _requests(context, catalogue, reference, ours, ways, length)
                rows += measured
                if difference is not None:
                    agreement[str(products)] = difference
    step(f"recall, {products:,} products")
    return {
        "rows": [*rows, _recall(context, catalogue)],
        "largest_difference_of_scores": agreement,
        "reference_parsed_once": median(lean),
    }


def _requests(
    context: Context,
    catalogue: Catalogue,
    reference: Worker,
    ours: Worker,
    ways: Mapping[str, tuple[str, dict[str, Any] | None]],
    length: int,
) -> tuple[list[Row], float | None]:
    """Returns the rows of one length, and how far the scores of the best products are apart at the longest one."""
    scale, products = context.scale, len(catalogue.inventory.products)
    (request,) = make_requests(catalogue.inventory.handles, [length])
    longest = length == scale.lengths[-1]
    seconds: dict[str, list[float]] = {"reference": [], **{mode: [] for mode in ways}}
    theirs, answers = {}, {}
    # What takes the reference long it does twice, what takes it very long once, and of that the longest history only.
    most = scale.repeats if products < 5_000 else 2 if products < 50_000 else int(longest)
    for number in range(scale.repeats):
        if number < most:
            result = reference.call("rank", **request, k=K, repeats=1 if products > 1000 else 3)
            seconds["reference"] += result["seconds"]
            theirs = result["answer"]
        for mode, (function, config) in ways.items():
            named = {} if config is None else {"mode": mode}
            count = max(2, min(20, 40_000 // products))
            result = ours.call(function, **request, **named, k=K, repeats=count)
            seconds[mode] += result["seconds"]
            answers[mode] = result["answer"]
    rows = [
        Row(
            f"One request, {products:,} products, history {length}, {mode}",
            "seconds",
            seconds[mode],
            seconds["reference"],
            # Two stages need not do the arithmetic of all scores, and the pyfunc has them by default where they pay.
            operations=rank_flops(SIZES, length, products) if _exact(config, products) else None,
            headline=longest,
        )
        for mode, (_, config) in ways.items()
    ]
    if not longest or not theirs:
        return rows, None
    return rows, _difference(theirs, answers["recommender, exact"])


def _exact(config: dict[str, Any] | None, products: int) -> bool:
    return config == EXACT or (config is None and products < TWO_STAGE_FROM)


def _difference(theirs: dict[str, Any], mine: dict[str, Any]) -> float:
    """Returns how far apart the scores of the best products are.

    Raises:
        ValueError: Too far, or other products.
    """
    scores = dict(zip(mine["items"], mine["scores"], strict=True))
    # Not every one of the best need be in both: near-equal scores may change places at the end of the list.
    both = [abs(scores[i] - score) for i, score in zip(theirs["items"], theirs["scores"], strict=True) if i in scores]
    difference = max(both, default=1.0)
    if difference > TOLERANCE or len(both) < len(theirs["items"]) - 1:
        raise ValueError(
            f"Both sides should give the same scores. Received: {len(both)} of the best {K} in common, up to "
            f"{difference} apart"
        )
    return difference


def _recall(context: Context, catalogue: Catalogue) -> Row:
    """Returns what the two-stage mode finds of the exact best products."""
    scale, products = context.scale, len(catalogue.inventory.products)
    lengths = np.linspace(scale.lengths[0], scale.lengths[-1], scale.recalled).astype(int).tolist()
    requests = make_requests(catalogue.inventory.handles, lengths)
    modes = [EXACT, dict(scale.two_stage)]
    with context.serving() as ours:
        shares = ours.call("recall", bundle=str(catalogue.bundle), requests=requests, modes=modes, k=K)
    return Row(
        f"Recall@{K} of two stages against the exact ranking, {products:,} products",
        "share",
        [float(np.mean(shares))],
        note=f"mean over {len(shares)} requests with histories of {lengths[0]} to {lengths[-1]}; the lowest is "
        f"{min(shares):.1%}",
    )


def batch(context: Context, step: Step) -> dict[str, Any]:
    """Many shoppers, the smallest inventory: through our batch scoring, and the reference in a loop."""
    scale = context.scale
    products = scale.inventories[0]
    step(f"preparing {products:,} products")
    catalogue = context.catalogue(products)
    rng = np.random.default_rng(1)
    lengths = rng.integers(3, scale.lengths[-1] + 1, scale.scored).tolist()
    requests = make_requests(catalogue.inventory.handles, lengths)
    shoppers = [(request["items"], request["timestamps"]) for request in requests]
    few = shoppers[: scale.scored_reference]
    seconds: dict[str, list[float]] = {"ours": [], "reference": []}
    with context.reference() as reference, context.serving() as ours:
        reference.call("build", **catalogue.reference_arguments())
        reference.call("open_ranker", products=catalogue.inventory.handles, categories=catalogue.categories)
        reference.call("rank_shoppers", shoppers=few[:1], k=K)
        ours.call("open_recommender", bundle=str(catalogue.bundle))
        for number in range(min(3, scale.repeats)):
            step(f"batch scoring {number + 1}, reference")
            taken = reference.call("rank_shoppers", shoppers=few, k=K)
            seconds["reference"].append(taken * len(shoppers) / len(few))
            step(f"batch scoring {number + 1}, ours")
            seconds["ours"].append(ours.call("recommend_many", shoppers=shoppers, k=K)["seconds"])
        memory = {side: [w.call("memory")["peak"]] for side, w in (("ours", ours), ("reference", reference))}
    return {
        "rows": [
            Row(
                f"Scoring {scale.scored:,} shoppers x {products:,} products",
                "seconds",
                **seconds,
                operations=float(sum(rank_flops(SIZES, length, products) for length in lengths)),
                count=scale.scored,
                unit="shoppers",
                headline=True,
                note=f"the reference, in a loop, was timed on {len(few)} shoppers",
            ),
            Row("Peak memory of batch scoring", "bytes", **memory),
        ]
    }
