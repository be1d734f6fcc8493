"""The command line of publish_recommendations, against the local shop."""

import functools

import pytest
from shop_interruptions import interrupted_at
from shop_recommendations import GONE, IDS, add_products, entries, file_of, many

from scripts.shopify import publish_recommendations as command
from scripts.shopify.client import ShopifyClient


@pytest.fixture
def products(store):
    return add_products(store)


@pytest.fixture
def quick(monkeypatch, fake_time):
    """Waits of the command take no time."""
    client = functools.partial(ShopifyClient, sleep=fake_time.sleep, clock=fake_time.clock)
    monkeypatch.setattr(command, "ShopifyClient", client)


def test_command_line(store, shop_environment, quick, products, tmp_path, capsys):
    rows = [("ann", products[:3]), ("bob", GONE), ("cy", [products[1], GONE[0]]), ("ann", products[4:6])]
    path = file_of(tmp_path, rows)
    assert command.main([str(path), "--dry-run"]) == 0
    assert "(dry run, nothing written): 4 rows: 2 would be published, 1 without products" in capsys.readouterr().out
    assert command.main([str(path), "--k", "2"]) == 0
    captured = capsys.readouterr()
    assert captured.out.endswith(
        ": 4 rows: 2 published, 1 without products, 0 failed, 0 unusable, 1 repeated; "
        "metaobject type slirec_recommendations was defined\n"
    )
    complaints = [line for line in captured.err.splitlines() if line.startswith(("warning", "error"))]
    assert complaints == [
        "warning: 1 rows are of shoppers with a row further down, which counts",
        "warning: 2 of 5 products are not in the shop (was the model trained on a snapshot of it?) and were left out: "
        "gid://shopify/Product/88888, gid://shopify/Product/99999",
        "warning: 1 shoppers have no products left: row 2",
    ]
    assert entries(store)[IDS.handle_of("ann")] == products[4:6]
    path.write_text(path.read_text() + "{}\n")
    assert command.main([str(path)]) == 1
    captured = capsys.readouterr()
    assert "error: row 5: `userId` should be text. Received: NoneType" in captured.err
    assert "4 rows" not in captured.out
    assert "1 unusable" in captured.out


def test_nothing_published_is_an_error(store, shop_environment, quick, products, tmp_path, capsys):
    path = str(file_of(tmp_path, [("ann", GONE[:1]), ("bob", GONE)]))
    for arguments in ([path, "--dry-run"], [path], [path, "--bulk", "always"]):
        assert command.main(arguments) == 1
        errors = [line for line in capsys.readouterr().err.splitlines() if line.startswith("error:")]
        assert errors == [
            "error: nothing to publish, none of the products is in this shop: was the model trained on a snapshot of "
            "it?"
        ]
    assert command.main([str(file_of(tmp_path, [("ann", [])]))]) == 1
    assert "error: nothing to publish, no row names a product" in capsys.readouterr().err
    # A few unknown ones are no reason to ask.
    assert command.main([str(file_of(tmp_path, [("ann", [*products[:9], GONE[0]])]))]) == 0
    assert "warning: 1 of 10 products are not in the shop and were left out: gid" in capsys.readouterr().err


def test_command_line_errors(store, shop_environment, quick, products, tmp_path, capsys, monkeypatch):
    path = str(file_of(tmp_path, many(products, 2)))
    assert command.main([str(tmp_path / "absent.parquet")]) == 1
    store.access.scopes = frozenset(("read_products", "read_metaobjects"))
    assert command.main([path]) == 1
    errors = [line for line in capsys.readouterr().err.splitlines() if line.startswith("error:")]
    assert errors[0].startswith("error: `input` should be a file of recommendations. Received: ")
    assert "lacks the access scopes read_metaobject_definitions, write_metaobject_definitions" in errors[1]
    monkeypatch.delenv("SLIREC_HMAC_SECRET")
    assert command.main([path]) == 1
    assert capsys.readouterr().err.startswith("error: set SLIREC_HMAC_SECRET")
    for k in ("0", "129", "x"):
        with pytest.raises(SystemExit):
            command.main([path, "--k", k])


def test_stopped_command_says_how_to_go_on(store, shop_environment, quick, products, tmp_path, capsys):
    with interrupted_at(4):
        assert command.main([str(file_of(tmp_path, many(products, 9)))]) == 130
    assert capsys.readouterr().err.splitlines()[-1].startswith("Stopped; start again with the same file")
