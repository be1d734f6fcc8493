"""The load of the soak: locust users who ask at random moments, and a line on every request.

    python -m scripts.ml.soak_load CASES OUTPUT --url http://127.0.0.1:8000 --rate 50 --seconds 60

Each user is a `requests` session, which keeps its connection and, as urllib3 does, sees before it sends whether the
server has closed it meanwhile; a request that was sent is never sent again, so that none that a killed worker takes
with it goes unseen. Requests come as a Poisson process: a user who has to wait asks the sooner afterwards.
"""

import argparse
import itertools
import json
import random
import sys
import time
from pathlib import Path
from typing import Any, ClassVar, TextIO

from locust import HttpUser, task  # before anything that opens sockets: it makes them gevent's
from locust.env import Environment

from scripts.ml.soak_records import digest

MOST_USERS = 64  # no more than may wait at one worker
CLOSED = 0.02  # share of requests after which the connection is closed, as proxies do: new workers get their share
TIMEOUT = 30.0


class Shopper(HttpUser):
    """Asks one made-up request after the other."""

    host = "http://127.0.0.1"
    document: ClassVar[dict[str, Any]] = {}
    output: ClassVar[TextIO] = sys.stdout
    rate: ClassVar[float] = 1.0  # requests per second of this one user
    _numbers: ClassVar[itertools.count] = itertools.count()

    def on_start(self) -> None:
        """Comes at a moment of its own."""
        self._rng = random.Random(next(self._numbers))
        self._next = time.monotonic() + self._rng.expovariate(self.rate)
        self.client.trust_env = False  # no proxy on loopback
        time.sleep(self._next - time.monotonic())

    def wait_time(self) -> float:
        """Seconds to this user's next request."""
        self._next += self._rng.expovariate(self.rate)
        return max(0.0, self._next - time.monotonic())

    @task
    def ask(self) -> None:
        """Sends a request, and notes when, how long, which, the status, whose answer it is, and what went wrong."""
        number = self._rng.randrange(len(self.document["cases"]))
        case = self.document["cases"][number]
        headers = {"Content-Type": "application/json"}
        if self._rng.random() < CLOSED:
            headers["Connection"] = "close"
        start = time.monotonic()
        response = self.client.post(self.document["path"], case["body"].encode(), headers=headers, timeout=TIMEOUT)
        seconds, version, error = time.monotonic() - start, "", ""
        said = response.headers.get("X-Model-Version", "") if response.headers else ""
        if response.status_code == 200:
            version = case["right"].get(digest(response.content, self.document["field"]), "")
        elif not response.status_code:
            error = type(response.error).__name__
        line = (f"{start:.6f}", f"{seconds:.6f}", str(number), str(response.status_code), version, said, error)
        self.output.write("\t".join(line) + "\n")


def main() -> int:
    """Runs the command line; returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("cases", type=Path, help="requests with their right answers (JSON)")
    parser.add_argument("output", type=Path, help="file of lines to write")
    parser.add_argument("--url", required=True, help="server, on this machine")
    parser.add_argument("--rate", type=float, required=True, help="requests per second")
    parser.add_argument("--seconds", type=float, required=True, help="how long")
    arguments = parser.parse_args()
    users = max(1, min(MOST_USERS, round(arguments.rate)))
    with arguments.output.open("w", encoding="utf-8") as output:
        Shopper.host, Shopper.output, Shopper.rate = arguments.url, output, arguments.rate / users
        Shopper.document = json.loads(arguments.cases.read_text(encoding="utf-8"))
        environment = Environment(user_classes=[Shopper], stop_timeout=TIMEOUT + 5)
        runner = environment.create_local_runner()
        runner.start(users, spawn_rate=users)
        time.sleep(arguments.seconds)
        runner.quit()  # requests that were sent are waited for
    return 0


if __name__ == "__main__":
    sys.exit(main())
