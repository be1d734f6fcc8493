"""Scoring a table of shoppers in this process: rows in order, chunks that fail."""

from types import SimpleNamespace

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from fake_bundle import T0, build_fake_bundle
from mlflow.exceptions import MlflowException

from serving import batch
from serving.batch import REFUSED, SCORED, SHOPPERS, BatchError, Options, score_locally
from serving.bundle import open_bundle
from serving.recommender import Recommender
from serving.slirec_model import SliRecShopifyModel


@pytest.fixture(scope="module")
def bundle(tmp_path_factory):
    return open_bundle(build_fake_bundle(tmp_path_factory.mktemp("batch") / "bundle"))


def shoppers(path, *rows):
    rows = [dict(zip(SHOPPERS.names, (number, *row), strict=True)) for number, row in enumerate(rows, 1)]
    pq.write_table(pa.Table.from_pylist(rows, SHOPPERS), path)
    return path


def scored(recommender, path, options=None):
    batches = list(score_locally(recommender, path, options or Options()))
    assert all(batch.schema == SCORED for batch in batches)
    return [len(batch) for batch in batches], [row for batch in batches for row in batch.to_pylist()]


def test_rows_are_what_the_recommender_answers(bundle, tmp_path):
    recommender = Recommender(bundle)
    given = [("ann", [], []), ("bad", ["shirt"], []), ("dee", ["shirt", ""], [str(T0), f"{T0}.0"])]
    _, rows = scored(recommender, shoppers(tmp_path / "s.parquet", *given), Options(k=2))
    ann, dee = recommender.recommend("ann", k=2), recommender.recommend("dee", *given[2][1:], k=2)
    assert rows == [
        {"row": 1, "userId": "ann", "itemIds": ann.item_ids, "preds": ann.scores, "message": None},
        {
            "row": 2,
            "userId": "bad",
            "itemIds": [],
            "preds": [],
            "message": "Refused: `items` and `timestamps` should have the same length, one timestamp an item. "
            "Received: 1 items and 0 timestamps",
        },
        {
            "row": 3,
            "userId": "dee",
            "itemIds": dee.item_ids,
            "preds": dee.scores,
            "message": "1 of 2 items are not known to the model and were skipped.",
        },
    ]


def test_options_reach_the_ranking(bundle, tmp_path):
    recommender, path = Recommender(bundle), shoppers(tmp_path / "s.parquet", ("ann", [], []))
    _, (row,) = scored(recommender, path, Options(k=9, recommend_seen=True, now=T0 + 99 * 86_400))
    asked = recommender.recommend("ann", k=9, recommend_seen=True, now=T0 + 99 * 86_400)
    assert (row["itemIds"], row["preds"]) == (asked.item_ids, asked.scores)
    with pytest.raises(BatchError, match=r"^`k` should be a positive integer. Received: k = 0"):
        scored(recommender, path, Options(k=0))


def test_no_shopper_is_no_row(bundle, tmp_path):
    assert scored(Recommender(bundle), shoppers(tmp_path / "s.parquet")) == ([], [])


class Failing:
    """A recommender that breaks down a number of times."""

    def __init__(self, recommender, times):
        self.recommender, self.times, self.calls = recommender, times, []

    def recommend_batch(self, shoppers, **asked):
        self.calls.append(len(shoppers))
        if len(self.calls) in self.times:
            raise MemoryError
        return self.recommender.recommend_batch(shoppers, **asked)


def test_a_chunk_that_fails_is_ranked_again(bundle, tmp_path, monkeypatch, caplog):
    monkeypatch.setattr(batch, "_CHUNK", 2)
    path = shoppers(tmp_path / "s.parquet", *((f"u{n}", ["novel"], [str(T0 + n)]) for n in range(5)))
    recommender = Recommender(bundle)
    failing = Failing(recommender, (2, 3))
    assert scored(failing, path) == scored(recommender, path)
    assert failing.calls == [2, 2, 2, 2, 1]
    failing = Failing(recommender, (2, 3, 4))
    with pytest.raises(BatchError, match=r"^2 shoppers could not be ranked in 3 attempts: MemoryError$"):
        scored(failing, path)
    assert "u2" not in caplog.text


def test_the_pyfunc_refuses_an_only_row_in_the_same_words(bundle, tmp_path):
    """Spark may cut a table so that a bad row is alone in a call; that must not end the job."""
    rows = [("eve", ["shirt"], ["soon"]), ("eve", ["shirt"], [])]
    _, local = scored(Recommender(bundle), shoppers(tmp_path / "s.parquet", *rows))
    model = SliRecShopifyModel()
    model.load_context(SimpleNamespace(artifacts={"bundle": str(bundle.path)}, model_config={}))
    for row, expected in zip(rows, local, strict=True):
        # NumPy arrays of texts, as MLflow makes them of lists.
        frame = pd.DataFrame([(row[0], *map(np.array, row[1:]))], columns=["userId", "items", "timestamps"])
        assert expected["message"].startswith(REFUSED)
        assert model.predict(None, frame, {"with_message": True}) == [
            {"itemIds": [], "preds": [], "message": expected["message"]}
        ]
        with pytest.raises(MlflowException, match=r"^Row 0: "):
            model.predict(None, frame)
