"""The HTTP door under limits, faults and switches: nothing is dropped, and nothing leaks."""

import asyncio
import http.client
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
import weakref
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from api_doors import SECRET, Source, open_door, wait_for
from fake_bundle import BIAS, T0, build_fake_bundle
from starlette.requests import Request

from serving.api_limits import Refusal, read_body
from serving.api_settings import ApiSettings
from serving.api_source import BundleSource, RegistrySource, SourceModel
from serving.bundle import BundleError
from serving.config import ServeConfig
from serving.recommender import Recommender

REPOSITORY = Path(__file__).resolve().parents[2]
EVENTS = {"user_interactions": {"shirt": {"timestamp": T0}}}


@pytest.fixture(scope="module")
def bundles(tmp_path_factory):
    """Two models that differ in every score."""
    folder = tmp_path_factory.mktemp("faults")
    first = build_fake_bundle(folder / "first")
    return SourceModel("1", first), SourceModel("2", _other(folder / "second"), {"name": "shop", "metrics": {"a": 1}})


def _other(folder):
    """Biases turned around; its example is this model's own answer."""
    from fake_bundle import seal

    from serving.bundle import open_bundle

    build_fake_bundle(folder, bias=-BIAS)
    path = folder / "example.json"
    example = json.loads(path.read_text())
    request = example["request"]
    answer = Recommender(open_bundle(folder)).recommend(request["userId"], request["items"], request["timestamps"])
    path.write_text(json.dumps(example | {"itemIds": answer.item_ids, "preds": answer.scores}))
    seal(folder)
    return folder


@pytest.fixture
def held(monkeypatch):
    """Ranking waits until the event is set."""
    release, original = threading.Event(), Recommender.recommend

    def recommend(self, user_id=None, *arguments, **keywords):
        if user_id == "held":
            assert release.wait(20)
        return original(self, user_id, *arguments, **keywords)

    monkeypatch.setattr(Recommender, "recommend", recommend)
    yield release
    release.set()


def test_bodies_are_limited_in_size_and_time(bundles):
    with open_door(Source(bundles[0]), max_body_bytes=100) as door:
        assert door.post(" " * 98 + "{}").status_code == 200
        door.refused(door.post(" " * 99 + "{}"), 413, "The body should have at most 100 bytes. Received: more.")
        chunks = door.client.post("/recommendations", content=iter([b" " * 60, b" " * 60, b"{}"]))
        door.refused(chunks, 413, "at most 100 bytes")
        large = door.client.post("/recommendations", content=b"{}", headers={"Content-Length": "9" * 30})
        door.refused(large, 413, "at most 100 bytes")


def test_a_body_that_does_not_arrive_is_not_waited_for():
    async def receive():
        await asyncio.sleep(20)

    request = Request({"type": "http", "method": "POST", "headers": []}, receive)
    with pytest.raises(Refusal, match="did not arrive in time") as refused:
        asyncio.run(read_body(request, ApiSettings(body_timeout_seconds=0.01)))
    assert (refused.value.status, refused.value.headers) == (408, {"Connection": "close"})


def test_a_client_that_asks_too_often_is_told_when_to_return(bundles):
    with open_door(Source(bundles[0]), rate_per_second=0.1, rate_burst=3) as door:
        assert door.post({}).status_code == 200
        assert door.post({"requests": [{}] * 3}, "/recommendations/batch").status_code == 200
        response = door.post({})
        door.refused(response, 429, "Too many requests")
        assert int(response.headers["retry-after"]) in (19, 20)  # one and the batch's debt
        assert door.client.get("/ready").status_code == 200


def test_a_full_queue_is_refused_and_the_rest_is_answered(bundles, held):
    with open_door(Source(bundles[0]), threads=1, queue_size=1) as door, ThreadPoolExecutor(2) as clients:
        waiting = [clients.submit(door.post, {"user_id": "held"}) for _ in range(2)]
        wait_for(lambda: door.models._model.users == 2)
        response = door.post({})
        door.refused(response, 503, "Too many requests are waiting")
        assert response.headers["retry-after"] == "1"
        assert door.client.get("/health").status_code == 200
        held.set()
        assert [future.result().status_code for future in waiting] == [200, 200]
        assert door.post({}).status_code == 200


def test_errors_say_nothing_and_the_log_has_their_id(bundles, monkeypatch, caplog):
    def fail(self, user_id=None, *arguments, **keywords):
        raise RuntimeError(f"{SECRET} in {REPOSITORY}")

    with open_door(Source(bundles[0])) as door:
        monkeypatch.setattr(Recommender, "recommend", fail)
        response = door.post({"user_id": SECRET})
        door.refused(response, 500, "The request could not be answered; the server's log has the reason.")
        assert str(REPOSITORY) not in response.text
        assert response.json()["request_id"] in caplog.text
        rows = door.post({"requests": [{"user_id": SECRET}, {}]}, "/recommendations/batch")
        assert rows.status_code == 200 and SECRET not in rows.text
        assert {row["error"] for row in rows.json()["results"]} == {
            "The row could not be answered; the server's log has the reason."
        }
        assert rows.headers["x-request-id"] in caplog.text


def test_not_ready_until_there_is_a_model(bundles):
    source = Source(ConnectionError(f"https://me:{SECRET}@registry"))
    with open_door(source, load=False, switch_seconds=0.02) as door:
        assert door.client.get("/health").status_code == 200
        for response in (door.client.get("/ready"), door.client.get("/model"), door.post({})):
            door.refused(response, 503, "No model is loaded yet")
            assert int(response.headers["retry-after"]) > 0
        source.wanted = bundles[0]
        wait_for(lambda: door.client.get("/ready").status_code == 200)
        assert door.post({}).status_code == 200


def test_models_are_switched_under_load_without_a_failed_request(bundles):
    source, answers, stop = Source(bundles[0]), [], threading.Event()
    with open_door(source, switch_seconds=0.01, queue_size=100) as door, ThreadPoolExecutor(4) as clients:
        right = {json.dumps(door.post(EVENTS).json())}

        def ask():
            while not stop.is_set():
                answers.append(door.post(EVENTS))

        futures = [clients.submit(ask) for _ in range(4)]
        for wanted in (bundles[1], bundles[0], bundles[1]):
            source.wanted = wanted
            before = len(answers)
            wait_for(lambda wanted=wanted: door.client.get("/model").json()["version"] == wanted.version)
            wait_for(lambda before=before: len(answers) > before + 8)
        stop.set()
        for future in futures:
            future.result()
        right.add(json.dumps(door.post(EVENTS).json()))
        assert len(right) == 2
        assert {response.status_code for response in answers} == {200}
        assert {json.dumps(response.json()) for response in answers} == right
        wait_for(lambda: source.released == ["1", "2", "1"])
        model = door.client.get("/model").json()
        assert (model["name"], model["metrics"]) == ("shop", {"a": 1.0})


def test_requests_end_on_the_model_that_they_began_on(bundles, held):
    source = Source(bundles[0])
    with open_door(source) as door, ThreadPoolExecutor(1) as client:
        old = weakref.ref(door.models._model.recommender)
        expected = door.post({"user_id": "x"} | EVENTS).json()
        waiting = client.submit(door.post, {"user_id": "held"} | EVENTS)
        wait_for(lambda: door.models._model.users == 1)
        source.wanted = bundles[1]
        door.models.refresh()
        assert door.post(EVENTS).json() != expected
        assert source.released == []
        held.set()
        assert waiting.result().json() == expected
        wait_for(lambda: source.released == ["1"])
        del waiting
        wait_for(lambda: old() is None)  # its graphs and tables are freed, without a garbage collection


def test_what_fails_leaves_the_old_model_in_place(bundles, tmp_path, caplog):
    corrupt, wrong = tmp_path / "corrupt", tmp_path / "wrong"
    shutil.copytree(bundles[1].folder, corrupt)
    with (corrupt / "score.onnx").open("ab") as stream:
        stream.write(b"\0")
    build_fake_bundle(wrong, bias=-BIAS)  # its example is another network's
    source = Source(bundles[0])
    with open_door(source, switch_seconds=0.02) as door:
        expected = door.post(EVENTS).json()
        for wanted, error in (
            (ConnectionError(f"https://me:{SECRET}@registry {tmp_path}"), "The source of models cannot be asked."),
            (SourceModel("3", corrupt), "A new model was refused."),
            (SourceModel("4", wrong), "A new model was refused."),
            (SourceModel("5", tmp_path / "none"), "A new model was refused."),
        ):
            source.wanted = wanted
            wait_for(lambda error=error: door.client.get("/model").json()["source"]["error"] == error)
            model = door.client.get("/model")
            assert model.json()["version"] == "1" and str(tmp_path) not in model.text
            assert door.post(EVENTS).json() == expected
            assert {*source.released} <= {"3", "4", "5"}  # refused ones may be cleared away
            assert "slirec_api_source_up 0.0" in door.client.get("/metrics").text
        figures = door.client.get("/metrics").text
        for what in ("source", "model"):
            assert float(re.search(rf'failures_total{{what="{what}"}} (\S+)', figures)[1]) > 0
        source.wanted = bundles[0]
        wait_for(lambda: door.client.get("/model").json()["source"]["error"] is None)
        assert "slirec_api_source_up 1.0" in door.client.get("/metrics").text
    assert "SHA-256" in caplog.text and SECRET not in caplog.text  # the log has reasons, but no password


def test_a_folder_whose_bundle_is_replaced_is_another_version(bundles, tmp_path):
    folder = tmp_path / "bundle"
    shutil.copytree(bundles[0].folder, folder)
    source = BundleSource(folder)
    first = source.current()
    assert source.current() == first
    shutil.rmtree(folder)
    with pytest.raises(BundleError, match="should be the folder of a model bundle"):
        source.current()
    shutil.copytree(bundles[1].folder, folder)
    assert source.current().version != first.version
    source.release(first)
    assert folder.exists()


def test_downloaded_bundles_are_cleared_away(tmp_path):
    mine, other = tmp_path / "mine" / "1" / "bundle", tmp_path / "other"
    mine.mkdir(parents=True)
    other.mkdir()
    source = RegistrySource(ServeConfig(), tmp_path / "mine")
    for folder in (mine, other):
        source.release(SourceModel("1", folder))
    assert other.exists() and not mine.parent.exists()


def test_the_process_ends_its_requests_before_it_stops(bundles, tmp_path):
    environment = {name: value for name, value in os.environ.items() if not name.startswith("SLIREC_")}
    command = [sys.executable, "-m", "scripts.ml.serve", str(bundles[0].folder), "--port", "0", "--stop-seconds", "20"]
    with (tmp_path / "log").open("w") as log:
        process = subprocess.Popen(command, cwd=REPOSITORY, env=environment, stdout=log, stderr=log)
    try:
        wait_for(lambda: process.poll() is not None or "running on" in (tmp_path / "log").read_text(), 60)
        port = int(re.search(r"http://127\.0\.0\.1:(\d+)", (tmp_path / "log").read_text())[1])
        asked = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
        asked.request("POST", "/recommendations", json.dumps(EVENTS))
        expected = json.loads(asked.getresponse().read())
        assert len(expected["recommendations"]) == 5
        asked.close()
        body = json.dumps(EVENTS).encode()
        slow = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
        slow.putrequest("POST", "/recommendations")
        slow.putheader("Content-Length", str(len(body)))
        slow.endheaders(body[:5])
        wait_for(lambda: b"in_flight 2.0" in _get(port, "/metrics"))
        process.send_signal(signal.SIGTERM)
        wait_for(lambda: "Shutting down" in (tmp_path / "log").read_text())
        slow.send(body[5:])
        response = slow.getresponse()
        assert response.status == 200 and json.loads(response.read()) == expected
        assert "server" not in response.headers
        assert process.wait(20) == 0
    finally:
        process.kill()
        process.wait()
    assert "Traceback" not in (tmp_path / "log").read_text()


def _get(port, path):
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
    connection.request("GET", path)
    with connection.getresponse() as response:
        return response.read()


def test_the_command_refuses_a_wrong_bundle_and_wrong_settings(bundles, tmp_path, capsys, monkeypatch):
    from scripts.ml.serve import main

    monkeypatch.setenv("SLIREC_API_TOKEN", "short")
    assert main([str(bundles[0].folder)]) == 1
    assert "`SLIREC_API_TOKEN`" in (text := capsys.readouterr().err) and "short" not in text
    monkeypatch.delenv("SLIREC_API_TOKEN")
    assert main([str(tmp_path)]) == 1
    assert "should be the folder of a model bundle" in capsys.readouterr().err
