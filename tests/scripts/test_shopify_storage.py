"""Uploads and downloads, against answers made here; the dev store's own are met in test_shopify_bulk.py."""

import gzip
import io
import traceback
import tracemalloc
from email.message import Message
from email.parser import BytesParser

import numpy as np
import pytest
import requests
from hypothesis import given, settings
from hypothesis import strategies as st
from urllib3 import HTTPResponse
from urllib3.exceptions import ProtocolError

from scripts.shopify.answers import ShopifyError
from scripts.shopify.retry import Retry
from scripts.shopify.storage import Storage, _split

URL = "https://storage.example.com/bulk/1.jsonl?signature=5ecret"


class Broken(io.BytesIO):
    """A body whose connection breaks when it has been read."""

    def read(self, amount=-1):
        piece = super().read(min(amount, 10) if amount and amount > 0 else amount)
        if not piece:
            raise ProtocolError("Connection broken: IncompleteRead")
        return piece


def response(status, body=b"", headers=None):
    made = requests.Response()
    made.status_code = status
    made.headers = requests.structures.CaseInsensitiveDict(headers or {})
    stream = body if isinstance(body, io.BytesIO) else io.BytesIO(body)
    made.raw = HTTPResponse(stream, headers=headers or {}, status=status, preload_content=False)
    return made


class Server:
    """Gives the scripted answers one after another, and keeps what it was asked."""

    def __init__(self, *answers):
        self.answers, self.asked, self.bodies = list(answers), [], []

    def __call__(self, method, url, *, data=None, headers=None, stream=False):
        self.asked.append((method, url))
        if data is not None:
            self.bodies.append((headers["Content-Type"], data.read()))
        answer = self.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer


def is_lost(error):
    return isinstance(error, requests.ConnectionError | requests.exceptions.ChunkedEncodingError)


def storage(fake_time, server, local_store=None, attempts=4):
    return Storage(server, is_lost, local_store, Retry(attempts, fake_time.sleep, np.random.default_rng(7)))


def read_form(content_type, body):
    message = BytesParser().parsebytes(b"Content-Type: " + content_type.encode() + b"\r\n\r\n" + body)
    return [part for part in message.get_payload() if isinstance(part, Message)]


def test_upload_puts_the_file_after_the_parameters(fake_time, tmp_path):
    (tmp_path / "some.jsonl").write_bytes(b'{"a":1}\n')
    server = Server(response(201))
    storage(fake_time, server).upload(URL, {"policy": "p", "key": "k/1"}, tmp_path / "some.jsonl")
    parts = read_form(*server.bodies[0])
    names = [part.get_param("name", header="Content-Disposition") for part in parts]
    assert names == ["policy", "key", "file"]
    assert [part.get_payload() for part in parts] == ["p", "k/1", '{"a":1}\n']
    assert (parts[2].get_filename(), parts[2].get_content_type()) == ("some.jsonl", "text/jsonl")
    assert server.asked == [("POST", URL)]


def test_upload_reads_the_file_in_small_blocks(fake_time, tmp_path):
    with (tmp_path / "large.jsonl").open("wb") as stream:
        stream.truncate(50_000_000)
    sizes = []

    def send(method, url, *, data, headers):
        sizes.append(data.len)
        while data.read(1 << 16):
            pass
        return response(204)

    tracemalloc.start()
    try:
        storage(fake_time, send).upload(URL, {"key": "k"}, tmp_path / "large.jsonl")
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert sizes[0] > 50_000_000  # the length is known, so that it is not sent in chunks, which storages refuse
    assert peak < 1_000_000


def test_upload_is_repeated_whole_where_that_may_help(fake_time, tmp_path):
    (tmp_path / "some.jsonl").write_bytes(b'{"a":1}\n')
    lost = requests.ConnectionError("signature=5ecret")
    server = Server(response(503), lost, response(429, headers={"Retry-After": "2.0"}), response(204))
    storage(fake_time, server).upload(URL, {"key": "k"}, tmp_path / "some.jsonl")
    assert [read_form(*body)[1].get_payload() for body in server.bodies] == ['{"a":1}\n'] * 4
    assert len(fake_time.waits) == 3
    assert 2.0 <= fake_time.waits[2] <= 2.75


@pytest.mark.parametrize(
    ("answers", "code", "message"),
    [
        ([response(403)], "HTTP_403", r"some.jsonl was not uploaded to storage.example.com: HTTP 403$"),
        ([response(307, headers={"Location": "http://elsewhere"})], "HTTP_307", "HTTP 307$"),
        ([requests.ConnectionError("signature=5ecret") for _ in range(4)], "NO_ANSWER", r"\(after 4 attempts\)$"),
        ([requests.exceptions.MissingSchema("signature=5ecret")], "NO_ANSWER", r"\(MissingSchema\)$"),
    ],
)
def test_refused_upload_is_one_error_without_the_signature(fake_time, tmp_path, answers, code, message):
    (tmp_path / "some.jsonl").write_bytes(b"{}\n")
    server = Server(*answers)
    with pytest.raises(ShopifyError, match=message) as caught:
        storage(fake_time, server).upload(URL, {"key": "k"}, tmp_path / "some.jsonl")
    assert caught.value.code == code
    assert (caught.value.__cause__, caught.value.__context__, server.answers) == (None, None, [])
    assert "5ecret" not in "".join(traceback.format_exception(caught.value))


def test_lines_are_split_at_line_ends_only(fake_time):
    body = '{"a":"\\u2028 \u2028 é"}\n\n{"b":2}\r\n{"c":3}'.encode()  # the last one without its end, but whole
    found = list(storage(fake_time, Server(response(200, body))).lines(URL, count=3))
    assert found == ['{"a":"\\u2028 \u2028 é"}', '{"b":2}\r', '{"c":3}']


def test_compressed_lines_are_read(fake_time):
    body = gzip.compress(b"".join(b'{"number":%d}\n' % number for number in range(50_000)))
    found = list(storage(fake_time, Server(response(200, body, {"Content-Encoding": "gzip"}))).lines(URL))
    assert (len(found), found[-1]) == (50_000, '{"number":49999}')


def test_broken_download_goes_on_where_it_stopped(fake_time):
    whole = b'{"a":1}\n{"b":2}\n{"c":3}\n'
    server = Server(
        requests.ConnectionError("signature=5ecret"),
        response(200, Broken(whole)),  # breaks off with an exception
        response(200, whole[:20]),  # ends within a line, as if all were well
        response(200, whole),
    )
    assert list(storage(fake_time, server).lines(URL)) == ['{"a":1}', '{"b":2}', '{"c":3}']
    assert len(fake_time.waits) == 3


@settings(deadline=None)
@given(st.lists(st.integers(0, 40), min_size=1, max_size=8), st.lists(st.tuples(st.integers(0, 300), st.booleans())))
def test_download_is_whole_wherever_it_was_cut(lengths, cuts):
    expected = [f'{{"{number}":"{"x" * length}"}}' for number, length in enumerate(lengths)]
    whole = "".join(f"{line}\n" for line in expected).encode()
    pieces, counts = [], set()
    for at, breaks in cuts:
        body = whole[: min(at, len(whole) - 2)]
        count = body.count(b"\n") + body.endswith(b"}")
        if breaks:
            pieces.append(response(200, Broken(whole[:at])))
        elif count not in counts:  # what looks whole and is as long as the last time is taken, see below
            counts.add(count)
            pieces.append(response(200, body))
    retry = Retry(len(pieces) + 2, lambda _: None, np.random.default_rng(7))
    files = Storage(Server(*pieces, response(200, whole), response(200, whole)), is_lost, None, retry)
    assert list(files.lines(URL, count=len(expected))) == expected


@settings(deadline=None)
@given(st.lists(st.text("ab{}", max_size=5)), st.integers(1, 7))
def test_lines_do_not_depend_on_how_they_come(texts, size):
    body = "".join(f"{text}\n" for text in texts).encode()
    chunks = [body[start : start + size] for start in range(0, len(body), size)]
    assert [line.decode() for line in _split(chunks)] == [text for text in texts if text]


def test_download_cut_at_a_line_end_is_told_by_the_count(fake_time, caplog):
    whole = b'{"a":1}\n{"b":2}\n'
    server = Server(response(200, whole[:8]), response(200, whole))
    assert list(storage(fake_time, server).lines(URL, count=2)) == ['{"a":1}', '{"b":2}']
    assert (server.answers, caplog.records) == ([], [])


@pytest.mark.parametrize("count", [1, 3])
def test_other_number_of_lines_is_looked_at_twice_and_then_taken(fake_time, caplog, count):
    whole = b'{"a":1}\n{"b":2}\n'
    lost = requests.ConnectionError("signature=5ecret")
    server = Server(response(200, whole), lost, response(200, Broken(whole)), response(200, whole))
    assert list(storage(fake_time, server).lines(URL, count=count)) == ['{"a":1}', '{"b":2}']
    assert server.answers == []
    assert [record.getMessage() for record in caplog.records] == [
        f"a bulk result has 2 lines, where Shopify counts {count} objects"
    ]


def test_file_that_is_never_the_same_is_refused(fake_time):
    line = b'{"a":1}\n'
    server = Server(*(response(200, line * number) for number in (1, 2, 1, 3)))
    with pytest.raises(ShopifyError, match=r"is not complete: it has 3 lines instead of 9 \(after 4 attempts\)$"):
        list(storage(fake_time, server).lines(URL, count=9))


def test_download_that_shrinks_is_not_taken_for_whole(fake_time):
    first, second = (f'{{"{key}":"{key * 70_000}"}}' for key in "ab")  # longer than what is read at a time
    server = Server(
        response(200, Broken(f"{first}\n{second}\n{first}".encode())),
        *(response(200, f"{first}\n".encode()) for _ in range(3)),
    )
    lines = storage(fake_time, server).lines(URL)
    assert [next(lines), next(lines)] == [first, second]
    with pytest.raises(ShopifyError, match=r"it has 1 lines instead of 2 \(after 4 attempts\)"):
        next(lines)


@pytest.mark.parametrize(
    ("make", "code", "message"),
    [
        (lambda: response(403), "HTTP_403", "HTTP 403$"),
        (lambda: response(302, headers={"Location": "http://elsewhere"}), "HTTP_302", "HTTP 302$"),
        (lambda: response(200, b'{"a":1}\n{"b":'), "NO_ANSWER", r"broke off within line 2 \(after 4 attempts\)$"),
        (lambda: response(502), "HTTP_502", r"HTTP 502 \(after 4 attempts\)$"),
        (lambda: requests.Timeout("signature=5ecret"), "NO_ANSWER", r"the connection failed \(Timeout\)$"),
    ],
)
def test_refused_download_is_one_error_without_the_signature(fake_time, make, code, message):
    with pytest.raises(ShopifyError, match=message) as caught:
        list(storage(fake_time, Server(*(make() for _ in range(4)))).lines(URL))
    assert caught.value.code == code
    assert "5ecret" not in "".join(traceback.format_exception(caught.value))


@pytest.mark.parametrize(
    ("url", "local_store"),
    [
        ("http://storage.example.com/1", None),
        ("ftp://storage.example.com/1", None),
        ("https://user:word@storage.example.com/1", None),
        ("https:///1", None),
        ("file:///etc/passwd", None),
        ("http://127.0.0.1:8001/1", "http://127.0.0.1:8000"),
        ("https://storage.example.com/1", "http://127.0.0.1:8000"),
        ("http://127.0.0.1:8000@evil.com/1", "http://127.0.0.1:8000"),
    ],
)
def test_other_addresses_are_not_asked(fake_time, tmp_path, url, local_store):
    server = Server()
    files = storage(fake_time, server, local_store)
    for ask in (lambda: list(files.lines(url)), lambda: files.upload(url, {}, tmp_path / "some.jsonl")):
        with pytest.raises(ShopifyError, match=r"only .* is asked") as caught:
            ask()
        assert caught.value.code == "URL"
    assert server.asked == []


def test_local_store_is_asked_without_tls(fake_time):
    server = Server(response(200, b"{}\n"))
    assert list(storage(fake_time, server, "http://127.0.0.1:8000").lines("http://127.0.0.1:8000/bulk/1")) == ["{}"]
