"""Variables of network and optimiser to and from safetensors files: no pickle, written atomically."""

import json
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from training.files import atomic_path


class ArraysError(ValueError):
    """A file of arrays that cannot be read or does not fit."""


def named_variables(variables: Iterable[Any]) -> dict[str, Any]:
    """Returns Keras variables by a stable unique name: the path, numbered where paths repeat (random seeds do)."""
    named: dict[str, Any] = {}
    for variable in variables:
        # Keras numbers seed generators by process, not by model.
        path = "seed_generator_state" if variable.path.endswith("seed_generator_state") else variable.path
        name, count = path, 1
        while name in named:
            count += 1
            name = f"{path}#{count}"
        named[name] = variable
    return named


def save_arrays(path: str | os.PathLike[str], variables: Mapping[str, Any], metadata: Mapping[str, Any]) -> None:
    """Writes variables and a JSON-able `metadata` into one safetensors file, atomically."""
    arrays = {name: np.array(variable, order="C") for name, variable in variables.items()}
    with atomic_path(path) as temporary:
        save_file(arrays, temporary, metadata={"document": json.dumps(metadata)})


def read_metadata(path: str | os.PathLike[str]) -> dict[str, Any]:
    """Returns the `metadata` of a file that `save_arrays` wrote.

    Raises:
        ArraysError: The file is missing or is not one.
    """
    try:
        with safe_open(Path(path), framework="np") as stream:
            return json.loads((stream.metadata() or {})["document"])
    except (OSError, SafetensorError, KeyError, json.JSONDecodeError) as error:
        raise ArraysError(f"{path} should be a safetensors file of this project. Received: {error}") from error


def load_arrays(path: str | os.PathLike[str], variables: Mapping[str, Any]) -> None:
    """Assigns the arrays of a file to variables of the same names.

    Raises:
        ArraysError: The file is unreadable, or names or shapes differ; nothing is assigned then.
    """
    try:
        with safe_open(Path(path), framework="np") as stream:
            arrays = {name: stream.get_tensor(name) for name in stream.keys()}  # noqa: SIM118 (not a mapping)
    except (OSError, SafetensorError) as error:
        raise ArraysError(f"Cannot read {path}: {error}") from error
    if missing := sorted(set(variables) ^ set(arrays)):
        raise ArraysError(f"{path} does not fit this network: only one of the two has {', '.join(missing[:5])}")
    for name, variable in variables.items():
        if tuple(variable.shape) != arrays[name].shape:
            raise ArraysError(
                f"{path} does not fit this network: {name} should have shape {tuple(variable.shape)}. "
                f"Received: {arrays[name].shape}"
            )
    for name, variable in variables.items():
        variable.assign(arrays[name])
