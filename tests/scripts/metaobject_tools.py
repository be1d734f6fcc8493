"""Documents and steps that the tests of the local shop's metaobjects share."""

import json

from store_calls import run

UPSERT = """mutation ($handle: MetaobjectHandleInput!, $metaobject: MetaobjectUpsertInput, $values: JSON) {
  metaobjectUpsert(handle: $handle, metaobject: $metaobject, values: $values) {
    metaobject { id handle displayName updatedAt fields { key type value } }
    userErrors { field message code elementKey elementIndex } } }"""
DEFINE = """mutation ($definition: MetaobjectDefinitionCreateInput!) {
  metaobjectDefinitionCreate(definition: $definition) {
    metaobjectDefinition { id type name access { admin storefront } metaobjectsCount
      fieldDefinitions { key name required type { name category } validations { name type value } } }
    userErrors { field message code elementKey elementIndex } } }"""
BY_HANDLE = """query ($handle: MetaobjectHandleInput!) { metaobjectByHandle(handle: $handle) {
  id values field(key: "products") { jsonValue references(first: 9) { nodes { ... on Product { id title } } } }
  definition { type metaobjectsCount } } }"""
BULK_DELETE = """mutation ($where: MetaobjectBulkDeleteWhereCondition!) {
  metaobjectBulkDelete(where: $where) { job { id done } userErrors { field message code } } }"""
PRODUCT_SET = """mutation ($handle: String!) { productSet(
  identifier: {handle: $handle}, input: {handle: $handle, title: $handle}) { product { id } } }"""
FIELDS = [
    {"key": "products", "type": "list.product_reference", "required": True},
    {"key": "note", "name": "A note", "type": "single_line_text_field"},
]


def define(store, **given):
    return run(store, DEFINE, definition={"type": "liked", "fieldDefinitions": FIELDS, **given})


def upsert(store, handle, gids=None, type_name="liked", **more):
    fields = [] if gids is None else [{"key": "products", "value": json.dumps(gids)}]
    fields += [{"key": key, "value": value} for key, value in more.items()]
    return run(store, UPSERT, handle={"type": type_name, "handle": handle}, metaobject={"fields": fields})


def error(message, code, field, key=None, index=None):
    return {"field": field, "message": message, "code": code, "elementKey": key, "elementIndex": index}
