"""Atomic files and fingerprints."""

import hashlib
import json
import os
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any


@contextmanager
def atomic_path(path: str | os.PathLike[str]) -> Generator[Path]:
    """Yields a temporary path beside `path`; on success it is fsynced and renamed over `path`.

    A reader sees the old file or the new one, never half of either. On an exception the temporary file is removed and
    `path` is as it was.

    Args:
        path: File to write. Its folder is created if missing.

    Yields:
        Path to write to; it keeps the suffix of `path`, so that writers which look at it still work.
    """
    target = Path(path)
    target.parent.mkdir(parents=True, exist_ok=True)
    temporary = target.with_name(f".{target.stem}.{os.getpid()}.tmp{target.suffix}")
    try:
        yield temporary
        with temporary.open("rb") as stream:
            os.fsync(stream.fileno())
        os.replace(temporary, target)
    finally:
        temporary.unlink(missing_ok=True)


def write_json(document: Any, path: str | os.PathLike[str]) -> None:
    """Writes `document` as indented JSON, atomically.

    Args:
        document: Anything that `json` can write; NaN is refused.
        path: File to write.
    """
    with atomic_path(path) as temporary:
        temporary.write_text(json.dumps(document, indent=2, allow_nan=False) + "\n", encoding="utf-8")


def sha256_of(*paths: str | os.PathLike[str]) -> str:
    """Returns the SHA-256 of the given files' bytes, one after another, as hexadecimal text."""
    digest = hashlib.sha256()
    for path in paths:
        with Path(path).open("rb") as stream:
            while chunk := stream.read(1 << 20):
                digest.update(chunk)
    return digest.hexdigest()
