"""Executes the notebooks in order, top to bottom, each in a kernel of its own.

    python -m scripts.ml.run_notebooks             # the workflow, 01 to 06; executed copies under runs/notebooks
    python -m scripts.ml.run_notebooks --quick     # less data
    python -m scripts.ml.run_notebooks 04 05       # some of them, on what the earlier ones left
    python -m scripts.ml.run_notebooks --all       # also 07 and 08, which stand by themselves
    python -m scripts.ml.run_notebooks --in-place  # saves the outputs in notebooks/ itself

Parameters are set in a cell of their own, right after the one tagged `parameters`.
"""

import argparse
import ast
import re
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import nbformat
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError, DeadKernelError
from nbformat import NotebookNode
from tqdm import tqdm

from scripts.ml.run_summary import RunSummaryError, summarise_run
from training.files import atomic_path

REPOSITORY = Path(__file__).resolve().parents[2]
WORKFLOW = ("01", "02", "03", "04", "05", "06")  # of these each needs what those before it left
QUICK = {  # results apart from those of a full run, so that they do not take each other's place
    **{"USERS": 400, "DAYS": 90, "EPOCHS": 3, "DATA_DIR": "data/quick", "RUNS_DIR": "runs/quick"},
    "GATE": {"baseline_margin": -10.0},  # what so little data can teach need not lead the simple methods
    "TRACKING_URI": "sqlite:///runs/quick/mlflow.db",
}
ERROR_LINES = 15
_ANSI = re.compile(r"\x1b\[[0-9;]*[A-Za-z]")
_WIDGET = "application/vnd.jupyter.widget-view+json"


class NotebookError(RuntimeError):
    """A notebook that cannot be executed, or one of whose cells failed; the message says which and why."""


class Progress:
    """Shows one notebook's progress: a bar over its code cells, and what the cells print as they print it.

    Without a terminal the bar is left out and whole lines are printed.

    Args:
        name: Name of the notebook.
        cells: Number of code cells.
    """

    def __init__(self, name: str, cells: int) -> None:
        self._bar = tqdm(total=cells, desc=name, unit="cell", disable=None, dynamic_ncols=True)
        self._pending = {"stdout": "", "stderr": ""}

    def text(self, stream: str, chunk: str) -> None:
        """Prints the lines that `chunk` completes; an unfinished line (a progress bar's frame) is shown at the bar.

        Args:
            stream: "stdout" or "stderr".
            chunk: What the cell wrote to it.
        """
        *lines, rest = (self._pending[stream] + chunk).split("\n")
        for line in lines:
            if shown := line.rstrip("\r").rsplit("\r", 1)[-1].rstrip():
                tqdm.write(f"    {shown}", file=sys.stderr)
        self._pending[stream] = re.sub(r".*\r(?=.)", "", rest)
        self._bar.set_postfix_str(self._pending[stream].strip()[:60])

    def cell_done(self) -> None:
        """Counts one finished code cell."""
        self._bar.update()

    def close(self) -> None:
        """Removes the bar."""
        self._bar.set_postfix_str("")
        self._bar.close()


class _StreamingClient(NotebookClient):
    """A notebook client that also shows what the cells print, while they run."""

    def __init__(self, notebook: NotebookNode, progress: Progress, **options: Any) -> None:
        super().__init__(notebook, **options)
        self._progress = progress

    def output(self, outs: Any, msg: Any, display_id: Any, cell_index: int) -> Any:
        if msg["msg_type"] == "stream":
            self._progress.text(msg["content"]["name"], msg["content"]["text"])
        return super().output(outs, msg, display_id, cell_index)


def parameters_cell(notebook: NotebookNode, name: str) -> int:
    """Returns the index of the cell tagged `parameters`.

    Args:
        notebook: A notebook.
        name: Its name, for the message.

    Raises:
        NotebookError: There is not exactly one such cell.
    """
    found = [i for i, cell in enumerate(notebook.cells) if "parameters" in cell.metadata.get("tags", [])]
    if len(found) != 1:
        raise NotebookError(f"{name} should have one cell tagged `parameters`. Received: {len(found)}")
    return found[0]


def parameter_names(notebook: NotebookNode, name: str) -> list[str]:
    """Returns the names that the notebook's `parameters` cell sets, in order."""
    tree = ast.parse(notebook.cells[parameters_cell(notebook, name)].source)
    targets = [t for node in tree.body if isinstance(node, ast.Assign) for t in node.targets]
    targets += [node.target for node in tree.body if isinstance(node, ast.AnnAssign)]
    return [target.id for target in targets if isinstance(target, ast.Name)]


def inject_parameters(notebook: NotebookNode, parameters: Mapping[str, Any], name: str) -> None:
    """Adds a cell that sets `parameters`, those that the notebook knows, after its `parameters` cell."""
    known = [key for key in parameter_names(notebook, name) if key in parameters]
    if not known:
        return
    cell = nbformat.v4.new_code_cell(
        "\n".join(f"{key} = {parameters[key]!r}" for key in known),
        id="injected-parameters",
        metadata={"tags": ["injected-parameters"]},
    )
    notebook.cells.insert(parameters_cell(notebook, name) + 1, cell)


def execute_notebook(notebook: NotebookNode, name: str, *, cwd: Path, log: Path) -> None:
    """Executes all cells of `notebook`, changing it to hold their outputs.

    Args:
        notebook: The notebook.
        name: Its name, for progress and messages.
        cwd: Working folder of the kernel.
        log: File for what the kernel's process itself writes, which matters when it dies.

    Raises:
        NotebookError: A cell failed; the message names it and ends with the error's last lines. Or the kernel died.
    """
    progress = Progress(name, sum(cell.cell_type == "code" for cell in notebook.cells))
    started: list[int] = []
    client = _StreamingClient(
        notebook,
        progress,
        timeout=None,
        kernel_name="python3",  # the environment's own kernel, whatever the notebook was saved with
        resources={"metadata": {"path": str(cwd)}},
        # No warning for each kernel about local TCP; what C++ libraries write goes to the log, not into the notebook.
        extra_arguments=["--IPKernelApp.log_level=ERROR", "--IPKernelApp.capture_fd_output=False"],
        record_timing=False,
        coalesce_streams=True,
        on_cell_start=lambda cell, cell_index: started.append(cell_index),
        on_cell_executed=lambda cell, cell_index, execute_reply: progress.cell_done(),
    )
    try:
        with log.open("w", encoding="utf-8") as stream:
            client.execute(stdout=stream, stderr=stream)
    except CellExecutionError as error:
        trace = _ANSI.sub("", error.traceback).strip().splitlines()
        place = _place(notebook, name, started[-1])
        raise NotebookError("\n".join([f"{place} failed:", *trace[-ERROR_LINES:]])) from error
    except DeadKernelError as error:
        place = _place(notebook, name, started[-1]) if started else name
        raise NotebookError(f"{place}: the kernel died, usually for lack of memory; its last words: {log}") from error
    finally:
        progress.close()


def _place(notebook: NotebookNode, name: str, index: int) -> str:
    """Names a cell as the reader of the notebook counts it, without the injected one."""
    own = ["injected-parameters" not in cell.metadata.get("tags", []) for cell in notebook.cells]
    return f"{name}, cell {sum(own[: index + 1])} of {sum(own)}"


def strip_machine(notebook: NotebookNode, repository: Path) -> None:
    """Removes what another machine or run would write differently: folders, widget state, kernel details.

    Args:
        notebook: An executed notebook; changed in place.
        repository: Folder whose path becomes `.` in outputs (the home folder becomes `~`).
    """
    notebook.metadata = nbformat.from_dict(
        {
            "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
            "language_info": {"name": "python"},
        }
    )
    for cell in notebook.cells:
        cell.metadata.pop("execution", None)
        for output in cell.get("outputs", []):
            if "text" in output:
                output["text"] = _relative(output["text"], repository)
            data = output.get("data", {})
            data.pop(_WIDGET, None)
            for kind, value in data.items():
                if isinstance(value, str) and not kind.startswith("image/p"):
                    data[kind] = _relative(value, repository)


def _relative(text: str, repository: Path) -> str:
    return text.replace(f"{repository}/", "").replace(str(repository), ".").replace(str(Path.home()), "~")


def run_notebooks(
    paths: Sequence[Path], parameters: Mapping[str, Any], output: Path, *, cwd: Path
) -> list[NotebookNode]:
    """Executes notebooks one after another; the executed copies go to `output`, also that of a failing one.

    Args:
        paths: Notebooks, in order.
        parameters: Values for names in their `parameters` cells; a notebook is given those that it has.
        output: Folder for the executed copies.
        cwd: Working folder of the kernels.

    Returns:
        The executed notebooks.

    Raises:
        NotebookError: There is none, no notebook has one of the parameters, or a cell failed.
    """
    if not paths:
        raise NotebookError("No notebook to execute was found")
    notebooks = {path: nbformat.read(path, as_version=4) for path in paths}
    known = {key for path, notebook in notebooks.items() for key in parameter_names(notebook, path.name)}
    if unknown := sorted(set(parameters) - known):
        raise NotebookError(f"Parameters should be among {sorted(known)}. Received: {unknown}")
    output.mkdir(parents=True, exist_ok=True)
    for path, notebook in notebooks.items():
        inject_parameters(notebook, parameters, path.name)
        start = time.perf_counter()
        try:
            execute_notebook(notebook, path.name, cwd=cwd, log=output / f"{path.stem}.log")
        finally:
            with atomic_path(output / path.name) as temporary:
                nbformat.write(notebook, temporary)
        print(f"{path.name}: {time.perf_counter() - start:.0f} s", file=sys.stderr)
    return list(notebooks.values())


def _assignment(text: str) -> tuple[str, Any]:
    name, equals, value = text.partition("=")
    if not equals or not name.isidentifier():
        raise argparse.ArgumentTypeError(f"should be NAME=VALUE. Received: {text}")
    try:
        return name, ast.literal_eval(value)
    except (ValueError, SyntaxError):
        return name, value


def parse_arguments(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """Returns the parsed command line."""
    parser = argparse.ArgumentParser(prog="python -m scripts.ml.run_notebooks", description=__doc__.splitlines()[0])
    parser.add_argument(
        "only", nargs="*", metavar="NUMBER", help="notebooks to execute, such as 04 (default: 01 to 06)"
    )
    parser.add_argument("--all", action="store_true", help="also the notebooks after 06")
    parser.add_argument("--quick", action="store_true", help=f"less data: {QUICK}")
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        type=_assignment,
        metavar="NAME=VALUE",
        help="a parameter of the notebooks",
    )
    parser.add_argument("--notebooks", type=Path, default=REPOSITORY / "notebooks", help="folder of the notebooks")
    parser.add_argument("--in-place", action="store_true", help="save the outputs in the notebooks themselves")
    return parser.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command line; returns the exit status."""
    arguments = parse_arguments(argv)
    parameters = {**(QUICK if arguments.quick else {}), **dict(arguments.set)}
    runs = REPOSITORY / str(parameters.get("RUNS_DIR", "runs"))
    paths = sorted(arguments.notebooks.glob("[0-9][0-9]_*.ipynb"))
    wanted = tuple(arguments.only) or ("" if arguments.all else WORKFLOW)
    chosen = [path for path in paths if path.name.startswith(wanted)]
    try:
        if arguments.in_place and parameters:
            raise NotebookError("--in-place should save a run with the notebooks' own parameters, not others")
        executed = run_notebooks(chosen, parameters, runs / "notebooks", cwd=REPOSITORY)
        if arguments.in_place:
            for path, notebook in zip(chosen, executed, strict=True):
                strip_machine(notebook, REPOSITORY)
                with atomic_path(path) as temporary:
                    nbformat.write(notebook, temporary)
        if not arguments.only:
            print(summarise_run(runs))
    except (NotebookError, RunSummaryError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
