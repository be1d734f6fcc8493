"""Measures this project against recommenders' SLi-Rec, side by side in one run, and writes tables and a plot.

    python -m scripts.ml.benchmark [--only training,serving] [--quick | --full] [--output docs]

Each part is stored as soon as it ends; parts that are not run keep their figures. A run in full size takes about 20
minutes on 2 cores, most of it for the reference.
"""

import argparse
import signal
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from tqdm import tqdm

from scripts.ml.benchmark_context import FULL, QUICK, Context, Scale
from scripts.ml.benchmark_learning import evaluation, large, preprocessing, training
from scripts.ml.benchmark_machine import describe_machine, moment, product_rate
from scripts.ml.benchmark_report import markdown, plot
from scripts.ml.benchmark_requests import batch, load, serving
from scripts.ml.benchmark_rows import store_part
from scripts.ml.benchmark_worker import REPOSITORY, WorkerError
from training.data.inventory import load_inventory
from training.files import atomic_path

PARTS: dict[str, Callable[[Context, Callable[[str], None]], dict[str, Any]]] = {
    "training": training,
    "serving": serving,
    "load": load,
    "batch": batch,
    "evaluation": evaluation,
    "preprocessing": preprocessing,
    "large": large,
}
OUTPUT, QUICK_OUTPUT = Path("docs"), Path("runs/benchmark_quick")


def run_part(name: str, context: Context, output: Path, machine: dict[str, Any], progress: Any) -> None:
    """Measures one part, and writes `benchmarks.json`, `.md` and `.png` with it in `output`."""
    rate = product_rate(context.scale.probe)
    progress.set_description(name)
    measured = PARTS[name](context, progress.set_postfix_str)
    # The floor should be what the machine can do: the better of two rates, should it have been disturbed once.
    rate = max(rate, product_rate(context.scale.probe))
    rows = [row.document() for row in measured["rows"]]
    part = {**measured, **moment(REPOSITORY), "product_rate": rate, "rows": rows}
    document = store_part(output / "benchmarks.json", machine, name, part)
    with atomic_path(output / "benchmarks.md") as temporary:
        temporary.write_text(markdown(document), encoding="utf-8")
    with atomic_path(output / "benchmarks.png") as temporary:
        plot(document).savefig(temporary)


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command line and returns its exit status: 0, or 1 with one line on stderr."""
    arguments = _parser().parse_args(argv)
    output = arguments.output or (QUICK_OUTPUT if arguments.quick else OUTPUT)
    scale = QUICK if arguments.quick else FULL if arguments.full else Scale()
    names = arguments.only or tuple(PARTS)
    machine = describe_machine()
    try:
        load_inventory(arguments.inventory)  # a wrong one shows now, not in the middle
        with tempfile.TemporaryDirectory(prefix="benchmark_", dir=arguments.work) as folder:
            context = Context(Path(folder), arguments.inventory.resolve(), scale)
            with tqdm(names, unit="part") as progress:
                for name in progress:
                    run_part(name, context, output, machine, progress)
                progress.set_postfix_str("")
    except (WorkerError, ValueError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    print(f"{output / 'benchmarks.md'}, benchmarks.json and benchmarks.png written")
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m scripts.ml.benchmark", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--only", type=_parts, metavar="PARTS", help=f"of {','.join(PARTS)} (default: all)")
    size = parser.add_mutually_exclusive_group()
    size.add_argument("--quick", action="store_true", help="tiny sizes, to try the command; writes to runs/")
    size.add_argument("--full", action="store_true", help="three times the training data")
    parser.add_argument("--output", type=Path, help=f"folder to write (default: {OUTPUT}, --quick: {QUICK_OUTPUT})")
    parser.add_argument("--inventory", type=Path, default=Path("training/inventory.pkl"), help="inventory snapshot")
    parser.add_argument("--work", type=Path, help="where the temporary folder goes (default: the system's)")
    return parser


def _parts(text: str) -> tuple[str, ...]:
    asked = text.split(",")
    if unknown := [name for name in asked if name not in PARTS]:
        raise argparse.ArgumentTypeError(f"should be of {', '.join(PARTS)}, received {', '.join(unknown)}")
    return tuple(name for name in PARTS if name in asked)


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that the measuring processes and the work folder go
    sys.exit(main())
