"""Validation reports of imports: rows in, rows out, and why each of the others was dropped."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import polars as pl

from training.data.validation import InteractionsError, ValidationReport


@dataclass(frozen=True)
class ImportReport(ValidationReport):
    """What an import made of the rows of its source.

    Attributes:
        rows_in: Rows of the source.
        dropped: Number of rows that are not in the output, by reason; each row has one reason. A row that was merged
            into another one counts here as well.
        notes: Other counts worth knowing, by name.
    """

    notes: Mapping[str, int] = field(default_factory=dict[str, int])

    def text(self) -> str:
        """Returns the report as lines of text, one count a line."""
        rows = [("Rows in", self.rows_in), ("Rows dropped", sum(self.dropped.values()))]
        rows += [(f"  {reason}", count) for reason, count in self.dropped.items()]
        rows += [("Rows out", self.rows_out), *self.notes.items()]
        width = max(len(label) for label, _ in rows)
        return "\n".join(f"{label:<{width}}  {count:>12,}" for label, count in rows)


class DropCounter:
    """Counts the rows that an import drops, reason by reason.

    Args:
        rows_in: Rows of the source.
    """

    def __init__(self, rows_in: int):
        self._rows_in = rows_in
        self._dropped: dict[str, int] = {}

    def add(self, reason: str, rows: int = 1) -> None:
        """Adds `rows` dropped rows to a reason; a reason that applied to none is left out of the report."""
        if rows:
            self._dropped[reason] = self._dropped.get(reason, 0) + rows

    def keep(self, table: pl.DataFrame, condition: pl.Expr, reason: str) -> pl.DataFrame:
        """Returns the rows for which `condition` is true, and counts the others (null is not true) as dropped."""
        kept = table.filter(condition)
        self.add(reason, table.height - kept.height)
        return kept

    def report(self, notes: Mapping[str, int] | None = None) -> ImportReport:
        """Returns the report.

        Args:
            notes: Other counts worth knowing, by name.

        Raises:
            InteractionsError: If no row is left.
        """
        report = ImportReport(self._rows_in, dict(self._dropped), dict(notes or {}))
        if report.rows_out < 1:
            why = "; ".join(f"{reason}: {count}" for reason, count in report.dropped.items()) or "the source is empty"
            raise InteractionsError(
                f"An import should have at least one usable row. Received: {report.rows_in} rows; dropped: {why}"
            )
        return report
