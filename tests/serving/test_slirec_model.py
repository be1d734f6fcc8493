"""The pyfunc: one answer a row in the enricher's shape, and errors that give nothing away."""

import logging
import math
import re
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from fake_bundle import GID, T0, build_fake_bundle
from mlflow.exceptions import MlflowException

from serving.config import ConfigError
from serving.slirec_model import SliRecShopifyModel


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    return build_fake_bundle(tmp_path_factory.mktemp("pyfunc") / "bundle")


def load(path, **config):
    model = SliRecShopifyModel()
    model.load_context(SimpleNamespace(artifacts={"bundle": str(path)}, model_config=config))
    return model


@pytest.fixture(scope="module")
def model(path):
    return load(path)


def frame(*rows):
    return pd.DataFrame(rows, columns=["userId", "items", "timestamps"])


SHIRT = ("dee", ["shirt"], [str(T0)])


def test_one_answer_for_every_row_in_order(model):
    rows = [SHIRT, ("ann", [], []), (None, np.array(["novel", "atlas"], object), np.array([str(T0)] * 2, object))]
    answers = model.predict(None, frame(*rows))
    assert [set(answer) for answer in answers] == [{"itemIds", "preds"}] * 3
    assert answers == [model.predict(None, frame(row))[0] for row in rows]
    assert answers[0]["itemIds"] == [GID[handle] for handle in ("jeans", "scarf", "novel", "atlas", "fresh")]
    assert all(type(score) is float for answer in answers for score in answer["preds"])
    assert model.predict(None, frame()) == []


def test_parameters_reach_the_ranking(model):
    data = frame(SHIRT)
    whole = model.predict(None, data)[0]
    assert model.predict(None, data, {"k": 2})[0]["itemIds"] == whole["itemIds"][:2]
    assert len(model.predict(None, data, {"recommend_seen": True})[0]["itemIds"]) == 6
    assert model.predict(None, data, {"candidate_ids": np.array(["atlas"])})[0]["itemIds"] == [GID["atlas"]]
    assert model.predict(None, data, {"now": 0, "candidate_ids": []})[0] == whole
    assert model.predict(None, data, {"now": T0 + 86_400})[0]["preds"][0] > whole["preds"][0]


def test_configuration_of_the_logged_model_sets_defaults(path):
    assert len(load(path, k=1).predict(None, frame(SHIRT))[0]["itemIds"]) == 1
    (answer,) = load(path, include_categories=["Books"]).predict(None, frame(SHIRT))
    assert answer["itemIds"] == [GID["novel"], GID["atlas"]]
    with pytest.raises(ConfigError, match="`kk`"):
        load(path, kk=1)


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        (("secret-user", ["secret-item"], []), "Received: 1 items and 0 timestamps"),
        (("secret-user", ["secret-item"], ["secret-time"]), r"`timestamps\[0\]` should be UNIX seconds"),
        (("secret-user", "secret-item", [str(T0)]), "`items` should be a list"),
    ],
)
def test_a_malformed_row_fails_alone_without_its_data(model, row, reason):
    with pytest.raises(MlflowException, match=f"^Row 0: .*{reason}") as caught:
        model.predict(None, frame(row))
    assert caught.value.error_code == "INVALID_PARAMETER_VALUE"
    assert "secret" not in str(caught.value)
    assert caught.value.__cause__ is None
    refused, answered = model.predict(None, frame(row, SHIRT))
    assert refused == {"itemIds": [], "preds": []}
    assert answered == model.predict(None, frame(SHIRT))[0]
    (message,) = [answer["message"] for answer in model.predict(None, frame(row, SHIRT), {"with_message": True})[:1]]
    assert re.match(f"Refused: .*{reason}", message) and "secret" not in message


def test_messages_are_given_where_they_are_asked_for(model):
    rows = frame(SHIRT, ("dee", ["shirt", "nothing"], [str(T0)] * 2))
    answers = model.predict(None, rows, {"with_message": True})
    assert [answer.pop("message") for answer in answers] == [
        None,
        "1 of 2 items are not known to the model and were skipped.",
    ]
    assert answers == model.predict(None, rows) == model.predict(None, rows, {"with_message": False})


def test_missing_values_of_a_frame_are_an_anonymous_shopper_without_events(model):
    nothing = model.predict(None, frame((None, [], [])))[0]
    for missing in (None, math.nan, np.float32("nan"), pd.NA):
        rows = frame((missing, [], []), (missing, None, math.nan), SHIRT)
        assert model.predict(None, rows)[:2] == [nothing, nothing]


def test_wrong_k_is_a_bad_request(model):
    with pytest.raises(MlflowException, match=r"^Row 0: `k` should be a positive integer") as caught:
        model.predict(None, frame(SHIRT), {"k": 0})
    assert caught.value.get_http_status_code() == 400
    with pytest.raises(MlflowException, match=r"^`k` should be a positive integer"):
        model.predict(None, frame(SHIRT, SHIRT), {"k": 0})


def test_an_internal_error_says_nothing(path, monkeypatch, caplog):
    model = load(path)
    monkeypatch.setattr(model.recommender._ranker, "prepare", lambda _: 1 / 0)
    with caplog.at_level(logging.ERROR), pytest.raises(MlflowException) as caught:
        model.predict(None, frame(SHIRT))
    assert caught.value.get_http_status_code() == 500
    assert caught.value.message == "The request could not be answered; the server's log says why"
    assert "ZeroDivisionError" in caplog.text


def test_messages_are_logged_without_shopper_data(model, caplog):
    with caplog.at_level(logging.INFO, logger="serving.slirec_model"):
        model.predict(None, frame(SHIRT, ("secret-user", ["secret-item"], [str(T0)])))
    (record,) = caplog.records
    assert record.getMessage().startswith("Row 1: 1 of 1 items are not known to the model and were skipped.")
    assert "secret" not in caplog.text
