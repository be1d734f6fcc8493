"""The gate's judgement, on numbers written down here."""

import math

import pytest
from pydantic import ValidationError

from serving.gate import (
    Gate,
    GateConfig,
    GateReport,
    failed,
    judge_example,
    judge_latency,
    judge_lead,
    judge_no_worse,
    not_run,
    passed,
)


def report(*gates, champion="1"):
    return GateReport("shop", "2", champion, gates, notes=("other data",), facts={"held_out_rows": 7})


@pytest.mark.parametrize(
    ("low", "margin", "verdict"),
    [
        (0.001, 0.0, "passed"),
        (0.0, 0.0, "failed"),  # an equal model is not a better one
        (-0.001, 0.0, "failed"),
        (0.03, 0.1, "passed"),
        (0.02, 0.1, "failed"),  # exactly the margin: 10 % of 0.2
        (-0.009, -0.05, "passed"),
        (-0.011, -0.05, "failed"),
        (math.nan, 0.0, "failed"),
    ],
)
def test_a_lead_counts_from_the_lower_end_of_its_interval(low, margin, verdict):
    gate = judge_lead("champion", "the champion", ours=0.25, theirs=0.2, low=low, margin=margin)
    assert (gate.name, gate.verdict, gate.bound) == ("champion", verdict, pytest.approx(margin * 0.2))
    assert "NDCG@10 0.2500 against 0.2000 of the champion" in gate.reason


@pytest.mark.parametrize(
    ("high", "margin", "verdict"),
    [
        (0.001, 0.0, "passed"),
        (0.0, 0.0, "passed"),  # an equal method is no worse
        (-0.001, 0.0, "failed"),
        (-0.001, -0.01, "passed"),  # at most one hundredth worse
        (0.001, 0.01, "failed"),
        (math.nan, 0.0, "failed"),
    ],
)
def test_a_simple_method_should_be_no_worse_than_another(high, margin, verdict):
    gate = judge_no_worse("baseline EASE", "EASE", ours=0.19, theirs=0.2, high=high, margin=margin)
    assert (gate.name, gate.verdict, gate.bound) == ("baseline EASE", verdict, pytest.approx(margin * 0.2))
    assert "NDCG@10 0.1900 against 0.2000 of EASE, both simple" in gate.reason


@pytest.mark.parametrize(("p95", "verdict"), [(50.0, "passed"), (50.1, "failed"), (math.nan, "failed")])
def test_latency_is_held_against_its_budget(p95, verdict):
    assert judge_latency(p95, 50.0).verdict == verdict


def test_the_example_fails_with_what_the_comparison_said():
    assert judge_example(2e-6, 1e-5, None).verdict == "passed"
    gate = judge_example(0.2, 1e-5, "a difference of 0.2")
    assert (gate.verdict, gate.value, gate.bound, gate.reason) == ("failed", 0.2, 1e-5, "a difference of 0.2")


def test_a_report_passes_only_if_every_gate_did():
    good = passed("bundle", "as registered")
    assert report(good, judge_latency(1.0, 50.0)).passed
    assert not report(good, failed("reload", "no")).passed
    assert not report(good, *not_run(["latency"])).passed
    assert not report().passed  # nothing was tried
    assert report(good, failed("reload", "no"), *not_run(["latency"])).failed == ("reload",)


def test_report_as_document_markdown_and_tags():
    gates = (
        passed("bundle", "as registered"),
        judge_lead("champion", "the champion", ours=0.1, theirs=0.2, low=-0.15, margin=0.0),
        Gate("baseline item-kNN (SAR)", "failed", 0.5, 0.75, "a | b " + "x" * 300),
        *not_run(["latency"]),
    )
    judged = report(*gates)
    document = judged.document()
    assert (document["passed"], document["failed"]) == (False, ["champion", "baseline item-kNN (SAR)"])
    assert document["gates"][1]["value"] == -0.15 and document["facts"] == {"held_out_rows": 7}
    lines = judged.markdown().splitlines()
    assert lines[0] == "**shop version 2**: refused by: champion, baseline item-kNN (SAR) (champion: version 1)"
    assert "| bundle | passed | - | - | as registered |" in lines
    assert all(line.count(" | ") == 4 for line in lines if line.startswith("| "))
    assert lines[-3:] == ["- other data", "", "- held_out_rows: 7"]
    tags = judged.tags()
    assert tags["gate_verdict"] == "refused" and tags["gate_failed"] == "champion, baseline item-kNN (SAR)"
    assert tags["gate_champion"].startswith("failed (-0.15 against 0): NDCG@10 0.1000 against 0.2000")
    assert tags["gate_latency"] == "not run: an earlier gate failed"
    assert len(tags["gate_baseline_item_kNN__SAR".lower()]) == 250
    first = report(passed("bundle", "as registered"), champion=None)
    assert first.markdown().startswith("**shop version 2**: passed the gate (no champion yet)")
    assert first.tags()["gate_failed"] == "none"


@pytest.mark.parametrize(
    "wrong", [{"latency_p95_ms": 0.0}, {"confidence": 1.0}, {"champion_margin": -11.0}, {"margin": 0.1}]
)
def test_settings_are_checked(wrong):
    with pytest.raises(ValidationError):
        GateConfig(**wrong)
