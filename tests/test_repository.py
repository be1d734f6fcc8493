"""House rules that no other tool checks, on the files that git tracks or would track."""

import ast
import json
import re
import shutil
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
FOLDERS = {".ci", "notebooks", "scripts", "serving", "tests", "training"}
FILES = {
    ".gitattributes",
    ".gitignore",
    ".pre-commit-config.yaml",
    "CHANGELOG.md",
    "CONTRIBUTING.md",
    "LICENSE",
    "Makefile",
    "README.md",
    "environment.yml",
    "overrides.txt",
    "pyproject.toml",
    "requirements.lock",
}
NOTEBOOKS = [
    "01_inventory_snapshot",
    "02_interactions",
    "03_preprocessing",
    "04_training",
    "05_model_wrapper",
    "06_model_registry",
    "07_real_retail_data",
    "08_your_own_events",
]
MAX_LINES = 320
MACHINE_PATHS = re.compile(r"(?<![\w.~/-])/(?:work|root|home|Users|tmp)/[\w.-]")
REGISTRIES = re.compile(r"pypi\.org|pythonhosted|npmjs\.|/simple/")
TEXT = {".py", ".md", ".toml", ".yml", ".yaml", ".txt", ".ipynb", ".json", ".graphql", ".lock", ".cfg", ".sh", ""}


def tracked() -> list[Path]:
    """Returns the files that git tracks or would add; without git, the files outside what is ignored."""
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"]
    if shutil.which("git") and (ROOT / ".git").exists():
        listed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout.split("\0")
        return [ROOT / name for name in listed if name and (ROOT / name).is_file()]
    roots = [ROOT / name for name in sorted(FOLDERS)]
    found = [path for root in roots for path in root.rglob("*") if path.is_file() and "__pycache__" not in path.parts]
    return found + [ROOT / name for name in sorted(FILES) if (ROOT / name).is_file()]


TRACKED = tracked()


def notebook(name: str) -> dict:
    return json.loads((ROOT / "notebooks" / f"{name}.ipynb").read_text(encoding="utf-8"))


def code_cells(document: dict) -> list[dict]:
    return [cell for cell in document["cells"] if cell["cell_type"] == "code"]


def source(cell: dict) -> str:
    return "".join(cell["source"])


def test_top_level_holds_the_known_folders_and_files_and_no_others():
    names = {path.relative_to(ROOT).parts for path in TRACKED}
    assert {parts[0] for parts in names if len(parts) > 1} - {"docs"} == FOLDERS  # docs: once `make bench` has run
    assert {parts[0] for parts in names if len(parts) == 1} == FILES


def test_no_file_holds_a_registry_address_or_a_path_of_the_machine_it_was_made_on():
    found = []
    for path in TRACKED:
        if path.suffix not in TEXT or path == Path(__file__):
            continue
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
            for pattern in (MACHINE_PATHS, REGISTRIES):
                if match := pattern.search(line):
                    found.append(f"{path.relative_to(ROOT)}:{number}: {match[0]}")
    assert found == []


def test_no_python_file_is_too_long():
    lengths = {path.relative_to(ROOT): len(path.read_bytes().splitlines()) for path in TRACKED if path.suffix == ".py"}
    assert {str(path): length for path, length in lengths.items() if length > MAX_LINES} == {}


def test_no_test_file_name_occurs_twice():
    names = [path.name for path in TRACKED if path.match("tests/**/test_*.py") or path.match("tests/test_*.py")]
    assert sorted(names) == sorted(set(names))


@pytest.mark.parametrize("room", ["training", "serving"])
def test_libraries_never_print_or_exit(room):
    calls = []
    for path in (path for path in TRACKED if path.suffix == ".py" and path.is_relative_to(ROOT / room)):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and ast.unparse(node.func) in {
                "print",
                "exit",
                "quit",
                "sys.exit",
                "os._exit",
            }:
                calls.append(f"{path.relative_to(ROOT)}:{node.lineno}: {ast.unparse(node.func)}")
    assert calls == []


def test_imports_between_the_folders_have_one_direction():
    script = "import sys; from importlinter.cli import lint_imports_command; sys.argv = ['lint-imports'];"
    command = [sys.executable, "-c", f"{script} lint_imports_command()", "--no-cache"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert " 0 broken" in done.stdout


@pytest.mark.parametrize("arguments", [["check"], ["format", "--check"]], ids=" ".join)
def test_ruff_finds_nothing(arguments):
    command = [sys.executable, "-m", "ruff", *arguments, "--no-cache", "."]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_make_help_lists_every_command():
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    targets = re.search(r"^\.PHONY: (.*)$", makefile, re.MULTILINE)[1].split()
    shown = subprocess.run(["make", "help"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    assert re.findall(r"^  make ([a-z-]+) +\S", shown, re.MULTILINE) == targets


@pytest.mark.parametrize("document", ["README.md", "CONTRIBUTING.md"])
def test_documents_name_commands_modules_and_files_that_exist(document):
    text = (ROOT / document).read_text(encoding="utf-8")
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
    assert set(re.findall(r"`?\bmake ([a-z]+(?:-[a-z]+)*)(?=[ `\n])", commands(text))) <= targets
    for module in re.findall(r"python -m ((?:scripts|training|serving)[\w.]*)", text):
        assert find_spec(module), module
    for link in re.findall(r"\]\((?!https?:|#)([^)#]+)\)", text):
        assert (ROOT / link).exists(), link


def commands(text: str) -> str:
    """Returns what a Markdown document shows as code, where `make` is the command and not the verb."""
    return "\n".join(re.findall(r"```\n.*?```|`[^`\n]+`", text, re.DOTALL))


def test_the_notebooks_are_there():
    assert sorted(path.stem for path in (ROOT / "notebooks").glob("*.ipynb")) == NOTEBOOKS


@pytest.mark.parametrize("name", NOTEBOOKS)
def test_notebook_has_one_parameters_cell(name):
    tagged = [cell for cell in code_cells(notebook(name)) if "parameters" in cell["metadata"].get("tags", [])]
    assert len(tagged) == 1
    assert all(isinstance(node, ast.Assign | ast.AnnAssign) for node in ast.parse(source(tagged[0])).body)


@pytest.mark.parametrize("name", NOTEBOOKS)
def test_notebook_names_its_cells_and_no_machine_kernel(name):
    document = notebook(name)
    assert (document["nbformat"], document["nbformat_minor"]) >= (4, 5)  # cells have ids, so that differences are small
    ids = [cell["id"] for cell in document["cells"]]
    assert len(set(ids)) == len(ids)
    assert document["metadata"]["kernelspec"]["name"] == "python3"


@pytest.mark.parametrize("name", NOTEBOOKS)
def test_notebook_calls_and_defines_nothing(name):
    for cell in code_cells(notebook(name)):
        tree = ast.parse(source(cell))  # a shell escape or a magic is a syntax error here
        defined = [n for n in ast.walk(tree) if isinstance(n, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef)]
        assert defined == [], source(cell)


@pytest.mark.parametrize("name", NOTEBOOKS)
def test_notebook_holds_the_outputs_of_one_clean_run(name):
    cells = [cell for cell in code_cells(notebook(name)) if source(cell).strip()]
    assert [cell["execution_count"] for cell in cells] == list(range(1, len(cells) + 1))
    outputs = [output for cell in cells for output in cell["outputs"]]
    assert outputs
    assert [output for output in outputs if output["output_type"] == "error"] == []
    assert all("injected-parameters" not in cell["metadata"].get("tags", []) for cell in cells)


@pytest.mark.parametrize("name", NOTEBOOKS)
def test_notebook_explains_and_keeps_its_cells_short(name):
    document = notebook(name)
    assert max(len(source(cell).splitlines()) for cell in code_cells(document)) <= 25
    assert sum(cell["cell_type"] == "markdown" for cell in document["cells"]) >= 3
