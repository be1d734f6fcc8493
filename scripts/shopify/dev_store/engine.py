"""Builds the two APIs from their SDL files and the registered resolvers, and carries out documents."""

import importlib
import logging
import threading
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from graphql import (
    DocumentNode,
    GraphQLError,
    GraphQLFormattedError,
    GraphQLInterfaceType,
    GraphQLObjectType,
    GraphQLSchema,
    GraphQLUnionType,
    OperationDefinitionNode,
    build_schema,
    execute_sync,
    get_operation_ast,
    parse,
)

from scripts.shopify.dev_store import wording
from scripts.shopify.dev_store.cost import CostPlan
from scripts.shopify.dev_store.registry import RESOLVERS, Context, Resolver
from scripts.shopify.dev_store.state import split_gid

log = logging.getLogger(__name__)

SDL = Path(__file__).parent / "sdl"
RESOLVER_MODULES = (
    "base",
    "bulk",
    "catalogue_collections",
    "catalogue_metafields",
    "catalogue_product_set",
    "catalogue_product_update",
    "catalogue_products",
    "catalogue_publications",
    "catalogue_stock",
    "metaobject_definitions",
    "metaobjects",
    "orders",
    "staged",
    "storefront",
)
"""Modules that register resolvers when they are imported."""
_KEPT_DOCUMENTS = 500
_LARGEST_KEPT = 65_536  # characters: who writes the data into the document never sends the same one again


@dataclass(frozen=True, slots=True)
class Prepared:
    """A document that was parsed and validated, with what is needed again and again.

    Attributes:
        document: The parsed document.
        operation: The one that is carried out.
        cost: What it costs, given variables and data.
        errors: Why it cannot be carried out, as in the answer; empty for a valid one.
    """

    document: DocumentNode
    operation: OperationDefinitionNode | None
    cost: CostPlan | None
    errors: tuple[GraphQLFormattedError, ...] = ()

    @property
    def name(self) -> str:
        """Name of the operation, empty if it has none."""
        return self.operation.name.value if self.operation and self.operation.name else ""


class Engine:
    """One of the two APIs: its schema with the resolvers attached, and the documents prepared so far.

    Args:
        api: `admin` or `storefront`.
    """

    def __init__(self, api: str):
        self.api = api
        self.schema = build_api(api)
        self._lock = threading.Lock()
        self._prepared: OrderedDict[tuple[str | int, str | None], Prepared] = OrderedDict()

    def prepare(self, source: str | DocumentNode, operation_name: str | None = None) -> Prepared:
        """Parses and validates a document; the next time it is at hand, unless it is a large text."""
        if isinstance(source, str) and len(source) > _LARGEST_KEPT:
            return self._prepare(source, operation_name)
        key = (source if isinstance(source, str) else id(source), operation_name)
        with self._lock:
            found = self._prepared.get(key)
            if found is None:
                found = self._prepared[key] = self._prepare(source, operation_name)
                while len(self._prepared) > _KEPT_DOCUMENTS:
                    self._prepared.popitem(last=False)
            return found

    def _prepare(self, source: str | DocumentNode, operation_name: str | None) -> Prepared:
        empty = DocumentNode(definitions=())
        try:
            return self._understood(source, operation_name)
        except GraphQLError as error:
            return Prepared(empty, None, None, (wording.syntax_error(error),))
        except RecursionError:
            return Prepared(empty, None, None, (wording.nested_too_deeply(),))

    def _understood(self, source: str | DocumentNode, operation_name: str | None) -> Prepared:
        document = parse(source) if isinstance(source, str) else source
        if errors := wording.document_errors(self.schema, document):
            return Prepared(document, None, None, tuple(errors))
        operation = get_operation_ast(document, operation_name)
        if operation is None:
            return Prepared(document, None, None, (wording.no_operation(document, operation_name),))
        # The caller's node stays alive with the prepared document, so its id() cannot come back as another's.
        return Prepared(document, operation, CostPlan(self.schema, document, operation))

    def execute(self, prepared: Prepared, variables: Mapping[str, Any], context: Context) -> dict[str, Any]:
        """Carries out a valid document; the caller holds the lock of the state.

        Returns:
            The answer: `data`, and `errors` if there are any.
        """
        if prepared.operation is None:
            return {"errors": list(prepared.errors)}
        try:
            return self._carried_out(prepared, prepared.operation, variables, context)
        except RecursionError:
            return {"errors": [wording.nested_too_deeply()]}

    def _carried_out(
        self, prepared: Prepared, operation: OperationDefinitionNode, variables: Mapping[str, Any], context: Context
    ) -> dict[str, Any]:
        if error := wording.too_long(variables):
            return {"errors": [error]}
        result = execute_sync(
            self.schema,
            prepared.document,
            context_value=context,
            variable_values=dict(variables),
            operation_name=prepared.name or None,
        )
        answer: dict[str, Any] = {"data": result.data}
        if result.errors:
            if result.data is None and all(error.path is None for error in result.errors):  # not begun
                wrong = wording.variable_errors(self.schema, operation, variables)
                return {"errors": wrong or [error.formatted for error in result.errors]}
            answer["errors"] = [self._formatted(error, context) for error in result.errors]
        return answer

    def _formatted(self, error: GraphQLError, context: Context) -> GraphQLFormattedError:
        cause = error.original_error
        if cause is None or isinstance(cause, GraphQLError):
            return error.formatted
        if isinstance(cause, RecursionError):
            return {**wording.nested_too_deeply(), "path": error.path}
        context.store.crashed(cause, ".".join(map(str, error.path or ())))
        return wording.internal_error(error.path)


@lru_cache
def engine_of(api: str) -> Engine:
    """Returns the engine of an API, which all shops of the process share."""
    return Engine(api)


@lru_cache
def load_resolvers() -> None:
    """Imports every module that registers resolvers."""
    for name in RESOLVER_MODULES:
        importlib.import_module(f"{__package__}.{name}")


def sdl(api: str) -> str:
    """Returns the SDL of an API: the storefront's own file, or all others together."""
    files = sorted(path for path in SDL.glob("*.graphql") if (path.stem == "storefront") == (api == "storefront"))
    return "\n".join(path.read_text(encoding="utf-8") for path in files)


def build_api(api: str) -> GraphQLSchema:
    """Builds the schema of an API with all resolvers attached.

    Args:
        api: `admin` or `storefront`.

    Returns:
        The schema. A resolver for what the SDL lacks is left out, with a warning; `unknown_fields` lists those.
    """
    load_resolvers()
    schema = build_schema(sdl(api), assume_valid=True)  # a test validates it; doing so takes long
    for name in unknown_fields(api, schema):
        log.warning("there is a resolver for %s, which the %s SDL does not have", name, api)
    for (type_name, field_name), entry in RESOLVERS[api].items():
        type_ = schema.type_map.get(type_name)
        if isinstance(type_, GraphQLObjectType) and field_name in type_.fields:
            type_.fields[field_name].resolve = _guarded(entry, field_name, type_ is schema.mutation_type)
    for type_ in schema.type_map.values():
        if isinstance(type_, GraphQLInterfaceType | GraphQLUnionType):
            type_.resolve_type = _type_of
    return schema


def unknown_fields(api: str, schema: GraphQLSchema) -> list[str]:
    """Returns what has a registered resolver, but is no field of the schema."""
    return [
        f"{type_name}.{field_name}"
        for type_name, field_name in RESOLVERS[api]
        if field_name not in getattr(schema.type_map.get(type_name), "fields", {})
    ]


def _type_of(value: Any, _info: Any, _type: Any) -> str | None:
    """Names the type of a document: its `__typename`, else the kind in its id."""
    return value.get("__typename") or split_gid(value["id"])[0]


def _guarded(entry: Resolver, field: str, is_mutation: bool) -> Callable[..., Any]:
    """Checks the scopes before a resolver, and makes each mutation field one transaction."""
    function, scopes = entry.function, frozenset(entry.scopes)
    if not scopes and not is_mutation:
        return function

    def resolve(source: Any, info: Any, **arguments: Any) -> Any:
        context: Context = info.context
        if not scopes <= context.scopes:
            raise wording.access_denied(field, entry.scopes)
        if not is_mutation:
            return function(source, info, **arguments)
        with context.state.transaction():
            return function(source, info, **arguments)

    return resolve
