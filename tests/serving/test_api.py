"""The routes of the HTTP door: right answers, clear refusals that repeat nothing, and what every answer carries."""

import json

import pytest
from api_doors import SECRET, TOKEN, Door, open_door
from fake_bundle import DAY, GID, STORED, T0, build_fake_bundle
from prometheus_client.parser import text_string_to_metric_families

from serving.api_limits import Rate
from serving.api_models import MOST_CANDIDATES, MOST_PRODUCTS_OF_A_BATCH
from serving.api_settings import load_settings
from serving.bundle import open_bundle
from serving.config import ConfigError, ServeConfig
from serving.recommender import Recommender

EVENTS = {"shirt": {"timestamp": T0}, "atlas": {"timestamp": str((T0 + DAY) * 1000)}}


@pytest.fixture(scope="module")
def bundle(tmp_path_factory):
    return build_fake_bundle(tmp_path_factory.mktemp("api") / "bundle")


@pytest.fixture(scope="module")
def recommender(bundle):
    return Recommender(open_bundle(bundle))


@pytest.fixture(scope="module")
def door(bundle):
    with open_door(bundle) as door:
        yield door


def ids(document):
    return [product["id"] for product in document["recommendations"]]


def same(document, answer):
    assert ids(document) == answer.item_ids
    assert [product["score"] for product in document["recommendations"]] == answer.scores
    assert document["message"] == answer.message


def test_answers_are_the_recommenders(door: Door, recommender):
    items, times = ["shirt", "atlas"], [T0, T0 + DAY]
    for body, answer in (
        ({}, recommender.recommend()),
        ({"user_id": "ann", "k": 2.0}, recommender.recommend("ann", k=2)),
        ({"user_interactions": EVENTS}, recommender.recommend(None, items, times)),
        ({"user_interactions": EVENTS, "now": T0 + 9 * DAY, "recommend_seen": True},
         recommender.recommend(None, items, times, now=T0 + 9 * DAY, recommend_seen=True)),
        ({"user_id": "ann", "candidate_ids": ["scarf", GID["novel"], "日本", "a" * 5000]},
         recommender.recommend("ann", candidate_ids=["scarf", GID["novel"], "日本", "a" * 5000])),
    ):  # fmt: skip
        response = door.post(body)
        assert response.status_code == 200
        same(response.json(), answer)
    assert response.headers["content-type"] == "application/json"
    assert len(response.headers["x-request-id"]) == 32


def test_low_ratings_are_no_positives_but_seen(door: Door, recommender):
    events = EVENTS | {"jeans": {"timestamp": T0 + DAY, "rating": 2.9}, "gone": {"timestamp": T0, "rating": 3}}
    liked = (["shirt", "atlas", "gone"], [T0, T0 + DAY, T0])
    answer = recommender.recommend(None, *liked)
    assert answer.handles[0] == "jeans"
    assert ids(door.post({"user_interactions": events}).json()) == answer.item_ids[1:]
    assert ids(door.post({"user_interactions": events, "k": 1}).json()) == answer.item_ids[1:2]
    allowed = door.post({"user_interactions": events, "recommend_seen": True}).json()
    same(allowed, recommender.recommend(None, *liked, recommend_seen=True))
    # Nothing liked: the stored events of a known shopper, without what is disliked; absent candidates count as well.
    disliked = {"scarf": {"timestamp": T0, "rating": 1}, "nowhere": {"timestamp": T0, "rating": 1}}
    assert ids(door.post({"user_id": "ann", "user_interactions": disliked}).json()) == [GID["atlas"], GID["fresh"]]
    request = {"user_interactions": disliked, "candidate_ids": ["nowhere", "scarf", "jeans"]}
    assert ids(door.post(request).json()) == [GID["jeans"]]


def test_the_threshold_is_a_setting(bundle, recommender):
    with open_door(bundle, min_rating=0) as door:
        events = {handle: event | {"rating": 0.5} for handle, event in EVENTS.items()}
        answer = recommender.recommend(None, ["shirt", "atlas"], [T0, T0 + DAY])
        same(door.post({"user_interactions": events}).json(), answer)


def test_a_bad_row_of_a_batch_fails_alone(door: Door, recommender):
    rows = [{"user_id": "ann"}, {"k": SECRET}, 7, None, {SECRET: 1}, {"user_interactions": EVENTS, "k": 1}]
    response = door.post({"requests": rows}, "/recommendations/batch")
    assert response.status_code == 200 and SECRET not in response.text
    first, *refused, last = response.json()["results"]
    same(first, recommender.recommend("ann"))
    same(last, recommender.recommend(None, ["shirt", "atlas"], [T0, T0 + DAY], k=1))
    assert [row["error"] for row in (first, last)] == [None, None]
    assert all(row["recommendations"] == [] and row["message"] is None for row in refused)
    assert [row["error"].split(". ")[0] for row in refused] == [
        "`k` should be an integer from 1 to 100,000, or null",
        *["The request should be a JSON object"] * 2,
        "The request should only have the keys `user_id`, `user_interactions`, `k`, `recommend_seen`, "
        "`candidate_ids`, `now`, `features`",
    ]


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ([], "The request should be a JSON object. Received: a list of 0."),
        (SECRET, "The body should be JSON in UTF-8, nested less than 200 deep. Received: something else."),
        (b"\xff" + SECRET.encode(), "The body should be JSON in UTF-8"),
        ("[" * 200_000, "The body should be JSON in UTF-8"),
        ('{"user_id": "\\ud800"}', "The body should be JSON in UTF-8"),
        ('{"k": ' + "9" * 5000 + "}", "The body should be JSON in UTF-8"),
        ("", "The body should be JSON in UTF-8"),
        ({"k": 0}, "`k` should be an integer from 1 to 100,000, or null. Received: a number that is not."),
        ({"k": True}, "`k` should be .* Received: a truth value."),
        ({"k": 1.5}, "`k` should be .* Received: a number."),
        ({SECRET: 1}, "The request should only have the keys `user_id`, .* Received: another key."),
        ({"requests": []}, "The request should only have the keys `user_id`"),
        ({"user_id": 7}, "`user_id` should be text or null. Received: a number."),
        ({"recommend_seen": 1}, "`recommend_seen` should be true, false or null. Received: a number."),
        ({"user_interactions": None}, "`user_interactions` should be an object of at most 100,000 .* Received: null."),
        ({"user_interactions": {SECRET: {}}}, r"`user_interactions\[0\].timestamp` .* Received: nothing."),
        ({"user_interactions": EVENTS | {SECRET: [1]}}, r"`user_interactions\[2\]` should be an object with"),
        ({"user_interactions": {SECRET: {"timestamp": 1, SECRET: 1}}}, r"`user_interactions\[0\]` should only have"),
        ({"user_interactions": {SECRET: {"timestamp": 1, "rating": SECRET}}}, r"\[0\].rating` should be a number or"),
        ('{"user_interactions": {"a": {"timestamp": NaN}}}', "timestamp` should be UNIX seconds or milliseconds"),
        *(({"user_interactions": {SECRET: {"timestamp": time}}}, "timestamp` should be UNIX seconds or milliseconds")
          for time in (SECRET, "", "-5", "1e9", "٣", -1, 1e14, 10**400, True, None, [T0])),
        ({"now": SECRET}, "`now` should be UNIX seconds or milliseconds, as a number or as text, or null."),
        ({"candidate_ids": SECRET}, "`candidate_ids` should be a list of at most 100,000 .* Received: a text."),
        ({"candidate_ids": ["a", ""]}, r"`candidate_ids\[1\]` should be a product handle or GID, as text"),
        ({"candidate_ids": ["a"] * (MOST_CANDIDATES + 1)}, "`candidate_ids` .* Received: a list of 100,001."),
    ],
    ids=range(35),
)  # fmt: skip
def test_refusals_say_what_to_change_and_repeat_nothing(door: Door, body, message):
    door.refused(door.post(body), 422, message)


def test_refusals_of_whole_batches(door: Door):
    for body, message in (
        ({}, "`requests` should be a list of 1 to 1,000 requests. Received: nothing."),
        ({"requests": [{}] * 1001}, "`requests` .* Received: a list of 1,001."),
        ({"requests": {}}, "`requests` .* Received: an object of 0."),
        ({"rows": []}, "`requests` should be a list"),
        ({"requests": [], "k": 1}, "`requests` should be"),
    ):
        door.refused(door.post(body, "/recommendations/batch"), 422, message)
    rows = [{"k": 100_000, "candidate_ids": [f"x{n}" for n in range(1000)]}] * (MOST_PRODUCTS_OF_A_BATCH // 1006 + 1)
    door.refused(door.post({"requests": rows}, "/recommendations/batch"), 422, "at most 200,000 products")


def test_state_and_figures(bundle):
    with open_door(bundle) as door:
        check_state_and_figures(door, bundle)


def check_state_and_figures(door: Door, bundle):
    assert door.client.get("/health").json() == {"status": "ok"}
    assert door.client.get("/ready").json() == {"status": "ready"}
    door.post({})
    door.refused(door.client.get(f"/{SECRET}"), 404, "There is no such route.")
    refused = door.client.get("/recommendations")
    door.refused(refused, 405, "The route does not know this method.")
    assert refused.headers["allow"] == "POST"
    model = door.client.get("/model").json()
    manifest = open_bundle(bundle).manifest
    assert model["name"] == "sli_rec" and model["metrics"] == {"ndcg": 0.5}
    assert (model["trained_at"], model["format_version"]) == (manifest.created_at, manifest.format_version)
    assert model["source"]["error"] is None and model["source"]["checked_at"] and model["loaded_at"]
    response = door.client.get("/metrics")
    assert response.headers["content-type"].startswith("text/plain")
    families = {family.name: family for family in text_string_to_metric_families(response.text)}
    counted = {
        (sample.labels["method"], sample.labels["route"], sample.labels["status"]): sample.value
        for sample in families["slirec_api_requests"].samples
        if sample.name.endswith("_total")
    }
    assert counted[("POST", "/recommendations", "200")] == 1
    assert counted[("GET", "other", "404")] == 1
    assert counted[("GET", "/recommendations", "405")] == 1
    assert families["slirec_api_in_flight"].samples[0].value == 1  # this one
    assert families["slirec_api_model_info"].samples[0].labels["version"] == model["version"]
    assert families["slirec_api_source_up"].samples[0].value == 1
    assert SECRET not in response.text


def test_the_token_is_asked_for_everywhere_but_at_the_open_routes(bundle, caplog):
    caplog.set_level("DEBUG")
    with open_door(bundle, token=TOKEN) as door:
        for path in ("/health", "/ready"):
            assert door.client.get(path).status_code == 200
        for path in ("/model", "/metrics", "/openapi.json", "/recommendations", f"/{SECRET}"):
            for header in (None, TOKEN, f"Basic {TOKEN}", f"Bearer {TOKEN}x", "Bearer ", b"Bearer \xff\xfe"):
                response = door.client.get(path, headers={} if header is None else {"Authorization": header})
                door.refused(response, 401, "A valid bearer token is needed.")
                assert response.headers["www-authenticate"] == "Bearer"
        door.client.headers["Authorization"] = f"bearer {TOKEN}"
        assert door.client.get("/model").status_code == door.post({}).status_code == 200
        document = door.client.get("/openapi.json").json()
        assert document["paths"]["/recommendations"]["post"]["security"] == [{"token": []}]
        assert document["paths"]["/ready"]["get"]["security"] == []
    assert TOKEN not in caplog.text


def test_openapi_has_examples_that_work_and_every_answer(door: Door):
    document = door.client.get("/openapi.json").json()
    for path in ("/recommendations", "/recommendations/batch"):
        operation = document["paths"][path]["post"]
        assert {*operation["responses"]} == {"200", "401", "408", "413", "422", "429", "500", "503"}
        (content,) = operation["requestBody"]["content"].values()
        assert content["schema"]["$ref"].rpartition("/")[2] in document["components"]["schemas"]
        for example in content["examples"].values():
            assert door.post(example["value"], path).status_code == 200
    references = json.dumps(document).split('"#/components/schemas/')[1:]
    assert {text.partition('"')[0] for text in references} <= {*document["components"]["schemas"]}


def test_the_rate_is_a_bucket_a_client():
    now = [100.0]
    rate = Rate(2.0, 3, lambda: now[0])
    assert [rate.take("a") for _ in range(4)] == [0, 0, 0, 0.5]
    assert rate.take("b") == 0
    now[0] += 0.5
    assert [rate.take("a"), rate.take("a")] == [0, 0.5]
    rate.charge("b", 10)  # a batch puts its client in debt
    assert rate.take("b") == pytest.approx((1 - (3 - 10)) / 2)
    now[0] += 1000
    assert [rate.take("a") for _ in range(4)] == [0, 0, 0, 0.5]
    assert [rate.take(f"2001:db8::{n}") for n in range(4)] == [0, 0, 0, 0.5]  # one household
    assert rate.take("2001:db8:0:1::1") == 0
    assert [Rate(0, 1).take("a") for _ in range(3)] == [0] * 3


def test_settings_come_from_the_environment_and_from_flags():
    environment = {"SLIREC_API_PORT": "81", "SLIREC_API_TOKEN": TOKEN, "SLIREC_API_MIN_RATING": "4", "PATH": "x"}
    settings = load_settings(environment, {"port": "82", "threads": None})
    assert (settings.port, settings.min_rating, settings.threads) == (82, 4.0, 2)
    assert TOKEN not in repr(settings) + str(settings)
    for name, value in (("PROT", SECRET), ("PORT", SECRET), ("TOKEN", ""), ("TOKEN", "kö" * 20), ("THREADS", "0")):
        with pytest.raises(ConfigError, match=f"`SLIREC_API_{name}`") as caught:
            load_settings({f"SLIREC_API_{name}": value})
        assert SECRET not in str(caught.value) and "kö" not in str(caught.value)


def test_the_configuration_sets_the_defaults(bundle):
    with open_door(bundle, config=ServeConfig(k=1, recommend_seen=True)) as door:
        disliked = {"jeans": {"timestamp": T0, "rating": 1}}
        answer = door.post({"user_id": next(iter(STORED)), "user_interactions": disliked}).json()
        assert len(answer["recommendations"]) == 1


def test_rules_change_the_answers_but_not_the_check_of_the_example(bundle):
    config = ServeConfig(exclude_categories=["Books"], exclude_seen=True)
    with open_door(bundle, config=config) as door:
        events = {"jeans": {"timestamp": T0}, "scarf": {"timestamp": T0, "rating": 1}}
        answer = door.post({"user_interactions": events, "recommend_seen": True}).json()
        assert ids(answer) == [GID["shirt"], GID["fresh"]]
