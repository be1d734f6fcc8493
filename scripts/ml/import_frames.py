"""What an import makes of a table's columns, in one narwhals definition for Polars and Spark frames.

Text is taken apart by regular expressions and arithmetic that mean the same everywhere, instead of by each engine's own
parser of times and numbers: a value that one engine refuses, all refuse.
"""

from collections.abc import Mapping
from typing import Any, Final

import narwhals as nw
import polars as pl

from scripts.ml.import_lookup import lookup_table
from training.data.columns import CATEGORY, INTERACTION_COLUMNS, ITEM, LABEL, TIMESTAMP, USER
from training.data.event_columns import QUANTITY, WEIGHT
from training.data.interactions import InteractionsError
from training.data.inventory import UNCATEGORIZED, Inventory
from training.data.spark import is_spark
from training.data.validation import Frame, whole_number, with_reason_column

TIME_UNITS: Final = ("s", "ms", "iso")

_SPACE = "\t\n\x0b\x0c\r \x85\xa0\u1680\u2028\u2029\u202f\u205f\u3000" + "".join(map(chr, range(0x2000, 0x200B)))
_NUMBER = r"^[+-]?([0-9]{1,18}\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]{1,2})?$"
_WHOLE = r"^[+-]?[0-9]{1,18}$"
_DATE = r"[0-9]{4}-(0[1-9]|1[0-2])-(0[1-9]|[12][0-9]|3[01])"
_CLOCK = r"[T ]([01][0-9]|2[0-3]):[0-5][0-9](:[0-5][0-9](\.[0-9]+)?)?"
_ZONE = r" ?(Z|UTC|[+-]([01][0-9]|2[0-3])(:?[0-5][0-9])?)"
_LARGEST = 9e15  # whole numbers up to here are exact as floats
_DAYS_OF_ERA, _DAYS_BEFORE_1970 = 146_097, 719_468  # 400 years; from 0000-03-01


def checked_rows(
    native: Any,
    columns: Mapping[str, str],
    *,
    time_unit: str,
    inventory: Inventory | None,
    own_category: bool,
) -> Frame:
    """Names, types and looks up the columns of a table, and says of each row whether it is usable; lazily.

    Args:
        native: Polars or Spark frame with the columns that `columns` names.
        columns: Column of the table by name in the interactions.
        time_unit: One of `TIME_UNITS`.
        inventory: Knows handles and categories; None accepts every product.
        own_category: Whether the table's `item_category`, where it has one, goes before the inventory's.

    Returns:
        narwhals frame: columns `INTERACTION_COLUMNS`, the others of `columns`, and `validation.REASON`.

    Raises:
        InteractionsError: If a column has no usable type.
        ValueError: If `time_unit` is none of those.
    """
    frame: Frame = nw.from_native(native).lazy()
    schema, spark = frame.collect_schema(), is_spark(frame)
    frame = frame.select(*(_column(name, source, schema[source], time_unit, spark) for name, source in columns.items()))
    if LABEL not in columns:
        frame = frame.with_columns(nw.lit(1).cast(nw.Int64).alias(LABEL))
    frame = with_products(frame, inventory, own_category=own_category)
    others = [name for name in columns if name not in INTERACTION_COLUMNS]
    return with_reason_column(frame.select(*INTERACTION_COLUMNS, *others), inventory.handles if inventory else None)


def with_products(frame: Frame, inventory: Inventory | None, *, own_category: bool = False) -> Frame:
    """Does what `import_lookup.with_products` does, for any engine; the order of rows stays on Polars.

    Args:
        frame: With the text column `item_handle`.
        inventory: None leaves all names as they are.
        own_category: Whether the frame's `item_category` goes before the inventory's.
    """
    has_own = CATEGORY in frame.collect_schema().names()
    own = [nw.col(CATEGORY)] if has_own else []
    if inventory is None:
        return frame.with_columns(nw.coalesce(*own, nw.lit(UNCATEGORIZED)).alias(CATEGORY))
    found = lookup_table(inventory).rename({ITEM: "_handle", CATEGORY: "_category"})
    native: Any = frame.to_native()
    if is_spark(frame):
        table = native.sparkSession.createDataFrame(found.to_arrow().cast(_text_schema(found)))
        frame = frame.join(nw.from_native(table), left_on=ITEM, right_on="name", how="left")
    else:
        joined = native.join(found.lazy(), left_on=ITEM, right_on="name", how="left", maintain_order="left")
        frame = nw.from_native(joined)
    known = [nw.col("_category")]
    named = (own + known) if own_category else (known + own)
    return frame.with_columns(
        nw.coalesce("_handle", ITEM).alias(ITEM), nw.coalesce(*named, nw.lit(UNCATEGORIZED)).alias(CATEGORY)
    ).drop("_handle", "_category")


def _text_schema(table: pl.DataFrame) -> Any:
    import pyarrow as pa

    return pa.schema([(name, pa.string()) for name in table.columns])


def _column(name: str, source: str, dtype: nw.dtypes.DType, time_unit: str, spark: bool) -> nw.Expr:
    column = nw.col(source)
    if name == TIMESTAMP:
        return _seconds(column, dtype, time_unit, spark).alias(name)
    if name == LABEL:
        return whole_number(source, dtype).alias(name)
    if name in (USER, ITEM, CATEGORY):
        # 12.0 is what an id of whole numbers becomes in a table with gaps.
        text = (_whole(column, dtype) if dtype.is_float() else column).cast(nw.String).str.strip_chars(_SPACE)
        return nw.when(text != "").then(text).alias(name)
    if name == QUANTITY:
        return _whole(column, dtype).alias(name)
    if name == WEIGHT:
        return _number(column, dtype).alias(name)
    return column.alias(name)


def _number(column: nw.Expr, dtype: nw.dtypes.DType) -> nw.Expr:
    """Returns a float, null where the value is no number."""
    if dtype == nw.String:
        text = column.str.strip_chars(_SPACE)
        column = nw.when(text.str.contains(_NUMBER)).then(text)
    return column.cast(nw.Float64)


def _whole(column: nw.Expr, dtype: nw.dtypes.DType) -> nw.Expr:
    """Returns a whole number, null where the value is none; what comes after the point of a float is cut off."""
    if dtype == nw.String:
        column = nw.when(column.str.contains(_WHOLE)).then(column)
    elif dtype.is_float():
        column = nw.when(column.is_finite() & (column.abs() < _LARGEST)).then(column)
    return column.cast(nw.Int64)


def _seconds(column: nw.Expr, dtype: nw.dtypes.DType, time_unit: str, spark: bool) -> nw.Expr:
    """Returns UNIX seconds, null where there is no time."""
    if time_unit not in TIME_UNITS:
        raise ValueError(f"`time_unit` should be one of {', '.join(TIME_UNITS)}. Received: time_unit = {time_unit!r}")
    if dtype in (nw.Date, nw.Datetime):
        return _moment_seconds(column, dtype, spark)
    if time_unit == "iso" and dtype == nw.String:
        return _iso_seconds(column.str.strip_chars(_SPACE))
    if time_unit == "iso" or not (dtype.is_numeric() or dtype == nw.String):
        raise InteractionsError(
            f"The column for `{TIMESTAMP}` should hold {'text in ISO form' if time_unit == 'iso' else 'numbers'}, "
            f"dates or times, for the time unit {time_unit}. Received: {dtype}"
        )
    number = column
    if not dtype.is_integer():
        number = _number(column, dtype)
        number = nw.when(number.is_finite() & (number.abs() < _LARGEST)).then(number).floor()
    number = number.cast(nw.Int64)
    return number // 1_000 if time_unit == "ms" else number


def _moment_seconds(column: nw.Expr, dtype: nw.dtypes.DType, spark: bool) -> nw.Expr:
    zoned = isinstance(dtype, nw.Datetime) and dtype.time_zone is not None
    if zoned and spark:
        return column.cast(nw.Int64)  # seconds, on Spark; its fields are those of the session's time zone
    column = column.dt.convert_time_zone("UTC") if zoned else column

    def field(name: str) -> nw.Expr:
        return getattr(column.dt, name)().cast(nw.Int64)

    seconds = _days(field("year") * 10_000 + field("month") * 100 + field("day")) * 86_400
    if dtype == nw.Datetime:
        seconds = seconds + field("hour") * 3_600 + field("minute") * 60 + field("second")
    return seconds


def _iso_seconds(text: nw.Expr) -> nw.Expr:
    valid = text.str.contains(f"^{_DATE}({_CLOCK}({_ZONE})?)?$")
    safe = nw.when(valid).then(text).otherwise(nw.lit("1970-01-01"))
    rest = safe.str.slice(10)
    clock = _digits(rest.str.replace_all(f"{_ZONE}$", "").str.replace_all("[T: ]", ""))
    zone = rest.str.replace_all(f"^{_CLOCK}", "").str.replace_all("[^0-9+-]", "")
    offset = _digits(zone.str.replace_all("[+-]", ""))
    seconds = _pair(clock, 0) * 3_600 + _pair(clock, 2) * 60 + _pair(clock, 4)
    east = _pair(offset, 0) * 3_600 + _pair(offset, 2) * 60
    east = nw.when(zone.str.starts_with("-")).then(0 - east).otherwise(east)
    date = safe.str.slice(0, 10).str.replace_all("-", "", literal=True).cast(nw.Int64)
    year, month, day = date // 10_000, date // 100 % 100, date % 100
    leap = (year % 4 == 0) & ((year % 100 != 0) | (year % 400 == 0))
    shortest = nw.when(month == 2).then(nw.when(leap).then(nw.lit(29)).otherwise(nw.lit(28))).otherwise(nw.lit(30))
    exists = (day <= shortest) | ((day == 31) & ~month.is_in([2, 4, 6, 9, 11]))
    return nw.when(valid & exists).then(_days(date) * 86_400 + seconds - east)


def _digits(text: nw.Expr) -> nw.Expr:
    return nw.concat_str(text, nw.lit("000000"))


def _pair(digits: nw.Expr, place: int) -> nw.Expr:
    return digits.str.slice(place, 2).cast(nw.Int64)


def _days(date: nw.Expr) -> nw.Expr:
    """Returns days since 1970-01-01 of whole numbers such as 20260301, in the Gregorian calendar.

    The year begins in March, so that the day that may be missing is its last (Hinnant, `days_from_civil`).
    """
    month, day = date // 100 % 100, date % 100
    early = nw.when(month <= 2).then(nw.lit(1)).otherwise(nw.lit(0)).cast(nw.Int64)
    year = date // 10_000 - early
    day_of_year = (153 * (month - 3 + 12 * early) + 2) // 5 + day - 1
    year_of_era = year % 400
    days = year_of_era * 365 + year_of_era // 4 - year_of_era // 100 + day_of_year
    return year // 400 * _DAYS_OF_ERA + days - _DAYS_BEFORE_1970
