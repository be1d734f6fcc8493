"""Where the modules of the local shop register what answers a field.

A resolver is a function `(source, info, **arguments)`: `source` is the parent document, `info.context` a `Context`, the
arguments are named as in the SDL. Fields without a resolver are looked up in the parent document. The type of a value
of an interface or union is its `__typename`, else the kind in its `id`.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from scripts.shopify.dev_store import DevStore
    from scripts.shopify.dev_store.state import State


F = TypeVar("F", bound=Callable[..., Any])


@dataclass(frozen=True, slots=True)
class Context:
    """What a resolver may use.

    Attributes:
        store: The shop.
        state: What it holds.
        scopes: Access scopes of the caller; a write scope implies its read scope, which is in here too.
        api: `admin` or `storefront`.
        now: The shop's clock, UNIX seconds.
    """

    store: "DevStore"
    state: "State"
    scopes: frozenset[str]
    api: str
    now: Callable[[], float]


@dataclass(frozen=True, slots=True)
class Resolver:
    """A registered function and the access scopes that its field asks for."""

    function: Callable[..., Any]
    scopes: tuple[str, ...]


RESOLVERS: dict[str, dict[tuple[str, str], Resolver]] = {"admin": {}, "storefront": {}}
"""Resolvers of each API by (type, field)."""
NODE_LOADERS: dict[str, Callable[[Context, str], dict[str, Any] | None]] = {}
"""Functions that load an object by its GID for `node`, by kind; any other kind is looked up in the state."""


def resolver(type_name: str, field: str, *, scope: str | tuple[str, ...] = (), api: str = "admin") -> Callable[[F], F]:
    """Registers the decorated function as the resolver of a field.

    Args:
        type_name: Type in the SDL; `QueryRoot` and `Mutation` are the roots.
        field: Its field.
        scope: Access scopes that the caller needs, all of them. They are checked before the function is called.
        api: `admin` or `storefront`.

    Raises:
        ValueError: The field has a resolver already.
    """

    def register(function: F) -> F:
        if (type_name, field) in RESOLVERS[api]:
            raise ValueError(f"{type_name}.{field} has two resolvers in the {api} API")
        RESOLVERS[api][type_name, field] = Resolver(function, (scope,) if isinstance(scope, str) else tuple(scope))
        return function

    return register


def node_loader(kind: str) -> Callable[[F], F]:
    """Registers the decorated function `(context, gid)` as what loads objects of a kind for the Admin API's `node`."""

    def register(function: F) -> F:
        NODE_LOADERS[kind] = function
        return function

    return register
