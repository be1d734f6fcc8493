"""Tuning with Optuna: each trial is a training run on the validation split, stopped early where it falls behind."""

import hashlib
import json
import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import optuna
from filelock import FileLock, Timeout
from matplotlib.figure import Figure
from optuna.trial import TrialState

from training.config import ConfigError, TrainingConfig
from training.data.sequences import EncodedSequences
from training.plot_style import BLUE, GREY, ORANGE, new_figure, set_titles
from training.search_space import SearchSpace, configured, suggest
from training.tracking import tracked_run, tracked_study
from training.trainer import EpochReport, check_run_folder, train

LOGGER = logging.getLogger(__name__)
DATABASE: Final = "study.db"
_REFUSED: Final = 50  # combinations in a row
_SETTINGS, _SECONDS = "settings", "seconds"


class StudyError(ValueError):
    """A study that cannot be continued or has no result."""


@dataclass(frozen=True)
class Search:
    """What a study is made of; another one of these is another study.

    Attributes:
        dataset: Encoded sequences.
        base: Configuration that the trials change.
        space: What they change, and when they are stopped early.
        folder: Where the study's database and the trials' runs are.
        tracking_uri: See `training.tracking.prepare_tracking`.
    """

    dataset: EncodedSequences
    base: TrainingConfig
    space: SearchSpace
    folder: Path
    tracking_uri: str | None = None

    @property
    def name(self) -> str:
        """Name of the study: a digest of data, configuration and space, so that only equal ones are continued."""
        parts = [self.dataset.metadata["fingerprint"], self.base.model_dump(mode="json"), self.space.model_dump()]
        return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:12]

    @property
    def metric(self) -> str:
        """What is maximised, as reports name it."""
        return f"valid/{self.base.train.eval_metric}"

    def open(self, seed: int) -> optuna.Study:
        """Opens the study, or makes it; trials that a killed process left are queued again."""
        self.folder.mkdir(parents=True, exist_ok=True)
        storage = f"sqlite:///{self.folder.absolute() / DATABASE}"
        study = optuna.create_study(
            storage=storage, study_name=self.name, direction="maximize", load_if_exists=True, pruner=self._pruner()
        )
        # The same seed again would draw the first trials' values again.
        study.sampler = optuna.samplers.TPESampler(seed=seed + len(study.trials))
        for trial in study.get_trials(states=(TrialState.RUNNING,)):
            study.tell(trial.number, state=TrialState.FAIL)
            study.enqueue_trial(trial.params)
        return study

    def _pruner(self) -> optuna.pruners.BasePruner:
        pruner = self.space.pruner
        if pruner.kind == "hyperband":
            return optuna.pruners.HyperbandPruner(max_resource=self.base.train.epochs)
        if pruner.kind == "median":
            return optuna.pruners.MedianPruner(pruner.startup_trials, pruner.warmup_epochs)
        return optuna.pruners.NopPruner()

    def run(self, trials: int, minutes: float | None, seed: int, on_trial: Callable[[str], Any]) -> optuna.Study:
        """Runs trials until there are `trials` finished or pruned ones in the study, or the time is up.

        Args:
            trials: Trials of the study in all, those of earlier calls counted.
            minutes: No trial is started after them; the one under way is finished. None is no limit.
            seed: Seed of the sampler.
            on_trial: Called with a line of text after each trial.

        Raises:
            StudyError: Another process works on the study, or the configuration refuses whatever is tried.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        end = time.monotonic() + (60 * minutes if minutes is not None else float("inf"))
        try:
            with (
                FileLock(self.folder / f"{DATABASE}.lock", timeout=0),
                tracked_study(self.folder / self.name, self.tracking_uri),
            ):
                study = self.open(seed)
                while len(done_trials(study)) < trials and time.monotonic() < end:
                    study.optimize(self._objective, n_trials=1, catch=())
                    _require_some_allowed(study)
                    on_trial(self.describe(study, trials))
        except Timeout as error:
            raise StudyError(f"{self.folder} is being tuned in by another process. Wait for it or stop it") from error
        return study

    def describe(self, study: optuna.Study, trials: int) -> str:
        """Returns the state of the study in a line."""
        done, last = done_trials(study), study.trials[-1]
        seconds = [trial.user_attrs.get(_SECONDS, 0.0) for trial in done]
        left = (trials - len(done)) * sum(seconds) / max(1, len(seconds)) / 60
        value = "-" if last.value is None else f"{last.value:.4f}"
        finished = study.get_trials(states=(TrialState.COMPLETE,))
        best = max((trial.value or 0.0 for trial in finished), default=0.0)
        return (
            f"trial {last.number} {last.state.name.lower()} at {value}; best {best:.4f}; {len(done)} of {trials} done, "
            f"about {left:.0f} minutes left"
        )

    def _objective(self, trial: optuna.Trial) -> float:
        try:
            config = configured(self.base, suggest(self.space, trial))
        except ConfigError as error:
            LOGGER.info("Trial %d is refused: %s", trial.number, error)
            trial.set_user_attr("refused", str(error))
            raise optuna.TrialPruned from error
        document = config.model_dump(mode="json")
        trial.set_user_attr(_SETTINGS, document)
        # A trial that was killed comes back with the same settings and goes on from its last epoch.
        stem = hashlib.sha256(json.dumps(document, sort_keys=True).encode()).hexdigest()[:12]
        run, start = self.folder / self.name / f"trial-{stem}", time.monotonic()
        reports = list(check_run_folder(self.dataset, config, run))
        for report in reports:
            trial.report(report[self.metric], int(report["epoch"]))

        def judge(report: EpochReport) -> None:
            tracker.log_epoch(report)
            reports.append(report)
            trial.report(report[self.metric], int(report["epoch"]))
            if trial.should_prune():
                raise optuna.TrialPruned

        pruned = False
        with tracked_run(config, self.dataset, run, self.tracking_uri, name=f"trial {trial.number}") as tracker:
            try:
                train(self.dataset, config, run, judge, progress=False)
            except optuna.TrialPruned:
                pruned = True  # not out of the run's block: MLflow would call it failed
            best = max(report[self.metric] for report in reports)
            tracker.log_metrics({f"best/{self.metric}": best, "pruned": float(pruned)})
        trial.set_user_attr(_SECONDS, time.monotonic() - start)
        if pruned:
            raise optuna.TrialPruned
        return best


def done_trials(study: optuna.Study) -> list[optuna.trial.FrozenTrial]:
    """Returns the trials that were trained to their end or stopped early, not those that were refused or killed."""
    trials = study.get_trials(states=(TrialState.COMPLETE, TrialState.PRUNED))
    return [trial for trial in trials if _SETTINGS in trial.user_attrs]


def _require_some_allowed(study: optuna.Study) -> None:
    latest = [trial.user_attrs.get("refused") for trial in study.trials[-_REFUSED:]]
    if len(latest) == _REFUSED and all(latest):
        raise StudyError(f"The space should hold settings that fit together. Received: {_REFUSED} times {latest[-1]}")


def best_config(study: optuna.Study) -> TrainingConfig:
    """Returns the configuration of the best trial.

    Raises:
        StudyError: No trial has come to its end.
    """
    if not study.get_trials(states=(TrialState.COMPLETE,)):
        raise StudyError("The study should have a finished trial. Received: none; give it more trials or minutes")
    return TrainingConfig.model_validate(study.best_trial.user_attrs[_SETTINGS])


def study_figure(study: optuna.Study, metric: str) -> Figure:
    """Returns the trials with the best so far, and beside it how much each setting explains of the values.

    Source of the shares: PED-ANOVA (Watanabe, Bansal and Hutter, IJCAI 2023), as Optuna computes it; empty under four
    finished trials, where they would mean nothing.
    """
    figure, (history, shares) = new_figure(11, 4, 2)
    finished = study.get_trials(states=(TrialState.COMPLETE,))
    stopped = [
        trial for trial in study.get_trials(states=(TrialState.PRUNED,)) if trial.intermediate_values and trial.value
    ]
    for trials, colour, label in ((finished, BLUE, "finished"), (stopped, GREY, "stopped early")):
        history.plot(
            [each.number for each in trials], [each.value or 0.0 for each in trials], "o", color=colour, label=label
        )
    best, numbers, values = float("-inf"), [], []
    for each in finished:
        best = max(best, each.value or 0.0)
        numbers.append(each.number)
        values.append(best)
    history.step(numbers, values, where="post", color=ORANGE, label="best so far")
    history.legend(frameon=False, fontsize=9)
    set_titles(history, "Trials", "trial", metric)
    explained = optuna.importance.get_param_importances(study) if len(finished) >= 4 else {}
    names = list(reversed(explained))
    shares.barh(names, [explained[name] for name in names], color=BLUE)
    set_titles(shares, "What the settings explain", "share", "")
    return figure
