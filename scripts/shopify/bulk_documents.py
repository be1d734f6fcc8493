"""What a bulk query is made from: a document without variables, and the connections in it.

Bulk queries take no variables and return the nodes of all connections as one flat list of lines:
https://shopify.dev/docs/api/usage/bulk-operations/queries.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from graphql import (
    REMOVE,
    DocumentNode,
    FieldNode,
    FragmentDefinitionNode,
    FragmentSpreadNode,
    InlineFragmentNode,
    NameNode,
    OperationDefinitionNode,
    SelectionSetNode,
    StringValueNode,
    VariableNode,
    Visitor,
    print_ast,
    visit,
)

from scripts.shopify.documents import Document

_Fragments = Mapping[str, FragmentDefinitionNode]


@dataclass(frozen=True)
class Connection:
    """A connection that a bulk query selects, with those inside it.

    Attributes:
        name: Name in the answer: the alias where there is one.
        inside: Connections selected on each of its nodes, by name.
    """

    name: str
    inside: Mapping[str, "Connection"]


def inline_variables(document: Document, variables: Mapping[str, str]) -> DocumentNode:
    """Returns the document with each variable replaced by its value.

    Raises:
        ValueError: A variable is missing or unknown, is no text, or is not declared as `String!`.
    """
    definitions = {node.variable.name.value: node for node in document.operation.variable_definitions or ()}
    if variables.keys() != definitions.keys():
        raise ValueError(
            f"{document.name} should get the variables {sorted(definitions)}. Received: {sorted(variables)}"
        )
    for name, node in definitions.items():
        if (kind := print_ast(node.type)) != "String!":
            raise ValueError(
                f"{document.name}: ${name} should be of type String!, to be written into a bulk query. Received: "
                f"{kind}; write its value into the document"
            )
        if not isinstance(variables[name], str):
            raise ValueError(f"{document.name}: ${name} should be text. Received: {variables[name]!r}")
    return visit(document.tree, _Inliner(variables))


def name_of(operation: OperationDefinitionNode) -> str:
    """Returns the operation's name, or `Bulk` where it has none."""
    return operation.name.value if operation.name else "Bulk"


def bulk_text(tree: DocumentNode, label: str) -> str:
    """Returns the document as text, with `_<label>` added to its operation's name.

    The name is how an operation is found again whose start was not answered.
    """

    class Renamer(Visitor):
        def enter_operation_definition(self, node: OperationDefinitionNode, *_: Any) -> OperationDefinitionNode:
            name = NameNode(value=f"{name_of(node)}_{label}")
            return OperationDefinitionNode(**{key: getattr(node, key) for key in node.keys} | {"name": name})

    return print_ast(visit(tree, Renamer()))


def root_connection(document: Document) -> Connection:
    """Returns the connection that a bulk query reads, with those nested in it.

    Raises:
        ValueError: The document's one top-level field is no connection, or one is inside a plain object, whose lines
            could not be told from those of the object's owner.
    """
    fragments = {
        node.name.value: node for node in document.tree.definitions if isinstance(node, FragmentDefinitionNode)
    }
    fields = list(_fields(document.operation.selection_set, fragments))
    nodes = _node_selections(fields[0], fragments) if len(fields) == 1 else None
    if nodes is None:
        raise ValueError(f"queries/{document.name}.graphql should select one top-level connection by edges {{ node }}")
    return Connection(_key(fields[0]), _connections(nodes, fragments, document.name))


class _Inliner(Visitor):
    """Replaces variables by their values, and drops the definitions."""

    def __init__(self, values: Mapping[str, str]):
        super().__init__()
        self.values = values

    def enter_variable_definition(self, *_: Any) -> Any:
        return REMOVE

    def enter_variable(self, node: VariableNode, *_: Any) -> StringValueNode:
        return StringValueNode(value=self.values[node.name.value])


def _fields(selections: SelectionSetNode | None, fragments: _Fragments) -> Iterator[FieldNode]:
    """Yields the fields of a selection set, those in fragments included."""
    for node in selections.selections if selections else ():
        if isinstance(node, FieldNode):
            yield node
        elif isinstance(node, InlineFragmentNode):
            yield from _fields(node.selection_set, fragments)
        elif isinstance(node, FragmentSpreadNode):
            yield from _fields(fragments[node.name.value].selection_set, fragments)


def _node_selections(field: FieldNode, fragments: _Fragments) -> list[FieldNode] | None:
    """Returns what is selected on the nodes of a connection, or None where the field is none."""
    edges = [edge for edge in _fields(field.selection_set, fragments) if edge.name.value == "edges"]
    nodes = [node for edge in edges for node in _fields(edge.selection_set, fragments) if node.name.value == "node"]
    return [field for node in nodes for field in _fields(node.selection_set, fragments)] if nodes else None


def _connections(fields: list[FieldNode], fragments: _Fragments, name: str) -> dict[str, Connection]:
    found: dict[str, Connection] = {}
    for field in fields:
        nodes = _node_selections(field, fragments)
        if nodes is not None:
            found[_key(field)] = Connection(_key(field), _connections(nodes, fragments, name))
        elif _connections(list(_fields(field.selection_set, fragments)), fragments, name):
            raise ValueError(f"queries/{name}.graphql should have no connection inside the object {_key(field)}")
    return found


def _key(field: FieldNode) -> str:
    return (field.alias or field.name).value
