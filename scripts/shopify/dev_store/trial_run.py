"""Runs a command line as a process of its own against a local shop: measures it, and kills it where that is wanted."""

import os
import random
import re
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Protocol

from scripts.shopify.dev_store import DevStore
from training.data.inventory import load_inventory

HMAC_SECRET: Final = "secret-of-the-trial-0123456789abcdef"


@dataclass(frozen=True)
class Step:
    """One command of the workflow.

    Attributes:
        module: Of `scripts.shopify`.
        arguments: Of its command line; files are named relative to the working folder.
        output: File that it writes, if it does.
    """

    module: str
    arguments: tuple[str, ...]
    output: str | None = None


WORKFLOW: Final = (
    Step("populate_inventory", ("--inventory", "inventory.json")),
    Step("prepare_inventory_snapshot", ("snapshot.json",), "snapshot.json"),
    Step("export_orders", ("orders.tsv", "--since", "2020-01-01"), "orders.tsv"),
    Step("publish_recommendations", ("recommendations.jsonl",)),
    Step("cleanup", ("--delete",)),
)
"""All commands, in the order in which a merchant would use them."""


@dataclass(frozen=True)
class Run:
    """What came of one run.

    Attributes:
        status: Exit status; negative where a signal ended it.
        seconds: Wall time.
        requests: Requests that reached the shop.
        throttled: How many of them were answered with THROTTLED.
        faults: How many of them met a fault.
        peak_mb: Largest resident memory in MB (10^6 bytes); None where the system does not tell.
        text: What it printed, standard error included.
    """

    status: int
    seconds: float
    requests: int
    throttled: int
    faults: int
    peak_mb: float | None
    text: str

    @property
    def killed(self) -> bool:
        """Whether it was killed."""
        return self.status < 0


class Runner(Protocol):
    """Runs one step against a shop, in a folder that holds its inputs."""

    def __call__(self, store: DevStore, step: Step, folder: Path) -> Run:
        """Returns what came of it."""
        ...


def environment(store: DevStore) -> dict[str, str]:
    """Returns the environment of a command that works on this shop, and on no other."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("SHOPIFY_", "SLIREC_"))}
    return (
        kept | store.environment() | {"SLIREC_HMAC_SECRET": HMAC_SECRET, "PYTHONPATH": str(Path(__file__).parents[3])}
    )


def run_process(
    store: DevStore, step: Step, folder: Path, *, kill_at: int | None = None, rng: random.Random | None = None
) -> Run:
    """Runs one step as a process.

    Args:
        store: Running shop.
        step: Command and arguments.
        folder: Working folder.
        kill_at: Kill it (SIGKILL) a moment after so many requests, should it still run by then.
        rng: Source of that moment, up to 5 ms, and up to a second where it is before the first request.

    Returns:
        What came of it.
    """
    before, started, peak = len(store.requests), time.perf_counter(), None
    command = [sys.executable, "-m", f"scripts.shopify.{step.module}", *step.arguments]
    # What a killed process leaves in the temporary folder goes with the working folder.
    env = environment(store) | {"TMPDIR": str(folder)}
    with (folder / "printed.txt").open("w+", encoding="utf-8") as printed:
        process = subprocess.Popen(command, cwd=folder, env=env, stdout=printed, stderr=printed)
        while process.poll() is None:
            peak = _peak_mb(process.pid) or peak
            if kill_at is not None and len(store.requests) - before >= kill_at:
                time.sleep((rng or random.Random()).uniform(0, 0.005 if kill_at else 1.0))
                process.kill()
                process.wait()
            time.sleep(0.02 if kill_at is None else 0.0005)
        seconds = time.perf_counter() - started
        printed.seek(0)
        text = printed.read()
    return summary(store, before, process.returncode, seconds, peak, text)


def summary(store: DevStore, before: int, status: int, seconds: float, peak_mb: float | None, text: str) -> Run:
    """Returns a `Run` with the counts of the requests that came after the first `before`."""
    requests = store.requests[before:]
    throttled = sum(request.throttled for request in requests)
    faults = sum(request.fault is not None for request in requests)
    return Run(status, seconds, len(requests), throttled, faults, peak_mb, text)


def output_of(step: Step, folder: Path) -> Any:
    """Returns what a step has written, for comparison: the inventory, or the lines of the file."""
    if step.output is None:
        return None
    path = folder / step.output
    if path.suffix == ".json":
        return list(load_inventory(path).products)
    return path.read_text(encoding="utf-8").splitlines()


def _peak_mb(pid: int) -> float | None:
    """Returns the high-water mark of a running process's memory; Linux only.

    What wait4 tells is of no use here: a child starts with the mark of its parent.
    """
    try:
        found = re.search(r"VmHWM:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text())
    except OSError:
        return None
    return int(found[1]) * 1024 / 1e6 if found else None


def as_row(name: str, run: Run, **more: Any) -> dict[str, Any]:
    """Returns a run as a row of the table."""
    peak = None if run.peak_mb is None else round(run.peak_mb)
    counts = {"requests": run.requests, "faults": run.faults, "throttled": run.throttled}
    return {"what": name, "status": run.status, "seconds": round(run.seconds, 2), **counts, "peak_mb": peak, **more}
