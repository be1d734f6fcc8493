"""Logs a model bundle as a pyfunc, registers it, and proves that what was registered answers in a clean process.

Where things go is MLflow's own environment: MLFLOW_TRACKING_URI, MLFLOW_REGISTRY_URI, MLFLOW_EXPERIMENT_NAME, and
SLIREC_MODEL_NAME for the registered name. Without them: SQLite and artifacts in the repository's folder.
"""

import os
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from typing import Any

__all__ = [
    "RegisteredVersion",
    "RegistryError",
    "find_version",
    "load_champion",
    "log_and_register",
    "open_registered",
    "prepare_tracking",
    "promote",
    "reload_and_score",
    "rollback",
    "set_alias",
    "signature",
]

os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")  # read when MLflow is imported

import mlflow
import mlflow.pyfunc as pyfunc
from mlflow.artifacts import download_artifacts
from mlflow.client import MlflowClient
from mlflow.exceptions import MlflowException
from mlflow.models import Model
from mlflow.models.signature import ModelSignature
from mlflow.types.schema import Array, ColSpec, DataType, ParamSchema, ParamSpec, Schema

from serving import promotion
from serving.bundle import Bundle, BundleError, open_bundle
from serving.clean_process import RegistryError, reload_in_clean_process
from serving.config import RANKING_KEYS, ConfigError, ServeConfig
from serving.gate import GateReport
from serving.lineage import flat, lineage_tags, metric_name
from serving.local_store import absolute_uri, database_of, exclusive
from serving.manifest import FeatureEntry
from serving.promotion import RegisteredVersion, registered_name

REPOSITORY = Path(__file__).resolve().parents[1]
PACKAGE = Path(__file__).resolve().parent
# What the pyfunc imports. mlflow-skinny is the part of MLflow that loads and serves models.
REQUIREMENTS = ("mlflow-skinny", "pandas", "numpy", "pyarrow", "onnxruntime", "pydantic", "pyyaml")


def signature(config: ServeConfig, features: Sequence[FeatureEntry] = ()) -> ModelSignature:
    """Columns in and out, with optional ones for custom features, and parameters with their production defaults.

    Written by hand: inference types the empty default of `candidate_ids` as a list of times.
    """
    text, texts = DataType.string, Array(DataType.string)
    optional = [ColSpec(texts if each.of == "event" else text, each.name, required=False) for each in features]
    return ModelSignature(
        inputs=Schema([ColSpec(text, "userId"), ColSpec(texts, "items"), ColSpec(texts, "timestamps"), *optional]),
        outputs=Schema([ColSpec(texts, "itemIds"), ColSpec(Array(DataType.double), "preds")]),
        params=ParamSchema(
            [
                ParamSpec("k", DataType.long, config.k),
                ParamSpec("recommend_seen", DataType.boolean, config.recommend_seen and not config.exclude_seen),
                ParamSpec("candidate_ids", text, [], shape=(-1,)),
                ParamSpec("now", DataType.long, 0),
                ParamSpec("with_message", DataType.boolean, False),
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
    database = database_of(mlflow.get_tracking_uri())
    with _mlflow_errors("open the tracking store"), exclusive(database):
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
    report: Sequence[str | os.PathLike[str]] = (),
) -> RegisteredVersion:
    """Logs the bundle as a models-from-code pyfunc and registers it; no alias is moved.

    Args:
        bundle_path: Folder of the bundle; verified first.
        config: Serving configuration; it travels with the model.
        name: Registered name; by default SLIREC_MODEL_NAME, else the configuration's.
        metrics: Figures to link with the model; characters that MLflow refuses are replaced (`ndcg@10`: `ndcg_at_10`).
        tags: Tags of the version, beside the bundle's fingerprints and `serving.lineage`.
        run_id: The training run. Where the tracking store does not know it, a new run is started.
        report: Files of the evaluation's report, stored with the run under `report/`.

    Raises:
        BundleError: The bundle cannot be trusted.
        RegistryError: MLflow refused.
    """
    config = config or ServeConfig()
    bundle = open_bundle(bundle_path)
    experiment_id = prepare_tracking(config.experiment_name)
    name = registered_name(config, name)
    logged = config.model_dump(mode="json", include=set(RANKING_KEYS))
    all_tags = lineage_tags(REPOSITORY, bundle, logged) | dict(tags or {})
    with _mlflow_errors(f"register {name!r}"):
        client = MlflowClient()
        known = _known_run(client, run_id)
        run_tags = {} if known or run_id is None else {"training_run_id": run_id}
        with mlflow.start_run(run_id=known, experiment_id=None if known else experiment_id, tags=run_tags) as run:
            info = _log_model(bundle, config, all_tags)
            if metrics:
                mlflow.log_metrics({metric_name(k): v for k, v in metrics.items()}, model_id=info.model_id)
            for path in report:
                mlflow.log_artifact(os.fspath(path), "report")
        registered = mlflow.register_model(info.model_uri, name, tags=all_tags)
    number = str(registered.version)
    return RegisteredVersion(name, number, f"models:/{name}/{number}", run.info.run_id)


def set_alias(registered: RegisteredVersion, alias: str) -> str:
    """Points the alias to a version, whatever it is worth, and returns the URI to load it by.

    `promote` does so only once the version has proved itself; `rollback` undoes either.

    Raises:
        RegistryError: MLflow refused.
    """
    with _registry(f"set the alias {alias!r}") as client:
        promotion.move(client, registered.name, alias, registered.version)
    return f"models:/{registered.name}@{alias}"


def find_version(
    config: ServeConfig | None = None, *, name: str | None = None, number: str | None = None, alias: str | None = None
) -> RegisteredVersion | None:
    """Finds a version by its number, else by an alias (None where that is not set), else the newest one.

    Raises:
        RegistryError: There is no such model or version.
    """
    _, name = _prepared(config, name)
    with _mlflow_errors(f"find {name!r}"):
        return promotion.find(MlflowClient(), name, number, alias)


def open_registered(registered: RegisteredVersion, folder: str | os.PathLike[str]) -> Bundle:
    """Fetches the bundle of a version into a folder, verifies it, and opens it.

    Raises:
        BundleError: A byte has changed since it was registered, or it is of another format.
        RegistryError: MLflow refused.
    """
    uri = registered.model_uri
    with _mlflow_errors(f"fetch {uri}"):
        fetched = Path(download_artifacts(artifact_uri=uri, dst_path=os.fspath(folder)))
        tags = MlflowClient().get_model_version(registered.name, registered.version).tags
        flavor = Model.load(fetched).flavors["python_function"]
    return promotion.checked_bundle(fetched / flavor["artifacts"]["bundle"]["path"], tags)


def promote(report: GateReport, config: ServeConfig | None = None) -> str:
    """Makes a version the champion if it passed every gate, else the challenger, and notes the report on it.

    The report, from `scripts.ml.promote`, becomes the version's description and tags; a promoted one also has
    `promoted_at` and `previous_champion` (version number or "none"). Returns the URI to load the version by.

    Raises:
        RegistryError: MLflow refused, or the champion is no longer the one that the report compared with.
    """
    config = config or ServeConfig()
    with _registry(f"promote {report.name!r}") as client:
        alias = promotion.apply_report(client, report, config.alias, config.gate.challenger_alias)
    return f"models:/{report.name}@{alias}"


def rollback(config: ServeConfig | None = None, *, name: str | None = None) -> tuple[RegisteredVersion, str | None]:
    """Makes the version that was champion before the champion again; can be repeated, further back each time.

    Returns:
        The champion now, and the version that it replaces (None: that one was deleted).

    Raises:
        RegistryError: MLflow refused, or no former champion is left.
    """
    config, name = _prepared(config, name)
    with _registry(f"roll {name!r} back") as client:
        return promotion.move_back(client, name, config.alias)


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
    config, name = _prepared(config, name)
    uri = f"models:/{name}@{config.alias}"
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
    absolute = {name: absolute_uri(uri) for name, uri in uris.items()}
    return reload_in_clean_process(model_uri, config or ServeConfig(), absolute)


def _log_model(bundle: Bundle, config: ServeConfig, tags: Mapping[str, str]) -> Any:
    example, manifest = bundle.example, bundle.manifest
    return pyfunc.log_model(
        name="model",
        python_model=str(PACKAGE / "slirec_model.py"),
        artifacts={"bundle": str(bundle.path.resolve())},
        code_paths=[str(PACKAGE)],
        signature=signature(config, manifest.request_features),
        input_example=(dict(example["request"]), dict(example["params"])),
        pip_requirements=[f"{package}=={version(package)}" for package in REQUIREMENTS],
        model_config=config.model_dump(include=set(RANKING_KEYS)),
        metadata={
            "format_version": manifest.format_version,
            "ranker": manifest.ranker.kind,
            "features": {k: list(v) for k, v in manifest.features.items()},
        },
        params=dict(flat(manifest.config)),
        tags=dict(tags),
    )


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


def _prepared(config: ServeConfig | None, name: str | None) -> tuple[ServeConfig, str]:
    config = config or ServeConfig()
    prepare_tracking(config.experiment_name)
    return config, registered_name(config, name)


@contextmanager
def _mlflow_errors(what: str) -> Generator[None]:
    try:
        yield
    except MlflowException as error:
        raise RegistryError(f"MLflow could not {what}: {' '.join(str(error).split())}") from error


@contextmanager
def _registry(what: str) -> Generator[MlflowClient]:
    """Yields a client; meanwhile no other process of this code writes to a local registry."""
    with _mlflow_errors(what), exclusive(database_of(mlflow.get_registry_uri())):
        yield MlflowClient()
