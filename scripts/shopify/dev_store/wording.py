"""Errors outside `userErrors`, as Shopify words and codes them.

Documents: codes `undefinedField`, `selectionMismatch`, `argumentNotAccepted` and so on. Variables: `INVALID_VARIABLE`
with `value` and `problems`. Fields: `ACCESS_DENIED` with `requiredAccess`. See "Status and error codes" in
https://shopify.dev/docs/api/admin-graphql.
"""

import json
import re
import uuid
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from graphql import (
    DocumentNode,
    GraphQLError,
    GraphQLInputType,
    GraphQLSchema,
    OperationDefinitionNode,
    get_named_type,
    is_enum_type,
    is_input_object_type,
    is_list_type,
    is_non_null_type,
    is_required_input_field,
    print_ast,
    type_from_ast,
    validate,
)

from scripts.shopify.dev_store.document_rules import LONG_LISTS, MAX_LIST, RULES

Error = dict[str, Any]

DOCUMENTATION = "https://shopify.dev/api/usage"
_TOLD_OTHERWISE = (  # graphql-core's message -> Shopify's message and code
    (r"Variable '\$(\w+)' is not defined.*", r"$\1 is used but not declared", "variableNotDefined"),
    (r"Variable '\$(\w+)' is never used.*", r"$\1 is declared but not used", "variableNotUsed"),
    (
        r"Variable '\$(\w+)' of type '(.+)' used in position expecting type '(.+)'\.",
        r"Type mismatch on variable $\1 (\2 / \3)",
        "variableMismatch",
    ),
    (r"Unknown type '(\w+)'.*", r"No such type \1", "undefinedType"),
    (r"Unknown fragment '(\w+)'.*", r"Fragment \1 was used, but not defined", "useAndDefineFragment"),
    (r"Fragment '(\w+)' is never used.*", r"Fragment \1 was defined, but not used", "useAndDefineFragment"),
    (r"Unknown directive '(@\w+)'.*", r"Directive \1 is not defined", "undefinedDirective"),
    (
        r"Expected value of type '\W*(\w+)\W*' not to include unknown field '(\w+)'.*",
        r"InputObject '\1' doesn't accept argument '\2'",
        "argumentNotAccepted",
    ),
    (
        r"Expected value of type '\W*(\w+)\W*' to include required field '(\w+)'.*",
        r"Argument '\2' on InputObject '\1' is required",
        "missingRequiredInputObjectAttribute",
    ),
    (r"(Fields '\w+' conflict.*)", r"\1", "fieldConflict"),
)


def syntax_error(error: GraphQLError) -> Error:
    """A document that cannot be parsed."""
    return {**error.formatted, "message": error.message.replace("Syntax Error:", "Parse error:", 1)}


def no_operation(document: DocumentNode, name: str | None) -> Error:
    """A document in which the operation to carry out cannot be told."""
    if name is not None:
        return {"message": f'No operation named "{name}"'}
    operations = [node for node in document.definitions if isinstance(node, OperationDefinitionNode)]
    return {"message": "An operation name is required" if operations else "The document holds no operation"}


def document_errors(schema: GraphQLSchema, document: DocumentNode) -> list[Error]:
    """Validates a document; returns what is wrong, nothing for a valid one."""
    return [_retold(error) for error in validate(schema, document, RULES)]


def _retold(error: GraphQLError) -> Error:
    if error.extensions:
        path = error.extensions.pop("path", None)
        return {**error.formatted, **({"path": path} if path else {})}
    for pattern, message, code in _TOLD_OTHERWISE:
        if found := re.fullmatch(pattern, error.message, re.DOTALL):
            return {**error.formatted, "message": found.expand(message), "extensions": {"code": code}}
    return {**error.formatted, "extensions": {"code": "argumentLiteralsIncompatible"}}


def variable_errors(
    schema: GraphQLSchema, operation: OperationDefinitionNode, variables: Mapping[str, Any]
) -> list[Error]:
    """Says what is wrong with the variables of a valid document, one error a variable."""
    errors: list[Error] = []
    for definition in operation.variable_definitions or ():
        name, type_ = definition.variable.name.value, type_from_ast(schema, definition.type)
        if name not in variables and (definition.default_value is not None or not is_non_null_type(type_)):
            continue
        value = variables.get(name)
        problems = list(_problems(value, type_, ()))
        if not problems:
            continue
        message = f"Variable ${name} of type {print_ast(definition.type)} was provided invalid value"
        if told := [f"{'.'.join(map(str, path))} ({text})" for path, text in problems if path]:
            message += " for " + ", ".join(told)
        locations = [{"line": definition.loc.start_token.line, "column": definition.loc.start_token.column}]
        listed = [{"path": list(path), "explanation": text} for path, text in problems]
        extensions = {"code": "INVALID_VARIABLE", "value": value, "problems": listed}
        errors.append({"message": message, "locations": locations, "extensions": extensions})
    return errors


def _problems(value: Any, type_: GraphQLInputType, path: tuple[str | int, ...]) -> Iterator[tuple[tuple, str]]:
    if is_non_null_type(type_):
        if value is None:
            yield path, "Expected value to not be null"
            return
        type_ = type_.of_type
    if value is None:
        return
    if is_list_type(type_):
        for index, item in enumerate(value if isinstance(value, list) else [value]):
            yield from _problems(item, type_.of_type, (*path, index))
    elif is_input_object_type(type_):
        if not isinstance(value, Mapping):
            yield path, f"Expected {json.dumps(value)} to be a key-value object"
            return
        yield from (((*path, key), f"Field is not defined on {type_.name}") for key in value if key not in type_.fields)
        for key, field in type_.fields.items():
            if key in value:
                yield from _problems(value[key], field.type, (*path, key))
            elif is_required_input_field(field):
                yield (*path, key), "Expected value to not be null"
        if getattr(type_, "is_one_of", False) and sum(item is not None for item in value.values()) != 1:
            yield path, f"'{type_.name}' requires exactly one argument, but {len(value)} were provided"
    else:
        named = get_named_type(type_)
        if is_enum_type(named):
            if not isinstance(value, str) or value not in named.values:
                yield path, f"Expected {json.dumps(value)} to be one of: {', '.join(named.values)}"
            return
        try:
            named.parse_value(value)
        except Exception:  # whatever a scalar's own check raises means that the value is not one
            yield path, f"Could not coerce value {json.dumps(value)} to {named.name}"


def too_long(values: Any, path: tuple[str, ...] = ()) -> Error | None:
    """Finds a list in the variables that has too many entries."""
    if isinstance(values, list):
        most = LONG_LISTS.get(path[-1], MAX_LIST) if path else MAX_LIST
        if len(values) > most:
            message = f"The input array size of {len(values)} is greater than the maximum allowed of {most}."
            return {"message": message, "path": list(path), "extensions": {"code": "MAX_INPUT_SIZE_EXCEEDED"}}
        inner = [(path, value) for value in values]
    else:
        inner = [((*path, key), value) for key, value in values.items()]
    for place, value in inner:
        if isinstance(value, dict | list) and (error := too_long(value, place)):
            return error
    return None


def access_denied(field: str, scopes: Sequence[str]) -> GraphQLError:
    """The field asks for scopes that the token lacks."""
    needed = " and ".join(f"`{scope}` access scope" for scope in scopes) + "."
    extensions = {"code": "ACCESS_DENIED", "documentation": f"{DOCUMENTATION}/access-scopes", "requiredAccess": needed}
    return GraphQLError(f"Access denied for {field} field. Required access: {needed}", extensions=extensions)


def internal_error(path: Sequence[str | int] | None = None) -> Error:
    """Something failed on the server's side; the details stay in its log."""
    request = str(uuid.uuid4())
    message = f"Internal error. Looks like something went wrong on our end. Request ID: {request}"
    error = {"message": message, "extensions": {"code": "INTERNAL_SERVER_ERROR", "requestId": request}}
    return {**error, "path": list(path)} if path else error


def nested_too_deeply() -> Error:
    """The document, or what it was given, has more levels than can be worked on."""
    return {"message": "The request is nested too deeply"}


def throttled() -> Error:
    """The bucket holds less than the request costs."""
    extensions = {"code": "THROTTLED", "documentation": f"{DOCUMENTATION}/rate-limits"}
    return {"message": "Throttled", "extensions": extensions}


def max_cost_exceeded(cost: int, limit: int) -> Error:
    """One request costs more than any request may."""
    message = f"Query cost is {cost}, which exceeds the single query max cost limit ({limit})."
    extensions = {"code": "MAX_COST_EXCEEDED", "cost": cost, "maxCost": limit}
    return {"message": message, "extensions": {**extensions, "documentation": f"{DOCUMENTATION}/rate-limits"}}
