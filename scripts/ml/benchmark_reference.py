"""The reference: recommenders' own SLi-Rec, data pipeline and iterator, as a measuring process.

Run with TF_USE_LEGACY_KERAS=1. Nothing of this project's network or data pipeline is used in it.
"""

import contextlib
import os
import random
import time
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from scripts.ml.benchmark_worker import SETTLING_STEPS, peak_memory, serve, timed

BATCH_TO_RANK = 16
_state: dict[str, Any] = {}


def make_model(files: Path, **settings: Any) -> Any:
    """Builds recommenders' SLi-Rec for the vocabularies in `files`, with `settings` of `prepare_hparams`."""
    from recommenders.models.deeprec.deeprec_utils import prepare_hparams
    from recommenders.models.deeprec.io.sequential_iterator import SequentialIterator
    from recommenders.models.deeprec.models.sequential.sli_rec import SLI_RECModel

    hparams = prepare_hparams(
        None,
        method="classification",
        model_type="sli_rec",
        user_vocab=str(files / "user_vocab.pkl"),
        item_vocab=str(files / "item_vocab.pkl"),
        cate_vocab=str(files / "category_vocab.pkl"),
        user_embedding_dim=16,
        user_dropout=True,
        init_method="tnormal",
        need_sample=True,
        write_tfevents=False,
        metrics=["auc"],
        pairwise_metrics=["group_auc"],
        **settings,
    )
    return SLI_RECModel(hparams, SequentialIterator, seed=1)


def build(folder: str, settings: dict[str, Any], checkpoint: str | None = None) -> None:
    """Builds the model for recommenders' files in `folder`, and loads a checkpoint where there is one."""
    files = Path(folder)
    random.seed(1)
    model = make_model(files, show_step=10**9, save_model=False, MODEL_DIR=str(files / "model") + "/", **settings)
    if checkpoint:
        model.load_model(checkpoint)
    _state.update(model=model, files=files)


def save(path: str) -> None:
    """Saves the model as a checkpoint."""
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    _state["model"].saver.save(_state["model"].sess, path)


def graft(donor: str, spread: float) -> None:
    """Gives the model the weights of a trained one that has other vocabularies.

    An embedding is that of a random trained product, moved at random by `spread` times the trained ones' standard
    deviation: an inventory of any size whose vectors lie where trained ones do.
    """
    import tensorflow as tf

    model = _state["model"]
    rng = np.random.default_rng(1)
    reader = tf.train.load_checkpoint(donor)
    with model.graph.as_default():
        for variable in tf.compat.v1.global_variables():
            name = variable.op.name
            if not reader.has_tensor(name):
                continue
            value, shape = reader.get_tensor(name), tuple(variable.shape)
            if "/embedding/" in name:
                drawn = value[rng.integers(1, len(value), shape[0])]
                value = drawn + spread * value.std() * rng.standard_normal(shape)
            variable.load(value, model.sess)


def train_epoch(split: str = "train", steps: int | None = None) -> dict[str, Any]:
    """Trains one epoch as `SequentialBaseModel.fit` does, and says how long preparing the batches took of it.

    Returns:
        seconds, waiting (seconds in the iterator) and examples after the settling steps, and the loss of each step.
    """
    model = _state["model"]
    iterator = model.iterator.load_data_from_file(
        str(_state["files"] / f"{split}_data"), min_seq_length=1, batch_num_ngs=model.train_num_ngs
    )
    losses: list[float] = []
    waiting, examples = 0.0, 0
    start = time.perf_counter()
    while steps is None or len(losses) < steps:
        before = time.perf_counter()
        if len(losses) == SETTLING_STEPS:
            start, waiting, examples = before, 0.0, 0
        batch = next(iterator, None)
        waiting += time.perf_counter() - before
        if batch is None:
            break
        losses.append(float(model.train(model.sess, batch)[3]))
        examples += len(batch[model.iterator.labels]) // (model.train_num_ngs + 1)
    seconds = time.perf_counter() - start
    return {"seconds": seconds, "waiting": waiting, "examples": examples, "losses": losses}


def train_steps(split: str, repeats: int) -> list[float]:
    """Returns the seconds of single steps on one prepared batch, after a first one."""
    model = _state["model"]
    iterator = model.iterator.load_data_from_file(
        str(_state["files"] / f"{split}_data"), min_seq_length=1, batch_num_ngs=model.train_num_ngs
    )
    batch = next(iterator)
    model.train(model.sess, batch)
    return timed(lambda: model.train(model.sess, batch), repeats)


def evaluate(split: str, negatives: int) -> dict[str, Any]:
    """Runs recommenders' evaluation: the target among sampled negatives."""
    model = _state["model"]
    start = time.perf_counter()
    metrics = model.run_eval(str(_state["files"] / f"{split}_data"), negatives)
    return {"seconds": time.perf_counter() - start, "metrics": {name: float(value) for name, value in metrics.items()}}


def open_ranker(products: Sequence[str], categories: Sequence[str]) -> None:
    """Names the inventory that `rank` ranks; `category_of` follows from it."""
    iterator = _state["model"].iterator
    _state["products"] = list(products)
    _state["ids"] = [iterator.itemdict[product] for product in products]
    _state["category_ids"] = [iterator.catedict[category] for category in categories]
    _state["category_of"] = dict(zip(products, categories, strict=True))


def _history_text(items: Sequence[str], timestamps: Sequence[str]) -> str:
    """Returns the last four columns of recommenders' text format: now, items, categories and times."""
    categories = ",".join(_state["category_of"][item] for item in items)
    return "\t".join((timestamps[-1], ",".join(items), categories, ",".join(timestamps)))


def _rank(items: Sequence[str], timestamps: Sequence[str], k: int) -> dict[str, Any]:
    """Ranks the inventory for one history as a pyfunc around recommenders' model does, with its own iterator.

    A line for each product, with the history, goes into a file of recommenders' format; `load_data_from_file` reads it
    back in batches of 16, and `infer` scores them.
    """
    iterator, file = _state["model"].iterator, str(_state["files"] / "request_data")
    history = _history_text(items, timestamps)
    lines = (f"1\tu\t{item}\t{category}\t{history}\n" for item, category in _state["category_of"].items())
    Path(file).write_text("".join(lines), encoding="utf-8")
    iterator.batch_size = BATCH_TO_RANK
    iterator.iter_data.pop(file, None)  # what it remembers of an earlier request
    return _best(iterator.load_data_from_file(file, batch_num_ngs=0), k)


def _rank_parsed_once(items: Sequence[str], timestamps: Sequence[str], k: int) -> dict[str, Any]:
    """As `_rank`, but the history is parsed once, and no file is written: as far as one can go around the iterator."""
    model, ids, category_ids = _state["model"], _state["ids"], _state["category_ids"]
    _, user, _, _, *history = model.iterator.parser_one_line(f"1\tu\ti\tc\t{_history_text(items, timestamps)}")

    def batches() -> Iterator[Any]:
        for start in range(0, len(ids), BATCH_TO_RANK):
            part = ids[start : start + BATCH_TO_RANK]
            items_, categories, now, *times = ([value] * len(part) for value in history)
            ones, users = [1] * len(part), [user] * len(part)
            of_part = category_ids[start : start + BATCH_TO_RANK]
            values = model.iterator._convert_data(ones, users, part, of_part, items_, categories, now, *times, 0)
            yield model.iterator.gen_feed_dict(values)

    return _best(batches(), k)


def _best(batches: Iterable[Any], k: int) -> dict[str, Any]:
    model = _state["model"]
    scores = np.concatenate([model.infer(model.sess, batch)[0].reshape(-1) for batch in batches])
    best = np.argsort(-scores, kind="stable")[:k]
    return {"items": [_state["products"][place] for place in best], "scores": scores[best].tolist()}


def rank(
    items: Sequence[str], timestamps: Sequence[str], k: int, repeats: int, parsed_once: bool = False
) -> dict[str, Any]:
    """Returns the seconds of `repeats` requests, and the answer."""
    answer: dict[str, Any] = {}
    function = _rank_parsed_once if parsed_once else _rank

    def once() -> None:
        answer.update(function(items, timestamps, k))

    return {"seconds": timed(once, repeats), "answer": answer}


def rank_shoppers(shoppers: Sequence[tuple[Sequence[str], Sequence[str]]], k: int) -> float:
    """Returns the seconds of ranking for several shoppers in a loop."""
    start = time.perf_counter()
    for items, timestamps in shoppers:
        _rank(items, timestamps, k)
    return time.perf_counter() - start


def first_answer(
    folder: str,
    settings: dict[str, Any],
    checkpoint: str,
    products: Sequence[str],
    categories: Sequence[str],
    items: Sequence[str],
    timestamps: Sequence[str],
    k: int,
) -> dict[str, Any]:
    """Loads the model and answers one request."""
    build(folder, settings, checkpoint)
    open_ranker(products, categories)
    return _rank(items, timestamps, k)


def preprocess(folder: str, valid_negatives: int, test_negatives: int) -> dict[str, Any]:
    """Runs recommenders' functions on `folder/reviews_output` and `folder/meta_output`, both already plain tables.

    Left out of `data_preprocessing`, in its favour: parsing the reviews' dict literals, and drawing a sample of items.

    Returns:
        seconds of each function by name, and peak memory.
    """
    # At import, not part of the work: the module's functions share a global table of categories.
    from recommenders.datasets import amazon_reviews as amazon

    work = Path(folder)
    files = {name: str(work / f"{name}_data") for name in ("train", "valid", "test")}
    vocabularies = [str(work / f"{name}_vocab.pkl") for name in ("user", "item", "category")]
    seconds: dict[str, float] = {}

    def step(name: str, *arguments: Any) -> Any:
        start = time.perf_counter()
        result = getattr(amazon, name)(*arguments)
        seconds[name] = time.perf_counter() - start
        return result

    with Path(os.devnull).open("w") as nowhere, contextlib.redirect_stdout(nowhere):
        instances = step("_create_instance", str(work / "reviews_output"), str(work / "meta_output"))
        step("_create_item2cate", instances)
        processed = step("_data_processing", instances)
        step("_data_generating", processed, files["train"], files["valid"], files["test"])
        step("_create_vocab", files["train"], *vocabularies)
        step("_negative_sampling_offline", instances, files["valid"], files["test"], valid_negatives, test_negatives)
    return {"seconds": seconds, "peak": peak_memory()}


def main() -> None:
    """Answers the parent's requests."""
    serve(
        {
            function.__name__: function
            for function in (
                build,
                save,
                graft,
                train_epoch,
                train_steps,
                evaluate,
                open_ranker,
                rank,
                rank_shoppers,
                first_answer,
                preprocess,
            )
        }
    )


if __name__ == "__main__":
    main()
