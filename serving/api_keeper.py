"""Fetches models for the workers of a machine, proves them, and keeps the newest good ones on disk.

One process asks, so that a registry is asked once whatever the number of workers, no worker imports MLflow, and a
worker that is restarted while the registry is away opens the last good model.
"""

import json
import logging
import os
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path

from serving.api_looks import Looks, without_secrets
from serving.api_metrics import Metrics
from serving.api_source import STATE, ModelSource, SourceModel
from serving.api_switch import prove
from serving.bundle import Bundle, BundleError, open_bundle
from serving.clock import utc_now
from serving.config import ServeConfig

logger = logging.getLogger("serving.api")

SOURCE_AWAY = "The source of models cannot be asked."
REFUSED = "A new model was refused."
_KEPT = 2  # models: a worker may still be opening the one before the newest


@dataclass(frozen=True)
class _Kept:
    model: SourceModel
    bundle: Path
    fingerprint: str


class Keeper:
    """Keeps what a source says should answer, for `serving.api_source.KeptSource`."""

    def __init__(
        self, source: ModelSource, config: ServeConfig, metrics: Metrics, folder: Path, seconds: float
    ) -> None:
        """Prepares; nothing is asked before `start` or `refresh`.

        Args:
            source: Says which model should answer.
            config: How products are ranked; a model has to reproduce its example under it.
            metrics: Told of failures.
            folder: For models and the note on the newest; of this keeper alone, and read by the workers.
            seconds: Between looks for a new model.
        """
        self._source, self._config, self._metrics, self._folder = source, config, metrics, folder
        self._kept: list[_Kept] = []
        self._looks = Looks("keeper", self.refresh, lambda: bool(self._kept), seconds)

    def start(self) -> None:
        """Begins to look for models in the background."""
        self._looks.start()

    def stop(self) -> None:
        """Ends the looking, and waits for it a moment."""
        self._looks.stop()

    def refresh(self) -> None:
        """Asks the source, and keeps its model if that is another one than the newest kept.

        Raises:
            Exception: The source or its model failed; the newest kept model stays, and the note says what failed.
        """
        asked, wanted = utc_now(), None
        try:
            wanted = self._source.current()
            if not self._kept or self._kept[-1].model.version != wanted.version:
                self._keep(wanted)
        except Exception as error:
            refused = wanted is not None or isinstance(error, BundleError)
            self._metrics.source_failures.labels("model" if refused else "source").inc()
            self._note(asked, REFUSED if refused else SOURCE_AWAY)
            raise
        self._note(asked, None)

    def _keep(self, wanted: SourceModel) -> None:
        try:
            folder, bundle = self._copied(wanted)
        except Exception:
            self._release(wanted)  # fetched again with the next look, should it be mended under the same name
            raise
        logger.info("Version %s was fetched and proved", wanted.version)
        self._kept.append(_Kept(wanted, folder, bundle.fingerprint))
        for old in self._kept[:-_KEPT]:
            self._release(old.model)
            if old.bundle != old.model.folder:
                shutil.rmtree(old.bundle.parent, ignore_errors=True)
        del self._kept[:-_KEPT]

    def _copied(self, wanted: SourceModel) -> tuple[Path, Bundle]:
        if wanted.folder.is_relative_to(self._folder):
            return wanted.folder, self._proved(wanted.folder)
        # Somebody else's folder may be replaced by a bad one, or be gone, when a worker is restarted.
        copy = Path(tempfile.mkdtemp(dir=self._folder))
        try:
            shutil.copytree(wanted.folder, copy / "bundle")
            return copy / "bundle", self._proved(copy / "bundle")
        except Exception:
            shutil.rmtree(copy, ignore_errors=True)
            raise

    def _proved(self, folder: Path) -> Bundle:
        bundle = open_bundle(folder)
        prove(bundle, self._config)
        return bundle

    def _note(self, asked: str, problem: str | None) -> None:
        kept = self._kept[-1] if self._kept else None
        document = {
            "version": kept.model.version if kept else None,
            "bundle": str(kept.bundle.relative_to(self._folder)) if kept else None,
            "fingerprint": kept.fingerprint if kept else None,
            "metadata": dict(kept.model.metadata) if kept else {},
            "checked_at": asked,
            "problem": problem,
        }
        temporary = self._folder / f"{STATE}.new"
        temporary.write_text(json.dumps(document), encoding="utf-8")
        os.replace(temporary, self._folder / STATE)

    def _release(self, model: SourceModel) -> None:
        try:
            self._source.release(model)
        except Exception as error:
            logger.warning("Version %s could not be cleared away: %s", model.version, without_secrets(error))
