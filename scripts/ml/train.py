"""Trains SLi-Rec on encoded sequences and writes the model bundle.

python -m scripts.ml.train data/dataset --inventory training/inventory.pkl --run runs/slirec
"""

import argparse
import logging
import shutil
import sys
from pathlib import Path
from typing import Any

from training.config import DEFAULT_CONFIG, ConfigError, TrainingConfig, load_config
from training.data.inventory import Inventory, InventoryError, load_inventory
from training.data.sequences import EncodedSequences, load_dataset
from training.evaluation.plots import training_curves
from training.export import catalogue_table, export_bundle
from training.models.ranker import INITIAL
from training.tracking import tracked_run
from training.trainer import TrainingResult, check_run_folder, train


def run_training(
    dataset: EncodedSequences,
    inventory: Inventory,
    config: TrainingConfig,
    run_folder: Path,
    tracking_uri: str | None = None,
    progress: bool = True,
) -> TrainingResult:
    """Trains with tracking, then writes the bundle to `run_folder/bundle`.

    Args:
        dataset: Encoded sequences.
        inventory: Catalogue to recommend from.
        config: Training configuration.
        run_folder: Where checkpoints, history and the bundle go; an interrupted run there is continued.
        tracking_uri: MLflow server; by default the environment's, else SQLite in the repository folder.
        progress: Whether to show progress bars.

    Returns:
        The best network and its history.
    """
    check_run_folder(dataset, config, run_folder)
    catalogue_table(dataset, inventory)  # a wrong inventory shows now, not after the training
    with tracked_run(config, dataset, run_folder, tracking_uri) as tracker:
        result = train(dataset, config, run_folder, tracker.log_epoch, progress)
        best = result.history[result.best_epoch - 1]
        tracker.log_metrics({f"best/{name}": value for name, value in best.items()})
        tracker.log_figure(training_curves(result.history), "training")
        metrics: dict[str, Any] = {name: value for name, value in best.items() if name.startswith("valid/")}
        export_bundle(result.model, dataset, inventory, config, run_folder / "bundle", metrics)
    return result


def delete_run(run_folder: Path) -> None:
    """Deletes the run in a folder.

    Raises:
        ValueError: The folder holds something that is no training run.
    """
    if not run_folder.exists():
        return
    if any(run_folder.iterdir()) and not (run_folder / INITIAL).exists():
        raise ValueError(f"{run_folder} should be the folder of a training run, to be deleted. It holds no {INITIAL}")
    shutil.rmtree(run_folder)


def main(argv: list[str] | None = None) -> int:
    """Runs the command line; returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("dataset", type=Path, help="folder of encoded sequences, from scripts.ml.preprocess")
    parser.add_argument("--inventory", type=Path, default=Path("training/inventory.pkl"), help="inventory snapshot")
    parser.add_argument("--config", type=Path, default=DEFAULT_CONFIG, help="training configuration (YAML)")
    parser.add_argument("--run", type=Path, default=Path("runs/slirec"), help="folder for checkpoints and bundle")
    parser.add_argument("--epochs", type=int, help="most epochs, instead of the configuration's")
    parser.add_argument("--fresh", action="store_true", help="delete an earlier run in the folder instead of resuming")
    arguments = parser.parse_args(argv)
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    try:
        config = load_config(arguments.config)
        if arguments.epochs is not None:
            config = config.replaced(train={"epochs": arguments.epochs})
        dataset = load_dataset(arguments.dataset)
        inventory = load_inventory(arguments.inventory)
        if arguments.fresh:
            delete_run(arguments.run)
        result = run_training(dataset, inventory, config, arguments.run)
    except (ConfigError, InventoryError, ValueError, OSError) as error:
        print(f"error: {' '.join(str(error).split())}", file=sys.stderr)
        return 1
    best = result.history[result.best_epoch - 1]
    print(f"best epoch {result.best_epoch}: {config.train.eval_metric} {best['valid/' + config.train.eval_metric]:.4f}")
    print(f"bundle: {arguments.run / 'bundle'}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
