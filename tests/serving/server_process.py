"""Servers of the tests: each a process of its own, with its output in a file."""

import json
import os
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]


def clean_environment(**values: str) -> dict[str, str]:
    """This process's variables without its Python path, its MLflow and its SLi-Rec settings, and with `values`.

    PATH begins with this environment's commands, as where it is activated: MLflow starts uvicorn and uv by name.
    """
    foreign = ("PYTHONPATH", "PYTHONHOME", "VIRTUAL_ENV", "MLFLOW_", "SLIREC_")
    kept = {name: value for name, value in os.environ.items() if not name.startswith(foreign)}
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath)])
    quiet = {"MLFLOW_DISABLE_TELEMETRY": "true", "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false"}
    return {**kept, **quiet, "PATH": path, **values}


class Server:
    """A process that listens on a free port of the loopback interface.

    Args:
        command: `{port}` stands for the port.
        health: Path that answers 200 once the server is ready.
    """

    def __init__(self, command: Sequence[str], health: str, log: Path, environment: Mapping[str, str], cwd: Path):
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self.url, self._health, self._log = f"http://127.0.0.1:{self.port}", health, log
        with log.open("w") as stream:
            self.process = subprocess.Popen(
                [part.format(port=self.port) for part in command],
                cwd=cwd,
                env=dict(environment),
                stdout=stream,
                stderr=stream,
                start_new_session=True,  # some servers have children, which have to end with them
            )

    @property
    def output(self) -> str:
        return self._log.read_text(errors="replace")

    def wait(self, seconds: float = 120) -> None:
        """Returns once the server is ready."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline and self.process.poll() is None:
            with suppress(OSError), urllib.request.urlopen(self.url + self._health, timeout=5) as response:
                if response.status == 200:
                    return
            time.sleep(0.1)
        raise AssertionError(f"{self.process.args} is not ready:\n{self.output[-3000:]}")

    def post(self, path: str, body: object, seconds: float = 30) -> tuple[int, str]:
        """Status and text of the answer to a JSON document."""
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        request = urllib.request.Request(self.url + path, data, {"Content-Type": "application/json"})
        try:
            with urllib.request.urlopen(request, timeout=seconds) as response:
                return response.status, response.read().decode()
        except urllib.error.HTTPError as error:
            with error:
                return error.code, error.read().decode()

    def stop(self) -> None:
        with suppress(ProcessLookupError):
            os.killpg(self.process.pid, 9)
        self.process.wait(20)
