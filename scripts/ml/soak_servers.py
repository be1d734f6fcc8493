"""The servers of the soak, each a process of its own on the loopback interface: ours, the registry, MLflow's."""

import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path

import psutil

from scripts.ml.benchmark_worker import REPOSITORY

LOOK_SECONDS = 5.0  # between our server's looks for a new champion
_FOREIGN = ("MLFLOW_", "SLIREC_", "PROMETHEUS_")


class SoakError(RuntimeError):
    """A server did not start or stop, or the load could not be made."""


class Server:
    """A process that listens on a port of its own; can be stopped and started again there."""

    def __init__(
        self, command: Sequence[str], health: str, log: Path, environment: Mapping[str, str] | None = None
    ) -> None:
        """Starts nothing yet.

        Args:
            command: Arguments of Python; `{port}` stands for the port.
            health: Path that answers 200 once the server is ready.
            log: Its output is added to.
            environment: Variables over this process's own, of which MLflow's and ours are left out.
        """
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        self.url = f"http://127.0.0.1:{port}"
        self._command = [sys.executable, *(part.format(port=port) for part in command)]
        self._health, self._log = health, log
        kept = {name: value for name, value in os.environ.items() if not name.startswith(_FOREIGN)}
        # MLflow starts uvicorn by name.
        path = os.pathsep.join([str(Path(sys.executable).parent), kept.get("PATH", os.defpath)])
        self._environment = kept | {"PATH": path, "MLFLOW_DISABLE_TELEMETRY": "true"} | dict(environment or {})
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> "Server":
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()

    @property
    def pid(self) -> int:
        """The process's id."""
        if self._process is None:
            raise SoakError("the server should be started first")
        return self._process.pid

    def start(self) -> None:
        """Starts the process."""
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                self._command, cwd=REPOSITORY, env=self._environment, stdout=log, stderr=log, start_new_session=True
            )

    def ready(self, seconds: float = 120.0) -> None:
        """Waits until the server answers.

        Raises:
            SoakError: It ended, or does not answer in time.
        """
        end = time.monotonic() + seconds
        while time.monotonic() < end and self._process is not None and self._process.poll() is None:
            with suppress(OSError), urllib.request.urlopen(self.url + self._health, timeout=5) as response:
                if response.status == 200:
                    return
            time.sleep(0.1)
        last = " ".join(self._log.read_text(errors="replace").split()[-60:])
        raise SoakError(f"a server did not become ready within {seconds:g} s: {last}")

    def stop(self, seconds: float = 60.0) -> int:
        """Ends the process as a service manager would, and returns its exit status.

        Raises:
            SoakError: It does not end in time.
        """
        if self._process is None:
            return 0
        self._process.send_signal(signal.SIGTERM)
        try:
            status = self._process.wait(seconds)
        except subprocess.TimeoutExpired:
            raise SoakError(f"a server did not stop within {seconds:g} s") from None
        self.kill()  # children that it may have left
        return status

    def kill(self) -> None:
        """Ends the process and its children at once."""
        if self._process is not None:
            with suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()

    def workers(self) -> list[psutil.Process]:
        """Returns the processes that answer, oldest first."""
        try:
            children = psutil.Process(self.pid).children()
            return [child for child in children if child.is_running() and _is_worker(child)]
        except psutil.NoSuchProcess:
            return []


def _is_worker(process: psutil.Process) -> bool:
    with suppress(psutil.Error):
        return process.status() != psutil.STATUS_ZOMBIE and "spawn_main" in " ".join(process.cmdline())
    return False


def kill_worker(worker: psutil.Process) -> tuple[float, float]:
    """Kills a worker without a warning.

    Returns:
        The moments before the signal, and after which the process and its connections were gone (monotonic seconds).
    """
    before = time.monotonic()
    worker.kill()
    with suppress(psutil.NoSuchProcess):
        # Its connections are closed when the last of its threads has ended.
        while worker.status() != psutil.STATUS_ZOMBIE or worker.num_threads() > 1:
            time.sleep(0.001)
    return before, time.monotonic()


def registry(folder: Path) -> Server:
    """Returns an MLflow server over SQLite in a folder."""
    command = ["-m", "mlflow", "server", "--host", "127.0.0.1", "--port", "{port}", "--workers", "1"]
    command += ["--backend-store-uri", f"sqlite:///{folder / 'mlflow.db'}", "--artifacts-destination"]
    command += [(folder / "artifacts").as_uri()]
    return Server(command, "/health", folder / "registry.log", {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"})


def ours(folder: Path, registry_url: str, name: str, workers: int) -> Server:
    """Returns our server, which follows the champion of a registry."""
    command = ["-m", "scripts.ml.serve", "--port", "{port}", "--name", name, "--workers", str(workers)]
    command += ["--rate-per-second", "0", "--switch-seconds", str(LOOK_SECONDS)]
    return Server(command, "/ready", folder / "ours.log", {"MLFLOW_TRACKING_URI": registry_url})


def models_serve(folder: Path, registry_url: str, uri: str, workers: int) -> Server:
    """Returns `mlflow models serve` of a registered model."""
    command = ["-m", "mlflow", "models", "serve", "-m", uri, "--env-manager", "local", "--host", "127.0.0.1"]
    command += ["--port", "{port}", "--workers", str(workers)]
    return Server(command, "/health", folder / "models_serve.log", {"MLFLOW_TRACKING_URI": registry_url})
