"""The notebook runner, on notebooks of a few cells."""

import json
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest

from scripts.ml import run_notebooks as runner
from scripts.ml.run_notebooks import (
    NotebookError,
    inject_parameters,
    main,
    parameter_names,
    run_notebooks,
    strip_machine,
)
from scripts.ml.run_summary import RunSummaryError, summarise_run

PARAMETERS = 'USERS = 2000\nDATA_DIR: str = "data"\nEPOCHS = None'


def notebook(*cells: str, parameters: str | None = PARAMETERS):
    document = nbformat.v4.new_notebook()
    document.cells.append(nbformat.v4.new_markdown_cell("# Title"))
    if parameters is not None:
        document.cells.append(nbformat.v4.new_code_cell(parameters, metadata={"tags": ["parameters"]}))
    document.cells += [nbformat.v4.new_code_cell(cell) for cell in cells]
    return document


def saved(folder: Path, name: str, *cells: str) -> Path:
    path = folder / name
    nbformat.write(notebook(*cells), path)
    return path


def test_parameter_names_are_the_plain_assignments_of_the_tagged_cell():
    assert parameter_names(notebook(), "a.ipynb") == ["USERS", "EPOCHS", "DATA_DIR"]


def test_parameters_are_injected_after_their_cell_and_only_those_it_knows():
    document = notebook("USERS")
    inject_parameters(document, {"USERS": 5, "DATA_DIR": "else where", "OTHER": 1}, "a.ipynb")
    assert document.cells[2].source == "USERS = 5\nDATA_DIR = 'else where'"
    assert document.cells[2].metadata.tags == ["injected-parameters"]
    assert document.cells[3].source == "USERS"


def test_without_a_known_parameter_nothing_is_injected():
    document = notebook()
    inject_parameters(document, {"OTHER": 1}, "a.ipynb")
    assert len(document.cells) == 2


def test_a_notebook_without_a_parameters_cell_is_refused():
    with pytest.raises(NotebookError, match=r"a\.ipynb should have one cell tagged `parameters`\. Received: 0"):
        inject_parameters(notebook(parameters=None), {"USERS": 1}, "a.ipynb")


def test_a_parameter_that_no_notebook_has_is_refused_before_anything_runs(tmp_path):
    path = saved(tmp_path, "01_a.ipynb", "open('touched', 'w')")
    with pytest.raises(NotebookError, match=r"Received: \['USER'\]"):
        run_notebooks([path], {"USER": 1}, tmp_path / "out", cwd=tmp_path)
    assert not (tmp_path / "touched").exists()


def test_notebooks_run_in_order_with_parameters_and_their_prints_are_shown(tmp_path, capsys):
    first = saved(tmp_path, "01_a.ipynb", "open('n', 'w').write(str(USERS * 2))", "print('line of', 'the kernel')")
    second = saved(tmp_path, "02_b.ipynb", "int(open('n').read()) + 1")
    before = first.read_bytes(), second.read_bytes()

    executed = run_notebooks([first, second], {"USERS": 21}, tmp_path / "out", cwd=tmp_path)

    assert executed[1].cells[-1].outputs[0].data["text/plain"] == "43"
    assert (first.read_bytes(), second.read_bytes()) == before
    copies = [nbformat.read(tmp_path / "out" / name, as_version=4) for name in ("01_a.ipynb", "02_b.ipynb")]
    assert [copy.cells[2].source for copy in copies] == ["USERS = 21", "USERS = 21"]
    assert [cell.execution_count for cell in copies[0].cells[1:]] == [1, 2, 3, 4]
    shown = capsys.readouterr().err
    assert "    line of the kernel\n" in shown
    assert shown.index("01_a.ipynb:") < shown.index("02_b.ipynb:")


def test_a_failing_cell_is_named_with_the_end_of_its_error_and_later_notebooks_do_not_run(tmp_path):
    first = saved(tmp_path, "01_a.ipynb", "1 + 1", "raise ValueError('`k` should be positive')", "open('touched', 'w')")
    second = saved(tmp_path, "02_b.ipynb", "open('touched', 'w')")
    with pytest.raises(NotebookError) as caught:
        run_notebooks([first, second], {}, tmp_path / "out", cwd=tmp_path)
    lines = str(caught.value).splitlines()
    assert lines[0] == "01_a.ipynb, cell 4 of 5 failed:"
    assert lines[-1] == "ValueError: `k` should be positive"
    assert len(lines) <= runner.ERROR_LINES + 1
    assert "\x1b" not in str(caught.value)
    assert not (tmp_path / "touched").exists()
    assert nbformat.read(tmp_path / "out" / "01_a.ipynb", as_version=4).cells[3].outputs[0].ename == "ValueError"


def test_the_command_ends_with_status_1_and_one_message_where_a_cell_fails(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(runner, "REPOSITORY", tmp_path)
    saved(tmp_path, "01_a.ipynb", "1 / 0")
    assert main(["--notebooks", str(tmp_path), "--set", "USERS=3"]) == 1
    shown = capsys.readouterr()
    assert shown.out == ""
    assert "error: 01_a.ipynb, cell 3 of 3 failed:" in shown.err
    assert shown.err.endswith("ZeroDivisionError: division by zero\n")
    assert (tmp_path / "runs" / "notebooks" / "01_a.ipynb").exists()


def test_in_place_saves_stable_outputs_without_machine_paths(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(runner, "REPOSITORY", tmp_path)
    path = saved(tmp_path, "01_a.ipynb", "import os\nprint(os.getcwd() + '/runs', os.getcwd())", "open('n', 'w').name")
    results(tmp_path / "runs")
    assert main(["--notebooks", str(tmp_path), "--in-place"]) == 0
    once = path.read_bytes()
    document = nbformat.read(path, as_version=4)
    assert document.cells[2].outputs[0].text == "runs .\n"
    assert str(tmp_path) not in once.decode()
    assert document.metadata == {
        "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
        "language_info": {"name": "python"},
    }
    assert main(["--notebooks", str(tmp_path), "--in-place"]) == 0
    assert path.read_bytes() == once
    assert main(["--notebooks", str(tmp_path), "--in-place", "--quick"]) == 1
    assert "--in-place" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("asked", "executed", "summary"),
    [([], ["01_a"], True), (["--all"], ["01_a", "07_b"], True), (["07"], ["07_b"], False)],
)
def test_the_workflow_ends_with_06_and_later_notebooks_are_asked_for(
    tmp_path, capsys, monkeypatch, asked, executed, summary
):
    monkeypatch.setattr(runner, "REPOSITORY", tmp_path)
    for name in ("01_a", "07_b"):
        saved(tmp_path, f"{name}.ipynb", "1 + 1")
    results(tmp_path / "runs")
    assert main([*asked, "--notebooks", str(tmp_path)]) == 0
    assert sorted(path.stem for path in (tmp_path / "runs" / "notebooks").glob("*.ipynb")) == executed
    assert ("Registered:" in capsys.readouterr().out) == summary


def test_machine_paths_and_widgets_leave_rich_outputs_but_images_are_not_touched(tmp_path):
    document = notebook("x")
    document.cells[2].outputs = [
        nbformat.v4.new_output(
            "display_data",
            data={"text/html": f"<b>{tmp_path}/a</b>", "image/png": f"{tmp_path}/", runner._WIDGET: {"model_id": "1"}},
        )
    ]
    strip_machine(document, tmp_path)
    assert document.cells[2].outputs[0].data == {"text/html": "<b>a</b>", "image/png": f"{tmp_path}/"}


def test_a_progress_bar_of_a_cell_is_shown_by_its_last_frame_only(capsys):
    progress = runner.Progress("a.ipynb", 1)
    for stream, chunk in (
        ("stderr", "\r  0%"),
        ("stderr", "\r 50%\r"),
        ("stderr", " 90%"),
        ("stderr", "\r100%"),
        ("stdout", "next"),
        ("stderr", "\n"),
        ("stdout", " line\n"),
    ):
        progress.text(stream, chunk)
    progress.close()
    assert capsys.readouterr().err == "    100%\n    next line\n"


def test_a_kernel_that_dies_is_named_with_the_cell_and_its_last_words(tmp_path):
    path = saved(tmp_path, "01_a.ipynb", "import os\nos.write(2, b'out of luck')\nos._exit(3)")
    with pytest.raises(NotebookError, match=r"01_a\.ipynb, cell 3 of 3: the kernel died.*01_a\.log"):
        run_notebooks([path], {}, tmp_path / "out", cwd=tmp_path)


def results(runs: Path) -> None:
    (runs / "evaluation").mkdir(parents=True, exist_ok=True)
    evaluation = {
        "full_ranking": {"seen_out": {"popularity": {"NDCG@10": 0.125}, "SLi-Rec": {"NDCG@10": 0.5}}},
        "sampled": {"SLi-Rec": {"auc": 0.875}},
        "num_rows": {"seen_out": 1234, "sampled": 7},
    }
    (runs / "evaluation" / "evaluation.json").write_text(json.dumps(evaluation))
    sample = [{"title": "Mug", "gid": "gid://shopify/Product/1", "score": 0.75}]
    registered = {"name": "m", "version": 2, "alias": "champion", "model_uri": "models:/m@champion", "sample": sample}
    (runs / "registered.json").write_text(json.dumps(registered))


def test_the_summary_shows_the_metrics_the_version_and_the_sample(tmp_path):
    results(tmp_path)
    text = summarise_run(tmp_path)
    assert ": 1,234 rows\n            NDCG@10\npopularity   0.1250\nSLi-Rec      0.5000" in text
    assert "Registered: m version 2, alias champion\n" in text
    assert "  1  Mug  0.7500  gid://shopify/Product/1" in text


def test_a_missing_result_file_is_named(tmp_path):
    with pytest.raises(RunSummaryError, match=r"evaluation\.json should have been written"):
        summarise_run(tmp_path)


def test_the_module_runs_as_a_command():
    command = [sys.executable, "-m", "scripts.ml.run_notebooks", "--set", "no assignment"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "should be NAME=VALUE. Received: no assignment" in done.stderr
