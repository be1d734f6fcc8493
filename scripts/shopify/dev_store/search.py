"""Shopify's search syntax, the part that catalogue and orders need: `tag:x status:active updated_at:>='2026-01-01'`.

Terms side by side must all hold; `OR`, `AND`, `NOT`, a leading `-` and parentheses combine them; a comma separates
alternatives; a trailing `*` matches a beginning. As at Shopify, a filter that does not exist, or whose value makes no
sense, is **ignored**: a mistyped filter finds everything. Shopify warns in `extensions.search`, this shop in its log.
https://shopify.dev/docs/api/usage/search-syntax
"""

import logging
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from scripts.shopify.dev_store.times import parse_time

Document = Mapping[str, Any]
Predicate = Callable[[Document], bool]
Kind = Literal["exact", "text", "time", "boolean", "number"]

log = logging.getLogger(__name__)

UNKNOWN_FIELD = "Invalid search field for this query."

_TOKEN = re.compile(
    r"""\s*(?: (?P<open>\() | (?P<close>\))
      | (?P<minus>-)? (?: (?P<field>[A-Za-z_][\w.]*) : (?P<compare>>=|<=|>|<)? )?
        (?: "(?P<double>[^"]*)"? | '(?P<single>[^']*)'? | (?P<bare>[^\s()]+) )? )""",
    re.VERBOSE,
)


@dataclass(frozen=True)
class Field:
    """What a filter looks at.

    Attributes:
        read: Returns the document's value, or a list of values of which one must match; None never matches.
        kind: `exact` compares whole texts and `text` words, both without regard to case; `time` ISO 8601; `number` also
            takes a GID.
    """

    read: Callable[[Document], Any]
    kind: Kind = "exact"


def compile_search(text: str | None, fields: Mapping[str, Field], default: Iterable[str] = ()) -> Predicate:
    """Understands a search query, as far as it can be; the filters that are ignored are logged.

    Args:
        text: The query; None or blank finds everything.
        fields: The filters there are, by name.
        default: Names of the filters that a word without a filter is looked for in.

    Returns:
        Says whether a document is found.
    """
    parser = _Parser(text or "", fields, tuple(default))
    matches = parser.alternatives()
    while parser.kind:  # a closing parenthesis too many
        parser.advance()
        matches = _all_of([matches, parser.alternatives()])
    for name, reason in parser.ignored:
        log.warning("search %r: filter %s is ignored: %s", text, name, reason)
    return matches or (lambda document: True)


class _Parser:
    """Recursive descent; a rule returns None where nothing is left to ask for."""

    def __init__(self, text: str, fields: Mapping[str, Field], default: tuple[str, ...]):
        self._tokens = _TOKEN.finditer(text)
        self._fields, self._default = fields, default
        self.ignored: list[tuple[str, str]] = []
        self.advance()

    def advance(self) -> None:
        """Reads the next token: `kind` is open, close, AND, OR, NOT, term, or empty at the end."""
        match = next(self._tokens, None)
        self.token = match.groupdict() if match else {}
        if not any(self.token.values()):
            self.kind = ""
        elif self.token["open"] or self.token["close"]:
            self.kind = "open" if self.token["open"] else "close"
        elif not self.token["field"] and self.token["bare"] in ("AND", "OR", "NOT"):
            self.kind = self.token["bare"]
        else:
            self.kind = "term"

    def alternatives(self) -> Predicate | None:
        parts = [self._together()]
        while self.kind == "OR":
            self.advance()
            parts.append(self._together())
        return _any_of(parts)

    def _together(self) -> Predicate | None:
        parts: list[Predicate | None] = []
        while self.kind not in ("", "OR", "close"):
            if self.kind == "AND":
                self.advance()
                continue
            parts.append(self._one())
        return _all_of(parts)

    def _one(self) -> Predicate | None:
        if self.kind == "NOT":
            self.advance()
            return _negated(self._one()) if self.kind not in ("", "OR", "AND", "close") else None
        if self.kind == "open":
            self.advance()
            inner = self.alternatives()
            if self.kind == "close":
                self.advance()
            return inner
        token = self.token
        self.advance()
        if token["minus"] and self.kind == "open" and not (token["field"] or _value(token)):
            return _negated(self._one())  # -( ... )
        predicate = self._term(token)
        return _negated(predicate) if token["minus"] else predicate

    def _term(self, token: Mapping[str, Any]) -> Predicate | None:
        name, value, quoted = token["field"], _value(token), token["bare"] is None
        if name is None:
            return _any_of([_reading(self._fields[each], _words(value)) for each in self._default]) if value else None
        negated = name.endswith("_not") and name not in self._fields
        field = self._fields.get(name.removesuffix("_not") if negated else name)
        if field is None:
            return self._ignore(name, UNKNOWN_FIELD)
        if not quoted and ":" in value and field.kind == "time":
            # What Shopify makes of an unquoted time: 2026-01-01T09:45:00Z is 09 o'clock and a filter named 45.
            value, _, rest = value.partition(":")
            self._ignore(rest.partition(":")[0], UNKNOWN_FIELD)
        if value == "*":
            return lambda document: field.read(document) not in (None, "", [])
        values = [value] if quoted else [part for part in value.split(",") if part]
        try:
            predicate = _any_of([_reading(field, _test(field.kind, token["compare"] or "", part)) for part in values])
        except ValueError:
            return self._ignore(name, f"Input `{value}` is not an accepted value.")
        return _negated(predicate) if negated else predicate

    def _ignore(self, name: str, reason: str) -> None:
        self.ignored.append((name, reason))


def _value(token: Mapping[str, Any]) -> str:
    return next((token[name] for name in ("double", "single", "bare") if token[name] is not None), "")


def _all_of(parts: list[Predicate | None]) -> Predicate | None:
    known = [part for part in parts if part is not None]
    if len(known) < 2:
        return known[0] if known else None
    return lambda document: all(part(document) for part in known)


def _any_of(parts: list[Predicate | None]) -> Predicate | None:
    known = [part for part in parts if part is not None]
    if len(known) < 2:
        return known[0] if known else None
    return lambda document: any(part(document) for part in known)


def _negated(part: Predicate | None) -> Predicate | None:
    return None if part is None else lambda document: not part(document)


def _reading(field: Field, test: Callable[[Any], bool]) -> Predicate:
    def matches(document: Document) -> bool:
        found = field.read(document)
        values = found if isinstance(found, list) else [found]
        return any(test(value) for value in values if value is not None)

    return matches


def _test(kind: Kind, compare: str, text: str) -> Callable[[Any], bool]:
    """Returns what one value must pass; raises ValueError where the text is no value of that kind."""
    if kind == "boolean":
        wanted = {"true": True, "false": False}.get(text.lower())
        if wanted is None or compare:
            raise ValueError(text)
        return lambda value: value is wanted
    if kind == "text" and not compare:
        return _words(text)
    if kind == "time":
        return _compared(compare, parse_time(text), parse_time)
    if kind == "number":
        return _compared(compare, _number(text), _number)
    if text.endswith("*") and not compare:
        beginning = text[:-1].casefold()
        return lambda value: str(value).casefold().startswith(beginning)
    return _compared(compare, text.casefold(), lambda value: str(value).casefold())


def _compared(compare: str, wanted: Any, convert: Callable[[Any], Any]) -> Callable[[Any], bool]:
    return {
        "": lambda value: convert(value) == wanted,
        ">": lambda value: convert(value) > wanted,
        ">=": lambda value: convert(value) >= wanted,
        "<": lambda value: convert(value) < wanted,
        "<=": lambda value: convert(value) <= wanted,
    }[compare]


def _words(text: str) -> Callable[[Any], bool]:
    """Whether the words follow each other in the value; the last may be cut short by `*`."""
    words, open_end = re.findall(r"\w+", text.casefold()), text.endswith("*")

    def test(value: Any) -> bool:
        has = re.findall(r"\w+", str(value).casefold())
        for start in range(len(has) - len(words) + 1):
            part = has[start : start + len(words)]
            if part == words:
                return True
            if open_end and part[:-1] == words[:-1] and part[-1].startswith(words[-1]):
                return True
        return False

    return test


def _number(value: Any) -> float:
    return float(str(value).rsplit("/", 1)[-1])
