"""What bulk operations do: all objects of a query, or a mutation for every line of a staged file."""

import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from scripts.shopify.dev_store.bulk_documents import Outer, QueryPlan, objects_of, plan_query
from scripts.shopify.dev_store.bulk_operations import AccessDenied, Batch, Json
from scripts.shopify.dev_store.engine import Engine, Prepared, engine_of
from scripts.shopify.dev_store.registry import Context
from scripts.shopify.dev_store.strict_json import read_json

if TYPE_CHECKING:
    from scripts.shopify.dev_store import DevStore

STEP_SECONDS: Final = 0.04
"""About how long one step may keep others waiting."""
FIRST_PAGE, LARGEST_PAGE = 20, 500
BLOCK: Final = 200
"""Outermost objects that are mixed with the nested ones at a time."""
HELD_BACK: Final = 300
"""Nested objects at most that come with a later block than the one they belong to."""


@dataclass(frozen=True, slots=True)
class UnpagedContext(Context):
    """Context of a bulk query, whose nested connections come whole.

    Attributes:
        unpaged: See `pagination.page`.
        memo: What a resolver wants to keep until the next page.
    """

    unpaged: bool = True
    memo: dict[Any, Any] = field(default_factory=dict)


def query_batches(context: Context, text: str, grouped: bool, seed: int) -> Iterator[Batch]:
    """Yields the objects that a bulk query finds, a page of outermost objects at a time.

    Args:
        context: Of the request that started it.
        text: The query; it passed the rules.
        grouped: Whether nested objects come right after the one that they belong to; else anywhere, also before it.
        seed: Where they come then is drawn from this.

    Raises:
        AccessDenied: A scope is missing.
        RuntimeError: A field could not be answered.
    """
    engine = engine_of("admin")
    plan = plan_query(engine.schema, text)
    prepared = engine.prepare(plan.document)
    unpaged = UnpagedContext(**{each.name: getattr(context, each.name) for each in fields(Context)})
    shuffle = _Shuffle(np.random.default_rng(seed))
    for outer in plan.outer:
        for nodes in _pages(engine, prepared, unpaged, plan, outer):
            objects = [list(objects_of(node, outer.shape)) for node in nodes]
            if grouped:
                yield Batch([each for group in objects for each in group], len(nodes))
            else:
                yield shuffle.add(objects)
    yield shuffle.rest()


class _Shuffle:
    """Takes nested objects away from the ones that they belong to, in bounded memory.

    What comes out does not depend on how the objects were cut into pages.
    """

    def __init__(self, rng: np.random.Generator):
        self._rng = rng
        self._waiting: list[list[Json]] = []
        self._held: list[Json] = []

    def add(self, groups: list[list[Json]]) -> Batch:
        """Takes outermost objects, each with what is nested in it, and returns what may be written."""
        self._waiting += groups
        lines, roots = [], 0
        while len(self._waiting) > BLOCK:
            block, self._waiting = self._waiting[:BLOCK], self._waiting[BLOCK:]
            lines += self._block(block, most_held=HELD_BACK)
            roots += BLOCK
        return Batch(lines, roots)

    def rest(self) -> Batch:
        """Returns everything that is left."""
        return Batch(self._block(self._waiting, most_held=0), len(self._waiting))

    def _block(self, groups: list[list[Json]], most_held: int) -> list[Json]:
        pool = self._held + [nested for group in groups for nested in group[1:]]
        pool = [pool[index] for index in self._rng.permutation(len(pool))]
        held = min(most_held, len(pool) // 2)
        self._held, ready = pool[:held], pool[held:]
        sources = np.repeat([0, 1], [len(groups), len(ready)])
        self._rng.shuffle(sources)
        queues = (iter([group[0] for group in groups]), iter(ready))
        return [next(queues[source]) for source in sources]


def _pages(
    engine: Engine, prepared: Prepared, context: UnpagedContext, plan: QueryPlan, outer: Outer
) -> Iterator[list[Json]]:
    # One object may have thousands nested in it, and all that a page finds is in memory at once.
    size, after, more = 1 if outer.shape else FIRST_PAGE, None, True
    while more:
        begun = time.perf_counter()
        with context.state.transaction():  # not only the lock: this fails where the state was closed meanwhile
            answer = engine.execute(prepared, plan.variables(outer, size, after), context)
        if denied := _denial(answer):
            raise AccessDenied(denied)
        if "errors" in answer:
            raise RuntimeError(answer["errors"][0]["message"])
        found: Any = answer["data"]
        for key in outer.path:
            found = found and found[key]
        if found is None:
            return
        yield [edge["node"] for edge in found["edges"] if edge["node"] is not None]
        more, after = found["pageInfo"]["hasNextPage"], found["pageInfo"]["endCursor"]
        size = _next_size(size, time.perf_counter() - begun)


def _next_size(size: int, seconds: float) -> int:
    return int(np.clip(size * STEP_SECONDS / max(seconds, 1e-4), max(1, size // 4), min(LARGEST_PAGE, size * 4)))


def mutation_batches(
    store: "DevStore", scopes: frozenset[str], mutation: str, path: Path, limit: int | None = None
) -> Iterator[Batch]:
    """Carries out a mutation once for each line of a file, and yields what came of it.

    Args:
        store: The shop.
        scopes: What the token may do.
        mutation: The mutation; it passed the rules.
        path: JSONL file with the variables of each.
        limit: Only so many lines.

    Yields:
        Batches of `{data, __lineNumber}`, with `errors` where there are any; lines are counted from 0.

    Raises:
        AccessDenied: A scope is missing.
    """
    prepared = engine_of("admin").prepare(mutation)
    with path.open("rb") as file:
        lines = enumerate(line for line in file if line.strip())
        left = True
        while left:
            begun, done, denied = time.perf_counter(), [], None
            with store.state.transaction():
                while time.perf_counter() - begun < STEP_SECONDS:
                    number, line = next(lines, (0, b""))
                    left = bool(line) and (limit is None or number < limit)
                    if not left:
                        break
                    answer = _one_line(store, scopes, prepared, line)
                    if denied := _denial(answer):
                        break
                    done.append({**answer, "__lineNumber": number})
            if done:
                yield Batch(done, len(done))
            if denied:
                raise AccessDenied(denied)


def _one_line(store: "DevStore", scopes: frozenset[str], prepared: Prepared, line: bytes) -> Json:
    try:
        variables = read_json(line)
    except ValueError:
        return {"errors": [{"message": "The line is not valid JSON."}]}
    if not isinstance(variables, dict):
        return {"errors": [{"message": "The line should be a JSON object of the mutation's variables."}]}
    answer = store.carry_out(prepared, variables, "admin", scopes)
    return {key: answer[key] for key in ("data", "errors") if key in answer}


def _denial(answer: Mapping[str, Any]) -> str | None:
    for error in answer.get("errors") or ():
        if (error.get("extensions") or {}).get("code") == "ACCESS_DENIED":
            return error["message"]
    return None
