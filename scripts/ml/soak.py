"""Asks our server without a pause while models are switched, workers killed and the registry stopped, and reports.

    python -m scripts.ml.soak [--minutes 10] [--rate 50] [--workers 2] [--report docs]

Everything runs on this machine, on the loopback interface and in a temporary folder: a registry (MLflow over SQLite),
two models of the inventory trained for it, the server, and locust. A minute each is added for the comparison with
`mlflow models serve`, and some for training. Writes soak.json, soak.md and soak.png; ends with status 1 where a target
is missed.
"""

import argparse
import json
import signal
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from tqdm import tqdm

from scripts.ml.benchmark_machine import describe_machine, moment
from scripts.ml.benchmark_worker import REPOSITORY
from scripts.ml.soak_report import markdown, plot, verdicts
from scripts.ml.soak_run import Plan, run
from scripts.ml.soak_servers import SoakError
from serving.bundle import BundleError
from serving.clean_process import RegistryError
from training.data.inventory import load_inventory
from training.files import atomic_path


def train_models(inventory: Path, folder: Path) -> tuple[Path, Path]:
    """Trains two models in a process of its own, and returns their bundles.

    Raises:
        SoakError: The training failed.
    """
    folder.mkdir()
    command = [sys.executable, "-m", "scripts.ml.soak_models", str(inventory), str(folder)]
    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True)
    if done.returncode:
        raise SoakError(f"the models could not be trained: {' '.join(done.stderr.split()[-40:])}")
    return folder / "1" / "bundle", folder / "2" / "bundle"


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command line and returns its exit status: 0, or 1 where a target is missed or nothing was measured."""
    arguments = _parser().parse_args(argv)
    plan = Plan(60 * arguments.minutes, arguments.rate, arguments.workers, min(60.0, 60 * arguments.minutes))
    try:
        load_inventory(arguments.inventory)  # a wrong one shows now
        total = plan.seconds + 2 * plan.compare_seconds
        with (
            tempfile.TemporaryDirectory(prefix="soak_", ignore_cleanup_errors=True) as folder,
            tqdm(total=round(total), unit="s") as progress,
        ):

            def step(name: str, seconds: float) -> None:
                if name:
                    progress.set_description(name)
                progress.update(min(seconds, progress.total - progress.n))

            step("two models are trained", 0)
            bundles = tuple(arguments.bundles or train_models(arguments.inventory.resolve(), Path(folder, "models")))
            document = run(plan, (bundles[0].resolve(), bundles[1].resolve()), Path(folder), step)
    except (BundleError, RegistryError, SoakError, ValueError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    command = f"python -m scripts.ml.soak --minutes {arguments.minutes:g} --rate {plan.rate:g} --workers {plan.workers}"
    document = {"command": command, "machine": describe_machine(), "moment": moment(REPOSITORY)} | document
    arguments.report.mkdir(parents=True, exist_ok=True)
    with atomic_path(arguments.report / "soak.json") as temporary:
        temporary.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")
    with atomic_path(arguments.report / "soak.md") as temporary:
        temporary.write_text(markdown(document), encoding="utf-8")
    with atomic_path(arguments.report / "soak.png") as temporary:
        plot(document).savefig(temporary)
    for text, good in (results := verdicts(document)):
        print(f"{'reached' if good else 'MISSED'}: {text}")
    print(f"{arguments.report / 'soak.md'}, soak.json and soak.png written")
    return 0 if all(good for _, good in results) else 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m scripts.ml.soak", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--minutes", type=_positive, default=10.0, help="of load with faults (default: 10)")
    parser.add_argument("--rate", type=_positive, default=50.0, help="requests per second (default: 50)")
    parser.add_argument("--workers", type=int, choices=range(1, 17), metavar="N", default=2, help="of the server (2)")
    parser.add_argument("--report", type=Path, default=Path("docs"), help="folder to write (default: docs)")
    parser.add_argument("--inventory", type=Path, default=Path("training/inventory.pkl"), help="inventory snapshot")
    parser.add_argument(
        "--bundles", type=Path, nargs=2, help="two models of one catalogue, instead of training two (a minute)"
    )
    return parser


def _positive(text: str) -> float:
    value = float(text)
    if not 0 < value < 10_000:
        raise argparse.ArgumentTypeError(f"should be above 0, received {text}")
    return value


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that the servers and the temporary folder go
    sys.exit(main())
