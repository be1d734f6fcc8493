import json
from collections import Counter

import numpy as np
import polars as pl
import pytest
from small_shop import INVENTORY, RULES

from scripts.ml.generate_interactions import generate
from scripts.ml.import_snowplow import import_snowplow, lines_of
from scripts.ml.snowplow_sample import BROWSERS, CRAWLER, Habits, main, sample_events, write_events
from training.data.inventory import save_inventory

SHIFT = 30_000_000


@pytest.fixture(scope="module")
def visits():
    return generate(INVENTORY, RULES, users=25, days=40, seed=5)


def sample(visits, seed=1, **options):
    return sample_events(visits, np.random.default_rng(seed), **options)


def imported(events, path, **options):
    write_events(events, path)
    return import_snowplow(lines_of(path), inventory=INVENTORY, **options)


def test_the_views_are_the_visits_and_all_else_is_told_apart(visits, tmp_path):
    events = sample(visits, shift=SHIFT, habits=Habits(cart=0.4, reload=0.2, resent=0.2))
    result, report = imported(events, tmp_path / "events.jsonl.gz")
    views = result.filter(pl.col("kind") == "view")
    expected = zip(visits.plan.timestamp + SHIFT, (INVENTORY.handles[number] for number in visits.product), strict=True)
    assert sorted(views.select("timestamp", "item_handle").rows()) == sorted(expected)
    assert result.filter(pl.col("kind") == "cart").height == sum(event["e"] == "ue" for event in events) > 50
    assert result["user_id"].n_unique() == visits.num_users
    assert result["session"].n_unique() == visits.plan.start.sum()
    counted = Counter(event["e"] for event in events)
    pages = sum(event["url"].endswith("/") for event in events)
    assert report.dropped == {
        "not about a product": counted["pp"] + pages,
        "bot": len(INVENTORY.handles),
        "event sent twice": len(events) - len({event["eid"] for event in events}),
        "repeated within 10 s": counted["pv"] - pages - views.height - report.dropped["event sent twice"] - 8,
    }
    assert min(report.dropped.values()) > 0


def test_a_login_covers_the_visits_before_it(visits, tmp_path):
    events = sample(visits, logins={0: "anna", 3: "bob"})
    counts = np.diff(visits.plan.offsets)
    users = imported(events, tmp_path / "events.jsonl", user="login")[0].filter(pl.col("kind") == "view")["user_id"]
    assert {name: (users == name).sum() for name in ("anna", "bob")} == {"anna": counts[0], "bob": counts[3]}
    assert users.n_unique() == visits.num_users
    before = [event for event in events if event["duid"] in browsers_of(events, "bob") and "uid" not in event]
    assert browsers_of(events, "anna").isdisjoint(browsers_of(events, "bob"))
    assert len(before) + sum(event.get("uid") == "bob" for event in events) >= counts[3]
    nobody = imported(sample(visits), tmp_path / "events.jsonl", user="login")[0]["user_id"]
    assert set(nobody).isdisjoint({"anna", "bob"})


def browsers_of(events, login):
    return {event["duid"] for event in events if event.get("uid") == login}


def test_a_sample_is_sorted_can_be_repeated_and_is_what_a_tracker_sends(visits, tmp_path):
    events = sample(visits)
    times = [int(event["dtm"]) for event in events]
    assert times == sorted(times)
    assert events == sample(visits)
    assert events != sample(visits, seed=2)
    assert {event["ua"] for event in events} == {*BROWSERS, CRAWLER}
    assert all(isinstance(value, str) for event in events for value in event.values())
    write_events(events, tmp_path / "events.jsonl")
    payloads = [json.loads(line) for line in (tmp_path / "events.jsonl").read_text().splitlines()]
    assert [event for payload in payloads for event in payload["data"]] == events
    assert {payload["schema"].split("/")[1] for payload in payloads} == {"payload_data"}


def test_the_command_writes_a_sample_and_names_a_mistake(tmp_path, capsys):
    from scripts.shopify.inventory import catalogue_inventory

    save_inventory(catalogue_inventory(), tmp_path / "inventory.json")
    arguments = [str(tmp_path / "inventory.json"), str(tmp_path / "events.jsonl.gz")]
    assert main([*arguments, "--users", "5", "--days", "20"]) == 0
    assert "of 5 shoppers and a crawler" in capsys.readouterr().out
    assert import_snowplow(lines_of(tmp_path / "events.jsonl.gz"))[0]["user_id"].n_unique() == 5
    assert main([*arguments, "--users", "0"]) == 1
    assert capsys.readouterr().err == "error: `users` should be a positive integer. Received: users = 0\n"
