"""What happened to each request of the soak, and what counts as a failure, as in flight, and as a wrong answer."""

import hashlib
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

RANKS = (50, 95, 99)


def digest(body: bytes, key: str | None) -> str:
    """Returns what the answers of a request are told apart by.

    Args:
        body: JSON.
        key: Of the document, what to look at, whatever its white space; None: every byte.
    """
    if key is not None:
        body = json.dumps(json.loads(body)[key]).encode()
    return hashlib.sha1(body, usedforsecurity=False).hexdigest()


@dataclass(frozen=True)
class Record:
    """A request.

    Attributes:
        start: When it was sent; monotonic seconds, which all processes of a machine share.
        seconds: To the end of its answer, or to its failure.
        status: HTTP status; 0: the connection failed.
        version: Of the model whose right answer to this request was received; "": nobody's.
        said: Version that the answer's header names; "": none.
        error: What failed, where the connection did.
    """

    start: float
    seconds: float
    status: int
    version: str
    said: str
    error: str

    @property
    def end(self) -> float:
        """When it ended."""
        return self.start + self.seconds


def read_records(path: Path) -> list[Record]:
    """Reads the lines that `scripts.ml.soak_load` wrote, by time."""
    records: list[Record] = []
    for line in path.read_text(encoding="utf-8").splitlines():
        start, seconds, _, status, version, said, error = line.split("\t")
        records.append(Record(float(start), float(seconds), int(status), version, said, error))
    return sorted(records, key=lambda record: record.start)


@dataclass(frozen=True)
class Fault:
    """Something done to the servers.

    Attributes:
        name: What.
        start: Before it was done; monotonic seconds.
        end: When all was as before.
    """

    name: str
    start: float
    end: float


@dataclass
class History:
    """What was done during the load.

    Attributes:
        versions: (before, after, version) for each champion, the first one's from the beginning: the moments before
            and after it was made the champion.
        latest: Seconds after the order by which no request may be answered by the champion before.
        kills: (before, after) for each worker that was killed: the signal, and the end of its last connection.
        faults: All of it, for the plot and for figures without it.
    """

    versions: list[tuple[float, float, str]]
    latest: float
    kills: list[tuple[float, float]] = field(default_factory=list[tuple[float, float]])
    faults: list[Fault] = field(default_factory=list[Fault])

    def allowed(self, record: Record) -> set[str]:
        """Versions that may have answered a request."""
        found: set[str] = set()
        for place, (since, _, version) in enumerate(self.versions):
            until = self.versions[place + 1][1] + self.latest if place + 1 < len(self.versions) else float("inf")
            if record.end >= since and record.start <= until:
                found.add(version)
        return found

    def in_flight(self, record: Record) -> bool:
        """Whether a request was on its way when a worker was killed: sent before its last connection ended, and lost.

        A connection that the kill closed while it was idle does not count: the client sees that before it sends.
        """
        return not record.status and any(record.start <= after and record.end >= before for before, after in self.kills)

    def quiet(self, record: Record) -> bool:
        """Whether nothing was being done to the servers meanwhile."""
        return not any(record.start <= fault.end and record.end >= fault.start for fault in self.faults)

    def switch_seconds(self, records: Sequence[Record]) -> list[float]:
        """Returns, for each switch, the seconds in which the champion before still answered requests that began."""
        found: list[float] = []
        for (_, _, before), (_, when, _) in zip(self.versions, self.versions[1:], strict=False):
            late = [r.start - when for r in records if r.version == before and 0 <= r.start - when <= 2 * self.latest]
            found.append(max(late, default=0.0))
        return found


def count(records: Sequence[Record], history: History) -> dict[str, Any]:
    """Returns how many requests there were, how many went wrong and how, and latencies in milliseconds."""
    begin = records[0].start if records else 0.0
    lost = [record for record in records if record.status != 200]
    in_flight = [record for record in lost if history.in_flight(record)]
    failed = [record for record in lost if not history.in_flight(record)]
    wrong = [r for r in records if r.status == 200 and not _right(r, history)]
    quiet = [record for record in records if history.quiet(record)]
    kinds: dict[str, int] = {}
    for record in failed:
        kind = record.error or str(record.status)
        kinds[kind] = kinds.get(kind, 0) + 1
    seconds = records[-1].start - records[0].start if len(records) > 1 else 0.0
    return {
        "requests": len(records),
        "seconds": seconds,
        "per_second": len(records) / seconds if seconds else 0.0,
        "failed": len(failed),
        "failed_by": kinds,
        "failed_at": [[record.start - begin, record.end - begin] for record in failed[:100]],
        "in_flight": len(in_flight),
        "wrong": len(wrong),
        "by_version": {v: sum(r.version == v for r in records) for v in sorted({r.version for r in records} - {""})},
        "milliseconds": latencies(records),
        "requests_quiet": len(quiet),
        "milliseconds_quiet": latencies(quiet),
    }


def _right(record: Record, history: History) -> bool:
    return record.version in history.allowed(record) and record.said in ("", record.version)


def latencies(records: Iterable[Record]) -> dict[str, float]:
    """Returns percentiles and the maximum of the answers, in milliseconds."""
    values = [record.seconds * 1000 for record in records if record.status == 200]
    if not values:
        return {}
    ranks = np.percentile(values, RANKS)
    return {f"p{rank}": float(value) for rank, value in zip(RANKS, ranks, strict=True)} | {"max": max(values)}
