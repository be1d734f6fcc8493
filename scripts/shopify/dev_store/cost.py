"""What a request costs, by the rules that Shopify's answers follow.

A document is turned once into a plan, from which the requested cost follows with the variables, and the actual cost
with the data. An object costs 1 and its selections, a list of objects counts once, scalars and money are free. A
connection of n entries costs 2 + max(1, floor(2 ln n)) entries. A mutation costs 10 and what is selected below its
payload's objects, a count at the root 10. An interface or union costs what its dearest type does. The actual cost is
the same with the number of entries that came back. Points:
https://shopify.dev/docs/api/usage/limits#graphql-admin-api-rate-limits.
"""

import math
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from graphql import (
    DocumentNode,
    FieldNode,
    FragmentDefinitionNode,
    FragmentSpreadNode,
    GraphQLNamedType,
    GraphQLSchema,
    InlineFragmentNode,
    OperationDefinitionNode,
    OperationType,
    SelectionSetNode,
    get_named_type,
    is_composite_type,
    type_from_ast,
    value_from_ast_untyped,
)

MUTATION_COST = 10
ROOT_COUNT_COST = 10
SINGLE_LIMIT = 1000
"""Points of one request at most."""
_FREE = frozenset(("LocationAddress", "MoneyBag", "MoneyV2"))
_PRODUCT_SET_COSTS = {"variants": 0.2, "metafields": 0.4, "files": 1.9}

Variables = Mapping[str, Any]
Cost = Callable[[Variables, Any, bool], int]
"""Cost of one selection, from variables, the data at its place, and whether the actual cost is asked for."""


def steps(count: int) -> int:
    """Returns how many times a connection of `count` entries pays for an entry."""
    return 0 if count <= 0 else max(1, math.floor(2 * math.log(count)))


class CostPlan:
    """The cost of one operation.

    Args:
        schema: Schema of the API.
        document: A valid document.
        operation: The operation that is carried out.
    """

    def __init__(self, schema: GraphQLSchema, document: DocumentNode, operation: OperationDefinitionNode):
        self._schema = schema
        self._fragments = {n.name.value: n for n in document.definitions if isinstance(n, FragmentDefinitionNode)}
        self._defaults = {
            node.variable.name.value: value_from_ast_untyped(node.default_value)
            for node in operation.variable_definitions or ()
            if node.default_value is not None
        }
        if operation.operation is OperationType.MUTATION:
            self._cost = _sum([self._mutation(field) for field in self._fields(operation.selection_set)])
        else:
            self._cost = self._selections(schema.query_type, operation.selection_set)

    def requested(self, variables: Variables) -> int:
        """Returns the points that the request is admitted on."""
        return self._cost({**self._defaults, **variables}, None, False)

    def actual(self, variables: Variables, data: Any) -> int:
        """Returns the points that the answer took, never more than were requested."""
        variables = {**self._defaults, **variables}
        return min(self._cost(variables, data or {}, True), self._cost(variables, None, False))

    def _fields(self, selection_set: SelectionSetNode | None) -> Iterator[FieldNode]:
        """Yields the fields of a payload or connection, fragments opened."""
        for node in selection_set.selections if selection_set else ():
            if isinstance(node, FieldNode):
                yield node
            else:
                yield from self._fields(self._inner(node).selection_set)

    def _inner(self, node: Any) -> InlineFragmentNode | FragmentDefinitionNode:
        return self._fragments[node.name.value] if isinstance(node, FragmentSpreadNode) else node

    def _selections(self, type_: GraphQLNamedType, selection_set: SelectionSetNode | None) -> Cost:
        own: list[Cost] = []
        branches: dict[str, list[Cost]] = {}
        for node in selection_set.selections if selection_set else ():
            if isinstance(node, FieldNode):
                if not node.name.value.startswith("__"):
                    own.append(_if_included(node, self._field(type_, node)))
                continue
            inner = self._inner(node)
            condition = type_from_ast(self._schema, inner.type_condition) if inner.type_condition else type_
            cost = _if_included(node, self._selections(condition, inner.selection_set))
            (own if condition.name == type_.name else branches.setdefault(condition.name, [])).append(cost)
        total = _sum(own)
        if not any(cost is not _nothing for costs in branches.values() for cost in costs):
            return total
        sums = [_sum(costs) for costs in branches.values()]
        return lambda v, data, actual: total(v, data, actual) + max(cost(v, data, actual) for cost in sums)

    def _field(self, parent: GraphQLNamedType, node: FieldNode) -> Cost:
        named = get_named_type(parent.fields[node.name.value].type)
        if not is_composite_type(named):
            return _nothing
        key = (node.alias or node.name).value
        if named.name.endswith("Connection"):
            return self._connection(named, node, key)
        if named.name == "Count" and parent is self._schema.query_type:
            return lambda v, data, actual: ROOT_COUNT_COST
        own = 0 if named.name in _FREE else 1
        below = self._selections(named, node.selection_set)
        if below is _nothing:
            return lambda v, data, actual: own
        return lambda v, data, actual: own + _dearest(below, v, data, key, actual)

    def _connection(self, named: GraphQLNamedType, node: FieldNode, key: str) -> Cost:
        sizes = [argument.value for argument in node.arguments or () if argument.name.value in ("first", "last")]
        item = get_named_type(named.fields["nodes"].type)
        entries: list[tuple[Callable[[Any], list[Any]], Cost]] = []
        for field in self._fields(node.selection_set):
            alias = (field.alias or field.name).value
            if field.name.value == "nodes":
                entries.append((_nodes(alias), self._selections(item, field.selection_set)))
            elif field.name.value == "edges":
                inner = [f for f in self._fields(field.selection_set) if f.name.value == "node"]
                entries += [(_edges(alias, f), self._selections(item, f.selection_set)) for f in inner]
                if not inner:
                    entries.append((_nodes(alias), _nothing))

        def cost(variables: Variables, data: Any, actual: bool) -> int:
            if not actual:
                asked = [value_from_ast_untyped(size, dict(variables)) for size in sizes]
                count = next((size for size in asked if isinstance(size, int) and size), 0)
                return 2 + steps(count) * (1 + sum(below(variables, None, False) for _, below in entries))
            found = (data or {}).get(key) if isinstance(data, Mapping) else None
            lists = [(take(found or {}), below) for take, below in entries]
            each = sum(
                max((below(variables, entry, True) for entry in items), default=0) if below is not _nothing else 0
                for items, below in lists
            )
            return 2 + steps(max((len(items) for items, _ in lists), default=0)) * (1 + each)

        return cost

    def _mutation(self, node: FieldNode) -> Cost:
        payload = get_named_type(self._schema.mutation_type.fields[node.name.value].type)
        key = (node.alias or node.name).value
        below: list[Cost] = []
        for field in self._fields(node.selection_set):
            definition = payload.fields.get(field.name.value)
            named = get_named_type(definition.type) if definition else None
            if named is None or not is_composite_type(named):
                continue
            if named.name.endswith("Connection"):
                below.append(self._field(payload, field))
            else:
                below.append(_below((field.alias or field.name).value, self._selections(named, field.selection_set)))
        inside = _sum(below)
        extra = _product_set_extra(node) if node.name.value == "productSet" else lambda variables: 0.0

        def cost(variables: Variables, data: Any, actual: bool) -> int:
            return MUTATION_COST + int(extra(variables)) + _dearest(inside, variables, data, key, actual)

        return _if_included(node, cost)


def _nothing(_variables: Variables, _data: Any, _actual: bool) -> int:
    return 0


def _sum(costs: list[Cost]) -> Cost:
    costs = [cost for cost in costs if cost is not _nothing]
    if len(costs) < 2:
        return costs[0] if costs else _nothing
    return lambda v, data, actual: sum(cost(v, data, actual) for cost in costs)


def _dearest(below: Cost, variables: Variables, data: Any, key: str, actual: bool) -> int:
    """Cost of the selections on the object under a key, or on the dearest of a list; none where it is null."""
    if not actual:
        return below(variables, None, False)
    found = data.get(key) if isinstance(data, Mapping) else None
    if isinstance(found, list):
        return max((below(variables, entry, True) for entry in found if entry is not None), default=0)
    return 0 if found is None else below(variables, found, True)


def _below(key: str, inside: Cost) -> Cost:
    if inside is _nothing:
        return _nothing
    return lambda v, data, actual: _dearest(inside, v, data, key, actual)


def _nodes(key: str) -> Callable[[Any], list[Any]]:
    return lambda connection: connection.get(key) or []


def _edges(key: str, node: FieldNode) -> Callable[[Any], list[Any]]:
    inner = (node.alias or node.name).value
    return lambda connection: [edge.get(inner) for edge in connection.get(key) or []]


def _if_included(node: Any, cost: Cost) -> Cost:
    """Leaves out what @skip or @include leave out."""
    conditions = [
        (directive.name.value == "include", directive.arguments[0].value)
        for directive in node.directives or ()
        if directive.name.value in ("include", "skip")
    ]
    if not conditions or cost is _nothing:
        return cost

    def included(variables: Variables) -> bool:
        return all(bool(value_from_ast_untyped(value, dict(variables))) is wanted for wanted, value in conditions)

    return lambda v, data, actual: cost(v, data, actual) if included(v) else 0


def _product_set_extra(node: FieldNode) -> Callable[[Variables], float]:
    """The documented surcharge of productSet for its variants, metafields and files."""
    given = next((argument.value for argument in node.arguments or () if argument.name.value == "input"), None)

    def extra(variables: Variables) -> float:
        value = value_from_ast_untyped(given, dict(variables)) if given is not None else None
        if not isinstance(value, Mapping):
            return 0.0
        return sum(each * len(value.get(key) or ()) for key, each in _PRODUCT_SET_COSTS.items())

    return extra
