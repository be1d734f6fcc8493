"""One measured figure of both sides, and the document that all figures are kept in."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from statistics import median
from typing import Any, Literal

from scripts.ml.benchmark_data import read_json
from training.files import write_json

FORMAT_VERSION = 1
Kind = Literal["seconds", "bytes", "share"]


@dataclass(frozen=True)
class Row:
    """One task, measured on both sides.

    Attributes:
        task: What was measured.
        kind: "seconds" and "bytes" (less is better), or "share" (nothing to compare).
        ours: Value of each repeat.
        reference: Value of each repeat; empty where the reference has none.
        operations: Matrix-product operations that the task cannot do without; None where it has none.
        count: How many `unit` the task handles, for a rate.
        unit: What is counted: "examples", "shoppers", ...
        headline: Whether the plot shows it.
        note: What a reader should know of this row.
    """

    task: str
    kind: Kind
    ours: Sequence[float]
    reference: Sequence[float] = field(default_factory=list)
    operations: float | None = None
    count: float | None = None
    unit: str = ""
    headline: bool = False
    note: str = ""

    def document(self) -> dict[str, Any]:
        """Returns the row with medians and the ratio to the reference."""
        ours = median(self.ours)
        reference = median(self.reference) if self.reference else None
        timed = self.kind == "seconds" and self.count is not None
        return asdict(self) | {
            "ours_median": ours,
            "reference_median": reference,
            "ratio": None if reference is None or self.kind == "share" else reference / ours,
            "ours_per_second": self.count / ours if timed and self.count else None,
            "reference_per_second": self.count / reference if timed and self.count and reference else None,
        }


def load_document(path: Path) -> dict[str, Any]:
    """Returns the stored document, or an empty one where there is none of this format version."""
    document = read_json(path)
    if isinstance(document, dict) and document.get("format_version") == FORMAT_VERSION:
        return document
    return {"format_version": FORMAT_VERSION, "machine": {}, "parts": {}}


def store_part(path: Path, machine: dict[str, Any], name: str, part: dict[str, Any]) -> dict[str, Any]:
    """Replaces one part of the stored document, atomically, and returns the whole.

    The arithmetic floors of all parts are taken from the best rate of matrix products that any of them saw: the floor
    is what the machine can do, not what it did while something else ran. Parts measured on another machine are dropped.

    Args:
        path: The document.
        machine: What `describe_machine` returns.
        name: Name of the part.
        part: `rows`, as `Row.document` returns them, `product_rate` in operations per second, and what else there is.
    """
    document = load_document(path)
    if any(document["machine"].get(key) != machine[key] for key in ("cores", "processor")):
        document["parts"] = {}
    document["parts"][name] = part
    rate = max(part["product_rate"] for part in document["parts"].values())
    document["machine"] = machine | {"product_rate": rate}
    for row in (row for part in document["parts"].values() for row in part["rows"]):
        floor = None if row["operations"] is None else row["operations"] / rate
        row["floor_seconds"] = floor
        row["share_of_floor"] = None if floor is None else floor / row["ours_median"]
    write_json(document, path)
    return document
