import base64
import json
import sys
from types import ModuleType

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scripts.ml.import_snowplow import import_snowplow, lines_of
from scripts.ml.import_snowplow_events import (
    BOT_AGENT,
    enriched_transform,
    handle_of,
    milliseconds_of,
    product_events,
    records_of,
)

SHOP = "iglu:com.snowplowanalytics.snowplow"
PAGE = "https://shop.example/products/mug"

# Places of the fields of an enriched event, of 131: docs.snowplow.io, "Understanding the enriched TSV format".
PLACES = {
    "app_id": 0,
    "collector_tstamp": 3,
    "dvce_created_tstamp": 4,
    "event": 5,
    "event_id": 6,
    "user_id": 12,
    "domain_userid": 15,
    "page_url": 29,
    "contexts": 52,
    "se_action": 54,
    "unstruct_event": 58,
    "ti_sku": 68,
    "ti_quantity": 72,
    "useragent": 77,
    "domain_sessionid": 123,
    "derived_tstamp": 124,
}


def raw(event, **parameters):
    (record,) = records_of(json.dumps({"e": event, **parameters}), None)
    return record


def described(name, data, encoded=False):
    document = {"schema": f"{SHOP}/unstruct_event/jsonschema/1-0-0", "data": {"schema": name, "data": data}}
    return {"ue_px" if encoded else "ue_pr": packed(document) if encoded else json.dumps(document)}


def entities(*pairs, encoded=False):
    data = [{"schema": schema, "data": entity} for schema, entity in pairs]
    document = {"schema": f"{SHOP}/contexts/jsonschema/1-0-1", "data": data}
    return {"cx" if encoded else "co": packed(document) if encoded else json.dumps(document)}


def packed(document):
    return base64.urlsafe_b64encode(json.dumps(document).encode()).decode().rstrip("=")


ACTION = f"{SHOP}.ecommerce/snowplow_ecommerce_action/jsonschema/1-0-2"
PRODUCT = f"{SHOP}.ecommerce/product/jsonschema/1-0-0"
TRANSACTION = f"{SHOP}.ecommerce/transaction/jsonschema/1-0-0"


def found(record, known=None):
    return [(event.kind, event.name, event.quantity, event.basket) for event in product_events(record, known)]


@pytest.mark.parametrize(
    ("url", "handle"),
    [
        (PAGE, "mug"),
        (f"{PAGE}/?variant=1#reviews", "mug"),
        ("https://shop.example/en-gb/collections/all/products/caf%C3%A9-cup", "café-cup"),
        ("/products/mug", "mug"),
        ("https://shop.example/products/", None),
        ("https://shop.example/products/mug/reviews", None),
        ("https://shop.example/search?q=/products/mug", None),
        ("https://shop.example/byproducts/mug", None),
        ("https://[broken/products/mug", None),
        (None, None),
    ],
)
def test_handles_of_product_pages(url, handle):
    assert handle_of(url) == handle


def test_times_of_trackers_and_of_enriched_events():
    assert milliseconds_of("1760000000123") == milliseconds_of(1760000000123) == 1760000000123
    assert milliseconds_of("2025-10-09T08:53:20.123Z") == 1760000000123
    assert milliseconds_of("2025-10-09 08:53:20.123") == 1760000000123
    assert [milliseconds_of(value) for value in (None, "", "soon", -5, 1.5, "9" * 30)] == [None] * 6


@pytest.mark.parametrize(
    ("agent", "bot"),
    [
        ("Mozilla/5.0 (compatible; bingbot/2.0)", True),
        ("Mozilla/5.0 (X11) AppleWebKit/537.36 HeadlessChrome/120.0", True),
        ("python-requests/2.32", True),
        ("facebookexternalhit/1.1", True),
        ("Mozilla/5.0 (Linux; Android 13; CUBOT P80) AppleWebKit/537.36 Chrome/120.0 Mobile Safari/537.36", False),
        ("Mozilla/5.0 (Macintosh; Intel Mac OS X 14_0) AppleWebKit/605.1.15 Version/17.0 Safari/605.1.15", False),
    ],
)
def test_bots_by_their_user_agent(agent, bot):
    assert bool(BOT_AGENT.search(agent)) == bot


def test_views_carts_and_purchases_of_every_plugin():
    assert found(raw("pv", url=PAGE)) == [("view", "mug", None, None)]
    assert found(raw("se", se_ac="add-to-basket", se_la="A1")) == [("cart", "A1", None, None)]
    assert found(raw("se", se_ac="play", url=PAGE)) == []
    assert found(raw("ti", url=PAGE, ti_id="o1", ti_sk="A1", ti_qu="2")) == [("purchase", "A1", 2, "o1")]
    for encoded in (False, True):
        old = described(f"{SHOP}/add_to_cart/jsonschema/1-0-0", {"sku": "A1", "quantity": 3}, encoded)
        assert found(raw("ue", **old)) == [("cart", "A1", 3, None)]
        view = described(ACTION, {"type": "product_view"}, encoded)
        assert found(raw("ue", **view, **entities((PRODUCT, {"id": "A1"}), encoded=encoded))) == [
            ("view", "A1", None, None)
        ]
        assert found(raw("ue", **view, url=PAGE)) == [("view", "mug", None, None)]
    bought = entities(
        (PRODUCT, {"id": "A1", "quantity": 2}), (PRODUCT, {"id": 7}), (TRANSACTION, {"transaction_id": "o"})
    )
    transaction = raw("ue", url=PAGE, **described(ACTION, {"type": "transaction"}), **bought)
    assert found(transaction) == [("purchase", "A1", 2, "o"), ("purchase", "7", None, "o")]
    assert found(raw("ue", **described(ACTION, {"type": "refund"}), **bought)) == []
    assert found(raw("ue", url=PAGE, **described(f"{SHOP}/link_click/jsonschema/1-0-1", {}))) == []


def test_an_event_on_a_product_page_is_about_that_product_unless_it_names_another_known_one():
    cart = raw("ue", url=PAGE, **described(f"{SHOP}/add_to_cart/jsonschema/1-0-0", {"sku": "pen"}))
    assert found(cart)[0][1] == "mug"
    assert found(cart, {"mug", "pen"})[0][1] == "pen"
    assert found(cart, {"mug"})[0][1] == "mug"
    assert found(cart, {"cup"})[0][1] == "mug"


@pytest.mark.parametrize("line", ["", "5", '"text"', "[1]", "{", '{"schema": "s"}', '{"schema": "s", "data": [3]}'])
def test_lines_that_are_no_events_are_refused(line):
    with pytest.raises(ValueError):
        records_of(line, None)


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["data", "schema", "type"]), inner),
    max_leaves=5,
)
parameters = st.dictionaries(
    st.sampled_from(["e", "url", "duid", "dtm", "ttm", "ue_pr", "ue_px", "co", "cx", "ti_sk", "ti_qu", "se_ac", "eid"]),
    st.sampled_from(["pv", "se", "ue", "ti", PAGE, "add_to_cart", '{"data": 5}', '{"data": [{"data": {}}]}']) | values,
)


@settings(max_examples=40, deadline=None)
@given(st.lists(parameters, min_size=1, max_size=4))
def test_no_event_however_odd_stops_an_import(odd):
    good = {"e": "pv", "url": PAGE, "duid": "u", "dtm": "1760000000000", "eid": "mine"}
    result, report = import_snowplow([(json.dumps([*odd, good]), None)])
    assert (result["item_handle"] == "mug").any()
    assert report.rows_out == result.height


@pytest.fixture
def sdk(monkeypatch):
    """The SDK; where it is not installed, what it does with the fields of this test."""
    try:
        import snowplow_analytics_sdk.event_transformer as module
    except ImportError:
        module = ModuleType("snowplow_analytics_sdk.event_transformer")
        module.transform = transform
        monkeypatch.setitem(sys.modules, "snowplow_analytics_sdk", ModuleType("snowplow_analytics_sdk"))
        monkeypatch.setitem(sys.modules, "snowplow_analytics_sdk.event_transformer", module)
    return module


def transform(line, add_geolocation_data=True):
    fields = line.split("\t")
    if len(fields) != 131:
        raise Exception(f"Expected 131 fields, received {len(fields)} fields.")
    record = {name: fields[place] for name, place in PLACES.items() if fields[place]}
    for name in [name for name in record if name.endswith("_tstamp")]:
        record[name] = record[name].replace(" ", "T") + "Z"
    for item in json.loads(record.pop("contexts", '{"data": []}'))["data"]:
        record.setdefault(f"contexts_{key(item['schema'])}", []).append(item["data"])
    if "unstruct_event" in record:
        inner = json.loads(record.pop("unstruct_event"))["data"]
        record[f"unstruct_event_{key(inner['schema'])}"] = inner["data"]
    return record


def key(schema):
    vendor, name, _, version = schema.removeprefix("iglu:").split("/")
    return f"{vendor.replace('.', '_')}_{name}_{version[0]}"


def enriched(**fields):
    line = [""] * 131
    for name, value in fields.items():
        line[PLACES[name]] = value
    return "\t".join(line)


def test_enriched_events_are_read_by_the_sdk(sdk, tmp_path):
    common = {
        "app_id": "shop",
        "domain_userid": "u1",
        "collector_tstamp": "2025-10-09 08:53:25.000",
        "domain_sessionid": "s1",
        "useragent": "Mozilla/5.0",
    }
    action = described(ACTION, {"type": "transaction"})["ue_pr"]
    bought = entities((PRODUCT, {"id": "pen", "quantity": 2}), (TRANSACTION, {"transaction_id": "o"}))["co"]
    lines = [
        enriched(**common, event="page_view", page_url=PAGE, derived_tstamp="2025-10-09 08:53:20.123", event_id="a"),
        enriched(**common, event="unstruct", unstruct_event=action, contexts=bought, event_id="b"),
        enriched(**common, event="transaction_item", ti_sku="cup", ti_quantity="1", event_id="c"),
        "shop\tweb",
    ]
    path = tmp_path / "events.tsv"
    path.write_text("\n".join(lines) + "\n")
    result, report = import_snowplow(lines_of(path))
    assert result.rows() == [
        (1, "u1", "mug", 1760000000, "Uncategorized", "view", 1.0, None, None, "s1"),
        (1, "u1", "pen", 1760000005, "Uncategorized", "purchase", 5.0, 2, "o", "s1"),
        (1, "u1", "cup", 1760000005, "Uncategorized", "purchase", 5.0, 1, None, "s1"),
    ]
    assert report.dropped == {"line that cannot be read": 1}
    with pytest.raises(ValueError, match="not a line of enriched TSV"):
        records_of("shop\tweb", enriched_transform())
