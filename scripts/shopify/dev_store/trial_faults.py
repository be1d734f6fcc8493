"""The whole workflow with a fault in every tenth request, beside one without any."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from scripts.shopify.dev_store import DevStore
from scripts.shopify.dev_store.faults import DEFAULT
from scripts.shopify.dev_store.trial_data import prepare, write_inputs
from scripts.shopify.dev_store.trial_run import WORKFLOW, Run, Runner, as_row, output_of, run_process
from scripts.shopify.dev_store.trial_state import canonical_state, differences, state_counts

NAMES: Final = (*DEFAULT, "bulk failed")


def trial_faults(
    folder: Path,
    *,
    num_products: int = 240,
    num_shoppers: int = 300,
    every: int = 10,
    run: Runner = run_process,
    make_store: Callable[[Path], DevStore] = DevStore,
) -> list[dict[str, Any]]:
    """Runs the workflow on two shops, one of which has a fault in every tenth request, and compares them.

    After each command the second shop must hold what the first one holds, ids included, and the command must have
    written the same file.

    Args:
        folder: Empty folder to work in.
        num_products: Products of the shop.
        num_shoppers: Shoppers with recommendations.
        every: Number of requests to each of which comes one fault.
        run: Runs one step.
        make_store: Makes a shop on a file.

    Returns:
        One row a command; `problems` says what is wrong.
    """
    calm, rough = (folder / name for name in ("calm", "rough"))
    for one in (calm, rough):
        write_inputs(one, num_products=num_products, num_shoppers=num_shoppers)
    rows: list[dict[str, Any]] = []
    with make_store(calm / "store.db") as reference, make_store(rough / "store.db") as store:
        store.faults.every(every, NAMES)
        for step in WORKFLOW:
            for one in (reference, store):
                prepare(one, step)
            undisturbed = run(reference, step, calm)
            disturbed = run(store, step, rough)
            problems = _problems(undisturbed, disturbed)
            problems += differences(canonical_state(reference.state), canonical_state(store.state))
            if output_of(step, calm) != output_of(step, rough):
                problems.append(f"{step.output} differs")
            rows.append(as_row(step.module, disturbed, **state_counts(store.state), problems=problems))
    return rows


def _problems(undisturbed: Run, disturbed: Run) -> list[str]:
    return [
        f"status {run.status} {name} faults: {run.text.strip().splitlines()[-1:]}"
        for name, run in (("without", undisturbed), ("with", disturbed))
        if run.status
    ]
