"""Generates synthetic shoppers' interactions with the products of an inventory snapshot.

    python -m scripts.ml.generate_interactions INVENTORY [OUTPUT] [--users 4000] [--days 120] [--seed 42]

Rows are sorted by time over all users. Beside OUTPUT goes `<stem>.oracle.npz`, from which `interaction_oracle` gives
the true probability of every next product.
"""

import argparse
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from scripts.ml.interaction_output import write_interaction_file, write_oracle_file
from scripts.ml.interaction_rules import DEFAULT_RULES, InteractionRules
from scripts.ml.interaction_world import build_world, check_parameters
from scripts.ml.shopper_plan import Plan, draw_plan, most_sessions
from scripts.ml.shopper_simulation import State, Taste, World, draw_taste
from scripts.ml.shopper_steps import draw_step
from training.data.inventory import Inventory, InventoryError, load_inventory

CHUNK = 10_000  # users simulated in lockstep: their state stays within some tens of megabytes ...
CHUNK_CELLS = 10_000_000  # ... and with a large catalogue fewer, so that users x products stays within this
ORACLE_ROWS = 1_000_000  # up to so many rows the oracle file is written by default


@dataclass(frozen=True)
class Interactions:
    """Generated interactions, user after user, in order of time, with the generator's state before each step.

    Attributes:
        inventory: The catalogue.
        world: Catalogue and groups as tables.
        taste: Of each user.
        plan: Offsets of the users, session starts and timestamps.
        product: (N,) int16 or int32, product number in catalogue order.
        group: (N,) int16, active within-category group before the step, -1 before the first.
        slot: (N,) int8, place in the active group before the step.
        component: (N,) int8, component of the mixture that was drawn, see `shopper_simulation.COMPONENTS`.
    """

    inventory: Inventory
    world: World
    taste: Taste
    plan: Plan
    product: NDArray[np.signedinteger]
    group: NDArray[np.int16]
    slot: NDArray[np.int8]
    component: NDArray[np.int8]

    @property
    def num_users(self) -> int:
        """Number of users."""
        return len(self.plan.offsets) - 1

    def user_ids(self) -> NDArray[np.str_]:
        """Returns (U,) user ids `user_000000`, `user_000001`, ..."""
        return user_ids(self.num_users)


def user_ids(users: int) -> NDArray[np.str_]:
    """Returns (users,) ids `user_000000`, `user_000001`, ... that sort by number."""
    width = max(6, len(str(users - 1)))
    return np.char.add("user_", np.char.zfill(np.arange(users).astype(str), width))


def generate(
    inventory: Inventory,
    rules: InteractionRules = DEFAULT_RULES,
    *,
    users: int,
    days: int,
    seed: int,
    progress: Callable[[int], object] | None = None,
) -> Interactions:
    """Simulates shoppers.

    Args:
        inventory: Catalogue.
        rules: Groups and parameters.
        users: Number of users.
        days: Length of the observation in days.
        seed: Same seed, same interactions.
        progress: Called with the number of interactions generated since the last call.

    Returns:
        The interactions with the state that the oracle needs.

    Raises:
        RulesError: If the rules name products that the inventory lacks, or cannot work.
    """
    if users < 1:
        raise ValueError(f"`users` should be a positive integer. Received: users = {users}")
    parameters = rules.parameters
    check_parameters(parameters)
    if most_sessions(parameters, days) < parameters.min_sessions:
        raise ValueError(f"`days` should leave room for {parameters.min_sessions} sessions. Received: days = {days}")
    chunk = max(100, min(CHUNK, CHUNK_CELLS // len(inventory.products)))
    world_seed, *chunk_seeds = np.random.SeedSequence(seed).spawn(1 + -(-users // chunk))
    world = build_world(inventory, rules, np.random.default_rng(world_seed))
    parts: list[tuple[Taste, Plan, NDArray, NDArray, NDArray, NDArray]] = []
    for number, chunk_seed in enumerate(chunk_seeds):
        rng = np.random.default_rng(chunk_seed)
        size = min(chunk, users - number * chunk)
        taste = draw_taste(world, size, rng)
        plan = draw_plan(parameters, size, days, rng)
        parts.append((taste, plan, *_simulate(world, taste, plan, rng, progress)))
    tastes, plans, *columns = zip(*parts, strict=True)
    shifts = np.cumsum([0, *(plan.offsets[-1] for plan in plans)])
    return Interactions(
        inventory=inventory,
        world=world,
        taste=Taste(
            *(np.concatenate([getattr(t, name) for t in tastes]) for name in ("category", "group", "backwards"))
        ),
        plan=Plan(
            offsets=np.concatenate([[0], *(plan.offsets[1:] + s for plan, s in zip(plans, shifts, strict=False))]),
            start=np.concatenate([plan.start for plan in plans]),
            timestamp=np.concatenate([plan.timestamp for plan in plans]),
        ),
        **{
            name: np.concatenate(column)
            for name, column in zip(("product", "group", "slot", "component"), columns, strict=True)
        },
    )


def _simulate(
    world: World, taste: Taste, plan: Plan, rng: np.random.Generator, progress: Callable[[int], object] | None
) -> tuple[NDArray, NDArray, NDArray, NDArray]:
    """Walks all users of a chunk in lockstep; returns (product, group, slot, component), user after user."""
    counts = np.diff(plan.offsets)
    order = np.argsort(-counts, kind="stable")  # the users who still go on are always the first ones
    taste, offsets, counts = taste[order], plan.offsets[:-1][order], counts[order]
    users, padding = len(counts), world.num_products
    length = world.parameters.max_session_length

    product_out = np.empty(plan.offsets[-1], np.int16 if padding < 2**15 else np.int32)
    group_out = np.empty(plan.offsets[-1], np.int16)
    slot_out = np.empty(plan.offsets[-1], np.int8)
    component_out = np.empty(plan.offsets[-1], np.int8)

    group, slot = np.full(users, -1), np.zeros(users, np.int64)
    current = np.full(users, padding)
    session = np.full((users, length), padding)
    session_size = np.zeros(users, np.int64)
    previous = session.copy()
    seen = np.zeros((users, padding + 1), bool)
    seen[:, -1] = True

    for step in range(int(counts[0])):
        n = int(np.searchsorted(-counts, -step))  # users with more than `step` interactions
        rows = offsets[:n] + step
        start = plan.start[rows]
        starting = np.flatnonzero(start)
        previous[starting] = session[starting]
        session[starting] = padding
        session_size[starting] = 0
        seen[starting, :-1] = False
        gap = (plan.timestamp[rows] - plan.timestamp[rows - 1]) / 86_400.0 if step else np.zeros(n)
        state = State(start, gap.astype(np.float32), group[:n], slot[:n], current[:n], seen[:n], previous[:n])
        group_out[rows], slot_out[rows] = group[:n], slot[:n]
        product, group[:n], slot[:n], component_out[rows] = draw_step(world, taste[:n], state, rng)
        product_out[rows] = product
        current[:n] = product
        everyone = np.arange(n)
        session[everyone, session_size[:n]] = product
        session_size[:n] += 1
        seen[everyone, product] = True
        if progress is not None:
            progress(n)
    return product_out, group_out, slot_out, component_out


def main(argv: Sequence[str] | None = None) -> int:
    """Generates and writes interactions; returns the exit status."""
    parser = argparse.ArgumentParser(description="Generate synthetic shoppers' interactions with an inventory.")
    parser.add_argument("inventory", help="inventory snapshot (.pkl or .json)")
    parser.add_argument(
        "output", nargs="?", help="file to write (default: data/interactions.tsv, or .parquet with --format parquet)"
    )
    parser.add_argument("--users", type=int, default=4000, help="number of shoppers (default: %(default)s)")
    parser.add_argument("--days", type=int, default=120, help="days of observation (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=42, help="same seed, same interactions (default: %(default)s)")
    parser.add_argument("--format", choices=("tsv", "parquet"), help="default: by the suffix of OUTPUT, else tsv")
    parser.add_argument(
        "--oracle",
        action=argparse.BooleanOptionalAction,
        help=f"write the true probabilities' state beside OUTPUT (default: up to {ORACLE_ROWS:,} interactions)",
    )
    arguments = parser.parse_args(argv)
    form = arguments.format or ("parquet" if str(arguments.output).endswith(".parquet") else "tsv")
    output = Path(arguments.output or f"data/interactions.{form}")
    try:
        if output.suffix in (".tsv", ".parquet") and output.suffix != f".{form}":
            raise ValueError(f"`output` should end with .{form} for --format {form}. Received: {output}")
        inventory = load_inventory(arguments.inventory)
        with tqdm(unit=" interactions", unit_scale=True, desc="simulating", delay=0.5) as bar:
            interactions = generate(
                inventory, users=arguments.users, days=arguments.days, seed=arguments.seed, progress=bar.update
            )
        total = len(interactions.product)
        with tqdm(total=total, unit=" rows", unit_scale=True, desc="writing") as bar:
            write_interaction_file(interactions, output, form, progress=bar.update)
        oracle = output.with_name(f"{output.stem}.oracle.npz")
        if arguments.oracle if arguments.oracle is not None else total <= ORACLE_ROWS:
            write_oracle_file(interactions, oracle)
        else:
            oracle.unlink(missing_ok=True)  # one of an earlier run would not fit these interactions
    except (InventoryError, ValueError, OSError) as error:
        print(f"error: {' '.join(str(error).split())}", file=sys.stderr)
        return 1
    print(f"{output}: {total:,} interactions of {interactions.num_users:,} users")
    return 0


if __name__ == "__main__":
    sys.exit(main())
