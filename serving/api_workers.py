"""Processes that answer, and the supervisor that replaces one that dies or hangs.

The supervisor holds the listening socket: while a worker is replaced, clients that connect wait instead of being
refused, or are answered by the other workers. It is uvicorn's own, with what Prometheus' files need.
"""

import logging
import multiprocessing
import os
import signal
import socket
import threading
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from multiprocessing import connection
from pathlib import Path
from typing import TYPE_CHECKING, Final, cast

import uvicorn
from uvicorn.config import STARTUP_FAILURE
from uvicorn.supervisors import Multiprocess

from serving.api_settings import ApiSettings
from serving.api_source import KeptSource
from serving.config import ServeConfig

if TYPE_CHECKING:
    from fastapi import FastAPI

LOG_FORMAT: Final = "%(asctime)s %(levelname)s %(message)s"
_HUNG_SECONDS: Final = 30  # a worker that does not answer the supervisor for so long is replaced
# More than the 60 s of most proxies and clients: who closes an idle connection should be the one who sends, since a
# request that crosses the server's closing is lost.
_KEEP_ALIVE_SECONDS: Final = 75
_LOOK_SECONDS: Final = 0.5  # between a worker's looks at the keeper's note, which is a small local file
_CORES_SHARED_BY: Final = "WEB_CONCURRENCY"  # read by serving.threads


def build(folder: Path, settings: ApiSettings, config: ServeConfig) -> "FastAPI":
    """Builds a worker's application. If the keeper has a model, it is open by then: a new worker answers at once.

    Args:
        folder: The keeper's.
        settings: Of the HTTP door.
        config: How products are ranked.
    """
    from serving.api import create_app  # not needed by the supervisor

    _end_with_supervisor()
    logging.basicConfig(level=logging.INFO, format=LOG_FORMAT)
    looks = settings.model_copy(update={"switch_seconds": min(_LOOK_SECONDS, settings.switch_seconds)})
    app = create_app(KeptSource(folder), looks, config)
    with suppress(Exception):  # looked for again, and reported, once the application runs
        app.state.models.refresh()
    return app


class Supervisor(Multiprocess):
    """Starts workers, replaces them, and ends them; settings reach them through a pipe, as they hold a secret."""

    def __init__(self, folder: Path, settings: ApiSettings, config: ServeConfig, figures: Path) -> None:
        """Binds the socket, on which clients may wait from now on.

        Args:
            folder: The keeper's.
            settings: Of the HTTP door.
            config: How products are ranked.
            figures: Folder that PROMETHEUS_MULTIPROC_DIR names.

        Raises:
            SystemExit: The address cannot be listened on; the log says why.
        """
        if settings.workers > 1:
            os.environ.setdefault(_CORES_SHARED_BY, str(settings.workers))
        server = uvicorn.Config(
            cast("Callable[..., FastAPI]", partial(build, folder, settings, config)),
            factory=True,
            host=settings.host,
            port=settings.port,
            workers=settings.workers,
            log_config=None,
            access_log=False,  # shoppers' addresses have no place in a log; /metrics counts requests
            server_header=False,
            timeout_graceful_shutdown=settings.stop_seconds,
            timeout_keep_alive=_KEEP_ALIVE_SECONDS,
            timeout_worker_healthcheck=_HUNG_SECONDS,
        )
        bound = server.bind_socket()
        # Named as TCP, which uvicorn leaves open: asyncio then sends small answers at once (TCP_NODELAY), where they
        # would wait for the client's delayed acknowledgement, 40 ms.
        listening = socket.socket(bound.family, bound.type, socket.IPPROTO_TCP, fileno=bound.detach())
        listening.listen(server.backlog)
        super().__init__(server, [listening])
        self._figures = figures

    def keep_subprocess_alive(self) -> None:
        """Replaces workers, and takes those that are gone out of the figures of the living."""
        from prometheus_client.multiprocess import mark_process_dead

        before = {process.pid for process in self.processes}
        super().keep_subprocess_alive()
        for pid in before - {process.pid for process in self.processes}:
            mark_process_dead(pid, str(self._figures))

    def run(self) -> None:
        """Serves until SIGTERM or SIGINT; requests in flight are answered first.

        Raises:
            RuntimeError: A worker could not start.
        """
        super().run()
        for listening in self.sockets:
            listening.close()
        if any(process.exitcode == STARTUP_FAILURE for process in self.processes):
            raise RuntimeError("a worker could not start; the log has the reason")


def _end_with_supervisor() -> None:
    """Ends this worker, gracefully, should its supervisor be killed: nobody would replace or stop it any more."""
    supervisor = multiprocessing.parent_process()
    if supervisor is None:
        return

    def watch() -> None:
        connection.wait([supervisor.sentinel])
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=watch, name="supervisor", daemon=True).start()
