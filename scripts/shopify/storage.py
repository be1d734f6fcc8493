"""Files in the storage that Shopify names: uploads of bulk mutations, results of bulk operations.

The addresses are signed and belong to another host, so the token never goes there, and they are never shown.
Uploads: https://shopify.dev/docs/api/usage/bulk-operations/imports.
"""

import json
import logging
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from requests_toolbelt import MultipartEncoder

from scripts.shopify.answers import Answer, ShopifyError
from scripts.shopify.retry import Retry

log = logging.getLogger(__name__)

_CHUNK = 1 << 16


class Storage:
    """Sends and fetches files.

    Args:
        send: Called with method, URL and keyword arguments as `requests.request`; sends no token and follows no
            redirect.
        is_lost: Whether an exception of `send` means a broken connection, which may be tried again.
        local_store: Address of a store on this machine, the one place that is reached without TLS; None otherwise.
        retry: How often one file is sent or fetched.
    """

    def __init__(
        self,
        send: Callable[..., Any],
        is_lost: Callable[[BaseException], bool],
        local_store: str | None,
        retry: Retry,
    ):
        self._send, self._is_lost, self._local_store, self._retry = send, is_lost, local_store, retry

    def upload(self, url: str, parameters: Mapping[str, str], path: Path) -> None:
        """Posts a file as a multipart form, read from disk in small blocks.

        Args:
            url: Address of the staged upload.
            parameters: Its form fields, in order; the file comes after them, as the storage demands.
            path: File to send.

        Raises:
            ShopifyError: The storage refused it, or does not answer.
        """
        self._check(url)
        attempt, answer = 1, self._post(url, parameters, path)
        while self._retry.again("upload", answer, attempt):
            attempt, answer = attempt + 1, self._post(url, parameters, path)
        if not 200 <= answer.status < 300:
            raise self._failure(f"{path.name} was not uploaded to {urlsplit(url).hostname}", answer, attempt)

    def lines(self, url: str, count: int | None = None) -> Iterator[str]:
        """Yields the lines of a JSONL file while it is fetched.

        Shopify never changes such a file, so after a broken connection it is fetched anew, and the lines that were
        yielded already are passed over. So it is, once, where it came without any error but has another number of lines
        than expected; if it has that number again, that is how it is, and a warning says so.

        Args:
            url: Address of the file.
            count: Lines that it is expected to have, if known.

        Yields:
            Lines without their end; none are empty.

        Raises:
            ShopifyError: The file is refused, keeps breaking off, or is never the same.
        """
        self._check(url)
        yielded, before, attempt, answer = 0, None, 0, Answer()
        while not attempt or self._retry.again("download", answer, attempt):
            attempt, position = attempt + 1, 0
            try:
                with self._send("GET", url, stream=True) as response:
                    answer = Answer(response.status_code, response.headers)
                    if answer.status == 200:
                        for line in _split(response.iter_content(_CHUNK)):
                            position += 1
                            if position > yielded:
                                yielded = position
                                yield line.decode()
                        expected = yielded if count is None else count
                        if position == expected:
                            return
                        if position == before == yielded:
                            log.warning("a bulk result has %d lines, where Shopify counts %d objects", position, count)
                            return
                        before = position
                        answer = Answer(problem=f"it has {position} lines instead of {expected}", lost=True)
            except OSError as error:
                answer = self._broken(error)
            except ValueError:
                answer = Answer(problem=f"it broke off within line {position + 1}", lost=True)
        raise self._failure(f"the file at {urlsplit(url).hostname} is not complete", answer, attempt)

    def _post(self, url: str, parameters: Mapping[str, str], path: Path) -> Answer:
        with path.open("rb") as stream:
            form = MultipartEncoder([*parameters.items(), ("file", (path.name, stream, "text/jsonl"))])
            try:
                with self._send("POST", url, data=form, headers={"Content-Type": form.content_type}) as response:
                    return Answer(response.status_code, response.headers)
            except OSError as error:
                return self._broken(error)

    def _check(self, url: str) -> None:
        parts = urlsplit(url)
        allowed = (
            f"{parts.scheme}://{parts.netloc}" == self._local_store
            if self._local_store
            else parts.scheme == "https" and parts.hostname and parts.username is None
        )
        if not allowed:
            expected = self._local_store or "https"
            raise ShopifyError(
                f"Shopify named a file at {parts.scheme}://{parts.hostname}; only {expected} is asked", code="URL"
            )

    def _broken(self, error: OSError) -> Answer:
        # The text of such an exception holds the address with its signature.
        return Answer(problem=f"the connection failed ({type(error).__name__})", lost=self._is_lost(error))

    @staticmethod
    def _failure(message: str, answer: Answer, attempt: int) -> ShopifyError:
        tries = f" (after {attempt} attempts)" if attempt > 1 else ""
        code = f"HTTP_{answer.status}" if answer.status else "NO_ANSWER"
        reason = f"HTTP {answer.status}" if answer.status else answer.problem
        return ShopifyError(f"{message}: {reason}{tries}", code)


def _split(chunks: Iterable[bytes]) -> Iterator[bytes]:
    """Yields the lines of a file that comes in pieces; ValueError where the last one is not whole."""
    rest = b""
    for chunk in chunks:
        *lines, rest = (rest + chunk).split(b"\n")
        for line in lines:
            if line.strip():
                yield line
    if rest.strip():
        json.loads(rest)
        yield rest
