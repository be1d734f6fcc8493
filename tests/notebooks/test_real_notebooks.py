"""Notebooks 07 and 08, once each, on few shoppers: real purchases, and a shop's own events."""

import json
import os
from pathlib import Path
from typing import Any

import pytest

from scripts.ml.run_notebooks import REPOSITORY, run_notebooks

pytestmark = pytest.mark.slow


def executed(name: str, folder: Path, **parameters: Any) -> Path:
    """Executes a notebook with results in `folder`; returns where its runs are."""
    places = {
        "DATA_DIR": str(folder / "data"),
        "RUNS_DIR": str(folder / "runs"),
        "TRACKING_URI": f"sqlite:///{folder / 'mlflow.db'}",
    }
    with pytest.MonkeyPatch.context() as patch:
        for variable in [each for each in os.environ if each.startswith(("MLFLOW_", "SLIREC_", "SHOPIFY_"))]:
            patch.delenv(variable)
        patch.setenv("MLFLOW_TRACKING_URI", places["TRACKING_URI"])
        patch.setenv("MLFLOW_DISABLE_TELEMETRY", "true")
        notebook = REPOSITORY / "notebooks" / f"{name}.ipynb"
        run_notebooks([notebook], {**places, **parameters}, folder / "executed", cwd=REPOSITORY)
    return folder / "runs"


def test_real_retail_data_ends_with_a_verdict_and_a_registered_ranker(tmp_path):
    ranker = {"seeds": 1, "cuts": 2, "epochs": 1, "negatives": 20, "neighbours": 20}
    runs = executed(
        "07_real_retail_data", tmp_path, HOUSEHOLDS=120, CUTS=["2017-10-02"], MIN_PURCHASES=40, RANKER=ranker
    )
    document = json.loads((runs / "real_retail" / "future" / "window_2017-10-02.json").read_text(encoding="utf-8"))
    methods = document["views"]["all"]["methods"]
    assert {"candidate history", "TIFU-kNN", "own frequency, basket decay", "EASE", "popularity"} <= set(methods)
    assert methods["candidate history"]["means"]["NDCG@10"] > methods["popularity"]["means"]["NDCG@10"]
    assert document["deploy"]
    registered = json.loads((runs / "real_retail" / "registered.json").read_text(encoding="utf-8"))
    assert registered["name"] == "slirec_real_retail"
    assert len(registered["sample"]) > 0


def test_your_own_events_come_back_to_the_shop(tmp_path):
    runs = executed("08_your_own_events", tmp_path, ORDERS=60, EPOCHS=1)
    registered = json.loads((runs / "your_own_events" / "registered.json").read_text(encoding="utf-8"))
    assert registered["name"] == "slirec_your_own_events"
