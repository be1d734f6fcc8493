"""Loads a registered model in a clean process and compares its answer with the trained network's."""

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from serving.config import RULE_KEYS, ServeConfig

# Runs in its own interpreter: no TensorFlow to be found, nothing unpickled, and `serving` only from the model's code.
_RELOAD = """
import json, sys
for name in ("tensorflow", "keras", "tf_keras", "training", "scripts"):
    sys.modules[name] = None  # importing it raises ImportError
import mlflow
path = mlflow.artifacts.download_artifacts(artifact_uri=sys.argv[1])
model = mlflow.pyfunc.load_model(path, model_config=json.loads(sys.argv[3]))
metadata = mlflow.models.Model.load(path)
answer = model.predict(metadata.load_input_example(path), params=metadata.load_input_example_params(path))
import serving.recommender
bundle = metadata.flavors["python_function"]["artifacts"]["bundle"]["path"]
with open(f"{path}/{bundle}/example.json", encoding="utf-8") as stream:
    expected = json.load(stream)
result = {"answer": answer, "expected": expected, "path": path, "code": serving.recommender.__file__}
with open(sys.argv[2], "w", encoding="utf-8") as stream:
    json.dump(result, stream, allow_nan=False)
"""


class RegistryError(RuntimeError):
    """MLflow refused, or what was registered does not answer as it should."""


def reload_in_clean_process(
    model_uri: str, config: ServeConfig, environment: Mapping[str, str]
) -> list[dict[str, Any]]:
    """Loads a model and scores its logged input example, without TensorFlow and Keras, in an empty folder.

    Args:
        model_uri: Any URI that MLflow loads.
        config: Tolerance and time limit.
        environment: Variables over this process's own, such as MLFLOW_TRACKING_URI.

    Returns:
        The model's answer: one `{"itemIds", "preds"}` a row of the example.

    Raises:
        RegistryError: The process failed or took too long, or its answer differs from the bundle's example.
    """
    variables = {
        **os.environ,
        **environment,
        "MLFLOW_ALLOW_PICKLE_DESERIALIZATION": "false",
        "MLFLOW_DISABLE_TELEMETRY": "true",
    }
    timeout = config.reload_timeout_seconds
    # Rules leave products out, which the example has.
    without_rules = ServeConfig().model_dump(include=set(RULE_KEYS))
    with tempfile.TemporaryDirectory() as folder:
        output = Path(folder) / "result.json"
        # -I: neither the working folder nor PYTHONPATH; -B: no bytecode beside the registered code.
        command = [sys.executable, "-I", "-B", "-c", _RELOAD, model_uri, str(output), json.dumps(without_rules)]
        try:
            done = subprocess.run(command, cwd=folder, env=variables, capture_output=True, text=True, timeout=timeout)
        except subprocess.TimeoutExpired:
            raise RegistryError(f"{model_uri} did not answer within {timeout:g} s") from None
        if done.returncode:
            last = (done.stderr.strip().splitlines() or ["no message"])[-1]
            raise RegistryError(f"{model_uri} cannot be loaded in a clean process: {last}")
        result = json.loads(output.read_text(encoding="utf-8"))
    if not Path(result["code"]).is_relative_to(result["path"]):
        raise RegistryError(f"{model_uri} should run its own code. Received: {result['code']}")
    check_example(result["answer"], result["expected"], config.example_tolerance)
    return result["answer"]


def check_example(answer: Sequence[Mapping[str, Any]], expected: Mapping[str, Any], tolerance: float) -> None:
    """Compares an answer with the bundle's example; products whose scores tie within the tolerance may swap places.

    Raises:
        RegistryError: Another number of rows or products, or a score that differs by more than `tolerance`.
    """
    ids, scores = list(expected["itemIds"]), list(expected["preds"])
    if len(answer) != 1 or len(answer[0]["itemIds"]) != len(ids):
        received = [len(row["itemIds"]) for row in answer]
        raise RegistryError(f"The example's answer should be one row of {len(ids)} products. Received: {received}")
    received = dict(zip(answer[0]["itemIds"], answer[0]["preds"], strict=True))
    # A product on the edge of the list may be exchanged for one with the last score, to within the tolerance.
    differences = [abs(received.get(id_, scores[-1]) - score) for id_, score in zip(ids, scores, strict=True)]
    differences += [abs(a - b) for a, b in zip(answer[0]["preds"], scores, strict=True)]
    # `not <=` rather than `>`: a NaN is a difference, too.
    if wrong := [difference for difference in differences if not difference <= tolerance]:
        raise RegistryError(
            f"The example's scores should be the trained network's to {tolerance:g}. "
            f"Received: a difference of {max(wrong):g}"
        )
