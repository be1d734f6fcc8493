"""Connections to the local shop: kept open, used in parallel, closed with it."""

import http.client
import json
import sqlite3
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from raw_http import ADMIN

from scripts.shopify.dev_store import DevStore

BODY = json.dumps({"query": "{ shop { name } }"})


@pytest.fixture
def connection(store: DevStore) -> Iterator[http.client.HTTPConnection]:
    connection = http.client.HTTPConnection("127.0.0.1", int(store.url.rpartition(":")[2]), timeout=10)
    connection.connect()
    yield connection
    connection.close()


def ask(connection: http.client.HTTPConnection, token: str) -> bool:
    """Sends a query; says whether it was answered on the connection that was open already."""
    port = connection.sock and connection.sock.getsockname()[1]
    connection.request("POST", ADMIN, BODY, {"X-Shopify-Access-Token": token})
    assert "data" in json.loads(connection.getresponse().read())
    return connection.sock is not None and connection.sock.getsockname()[1] == port


def test_connection_stays_open(store: DevStore, connection: http.client.HTTPConnection) -> None:
    assert all(ask(connection, store.access_token) for _ in range(5))


def test_connection_survives_what_nobody_reads(store: DevStore, connection: http.client.HTTPConnection) -> None:
    for method, path, status in (("GET", ADMIN, 405), ("POST", "/nowhere", 404), ("PUT", "/staged", 405)):
        connection.request(method, path, "x" * 100_000)
        answer = connection.getresponse()
        assert (answer.status, "errors" in json.loads(answer.read())) == (status, True)
        assert ask(connection, store.access_token)


def test_head_has_no_body(store: DevStore, connection: http.client.HTTPConnection) -> None:
    connection.request("HEAD", "/")
    answer = connection.getresponse()
    assert (answer.status, answer.read()) == (200, b"")
    assert ask(connection, store.access_token)


def test_body_in_chunks_is_read(store: DevStore, connection: http.client.HTTPConnection) -> None:
    headers = {"X-Shopify-Access-Token": store.access_token, "Transfer-Encoding": "chunked"}
    connection.request("POST", ADMIN, iter([BODY[:9].encode(), BODY[9:].encode()]), headers, encode_chunked=True)
    answer = connection.getresponse()
    assert "data" in json.loads(answer.read())
    assert answer.headers["Connection"] == "close"


def test_body_that_is_announced_too_large_is_refused(store: DevStore, connection: http.client.HTTPConnection) -> None:
    connection.putrequest("POST", ADMIN)
    connection.putheader("Content-Length", "200000000")
    connection.endheaders()
    answer = connection.getresponse()
    assert answer.status == 413
    connection.close()
    assert ask(connection, store.access_token) is False  # on a new one


def test_many_connections_are_answered_in_parallel(store: DevStore) -> None:
    def work() -> None:
        connection = http.client.HTTPConnection("127.0.0.1", int(store.url.rpartition(":")[2]), timeout=10)
        connection.connect()
        kept.append(all(ask(connection, store.access_token) for _ in range(20)))
        connection.close()

    kept: list[bool] = []
    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert kept == [True] * 8
    assert len(store.requests) == 160


def test_stopping_closes_connections_and_frees_the_port() -> None:
    store = DevStore().start()
    port = int(store.url.rpartition(":")[2])
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    connection.connect()
    assert ask(connection, store.access_token)
    store.stop()
    assert store.url == ""
    with pytest.raises((ConnectionError, http.client.RemoteDisconnected)):
        ask(connection, store.access_token)
    connection.close()
    with DevStore(port=port) as again:
        assert again.url.endswith(f":{port}")


def test_port_in_use_is_named(store: DevStore) -> None:
    other = DevStore(port=int(store.url.rpartition(":")[2]))
    with pytest.raises(OSError, match=r"^port .* is taken; stop what uses it, or choose another$"):
        other.start()
    other.stop()
    with pytest.raises(ValueError, match="port = 65536"):
        DevStore(port=65536)


def test_a_shop_that_could_not_start_lets_go_of_its_file(store: DevStore, tmp_path: Path) -> None:
    port = int(store.url.rpartition(":")[2])
    with pytest.raises(OSError, match="is taken"), DevStore(tmp_path / "shop.db", port=port):
        pass
    with DevStore(tmp_path / "shop.db") as other:
        assert other.url


def test_a_stopped_shop_stays_stopped() -> None:
    store = DevStore().start()
    store.stop()
    store.crashed(sqlite3.ProgrammingError("closed"), "shop")  # of a request that was being answered
    assert store.crashes == []
    with pytest.raises(RuntimeError, match="make another one"):
        store.start()
    store.stop()


def test_first_crash_is_raised_when_the_shop_is_left() -> None:
    with pytest.raises(ZeroDivisionError), DevStore() as store:
        store.crashes.append(ZeroDivisionError())
    with pytest.raises(KeyError), DevStore() as store:  # but it hides no exception of the caller's
        store.crashes.append(ZeroDivisionError())
        raise KeyError
