"""Keeps the model that answers, and switches to a new one without a dropped request."""

import ctypes
import logging
import threading
from collections.abc import Generator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any

from serving.api_looks import Looks, without_secrets
from serving.api_metrics import Metrics
from serving.api_source import ModelSource, SourceModel
from serving.bundle import Bundle, BundleError, open_bundle
from serving.clean_process import check_example
from serving.clock import utc_now
from serving.config import ServeConfig
from serving.recommender import Recommender

logger = logging.getLogger("serving.api")

_GONE_SECONDS = 2.0  # after which nothing of a closed model is held any more


@dataclass(eq=False)
class LoadedModel:
    """A model that was opened and reproduced its bundle's example.

    Attributes:
        source: Where it came from.
        recommender: Ranks.
        loaded_at: ISO 8601, UTC.
        users: Requests that it answers now.
        retired: Whether a newer one answers new requests.
    """

    source: SourceModel
    recommender: Recommender
    loaded_at: str
    users: int = 0
    retired: bool = False

    def is_of(self, source: SourceModel) -> bool:
        """Whether this is the model that the source means."""
        known = self.source
        return (known.version, known.fingerprint) == (source.version, source.fingerprint)

    @property
    def name(self) -> str:
        """The registered name, or that of the network."""
        return str(self.source.metadata.get("name") or self.recommender.bundle.manifest.model)


class Models:
    """The model that answers now. Thread-safe.

    A new model answers only once it was opened (all hashes checked) and reproduced its bundle's example. Requests that
    began on the old one end on it; after the last of them it is closed. Whatever fails, the old one stays.
    """

    def __init__(self, source: ModelSource, config: ServeConfig, metrics: Metrics, seconds: float) -> None:
        """Prepares; nothing is opened before `start` or `refresh`.

        Args:
            source: Says which model should answer.
            config: How products are ranked.
            metrics: Told of switches and failures.
            seconds: Between looks for a new model.
        """
        self._source, self._config, self._metrics = source, config, metrics
        self._model: LoadedModel | None = None
        self._lock, self._refreshing = threading.Lock(), threading.Lock()
        self._looks = Looks("models", self.refresh, lambda: self._model is not None, seconds)
        self.checked_at: str | None = None
        self.error: str | None = None  # for clients: holds no path

    def start(self) -> None:
        """Begins to look for models in the background."""
        self._looks.start()

    def stop(self) -> None:
        """Ends the looking, and waits for it a moment."""
        self._looks.stop()

    @contextmanager
    def lease(self) -> Generator[LoadedModel | None]:
        """Gives the model that answers now, to be used until the end of the request; None: there is none yet."""
        with self._lock:
            model = self._model
            if model:
                model.users += 1
        try:
            yield model
        finally:
            if model:
                with self._lock:
                    model.users -= 1
                    unused = model.retired and not model.users
                if unused:  # elsewhere, as this may be the event loop
                    threading.Thread(target=self._close, args=(model.source,), daemon=True).start()

    def refresh(self) -> None:
        """Asks the source, and switches to its model if that is another one than the model that answers.

        Raises:
            Exception: The source or its model failed; the model that answers stays.
        """
        with self._refreshing:
            self.checked_at = utc_now()
            wanted: SourceModel | None = None
            try:
                wanted = self._source.current()
                if self._model is None or not self._model.is_of(wanted):
                    self._switch(LoadedModel(wanted, self._open(wanted), utc_now()))
            except Exception as error:
                refused = wanted is not None or isinstance(error, BundleError)
                self.error = "A new model was refused." if refused else "The source of models cannot be asked."
                if wanted:  # a download that went wrong must not be tried for ever
                    self._release(wanted)
                self._metrics.source_up.set(0)
                self._metrics.source_failures.labels("model" if refused else "source").inc()
                raise
            self.checked_at = wanted.checked_at or self.checked_at
            self.error = wanted.problem
            self._metrics.source_up.set(wanted.problem is None)

    def _open(self, wanted: SourceModel) -> Recommender:
        bundle = open_bundle(wanted.folder)
        if wanted.fingerprint not in ("", bundle.fingerprint):
            raise BundleError(
                f"{wanted.folder} should have a manifest of SHA-256 {wanted.fingerprint}. "
                f"Received: {bundle.fingerprint}"
            )
        return prove(bundle, self._config)

    def _switch(self, model: LoadedModel) -> None:
        with self._lock:
            old, self._model = self._model, model
            if old:
                old.retired = True
            unused = old is not None and not old.users
        if old:
            self._metrics.model.labels(old.name, old.source.version).set(0)
        self._metrics.model.labels(model.name, model.source.version).set(1)
        self._metrics.switches.inc()
        logger.info("Model %s, version %s, answers now", model.name, model.source.version)
        if old and unused:
            self._close(old.source)

    def _close(self, source: SourceModel) -> None:
        # Graphs, tables and threads go with the last reference to the recommender.
        logger.info("Version %s is closed", source.version)
        self._release(source)
        # Not at once: who calls this still holds the recommender.
        later = threading.Timer(_GONE_SECONDS, give_memory_back)
        later.daemon = True
        later.start()

    def _release(self, source: SourceModel) -> None:
        try:
            self._source.release(source)
        except Exception as error:
            logger.warning("Version %s could not be cleared away: %s", source.version, without_secrets(error))


def give_memory_back() -> None:
    """Returns to the system what the closed model has left: glibc would keep it in pieces, some more at each switch."""
    with suppress(AttributeError, OSError, TypeError):  # of another C library
        ctypes.CDLL(None).malloc_trim(0)


def prove(bundle: Bundle, config: ServeConfig) -> Recommender:
    """Opens a bundle's recommender and has it reproduce the bundle's example.

    Raises:
        BundleError: The bundle has no complete example.
        RegistryError: The answer is not the trained network's.
    """
    recommender = Recommender(bundle, config)
    without_rules = config.without_rules()  # rules leave products out, which the bundle's example has
    verify_example(bundle, recommender if without_rules == config else Recommender(bundle, without_rules))
    return recommender


def verify_example(bundle: Bundle, recommender: Recommender) -> None:
    """Compares the answer to the bundle's example with the trained network's.

    Raises:
        BundleError: The bundle has no complete example.
        RegistryError: The answer differs by more than the configuration's `example_tolerance`.
    """
    example = bundle.example
    try:
        request: dict[str, Any] = example["request"]
        shopper = (request["userId"], request["items"], request["timestamps"])
        features = {name: request[name] for name in request if name not in ("userId", "items", "timestamps")}
        params = {name: example["params"].get(name) for name in ("k", "recommend_seen")}
        now, candidates = example["params"].get("now") or None, example["params"].get("candidate_ids") or ()
        expected = {"itemIds": example["itemIds"], "preds": example["preds"]}
    except (KeyError, TypeError, AttributeError):
        raise BundleError(f"{bundle.path}: example.json should have a request, its params and its answer") from None
    answer = recommender.recommend(*shopper, **params, candidate_ids=candidates, now=now, features=features)
    check_example(
        [{"itemIds": answer.item_ids, "preds": answer.scores}], expected, recommender.config.example_tolerance
    )
