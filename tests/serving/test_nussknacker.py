"""The Nussknacker scenario against the code: what it asks, what it reads, and what becomes of its sample events."""

import json
import re
from collections import Counter, defaultdict
from datetime import datetime
from types import SimpleNamespace

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from conftest import HMAC_SECRET
from fake_bundle import build_large_bundle, seal
from pydantic import SecretStr
from server_process import REPOSITORY

from scripts.shopify.marks import METAOBJECT_TYPE
from scripts.shopify.metaobject_definition import DEFINITION
from scripts.shopify.publish_recommendations import publish_recommendations
from scripts.shopify.recommendation_file import ITEM_IDS, USER_ID
from scripts.shopify.shopper_ids import ShopperIds
from serving.config import ServeConfig
from serving.registry import signature
from serving.slirec_model import SliRecShopifyModel
from training.data.inventory import load_inventory

FOLDER = REPOSITORY / "serving" / "nussknacker"
SCENARIO = json.loads((FOLDER / "page_views_to_recommendations.json").read_text())
NODES = {node["id"]: node for node in SCENARIO["nodes"]}
EVENTS = [json.loads(line) for line in (FOLDER / "page_views.jsonl").read_text().splitlines()]
README = (FOLDER / "README.md").read_text()
BUILT_IN = {"input", "this", "AGG", "DATE_FORMAT"}
DEFINED_BY = {"Source": "input", "Variable": "varName", "VariableBuilder": "varName", "CustomNode": "outputVar",
              "Enricher": "output"}  # fmt: skip


def expressions(value):
    """Every expression below a part of the scenario."""
    if isinstance(value, dict):
        if value.keys() == {"language", "expression"}:
            yield value["expression"]
        for part in value.values():
            yield from expressions(part)
    elif isinstance(value, list):
        for part in value:
            yield from expressions(part)


def parameters(node):
    holder = node.get("service") or node.get("ref") or node
    return {parameter["name"]: parameter["expression"]["expression"] for parameter in holder["parameters"]}


def only(kind, **fields):
    (node,) = (n for n in NODES.values() if n["type"] == kind and fields.items() <= n.items())
    return node


def record(text):
    """Keys and values of `{a: #b.c, d: #e}`."""
    return dict(part.split(": ") for part in text.strip("{}").split(", "))


def test_nodes_are_one_chain_in_which_every_variable_is_defined_before_it_is_used():
    assert len(NODES) == len(SCENARIO["nodes"])
    assert not SCENARIO["additionalBranches"]
    kinds = [node["type"] for node in NODES.values()]
    assert kinds[0] == "Source" and kinds[-1] == "Sink"
    assert Counter(kinds).keys() == {*DEFINED_BY, "Filter", "Sink"}
    known = set(BUILT_IN)
    for node in NODES.values():
        used = {name for text in expressions(node) for name in re.findall(r"#(\w+)", text)}
        assert used <= known, node["id"]
        if (place := DEFINED_BY.get(node["type"])) and place in node:
            assert node[place] not in known
            known.add(node[place])
    assert all(text and text.count("(") == text.count(")") for text in expressions(SCENARIO))
    assert not [node for node in NODES.values() if node.get("isDisabled")]


def test_the_model_node_asks_by_the_signature_and_the_sink_reads_its_outputs():
    contract, model = signature(ServeConfig()), only("Enricher")
    asked = parameters(model)
    assert (asked.pop("Model"), asked.pop("Version"), asked.pop("Raw editor")) == (
        f"'{ServeConfig().registered_model_name}'",
        "'1'",
        "false",
    )
    assert list(asked) == contract.inputs.input_names()
    read = {name for text in expressions(SCENARIO) for name in re.findall(rf"#{model['output']}\.(\w+)", text)}
    assert read == set(contract.outputs.input_names())
    sent = record(parameters(only("Sink"))["Value"])
    assert [*sent] == [USER_ID, ITEM_IDS, "preds"]
    assert sent[ITEM_IDS] == f"#{model['output']}.itemIds"
    assert sent[USER_ID] == parameters(model)["userId"] == parameters(only("CustomNode"))["groupBy"]


def test_no_secret_no_address_and_a_readme_that_names_what_there_is():
    text = (FOLDER / "page_views_to_recommendations.json").read_text() + (FOLDER / "page_views.jsonl").read_text()
    assert not re.search(r"shp[a-z]{2}_|https?://|[Tt]oken|[Ss]ecret|[Pp]assword|@", text)
    topics = {parameters(only(kind))["Topic"].strip("'") for kind in ("Source", "Sink")}
    names = [*NODES, *topics, METAOBJECT_TYPE, DEFINITION["fieldDefinitions"][0]["key"], "SLIREC_HMAC_SECRET"]
    assert [name for name in names if name not in README] == []
    assert all((FOLDER / name).is_file() for name in re.findall(r"\]\(([\w.]+)\)", README))


def mapped():
    """What the scenario makes of the sample events: one request for the model after each view that it lets through.

    The expressions are read here by their patterns; the rest of the language is not evaluated.
    """
    pages = re.search(r"'(\w+)'.*matches\('(.+)'\)", NODES["Only product pages"]["expression"]["expression"])
    item = re.search(r"replaceAll\('(.+)', '(.+)'\)", next(expressions(NODES["View"])))
    window = parameters(only("CustomNode", nodeType="aggregate-sliding"))
    length = re.fullmatch(r"T\(java\.time\.Duration\)\.parse\('PT(\d+)M'\)", window["windowLength"])
    assert int(length[1]) == 5 and window["emitWhenEventLeft"] == "false" and window["aggregator"] == "#AGG.list"
    pair = record(window["aggregateBy"])
    asked = parameters(only("Enricher"))
    views = defaultdict(list)
    for event in EVENTS:
        page = event["record"]["consumerRecord"]["value"]
        if page["event_name"] != pages[1] or not re.fullmatch(pages[2], page["page_urlpath"]):
            continue
        shopper = page.get("user_id") or page["domain_userid"]
        time = str(round(datetime.fromisoformat(page["derived_tstamp"]).timestamp() * 1000))
        view = {"item": re.sub(item[1], item[2].replace("$", "\\"), page["page_urlpath"]), "timestamp": time}
        assert {value.removeprefix("#view.") for value in pair.values()} == view.keys() == pair.keys()
        views[shopper].append((event["timestamp"], view))
        inside = [view for at, view in views[shopper] if at > event["timestamp"] - 60_000 * int(length[1])]
        lists = {
            name: [view[re.fullmatch(r"#views\.!\[#this\.(\w+)\]", asked[name])[1]] for view in inside]
            for name in ("items", "timestamps")
        }
        yield {"userId": shopper, **lists}


def test_sample_events_are_as_the_designer_reads_them():
    (source,) = (id_ for id_, node in NODES.items() if node["type"] == "Source")
    for event in EVENTS:
        assert event.keys() == {"sourceId", "record", "timestamp"}
        consumed = event["record"]["consumerRecord"]
        assert event["sourceId"] == source and f"'{consumed['topic']}'" == parameters(NODES[source])["Topic"]
        assert event["timestamp"] == consumed["timestamp"]
        at = datetime.fromisoformat(consumed["value"]["derived_tstamp"]).timestamp()
        assert event["timestamp"] == round(at * 1000)
    assert len(EVENTS) <= 20  # what the designer takes unless it is told otherwise
    requests = list(mapped())
    assert [len(request["items"]) for request in requests] == [1, 2, 1, 3, 1, 4, 2]
    handles = load_inventory(REPOSITORY / "training" / "inventory.pkl").handle_to_id_dict
    assert {item for request in requests for item in request["items"]} - handles.keys() == {"sold-out-and-deleted"}


@pytest.fixture
def shop(store, tmp_path):
    """A model of the products of the sample events, which the shop has, too."""
    handles = [*dict.fromkeys(item for request in mapped() for item in request["items"])][:5]
    handles = [handle for handle in handles if handle != "sold-out-and-deleted"] + ["hat", "scarf", "gloves"]
    made = 'mutation { productSet(input: {title: "%s", handle: "%s", status: ACTIVE}) { product { id } } }'
    gids = [store.execute(made % (h, h))["data"]["productSet"]["product"]["id"] for h in handles]
    bundle = build_large_bundle(tmp_path / "bundle", products=len(handles))
    for name, columns in (
        ("catalogue", {"handle": handles, "gid": gids}),
        ("vocabulary_item", {"value": [None, *handles]}),
    ):
        table = pq.read_table(bundle / f"{name}.parquet")
        for column, values in columns.items():
            table = table.set_column(table.column_names.index(column), column, pa.array(values))
        pq.write_table(table, bundle / f"{name}.parquet")
    sizes = {"num_items": len(handles) + 1, "num_categories": 3, "num_users": 4, "num_products": len(handles)}
    seal(bundle, sizes={**sizes, "max_seq_length": 50})
    return SimpleNamespace(bundle=bundle, gid=dict(zip(handles, gids, strict=True)))


def test_sample_events_become_metaobjects(store, client, shop, tmp_path):
    """Events, window, model, topic, publish_recommendations, shop: each shopper's entry has the answer to the last."""
    model = SliRecShopifyModel()
    model.load_context(SimpleNamespace(artifacts={"bundle": str(shop.bundle)}, model_config={}))
    sent = {}
    with (path := tmp_path / "topic.jsonl").open("w") as topic:
        for request in mapped():
            (answer,) = model.predict(None, pd.DataFrame([request]), {"with_message": True})
            unknown = "sold-out-and-deleted" in request["items"]
            assert bool(answer["message"]) == unknown
            assert answer["itemIds"] and not {shop.gid.get(item) for item in request["items"]} & {*answer["itemIds"]}
            sent[request["userId"]] = answer["itemIds"]
            topic.write(
                json.dumps({USER_ID: request["userId"], ITEM_IDS: answer["itemIds"], "preds": answer["preds"]}) + "\n"
            )
    ids = ShopperIds(SecretStr(HMAC_SECRET))
    done = publish_recommendations(client, path, ids)
    assert (done.result.published, done.file.repeated, done.file.bad) == (3, 4, 0)
    entries = list(store.state.scan("Metaobject"))
    assert {entry["type"] for entry in entries} == {METAOBJECT_TYPE}
    fields = {entry["handle"]: {field["key"]: field["value"] for field in entry["fields"]} for entry in entries}
    assert {h: {k: json.loads(v) for k, v in f.items()} for h, f in fields.items()} == {
        ids.handle_of(shopper): {DEFINITION["fieldDefinitions"][0]["key"]: products}
        for shopper, products in sent.items()
    }
