"""The registered model in other environments: an MLflow 2.18 client, and one made from the logged requirements alone.

Both fetch packages from the index the first time; afterwards uv has them in its cache.
"""

import json
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
from conftest import require
from fake_bundle import T0, build_fake_bundle, gid
from fresh_store import use_fresh_store
from server_process import REPOSITORY, Server, clean_environment

pytestmark = pytest.mark.slow  # makes environments

NAME = "shop"
OLD_CLIENT = "2.18.0"  # what the enricher's published showcase pins
ROW = {"userId": "dee", "items": ["shirt", "atlas"], "timestamps": [str(T0), str(T0 + 86_400)]}
PARAMS = {"k": 3, "recommend_seen": True, "candidate_ids": ["scarf", "novel", gid(10), gid(20)]}
UV = Path(sys.executable).with_name("uv")
INSTALL_SECONDS = 300  # with nothing in uv's cache
ANSWER_SECONDS = 180

# What a client of its own does: nothing of this repository is on its path.
CLIENT = """
import json, sys
import mlflow, pandas
uri, output, row, params = sys.argv[1], sys.argv[2], json.loads(sys.argv[3]), json.loads(sys.argv[4])
model = mlflow.pyfunc.load_model(uri)
forms = [row, [row], pandas.DataFrame([row])]
answers = [[model.predict(form), model.predict(form, params=params)] for form in forms]
import serving
document = {"mlflow": mlflow.__version__, "answers": answers, "code": serving.__file__}
with open(output, "w") as stream:
    json.dump(document, stream)
"""


# MLflow builds an environment from what was logged, and answers in it.
PREDICT = """
import json, sys
import mlflow
uri, output, row = sys.argv[1], sys.argv[2], json.loads(sys.argv[3])
mlflow.models.predict(uri, input_data=row, content_type="json", output_path=output, env_manager="uv")
"""


def run(command, folder, seconds, **environment):
    """Runs a command without this process's settings; returns its status and the end of what it said."""
    try:
        done = subprocess.run(
            command,
            cwd=folder,
            env=clean_environment(**environment),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=seconds,
        )
    except subprocess.TimeoutExpired:
        return None, f"took more than {seconds} s"
    return done.returncode, done.stdout[-3000:]


def install(requirements, folder):
    """Returns the Python of a new environment with these packages and nothing else."""
    require(UV.is_file(), "uv")
    (folder / "requirements.txt").write_text("\n".join(requirements))
    python = folder / "venv" / "bin" / "python"
    made, said = run([UV, "venv", "--python", sys.executable, python.parents[1]], folder, 60)
    assert made == 0, said
    command = [UV, "pip", "install", "--python", python, "-r", folder / "requirements.txt"]
    installed, said = run(command, folder, INSTALL_SECONDS)
    require(installed == 0, f"a package index with {', '.join(requirements)} ({said.strip()[-300:]})")
    return python


@pytest.fixture(scope="module")
def registry(tmp_path_factory):
    """A running MLflow server, which also hands the artifacts out, with one registered version."""
    folder = tmp_path_factory.mktemp("registry")
    path = list(sys.path)
    flags = ["--host", "127.0.0.1", "--port", "{port}", "--workers", "1"]
    places = ["--backend-store-uri", f"sqlite:///{folder}/server.db", "--artifacts-destination", str(folder / "files")]
    environment = clean_environment(MLFLOW_SERVER_ENABLE_JOB_EXECUTION="false")
    command = [sys.executable, "-m", "mlflow", "server", *flags, *places]
    server = Server(command, "/health", folder / "server.log", environment, folder)
    try:
        server.wait()
        with pytest.MonkeyPatch.context() as patch:
            use_fresh_store(patch, folder)
            patch.setenv("MLFLOW_TRACKING_URI", server.url)
            import mlflow

            from serving.registry import log_and_register

            version = log_and_register(build_fake_bundle(folder / "bundle"), name=NAME)
            model = mlflow.pyfunc.load_model(version.model_uri)
            answers = [model.predict(ROW), model.predict(ROW, params=PARAMS)]
            yield SimpleNamespace(url=server.url, uri=version.model_uri, folder=folder, answers=answers)
    finally:
        sys.path[:] = path  # load_model puts the model's code in front
        server.stop()


@pytest.fixture(scope="module")
def requirements(registry):
    """The logged requirements, one package a line."""
    import mlflow

    path = mlflow.artifacts.download_artifacts(f"{registry.uri}/requirements.txt", tracking_uri=registry.url)
    return Path(path).read_text().split()


def test_a_client_of_mlflow_2_18_answers_alike(registry, requirements, tmp_path):
    """With a dict, a list of dicts and a DataFrame, with and without parameters; scores are equal to the last bit."""
    others = [line for line in requirements if not line.startswith("mlflow")]
    assert len(others) == len(requirements) - 1
    python = install([f"mlflow-skinny=={OLD_CLIENT}", *others], tmp_path)
    output = tmp_path / "answers.json"
    command = [python, "-c", CLIENT, registry.uri, output, json.dumps(ROW), json.dumps(PARAMS)]
    status, said = run(command, tmp_path, ANSWER_SECONDS, MLFLOW_TRACKING_URI=registry.url)
    assert status == 0, said
    received = json.loads(output.read_text())
    assert received["mlflow"] == OLD_CLIENT
    assert not Path(received["code"]).is_relative_to(REPOSITORY)  # it came with the model
    assert received["answers"] == [registry.answers] * 3


def test_the_logged_requirements_suffice(registry, requirements, tmp_path):
    """MLflow makes an environment of them, and nothing else, that answers alike."""
    install(requirements, tmp_path)  # so that a package that cannot be had is no fault of the model's
    output, folder = tmp_path / "answer.json", tmp_path / "made"
    folder.mkdir()
    command = [sys.executable, "-c", PREDICT, registry.uri, output, json.dumps(ROW)]
    places = {"MLFLOW_TRACKING_URI": registry.url, "TMPDIR": str(folder)}
    status, said = run(command, tmp_path, ANSWER_SECONDS, **places)
    assert status == 0, said
    assert json.loads(output.read_text()) == {"predictions": registry.answers[0]}
    assert f"source {folder}/" in said  # the environment that it was made for, and in which it answered
