"""One soak: the servers, the load on ours with what is done to them meanwhile, and the same load on MLflow's."""

import os
import subprocess
import sys
import time
from collections.abc import Callable, Generator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import psutil

from scripts.ml.benchmark_worker import REPOSITORY
from scripts.ml.soak_cases import make_cases, write_cases
from scripts.ml.soak_records import Fault, History, count, read_records
from scripts.ml.soak_servers import LOOK_SECONDS, Server, SoakError, kill_worker, models_serve, ours, registry

NAME = "soak"
CASES = 200
FETCH_SECONDS = 10.0  # that fetching and proving a model may take, beside the time to the next look
SETTLE_SECONDS = 10.0  # after a fault, not counted as undisturbed
HELD = 0.97  # of the rate asked for; less is not held


@dataclass(frozen=True)
class Plan:
    """How long and how much.

    Attributes:
        seconds: Of load on our server, faults included.
        rate: Requests per second.
        workers: Processes of our server, and of MLflow's.
        compare_seconds: Of load on each side for the comparison; 0: none.
        registry_away: Whether the registry goes away and comes back.
    """

    seconds: float = 600.0
    rate: float = 50.0
    workers: int = 2
    compare_seconds: float = 60.0
    registry_away: bool = True


@dataclass
class Memory:
    """Resident memory of processes, by name, once a second: seconds since the beginning, megabytes."""

    begin: float
    curves: dict[str, list[tuple[float, float]]] = field(default_factory=dict[str, list[tuple[float, float]]])

    def note(self, processes: Mapping[str, psutil.Process]) -> None:
        """Notes what each takes now."""
        for name, process in processes.items():
            with suppress(psutil.Error):
                megabytes = process.memory_info().rss / 1e6
                self.curves.setdefault(name, []).append((time.monotonic() - self.begin, megabytes))


def run(plan: Plan, bundles: tuple[Path, Path], folder: Path, step: Callable[[str, float], None]) -> dict[str, Any]:
    """Runs everything.

    Args:
        plan: How long and how much.
        bundles: Two models of one catalogue.
        folder: For the stores, logs and figures.
        step: Told what happens, and of the seconds of load that are over since the last call.

    Returns:
        `soak` (figures of `count`, faults, memory), `curve` (per second), and `comparison`.

    Raises:
        SoakError: A server did not start or stop, or the load could not be made.
    """
    with registry(folder) as store, _environment({"MLFLOW_TRACKING_URI": store.url}):
        step("the registry starts", 0)
        store.start()
        store.ready()
        from serving.registry import RegisteredVersion, log_and_register, set_alias

        step("two models are registered", 0)
        versions: list[RegisteredVersion] = [log_and_register(bundle, name=NAME) for bundle in bundles]
        by_number = {version.version: bundle for version, bundle in zip(versions, bundles, strict=True)}
        set_alias(versions[0], "champion")
        cases = make_cases(bundles[0], CASES)
        write_cases(folder / "cases.json", cases, by_number)
        with ours(folder, store.url, NAME, plan.workers) as server:
            step("our server starts", 0)
            server.start()
            server.ready()
            _load(folder / "cases.json", folder / "warm.tsv", server.url, plan.rate, 3.0)
            soak = _Soak(plan, server, store, [(v.version, lambda v=v: set_alias(v, "champion")) for v in versions])
            document: dict[str, Any] = {"soak": soak.run(folder, step)}
            if plan.compare_seconds:
                document["comparison"] = {"ours": _plain(plan, server, folder / "cases.json", folder / "o.tsv", step)}
            document["soak"]["stopped_with"] = server.stop()
        if plan.compare_seconds:
            uri = versions[0].model_uri
            write_cases(folder / "pyfunc.json", cases, {versions[0].version: bundles[0]}, pyfunc=True)
            with models_serve(folder, store.url, uri, plan.workers) as server:
                step("mlflow models serve starts", 0)
                server.start()
                server.ready()
                _load(folder / "pyfunc.json", folder / "warm.tsv", server.url, plan.rate, 3.0)
                document["comparison"]["models_serve"] = _plain(
                    plan, server, folder / "pyfunc.json", folder / "m.tsv", step
                )
        return document


class _Soak:
    """The load, and what is done during it: each at a share of the time."""

    def __init__(
        self, plan: Plan, server: Server, store: Server, champions: list[tuple[str, Callable[[], object]]]
    ) -> None:
        self.plan, self.server, self.store = plan, server, store
        self.champions = champions  # version and what makes it the champion
        self.begin = time.monotonic()
        self.history = History([(self.begin, self.begin, champions[0][0])], LOOK_SECONDS + FETCH_SECONDS)
        self.names: dict[int, str] = {}
        self.problems: list[BaseException] = []

    def run(self, folder: Path, step: Callable[[str, float], None]) -> dict[str, Any]:
        output, seconds = folder / "soak.tsv", self.plan.seconds
        todo = [(0.15, "a new champion is switched in", self.switch), (0.35, "a worker is killed", self.kill)]
        if self.plan.registry_away:
            todo += [
                (0.5, "the registry stops", self.store.stop),
                (0.56, "a worker is killed while the registry is away", self.kill),
                (0.62, "the registry comes back", self.back),
                (0.75, "the first champion is switched in again", self.switch),
            ]
        with (
            ThreadPoolExecutor(1) as actions,  # one after the other, should one take longer than planned
            _loading(folder / "cases.json", output, self.server.url, self.plan.rate, seconds) as load,
        ):
            while load.poll() is None and not output.exists():  # locust takes seconds to start
                time.sleep(0.05)
            self.begin = time.monotonic()
            memory = Memory(self.begin)
            while load.poll() is None:
                time.sleep(1.0)
                passed = time.monotonic() - self.begin
                memory.note(self._processes())
                while todo and passed >= todo[0][0] * seconds:
                    _, name, action = todo.pop(0)
                    step(name, 0)
                    actions.submit(self._do, name, action)
                step("", 1)
        if self.problems:
            raise SoakError(f"a fault could not be made: {self.problems[0]}") from self.problems[0]
        records = read_records(output)
        return count(records, self.history) | {
            "rate": self.plan.rate,
            "workers": self.plan.workers,
            "switch_seconds": self.history.switch_seconds(records),
            "look_seconds": LOOK_SECONDS,
            "faults": [[f.name, f.start - self.begin, f.end - self.begin] for f in self.history.faults],
            "memory": memory.curves,
            "latency": _by_time([(r.start - self.begin, r.seconds * 1000) for r in records if r.status == 200]),
        }

    def _do(self, name: str, action: Callable[[], object]) -> None:
        start = time.monotonic()
        try:
            action()
        except BaseException as error:
            self.problems.append(error)
        self.history.faults.append(Fault(name, start, time.monotonic() + SETTLE_SECONDS))

    def switch(self) -> None:
        self.champions.append(self.champions.pop(0))
        version, order = self.champions[0]
        before = time.monotonic()
        order()
        self.history.versions.append((before, time.monotonic(), version))

    def kill(self) -> None:
        self.history.kills.append(kill_worker(self.server.workers()[-1]))
        end = time.monotonic() + 60
        while len(self.server.workers()) < self.plan.workers:
            if time.monotonic() > end:
                raise SoakError("a killed worker should be replaced within 60 s. Received: none")
            time.sleep(0.1)

    def back(self) -> None:
        self.store.start()
        self.store.ready()

    def _processes(self) -> dict[str, psutil.Process]:
        for worker in self.server.workers():
            self.names.setdefault(worker.pid, f"worker {len(self.names) + 1}")
        alive = {name: psutil.Process(pid) for pid, name in self.names.items() if psutil.pid_exists(pid)}
        return {"supervisor": psutil.Process(self.server.pid)} | alive


def _plain(plan: Plan, server: Server, cases: Path, output: Path, step: Callable[[str, float], None]) -> dict[str, Any]:
    """Load without faults; where the rate is not held, once more at what was."""
    step("the comparison", 0)
    found = _measured(cases, output, server, plan.rate, plan.compare_seconds, step)
    if found["per_second"] >= HELD * plan.rate:
        return found
    held = _measured(cases, output, server, 0.8 * found["per_second"], plan.compare_seconds, step)
    return found | {"held": held}


def _measured(
    cases: Path, output: Path, server: Server, rate: float, seconds: float, step: Callable[[str, float], None]
) -> dict[str, Any]:
    begin = time.monotonic()
    _load(cases, output, server.url, rate, seconds, step)
    # Whichever model answers, it is right about it.
    records = read_records(output)
    history = History(
        [(begin, begin, version) for version in sorted({r.version for r in records} - {""})], float("inf")
    )
    return count(records, history) | {"rate": rate}


def _load(
    cases: Path, output: Path, url: str, rate: float, seconds: float, step: Callable[[str, float], None] | None = None
) -> None:
    with _loading(cases, output, url, rate, seconds) as load:
        while load.poll() is None:
            time.sleep(1.0)
            if step:
                step("", 1)


@contextmanager
def _loading(cases: Path, output: Path, url: str, rate: float, seconds: float) -> Generator["subprocess.Popen[bytes]"]:
    """Starts the load; at the end it must have ended well."""
    command = [sys.executable, "-m", "scripts.ml.soak_load", str(cases), str(output), "--url", url]
    command += ["--rate", str(rate), "--seconds", str(seconds)]
    with output.with_suffix(".log").open("wb") as log:
        process = subprocess.Popen(command, cwd=REPOSITORY, stdout=log, stderr=log)
    try:
        yield process
    finally:
        if process.poll() is None:
            process.kill()
        process.wait()
    if process.returncode:
        last = " ".join(output.with_suffix(".log").read_text(errors="replace").split()[-40:])
        raise SoakError(f"the load ended with status {process.returncode}: {last}")


def _by_time(answers: list[tuple[float, float]], bins: int = 120) -> list[list[float]]:
    """(second, p50, p99, max) of the answers, in equal steps of time."""
    if not answers:
        return []
    width = max(1.0, answers[-1][0] / bins)
    by_step: dict[int, list[float]] = {}
    for second, milliseconds in answers:
        by_step.setdefault(int(second / width), []).append(milliseconds)
    return [[(n + 0.5) * width, *map(float, np.percentile(v, (50, 99))), max(v)] for n, v in sorted(by_step.items())]


@contextmanager
def _environment(values: Mapping[str, str]) -> Generator[None]:
    before = {name: os.environ.get(name) for name in values}
    os.environ.update(values)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
