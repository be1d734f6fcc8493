"""Shopify's published schema, and what our documents and the dev store are held to."""

import gzip
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

from graphql import (
    DocumentNode,
    FieldNode,
    FragmentDefinitionNode,
    GraphQLError,
    GraphQLSchema,
    InlineFragmentNode,
    Node,
    OperationDefinitionNode,
    TypeInfo,
    TypeInfoVisitor,
    ValidationRule,
    Visitor,
    build_client_schema,
    find_breaking_changes,
    find_dangerous_changes,
    get_named_type,
    is_input_object_type,
    parse,
    specified_directives,
    type_from_ast,
    validate,
    visit,
)
from graphql.execution.values import get_variable_values

from scripts.shopify.fetch_schema import schema_path

_SCOPE = re.compile(r"\b(?:unauthenticated_)?(?:read|write)_[a-z_]+\b")


@dataclass(frozen=True)
class Published:
    """One API's schema, and the texts that say which access its types and fields ask for."""

    schema: GraphQLSchema
    access: Mapping[tuple[str, str | None], str]  # (type, field), or (type, None)


@cache
def published(api: str) -> Published:
    """Loads the schema of `admin` or `storefront` from the cache that `make shopify-schema` fills."""
    document = json.loads(gzip.decompress(schema_path(api).read_bytes()))["data"]
    access: dict[tuple[str, str | None], str] = {}
    for type_ in document["__schema"]["types"]:
        for name, holder in [(None, type_), *((item["name"], item) for item in type_.get("fields") or ())]:
            if text := holder.get("requiredAccess"):
                access[type_["name"], name] = text
    # assume_valid: Shopify deprecates some fields on a type but not on its interface, which graphql-core refuses.
    return Published(build_client_schema(document, assume_valid=True), access)


class NothingDeprecated(ValidationRule):
    """Reports every use of a deprecated field, argument, input field or enum value.

    graphql-core's own rule reads the syntax tree of an argument's definition, which a schema made from an introspection
    result does not have, and ends in an AttributeError.
    """

    def _tell(self, node: Node, what: str, reason: str | None) -> None:
        if reason is not None:
            self.report_error(GraphQLError(f"deprecated {what}: {' '.join(reason.split())}", node))

    def enter_field(self, node: FieldNode, *_: Any) -> None:
        definition, parent = self.context.get_field_def(), self.context.get_parent_type()
        if definition and parent:
            self._tell(node, f"field {parent.name}.{node.name.value}", definition.deprecation_reason)

    def enter_argument(self, node: Any, *_: Any) -> None:
        if argument := self.context.get_argument():
            self._tell(node, f"argument {node.name.value}", argument.deprecation_reason)

    def enter_object_field(self, node: Any, *_: Any) -> None:
        owner = get_named_type(self.context.get_parent_input_type())
        if is_input_object_type(owner) and node.name.value in owner.fields:
            reason = owner.fields[node.name.value].deprecation_reason
            self._tell(node, f"input field {owner.name}.{node.name.value}", reason)

    def enter_enum_value(self, node: Any, *_: Any) -> None:
        if value := self.context.get_enum_value():
            self._tell(node, f"enum value {node.value}", value.deprecation_reason)


def document_problems(schema: GraphQLSchema, text: str) -> list[str]:
    """Says what is invalid or deprecated in a document; empty where nothing is."""
    try:
        document = parse(text)
    except GraphQLError as error:
        return [error.message]
    return [error.message for rules in (None, [NothingDeprecated]) for error in validate(schema, document, rules)]


def variable_problems(schema: GraphQLSchema, document: DocumentNode, variables: Mapping[str, Any]) -> list[str]:
    """Says which values of an operation's variables are of the wrong type, unknown or deprecated."""
    problems: list[str] = []
    for operation in operations(document):
        definitions = operation.variable_definitions or ()
        coerced = get_variable_values(schema, definitions, dict(variables))
        problems += [error.message for error in coerced] if isinstance(coerced, list) else []
        known = {definition.variable.name.value for definition in definitions}
        problems += [f"${name} is not a variable of {operation.name.value}" for name in variables.keys() - known]
        for definition in definitions:
            name = definition.variable.name.value
            problems += _deprecated_input(type_from_ast(schema, definition.type), variables.get(name), f"${name}")
    return problems


def _deprecated_input(type_: Any, value: Any, path: str) -> Iterator[str]:
    named = get_named_type(type_)
    if isinstance(value, list):
        for index, item in enumerate(value):
            yield from _deprecated_input(type_, item, f"{path}[{index}]")
    elif isinstance(value, Mapping) and is_input_object_type(named):
        for key, item in value.items():
            if key in named.fields:
                if named.fields[key].deprecation_reason is not None:
                    yield f"deprecated input field {named.name}.{key} at {path}"
                yield from _deprecated_input(named.fields[key].type, item, f"{path}.{key}")


def operations(document: DocumentNode) -> list[OperationDefinitionNode]:
    return [node for node in document.definitions if isinstance(node, OperationDefinitionNode)]


def needed_scopes(api: Published, text: str) -> dict[str, frozenset[str]]:
    """Returns what a document's fields and types ask for: `{"QueryRoot.products": {scopes, one of which will do}}`.

    Only the first sentence of Shopify's text counts; what follows "Also:" is about users and plans. Texts that name no
    scope are left out.
    """
    found: dict[str, frozenset[str]] = {}
    info = TypeInfo(api.schema)

    class Reader(Visitor):
        def enter_field(self, node: FieldNode, *_: Any) -> None:
            parent, definition = info.get_parent_type(), info.get_field_def()
            if parent and definition:
                self._note(parent.name, node.name.value)
                self._note(get_named_type(definition.type).name)

        def enter_inline_fragment(self, node: InlineFragmentNode, *_: Any) -> None:
            if node.type_condition:
                self._note(node.type_condition.name.value)

        def enter_fragment_definition(self, node: FragmentDefinitionNode, *_: Any) -> None:
            self._note(node.type_condition.name.value)

        def _note(self, type_: str, name: str | None = None) -> None:
            if scopes := named_scopes(api, type_, name):
                found[f"{type_}.{name}" if name else type_] = scopes

    visit(parse(text), TypeInfoVisitor(info, Reader()))
    return found


def named_scopes(api: Published, type_: str, name: str | None = None) -> frozenset[str]:
    """Returns the scopes, one of which will do, that Shopify's text about a type or one of its fields names."""
    return frozenset(_SCOPE.findall(api.access.get((type_, name), "").split("Also:")[0]))


def with_implied(scopes: Any) -> set[str]:
    """Adds the read scope that each write scope includes."""
    return {*scopes, *(scope.replace("write_", "read_", 1) for scope in scopes if scope.startswith("write_"))}


def subset_problems(sdl: GraphQLSchema, real: GraphQLSchema) -> list[str]:
    """Says where a smaller schema promises what the real one does not keep; empty for a true subset.

    Whoever works with the subset must not notice the step to the real one: nothing is missing there, no type,
    nullability, required argument or default value differs.
    """
    problems = [change.description for change in find_breaking_changes(sdl, real)]
    # graphql-core adds its own directives to every SDL.
    own = re.compile(rf"@({'|'.join(directive.name for directive in specified_directives)})\b")
    problems = [problem for problem in problems if not own.search(problem)]
    problems += [c.description for c in find_dangerous_changes(sdl, real) if c.type.name == "ARG_DEFAULT_VALUE_CHANGE"]
    for kind in ("query_type", "mutation_type"):
        small, large = getattr(sdl, kind), getattr(real, kind)
        if small and small.name != large.name:
            problems.append(f"{kind} is {small.name}, which Shopify calls {large.name}")
    return problems
