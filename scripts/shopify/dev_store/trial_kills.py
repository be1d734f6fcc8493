"""Every command killed at random moments and started again, beside one that ran undisturbed."""

import random
import shutil
from pathlib import Path
from typing import Any

from scripts.shopify.dev_store import DevStore
from scripts.shopify.dev_store.trial_data import prepare, write_inputs
from scripts.shopify.dev_store.trial_run import WORKFLOW, Step, as_row, output_of, run_process
from scripts.shopify.dev_store.trial_state import canonical_state, differences, state_counts


def trial_kills(
    folder: Path, *, rng: random.Random, num_kills: int = 20, num_products: int = 240, num_shoppers: int = 300
) -> list[dict[str, Any]]:
    """Kills each command (SIGKILL) a few times, starts it again each time, and compares the end with a calm run.

    The kills of a command come one after the other, at random requests, on the same shop; where it gets to its end
    before all of them came, the end is compared, and the rest come on a fresh copy of the shop.

    Args:
        folder: Empty folder to work in.
        rng: Source of the moments.
        num_kills: Kills in all, shared out evenly among the commands.
        num_products: Products of the shop.
        num_shoppers: Shoppers with recommendations.

    Returns:
        One row a command; `problems` says what is wrong.
    """
    base = folder / "base"
    write_inputs(base, num_products=num_products, num_shoppers=num_shoppers)
    with DevStore(base / "store.db"):
        pass
    rows: list[dict[str, Any]] = []
    for number, step in enumerate(WORKFLOW):
        kills = num_kills * (number + 1) // len(WORKFLOW) - num_kills * number // len(WORKFLOW)
        after = folder / step.module
        shutil.copytree(base, after)
        with DevStore(after / "store.db") as store:
            prepare(store, step)
        begin = folder / f"{step.module}-begin"
        shutil.copytree(after, begin)
        with DevStore(after / "store.db") as store:
            reference = run_process(store, step, after)
            expected, counts = canonical_state(store.state), state_counts(store.state)
        problems = [reference.text] if reference.status else []
        moments: list[int] = []
        rounds = 0
        while len(moments) < kills and not problems:
            rounds += 1
            again = folder / f"{step.module}-{rounds}"
            shutil.copytree(begin, again)
            with DevStore(again / "store.db") as store:
                moments += _round(store, step, again, rng, kills - len(moments), reference.requests, problems)
                problems += differences(expected, canonical_state(store.state))
            if output_of(step, again) != output_of(step, after):
                problems.append(f"{step.output} differs")
        more = {"kills": len(moments), "at_requests": moments, "rounds": rounds}
        rows.append(as_row(step.module, reference, **more, **counts, problems=problems))
        base = after
    return rows


def _round(
    store: DevStore, step: Step, folder: Path, rng: random.Random, kills: int, num_requests: int, problems: list[str]
) -> list[int]:
    """Runs the step until it gets to its end, killing it up to `kills` times; returns at which requests it was."""
    moments: list[int] = []
    while True:
        kill_at = rng.randrange(num_requests) if len(moments) < kills else None
        run = run_process(store, step, folder, kill_at=kill_at, rng=rng)
        if not run.killed:
            if run.status:
                problems.append(f"status {run.status} after {len(moments)} kills: {run.text.strip().splitlines()[-1:]}")
            return moments
        moments.append(run.requests)
