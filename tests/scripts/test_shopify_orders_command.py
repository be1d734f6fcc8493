"""The command line of export_orders, against the local shop."""

import functools

import pytest
from conftest import HMAC_SECRET
from shop_interruptions import interrupted_at
from shop_orders import Shop, lines_of

from scripts.shopify import export_orders as command
from scripts.shopify.client import ShopifyClient
from training.data.inventory import inventory_from_records, save_inventory


@pytest.fixture
def shop(store):
    return Shop(store)


@pytest.fixture
def quick(monkeypatch, fake_time):
    """Waits of the command take no time, and its clock is the shop's."""
    client = functools.partial(ShopifyClient, sleep=fake_time.sleep, clock=fake_time.clock)
    monkeypatch.setattr(command, "ShopifyClient", client)
    monkeypatch.setattr(command.time, "time", fake_time.clock)


def test_command_line(store, shop, shop_environment, quick, tmp_path, capsys):
    snapshot, output = tmp_path / "snapshot.json", tmp_path / "orders.tsv"
    hat = {"id": shop.products["hat"]["id"], "handle": "hat", "title": "Hat", "category": "Headgear"}
    save_inventory(inventory_from_records([hat]), snapshot)
    shop.order("ann", "hat", "ball")
    arguments = [str(output), "--since", "2026-01-01", "--inventory", str(snapshot)]
    assert command.main([*arguments, "--dry-run"]) == 0
    assert capsys.readouterr().out.endswith(f"would be written to {output}\n")
    assert not output.exists()
    store.access.scopes = frozenset(("read_orders", "read_customers", "read_products"))
    shop.order("bob", "sock", at=int(store.clock()))
    assert command.main(arguments) == 0
    captured = capsys.readouterr()
    warnings = [line for line in captured.err.splitlines() if line.startswith("warning:")]
    assert warnings[0].startswith(
        "warning: without the access scope read_all_orders Shopify shows the orders of the last"
    )
    assert warnings[1].startswith(f"warning: 1 of 1 products are not in {snapshot}; they have their product type")
    assert captured.out.splitlines()[1] == f"1 interactions of 1 shoppers with 1 products written to {output}"
    assert [line[4] for line in lines_of(output)] == ["Clothing"]
    store.access.scopes |= {"read_all_orders"}
    (tmp_path / "orders.tsv.state.parquet").write_bytes(b"")
    assert command.main([*arguments, "--full"]) == 0
    assert [line[4] for line in lines_of(output)] == ["Headgear", "Uncategorized", "Clothing"]
    warnings = [line for line in capsys.readouterr().err.splitlines() if line.startswith("warning:")]
    assert warnings[0].startswith("warning: the state of the earlier export could not be read; it is kept as ")
    assert f"{output}.state.parquet.bad, and all orders" in warnings[0]


def test_command_line_errors(store, shop, shop_environment, quick, tmp_path, capsys, monkeypatch):
    arguments = [str(tmp_path / "orders.tsv"), "--since", "2026-01-01"]
    assert command.main(arguments) == 1
    assert command.main([*arguments, "--inventory", str(tmp_path / "absent.pkl")]) == 1
    store.access.scopes = frozenset(("read_products",))
    assert command.main(arguments) == 1
    monkeypatch.setenv("SLIREC_HMAC_SECRET", "short")
    assert command.main(arguments) == 1
    monkeypatch.setenv("SLIREC_HMAC_SECRET", HMAC_SECRET)
    errors = [line for line in capsys.readouterr().err.splitlines() if line.startswith("error:")]
    assert [error.split(":")[1][:40] for error in errors] == [
        " local-dev-store.myshopify.com has no or",
        " `path` should be an inventory snapshot ",
        " The token for local-dev-store.myshopify",
        " `SLIREC_HMAC_SECRET` should have at lea",
    ]
    assert command.main([str(tmp_path), *arguments[1:]]) == 1
    assert "`output` should be a file" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        command.main([arguments[0], "--since", "last week"])
    with interrupted_at(3):
        store.access.scopes |= {"read_orders", "read_customers"}
        assert command.main(arguments) == 130
    assert "start again" in capsys.readouterr().err
