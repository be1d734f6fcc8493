"""Metaobjects: made or changed by their handle, read, and deleted one by one or all of a type.

https://shopify.dev/docs/api/admin-graphql/latest/mutations/metaobjectUpsert
"""

import json
import re
from collections.abc import Iterable, Iterator
from typing import Any

from scripts.shopify.dev_store.bulk_worker import worker_of
from scripts.shopify.dev_store.metaobject_definitions import (
    definition_of,
    entries_of,
    no_definition,
    resolved_type,
    user_error,
)
from scripts.shopify.dev_store.metaobject_values import (
    REFERENCES,
    ValueProblem,
    as_json,
    as_text,
    check_value,
    is_blank,
)
from scripts.shopify.dev_store.pagination import Listed, Scanned, page
from scripts.shopify.dev_store.registry import Context, resolver
from scripts.shopify.dev_store.search import Field, compile_search
from scripts.shopify.dev_store.state import State, split_gid
from scripts.shopify.dev_store.times import utc_text

MAX_ENTRIES = 1_000_000
"""Metaobjects of one type at most."""
_HANDLE = re.compile(r"[A-Za-z0-9_-]{1,255}")
_SEARCHED = {
    "display_name": Field(lambda entry: entry["displayName"], "text"),
    "handle": Field(lambda entry: entry["handle"]),
    "id": Field(lambda entry: entry["id"], "number"),
    "updated_at": Field(lambda entry: entry["updatedAt"], "time"),
}
_SORTED = {"updated_at": "updatedAt", "display_name": "displayName", "type": "type"}

Json = dict[str, Any]


@resolver("Mutation", "metaobjectUpsert", scope="write_metaobjects")
def upsert(source: Any, info: Any, handle: Json, metaobject: Json | None = None, values: Json | None = None) -> Json:
    """Makes the metaobject under a handle, or changes it; nothing is stored where anything is wrong."""
    context: Context = info.context
    state, type_name = context.state, resolved_type(handle["type"])
    definition = definition_of(state, type_name)
    if definition is None:
        return _refused(no_definition(["handle", "type"], handle["type"]))
    if not _HANDLE.fullmatch(handle["handle"]):
        message = "Handle should have 1 to 255 alphanumeric characters, underscores, and dashes"
        return _refused(user_error(["handle", "handle"], message, "INVALID"))
    key = f"{type_name}/{handle['handle']}"
    found = state.find("Metaobject", key)
    if values is not None and not isinstance(values, dict):
        return _refused(user_error(["values"], "Values must be an object", "INVALID"))
    if values is not None:
        given = [(["values", name], name, as_text(value)) for name, value in values.items() if value is not None]
    else:
        inputs = enumerate((metaobject or {}).get("fields") or [])
        given = [(["metaobject", "fields", str(index)], each["key"], each["value"]) for index, each in inputs]
    old = {each["key"]: each["value"] for each in found["fields"]} if found and values is None else {}
    new, errors = _checked(state, definition, given, old)
    if errors:
        return _refused(*errors)
    renamed = (metaobject or {}).get("handle") or handle["handle"]
    if renamed != handle["handle"] and state.find("Metaobject", f"{type_name}/{renamed}"):
        return _refused(user_error(["metaobject", "handle"], "Handle has already been taken", "TAKEN"))
    now = utc_text(context.now())
    fields = [
        {"key": each["key"], "type": each["type"], "value": new[each["key"]]}
        for each in definition["fieldDefinitions"]
        if each["key"] in new
    ]
    shown = new.get(definition["displayNameKey"] or "", "")
    document = {"type": type_name, "handle": renamed, "displayName": shown or renamed, "fields": fields}
    if found is not None:
        document = {**found, **document, "updatedAt": now}
        state.put(document, f"{type_name}/{renamed}")
        return {"metaobject": document, "userErrors": []}
    if definition["metaobjectsCount"] >= MAX_ENTRIES:
        message = f"Maximum number of entries ({MAX_ENTRIES}) exceeded."
        return _refused(user_error(None, message, "MAX_OBJECTS_EXCEEDED"))
    document |= {"createdAt": now, "updatedAt": now}
    state.insert("Metaobject", document, f"{type_name}/{renamed}")
    _count(state, definition, 1)
    return {"metaobject": document, "userErrors": []}


def _refused(*errors: Json) -> Json:
    return {"metaobject": None, "userErrors": list(errors)}


def _checked(
    state: State, definition: Json, given: Iterable[tuple[list[str], str, str]], old: dict[str, str]
) -> tuple[dict[str, str], list[Json]]:
    """Returns the values by key with what is given put over the old ones, and what is wrong with it."""
    defined = {each["key"]: each for each in definition["fieldDefinitions"]}
    values, errors, seen = dict(old), [], set()
    for path, key, value in given:
        if key not in defined:
            errors.append(user_error(path, f'Field definition "{key}" does not exist', "UNDEFINED_OBJECT_FIELD", key))
        elif key in seen:
            errors.append(user_error(path, f'Field "{key}" duplicates other inputs', "DUPLICATE_FIELD_INPUT", key))
        elif is_blank(value):
            values.pop(key, None)
        else:
            try:
                check_value(value, defined[key], state.exists)
            except ValueProblem as problem:
                errors.append(user_error(path, str(problem), "INVALID_VALUE", key, problem.element))
            values[key] = value
        seen.add(key)
    for key, each in defined.items():
        if each["required"] and key not in values:
            message = f"{each['name']} can't be blank"
            errors.append(user_error(["metaobject"], message, "OBJECT_FIELD_REQUIRED", key))
    return values, errors


def _count(state: State, definition: Json, change: int) -> None:
    definition["metaobjectsCount"] += change
    state.put(definition)


def _delete(state: State, entry: Json) -> None:
    state.delete(entry["id"])
    if definition := definition_of(state, entry["type"]):
        _count(state, definition, -1)


@resolver("Mutation", "metaobjectDelete", scope="write_metaobjects")
def delete(source: Any, info: Any, id: str) -> Json:
    """Deletes one metaobject."""
    found = _metaobject(info.context.state, id)
    if found is None:
        return {"deletedId": None, "userErrors": [user_error(["id"], "Record not found", "RECORD_NOT_FOUND")]}
    _delete(info.context.state, found)
    return {"deletedId": id, "userErrors": []}


@resolver("Mutation", "metaobjectBulkDelete", scope="write_metaobjects")
def bulk_delete(source: Any, info: Any, where: Json) -> Json:
    """Starts a job that deletes the metaobjects of a type, or those with the given ids."""
    context: Context = info.context
    state, type_name, ids = context.state, where.get("type"), where.get("ids")
    if (type_name is None) == (ids is None):
        error = user_error(["where"], "Exactly one of type and ids must be given", "INVALID")
        return {"job": None, "userErrors": [error]}
    if type_name is not None and definition_of(state, type_name) is None:
        return {"job": None, "userErrors": [no_definition(["where", "type"], type_name, "RECORD_NOT_FOUND")]}
    last = next((split_gid(each["id"])[1] for each in state.scan("Metaobject", limit=1, reverse=True)), 0)
    wanted = {"ids": ids} if type_name is None else {"type": resolved_type(type_name), "upTo": last}
    worker = worker_of(context.store)
    job = state.insert("Job", {"done": False, "task": "delete metaobjects", **wanted})
    worker.submit(job["id"], delete_in_batches(state, job["id"]))
    return {"job": job, "userErrors": []}


def delete_in_batches(state: State, job_id: str, size: int = 100) -> Iterator[None]:
    """Carries out a job of `metaobjectBulkDelete`, one batch a step; one that was cut short can be begun again."""
    job = state.get(job_id) or {"ids": []}
    if "type" in job:
        doomed = (entry["id"] for entry in entries_of(state, job["type"], job["upTo"]))
    else:
        doomed = iter(job["ids"])
    left = True
    while left:
        with state.transaction():
            for _ in range(size):
                gid = next(doomed, None)
                left = gid is not None
                if not left:
                    break
                if found := _metaobject(state, gid):
                    _delete(state, found)
            if not left and (job := state.get(job_id)):
                state.put({**job, "done": True})
        yield


def _metaobject(state: State, gid: str) -> Json | None:
    return state.get(gid) if "/Metaobject/" in gid else None


@resolver("QueryRoot", "metaobject", scope="read_metaobjects")
def metaobject_by_id(source: Any, info: Any, id: str) -> Json | None:
    """Returns a metaobject by its id."""
    return _metaobject(info.context.state, id)


@resolver("QueryRoot", "metaobjectByHandle", scope="read_metaobjects")
def metaobject_by_handle(source: Any, info: Any, handle: Json) -> Json | None:
    """Returns a metaobject by type and handle."""
    return info.context.state.find("Metaobject", f"{resolved_type(handle['type'])}/{handle['handle']}")


@resolver("QueryRoot", "metaobjects", scope="read_metaobjects")
def metaobjects(
    source: Any, info: Any, type: str, query: str | None = None, sortKey: str | None = None, **arguments: Any
) -> Json:
    """Returns a page of the metaobjects of a type."""
    state, type_name = info.context.state, resolved_type(type)
    definition = definition_of(state, type_name) or {"fieldDefinitions": []}
    own = {f"fields.{each['key']}": Field(_reader(each["key"])) for each in definition["fieldDefinitions"]}
    matches = compile_search(query, {**_SEARCHED, **own}, ("display_name",))
    if sortKey in (None, "id"):
        chosen = Scanned(state, "Metaobject", lambda entry: entry["type"] == type_name and matches(entry))
        return page(info, chosen, arguments)
    sort_field = _SORTED.get(sortKey, "updatedAt")
    found = [entry for entry in entries_of(state, type_name) if matches(entry)]
    return page(info, Listed(found, key=lambda entry: entry[sort_field]), arguments)


def _reader(key: str) -> Any:
    return lambda entry: next((each["value"] for each in entry["fields"] if each["key"] == key), None)


@resolver("Metaobject", "definition", scope="read_metaobject_definitions")
def definition(source: Json, info: Any) -> Json | None:
    """Returns the definition of a metaobject."""
    return definition_of(info.context.state, source["type"])


@resolver("Metaobject", "fields")
def fields(source: Json, info: Any) -> list[Json]:
    """Returns all fields that the definition has, with null where a metaobject has no value."""
    known = definition_of(info.context.state, source["type"]) or {"fieldDefinitions": []}
    values = {each["key"]: each["value"] for each in source["fields"]}
    return [
        {"key": each["key"], "type": each["type"], "value": values.get(each["key"]), "definition": each}
        for each in known["fieldDefinitions"]
    ]


@resolver("Metaobject", "field")
def one_field(source: Json, info: Any, key: str) -> Json | None:
    """Returns one field; null if the definition has none of this key."""
    return next((each for each in fields(source, info) if each["key"] == key), None)


@resolver("Metaobject", "values")
def values_of(source: Json, info: Any) -> Json:
    """Returns all values by key."""
    return {each["key"]: as_json(each["type"], each["value"]) for each in fields(source, info)}


@resolver("MetaobjectField", "jsonValue")
def json_value(source: Json, info: Any) -> Any:
    """Returns the value of a field as JSON."""
    return as_json(source["type"], source["value"])


@resolver("MetaobjectField", "reference")
def reference(source: Json, info: Any) -> Json | None:
    """Returns what a field refers to; null if it is no single reference, or that is gone."""
    is_one = source["type"] in REFERENCES and source["value"] is not None
    return info.context.state.get(source["value"]) if is_one else None


@resolver("MetaobjectField", "references")
def references(source: Json, info: Any, **arguments: Any) -> Json | None:
    """Returns a page of what a list field refers to, without what is gone."""
    if source["type"].removeprefix("list.") not in REFERENCES or not source["type"].startswith("list."):
        return None
    found = (info.context.state.get(gid) for gid in json.loads(source["value"] or "[]"))
    return page(info, Listed([each for each in found if each is not None]), arguments)
