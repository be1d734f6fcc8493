"""A tracking store of MLflow for one test or module."""

import mlflow


def use_fresh_store(patch, folder):
    """Points MLflow at a SQLite store in `folder`, whatever the environment says, until `patch` is undone."""
    mlflow.set_tracking_uri(None)  # what a process has set goes before the environment
    patch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{folder}/mlflow.db")
    for name in ("MLFLOW_REGISTRY_URI", "MLFLOW_EXPERIMENT_NAME", "SLIREC_MODEL_NAME"):
        patch.delenv(name, raising=False)
    patch.setenv("MLFLOW_UV_AUTO_DETECT", "true")  # restored afterwards: prepare_tracking turns it off
