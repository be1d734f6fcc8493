"""What a keeper keeps for the workers, and that a killed worker is replaced and answers, its source being away."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import urllib.request
from contextlib import suppress
from pathlib import Path

import psutil
import pytest
from api_doors import Source, open_door, wait_for
from fake_bundle import BIAS, T0, build_fake_bundle, seal

from serving.api_keeper import REFUSED, SOURCE_AWAY, Keeper
from serving.api_metrics import Metrics
from serving.api_source import KeptSource, SourceModel
from serving.bundle import BundleError, open_bundle
from serving.clean_process import RegistryError
from serving.config import ServeConfig
from serving.recommender import Recommender

REPOSITORY = Path(__file__).resolve().parents[2]
EVENTS = {"user_interactions": {"shirt": {"timestamp": T0}}}


def other(folder):
    """Biases turned around; its example is this model's own answer."""
    build_fake_bundle(folder, bias=-BIAS)
    example = json.loads((folder / "example.json").read_text())
    request = example["request"]
    answer = Recommender(open_bundle(folder)).recommend(request["userId"], request["items"], request["timestamps"])
    (folder / "example.json").write_text(json.dumps(example | {"itemIds": answer.item_ids, "preds": answer.scores}))
    seal(folder)
    return folder


@pytest.fixture(scope="module")
def bundles(tmp_path_factory):
    folder = tmp_path_factory.mktemp("keeper")
    return build_fake_bundle(folder / "first"), other(folder / "second")


def make_keeper(source, folder):
    folder.mkdir()
    return Keeper(source, ServeConfig(), Metrics(), folder, 3600)


def test_workers_follow_what_is_kept(bundles, tmp_path):
    source = Source(SourceModel("1", bundles[0], {"name": "shop"}))
    keeper = make_keeper(source, tmp_path / "kept")
    kept = KeptSource(tmp_path / "kept")
    with pytest.raises(RegistryError, match="No model has been fetched yet"):
        kept.current()
    keeper.refresh()
    with open_door(kept) as door:
        model = door.client.get("/model").json()
        assert (model["name"], model["version"], model["source"]["error"]) == ("shop", "1", None)
        first = door.post(EVENTS)
        assert first.headers["x-model-version"] == "1"
        source.wanted = SourceModel("2", bundles[1])
        keeper.refresh()
        door.models.refresh()
        second = door.post(EVENTS)
        assert second.headers["x-model-version"] == "2" and second.json() != first.json()


def test_the_last_good_model_is_kept_whatever_fails(bundles, tmp_path):
    corrupt, wrong = tmp_path / "corrupt", tmp_path / "wrong"
    shutil.copytree(bundles[1], corrupt)
    with (corrupt / "score.onnx").open("ab") as stream:
        stream.write(b"\0")
    build_fake_bundle(wrong, bias=-BIAS)  # its example is another network's
    source = Source(SourceModel("1", bundles[0]))
    keeper, kept = make_keeper(source, tmp_path / "kept"), KeptSource(tmp_path / "kept")
    keeper.refresh()
    files = len([*(tmp_path / "kept").iterdir()])
    for wanted, problem in (
        (ConnectionError("away"), SOURCE_AWAY),
        (SourceModel("2", corrupt), REFUSED),
        (SourceModel("3", wrong), REFUSED),
    ):
        source.wanted = wanted
        with pytest.raises((ConnectionError, BundleError, RegistryError)):
            keeper.refresh()
        assert len([*(tmp_path / "kept").iterdir()]) == files
        with open_door(kept) as door:  # a worker that is started only now
            model = door.client.get("/model").json()
            assert (model["version"], model["source"]["error"]) == ("1", problem)
            assert "slirec_api_source_up 0.0" in door.client.get("/metrics").text
            assert door.post(EVENTS).status_code == 200


def test_a_kept_bundle_is_verified_again(bundles, tmp_path):
    keeper, kept = make_keeper(Source(SourceModel("1", bundles[0])), tmp_path / "kept"), KeptSource(tmp_path / "kept")
    keeper.refresh()
    folder = kept.current().folder
    shutil.rmtree(folder)
    shutil.copytree(bundles[1], folder)  # complete and right, but not what was fetched
    with open_door(kept, load=False) as door, pytest.raises(BundleError, match="SHA-256"):
        door.models.refresh()


def test_two_models_are_kept_and_the_older_ones_cleared_away(bundles, tmp_path):
    source = Source(None)
    keeper, kept = make_keeper(source, tmp_path / "kept"), KeptSource(tmp_path / "kept")
    for number in range(4):
        source.wanted = SourceModel(str(number), bundles[number % 2])
        keeper.refresh()
        keeper.refresh()
        assert kept.current().version == str(number)
    assert source.released == ["0", "1"] and all(bundle.exists() for bundle in bundles)
    assert len([path for path in (tmp_path / "kept").iterdir() if path.is_dir()]) == 2


@pytest.fixture
def served(bundles, tmp_path):
    """A running server of a bundle folder: its process, its URL, the folder."""
    folder = tmp_path / "bundle"
    shutil.copytree(bundles[0], folder)
    environment = {name: value for name, value in os.environ.items() if not name.startswith("SLIREC_")}
    command = [sys.executable, "-m", "scripts.ml.serve", str(folder), "--port", "0", "--workers", "1"]
    command += ["--switch-seconds", "0.2"]
    log = tmp_path / "log"
    with log.open("w") as stream:
        process = subprocess.Popen(command, cwd=REPOSITORY, env=environment, stdout=stream, stderr=stream)
    try:
        wait_for(lambda: process.poll() is not None or "running on" in log.read_text(), 60)
        yield process, re.search(r"http://127\.0\.0\.1:\d+", log.read_text())[0], folder
    finally:
        for child in psutil.Process(process.pid).children() if process.poll() is None else []:
            with suppress(psutil.Error):
                child.kill()
        process.kill()
        process.wait()


def ask(url, body=EVENTS, path="/recommendations"):
    request = urllib.request.Request(url + path, json.dumps(body).encode() if body else None)
    with urllib.request.urlopen(request, timeout=60) as response:
        return response.read()


def workers(process):
    return [child for child in psutil.Process(process.pid).children() if "spawn_main" in " ".join(child.cmdline())]


def test_a_killed_worker_is_replaced_and_clients_wait_meanwhile(served):
    process, url, folder = served
    expected = ask(url)  # sent while the first worker starts, too
    (worker,) = workers(process)
    shutil.rmtree(folder)  # the source has nothing any more
    wait_for(lambda: json.loads(ask(url, None, "/model"))["source"]["error"] == REFUSED, 60)  # a folder that is none
    worker.kill()
    worker.wait(20)
    assert ask(url) == expected
    assert [child.pid for child in workers(process)] != [worker.pid]
    figures = ask(url, None, "/metrics").decode()
    wait_for(lambda: "slirec_api_in_flight 1.0" in ask(url, None, "/metrics").decode(), 60)  # this one
    assert 'requests_total{method="POST",route="/recommendations",status="200"} 2.0' in figures  # of both workers
    assert "slirec_api_source_up 0.0" in figures
    process.send_signal(signal.SIGTERM)
    assert process.wait(30) == 0


def test_workers_end_with_their_supervisor(served):
    process, url, _ = served
    ask(url)
    (worker,) = workers(process)
    process.kill()
    process.wait()
    psutil.wait_procs([worker], timeout=20)
    assert not worker.is_running()
