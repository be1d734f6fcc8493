"""Where a version comes from: fingerprints of configuration, code and locked libraries; names that fit MLflow."""

import hashlib
import json
import subprocess
from collections.abc import Generator, Mapping
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, Final, cast

from serving.bundle import Bundle

_PACKAGE: Final = "shopify-slirec"
_LOCK: Final = "requirements.lock"
_UNKNOWN: Final = "unknown"


def lineage_tags(repository: Path, bundle: Bundle, serving: Mapping[str, Any]) -> dict[str, str]:
    """Returns the tags that say what a version was made with.

    Args:
        repository: Folder of the code.
        bundle: Model bundle; it carries the training configuration.
        serving: Serving configuration that travels with the model.

    Returns:
        bundle_sha256, bundle_created_at and data_fingerprint, from the bundle; training_config_sha256 and
        serving_config_sha256, of canonical JSON; code_version, the git commit or, without git, the package's version;
        code_dirty, "true" where files differ from that commit, "unknown" without git; lock_sha256, of
        `requirements.lock`, "unknown" where there is none.
    """
    commit, dirty = _commit(repository)
    lock = repository / _LOCK
    return {
        "bundle_sha256": bundle.fingerprint,
        "bundle_created_at": bundle.manifest.created_at,
        "data_fingerprint": bundle.manifest.data_fingerprint,
        "training_config_sha256": _fingerprint(bundle.manifest.config),
        "serving_config_sha256": _fingerprint(serving),
        "code_version": commit or _package_version(),
        "code_dirty": dirty,
        "lock_sha256": hashlib.sha256(lock.read_bytes()).hexdigest() if lock.is_file() else _UNKNOWN,
    }


def flat(config: Mapping[str, Any], prefix: str = "") -> Generator[tuple[str, str]]:
    """Yields names and values of a nested configuration: `{"model": {"units": 40}}` -> `("model.units", "40")`."""
    for key, value in config.items():
        if isinstance(value, Mapping):
            yield from flat(cast(Mapping[str, Any], value), f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", str(value)


def metric_name(name: str) -> str:
    """Returns the name of a metric with the characters that MLflow refuses replaced: `ndcg@10` -> `ndcg_at_10`."""
    named = name.replace("@", "_at_")
    return "".join(c if c.isalnum() or c in "_-. /" else "_" for c in named)


def _fingerprint(config: Mapping[str, Any]) -> str:
    text = json.dumps(config, sort_keys=True, separators=(",", ":"), default=str)
    return hashlib.sha256(text.encode()).hexdigest()


def _commit(repository: Path) -> tuple[str | None, str]:
    """Commit and whether files differ from it; (None, "unknown") where the folder is no git repository of its own."""
    found = git(repository, "rev-parse", "--show-toplevel", "HEAD")
    # Code inside some other project's repository is not described by that repository's commit.
    if found is None or len(lines := found.splitlines()) != 2 or Path(lines[0]).resolve() != repository.resolve():
        return None, _UNKNOWN
    changes = git(repository, "status", "--porcelain")
    return lines[1], _UNKNOWN if changes is None else str(bool(changes.strip())).lower()


def git(repository: Path, *arguments: str) -> str | None:
    """Returns what a git command in a folder prints; None where it fails or there is no git."""
    try:
        done = subprocess.run(["git", *arguments], cwd=repository, capture_output=True, text=True, timeout=30)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout if done.returncode == 0 else None


def _package_version() -> str:
    try:
        return f"{_PACKAGE} {version(_PACKAGE)}"
    except PackageNotFoundError:
        return _UNKNOWN
