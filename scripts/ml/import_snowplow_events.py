"""Snowplow's events, enriched TSV or the tracker's raw payloads, read into records and then into product events.

Both formats become records with the field names of enriched events, as `snowplow-analytics-sdk` makes them. See
https://docs.snowplow.io/docs/collecting-data/collecting-from-own-applications/snowplow-tracker-protocol/ for the raw
parameters and https://docs.snowplow.io/docs/events/ootb-data/ecommerce-events for product events.
"""

import base64
import json
import re
from collections.abc import Callable, Collection, Iterator, Mapping
from datetime import UTC, datetime
from typing import Any, Final, NamedTuple
from urllib.parse import unquote, urlsplit

Record = Mapping[str, Any]
Transform = Callable[[str], Record]

BOT_AGENT: Final = re.compile(
    # `bot`, but not the phones of CUBOT; then crawlers, page previews, monitors and programs that are not browsers.
    r"(?<!cu)bot|crawl|spider|slurp|facebookexternalhit|bingpreview|headless|phantomjs|lighthouse|pagespeed|pingdom"
    r"|gtmetrix|^curl/|^wget/|^python-|^java/|^okhttp/|^go-http-client",
    re.IGNORECASE,
)
"""User agents that are no shoppers; those that do not say so cannot be told by their name."""

_PRODUCT_PATH = re.compile(r"/products/([^/]+)/?$")
_ECOMMERCE = "com_snowplowanalytics_snowplow_ecommerce"
_ACTION = f"unstruct_event_{_ECOMMERCE}_snowplow_ecommerce_action_1"
_PRODUCTS = f"contexts_{_ECOMMERCE}_product_1"
_TRANSACTIONS = f"contexts_{_ECOMMERCE}_transaction_1"
_ADD_TO_CART = "unstruct_event_com_snowplowanalytics_snowplow_add_to_cart_1"
_ACTION_KINDS = {"product_view": "view", "add_to_cart": "cart", "transaction": "purchase"}
_CART_WORDS = frozenset({"addtocart", "addtobasket", "addtobag"})

_EVENTS = {"pv": "page_view", "pp": "page_ping", "se": "struct", "ue": "unstruct", "tr": "transaction"}
_EVENTS["ti"] = "transaction_item"
_FIELDS = {
    "eid": "event_id",
    "duid": "domain_userid",
    "uid": "user_id",
    "sid": "domain_sessionid",
    "url": "page_url",
    "ua": "useragent",
    "se_ac": "se_action",
    "se_la": "se_label",
    "ti_id": "ti_orderid",
    "ti_sk": "ti_sku",
    "ti_qu": "ti_quantity",
}
_TIMES = ("true_tstamp", "derived_tstamp", "collector_tstamp", "dvce_created_tstamp")  # the first that there is
_RAW_TIMES = {"ttm": "true_tstamp", "dtm": "dvce_created_tstamp"}
_SCHEMA = re.compile(r"iglu:([\w.-]+)/([\w-]+)/[\w-]+/(\d+)-\d+-\d+")


class ProductEvent(NamedTuple):
    """One event about one product; None where the tracker did not say.

    Attributes:
        event_id: Same for events sent twice, and for the products of one event.
        browser: Domain user id.
        login: User id that the shop gave the tracker.
        session: Domain session id.
        milliseconds: Since 1970, UTC.
        agent: User agent.
        kind: `view`, `cart` or `purchase`.
        name: Handle from the page's address, or what the event calls the product.
        quantity: Pieces.
        basket: Id of the order.
    """

    event_id: str | None
    browser: str | None
    login: str | None
    session: str | None
    milliseconds: int | None
    agent: str | None
    kind: str
    name: str
    quantity: int | None
    basket: str | None


def enriched_transform() -> Transform:
    """Returns the kept SDK's function from a line of enriched TSV to a record.

    Raises:
        ModuleNotFoundError: If the package is not installed.
    """
    try:
        from snowplow_analytics_sdk.event_transformer import transform
    except ImportError as error:
        raise ModuleNotFoundError(
            "Enriched TSV is read with the package snowplow-analytics-sdk, which is not installed. Install it with "
            '`pip install -e ".[snowplow]"`, or give the tracker\'s raw JSON payloads'
        ) from error
    return lambda line: transform(line, add_geolocation_data=False)


def records_of(line: str, transform: Transform | None) -> list[Record]:
    """Returns the records in a line.

    Args:
        line: A line of enriched TSV; or JSON: one event's parameters, a list of them, or a POST payload
            `{"schema": ..., "data": [...]}`.
        transform: From a line of TSV to a record; None reads JSON.

    Raises:
        ValueError: If the line is neither.
    """
    if transform is not None:
        try:
            return [transform(line.rstrip("\r\n"))]
        except Exception as error:  # the SDK's own exception does not derive from a common one
            raise ValueError(f"not a line of enriched TSV: {error}") from error
    document = json.loads(line)
    events = document.get("data") if isinstance(document, dict) and "schema" in document else document
    events = [events] if isinstance(events, dict) else events
    if not isinstance(events, list) or not all(isinstance(event, dict) for event in events):
        raise ValueError("not an event, a list of events or a payload of them")
    return [_record(event) for event in events]


def _record(parameters: Mapping[str, Any]) -> Record:
    """Returns the record of one event's raw parameters; parts that cannot be read are left out."""
    record: dict[str, Any] = {"event": _EVENTS.get(str(parameters.get("e")), "other")}
    for short, name in _FIELDS.items():
        if (value := parameters.get(short)) not in (None, ""):
            record[name] = str(value)
    for short, name in _RAW_TIMES.items():
        if (value := parameters.get(short)) not in (None, ""):
            record[name] = value
    for schema, data in _self_describing(parameters, "ue"):
        record[f"unstruct_event_{schema}"] = data
    for schema, data in _self_describing(parameters, "c"):
        record.setdefault(f"contexts_{schema}", []).append(data)
    return record


def _self_describing(parameters: Mapping[str, Any], what: str) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Yields (schema as in field names, data) of the self-describing event (`ue`) or of the entities (`c`)."""
    plain, encoded = ("ue_pr", "ue_px") if what == "ue" else ("co", "cx")
    try:
        text = parameters.get(plain)
        if not text and (packed := parameters.get(encoded)):
            text = base64.urlsafe_b64decode(packed + "=" * (-len(packed) % 4))
        inner = json.loads(text)["data"] if text else []
    except (ValueError, TypeError, KeyError):
        return
    for item in inner if isinstance(inner, list) else [inner]:
        if not isinstance(item, dict) or not isinstance(item.get("data"), dict):
            continue
        if match := _SCHEMA.fullmatch(str(item.get("schema"))):
            yield f"{match[1].replace('.', '_')}_{match[2].replace('-', '_')}_{match[3]}".lower(), item["data"]


def product_events(record: Record, known: Collection[str] | None = None) -> list[ProductEvent]:
    """Returns what a record says about products; nothing if it is about something else.

    A view is a page view of `/products/HANDLE` or a `product_view`; cart is an `add_to_cart` of either e-commerce
    plugin, or a structured event with that action (also `add-to-basket`), whose label names the product; purchase is
    an item of a transaction of either plugin.

    Args:
        record: Field names of enriched events.
        known: Names of products. Where an event both names a product and happened on a product's page, its own name
            goes first if it is known; without `known` the page does, because an article number is no handle.
    """
    event = record.get("event")
    page = handle_of(record.get("page_url"))
    basket: Any = None
    named: list[tuple[Any, Any]]  # (name, quantity)
    if event == "page_view":
        kind, named = "view", [(None, None)]
    elif event == "transaction_item":
        kind, named, basket = "purchase", [(record.get("ti_sku"), record.get("ti_quantity"))], record.get("ti_orderid")
        page = None  # a page on which several items are bought is none of theirs
    elif event == "struct" and re.sub("[^a-z]", "", str(record.get("se_action")).lower()) in _CART_WORDS:
        kind, named = "cart", [(record.get("se_label"), None)]
    elif isinstance(data := record.get(_ADD_TO_CART), Mapping):
        kind, named = "cart", [(data.get("sku"), data.get("quantity"))]
    elif isinstance(data := record.get(_ACTION), Mapping) and data.get("type") in _ACTION_KINDS:
        kind = _ACTION_KINDS[data["type"]]
        products = _entities(record, _PRODUCTS) or ([] if kind == "purchase" else [{}])
        named = [(product.get("id"), product.get("quantity")) for product in products]
        if kind == "purchase":
            page = None
            basket = next((order.get("transaction_id") for order in _entities(record, _TRANSACTIONS)), None)
    else:
        return []
    found: list[ProductEvent] = []
    for own, quantity in named:
        names = [str(name) for name in ((own, page) if known is not None else (page, own)) if name]
        if names:
            name = names[0] if known is None else next((name for name in names if name in known), names[-1])
            found.append(_product_event(record, kind, name, quantity if kind != "view" else None, basket))
    return found


def _entities(record: Record, key: str) -> list[Mapping[str, Any]]:
    return [entity for entity in record.get(key) or () if isinstance(entity, Mapping)]


def _product_event(record: Record, kind: str, name: str, quantity: Any, basket: Any) -> ProductEvent:
    return ProductEvent(
        event_id=record.get("event_id"),
        browser=record.get("domain_userid"),
        login=record.get("user_id"),
        session=record.get("domain_sessionid"),
        milliseconds=next((time for key in _TIMES if (time := milliseconds_of(record.get(key))) is not None), None),
        agent=record.get("useragent"),
        kind=kind,
        name=name,
        quantity=_whole(quantity),
        basket=None if basket is None else str(basket),
    )


def handle_of(url: Any) -> str | None:
    """Returns the handle in a product page's address, percent-decoded; None where it is no product page.

    `https://shop.example/en/collections/mugs/products/blue%20mug?variant=1` gives `blue mug`.
    """
    try:
        match = _PRODUCT_PATH.search(urlsplit(str(url)).path)
    except ValueError:  # an address that is none
        return None
    return unquote(match[1]).strip() or None if match else None


def milliseconds_of(value: Any) -> int | None:
    """Returns a tracker's time (milliseconds) or an enriched one (ISO, UTC) in milliseconds; None if it is neither."""
    text = str(value)
    if re.fullmatch(r"[0-9]{1,15}", text):
        return int(text)
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        return None
    return round(moment.replace(tzinfo=moment.tzinfo or UTC).timestamp() * 1000)


def _whole(value: Any) -> int | None:
    try:
        number = int(float(value))
    except (TypeError, ValueError, OverflowError):
        return None
    return number if 0 <= number < 2**53 else None
