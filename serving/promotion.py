"""Moves registry aliases so that every move can be undone, and notes on a version how the gate judged it.

Works on any MLflow client that it is given; MLflow itself is imported by `serving.registry` alone, which also holds the
lock that keeps writers to a local store apart. On a server, of two writers at once the last one wins; a registry
refuses an alias to a version that it does not have.
"""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from serving.bundle import Bundle, BundleError, open_bundle
from serving.clean_process import RegistryError
from serving.clock import utc_now
from serving.config import ServeConfig
from serving.gate import GateReport

_REMEMBERED: Final = 20  # moves that can be undone; a tag's length is limited
_LONGEST_DESCRIPTION: Final = 5000  # characters that MLflow's tables hold

# An MLflow client. Its own type cannot be named without importing MLflow.
Client = Any


@dataclass(frozen=True)
class RegisteredVersion:
    """A version in the model registry: `model_uri` is `models:/<name>/<version>`, `run_id` the run it belongs to."""

    name: str
    version: str
    model_uri: str
    run_id: str


def registered_name(config: ServeConfig, name: str | None = None) -> str:
    """Returns `name`, else SLIREC_MODEL_NAME, else the configuration's."""
    return name or os.environ.get("SLIREC_MODEL_NAME") or config.registered_model_name


def holder(client: Client, name: str, alias: str) -> str | None:
    """Returns the version that an alias points to; None where the alias is not set."""
    held = client.get_registered_model(name).aliases.get(alias)
    return None if held is None else str(held)


def find(client: Client, name: str, number: str | None = None, alias: str | None = None) -> RegisteredVersion | None:
    """Finds a version by its number, else by an alias (None where that is not set), else the newest one.

    Raises:
        RegistryError: The model has no version.
    """
    if number is None and alias is not None:
        number = holder(client, name, alias)
        if number is None:
            return None
    if number is None:
        numbers = [int(version) for version in _versions(client, name)]
        if not numbers:
            raise RegistryError(f"{name!r} should have a registered version. Received: none")
        number = str(max(numbers))
    return _registered(client, name, number)


def checked_bundle(folder: Path, tags: Mapping[str, str]) -> Bundle:
    """Opens the bundle of a version, with all hashes checked.

    Args:
        folder: The bundle as it was fetched from the registry.
        tags: Tags of the version.

    Raises:
        BundleError: A byte has changed since it was registered, or it is of another format.
    """
    bundle = open_bundle(folder)
    # The hashes inside a bundle can be made to fit a changed file; the one in the registry is out of the files' reach.
    if (expected := tags.get("bundle_sha256", bundle.fingerprint)) != bundle.fingerprint:
        raise BundleError(
            f"Bundle file {folder / 'bundle.json'} has changed since it was registered: SHA-256 expected {expected}, "
            f"received {bundle.fingerprint}"
        )
    return bundle


def move(client: Client, name: str, alias: str, number: str) -> str | None:
    """Points the alias to a version and remembers the one it pointed to, which is returned (None: it was not set)."""
    held = holder(client, name, alias)
    if held is not None and held != number:
        former = [*_former(client, name, alias), held]
        # First the note, then the alias: whatever happens in between, nothing is pointed to without a way back.
        client.set_registered_model_tag(name, _tag(alias), " ".join(former[-_REMEMBERED:]))
    client.set_registered_model_alias(name, alias, number)
    return held


def move_back(client: Client, name: str, alias: str) -> tuple[RegisteredVersion, str | None]:
    """Points the alias to the version before, passing over versions that were deleted since.

    Returns:
        What the alias points to now, and the version it pointed to (None: it was not set, as after the deletion of its
        version).

    Raises:
        RegistryError: No former version is left.
    """
    held, former, existing = holder(client, name, alias), _former(client, name, alias), _versions(client, name)
    while former:
        target = former.pop()
        if target in existing and target != held:
            client.set_registered_model_alias(name, alias, target)
            client.set_registered_model_tag(name, _tag(alias), " ".join(former))
            _set_tags(client, name, target, {"restored_at": utc_now()})
            if held is not None:
                _set_tags(client, name, held, {"rolled_back_at": utc_now()})
            return _registered(client, name, target), held
    raise RegistryError(
        f"{name!r} should have a former {alias!r} to go back to. Received: none that is still in the registry"
    )


def apply_report(client: Client, report: GateReport, champion: str, challenger: str) -> str:
    """Notes the report on its version and moves the alias that it has earned.

    Args:
        client: MLflow client.
        report: The judgement.
        champion: Alias of a version that passed every gate.
        challenger: Alias of any other.

    Returns:
        The alias that points to the version now.

    Raises:
        RegistryError: The champion is no longer the version that the report compared with.
    """
    name, number = report.name, report.version
    held = holder(client, name, champion)
    if held != report.champion:
        raise RegistryError(
            f"{champion!r} should still be {_version(report.champion)}, with which version {number} was compared. "
            f"Received: {_version(held)}; judge again"
        )
    tags = report.tags()
    if report.passed:
        tags |= {"promoted_at": utc_now(), "previous_champion": held or "none"}
    client.update_model_version(name, number, report.markdown()[:_LONGEST_DESCRIPTION])
    _set_tags(client, name, number, tags)
    if not report.passed:
        client.set_registered_model_alias(name, challenger, number)
        return challenger
    move(client, name, champion, number)
    if holder(client, name, challenger) == number:
        client.delete_registered_model_alias(name, challenger)
    return champion


def _registered(client: Client, name: str, number: str) -> RegisteredVersion:
    found = client.get_model_version(name, number)
    return RegisteredVersion(name, number, f"models:/{name}/{number}", str(found.run_id or ""))


def _version(number: str | None) -> str:
    return "no version" if number is None else f"version {number}"


def _versions(client: Client, name: str) -> set[str]:
    return {str(found.version) for found in client.search_model_versions(f"name = '{name}'")}


def _tag(alias: str) -> str:
    return "former_" + "".join(c if c.isalnum() else "_" for c in alias)


def _former(client: Client, name: str, alias: str) -> list[str]:
    """Versions that the alias pointed to before, the latest one last."""
    return str(client.get_registered_model(name).tags.get(_tag(alias), "")).split()


def _set_tags(client: Client, name: str, number: str, tags: Mapping[str, str]) -> None:
    for key, value in tags.items():
        client.set_model_version_tag(name, number, key, value)
