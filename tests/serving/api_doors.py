"""An open HTTP door for the tests, and the check that every refusal has to pass."""

import re
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # it would rather have a successor of httpx
    from starlette.testclient import TestClient

from serving.api import create_app
from serving.api_settings import ApiSettings
from serving.api_source import BundleSource

TOKEN = "a-token-of-the-shop-0123456789"
SECRET = "ann.shopper@example.com"


def wait_for(condition, seconds=20.0):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.02)  # some conditions are requests, which a server limits


class Source:
    """Names whatever model the test wants next; an exception is raised."""

    def __init__(self, wanted) -> None:
        self.wanted, self.released = wanted, []

    def current(self):
        if isinstance(self.wanted, Exception):
            raise self.wanted
        return self.wanted

    def release(self, model):
        self.released.append(model.version)


class Door:
    def __init__(self, client: TestClient, folder: Path) -> None:
        self.client, self.folder = client, folder

    @property
    def models(self):
        return self.client.app.state.models

    def post(self, body, path="/recommendations", **options):
        kind = "content" if isinstance(body, str | bytes) else "json"
        return self.client.post(path, **{kind: body}, **options)

    def refused(self, response, status: int, message: str) -> None:
        assert response.status_code == status
        assert response.headers["content-type"] == "application/json"
        document = response.json()
        assert {*document} == {"error", "request_id"}
        assert re.search(message, document["error"]), document["error"]
        assert document["request_id"] == response.headers["x-request-id"]
        for leak in (SECRET, TOKEN, str(self.folder), "Traceback", "serving/", "Error("):
            assert leak not in response.text


@contextmanager
def open_door(source, *, config=None, load=True, **settings) -> Iterator[Door]:
    """The application, started; its model is loaded. `source`: a ModelSource, or the folder of a bundle."""
    folder = source if isinstance(source, Path) else Path("/nowhere")
    source = BundleSource(source) if isinstance(source, Path) else source
    settings = {"rate_per_second": 0, "switch_seconds": 3600} | settings
    app = create_app(source, ApiSettings(**settings), config)
    if load:
        app.state.models.refresh()
    with TestClient(app, raise_server_exceptions=False, follow_redirects=False) as client:
        yield Door(client, folder)
