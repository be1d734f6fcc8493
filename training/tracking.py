"""MLflow tracking of a training run: parameters, metrics of each epoch, data set, plots.

Where it goes: `MLFLOW_TRACKING_URI` and MLflow's other usual variables, else SQLite in the repository folder.
"""

import json
import logging
import os
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import mlflow
import pandas as pd
from filelock import FileLock
from matplotlib.figure import Figure
from mlflow.data.pandas_dataset import from_pandas
from mlflow.exceptions import MlflowException

from training.config import TrainingConfig
from training.data.sequences import EncodedSequences
from training.files import write_json

LOGGER = logging.getLogger(__name__)
REPOSITORY = Path(__file__).resolve().parents[1]
DEFAULT_EXPERIMENT = "slirec_shopify"
RUN_FILE = "run.json"


def prepare_tracking(tracking_uri: str | None = None) -> str:
    """Chooses the tracking server and the experiment, and creates what is missing.

    Args:
        tracking_uri: Overrides `MLFLOW_TRACKING_URI`; without both, `mlflow.db` in the repository folder is used
            (on Databricks: the workspace).

    Returns:
        Id of the experiment `MLFLOW_EXPERIMENT_NAME`, by default `slirec_shopify`.
    """
    if tracking_uri:
        mlflow.set_tracking_uri(tracking_uri)
    elif not mlflow.is_tracking_uri_set() and "DATABRICKS_RUNTIME_VERSION" not in os.environ:
        mlflow.set_tracking_uri(f"sqlite:///{REPOSITORY / 'mlflow.db'}")
    uri = str(mlflow.get_tracking_uri())
    name = os.environ.get("MLFLOW_EXPERIMENT_NAME") or DEFAULT_EXPERIMENT
    if not uri.startswith("sqlite:///"):
        return str(mlflow.set_experiment(name).experiment_id)
    database = Path(uri.removeprefix("sqlite:///")).absolute()
    database.parent.mkdir(parents=True, exist_ok=True)
    # Several processes that touch a new SQLite store at once break it for good, hence the lock; and without an explicit
    # location its artifacts would land in whatever folder the first process was started from.
    with FileLock(f"{database}.lock"):
        if mlflow.get_experiment_by_name(name) is None:
            mlflow.create_experiment(name, artifact_location=(database.parent / "mlruns").as_uri())
        return str(mlflow.set_experiment(name).experiment_id)


class TrackingError(ValueError):
    """MLflow refused or could not be reached."""


def metric_name(name: str) -> str:
    """Returns a name that MLflow accepts: it refuses `@`."""
    return name.replace("@", "_at_")


class Tracker:
    """An open MLflow run."""

    def __init__(self, run_id: str):
        self.run_id = run_id

    def log_epoch(self, report: Mapping[str, Any]) -> None:
        """Logs an epoch's numbers under its number."""
        values = {metric_name(name): float(value) for name, value in report.items() if name != "epoch"}
        mlflow.log_metrics(values, step=int(report["epoch"]))

    def log_metrics(self, metrics: Mapping[str, float]) -> None:
        """Logs final figures."""
        mlflow.log_metrics({metric_name(name): float(value) for name, value in metrics.items()})

    def log_figure(self, figure: Figure, name: str) -> None:
        """Stores a plot as `plots/<name>.png`."""
        mlflow.log_figure(figure, f"plots/{name}.png")


@contextmanager
def tracked_run(
    config: TrainingConfig,
    dataset: EncodedSequences,
    run_folder: str | os.PathLike[str],
    tracking_uri: str | None = None,
    name: str = "slirec",
) -> Generator[Tracker]:
    """Opens the MLflow run of a training folder: the one noted in `run.json` if the server has it, else a new one.

    Inside `tracked_study` it becomes a child of the study's run.

    Args:
        config: Logged as parameters.
        dataset: Logged as data set, by fingerprint and sizes.
        run_folder: Folder of the training run; `run.json` there keeps the run's id for a resume and for registration.
        tracking_uri: See `prepare_tracking`.
        name: Name of a new run.

    Yields:
        The tracker.

    Raises:
        TrackingError: MLflow refused, or could not be reached.
    """
    with _noted_run(run_folder, name, tracking_uri) as run:
        if not run.data.params:
            document = config.model_dump(mode="json")
            mlflow.log_params({f"{part}.{name}": v for part, values in document.items() for name, v in values.items()})
            fingerprint = str(dataset.metadata["fingerprint"])
            mlflow.set_tags({"data_fingerprint": fingerprint, "model_type": config.model.model_type})
            sizes = {name: getattr(dataset, name) for name in ("num_users", "num_items", "num_categories")}
            # Whole numbers as float64: MLflow warns at length of columns of integers.
            table = pd.DataFrame([{"interactions": len(dataset.user), **sizes}], dtype="float64")
            data = from_pandas(table, name="encoded_sequences", digest=fingerprint[:36])
            mlflow.log_input(data, context="training")
        yield Tracker(str(run.info.run_id))


@contextmanager
def tracked_study(folder: str | os.PathLike[str], tracking_uri: str | None = None) -> Generator[Tracker]:
    """Opens the MLflow run of a tuning study; runs opened within it are its children.

    Args:
        folder: Folder of the study; `run.json` there keeps the run's id.
        tracking_uri: See `prepare_tracking`.

    Yields:
        The tracker.

    Raises:
        TrackingError: MLflow refused, or could not be reached.
    """
    with _noted_run(folder, "tuning", tracking_uri) as run:
        yield Tracker(str(run.info.run_id))


@contextmanager
def _noted_run(folder: str | os.PathLike[str], name: str, tracking_uri: str | None) -> Generator[Any]:
    """Opens a folder's run and notes its id there."""
    note = Path(folder) / RUN_FILE
    try:
        prepare_tracking(tracking_uri)
        opened = _open_run(note, name)
    except MlflowException as error:
        raise TrackingError(f"MLflow could not open a run: {' '.join(str(error).split())}") from error
    with opened as run:
        write_json({"mlflow_run_id": str(run.info.run_id)}, note)
        yield run


def _open_run(note: Path, name: str) -> Any:
    nested = mlflow.active_run() is not None
    if note.exists():
        run_id = str(json.loads(note.read_text(encoding="utf-8"))["mlflow_run_id"])
        try:
            return mlflow.start_run(run_id=run_id, nested=nested)
        except MlflowException:
            LOGGER.warning("MLflow has no run %s any more: starting a new one.", run_id)
    return mlflow.start_run(run_name=name, nested=nested)
