"""Requests that schemathesis makes up from the OpenAPI document: right ones, wrong ones, and methods nobody offers."""

import json
import math
from pathlib import Path

import pytest
import schemathesis
from api_doors import TOKEN
from fake_bundle import build_fake_bundle
from hypothesis import HealthCheck, settings
from prometheus_client.parser import text_string_to_metric_families
from schemathesis.checks import load_all_checks

from serving.api import create_app
from serving.api_settings import ApiSettings
from serving.api_source import BundleSource

load_all_checks()  # every check that schemathesis has runs on every answer
TOKENS = {"auth": {"openapi": {"token": {"bearer": TOKEN}}}}


class Later:
    """The bundle, which is not there yet when pytest collects the cases."""

    folder = Path("/nowhere")

    def current(self):
        return BundleSource(self.folder).current()

    def release(self, model):
        pass


class Started:
    """The application, asked in this process: schemathesis starts and stops it between the cases, once is enough."""

    def __init__(self, app):
        self.app, self.models = app, app.state.models

    async def __call__(self, scope, receive, send):
        if scope["type"] == "lifespan":
            for what in ("startup", "shutdown"):
                await receive()
                await send({"type": f"lifespan.{what}.complete"})
        else:
            await self.app(scope, receive, send)


def described(config=None, **changes):
    app = create_app(Later(), ApiSettings(rate_per_second=0, switch_seconds=3600, **changes))
    schema = schemathesis.openapi.from_dict(app.openapi(), config=schemathesis.Config.from_dict(config or {}))
    schema.app = Started(app)
    return schema


OPEN, LOCKED = described(), described(TOKENS, token=TOKEN)
# Beside these: schemathesis' systematic requests, some hundred, among them one for each method that is not offered.
made_up = settings(
    max_examples=80, deadline=None, database=None, derandomize=True, suppress_health_check=list(HealthCheck)
)


@pytest.fixture(scope="module", autouse=True)
def models(tmp_path_factory):
    Later.folder = build_fake_bundle(tmp_path_factory.mktemp("schema") / "bundle")
    for schema in (OPEN, LOCKED):
        schema.app.models.refresh()


@schemathesis.check
def clear(context, response, case):
    """No NaN or infinity, and every refusal says something, under an id."""
    (kind,) = response.headers.get("content-type", [""])
    if response.request.method == "HEAD":
        return
    if kind != "application/json":
        for family in text_string_to_metric_families(response.text):
            assert all(math.isfinite(sample.value) for sample in family.samples)
        return
    document = json.loads(response.content, parse_constant=pytest.fail)  # NaN, Infinity
    errors = [row["error"] for row in document.get("results", []) if row["error"] is not None]
    if response.status_code >= 400:
        assert {*document} == {"error", "request_id"}
        assert [document["request_id"]] == response.headers["x-request-id"]
        errors.append(document["error"])
    assert all(error.endswith(".") and len(error.split()) > 4 for error in errors)


@OPEN.parametrize()
@made_up
def test_made_up_requests_are_answered_as_the_document_says(case):
    case.call_and_validate()


@LOCKED.parametrize()
@made_up
def test_made_up_requests_with_and_without_the_token(case):
    case.call_and_validate()
