"""Metafields of products and collections; they are stored inside their owner."""

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from graphql import GraphQLResolveInfo

from scripts.shopify.dev_store.catalogue_rules import UserErrors, child_gid, given, owner_gid, timestamp, user_error
from scripts.shopify.dev_store.metaobject_values import check_value
from scripts.shopify.dev_store.pagination import page
from scripts.shopify.dev_store.registry import Context, node_loader, resolver
from scripts.shopify.dev_store.state import Document
from scripts.shopify.dev_store.strict_json import read_json

MAX_SET = 25
"""Metafields that one metafieldsSet takes."""
_NAME = re.compile(r"[A-Za-z0-9_-]+")
_JSON_TYPES = ("json", "number_integer", "number_decimal", "boolean")


def checked_metafields(
    inputs: Sequence[Mapping[str, Any]],
    owner: str,
    present: Iterable[Mapping[str, Any]],
    now: str,
    field: Sequence[str],
    code: str | None = None,
) -> list[Document]:
    """Returns the metafields that an owner has when an input is carried out, in the order of the input.

    Those that are there under the same namespace and key keep their id and type, and their times where nothing changes.

    Args:
        inputs: Entries of `MetafieldInput` or `MetafieldsSetInput`.
        owner: GID of the owner.
        present: What it has now.
        now: Time of the change.
        field: Path of the list in the input.
        code: Code of the user errors.

    Raises:
        UserErrors: Namespace, key, type or value is missing or impossible.
    """
    before = {(each["namespace"], each["key"]): each for each in present}
    used = [each["id"] for each in before.values()]
    after: dict[tuple[str, str], Document] = {}
    for index, entry in enumerate(map(given, inputs)):
        path = [*field, str(index)]
        namespace, key = _checked_name(entry, path, code)
        old = before.get((namespace, key), {})
        kind, value = entry.get("type", old.get("type")), entry.get("value", old.get("value"))
        if not kind:
            raise UserErrors(user_error([*path, "type"], "Type can't be blank", code))
        if value is None or value == "":
            raise UserErrors(user_error([*path, "value"], "Value can't be blank", code))
        _check_value(kind, value, path, code)
        if old and (old["type"], old["value"]) == (kind, value):
            after[namespace, key] = dict(old)
            continue
        id = old.get("id") or child_gid("Metafield", owner, used)
        used.append(id)
        made = {"id": id, "namespace": namespace, "key": key, "type": kind, "value": value}
        after[namespace, key] = {**made, "createdAt": old.get("createdAt", now), "updatedAt": now}
    return list(after.values())


def _checked_name(entry: Mapping[str, Any], path: list[str], code: str | None) -> tuple[str, str]:
    for name, shortest, longest in (("namespace", 3, 255), ("key", 2, 64)):
        text = entry.get(name, "")
        label, where = name.capitalize(), [*path, name]
        if not text:
            raise UserErrors(user_error(where, f"{label} can't be blank", code))
        if not shortest <= len(text) <= longest:
            wrong = f"short (minimum is {shortest}" if len(text) < shortest else f"long (maximum is {longest}"
            raise UserErrors(user_error(where, f"{label} is too {wrong} characters)", code))
        if not _NAME.fullmatch(text):
            raise UserErrors(user_error(where, f"{label} contains one or more invalid characters.", code))
    return entry["namespace"], entry["key"]


def _check_value(kind: str, value: str, path: list[str], code: str | None) -> None:
    if kind not in _JSON_TYPES and not kind.startswith("list."):
        return
    try:
        if kind.startswith("list."):
            if not isinstance(read_json(value), list):
                raise ValueError(value)
        else:
            check_value(value, {"type": kind, "validations": ()}, lambda gid: True)
    except ValueError:
        raise UserErrors(user_error([*path, "value"], f"Value must be of type {kind}.", code)) from None


def json_value(metafield: Mapping[str, Any]) -> Any:
    """Returns the value as JSON; texts stay texts."""
    kind = metafield["type"]
    return json.loads(metafield["value"]) if kind in _JSON_TYPES or kind.startswith("list.") else metafield["value"]


@resolver("Metafield", "jsonValue")
def _json_value(metafield: Document, info: GraphQLResolveInfo) -> Any:
    return json_value(metafield)


@resolver("Product", "metafield")
@resolver("Collection", "metafield")
def _metafield(owner: Document, info: GraphQLResolveInfo, key: str, namespace: str | None = None) -> Document | None:
    """Without a namespace the key may carry it, as in `slirec.made_by`."""
    if namespace is None:
        namespace, _, key = key.rpartition(".")
    return next((m for m in owner.get("metafields", ()) if (m["namespace"], m["key"]) == (namespace, key)), None)


@resolver("Product", "metafields")
@resolver("Collection", "metafields")
def _metafields(owner: Document, info: GraphQLResolveInfo, **arguments: Any) -> dict[str, Any]:
    namespace, keys = arguments.get("namespace"), arguments.get("keys")
    found = [
        each
        for each in owner.get("metafields", ())
        if namespace in (None, each["namespace"]) and (keys is None or f"{each['namespace']}.{each['key']}" in keys)
    ]
    return page(info, found, arguments)


@node_loader("Metafield")
def _load_metafield(context: Context, id: str) -> Document | None:
    owner = context.state.get(owner_gid(id)) or {}
    return next((each for each in owner.get("metafields", ()) if each["id"] == id), None)


@resolver("Mutation", "metafieldsSet", scope="write_products")
def _metafields_set(_: None, info: GraphQLResolveInfo, metafields: list[dict[str, Any]]) -> dict[str, Any]:
    context: Context = info.context
    if len(metafields) > MAX_SET:
        message = f"Exceeded the maximum metafields input limit of {MAX_SET}."
        return {"metafields": None, "userErrors": [user_error(["metafields"], message, "LESS_THAN_OR_EQUAL_TO")]}
    owners: dict[str, Document] = {}
    written = []
    try:
        for index, entry in enumerate(metafields):
            owner = owners.get(entry["ownerId"]) or context.state.get(entry["ownerId"])
            if owner is None or not owner["id"].startswith(("gid://shopify/Product/", "gid://shopify/Collection/")):
                raise UserErrors(user_error(["metafields", index, "ownerId"], "Owner does not exist.", "INVALID"))
            written.append(_set_one(context, owners.setdefault(owner["id"], owner), entry, index))
    except UserErrors as refused:
        return {"metafields": None, "userErrors": refused.errors}
    for owner in owners.values():
        context.state.put(owner)
    return {"metafields": written, "userErrors": []}


def _set_one(context: Context, owner: Document, entry: Mapping[str, Any], index: int) -> Document:
    present, now = owner.setdefault("metafields", []), timestamp(context)
    try:
        (made,) = checked_metafields([entry], owner["id"], present, now, ["metafields"], "INVALID_VALUE")
    except UserErrors as refused:
        for error in refused.errors:
            error["field"][1] = str(index)
        raise
    same = [i for i, each in enumerate(present) if each["id"] == made["id"]]
    if same and present[same[0]] == made:
        return made
    if same:
        present[same[0]] = made
    else:
        present.append(made)
    owner["updatedAt"] = now
    return made
