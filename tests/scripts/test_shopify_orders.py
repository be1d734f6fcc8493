"""export_orders against the local shop."""

import numpy as np
import polars as pl
import pytest
from conftest import HMAC_SECRET
from pydantic import SecretStr
from shop_interruptions import interrupted_at
from shop_orders import DAY, FEB, SINCE, Shop, lines_of

from scripts.shopify import export_orders as command
from scripts.shopify.answers import ShopifyError
from scripts.shopify.export_orders import export_orders
from scripts.shopify.order_lines import iso_time
from scripts.shopify.order_reader import BULK_ABOVE
from scripts.shopify.order_state import OrderStateError
from scripts.shopify.shopper_ids import ShopperIds
from training.data.interactions import read_interactions, validate_interactions

IDS = ShopperIds(SecretStr(HMAC_SECRET))


@pytest.fixture
def shop(store):
    return Shop(store)


@pytest.fixture(params=["always", "never"])
def export(client, fake_time, tmp_path, request):
    """Exports to orders.tsv at the shop's own time, by a bulk operation or page by page."""

    def run(name="orders.tsv", since=SINCE, ids=IDS, bulk=request.param, **options):
        return export_orders(client, tmp_path / name, ids, since, bulk=bulk, now=int(fake_time.now), **options)

    return run


def user_of(shop, name):
    return IDS.user_id_of(shop.customers[name])


def test_literal_rows(store, shop, export, tmp_path):
    shop.order("ann", ("hat", {"quantity": 2}), "ball")
    shop.order("bob", "sock", ("hat", {"quantity": 3, "currentQuantity": 0}), ("sock", {"quantity": 4}), at=FEB + DAY)
    shop.order("bob", "hat", at=FEB + DAY, test=True)
    shop.order("bob", "hat", at=FEB + DAY, cancelledAt=FEB + 2 * DAY)
    shop.order(None, "hat")
    shop.order("ann", None, ("sock", {"currentQuantity": 0}))
    shop.order("ann", "hat", at=SINCE - 1)
    done = export()
    assert lines_of(tmp_path / "orders.tsv") == [
        ("1", user_of(shop, "ann"), "hat", str(FEB), "Clothing"),
        ("1", user_of(shop, "ann"), "ball", str(FEB), "Uncategorized"),
        ("1", user_of(shop, "bob"), "sock", str(FEB + DAY), "Clothing"),
    ]
    assert done.counts.summary() == (
        "6 orders read; left out 1 test, 1 cancelled, 1 without a customer; of 7 lines left out 2 refunded, 1 without "
        "a product, 1 joined with another of the same product"
    )
    assert (done.rows, done.shoppers, done.products, done.complete) == (3, 2, 3, True)
    _, report = validate_interactions(read_interactions(tmp_path / "orders.tsv"))
    assert (report.rows_in, report.rows_out) == (3, 3)


def test_parquet_has_kind_and_quantity(shop, export, tmp_path):
    shop.order("ann", ("hat", {"quantity": 2}), ("hat", {"quantity": 5}))
    export("orders.parquet")
    table = pl.read_parquet(tmp_path / "orders.parquet")
    assert table.rows() == [(1, user_of(shop, "ann"), "hat", FEB, "Clothing", "purchase", 7)]
    assert dict(table.schema) == dict(
        zip(table.columns, [pl.Int64, pl.String, pl.String, pl.Int64, pl.String, pl.String, pl.Int64], strict=True)
    )
    assert read_interactions(tmp_path / "orders.parquet").collect().rows() == [
        (1, user_of(shop, "ann"), "hat", FEB, "Clothing")
    ]


def test_second_run_reads_only_what_changed(store, shop, export, tmp_path, fake_time):
    orders = [shop.order("ann", "hat", at=FEB + n * DAY) for n in range(6)]
    shop.order("bob", "sock", at=FEB + 6 * DAY)
    export()
    before = lines_of(tmp_path / "orders.tsv")
    fake_time.now += DAY
    shop.change(orders[0], cancelledAt=iso_time(int(fake_time.now)))
    shop.change(orders[1], lineItems=[orders[1]["lineItems"][0] | {"currentQuantity": 0}])
    shop.order("bob", "ball", at=int(fake_time.now))
    done = export()
    assert done.counts.orders == 4  # the two changed ones, the new one, and the last one because of the overlap
    assert done.what == f"changed since {iso_time(FEB + 6 * DAY - 3600)}"
    after = lines_of(tmp_path / "orders.tsv")
    assert after == [*before[2:], ("1", user_of(shop, "bob"), "ball", str(int(fake_time.now)), "Uncategorized")]
    # A third run, and reading everything anew, say the same.
    export()
    assert lines_of(tmp_path / "orders.tsv") == after
    export(full=True)
    assert lines_of(tmp_path / "orders.tsv") == after
    export("anew.tsv")
    assert (tmp_path / "anew.tsv").read_bytes() == (tmp_path / "orders.tsv").read_bytes()


def test_deleted_output_comes_back_from_the_state(shop, export, tmp_path):
    shop.order("ann", "hat")
    export()
    content = (tmp_path / "orders.tsv").read_bytes()
    (tmp_path / "orders.tsv").unlink()
    assert export().what.startswith("changed since")
    assert (tmp_path / "orders.tsv").read_bytes() == content


def test_stopped_between_state_and_output(shop, export, tmp_path, monkeypatch):
    shop.order("ann", "hat")
    export()
    shop.order("bob", "sock", at=FEB + 2 * DAY)

    def stopped(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(command, "_write", stopped)
        export()
    assert len(lines_of(tmp_path / "orders.tsv")) == 1
    done = export()
    assert done.counts.orders == 1  # bob's order, because of the overlap
    assert [line[2] for line in lines_of(tmp_path / "orders.tsv")] == ["hat", "sock"]


@pytest.mark.parametrize("after", [False, True])
def test_stopped_anywhere_and_started_again(store, shop, export, tmp_path, fake_time, after):
    rng = np.random.default_rng(5)
    everything = []
    for step in range(10):
        fake_time.now += DAY
        for _ in range(3):
            name, handle = rng.choice(["ann", "bob"]), rng.choice(["hat", "sock", "ball"])
            everything.append(shop.order(name, handle, at=int(fake_time.now) - int(rng.integers(7200))))
        victim = int(rng.integers(len(everything)))
        shop.change(everything[victim], test=True)
        with pytest.raises(KeyboardInterrupt), interrupted_at(1 + step % 7, after):
            export()
            raise KeyboardInterrupt  # fewer requests than that
        assert {path.name for path in tmp_path.iterdir()} <= {"orders.tsv", "orders.tsv.state.parquet"}
        export()
        export(f"anew-{step}.tsv")
        assert lines_of(tmp_path / "orders.tsv") == lines_of(tmp_path / f"anew-{step}.tsv")
        for name in (f"anew-{step}.tsv", f"anew-{step}.tsv.state.parquet"):
            (tmp_path / name).unlink()
    counted = sum(not store.state.get(order["id"])["test"] for order in everything)
    assert len(lines_of(tmp_path / "orders.tsv")) == counted


def test_every_second_request_meets_a_fault(store, shop, export, tmp_path):
    for n in range(300):
        shop.order("ann" if n % 3 else "bob", "hat", "sock", at=FEB + n)
    store.faults.slow_seconds = 0.01
    store.faults.every(2)
    done = export()
    assert sum(store.faults.injected.values()) > 3
    assert (done.counts.orders, done.rows, len(lines_of(tmp_path / "orders.tsv"))) == (300, 600, 600)


def test_bulk_operation_for_many_orders_only(store, shop, client, tmp_path, fake_time):
    for n in range(BULK_ABOVE):
        shop.order("ann", "hat", at=FEB + n)
    for count in (BULK_ABOVE, BULK_ABOVE + 1):
        store.requests.clear()
        done = export_orders(client, tmp_path / f"{count}.tsv", IDS, SINCE)
        operations = {request.operation for request in store.requests}
        assert (done.rows, "OrdersPage" in operations, "BulkRunQuery" in operations) == (
            count,
            count == BULK_ABOVE,
            count > BULK_ABOVE,
        )
        shop.order("ann", "hat", at=FEB + BULK_ABOVE)


def test_order_with_hundreds_of_lines(shop, export):
    shop.order("ann", *[("hat", {"currentQuantity": n % 2}) for n in range(330)], "ball", "sock")
    done = export()
    assert (done.counts.lines, done.counts.refunded, done.counts.repeated, done.rows) == (332, 165, 164, 3)


def test_failed_bulk_operation_changes_nothing(store, shop, client, export, tmp_path):
    shop.order("ann", "hat")
    export()
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    shop.order("ann", "sock", at=FEB + DAY)
    store.faults.script(*["bulk failed"] * 3)
    with pytest.raises(ShopifyError, match="FAILED"):
        export(bulk="always")
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_dry_run_writes_nothing(shop, export, tmp_path):
    shop.order("ann", "hat")
    assert export(dry_run=True).rows == 1
    assert list(tmp_path.iterdir()) == []


def test_nothing_to_export(store, shop, export, tmp_path):
    with pytest.raises(ShopifyError, match=r"has no orders of customers to export, all since 2026-01-01T00:00:00Z; "):
        export()
    shop.order(None, "hat")
    with pytest.raises(ShopifyError, match=r"\(1 orders read; left out 0 test, 0 cancelled, 1 without a customer;"):
        export()
    assert list(tmp_path.iterdir()) == []


def test_since_after_every_order_replaces_nothing(shop, export, tmp_path):
    shop.order("ann", "hat")
    export()
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    for full in (False, True):
        with pytest.raises(ShopifyError, match=r"the newest order of .* is of 2026-02-01T.*, before --since; nothing"):
            export(since=FEB + 300 * DAY, full=full)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_everything_refunded_later_leaves_an_empty_file(shop, export, tmp_path):
    order = shop.order("ann", "hat")
    export()
    shop.change(order, cancelledAt="2026-02-03T00:00:00Z")
    assert export().rows == 0
    assert (tmp_path / "orders.tsv").read_text() == ""


def test_other_secret(shop, export, tmp_path):
    shop.order("ann", "hat")
    export()
    other = ShopperIds(SecretStr("another-secret-0123456789abcdef01234567"))
    with pytest.raises(OrderStateError, match="another SLIREC_HMAC_SECRET"):
        export(ids=other)
    export(ids=other, full=True)
    assert lines_of(tmp_path / "orders.tsv")[0][1] == other.user_id_of(shop.customers["ann"])


def test_without_read_all_orders(store, shop, export, tmp_path, fake_time):
    now = int(fake_time.now)
    shop.order("ann", "hat", at=now - 50 * DAY)
    shop.order("ann", "sock", at=now - 70 * DAY)
    store.access.scopes = frozenset(("read_orders", "read_customers", "read_products"))
    done = export(since=now - 90 * DAY)
    assert (done.rows, done.complete) == (1, False)
    fake_time.now += 30 * DAY
    shop.order("bob", "ball", at=int(fake_time.now))
    # The hat is 80 days old by now: the export keeps it, even when it is read anew.
    for full in (False, True):
        export(since=now - 90 * DAY, full=full)
        assert [line[2] for line in lines_of(tmp_path / "orders.tsv")] == ["hat", "ball"]
    store.access.scopes |= {"read_all_orders"}
    done = export(since=now - 90 * DAY)
    assert done.what.endswith("(read_all_orders is new)")
    assert [line[2] for line in lines_of(tmp_path / "orders.tsv")] == ["sock", "hat", "ball"]
    assert done.complete


def test_full_with_a_later_since_keeps_what_shopify_no_longer_shows(store, shop, export, tmp_path, fake_time):
    now = int(fake_time.now)
    shop.order("ann", "hat", at=now - 50 * DAY)
    shop.order("bob", "sock", at=now - 5 * DAY)
    store.access.scopes = frozenset(("read_orders", "read_customers", "read_products"))
    export(since=now - 55 * DAY)
    fake_time.now += 30 * DAY
    done = export(since=now - 10 * DAY, full=True)
    assert (done.rows, done.complete) == (1, True)
    assert [line[2] for line in lines_of(tmp_path / "orders.tsv")] == ["sock"]
    export(since=now - 55 * DAY)
    assert [line[2] for line in lines_of(tmp_path / "orders.tsv")] == ["hat", "sock"]


def test_unreadable_state_is_set_aside(shop, export, tmp_path):
    state = tmp_path / "orders.tsv.state.parquet"
    shop.order("ann", "hat")
    state.write_bytes(b"something else")
    with pytest.raises(OrderStateError, match="or give --full"):
        export()
    assert export(full=True, dry_run=True).set_aside is None
    assert [path.name for path in tmp_path.iterdir()] == [state.name]
    done = export(full=True)
    assert (done.rows, done.set_aside) == (1, tmp_path / "orders.tsv.state.parquet.bad")
    assert done.set_aside.read_bytes() == b"something else"
    assert (export().counts.orders, export(full=True).set_aside) == (1, None)
