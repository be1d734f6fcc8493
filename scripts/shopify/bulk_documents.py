"""What a bulk query is made from: a document without variables, and the connections in it.

Bulk queries take no variables and return the nodes of all connections as one flat list of lines:
https://shopify.dev/docs/api/usage/bulk-operations/queries.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from graphql import (
    REMOVE,
    ArgumentNode,
    DocumentNode,
    FieldNode,
    FragmentDefinitionNode,
    FragmentSpreadNode,
    GraphQLBoolean,
    GraphQLError,
    GraphQLFloat,
    GraphQLID,
    GraphQLInt,
    GraphQLList,
    GraphQLString,
    InlineFragmentNode,
    ListTypeNode,
    NameNode,
    NonNullTypeNode,
    NullValueNode,
    ObjectFieldNode,
    OperationDefinitionNode,
    SelectionSetNode,
    VariableNode,
    Visitor,
    ast_from_value,
    print_ast,
    visit,
)

from scripts.shopify.documents import Document

_SCALARS = {"String": GraphQLString, "ID": GraphQLID, "Int": GraphQLInt, "Float": GraphQLFloat}
_SCALARS |= {"Boolean": GraphQLBoolean, "DateTime": GraphQLString, "Date": GraphQLString, "URL": GraphQLString}
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


def inline_variables(document: Document, variables: Mapping[str, Any]) -> DocumentNode:
    """Returns the document with each variable replaced by its value.

    An argument whose variable has neither value nor default is left out, as GraphQL says.

    Raises:
        ValueError: A required variable is missing, one is unknown, has the wrong type, or a type other than the
            built-in scalars, DateTime, Date, URL and lists of them; values of other types belong into the document.
    """
    definitions = {node.variable.name.value: node for node in document.operation.variable_definitions or ()}
    if unknown := sorted(variables.keys() - definitions):
        raise ValueError(f"{document.name} should get the variables {sorted(definitions)}. Received also: {unknown}")
    literals: dict[str, Any] = {}
    for name, node in definitions.items():
        if name in variables:
            literals[name] = _literal(variables[name], node.type, f"{document.name}: ${name}")
        elif node.default_value is not None:
            literals[name] = node.default_value
        elif isinstance(node.type, NonNullTypeNode):
            raise ValueError(f"{document.name} needs a value for its variable ${name}")
    return visit(document.tree, _Inliner(literals))


def bulk_text(tree: DocumentNode, label: str) -> str:
    """Returns the document as text, with `_<label>` added to its operation's name.

    The name is how an operation is found again whose start was not answered.
    """

    class Renamer(Visitor):
        def enter_operation_definition(self, node: OperationDefinitionNode, *_: Any) -> OperationDefinitionNode:
            name = NameNode(value=f"{node.name.value if node.name else 'Bulk'}_{label}")
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
    """Replaces variables by the given literals, and drops the definitions."""

    def __init__(self, literals: Mapping[str, Any]):
        super().__init__()
        self.literals = literals

    def enter_variable_definition(self, *_: Any) -> Any:
        return REMOVE

    def enter_argument(self, node: ArgumentNode | ObjectFieldNode, *_: Any) -> Any:
        missing = isinstance(node.value, VariableNode) and node.value.name.value not in self.literals
        return REMOVE if missing else None

    enter_object_field = enter_argument

    def enter_variable(self, node: VariableNode, *_: Any) -> Any:
        return self.literals.get(node.name.value, NullValueNode())  # a list keeps the place of what is missing


def _literal(value: Any, type_node: Any, where: str) -> Any:
    kind = _input_type(type_node, where)
    try:
        node = ast_from_value(value, kind)
    except (GraphQLError, TypeError) as error:
        raise ValueError(f"{where}: {error}. Received: {value!r}") from None
    if isinstance(node, NullValueNode) and isinstance(type_node, NonNullTypeNode):
        raise ValueError(f"{where} should not be null")
    return node


def _input_type(node: Any, where: str) -> Any:
    if isinstance(node, NonNullTypeNode):
        return _input_type(node.type, where)
    if isinstance(node, ListTypeNode):
        return GraphQLList(_input_type(node.type, where))
    if node.name.value not in _SCALARS:
        raise ValueError(
            f"{where} should be of type {', '.join(_SCALARS)} or a list of one, to be written into a bulk query. "
            f"Received: {node.name.value}; write its value into the document"
        )
    return _SCALARS[node.name.value]


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
