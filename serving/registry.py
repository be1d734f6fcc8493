"""Logs a model bundle as a pyfunc, registers it, and proves that what was registered answers in a clean process.

Where things go is MLflow's own environment: MLFLOW_TRACKING_URI, MLFLOW_REGISTRY_URI, MLFLOW_EXPERIMENT_NAME, and
SLIREC_MODEL_NAME for the registered name. Without them: SQLite and artifacts in the repository's folder.
"""

import os
from collections.abc import Generator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any, cast

__all__ = [
    "RegisteredVersion",
    "RegistryError",
    "load_champion",
    "log_and_register",
    "prepare_tracking",
    "reload_and_score",
    "set_alias",
    "signature",
]

os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")  # read when MLflow is imported

import mlflow
import mlflow.pyfunc as pyfunc
from filelock import FileLock
from mlflow.client import MlflowClient
from mlflow.exceptions import MlflowException
from mlflow.models.signature import ModelSignature
from mlflow.types.schema import Array, ColSpec, DataType, ParamSchema, ParamSpec, Schema

from serving.bundle import Bundle, BundleError, open_bundle
from serving.clean_process import RegistryError, reload_in_clean_process
from serving.config import ConfigError, ServeConfig

REPOSITORY = Path(__file__).resolve().parents[1]
PACKAGE = Path(__file__).resolve().parent
# Configuration that travels with the model; the rest is about where it is registered.
RANKING_KEYS = {"k", "recommend_seen", "candidate_chunk_size", "num_threads",
                "two_stage_from", "shortlist_size", "shortlist_sample"}  # fmt: skip
# What the pyfunc imports. mlflow-skinny is the part of MLflow that loads and serves models.
REQUIREMENTS = ("mlflow-skinny", "pandas", "numpy", "pyarrow", "onnxruntime", "pydantic", "pyyaml")


@dataclass(frozen=True)
class RegisteredVersion:
    """A version in the model registry: `model_uri` is `models:/<name>/<version>`, `run_id` the run it belongs to."""

    name: str
    version: str
    model_uri: str
    run_id: str


def signature(config: ServeConfig) -> ModelSignature:
    """Columns in and out, and parameters with their production defaults.

    Written by hand: inference types the empty default of `candidate_ids` as a list of times.
    """
    text, texts = DataType.string, Array(DataType.string)
    return ModelSignature(
        inputs=Schema([ColSpec(text, "userId"), ColSpec(texts, "items"), ColSpec(texts, "timestamps")]),
        outputs=Schema([ColSpec(texts, "itemIds"), ColSpec(Array(DataType.double), "preds")]),
        params=ParamSchema(
            [
                ParamSpec("k", DataType.long, config.k),
                ParamSpec("recommend_seen", DataType.boolean, config.recommend_seen),
                ParamSpec("candidate_ids", text, [], shape=(-1,)),
                ParamSpec("now", DataType.long, 0),
            ]
        ),
    )


def prepare_tracking(experiment_name: str = "slirec_shopify") -> str:
    """Points MLflow at its tracking store, creates what is missing there, and returns the experiment's id.

    Safe to call from several processes at once: a new SQLite file is initialised under a lock, since MLflow leaves a
    broken database behind when two processes create it together.

    Args:
        experiment_name: Used unless MLFLOW_EXPERIMENT_NAME is set.

    Raises:
        RegistryError: The store cannot be reached, or the experiment was deleted.
    """
    # A uv.lock in the working folder would be logged with the model and make its environment unbuildable.
    os.environ["MLFLOW_UV_AUTO_DETECT"] = "false"
    os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
    if not mlflow.is_tracking_uri_set() and "DATABRICKS_RUNTIME_VERSION" not in os.environ:
        mlflow.set_tracking_uri(f"sqlite:///{REPOSITORY / 'mlflow.db'}")
    name = os.environ.get("MLFLOW_EXPERIMENT_NAME") or experiment_name
    database = _database(mlflow.get_tracking_uri())
    with _mlflow_errors("open the tracking store"), _exclusive(database):
        client = MlflowClient()
        experiment = client.get_experiment_by_name(name)
        if experiment is None:
            # Said outright: MLflow would put them below the folder that this process happens to run in.
            artifacts = None if database is None else (database.parent / "mlruns").as_uri()
            return client.create_experiment(name, artifact_location=artifacts)
    if experiment.lifecycle_stage != "active":
        raise RegistryError(f"MLflow experiment {name!r} is deleted. Restore it, or set MLFLOW_EXPERIMENT_NAME")
    return experiment.experiment_id


def log_and_register(
    bundle_path: str | os.PathLike[str],
    config: ServeConfig | None = None,
    *,
    name: str | None = None,
    metrics: Mapping[str, float] | None = None,
    tags: Mapping[str, str] | None = None,
    run_id: str | None = None,
) -> RegisteredVersion:
    """Logs the bundle as a models-from-code pyfunc and registers it; no alias is moved.

    Args:
        bundle_path: Folder of the bundle; verified first.
        config: Serving configuration; it travels with the model.
        name: Registered name; by default SLIREC_MODEL_NAME, else the configuration's.
        metrics: Figures to link with the model; characters that MLflow refuses are replaced (`ndcg@10`: `ndcg_at_10`).
        tags: Tags of the version, beside the bundle's fingerprints.
        run_id: The training run. Where the tracking store does not know it, a new run is started.

    Raises:
        BundleError: The bundle cannot be trusted.
        RegistryError: MLflow refused.
    """
    config = config or ServeConfig()
    bundle = open_bundle(bundle_path)
    experiment_id = prepare_tracking(config.experiment_name)
    name = name or os.environ.get("SLIREC_MODEL_NAME") or config.registered_model_name
    all_tags = {
        "bundle_sha256": bundle.fingerprint,
        "data_fingerprint": bundle.manifest.data_fingerprint,
        "bundle_created_at": bundle.manifest.created_at,
        **(tags or {}),
    }
    with _mlflow_errors(f"register {name!r}"):
        client = MlflowClient()
        known = _known_run(client, run_id)
        run_tags = {} if known or run_id is None else {"training_run_id": run_id}
        with mlflow.start_run(run_id=known, experiment_id=None if known else experiment_id, tags=run_tags) as run:
            info = _log_model(bundle, config, all_tags)
            if metrics:
                mlflow.log_metrics({_metric_name(k): v for k, v in metrics.items()}, model_id=info.model_id)
        registered = mlflow.register_model(info.model_uri, name, tags=all_tags)
    number = str(registered.version)
    return RegisteredVersion(name, number, f"models:/{name}/{number}", run.info.run_id)


def set_alias(registered: RegisteredVersion, alias: str) -> str:
    """Points the alias to a version, once it has proved itself, and returns the URI to load it by.

    Raises:
        RegistryError: MLflow refused.
    """
    with _mlflow_errors(f"set the alias {alias!r}"):
        MlflowClient().set_registered_model_alias(registered.name, alias, registered.version)
    return f"models:/{registered.name}@{alias}"


def load_champion(config: ServeConfig | None = None, *, name: str | None = None) -> pyfunc.PyFuncModel:
    """Loads the version that the alias points to into this process, as any MLflow client would.

    Args:
        config: Alias and registered name.
        name: Registered name; by default SLIREC_MODEL_NAME, else the configuration's.

    Returns:
        A pyfunc whose `predict(data, params=...)` answers as `serving.slirec_model` does.

    Raises:
        RegistryError: There is no such model or alias, or MLflow cannot load it.
    """
    config = config or ServeConfig()
    prepare_tracking(config.experiment_name)
    uri = f"models:/{name or os.environ.get('SLIREC_MODEL_NAME') or config.registered_model_name}@{config.alias}"
    with _mlflow_errors(f"load {uri}"):
        try:
            return pyfunc.load_model(uri)
        except (BundleError, ConfigError) as error:
            raise RegistryError(f"{uri} cannot be used: {error}") from error


def reload_and_score(model_uri: str, config: ServeConfig | None = None) -> list[dict[str, Any]]:
    """Loads a logged model in a clean process, scores its input example, and compares with the bundle's example.

    The process has neither TensorFlow nor Keras, refuses pickles, and runs in an empty folder.

    Args:
        model_uri: `models:/<name>@<alias>`, `models:/<name>/<version>` or any other URI that MLflow loads.
        config: Tolerance and time limit.

    Returns:
        The model's answer: one `{"itemIds", "preds"}` a row of the example.

    Raises:
        RegistryError: The process failed or took too long, or its answer differs from the example.
    """
    # Set in this process only, they would not reach the other one, which has another working folder.
    uris = {"MLFLOW_TRACKING_URI": mlflow.get_tracking_uri(), "MLFLOW_REGISTRY_URI": mlflow.get_registry_uri()}
    absolute = {name: f"sqlite:///{path}" if (path := _database(uri)) else uri for name, uri in uris.items()}
    return reload_in_clean_process(model_uri, config or ServeConfig(), absolute)


def _log_model(bundle: Bundle, config: ServeConfig, tags: Mapping[str, str]) -> Any:
    example, manifest = bundle.example, bundle.manifest
    return pyfunc.log_model(
        name="model",
        python_model=str(PACKAGE / "slirec_model.py"),
        artifacts={"bundle": str(bundle.path.resolve())},
        code_paths=[str(PACKAGE)],
        signature=signature(config),
        input_example=(dict(example["request"]), dict(example["params"])),
        pip_requirements=[f"{package}=={version(package)}" for package in REQUIREMENTS],
        model_config=config.model_dump(include=RANKING_KEYS),
        metadata={
            "format_version": manifest.format_version,
            "features": {k: list(v) for k, v in manifest.features.items()},
        },
        params=dict(_flat(manifest.config)),
        tags=dict(tags),
    )


def _flat(config: Mapping[str, Any], prefix: str = "") -> Generator[tuple[str, str]]:
    """Names and values of a nested configuration: `{"model": {"units": 40}}` -> `("model.units", "40")`."""
    for key, value in config.items():
        if isinstance(value, Mapping):
            yield from _flat(cast(Mapping[str, Any], value), f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", str(value)


def _known_run(client: MlflowClient, run_id: str | None) -> str | None:
    """`run_id` where the tracking store has it and it is not deleted."""
    if run_id is None:
        return None
    try:
        run = client.get_run(run_id)
    except MlflowException as error:
        if error.error_code == "RESOURCE_DOES_NOT_EXIST":
            return None
        raise
    return run_id if run.info.lifecycle_stage == "active" else None


def _metric_name(name: str) -> str:
    named = name.replace("@", "_at_")
    return "".join(c if c.isalnum() or c in "_-. /" else "_" for c in named)


@contextmanager
def _mlflow_errors(what: str) -> Generator[None]:
    try:
        yield
    except MlflowException as error:
        raise RegistryError(f"MLflow could not {what}: {' '.join(str(error).split())}") from error


def _database(uri: str) -> Path | None:
    """Absolute path of a SQLite store; None for a server."""
    return Path(uri.removeprefix("sqlite:///")).absolute() if uri.startswith("sqlite:///") else None


def _exclusive(database: Path | None) -> AbstractContextManager[object]:
    """Returns a lock beside a SQLite database; nothing for a server, which keeps order itself."""
    if database is None:
        return nullcontext()
    database.parent.mkdir(parents=True, exist_ok=True)
    return FileLock(f"{database}.lock")
