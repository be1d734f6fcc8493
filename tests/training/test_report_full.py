"""The full report's parts on literal tables: verdict, segments, variety, calibration, pages."""

import json
import re
from xml.etree import ElementTree

import numpy as np
import pytest
from evaluation_data import Fixed, encoded

from training.evaluation import report_page, segments, variety
from training.evaluation.baselines import default_baselines
from training.evaluation.calibration import Calibration
from training.evaluation.report import evaluate_all
from training.evaluation.report_full import full_report
from training.evaluation.report_watch import Watcher, readings, watch_baselines
from training.evaluation.verdict import Deployment, decide, deployment_of

SERVED = {name: Deployment(name, {}) for name in ("popularity", "EASE", "SLi-Rec")}
SIMPLE = ("popularity", "EASE", "TIFU-kNN")


def verdict(deployments=SERVED, **means):
    noise = np.random.default_rng(0).normal(0, 0.1, 400)
    values = {name.replace("_", " "): mean + noise * scale for name, (mean, scale) in means.items()}
    values = {{"SLi": "SLi-Rec", "TIFU": "TIFU-kNN"}.get(name, name): value for name, value in values.items()}
    return decide(values, SIMPLE, deployments, np.random.default_rng(1))


def test_a_learned_method_wins_only_beyond_noise():
    won = verdict(popularity=(0.1, 1), EASE=(0.3, 1), SLi=(0.4, 1.2))
    assert (won.deploy, won.against) == ("SLi-Rec", "EASE") and won.lead.low > 0
    document = json.loads(json.dumps(won.document()))
    low, mean, high = document["lead"]
    assert low < mean < high and mean == pytest.approx(0.1, abs=0.01) and document["kind"] == "SLi-Rec"
    lost = verdict(popularity=(0.1, 1), EASE=(0.3, 1), SLi=(0.301, 2))
    assert (lost.deploy, lost.against) == ("EASE", "SLi-Rec") and "No learned model leads EASE" in lost.rule


def test_the_simplest_method_within_noise_is_taken():
    assert verdict(popularity=(0.299, 2), EASE=(0.3, 1), SLi=(0.2, 1)).deploy == "popularity"
    assert verdict(popularity=(0.2, 2), EASE=(0.3, 1)).deploy == "EASE"


def test_what_no_bundle_carries_is_beaten_but_not_deployed():
    found = verdict(popularity=(0.1, 1), EASE=(0.2, 1), TIFU=(0.4, 1), SLi=(0.3, 1))
    assert found.deploy == "SLi-Rec" and "TIFU-kNN is the best, but no bundle carries it" in found.rule
    assert verdict(EASE=(0.4, 1), TIFU=(0.4001, 2)).deploy == "EASE"
    with pytest.raises(ValueError, match="that a bundle carries"):
        verdict(TIFU=(0.4, 1))


def test_deployments_say_what_a_bundle_holds():
    assert deployment_of("own frequency", {}) == Deployment("own_frequency", {"half_life": None})
    assert deployment_of("recent popularity", {"half_life_days": 3.0}) is None
    assert deployment_of("recent popularity", {"days": 28}) == Deployment("popularity", {"days": 28})
    parts = [{"own frequency, basket decay": {"half_life": 5.0}}, {"EASE": {"lambda": 30.0}}]
    blend = deployment_of("a + b", {"weights": [1.0, 0.3], "parts": parts})
    assert blend is not None and blend.kind == "blend" and blend.settings["parts"] == [
        {"kind": "own_frequency", "settings": {"half_life": 5.0}, "weight": 1.0},
        {"kind": "ease", "settings": {"regularization": 30.0, "values": "binary"}, "weight": 0.3},
    ]  # fmt: skip
    assert deployment_of("a + b", {"weights": [1, 1], "parts": [{"EASE": {}}, {"TIFU-kNN": {}}]}) is None


def test_segments():
    assert segments.by_newness(np.array([1, 5, 6])).member.tolist() == [0, 0, 1]
    assert segments.by_length(np.array([0, 4, 5, 19, 50, 99])).member.tolist() == [0, 0, 1, 2, 4, 4]
    assert segments.popularity_bands(np.array([0, 4, 2, 2, 1])).tolist() == [0, 1, 2, 3, 3]
    found = segments.by_category(["", "mugs", "rugs"], np.array([2, 2, 1, 0]))
    assert [found.labels[place] for place in found.member] == ["rugs", "rugs", "mugs", "(no category)"]
    groups = segments.groups_of({"a": np.array([0.0, 1, 1, 1])}, found, np.random.default_rng(0))
    assert [(group.label, group.rows, group.methods["a"][0]) for group in groups] == [
        ("rugs", 2, 0.5), ("(no category)", 1, 1.0), ("mugs", 1, 1.0),
    ]  # fmt: skip
    assert groups[0].methods["a"][1:] == (0.0, 1.0) and groups[1].methods["a"] == (1.0, 1.0, 1.0)


def test_coverage_gini_novelty():
    assert variety.gini(np.array([5, 5, 5])) == 0 and variety.gini(np.array([0, 0, 0, 8])) == 0.75
    found = variety.variety_of(np.array([3, 1, 0, 0]), np.array([4, 2, 1, 1]))
    assert found.coverage == 0.5 and found.gini == pytest.approx((-3 * 0 - 0 + 1 + 9) / 16)
    assert found.novelty == (3 * 1 + 1 * 2) / 4
    candidates = np.array([[True, False, True, True], [False, False, True, False]])
    rows, columns = variety.top_lists(np.array([[1.0, 9, 3, 2], [1, 9, 3, 2]]), candidates, 2)
    assert sorted(zip(rows.tolist(), columns.tolist(), strict=True)) == [(0, 2), (0, 3), (1, 2)]
    with pytest.raises(ValueError, match="at least one item recommended"):
        variety.variety_of(np.zeros(2), np.ones(2))


def test_calibration():
    pairs = Calibration()
    pairs.add(np.array([0.2] * 10 + [0.8] * 10), np.arange(20) % 5 == 0)
    curve = pairs.curve()
    assert curve.predicted == pytest.approx((0.2, 0.8)) and curve.observed == (0.2, 0.2)
    assert curve.pairs == (10, 10) and curve.error == pytest.approx(0.3)
    with pytest.raises(ValueError, match="between 0 and 1"):
        pairs.add(np.array([1.5]), np.array([True]))
    with pytest.raises(ValueError, match="at least one pair"):
        Calibration().curve()


def test_readings_are_for_probabilities_only():
    assert readings(Fixed([]), np.array([[0.0, 2, 1]])) == {}
    assert list(readings(Fixed([], "share"), np.array([[0.0, 0.75, 0.25]]))) == ["share"]
    logits = Fixed([], "net")
    logits.probability = lambda scores: 1 / (1 + np.exp(-scores))
    found = readings(logits, np.array([[9.0, 0, np.log(3)]]))
    np.testing.assert_allclose(found["net, softmax"], [[0, 0.25, 0.75]])
    np.testing.assert_allclose(found["net, sigmoid"][0, 1:], [0.5, 0.75])


def check_html(text):
    page = ElementTree.fromstring(text.removeprefix("<!DOCTYPE html>\n"))
    assert page.tag == "html" and not page.findall(".//script") and not page.findall(".//link")
    assert all(image.get("src", "").startswith("data:image/png;base64,") for image in page.iter("img"))
    assert not re.search(r"https?://|url\(|@import", text)
    return page


def test_pages_escape_names():
    name = '<script>alert("x")</script> | a`b*c & \x00d\n# e'
    blocks = [report_page.Heading(name), report_page.Text(name, note=True), report_page.Bullets([name])]
    blocks += [report_page.Table(["m", name], [[name, "1"]]), report_page.Picture(name, b"png")]
    page = check_html(report_page.to_html(name, blocks))
    shown = page.findtext(".//td")
    assert shown is not None and shown.startswith('<script>alert("x")</script>') and "\x00" not in shown
    text = report_page.to_markdown(name, blocks)
    assert "<script" not in text and "\\| a\\`b\\*c &amp;" in text
    assert [line.count("|") - line.count("\\|") for line in text.splitlines() if line.startswith("|")] == [3, 3, 3]
    with pytest.raises(ValueError, match="should have 1 cells"):
        report_page.Table(["a"], [["b", "c"]])


def test_the_report_of_a_small_evaluation():
    rng = np.random.default_rng(3)
    dataset = encoded([rng.integers(1, 15, size=8).tolist() for _ in range(40)], num_items=15)
    watcher = Watcher(dataset, "test")
    fitted = watch_baselines(watcher, {seen: default_baselines(dataset, seen=seen) for seen in ("in", "out")})
    network = Fixed(rng.normal(size=15).tolist(), "SLi-Rec")
    network.probability = lambda scores: 1 / (1 + np.exp(-scores))
    report = evaluate_all(dataset, [watcher.watch(network)], rng=rng, baselines=fitted, batch_size=7, progress=False)
    plain = evaluate_all(dataset, [network], rng=np.random.default_rng(3), progress=False)
    assert plain.metrics("seen_out") == report.metrics("seen_out") and plain.metrics("sampled") == report.metrics(
        "sampled"
    )
    assert "logloss" in report.metrics("sampled")["SLi-Rec"]
    full = full_report(report, dataset, watcher, "seen_out", rng)
    for protocol, count in report.num_rows().items():
        if protocol != "sampled":
            assert sum(group.rows for group in full.segments[protocol]["Popularity of the target"]) == count
            assert full.variety[protocol]["SLi-Rec"].coverage <= 1
    assert watcher.lists["seen_in", "SLi-Rec"].sum() == 10 * report.num_rows()["seen_in"]
    assert {"SLi-Rec, sigmoid", "SLi-Rec, softmax", "popularity"} <= set(full.calibration)
    document = json.loads(json.dumps(full.document(), allow_nan=False))
    assert document["deploy"] == document["verdicts"]["seen_out"]["deploy"] != "SLi-Rec"  # it knows nothing
    assert set(document) >= {"kind", "settings", "lead", "rule", "split", "data_fingerprint"}
    page = check_html(report_page.to_html("t", full.blocks()))
    assert len(page.findall(".//img")) == 13
    assert f"Deploy {document['deploy']}." in report_page.to_markdown("t", full.blocks())
    with pytest.raises(ValueError, match="`protocol` should be one of"):
        full_report(report, dataset, watcher, "sampled", rng)
