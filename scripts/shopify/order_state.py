"""What an export has read so far: a Parquet file beside its output, from which the output is derived.

The file holds one row an order and product, keyed by the HMAC of the order's id, and in its metadata the shop, a
fingerprint of the secret, and the watermark: orders updated before it need not be read again. It is replaced
atomically, before the output; whoever is stopped between the two derives the output on the next run.
"""

import json
import os
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Final

import polars as pl
from pydantic import BaseModel, ConfigDict, ValidationError

from scripts.shopify.order_lines import LINE, ORDER, PRODUCT, PRODUCT_TYPE, ROW_SCHEMA, OrdersRead, iso_time
from training.data.columns import ITEM, TIMESTAMP
from training.files import atomic_path

OVERLAP: Final = 3600
"""Seconds before the watermark that are read again: search lags behind, and this machine's clock may be off."""
VISIBLE: Final = 60 * 86_400
"""Seconds for which a token without the scope read_all_orders sees an order."""
MARGIN: Final = 86_400
"""Seconds around the end of those 60 days in which an order may or may not be listed."""
_METADATA: Final = "slirec"


class OrderStateError(ValueError):
    """The state cannot be used with these settings."""


class StateHeader(BaseModel):
    """Where the rows of a state come from.

    Attributes:
        version: Of this format.
        shop: The shop's domain.
        secret: Fingerprint of the secret from which the ids were made.
        since: Orders processed from this moment on are in it, in UNIX seconds.
        watermark: Orders updated before this moment have been read, in UNIX seconds.
        complete: Whether the token could see all orders since `since`: those that were older than 60 days when they
            would have been read first are missing without the scope read_all_orders.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    version: int = 1
    shop: str
    secret: str
    since: int
    watermark: int = 0
    complete: bool


@dataclass(frozen=True)
class OrderState:
    """Header and rows (columns of `ROW_SCHEMA`)."""

    header: StateHeader
    rows: pl.DataFrame


@dataclass(frozen=True)
class ReadPlan:
    """Which orders to read, and what of the old state stays.

    Attributes:
        header: Of the new state, with the old watermark.
        query: Search term for Shopify.
        what: The same in words.
        keep_before: Of the orders that the query asks for and Shopify does not list, those processed before this moment
            stay; None where all orders that were not read stay.
        old: State to build on, if any.
    """

    header: StateHeader
    query: str
    what: str
    keep_before: int | None
    old: OrderState | None = None


def state_path(output: str | os.PathLike[str]) -> Path:
    """Returns where the state of an export lies: `orders.tsv` -> `orders.tsv.state.parquet`."""
    return Path(f"{os.fspath(output)}.state.parquet")


def load_state(path: Path) -> OrderState | None:
    """Reads a state; None where there is none.

    Raises:
        OrderStateError: The file is no state, or of another version.
    """
    if not path.exists():
        return None
    try:
        header = StateHeader.model_validate_json(pl.read_parquet_metadata(path).get(_METADATA, ""))
        rows = pl.read_parquet(path)
        if rows.schema != ROW_SCHEMA or header.version != 1:
            raise OrderStateError("other columns or another version")
    except (pl.exceptions.PolarsError, ValidationError, OrderStateError, OSError) as error:
        reason = " ".join(str(error).split())[:200]
        raise OrderStateError(
            f"{path} should be the state of an earlier export. Received: something else ({reason}). "
            "Delete it, or give --full, to read all orders anew"
        ) from error
    return OrderState(header, rows)


def set_aside(path: Path) -> Path:
    """Renames the file of an unreadable state, so that it can be looked into; returns its new name.

    What was set aside before stays: `orders.tsv.state.parquet.bad`, then `.bad2` and so on.
    """
    names = (path.with_name(f"{path.name}.bad{number if number > 1 else ''}") for number in count(1))
    free = next(name for name in names if not name.exists())
    return path.rename(free)


def save_state(state: OrderState, path: Path) -> None:
    """Writes a state atomically."""
    with atomic_path(path) as temporary:
        metadata = {_METADATA: json.dumps(state.header.model_dump())}
        state.rows.write_parquet(temporary, compression="zstd", metadata=metadata)


def plan_reading(
    old: OrderState | None, *, shop: str, secret: str, since: int, sees_all: bool, now: int, full: bool = False
) -> ReadPlan:
    """Decides which orders have to be read.

    All orders since `since` are read where there is no state, with `full`, for an earlier `since` than before, and
    where the token has got the right to see older orders than before; else those that changed since the watermark.
    Rows of orders that have become too old for the token to see are never lost by that, nor by a later `since`.

    Args:
        old: State of the last export, if any.
        shop: The shop's domain.
        secret: Fingerprint of the secret.
        since: Earliest moment wanted, UNIX seconds.
        sees_all: Whether the token may read orders older than 60 days.
        now: UNIX seconds.
        full: Read everything anew.

    Raises:
        OrderStateError: The state is of another shop or secret, and `full` is not given.
    """
    horizon = 0 if sees_all else now - VISIBLE
    keep_before = horizon and horizon + MARGIN
    fresh = StateHeader(shop=shop, secret=secret, since=since, complete=since >= horizon)
    everything = f"processed_at:>='{iso_time(since)}'"
    since_then = f"all since {iso_time(since)}"
    for name, mine in (("shop", shop), ("secret", secret)):
        if old is not None and getattr(old.header, name) != mine:
            if not full:
                what = f"shop {old.header.shop}" if name == "shop" else "another SLIREC_HMAC_SECRET"
                raise OrderStateError(
                    f"The earlier export was made with {what}: its ids would not fit. Go back to that one, choose "
                    "another OUTPUT, or give --full to begin anew (what the earlier export holds is then given up)"
                )
            old = None
    if old is None:
        return ReadPlan(fresh, everything, since_then, keep_before=0)
    changed = max(0, old.header.watermark - OVERLAP)
    # Not so after a pause of more than 60 days: some orders may have come and gone unseen.
    still_complete = old.header.complete and changed >= horizon
    more_to_see = sees_all and not old.header.complete
    if full or since < old.header.since or more_to_see:
        begin = min(since, old.header.since)  # the rows between the two may be gone from Shopify's view for good
        reason = "" if full else " (an earlier --since)" if since < old.header.since else " (read_all_orders is new)"
        complete = begin >= horizon or (still_complete and begin == old.header.since)
        header = fresh.model_copy(update={"since": begin, "complete": complete})
        query = f"processed_at:>='{iso_time(begin)}'"
        return ReadPlan(header, query, f"all since {iso_time(begin)}{reason}", keep_before, old)
    header = old.header.model_copy(update={"complete": still_complete})
    query = f"updated_at:>='{iso_time(changed)}'"
    return ReadPlan(header, query, f"changed since {iso_time(changed)}", keep_before=None, old=old)


def merged(plan: ReadPlan, read: OrdersRead, started: int) -> OrderState:
    """Puts what was read into the state: an order that was read again has its new rows only.

    Args:
        plan: From `plan_reading`.
        read: The orders that its query found.
        started: UNIX seconds before the reading began. An order that changes while the others are read is caught by
            the next run, because the watermark never passes this moment.

    Returns:
        The new state. A product has one handle and one type throughout: those read last.
    """
    rows = read.rows
    if plan.old is not None:
        kept = plan.old.rows.join(read.orders.to_frame(), on=ORDER, how="anti", maintain_order="left")
        kept = kept.filter(pl.col(TIMESTAMP) >= plan.header.since)
        if plan.keep_before is not None:
            kept = kept.filter(pl.col(TIMESTAMP) < plan.keep_before)
        rows = pl.concat([kept, rows])  # old rows first, so that the last of a product is the newest
    rows = rows.with_columns(pl.col(ITEM, PRODUCT_TYPE).last().over(PRODUCT)).sort(TIMESTAMP, ORDER, LINE)
    watermark = max(plan.header.watermark, min(started, read.latest_update))
    return OrderState(plan.header.model_copy(update={"watermark": watermark}), rows)
