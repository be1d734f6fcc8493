"""Reads the documents of bulk operations, and rewrites a bulk query so that it can be carried out page by page."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from graphql import (
    DocumentNode,
    FieldNode,
    FragmentDefinitionNode,
    GraphQLSchema,
    InlineFragmentNode,
    Node,
    OperationDefinitionNode,
    SelectionNode,
    SelectionSetNode,
    get_named_type,
    is_composite_type,
    parse,
    print_ast,
)

PAGING = ("first", "last", "after", "before")


class Fragments:
    """Named fragments of a document, for walking its selections as if they were written out."""

    def __init__(self, document: DocumentNode):
        fragments = (node for node in document.definitions if isinstance(node, FragmentDefinitionNode))
        self.named = {node.name.value: node for node in fragments}

    def spread(
        self, schema: GraphQLSchema, owner: Any, selected: SelectionSetNode | None
    ) -> Iterator[tuple[Any, FieldNode]]:
        """Yields (type that has the field, field) of a selection set, fragments opened."""
        for selection in selected.selections if selected else ():
            if isinstance(selection, FieldNode):
                yield owner, selection
                continue
            inner = selection if isinstance(selection, InlineFragmentNode) else self.named[selection.name.value]
            condition = inner.type_condition
            inner_owner = schema.get_type(condition.name.value) if condition else owner
            yield from self.spread(schema, inner_owner, inner.selection_set)

    def below(self, schema: GraphQLSchema, owner: Any, field: FieldNode, name: str) -> list[FieldNode]:
        """Returns the fields called `name` right below a field."""
        type_ = get_named_type(owner.fields[field.name.value].type)
        return [inner for _, inner in self.spread(schema, type_, field.selection_set) if inner.name.value == name]

    def nodes(self, schema: GraphQLSchema, owner: Any, connection: FieldNode) -> list[FieldNode]:
        """Returns the `node` fields of a connection's `edges`."""
        type_ = get_named_type(owner.fields[connection.name.value].type)
        edge = get_named_type(type_.fields["edges"].type)
        edges = self.below(schema, owner, connection, "edges")
        inner = (field for each in edges for _, field in self.spread(schema, edge, each.selection_set))
        return [field for field in inner if field.name.value == "node"]


def is_connection(type_: Any) -> bool:
    """Whether a type is a connection."""
    return get_named_type(type_).name.endswith("Connection")


def item_type(connection_type: Any) -> Any:
    """Returns the type of a connection's nodes."""
    return get_named_type(get_named_type(connection_type).fields["nodes"].type)


def the_operation(document: DocumentNode) -> OperationDefinitionNode:
    """Returns the first operation of a document."""
    return next(node for node in document.definitions if isinstance(node, OperationDefinitionNode))


@dataclass
class Shape:
    """Where the connections are in the data of an object, by the names in the answer.

    Attributes:
        connections: Shapes of the nodes of its connections.
        objects: Shapes of its objects that have connections somewhere.
    """

    connections: dict[str, "Shape"] = field(default_factory=dict)
    objects: dict[str, "Shape"] = field(default_factory=dict)

    def __bool__(self) -> bool:
        return bool(self.connections or self.objects)


@dataclass(frozen=True)
class Outer:
    """An outermost connection, which is read page by page.

    Attributes:
        path: Names from the data down to it.
        shape: Of its nodes.
        number: Its page is asked for by the variables `$first<number>` and `$after<number>`.
    """

    path: tuple[str, ...]
    shape: Shape
    number: int


@dataclass(frozen=True)
class QueryPlan:
    """A bulk query, rewritten.

    Attributes:
        document: Takes the size of a page and where it starts as variables; nested connections are asked for whole.
        outer: Its outermost connections.
    """

    document: DocumentNode
    outer: tuple[Outer, ...]

    def variables(self, outer: Outer, size: int, after: str | None) -> dict[str, Any]:
        """Returns the variables that ask for one page of one outermost connection, and nothing of the others."""
        others = {f"first{each.number}": 0 for each in self.outer}
        return {**others, f"first{outer.number}": size, f"after{outer.number}": after}


def plan_query(schema: GraphQLSchema, text: str) -> QueryPlan:
    """Rewrites a bulk query that passed the rules of `bulk_rules`.

    Args:
        schema: Of the Admin API.
        text: The query.
    """
    document = parse(text)
    rewriter = _Rewriter(schema, Fragments(document))
    selected, _ = rewriter.rewrite(schema.query_type, the_operation(document).selection_set.selections, (), True)
    declared = ", ".join(f"$first{each.number}: Int, $after{each.number}: String" for each in rewriter.outer)
    return QueryPlan(parse(f"query ({declared}) {selected}"), tuple(rewriter.outer))


class _Rewriter:
    """Opens fragments, takes the paging arguments away, and makes the outermost connections pageable."""

    def __init__(self, schema: GraphQLSchema, fragments: Fragments):
        self._schema, self._fragments = schema, fragments
        self.outer: list[Outer] = []

    def rewrite(
        self, owner: Any, selections: Iterable[SelectionNode], path: tuple[str, ...], outermost: bool
    ) -> tuple[str, Shape]:
        """Returns a selection set as text, and where its connections are."""
        rewritten, shape = [], Shape()
        for selection in selections:
            if isinstance(selection, FieldNode):
                rewritten.append(self._field(owner, selection, path, outermost, shape))
                continue
            inline = isinstance(selection, InlineFragmentNode)
            inner = selection if inline else self._fragments.named[selection.name.value]
            condition = inner.type_condition
            type_ = self._schema.get_type(condition.name.value) if condition else owner
            selected, inner_shape = self.rewrite(type_, inner.selection_set.selections, path, outermost)
            on = f"on {condition.name.value} " if condition else ""
            rewritten.append(f"... {on}{_texts(selection.directives)} {selected}")
            shape.connections.update(inner_shape.connections)
            shape.objects.update(inner_shape.objects)
        return f"{{ {' '.join(rewritten)} }}", shape

    def _field(self, owner: Any, selected: FieldNode, path: tuple[str, ...], outermost: bool, shape: Shape) -> str:
        name = selected.name.value
        key = selected.alias.value if selected.alias else name
        type_ = None if name.startswith("__") else get_named_type(owner.fields[name].type)
        if type_ is None or not is_composite_type(type_):
            return print_ast(selected)
        if not is_connection(type_):
            inner, below = self.rewrite(type_, selected.selection_set.selections, (*path, key), outermost)
            if below:
                shape.objects[key] = below
            return f"{key}: {name}{_arguments(selected.arguments)} {_texts(selected.directives)} {inner}"
        nodes = self._fragments.nodes(self._schema, owner, selected)
        inner = [each for found in nodes for each in found.selection_set.selections]
        node_selection, below = self.rewrite(item_type(type_), inner, (), False)
        shape.connections[key] = below
        kept = [argument for argument in selected.arguments or () if argument.name.value not in PAGING]
        own, paging = [], ""
        if outermost:
            number = len(self.outer)
            self.outer.append(Outer((*path, key), below, number))
            own, paging = [f"first: $first{number}", f"after: $after{number}"], " pageInfo { hasNextPage endCursor }"
        arguments = _arguments(kept, own)
        content = f"{{ edges {{ node {node_selection} }}{paging} }}"
        return f"{key}: {name}{arguments} {_texts(selected.directives)} {content}"


def _texts(nodes: Iterable[Node] | None) -> str:
    return " ".join(print_ast(node) for node in nodes or ())


def _arguments(nodes: Iterable[Node] | None, more: Iterable[str] = ()) -> str:
    texts = [*(print_ast(node) for node in nodes or ()), *more]
    return f"({', '.join(texts)})" if texts else ""


def objects_of(node: Mapping[str, Any], shape: Shape, parent: str | None = None) -> Iterator[dict[str, Any]]:
    """Yields a node and what is in its connections, each without its own, and all but the first with `__parentId`.

    Args:
        node: Data of the node.
        shape: Where its connections are.
        parent: Id of the node that it is nested in.

    Yields:
        The node first, then its children one after another, each followed by its own.
    """
    own = dict(node)
    children: list[tuple[Mapping[str, Any], Shape]] = []
    _take_connections(own, shape, children)
    if parent is not None:
        own["__parentId"] = parent
    yield own
    for child, child_shape in children:
        yield from objects_of(child, child_shape, node["id"])


def _take_connections(own: dict[str, Any], shape: Shape, children: list[tuple[Mapping[str, Any], Shape]]) -> None:
    for key, below in shape.connections.items():
        connection = own.pop(key, None)
        children += [(edge["node"], below) for edge in (connection or {}).get("edges", ()) if edge["node"] is not None]
    for key, below in shape.objects.items():
        if own.get(key) is not None:
            own[key] = dict(own[key])
            _take_connections(own[key], below, children)
