"""One registered model behind four doors (pyfunc, MLflow's server, our HTTP server, Spark): the same answers."""

import importlib.util
import json
import re
import shutil
import sys
from types import SimpleNamespace

import pandas as pd
import pytest
from conftest import require
from fake_bundle import T0, build_large_bundle, gid, seal
from fresh_store import use_fresh_store
from server_process import REPOSITORY, Server, clean_environment

from serving.bundle import open_bundle
from serving.config import ServeConfig
from serving.recommender import Recommender

pytestmark = pytest.mark.slow  # starts two servers and Spark

NAME = "shop"
MARK = "ann.shopper@example.com"  # a shopper whose data no refusal may repeat
DAYS = [T0 + 86_400 * day for day in range(60)]
# userId, {handle: time}: whole seconds, a text, and milliseconds; in order of time or not.
SHOPPERS = {
    "known by name alone": ("ann", {}),
    "known, with new events": ("bob", {"product-5": DAYS[3], "product-9": str(DAYS[4])}),
    "with an unknown handle": ("stranger", {"product-70": DAYS[2], "no such product": DAYS[1], "product-8": DAYS[0]}),
    "with nothing known": ("nobody", {"no such product": DAYS[0]}),
    "in milliseconds": ("dee", {"product-1": 1000 * DAYS[9], "product-2": f"{1000 * DAYS[8] + 999}"}),
    "with a long history": ("eve", {f"product-{3 * n}": DAYS[n] for n in range(60)}),
}
# Parameters, how many products answer them, and which shoppers' answers have a message.
QUESTIONS = [
    ({"k": 7}, 7, [False, False, True, True, False, False]),
    ({"k": 5, "recommend_seen": True, "candidate_ids": ["product-5", gid(9), "product-200", "?"]}, 4, [True] * 6),
]


def row(user_id, events):
    return {"userId": user_id, "items": list(events), "timestamps": [str(time) for time in events.values()]}


ROWS = [row(*shopper) for shopper in SHOPPERS.values()]
ROW = ROWS[2]


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    """A tracking store with a registered champion of 234 products."""
    folder = tmp_path_factory.mktemp("doors")
    path = list(sys.path)
    with pytest.MonkeyPatch.context() as patch:
        use_fresh_store(patch, folder)
        from serving.registry import log_and_register, set_alias

        bundle = build_large_bundle(folder / "bundle")
        answer = Recommender(open_bundle(bundle)).recommend(ROW["userId"], ROW["items"], ROW["timestamps"])
        example = {"request": ROW, "params": {"k": 16}, "itemIds": answer.item_ids, "preds": answer.scores}
        (bundle / "example.json").write_text(json.dumps(example))
        sizes = {"num_items": 235, "num_categories": 3, "num_users": 4, "num_products": 234, "max_seq_length": 50}
        seal(bundle, sizes=sizes)
        version = log_and_register(bundle, ServeConfig(), name=NAME)
        set_alias(version, "champion")
        yield SimpleNamespace(folder=folder, uri=version.model_uri)
    sys.path[:] = path  # load_model puts the model's code in front


@pytest.fixture(scope="module")
def servers(store):
    """MLflow's scoring server and ours, starting."""
    tracking = {"MLFLOW_TRACKING_URI": f"sqlite:///{store.folder}/mlflow.db"}
    flags = ["--env-manager", "local", "--host", "127.0.0.1", "--workers", "1", "--port", "{port}"]
    started = [
        Server(
            [sys.executable, "-m", "mlflow", "models", "serve", "--model-uri", store.uri, *flags],
            "/ping",
            store.folder / "mlflow.log",
            clean_environment(**tracking),
            store.folder,
        ),
        Server(
            [sys.executable, "-m", "scripts.ml.serve", "--name", NAME, "--port", "{port}"],
            "/ready",
            store.folder / "http.log",
            clean_environment(**tracking, SLIREC_API_RATE_PER_SECOND="0"),
            REPOSITORY,
        ),
    ]
    yield started
    for server in started:
        server.stop()


@pytest.fixture(scope="module")
def mlflow_server(servers):
    servers[0].wait()
    return servers[0]


@pytest.fixture(scope="module")
def http_server(servers):
    servers[1].wait()
    return servers[1]


@pytest.fixture(scope="module")
def spark(servers):  # after the servers, so that all start at once
    require(shutil.which("java"), "java")
    require(importlib.util.find_spec("pyspark"), "pyspark")
    from pyspark.sql import SparkSession

    session = (
        SparkSession.builder.master("local[1]")  # a second Python worker would import everything again
        .config("spark.ui.enabled", "false")
        .config("spark.sql.shuffle.partitions", "2")
        .config("spark.driver.memory", "1g")
        .config("spark.driver.extraJavaOptions", "-XX:TieredStopAtLevel=1 -XX:+UseSerialGC")
        .config("spark.log.level", "ERROR")
        .getOrCreate()
    )
    yield session
    session.stop()


@pytest.fixture(scope="module")
def pyfunc(store):
    import mlflow

    return mlflow.pyfunc.load_model(store.uri)


def asked(server, form, params=None):
    status, text = server.post("/invocations", {**form, **({} if params is None else {"params": params})})
    assert status == 200, text
    return json.loads(text)["predictions"]


def over_http(server, question):
    answers = []
    for user_id, events in SHOPPERS.values():
        interactions = {item: {"timestamp": time, "rating": 5} for item, time in events.items()}
        status, text = server.post(
            "/recommendations", {"user_id": user_id, "user_interactions": interactions, **question}
        )
        assert status == 200, text
        answer = json.loads(text)
        ids, scores = ([product[key] for product in answer["recommendations"]] for key in ("id", "score"))
        answers.append({"itemIds": ids, "preds": scores, "message": answer["message"]})
    return answers


def over_spark(spark, uri):
    """For every question: the answers, in the order of the rows."""
    import mlflow

    shape = "struct<itemIds: array<string>, preds: array<double>>"
    ranks = [
        mlflow.pyfunc.spark_udf(spark, uri, result_type=shape, env_manager="local", params=question)
        for question, *_ in QUESTIONS
    ]
    frame = spark.createDataFrame(pd.DataFrame(ROWS).assign(row=range(len(ROWS)))).repartition(2)
    columns = [rank("userId", "items", "timestamps").alias(f"answer_{n}") for n, rank in enumerate(ranks)]
    answers = sorted(frame.select("row", *columns).collect(), key=lambda answer: answer.row)
    return [[answer[f"answer_{n}"].asDict() for answer in answers] for n in range(len(ranks))]


def test_four_doors_give_one_answer(store, spark, pyfunc, mlflow_server, http_server):
    """Equal to the last bit: ids, their order, scores, and the message wherever there is one."""
    from_spark = over_spark(spark, store.uri)
    for (question, length, messages), without_message in zip(QUESTIONS, from_spark, strict=True):
        params = {**question, "with_message": True}
        expected = [answer for row in ROWS for answer in pyfunc.predict([row], params=params)]
        assert [len(answer["itemIds"]) for answer in expected] == [length] * len(ROWS)
        assert [answer["message"] is not None for answer in expected] == messages
        assert len({tuple(answer["preds"]) for answer in expected}) == len(ROWS)  # known shoppers and new ones
        assert pyfunc.predict(pd.DataFrame(ROWS), params=params) == expected
        assert asked(mlflow_server, {"dataframe_records": ROWS}, params) == expected
        assert over_http(http_server, question) == expected
        assert without_message == [{key: answer[key] for key in ("itemIds", "preds")} for answer in expected]


COLUMNS = list(ROW)
FORMS = {
    "dataframe_split": [{"columns": COLUMNS, "data": [list(row.values()) for row in ROWS]}, ROWS],
    "dataframe_records": [ROWS, ROWS],
    "inputs, a list": [ROWS, ROWS],
    "inputs": [ROW, [ROW]],
    "instances": [ROW, [ROW]],
}


@pytest.mark.parametrize("form", FORMS)
def test_forms_of_a_request(form, pyfunc, mlflow_server):
    body, rows = FORMS[form]
    document = {form.split(",")[0]: body}
    assert asked(mlflow_server, document) == pyfunc.predict(rows)
    chosen = {"k": 2, "recommend_seen": True, "candidate_ids": ["product-9", "product-1", gid(5)], "now": DAYS[20]}
    answers = asked(mlflow_server, document, chosen)
    assert answers == pyfunc.predict(rows, params=chosen)
    assert {id_ for answer in answers for id_ in answer["itemIds"]} <= {gid(9), gid(1), gid(5)}
    assert [set(answer) for answer in answers] == [{"itemIds", "preds"}] * len(rows)


# Body, and what the refusal says.
REFUSED = {
    "lists of unequal length": ({"inputs": {**ROW, "userId": MARK, "items": [MARK]}}, "should have the same length"),
    "no time": ({"inputs": {**ROW, "timestamps": [MARK] * 3}}, r"`timestamps\[0\]` should be UNIX seconds"),
    "k": ({"inputs": {**ROW, "userId": MARK}, "params": {"k": 0}}, "`k` should be a positive integer"),
    "k of another kind": ({"inputs": ROW, "params": {"k": "many"}}, "'k': long"),
    "missing column": ({"dataframe_records": [{"userId": "dee", "items": []}]}, r"missing inputs \['timestamps'\]"),
    "columns of a table": ({"inputs": {name: [value] for name, value in ROW.items()}}, "Invalid input"),
    "numbers for texts": (
        {"dataframe_records": [{**ROW, "timestamps": DAYS[:3]}]},
        "not compatible with model signature",
    ),
    "unknown form": ({"rows": [ROW]}, "exactly one of the input fields"),
    "no JSON": (b"{", "valid JSON"),
}
OWN = list(REFUSED)[:3]  # of the model; the others are MLflow's


@pytest.mark.parametrize("case", REFUSED)
def test_a_bad_request_is_refused(case, store, mlflow_server):
    """Without traceback or path; the model's own refusals without the shopper's data, which MLflow's repeat."""
    body, reason = REFUSED[case]
    status, text = mlflow_server.post("/invocations", body)
    assert status == 400
    assert re.search(reason, text), text
    assert MARK not in text or case not in OWN
    for leak in ("Traceback", "stack_trace", str(store.folder), str(REPOSITORY), "site-packages"):
        assert leak not in text
