"""Atomic files and folders, and fingerprints."""

import hashlib
import json
import os
import shutil
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


@contextmanager
def atomic_folder(folder: str | os.PathLike[str]) -> Generator[Path]:
    """Yields a new folder beside `folder`; on success it takes its place.

    A reader sees the old folder or the new one, never half of either; between the two renames there is none for a
    moment, and if the process dies just there, the next call puts the old one back. On an exception the new one is
    removed and `folder` is as it was.

    Args:
        folder: Folder to write or replace. Its parent is created if missing.

    Yields:
        The empty folder to write into.
    """
    target = Path(folder)
    temporary, old = target.with_name(f".{target.name}.{os.getpid()}.tmp"), target.with_name(f".{target.name}.old")
    if old.exists() and not target.exists():
        os.replace(old, target)
    for leftover in (temporary, old):
        shutil.rmtree(leftover, ignore_errors=True)
    temporary.mkdir(parents=True)
    try:
        yield temporary
        for path in temporary.rglob("*"):
            if path.is_file():
                with path.open("rb") as stream:
                    os.fsync(stream.fileno())
        if target.exists():  # a folder cannot be renamed over another one
            os.replace(target, old)
        try:
            os.replace(temporary, target)
        except OSError:
            if old.exists():
                os.replace(old, target)
            raise
        shutil.rmtree(old, ignore_errors=True)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


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
