"""Writes an ONNX graph node by node, for the parts of the network where it matters which operations are run."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import compose, helper, numpy_helper

IR_VERSION = 9  # what ONNX Runtime 1.17 and later read
OPSET = 17  # ONNX Runtime 1.14 and later read it
_ACTIVATIONS = {"relu": "Relu", "sigmoid": "Sigmoid", "tanh": "Tanh", "elu": "Elu"}

Layer = tuple[NDArray[np.float32], NDArray[np.float32], str]  # kernel, bias, activation


class GraphBuilder:
    """Collects inputs, nodes and outputs; values are passed about by name."""

    def __init__(self, name: str, prefix: str = "", opset: int = OPSET):
        self.name = name
        self._opset = opset
        self._prefix = prefix
        self._inputs: list[Any] = []
        self._outputs: list[Any] = []
        self._nodes: list[Any] = []
        self._constants: list[Any] = []

    def input(self, name: str, shape: Sequence[int | str], dtype: int = onnx.TensorProto.FLOAT) -> str:
        """Adds an input; names in `shape` are free dimensions."""
        self._inputs.append(helper.make_tensor_value_info(name, dtype, shape))
        return name

    def output(self, name: str, shape: Sequence[int | str], value: str, dtype: int = onnx.TensorProto.FLOAT) -> str:
        """Makes `value`, the result of the node added last, an output called `name`."""
        node = self._nodes[-1]
        if list(node.output) != [value]:
            raise ValueError(f"`value` should be the last node's result {list(node.output)}. Received: {value!r}")
        node.output[0] = name
        self._outputs.append(helper.make_tensor_value_info(name, dtype, shape))
        return name

    def constant(self, array: NDArray[Any]) -> str:
        """Adds an array to the graph."""
        name = f"{self._prefix}constant_{len(self._constants)}"
        self._constants.append(numpy_helper.from_array(np.asarray(array, order="C"), name))
        return name

    def node(self, operation: str, *inputs: str, **attributes: Any) -> str:
        """Adds an operation with one result."""
        return self.nodes(operation, *inputs, results=1, **attributes)[0]

    def nodes(self, operation: str, *inputs: str, results: int, **attributes: Any) -> list[str]:
        """Adds an operation with several results."""
        name = f"{self._prefix}{operation.lower()}_{len(self._nodes)}"
        names = [name, *(f"{name}_{number}" for number in range(1, results))]
        self._nodes.append(helper.make_node(operation, list(inputs), names, name, **attributes))
        return names

    def scan(self, body: "GraphBuilder", states: Sequence[str], sequences: Sequence[str]) -> list[str]:
        """Adds a loop over the first axis of `sequences`.

        Args:
            body: One step: inputs are the states, then one element of each sequence; outputs are the next states, then
                what is kept of the step. Its `prefix` keeps its names apart from those of this graph.
            states: The states before the first step.
            sequences: What is read, one element a step.

        Returns:
            The states after the last step, then what was kept, stacked.
        """
        results = len(body._outputs)
        inputs, count = (*states, *sequences), len(sequences)
        return self.nodes("Scan", *inputs, results=results, body=body._graph(), num_scan_inputs=count)

    def embed(self, model: onnx.ModelProto) -> str:
        """Adds the graph of a model that has inputs of this graph's names, and returns its only result.

        Raises:
            ValueError: It has several results, an input that this graph lacks, or was written for other operators.
        """
        names = {entry.name for entry in self._inputs}
        opsets = {entry.domain: entry.version for entry in model.opset_import}
        inputs, outputs = {entry.name for entry in model.graph.input}, len(model.graph.output)
        if not inputs <= names or outputs != 1 or opsets.get("") != self._opset:
            raise ValueError(
                f"`model` should have inputs among {sorted(names)}, one output and operators of version {self._opset}. "
                f"Received: inputs {sorted(inputs)}, {outputs} outputs and operators of version {opsets.get('')}"
            )
        prefix = f"{self._prefix}embedded_{len(self._nodes)}_"
        inner = compose.add_prefix_graph(model.graph, prefix, rename_inputs=False)
        self._nodes += inner.node
        self._constants += inner.initializer
        return inner.output[0].name

    def activation(self, value: str, name: str) -> str:
        """Adds a Keras activation function of the training configuration."""
        return value if name == "identity" else self.node(_ACTIVATIONS[name], value)

    def dense(self, value: str, layers: Sequence[Layer]) -> str:
        """Adds dense layers, each (kernel, bias, activation), to (N, width)."""
        for kernel, bias, name in layers:
            value = self.activation(self.node("Gemm", value, self.constant(kernel), self.constant(bias)), name)
        return value

    def dense_to_one(self, value: str, layers: Sequence[Layer]) -> str:
        """Adds dense layers, the last of width 1, to (N, width): (1, N).

        As a row, because ONNX Runtime multiplies a matrix by a column several times more slowly than a row by it.
        """
        *inner, (kernel, bias, name) = layers
        row, value = self.constant(kernel.T), self.dense(value, inner)
        return self.activation(self.node("Gemm", row, value, self.constant(bias), transB=1), name)

    def model(self) -> onnx.ModelProto:
        """Returns the checked graph."""
        opsets = [helper.make_opsetid("", self._opset)]
        model = helper.make_model(self._graph(), opset_imports=opsets, ir_version=IR_VERSION, producer_name="slirec")
        onnx.checker.check_model(model, full_check=True)
        return model

    def _graph(self) -> onnx.GraphProto:
        return helper.make_graph(self._nodes, self.name, self._inputs, self._outputs, self._constants)
