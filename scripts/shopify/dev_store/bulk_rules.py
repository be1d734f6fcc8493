"""What Shopify refuses to run in bulk, and how it says so.

https://shopify.dev/docs/api/usage/bulk-operations/queries#operation-restrictions and
https://shopify.dev/docs/api/usage/bulk-operations/imports#limitations.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from graphql import (
    DocumentNode,
    GraphQLError,
    GraphQLNamedType,
    GraphQLSchema,
    OperationDefinitionNode,
    SelectionSetNode,
    get_named_type,
    get_nullable_type,
    is_abstract_type,
    is_composite_type,
    is_list_type,
    parse,
)

from scripts.shopify.dev_store.bulk_documents import Fragments, is_connection, item_type, the_operation
from scripts.shopify.dev_store.wording import document_errors, nested_too_deeply

MAX_DOCUMENT = 65_535
"""Bytes of the largest document that is taken."""

MAX_CONNECTIONS, MAX_NESTING = 5, 2
_TOO_DEEP = nested_too_deeply()["message"]

Problem = tuple[list[str] | None, str, str | None]
"""Field, message and code of a user error."""


@dataclass(frozen=True)
class ConnectionField:
    """A connection that a document selects.

    Attributes:
        name: Of the field.
        item: Type of its nodes.
        above: The connections that it is nested in, outermost first.
        in_list: Whether a plain list is on the way to it.
        by_edges: Whether all is selected through `edges { node }`.
        has_id: Whether its nodes select `id` under its own name.
    """

    name: str
    item: GraphQLNamedType
    above: tuple["ConnectionField", ...]
    in_list: bool
    by_edges: bool
    has_id: bool


def connections(schema: GraphQLSchema, document: DocumentNode) -> list[ConnectionField]:
    """Returns the connections that a valid document of one operation selects, in its order."""
    fragments, found = Fragments(document), []

    def walk(owner: Any, selected: SelectionSetNode | None, above: tuple[ConnectionField, ...], in_list: bool) -> None:
        for parent, field in fragments.spread(schema, owner, selected):
            if field.name.value.startswith("__"):
                continue
            type_ = parent.fields[field.name.value].type
            if is_connection(type_):
                nodes = fragments.nodes(schema, parent, field)
                item = item_type(type_)
                inner = [each for node in nodes for _, each in fragments.spread(schema, item, node.selection_set)]
                one = ConnectionField(
                    name=field.name.value,
                    item=item,
                    above=above,
                    in_list=in_list,
                    by_edges=bool(nodes) and not fragments.below(schema, parent, field, "nodes"),
                    has_id=any(each.name.value == "id" and each.alias is None for each in inner),
                )
                found.append(one)
                for node in nodes or fragments.below(schema, parent, field, "nodes"):
                    walk(item, node.selection_set, (*above, one), in_list)
            elif is_composite_type(get_named_type(type_)):
                listed = in_list or is_list_type(get_nullable_type(type_))
                walk(get_named_type(type_), field.selection_set, above, listed)

    operation = the_operation(document)
    walk(schema.get_root_type(operation.operation), operation.selection_set, (), False)
    return found


def query_problems(schema: GraphQLSchema, text: str) -> list[Problem]:
    """Returns why `bulkOperationRunQuery` refuses a query; nothing if it takes it."""
    try:
        messages = _query_messages(schema, text)
    except RecursionError:
        messages = [f"Invalid bulk query: {_TOO_DEEP}"]
    return [(["query"], message, "INVALID") for message in messages]


def _query_messages(schema: GraphQLSchema, text: str) -> list[str]:
    try:
        document = parse(text)
    except GraphQLError as error:
        return [f"Invalid bulk query: {_syntax(error)}"]
    if problem := _wrong_operation(document, "query"):
        return [problem]
    if errors := document_errors(schema, document):
        return [f"Invalid bulk query: {error['message']}" for error in errors]
    operation = the_operation(document)
    if operation.variable_definitions:
        name = operation.variable_definitions[0].variable.name.value
        return [f"Invalid bulk query: Variable ${name} is declared, but a bulk query takes no variables"]
    selected = operation.selection_set
    roots = [field.name.value for _, field in Fragments(document).spread(schema, schema.query_type, selected)]
    found = connections(schema, document)
    messages = [
        f"Bulk queries cannot contain a top level `{name}` field." for name in roots if name in ("node", "nodes")
    ]
    messages += _size(text)
    if len(roots) > 1:
        messages.append("Bulk queries cannot contain more than one top level field.")
    if not found:
        messages.append("Bulk queries must contain at least one connection.")
    if len(found) > MAX_CONNECTIONS:
        messages.append(f"Bulk queries cannot contain more than {MAX_CONNECTIONS} connections.")
    if any(len(each.above) > MAX_NESTING for each in found):
        messages.append(f"Bulk queries cannot contain connections with a nesting depth greater than {MAX_NESTING}.")
    if bad := [each.name for each in found if not each.by_edges]:
        messages.append(
            "All connection fields in a bulk query must select their contents using 'edges' > 'node', e.g: "
            f"'{bad[0]} {{ edges {{ node {{'. Selecting via 'nodes' is not supported. Invalid connection fields: "
            f"{', '.join(repr(name) for name in bad)}."
        )
    parents = [each.above[-1] for each in found if each.above]
    if without_id := [each.name for each in parents if each.by_edges and not each.has_id]:
        messages.append(
            "The parent 'node' field for a nested connection must select the 'id' field without an alias and must be "
            f"of 'ID' return type. Connection fields without 'id': {', '.join(dict.fromkeys(without_id))}."
        )
    if any(each.in_list for each in found):
        messages.append("Queries that contain a connection field within a list field are not currently supported.")
    foreign = dict.fromkeys(each.item.name for each in found if not _all_nodes(schema, each.item))
    return messages + [
        f"Bulk queries cannot contain connections of {name}, which does not implement Node." for name in foreign
    ]


def mutation_problems(schema: GraphQLSchema, text: str) -> list[Problem]:
    """Returns why `bulkOperationRunMutation` refuses a mutation; nothing if it takes it."""
    try:
        return _mutation_problems(schema, text)
    except RecursionError:
        return [(["mutation"], _TOO_DEEP, "INVALID_MUTATION")]


def _mutation_problems(schema: GraphQLSchema, text: str) -> list[Problem]:
    try:
        document = parse(text)
    except GraphQLError as error:
        return [(None, f"Failed to parse the mutation - {_syntax(error)}", "INVALID_MUTATION")]
    if problem := _wrong_operation(document, "mutation"):
        return [(["mutation"], problem, "INVALID_MUTATION")]
    if errors := document_errors(schema, document):
        return [(["mutation"], error["message"], "INVALID_MUTATION") for error in errors]
    selected = the_operation(document).selection_set
    roots = [field.name.value for _, field in Fragments(document).spread(schema, schema.mutation_type, selected)]
    if len(roots) != 1:
        return [(["mutation"], "You must specify a single top level mutation.", None)]
    if roots[0].startswith("bulkOperation"):
        return [(["mutation"], "You must use an allowed mutation name.", None)]
    messages = _size(text)
    if len(connections(schema, document)) > 1:
        messages.append("Bulk mutations cannot contain more than 1 connection.")
    return [(["mutation"], message, "INVALID_MUTATION") for message in messages]


def user_errors(problems: Sequence[Problem]) -> list[dict[str, Any]]:
    """Returns problems as the payload's `userErrors`."""
    return [{"field": field, "message": message, "code": code} for field, message, code in problems]


def _wrong_operation(document: DocumentNode, kind: str) -> str | None:
    operations = [node for node in document.definitions if isinstance(node, OperationDefinitionNode)]
    if len(operations) == 1 and operations[0].operation.value == kind:
        return None
    return f"Invalid operation type. Only `{kind}` operations are supported."


def _size(text: str) -> list[str]:
    size = len(text.encode())
    return [f"Query is too large ({size} bytes; maximum is {MAX_DOCUMENT} bytes)"] if size > MAX_DOCUMENT else []


def _syntax(error: GraphQLError) -> str:
    place = error.locations[0] if error.locations else None
    reason = error.message.removeprefix("Syntax Error: ")
    return f"syntax error, {reason}" + (f" at [{place.line}, {place.column}]" if place else "")


def _all_nodes(schema: GraphQLSchema, type_: Any) -> bool:
    kinds = schema.get_possible_types(type_) if is_abstract_type(type_) else [type_]
    return all(any(interface.name == "Node" for interface in kind.interfaces) for kind in kinds)
