"""Where the HTTP door's model comes from: a folder on disk, or the champion of the registry."""

import hashlib
import json
import shutil
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from serving.bundle import MANIFEST, BundleError
from serving.clean_process import RegistryError
from serving.config import ServeConfig

STATE = "newest.json"  # a keeper's note on the newest model


@dataclass(frozen=True)
class SourceModel:
    """The model that should answer now.

    Attributes:
        version: Differs whenever the model does.
        folder: Its bundle.
        metadata: `name` and `metrics` where the source knows them better than the bundle.
        fingerprint: SHA-256 that the bundle's manifest should have; "": unknown.
        checked_at: When the origin was asked, where that is not now (ISO 8601, UTC).
        problem: Why the origin may have a newer model that cannot be had, for clients; None: all is well.
    """

    version: str
    folder: Path
    metadata: Mapping[str, Any] = field(default_factory=dict[str, Any])
    fingerprint: str = ""
    checked_at: str | None = None
    problem: str | None = None


class ModelSource(Protocol):
    """Says which model should answer."""

    def current(self) -> SourceModel:
        """Returns the model that should answer now; called often, so cheap where nothing has changed.

        Raises:
            Exception: The source cannot say; the model that answers stays.
        """
        ...

    def release(self, model: SourceModel) -> None:
        """Called when the last request of a model that was replaced has ended, and for a model that was refused."""
        ...


class BundleSource:
    """One bundle folder. Replacing the folder by another bundle switches the model."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def current(self) -> SourceModel:
        """Returns the bundle; its version is the beginning of the manifest's SHA-256.

        Raises:
            BundleError: The folder is no bundle.
        """
        try:
            manifest = (self._folder / MANIFEST).read_bytes()
        except OSError as error:
            raise BundleError(f"{self._folder} should be the folder of a model bundle: {error.strerror}") from error
        return SourceModel(hashlib.sha256(manifest).hexdigest()[:12], self._folder)

    def release(self, model: SourceModel) -> None:
        """Leaves the folder, which is not this process's own, as it is."""


class KeptSource:
    """The newest model that a `serving.api_keeper.Keeper` of this machine keeps; its origin need not be there."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def current(self) -> SourceModel:
        """Reads the keeper's note.

        Raises:
            RegistryError: The keeper has no model yet.
        """
        try:
            note = json.loads((self._folder / STATE).read_text(encoding="utf-8"))
        except FileNotFoundError:
            raise RegistryError("No model has been fetched yet") from None
        if note["version"] is None:
            raise RegistryError(f"No model has been fetched yet. {note['problem']}")
        return SourceModel(
            note["version"],
            self._folder / note["bundle"],
            note["metadata"],
            note["fingerprint"],
            note["checked_at"],
            note["problem"],
        )

    def release(self, model: SourceModel) -> None:
        """Leaves the folder to the keeper, which has other workers to think of."""


class RegistrySource:
    """The version that the registry's alias points to. Needs MLflow, which is imported at the first question."""

    def __init__(self, config: ServeConfig, folder: Path, name: str | None = None) -> None:
        """Names the model.

        Args:
            config: Registered name and alias.
            folder: Where versions are fetched to; of this process alone.
            name: Registered name; by default SLIREC_MODEL_NAME, else the configuration's.
        """
        self._config, self._folder, self._name = config, folder, name
        self._fetched: SourceModel | None = None

    def current(self) -> SourceModel:
        """Asks for the alias, and fetches its version unless that was the last one fetched.

        Raises:
            RegistryError: The registry cannot be reached, or has no such model or alias.
            BundleError: The version is not what was registered.
        """
        from serving.registry import find_version, open_registered

        found = find_version(self._config, name=self._name, alias=self._config.alias)
        if found is None:
            raise RegistryError(f"The alias {self._config.alias!r} should be set. Received: no version")
        if self._fetched is None or self._fetched.version != found.version:
            target = self._folder / found.version
            if target.exists():  # a request still holds what was fetched before the alias left this version
                target = Path(tempfile.mkdtemp(dir=self._folder))
            try:
                bundle = open_registered(found, target)
            except Exception:
                shutil.rmtree(target, ignore_errors=True)
                raise
            self._fetched = SourceModel(found.version, bundle.path, {"name": found.name})
        return self._fetched

    def release(self, model: SourceModel) -> None:
        """Deletes what was fetched; it is fetched again should the alias return to it."""
        if self._fetched is model:
            self._fetched = None
        if model.folder.is_relative_to(self._folder) and model.folder != self._folder:
            shutil.rmtree(self._folder / model.folder.relative_to(self._folder).parts[0], ignore_errors=True)
