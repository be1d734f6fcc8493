"""MLflow's SQLite store: where it is, and one process at a time."""

from contextlib import AbstractContextManager, nullcontext
from pathlib import Path

from filelock import FileLock


def database_of(uri: str) -> Path | None:
    """Returns the absolute path of a SQLite store; None for a server."""
    return Path(uri.removeprefix("sqlite:///")).absolute() if uri.startswith("sqlite:///") else None


def absolute_uri(uri: str) -> str:
    """Returns the URI of a store as it is from any working folder."""
    database = database_of(uri)
    return uri if database is None else f"sqlite:///{database}"


def exclusive(database: Path | None) -> AbstractContextManager[object]:
    """Returns a lock beside a SQLite database; nothing for a server, which keeps order itself."""
    if database is None:
        return nullcontext()
    database.parent.mkdir(parents=True, exist_ok=True)
    return FileLock(f"{database}.lock")
