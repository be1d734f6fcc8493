"""What a usable interaction is, in one narwhals definition: types, reasons to drop a row, and the report."""

from collections.abc import Callable, Generator, Iterable, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final, cast

import narwhals as nw

from training.data.columns import CATEGORY, INTERACTION_COLUMNS, ITEM, LABEL, TIMESTAMP, USER
from training.data.spark import is_spark
from training.feature_config import OWNERS, Feature, FeaturesConfig

MISSING_NUMBER: Final = float("-inf")
REASON: Final = "reason"  # 0 = usable, else 1 + index into DROP_REASONS
DROP_REASONS: Final = (
    "label is not 0 or 1",
    "no user_id",
    "no item_handle",
    "timestamp is not UNIX seconds",
    "label is 0 (not a positive interaction)",
    "item_handle is not in the catalogue",
)
TEXT_COLUMNS: Final = (USER, ITEM, CATEGORY)
_LATEST_TIMESTAMP: Final = 100_000_000_000  # the year 5138: anything later is milliseconds

Frame = nw.LazyFrame[Any]
Hold = Callable[[Frame], Frame]


class InteractionsError(ValueError):
    """A file or frame that cannot be used as interactions."""


@dataclass(frozen=True)
class ValidationReport:
    """What a check of interactions found.

    Attributes:
        rows_in: Rows looked at.
        dropped: Number of unusable rows by reason (the first of `DROP_REASONS` that applies to a row); reasons that
            applied to none are left out.
    """

    rows_in: int
    dropped: Mapping[str, int]

    @property
    def rows_out(self) -> int:
        """Rows that are usable."""
        return self.rows_in - sum(self.dropped.values())


def typed(native: Any, features: FeaturesConfig | None = None) -> Frame:
    """Selects the five columns of interactions from any frame and gives them their types, lazily.

    Args:
        native: pandas, Polars, DuckDB or Spark frame, or a narwhals one.
        features: Custom features whose columns are selected too, where the frame has them.

    Returns:
        narwhals frame: label and timestamp int64 (null where the value is no whole number), the others text; then the
        columns of features under the names of `feature_alias`: text, "" where it is missing, or float64, minus infinity
        where it is.

    Raises:
        InteractionsError: If it is no such frame, a column is missing, or a column has an unusable type.
    """
    try:
        frame = nw.from_native(native)
    except TypeError as error:
        raise InteractionsError(
            f"Interactions should be a pandas, Polars, DuckDB or Spark frame. Received: {type(native).__name__}"
        ) from error
    columns = frame.collect_schema().names()
    if missing := [name for name in INTERACTION_COLUMNS if name not in columns]:
        raise InteractionsError(
            f"Interactions should have the columns {', '.join(INTERACTION_COLUMNS)}. "
            f"Missing: {', '.join(missing)}. Received: {', '.join(columns)}"
        )
    named = [(owner, feature) for owner in OWNERS for feature in (features.of(owner) if features else ())]
    named = [(owner, feature) for owner, feature in named if not feature.from_clock and feature.source in columns]
    extra = dict.fromkeys(feature.source for _, feature in named if feature.source not in INTERACTION_COLUMNS)
    frame = frame.select(*INTERACTION_COLUMNS, *extra)
    if frame.implementation.is_pandas():
        # NumPy columns turn whole numbers with gaps into floats and gaps in text into "nan"; Arrow's do neither.
        pandas_frame = frame.to_native()
        frame = nw.from_native(pandas_frame.convert_dtypes(dtype_backend="pyarrow"))
    schema = frame.collect_schema()
    return cast(Frame, frame.lazy()).select(
        *(
            _text(name, schema[name]) if name in TEXT_COLUMNS else whole_number(name, schema[name])
            for name in INTERACTION_COLUMNS
        ),
        *(_value(owner, feature, schema[feature.source]) for owner, feature in named),
    )


def feature_alias(owner: str, feature: Feature) -> str:
    """Returns the name of a feature's column among interactions: no column of theirs can have it."""
    return f"{owner}:{feature.name}"


def _value(owner: str, feature: Feature, dtype: nw.dtypes.DType) -> nw.Expr:
    column, alias = nw.col(feature.source), feature_alias(owner, feature)
    if feature.kind == "numeric":
        if dtype.is_numeric():
            column = column.cast(nw.Float64)
            return nw.when(column.is_finite()).then(column).otherwise(nw.lit(MISSING_NUMBER)).alias(alias)
        expected = "numbers"
    else:
        if isinstance(dtype, nw.String | nw.Categorical | nw.Enum | nw.Boolean) or dtype.is_integer():
            return column.cast(nw.String).fill_null("").alias(alias)
        expected = "texts or whole numbers" if feature.kind != "multi" else "texts, with commas between several values"
    raise InteractionsError(
        f"Column `{feature.source}` should hold {expected}, for the {owner} feature {feature.name!r} of kind "
        f"{feature.kind}. Received: {dtype}"
    )


def _text(name: str, dtype: nw.dtypes.DType) -> nw.Expr:
    return nw.col(name) if dtype == nw.String else nw.col(name).cast(nw.String)


def whole_number(name: str, dtype: nw.dtypes.DType) -> nw.Expr:
    """Returns a column as int64, null where the value is no whole number.

    Raises:
        InteractionsError: If values of this type cannot be whole numbers.
    """
    column = nw.col(name)
    if dtype.is_integer():
        return column.cast(nw.Int64)
    if dtype.is_float():
        return nw.when(column.is_finite()).then(column.floor()).cast(nw.Int64).alias(name)
    if dtype == nw.String or dtype == nw.Unknown or dtype == nw.Object:
        return nw.when(column.str.contains("^-?[0-9]{1,18}$")).then(column).cast(nw.Int64).alias(name)
    raise InteractionsError(
        f"Column `{name}` should hold whole numbers ({'UNIX seconds, UTC' if name == TIMESTAMP else '0 or 1'}). "
        f"Received: {dtype}"
    )


def with_reason(native: Any, catalogue: Iterable[str] | None = None, features: FeaturesConfig | None = None) -> Frame:
    """Adds the column `REASON` to interactions: 0 where a row is usable, else 1 + index into `DROP_REASONS`.

    Args:
        native: Interactions, see `typed`.
        catalogue: Handles of the snapshot; None accepts every handle.
        features: Custom features, see `typed`.

    Returns:
        narwhals frame, lazy, with text columns that are never null.
    """
    frame = typed(native, features)
    frame = frame.with_columns(*(nw.col(name).fill_null("") for name in TEXT_COLUMNS))
    return with_reason_column(frame, catalogue)


def with_reason_column(frame: Frame, catalogue: Iterable[str] | None = None) -> Frame:
    """Does what `with_reason` does, to a frame whose columns have their types, and keeps all its other columns.

    Args:
        frame: Label and timestamp int64, user and item text; all may be null.
        catalogue: Handles of the snapshot; None accepts every handle.
    """
    label, timestamp, item = nw.col(LABEL), nw.col(TIMESTAMP), nw.col(ITEM).fill_null("")
    conditions = [
        label.is_null() | (label < 0) | (label > 1),
        nw.col(USER).fill_null("") == "",
        item == "",
        timestamp.is_null() | (timestamp <= 0) | (timestamp >= _LATEST_TIMESTAMP),
        label == 0,
    ]
    if catalogue is not None:
        conditions.append(~item.is_in(sorted(set(catalogue))))
    reason = nw.lit(0)
    for code in range(len(conditions), 0, -1):
        reason = nw.when(conditions[code - 1]).then(nw.lit(code)).otherwise(reason)
    return frame.with_columns(reason.cast(nw.Int32).alias(REASON))


def usable(frame: Frame) -> Frame:
    """Returns the usable rows of a frame made by `with_reason`."""
    return frame.filter(nw.col(REASON) == 0).drop(REASON)


def report_of(frame: Frame) -> ValidationReport:
    """Counts the reasons in a frame made by `with_reason`.

    Raises:
        InteractionsError: If no row is usable.
    """
    table = frame.group_by(REASON).agg(nw.len().alias("rows")).collect("pyarrow").to_dict(as_series=False)
    return report_from({int(reason): int(count) for reason, count in zip(table[REASON], table["rows"], strict=True)})


def report_from(rows: Mapping[int, int]) -> ValidationReport:
    """Makes the report of the number of rows by `REASON`.

    Raises:
        InteractionsError: If no row is usable.
    """
    dropped = {text: rows[code] for code, text in enumerate(DROP_REASONS, start=1) if code in rows}
    report = ValidationReport(rows_in=sum(rows.values()), dropped=dropped)
    if not report.rows_out:
        why = "; ".join(f"{text}: {count}" for text, count in dropped.items()) or "there are no rows"
        raise InteractionsError(
            "Interactions should have at least one usable row: label 1, a user, an item and a timestamp in whole "
            f"seconds (not milliseconds). Received: {report.rows_in} rows; dropped: {why}"
        )
    return report


def validate_interactions(native: Any, *, catalogue: Iterable[str] | None = None) -> tuple[Any, ValidationReport]:
    """Separates usable interactions from the rest and says how many rows were dropped and why.

    Args:
        native: Interactions as a pandas, Polars, DuckDB or Spark frame.
        catalogue: Handles of the snapshot; None accepts every handle.

    Returns:
        The usable rows as a frame of the same engine (exact repetitions are kept: they are interactions), and the
        report.

    Raises:
        InteractionsError: If columns are missing or no row is usable.
    """
    checked = with_reason(native, catalogue)
    with engine_errors("Validating interactions"):
        return usable(checked).to_native(), report_of(checked)


@contextmanager
def engine_errors(what: str) -> Generator[None]:
    """Turns whatever an engine raises (each has its own family of exceptions) into one `InteractionsError`."""
    try:
        yield
    except (InteractionsError, ImportError, MemoryError):
        raise
    except Exception as error:
        first_line = (str(error).strip().splitlines() or [""])[0]
        raise InteractionsError(f"{what} failed with {type(error).__name__}: {first_line}") from error


@contextmanager
def holding() -> Generator[Hold]:
    """Yields a function that has a lazy frame computed once, so that several results can be derived from it.

    Spark caches the rows until the end of the context; the frames of other engines are returned as they are.
    """
    cached: list[Any] = []

    def hold(frame: Frame) -> Frame:
        if is_spark(frame):
            cached.append(frame.to_native().cache())
        return frame

    try:
        yield hold
    finally:
        for native in cached:
            native.unpersist()
