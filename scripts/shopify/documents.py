"""The GraphQL documents of `queries/`, one operation a file."""

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from graphql import DocumentNode, OperationDefinitionNode, OperationType, parse

QUERIES = Path(__file__).parent / "queries"


@dataclass(frozen=True)
class Document:
    """One operation of `queries/`.

    Attributes:
        name: File name without `.graphql`.
        tree: The parsed document.
        operation: Its one operation.
    """

    name: str
    tree: DocumentNode
    operation: OperationDefinitionNode

    @property
    def is_mutation(self) -> bool:
        """Whether it writes."""
        return self.operation.operation is OperationType.MUTATION


@lru_cache
def load(name: str) -> Document:
    """Returns the document queries/<name>.graphql.

    Raises:
        FileNotFoundError: There is none.
        ValueError: It holds no operation or several.
    """
    tree = parse((QUERIES / f"{name}.graphql").read_text(encoding="utf-8"))
    operations = [node for node in tree.definitions if isinstance(node, OperationDefinitionNode)]
    if len(operations) != 1:
        raise ValueError(f"queries/{name}.graphql should hold one operation. Received: {len(operations)}")
    return Document(name, tree, operations[0])
