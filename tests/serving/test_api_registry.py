"""The HTTP door follows the registry's champion: forward, back, and through its absence."""

import json

import pytest
from api_doors import open_door
from fake_bundle import BIAS, T0, build_fake_bundle, seal
from fresh_store import use_fresh_store

from serving.api_source import RegistrySource
from serving.bundle import open_bundle
from serving.clean_process import RegistryError
from serving.config import ServeConfig
from serving.recommender import Recommender

EVENTS = {"user_interactions": {"shirt": {"timestamp": T0}}}


@pytest.fixture
def registry(tmp_path, monkeypatch):
    use_fresh_store(monkeypatch, tmp_path)


def test_the_door_follows_the_champion(registry, tmp_path, monkeypatch):
    from serving.registry import log_and_register, set_alias

    first, second = (build_fake_bundle(tmp_path / n / "bundle", bias=b) for n, b in (("1", BIAS), ("2", -BIAS)))
    example = json.loads((second / "example.json").read_text())
    request = example["request"]
    answer = Recommender(open_bundle(second)).recommend(request["userId"], request["items"], request["timestamps"])
    (second / "example.json").write_text(json.dumps(example | {"itemIds": answer.item_ids, "preds": answer.scores}))
    seal(second)
    versions = [log_and_register(b, ServeConfig(), name="shop") for b in (first, second)]
    set_alias(versions[0], "champion")
    (folder := tmp_path / "downloads").mkdir()
    answers = {}
    with open_door(RegistrySource(ServeConfig(), folder, "shop")) as door:
        for version in (*versions, versions[0]):
            set_alias(version, "champion")
            door.models.refresh()
            model = door.client.get("/model").json()
            assert (model["name"], model["version"]) == ("shop", version.version)
            assert len([*folder.iterdir()]) == 1  # what was replaced is cleared away
            response = door.post(EVENTS)
            assert answers.setdefault(version.version, response.json()) == response.json()
        assert answers["1"] != answers["2"]
        monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
        monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
        with pytest.raises(RegistryError, match="MLflow could not"):
            door.models.refresh()
        assert door.client.get("/model").json()["source"]["error"] == "The source of models cannot be asked."
        assert door.post(EVENTS).json() == answers["1"]
