"""HTTP/1.1 on 127.0.0.1 with connections that stay open, and that can be dropped on purpose.

Werkzeug's own handler closes every connection after one answer, which costs a client a new one for each request.
"""

import errno
import logging
import socket
import threading
from collections.abc import Callable, Iterable
from typing import Any

from werkzeug.exceptions import ClientDisconnected
from werkzeug.serving import BaseWSGIServer, WSGIRequestHandler, make_server
from werkzeug.wsgi import LimitedStream

log = logging.getLogger(__name__)

HOST = "127.0.0.1"
"""The only address that the shop listens on: whoever can reach it may do everything."""
MAX_PORT = 65_535
_LEFT_OVER = 1_000_000
"""Bytes of a request body nobody read that are still read away to keep the connection."""


DROP = "dev_store.drop"
"""Key of the WSGI environment that an application sets to close the connection instead of answering."""


class ConnectionDropped(ConnectionError):
    """Raised by the body of an answer that is to break off."""


class Handler(WSGIRequestHandler):
    """Answers the requests of one connection, one after the other."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True  # else each answer waits 40 ms for an acknowledgement
    wbufsize = 65536  # head and body in one packet

    def setup(self) -> None:
        """Takes note of the connection, so that stopping the server can close it."""
        super().setup()
        self.server.connections.add(self.connection)

    def finish(self) -> None:
        """Forgets the connection."""
        self.server.connections.discard(self.connection)
        try:
            super().finish()
        except OSError:  # dropped with something still to be flushed
            log.debug("connection from %s is gone", self.client_address)

    def log(self, type: str, message: str, *args: Any) -> None:
        """Keeps quiet but for debugging; a token can be in no path or header that gets here."""
        log.debug(message, *args)

    def run_wsgi(self) -> None:
        """Carries out one request."""
        environ = self.make_environ()
        self.environ = environ
        if self.headers.get("Expect", "").lower().strip() == "100-continue":
            self.wfile.write(b"HTTP/1.1 100 Continue\r\n\r\n")
            self.wfile.flush()
        body = None
        if environ.get("wsgi.input_terminated"):  # chunked: where it ends is known only to who reads it
            self.close_connection = True
        else:
            length = environ.get("CONTENT_LENGTH") or "0"
            body = environ["wsgi.input"] = LimitedStream(self.rfile, int(length) if length.isdigit() else 0)
        try:
            self._answer(environ)
            self.wfile.flush()
        except ConnectionError as error:
            self.drop(flush=isinstance(error, ConnectionDropped))
        if body is not None and not body.is_exhausted and not self.close_connection:
            left = int(environ["CONTENT_LENGTH"]) - body.tell()
            if left > _LEFT_OVER:
                self.close_connection = True
            else:
                try:
                    body.exhaust()
                except (ClientDisconnected, OSError):
                    self.close_connection = True

    def drop(self, flush: bool) -> None:
        """Closes the connection, after sending what there is so far or without."""
        self.close_connection = True
        try:
            if flush:
                self.wfile.flush()
            self.connection.shutdown(socket.SHUT_RDWR)
        except OSError:
            log.debug("connection from %s was closed already", self.client_address)

    def _answer(self, environ: dict[str, Any]) -> None:
        head: list[Any] = []

        def start_response(status: str, headers: list[tuple[str, str]], exc_info: Any = None) -> Callable[..., Any]:
            head[:] = [status, headers]
            return self.wfile.write

        chunks: Iterable[bytes] = self.server.app(environ, start_response)
        try:
            if environ.get(DROP):
                raise ConnectionDropped("dropped on demand")
            status, headers = head
            code, _, reason = status.partition(" ")
            bodiless = environ["REQUEST_METHOD"] == "HEAD" or code in ("204", "304")
            chunked = not bodiless and all(name.lower() != "content-length" for name, _ in headers)
            self.send_response(int(code), reason)
            for name, value in headers:
                self.send_header(name, value)
            if chunked:
                self.send_header("Transfer-Encoding", "chunked")
            if self.close_connection:
                self.send_header("Connection", "close")
            self.end_headers()
            for chunk in () if bodiless else chunks:
                if chunk:
                    self.wfile.write(b"%x\r\n%s\r\n" % (len(chunk), chunk) if chunked else chunk)
            if chunked:
                self.wfile.write(b"0\r\n\r\n")
        finally:
            if hasattr(chunks, "close"):
                chunks.close()


class Server:
    """A WSGI application on a port of 127.0.0.1, served in the background.

    Args:
        app: The application.
        port: Port to listen on; 0 takes a free one.

    Raises:
        OSError: The port is taken, or not for this user.
    """

    def __init__(self, app: Any, port: int = 0):
        with socket.socket() as listener:
            # Bound here, because werkzeug ends the process where the port is taken.
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                listener.bind((HOST, port))
            except OSError as error:
                taken = error.errno == errno.EADDRINUSE
                reason = "is taken; stop what uses it" if taken else f"cannot be used ({error.strerror})"
                raise OSError(f"port {port} of {HOST} {reason}, or choose another") from error
            listener.listen(128)
            self._server: BaseWSGIServer = make_server(
                HOST, port, app, threaded=True, request_handler=Handler, fd=listener.fileno()
            )
        self._server.connections = set()
        self.port = self._server.port
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True, name="dev-store")
        self._thread.start()

    def stop(self) -> None:
        """Stops listening and closes the connections."""
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()
        for connection in list(self._server.connections):
            try:
                connection.shutdown(socket.SHUT_RDWR)
            except OSError:
                log.debug("a connection was closed already")
