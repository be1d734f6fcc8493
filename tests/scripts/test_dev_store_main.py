"""The local shop's command line, as a process of its own."""

import json
import os
import signal
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from small_shop import INVENTORY

from scripts.shopify.dev_store import DevStore
from scripts.shopify.dev_store.__main__ import SECRET, _exports, fill, main
from scripts.shopify.dev_store.access import HMAC_SECRET
from scripts.shopify.dev_store.catalogue import seed_products
from scripts.shopify.inventory import catalogue_inventory
from training.data.inventory import load_inventory, save_inventory

COMMAND = (sys.executable, "-m", "scripts.shopify.dev_store", "--port", "0")


@contextmanager
def started(*arguments: str) -> Iterator[dict[str, str]]:
    """Starts the shop, yields the variables that it prints, and stops it as Ctrl+C does."""
    environment = {name: value for name, value in os.environ.items() if name != SECRET}
    process = subprocess.Popen(
        (*COMMAND, *arguments), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment
    )
    lines: list[str] = []
    try:
        for line in process.stdout:
            lines.append(line)
            if line.startswith("# Storefront page:"):
                break
        yield dict(line.removeprefix("export ").strip().split("=", 1) for line in lines if line.startswith("export "))
    finally:
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=20)
    assert process.returncode == 0, errors
    kept = "its state is gone" if arguments[1] == ":memory:" else f"start it again with --path {arguments[1]} to go on"
    assert errors.endswith(f"Stopped; {kept}\n")


def ask(variables: dict[str, str], path: str, body: dict, **headers: str) -> dict:
    request = urllib.request.Request(
        variables["SHOPIFY_STORE_URL"] + path,
        json.dumps(body).encode(),
        {"Content-Type": "application/json", **{name.replace("_", "-"): value for name, value in headers.items()}},
    )
    with urllib.request.urlopen(request, timeout=10) as answer:
        return json.load(answer)


def test_newcomer_finds_a_filled_shop_again(tmp_path: Path) -> None:
    save_inventory(INVENTORY, tmp_path / "inventory.json")
    path = str(tmp_path / "new" / "shop.db")
    for arguments in (("--populate", "--inventory", str(tmp_path / "inventory.json")), ("--plan", "plus")):
        with started("--path", path, *arguments) as variables:
            assert variables[SECRET] == HMAC_SECRET
            form = {
                "grant_type": "client_credentials",
                "client_id": variables["SHOPIFY_CLIENT_ID"],
                "client_secret": variables["SHOPIFY_CLIENT_SECRET"],
            }
            token = ask(variables, "/admin/oauth/access_token", form)["access_token"]
            query = {"query": "{ productsCount { count } collections(first: 9) { nodes { title } } }"}
            answer = ask(variables, "/admin/api/2026-10/graphql.json", query, X_Shopify_Access_Token=token)
            with urllib.request.urlopen(variables["SHOPIFY_STORE_URL"], timeout=10) as page:
                assert b"X One" in page.read()
        assert answer["data"]["productsCount"] == {"count": 8}
        assert [node["title"] for node in answer["data"]["collections"]["nodes"]] == ["X", "Y"]
        bucket = answer["extensions"]["cost"]["throttleStatus"]["maximumAvailable"]
        assert bucket == (2000.0 if "--populate" in arguments else 20000.0)


def test_shop_in_memory_is_gone_afterwards() -> None:
    with started("--path", ":memory:") as variables:
        assert variables["SHOPIFY_STORE_URL"].startswith("http://127.0.0.1:")
    assert not Path(":memory:").exists()


def test_a_secret_of_ones_own_is_not_printed(store: DevStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(SECRET, "mine" * 8)
    lines = _exports(store)
    assert len(lines) == 4
    assert "mine" not in "".join(lines)
    assert lines[3] == f"# {SECRET} is the one of this shell"


def test_orders_are_made_once(store: DevStore) -> None:
    inventory = catalogue_inventory()
    seed_products(store, inventory.products)
    assert fill(store, inventory, products=False, orders=20) == "20 orders added"
    assert fill(store, inventory, products=False, orders=20) == "20 orders there already, none added"
    assert fill(store, inventory, products=False, orders=5) == "20 orders there already, none added"
    told = fill(store, inventory, products=False, orders=30)
    assert told == "20 orders there already, none added; for 30, start a new shop with another --path"
    assert store.state.count("Order") == 20


@pytest.mark.slow
def test_fill_adds_products_and_orders(store: DevStore) -> None:
    inventory = load_inventory("training/inventory.pkl")
    done = fill(store, inventory, products=True, orders=30)
    assert done == f"{len(inventory.products)} products created, 0 there already; 30 orders added"
    assert (store.plan, store.state.count("Product"), store.state.count("Order")) == (
        "plus",
        len(inventory.products),
        30,
    )
    assert (
        fill(store, inventory, products=True, orders=0)
        == f"0 products created, {len(inventory.products)} there already"
    )


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--port", "{port}"], "is taken"),
        (["--path", "{folder}"], "cannot be opened"),
        (["--path", "{text}"], "not a SQLite file"),
        (["--path", "{text}/shop.db"], "text.db: File exists"),
        (["--populate", "--inventory", "missing.json"], "missing.json"),
    ],
)
def test_problems_are_one_line(
    store: DevStore, tmp_path: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], message: str
) -> None:
    (tmp_path / "text.db").write_text("something else " * 100)
    names = {"port": store.url.rpartition(":")[2], "folder": tmp_path, "text": tmp_path / "text.db"}
    before = signal.getsignal(signal.SIGTERM)
    try:
        given = [argument.format(**names) for argument in arguments]
        status = main(["--path", str(tmp_path / "shop.db"), "--port", "0", *given])
    finally:
        signal.signal(signal.SIGTERM, before)
    error = capsys.readouterr().err
    assert "Errno" not in error
    assert "--inventory" not in given or not (tmp_path / "shop.db").exists()
    assert (status, error.count("\n"), error[:7]) == (1, 1, "error: ")
    assert message in error


def test_help_names_the_options(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["--help"])
    assert ended.value.code == 0
    assert "--fault-every" in capsys.readouterr().out


@pytest.mark.parametrize(
    "wrong",
    (
        ["--plan", "basic"],
        ["--orders", "-1"],
        ["--fault-every", "-1"],
        ["--port", "65536"],
        ["--port", "-1"],
        ["--scopes", "read_products", "read_minds"],
    ),
)
def test_wrong_arguments_are_refused(wrong: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(wrong)
    assert ended.value.code == 2
    error = capsys.readouterr().err
    assert error.startswith("usage: python -m scripts.shopify.dev_store ")
    assert wrong[0] in error.rpartition("error: ")[2]
    assert wrong[-1] in error
