"""Definitions of metaobjects: made, read and deleted.

https://shopify.dev/docs/api/admin-graphql/latest/mutations/metaobjectDefinitionCreate
"""

import re
from collections.abc import Iterator
from typing import Any

from scripts.shopify.dev_store.metaobject_values import category_of, limit_problem
from scripts.shopify.dev_store.pagination import Scanned, page
from scripts.shopify.dev_store.registry import Context, resolver
from scripts.shopify.dev_store.state import State
from scripts.shopify.dev_store.times import utc_text

MAX_DEFINITIONS = 128
MAX_FIELDS = 40
_TYPE = re.compile(r"[A-Za-z0-9_-]+")
_KEY = re.compile(r"[A-Za-z0-9_-]{2,64}")
_RESERVED, _APP = "$app:", "app--1--"

Json = dict[str, Any]


def user_error(
    field: list[str] | None, message: str, code: str, key: str | None = None, index: int | None = None
) -> Json:
    """Returns one `MetaobjectUserError`."""
    return {"field": field, "message": message, "code": code, "elementKey": key, "elementIndex": index}


def no_definition(field: list[str], type_name: str, code: str = "UNDEFINED_OBJECT_TYPE") -> Json:
    """Returns what is said where a type has no definition."""
    return user_error(field, f'No metaobject definition exists for type "{type_name}"', code)


def resolved_type(type_name: str) -> str:
    """Returns the type that `$app:NAME` stands for; other types are themselves."""
    return _APP + type_name.removeprefix(_RESERVED) if type_name.startswith(_RESERVED) else type_name


def definition_of(state: State, type_name: str) -> Json | None:
    """Returns the stored definition of a type."""
    return state.find("MetaobjectDefinition", resolved_type(type_name))


def entries_of(state: State, type_name: str, up_to: int | None = None) -> Iterator[Json]:
    """Yields the metaobjects of a type, by number.

    Args:
        state: The store's state.
        type_name: Resolved type.
        up_to: Only numbers up to this one.
    """
    before = None if up_to is None else up_to + 1
    return (entry for entry in state.scan("Metaobject", before=before) if entry["type"] == type_name)


@resolver("Mutation", "metaobjectDefinitionCreate", scope="write_metaobject_definitions")
def create_definition(source: Any, info: Any, definition: Json) -> Json:
    """Makes a definition, or says why not."""
    context: Context = info.context
    if errors := _problems(context.state, definition):
        return {"metaobjectDefinition": None, "userErrors": errors}
    type_name, now = resolved_type(definition["type"]), utc_text(context.now())
    access = definition.get("access") or {}
    fields = [
        {
            "key": given["key"],
            "name": given.get("name") or _title(given["key"]),
            "description": given.get("description"),
            "required": bool(given.get("required")),
            "type": given["type"],
            "validations": given.get("validations") or [],
        }
        for given in definition.get("fieldDefinitions") or []
    ]
    own = {"admin": "PUBLIC_READ_WRITE" if not type_name.startswith(_APP) else access.get("admin") or "PRIVATE"}
    document = {
        "type": type_name,
        "name": definition.get("name") or _title(definition["type"].removeprefix(_RESERVED)),
        "description": definition.get("description"),
        "displayNameKey": definition.get("displayNameKey"),
        "access": {**own, "storefront": access.get("storefront") or "NONE"},
        "fieldDefinitions": fields,
        "metaobjectsCount": 0,
        "createdAt": now,
        "updatedAt": now,
    }
    return {
        "metaobjectDefinition": context.state.insert("MetaobjectDefinition", document, type_name),
        "userErrors": [],
    }


def _problems(state: State, given: Json) -> list[Json]:
    type_name, fields = given["type"], given.get("fieldDefinitions") or []
    path, bare = ["definition", "type"], type_name.removeprefix(_RESERVED)
    errors: list[Json] = []
    if not bare:
        errors.append(user_error(path, "Type can't be blank", "BLANK"))
    elif len(type_name) < 3:
        errors.append(user_error(path, "Type is too short (minimum is 3 characters)", "TOO_SHORT"))
    elif len(type_name) > 255:
        errors.append(user_error(path, "Type is too long (maximum is 255 characters)", "TOO_LONG"))
    elif not _TYPE.fullmatch(bare):
        message = "Type contains one or more invalid characters. Only alphanumeric characters, underscores, and "
        errors.append(user_error(path, f"{message}dashes are allowed.", "INVALID"))
    elif definition_of(state, type_name):
        errors.append(user_error(path, "Type has already been taken", "TAKEN"))
    if (given.get("access") or {}).get("admin") and not type_name.startswith(_RESERVED):
        message = "Admin access can only be specified on metaobject definitions that have an app-reserved type."
        errors.append(user_error(["definition", "access", "admin"], message, "ADMIN_ACCESS_INPUT_NOT_ALLOWED"))
    if len(fields) > MAX_FIELDS:
        message = f"Maximum {MAX_FIELDS} fields per metaobject definition"
        errors.append(user_error(["definition", "fieldDefinitions"], message, "INVALID"))
    keys: set[str] = set()
    for index, field in enumerate(fields):
        key, where = field["key"], ["definition", "fieldDefinitions", str(index)]
        if key in keys:
            errors.append(user_error(where, f'Field "{key}" duplicates other inputs', "DUPLICATE_FIELD_INPUT", key))
        elif not _KEY.fullmatch(key):
            message = "Key should have 2 to 64 alphanumeric characters, underscores, and dashes"
            errors.append(user_error([*where, "key"], message, "INVALID", key))
        if category_of(field["type"]) is None:
            message = f"Type name {field['type']} is not a valid type."
            errors.append(user_error([*where, "type"], message, "INCLUSION", key))
        for validation in field.get("validations") or []:
            if problem := limit_problem(field["type"], validation["name"], validation["value"]):
                errors.append(user_error([*where, "validations"], problem, "INVALID", key))
        keys.add(key)
    shown = given.get("displayNameKey")
    if shown and shown not in keys:
        message = f'Field definition "{shown}" does not exist'
        errors.append(user_error(["definition", "displayNameKey"], message, "UNDEFINED_OBJECT_FIELD"))
    if not errors and state.count("MetaobjectDefinition") >= MAX_DEFINITIONS:
        message = f"Maximum number of definitions ({MAX_DEFINITIONS}) exceeded."
        errors.append(user_error(None, message, "MAX_DEFINITIONS_EXCEEDED"))
    return errors


def _title(name: str) -> str:
    return re.sub(r"[_-]+", " ", name).strip().capitalize()


@resolver("Mutation", "metaobjectDefinitionDelete", scope="write_metaobject_definitions")
def delete_definition(source: Any, info: Any, id: str) -> Json:
    """Deletes a definition and all metaobjects of its type."""
    state: State = info.context.state
    found = state.get(id) if "/MetaobjectDefinition/" in id else None
    if found is None:
        return {"deletedId": None, "userErrors": [user_error(["id"], "Record not found", "RECORD_NOT_FOUND")]}
    for entry in entries_of(state, found["type"]):
        state.delete(entry["id"])
    state.delete(id)
    return {"deletedId": id, "userErrors": []}


@resolver("QueryRoot", "metaobjectDefinition", scope="read_metaobject_definitions")
def definition_by_id(source: Any, info: Any, id: str) -> Json | None:
    """Returns a definition by its id."""
    return info.context.state.get(id) if "/MetaobjectDefinition/" in id else None


@resolver("QueryRoot", "metaobjectDefinitionByType", scope="read_metaobject_definitions")
def definition_by_type(source: Any, info: Any, type: str) -> Json | None:
    """Returns a definition by its type."""
    return definition_of(info.context.state, type)


@resolver("QueryRoot", "metaobjectDefinitions", scope="read_metaobject_definitions")
def definitions(source: Any, info: Any, **arguments: Any) -> Json:
    """Returns a page of the definitions."""
    return page(info, Scanned(info.context.state, "MetaobjectDefinition"), arguments)


@resolver("MetaobjectDefinition", "capabilities")
def capabilities(source: Json, info: Any) -> Json:
    """Returns a definition's capabilities: none, since they are off by default and cannot be asked for here."""
    return {"publishable": {"enabled": False}}


@resolver("MetaobjectDefinition", "metaobjects", scope="read_metaobjects")
def entries(source: Json, info: Any, **arguments: Any) -> Json:
    """Returns a page of a definition's metaobjects."""
    return page(
        info, Scanned(info.context.state, "Metaobject", lambda entry: entry["type"] == source["type"]), arguments
    )


@resolver("MetaobjectFieldDefinition", "type")
def field_type(source: Json, info: Any) -> Json:
    """Returns the type of a field by name and category."""
    return {"name": source["type"], "category": category_of(source["type"])}


@resolver("MetafieldDefinitionValidation", "type")
def validation_type(source: Json, info: Any) -> str:
    """Returns the type of a validation's value."""
    return "number_integer" if source["name"] in ("list.max", "list.min", "max", "min") else "single_line_text_field"
