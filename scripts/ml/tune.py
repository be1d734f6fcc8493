"""Tunes SLi-Rec with Optuna on the validation split; what is found is a configuration for scripts.ml.train.

python -m scripts.ml.tune data/dataset --trials 30 --minutes 120
A second call continues the study, also after a crash. Advice on the budget: docs/tuning.md.
"""

import argparse
import logging
import sys
from collections.abc import Sequence
from pathlib import Path

import optuna
import yaml
from tqdm import tqdm

from training.config import DEFAULT_CONFIG, ConfigError, load_config
from training.data.sequences import load_dataset
from training.files import atomic_path
from training.search import Search, best_config, done_trials, study_figure
from training.search_space import DEFAULT_SPACE, load_space


def parse(argv: Sequence[str] | None) -> argparse.Namespace:
    """Returns the command line's arguments."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("dataset", type=Path, help="folder of encoded sequences")
    parser.add_argument("--trials", type=int, default=30, help="trials of the study in all, earlier calls counted")
    parser.add_argument("--minutes", type=float, help="start no trial after them")
    parser.add_argument("--examples", type=int, help="training examples of an epoch, instead of the configuration's")
    parser.add_argument("--epochs", type=int, help="epochs of a trial, instead of the configuration's")
    parser.add_argument("--space", type=Path, default=DEFAULT_SPACE, help="search space (YAML)")
    parser.add_argument("--config", type=Path, default=DEFAULT_CONFIG, help="configuration that the trials change")
    parser.add_argument("--folder", type=Path, default=Path("runs/tune"), help="study, runs and results")
    parser.add_argument("--seed", type=int, default=42, help="seed of the sampler")
    return parser.parse_args(argv)


def tune(arguments: argparse.Namespace) -> list[Path]:
    """Runs the study that the command line asks for and returns what was written.

    Raises:
        ConfigError: A file of settings does not fit.
        ValueError: The data set cannot be read, or no trial has come to its end.
    """
    if arguments.trials < 1 or (arguments.minutes is not None and arguments.minutes <= 0):
        raise ConfigError(
            "`--trials` and `--minutes` should be positive. "
            f"Received: {arguments.trials} trials, {arguments.minutes} minutes"
        )
    base = load_config(arguments.config)
    changes = {"epochs": arguments.epochs, "epoch_examples": arguments.examples}
    base = base.replaced(train={name: value for name, value in changes.items() if value is not None})
    search = Search(load_dataset(arguments.dataset), base, load_space(arguments.space), arguments.folder)
    with tqdm(total=arguments.trials, desc="trials", unit="trial") as bar:

        def on_trial(line: str) -> None:
            bar.update()
            tqdm.write(line)

        study = search.run(arguments.trials, arguments.minutes, arguments.seed, on_trial)
    # What was shortened for the study is the base's again.
    full = load_config(arguments.config).train
    best = best_config(study).replaced(train={"epochs": full.epochs, "epoch_examples": full.epoch_examples})
    paths = [arguments.folder / f"best-{search.name}.yaml", arguments.folder / f"study-{search.name}.png"]
    with atomic_path(paths[0]) as temporary:
        temporary.write_text(yaml.safe_dump(best.model_dump(mode="json"), sort_keys=False), encoding="utf-8")
    with atomic_path(paths[1]) as temporary:
        study_figure(study, base.train.eval_metric).savefig(temporary, format="png")
    print(f"{len(done_trials(study))} trials, best {search.metric} {study.best_value:.4f}")
    return paths


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command line; returns the exit status."""
    arguments = parse(argv)
    logging.basicConfig(level=logging.WARNING, format="%(message)s")
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    try:
        for path in tune(arguments):
            print(f"wrote {path}")
    except (OSError, ValueError) as error:
        print(f"error: {' '.join(str(error).split())}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
