"""No token, client secret or HMAC secret reaches an output, a log, an exception, a repr or a file."""

import base64
import contextlib
import io
import json
import logging
import tempfile
import traceback
from pathlib import Path
from urllib.parse import quote, quote_plus

import pytest
import requests
from IPython.lib.pretty import pretty
from pydantic import SecretStr

from scripts.shopify import (
    cleanup,
    export_orders,
    populate_inventory,
    prepare_inventory_snapshot,
    publish_recommendations,
)
from scripts.shopify.answers import ShopifyError
from scripts.shopify.client import ShopifyClient
from scripts.shopify.dev_store import DevStore
from scripts.shopify.dev_store.orders import add_customer, add_order
from scripts.shopify.inventory import catalogue_inventory
from scripts.shopify.settings import Settings, SettingsError
from scripts.shopify.shopper_ids import ShopperIds
from training.data.inventory import inventory_from_records, save_inventory

TOKEN = "shpat_t0k/EN+stat1c=zq~0123456789abcdef"
CLIENT_SECRET = "shpss_cl1/ENT+s3cret=zq~fedcba9876543210"
HMAC_SECRET = "hmac/K3Y+of-the-shop=zq~0f1e2d3c4b5a69788796"
FAULTS = (
    "throttled",
    "429",
    "500",
    "502",
    "internal",
    "drop",
    "drop after",
    "expired",
    "slow",
    "old version",
    "html",
    "redirect",
    "404",
    "string",
    "denied",
    "bulk failed",
    "cut",
)
SMALL = inventory_from_records(catalogue_inventory().products[:3])
COMMANDS = {
    "populate": populate_inventory,
    "snapshot": prepare_inventory_snapshot,
    "export": export_orders,
    "publish": publish_recommendations,
    "cleanup": cleanup,
}


def leaks(text: str, secret: str) -> list[str]:
    """What of a secret is in a text: any twelve characters of it in a row, or all of it in another form."""
    plain = secret.encode()
    forms = [secret[start : start + 12] for start in range(len(secret) - 11)]
    forms += [quote(secret, safe=""), quote_plus(secret), json.dumps(secret)[1:-1], plain.hex()]
    for shift in range(3):  # base64 depends on where in the text a secret starts; its first and last digits on others
        encoded = base64.b64encode(b"\0" * shift + plain).decode().rstrip("=")[4:-1]
        forms += [encoded, encoded.replace("+", "-").replace("/", "_")]
    return [form for form in forms if form in text]


def test_leaks_are_found():
    for text in (
        f"token {TOKEN}",
        quote(TOKEN),
        f"secret={quote_plus(TOKEN)}&x=1",
        base64.b64encode(f"id:{TOKEN}".encode()).decode(),
        base64.urlsafe_b64encode(f"my-id:{TOKEN};".encode()).decode(),
        repr({"X-Shopify-Access-Token": TOKEN}),
        f"{TOKEN[:20]}...",
        TOKEN.encode().hex(),
    ):
        assert leaks(text, TOKEN) != []
    assert leaks("shpat_***", TOKEN) == leaks(CLIENT_SECRET, TOKEN) == leaks(HMAC_SECRET, TOKEN) == []


class Watch:
    """Everything that a command shows or leaves behind."""

    def __init__(self, store: DevStore, folder: Path):
        self.store, self.folder, self.texts = store, folder, [""]
        self.tokens, self.careless = {TOKEN}, True

    def order(self) -> None:
        """Somebody orders the first product."""
        lines = [{"title": "A product", "product": "gid://shopify/Product/1"}]
        add_order(self.store, customer=add_customer(self.store)["id"], lineItems=lines)

    def run(self, command: str, *arguments: str) -> int | str:
        """Runs a command line; returns its status, or the name of what it raised."""
        out, log = io.StringIO(), io.StringIO()
        handler = logging.StreamHandler(log)
        loggers = [logging.getLogger(), *(logging.getLogger(name) for name in logging.root.manager.loggerDict)]
        before = [(logger, logger.level) for logger in loggers]
        logging.root.addHandler(handler)
        try:
            for logger in loggers:
                logger.setLevel(logging.DEBUG)
                if not logger.propagate:
                    logger.addHandler(handler)
            with contextlib.redirect_stdout(out), contextlib.redirect_stderr(out):
                return COMMANDS[command].main(list(arguments))
        except Exception as error:
            self.texts += [repr(error), *traceback.format_exception(error)]
            return type(error).__name__
        finally:
            for logger, level in before:
                logger.setLevel(level)
                logger.removeHandler(handler)
            self.texts += [out.getvalue(), log.getvalue()]

    def assert_quiet(self) -> str:
        """Asserts that no secret is in what was shown, logged, raised or written; returns what was shown."""
        shown = "\n".join(self.texts)
        files = [path for path in self.folder.rglob("*") if path.is_file()]
        assert files
        for text in (shown, *(path.read_bytes().decode("latin-1") for path in files), *map(str, files)):
            for secret in (*self.tokens, CLIENT_SECRET, HMAC_SECRET):
                assert leaks(text, secret) == []
        return shown


@pytest.fixture
def watch(fake_time, tmp_path, monkeypatch):
    for callable_ in (ShopifyClient.__init__, cleanup.cleanup):
        monkeypatch.setitem(callable_.__kwdefaults__, "sleep", fake_time.sleep)
    monkeypatch.setitem(ShopifyClient.__init__.__kwdefaults__, "clock", fake_time.clock)
    folder = tmp_path / "run"
    (folder / "temporary").mkdir(parents=True)
    monkeypatch.chdir(folder)
    monkeypatch.setattr(tempfile, "tempdir", str(folder / "temporary"))
    with DevStore(clock=fake_time.clock, access_token=TOKEN, client_secret=CLIENT_SECRET) as store:
        watch = Watch(store, folder)
        for name, value in {**store.environment(), "SLIREC_HMAC_SECRET": HMAC_SECRET}.items():
            monkeypatch.setenv(name, value)
        monkeypatch.delenv("SHOPIFY_ACCESS_TOKEN", raising=False)
        store.faults.slow_seconds = 0.01
        grant = store.access.grant

        def remembered(form):
            status, answer = grant(form)
            watch.tokens |= {answer["access_token"]} if status == 200 else set()
            # A careless server says what it was given; what the client says of it must not.
            said = {"error_description": f"unknown client secret {form['client_secret']}"} if watch.careless else {}
            return status, answer | said

        monkeypatch.setattr(store.access, "grant", remembered)
        yield watch


def arguments(watch: Watch) -> dict[str, tuple[str, ...]]:
    """A complete run of every command, in the order in which they make sense."""
    users = [ShopperIds.from_environment().user_id_of(f"gid://shopify/Customer/{number}") for number in (1, 2)]
    rows = [{"userId": user, "itemIds": ["gid://shopify/Product/1", "gid://shopify/Product/999"]} for user in users]
    Path("recommendations.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return {
        "populate": ("--inventory", str(inventory_file())),
        "snapshot": ("snapshot.json",),
        "export": ("orders.tsv", "--since", "2020-01-01"),
        "publish": ("recommendations.jsonl",),
        "cleanup": ("--delete",),
    }


def inventory_file() -> Path:
    path = Path("inventory.json").resolve()
    save_inventory(SMALL, path)
    return path


@pytest.mark.parametrize("credentials", ["grant", "token"])
def test_commands_that_succeed(watch, monkeypatch, credentials):
    if credentials == "token":
        monkeypatch.setenv("SHOPIFY_ACCESS_TOKEN", TOKEN)
    for command, given in arguments(watch).items():
        assert (command, watch.run(command, *given)) == (command, 0)
        if command == "populate":
            watch.order()
    assert {path.name for path in Path().iterdir()} >= {"snapshot.json", "orders.tsv", "recommendations.jsonl"}
    assert "products" in watch.assert_quiet()


def test_commands_with_refused_credentials(watch, monkeypatch):
    every = arguments(watch)
    monkeypatch.setenv("SHOPIFY_CLIENT_SECRET", CLIENT_SECRET[:-1] + "x")
    assert [watch.run(command, *given) for command, given in every.items()] == [1] * 5
    assert "granted no token" in watch.assert_quiet()
    monkeypatch.setenv("SHOPIFY_ACCESS_TOKEN", TOKEN[:-1] + "x")
    assert [watch.run(command, *given) for command, given in every.items()] == [1] * 5
    assert "does not accept the token" in watch.assert_quiet()
    for variable, value in (
        ("SHOPIFY_ACCESS_TOKEN", f"{TOKEN}\nX: y"),
        ("SHOPIFY_STORE_URL", TOKEN),
        ("SHOPIFY_API_VERSION", CLIENT_SECRET),
        ("SHOPIFY_CLIENT_ID", CLIENT_SECRET),
    ):
        with monkeypatch.context() as patch:
            patch.setenv(variable, value)
            assert [watch.run(command, *given) for command, given in every.items()] == [1] * 5
    watch.assert_quiet()


@pytest.mark.parametrize("fault", FAULTS)
def test_commands_that_meet_faults(watch, fault):
    every = arguments(watch)
    populate_inventory.main(list(every["populate"]))
    watch.order()
    for period in (1, 2):
        watch.store.faults.every(period, [fault])
        for command, given in every.items():
            assert watch.run(command, *given) in (0, 1)
    assert watch.assert_quiet()


@pytest.mark.parametrize("stopped_at", [1, 2, 4, 8])
@pytest.mark.parametrize("cause", [KeyboardInterrupt, MemoryError])
def test_commands_that_are_stopped(watch, monkeypatch, stopped_at, cause):
    every = arguments(watch)
    populate_inventory.main(list(every["populate"]))
    watch.order()
    send = requests.Session.send
    for command, given in every.items():
        count = iter(range(1, 1000))

        def stopping(self, request, _count=count, **options):
            if next(_count) >= stopped_at:
                raise cause
            return send(self, request, **options)

        with monkeypatch.context() as patch:
            patch.setattr(requests.Session, "send", stopping)
            assert watch.run(command, *given) in ((0, 130) if cause is KeyboardInterrupt else (0, 1, "MemoryError"))
    shown = watch.assert_quiet()
    assert cause is MemoryError or "start again" in shown


def test_what_libraries_and_notebooks_show(watch, monkeypatch):
    settings = [Settings.from_environment()]
    monkeypatch.setenv("SHOPIFY_ACCESS_TOKEN", TOKEN)
    settings.append(Settings.from_environment())
    things = [*settings, ShopperIds.from_environment()]
    for one in settings:
        client = ShopifyClient(one)
        client.require_scopes("read_products")
        things += [client, client.__dict__, *client.__dict__.values(), one.model_dump(), one.model_dump_json()]
    for thing in things:
        inside = getattr(thing, "__dict__", {})
        watch.texts += [repr(thing), str(thing), f"{thing}", pretty(thing), repr(inside), pretty(inside)]
    with pytest.raises(SettingsError) as caught:
        Settings.from_environment({"SHOPIFY_STORE_URL": "x.myshopify.com", "SHOPIFY_ACCESS_TOKEN": f"{TOKEN} {TOKEN}"})
    watch.texts += [repr(caught.value), str(caught.value)]
    watch.careless = False
    refused = settings[0].model_copy(update={"client_secret": SecretStr(f"{CLIENT_SECRET}x")})
    watch.store.faults.every(1, ["string"])
    for one in (settings[1], refused):
        with pytest.raises(ShopifyError) as caught:
            ShopifyClient(one).require_scopes("read_products")
        error = caught.value
        watch.texts += [repr(error), str(error), repr(error.args), repr(error.__dict__)]
        # As tools that collect errors show them, with the local variables of every frame.
        watch.texts += traceback.TracebackException.from_exception(error, capture_locals=True).format()
    Path("one-file").write_text("")
    shown = watch.assert_quiet()
    assert "granted no token" in shown and "require_scopes" in shown
