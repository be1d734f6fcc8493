"""Documents and steps that the tests of the local shop's bulk operations share."""

import json

import requests
from store_calls import run

from scripts.shopify.dev_store import bulk

RUN_QUERY = """mutation ($query: String!, $grouped: Boolean! = false) {
  bulkOperationRunQuery(query: $query, groupObjects: $grouped) {
    bulkOperation { id status type query objectCount url } userErrors { field message code } } }"""
RUN_MUTATION = """mutation ($mutation: String!, $path: String!) {
  bulkOperationRunMutation(mutation: $mutation, stagedUploadPath: $path) {
    bulkOperation { id status type } userErrors { field message code } } }"""
STATUS = """query ($id: ID!) { bulkOperation(id: $id) {
  id status errorCode objectCount rootObjectCount fileSize url partialDataUrl completedAt } }"""
STAGE = """mutation ($input: [StagedUploadInput!]!) { stagedUploadsCreate(input: $input) {
  stagedTargets { url resourceUrl parameters { name value } } userErrors { field message } } }"""
PRODUCT_SET = """mutation ($identifier: ProductSetIdentifiers!, $input: ProductSetInput!) {
  productSet(identifier: $identifier, input: $input) { product { id handle } userErrors { field message code } } }"""
UPSERT = """mutation ($handle: MetaobjectHandleInput!, $metaobject: MetaobjectUpsertInput!) {
  metaobjectUpsert(handle: $handle, metaobject: $metaobject) {
    metaobject { handle } userErrors { message code elementIndex } } }"""
DEFINE = """mutation { metaobjectDefinitionCreate(definition: {type: "liked", fieldDefinitions: [
  {key: "products", type: "list.product_reference", required: true}]}) { userErrors { message } } }"""
PRODUCTS = "{ products(first: 2) { edges { node { id variants { edges { node { id price } } } } } } }"


def add_products(store, count):
    for number in range(1, count + 1):
        handle = f"product-{number}"
        payload = run(
            store, PRODUCT_SET, identifier={"handle": handle}, input={"handle": handle, "title": f"Product {number}"}
        )
        assert payload["userErrors"] == []


def variant_of(store, handle):
    document = """query ($handle: String!) {
      productByIdentifier(identifier: {handle: $handle}) { variants(first: 1) { nodes { id } } } }"""
    return run(store, document, handle=handle)["variants"]["nodes"][0]["id"]


def finished(store, operation_id, scopes=None):
    for _ in range(600):
        operation = run(store, STATUS, scopes, id=operation_id)
        if operation["status"] not in ("CREATED", "RUNNING", "CANCELING"):
            return operation
    raise AssertionError(f"still {operation['status']}")


def lines_of(store, operation, partial=False):
    found = bulk.result_lines(store, int(operation["id"].rsplit("/", 1)[1]), partial)
    return None if found is None else [json.loads(line) for line in found]


def run_query(store, query, grouped=False, scopes=None):
    payload = run(store, RUN_QUERY, scopes, query=query, grouped=grouped)
    assert payload["userErrors"] == []
    assert payload["bulkOperation"]["status"] == "CREATED"
    return finished(store, payload["bulkOperation"]["id"], scopes)


def stage(store, text):
    wanted = {"resource": "BULK_MUTATION_VARIABLES", "filename": "lines.jsonl", "mimeType": "text/jsonl"}
    (target,) = run(store, STAGE, input=[{**wanted, "httpMethod": "POST"}])["stagedTargets"]
    parameters = {each["name"]: each["value"] for each in target["parameters"]}
    upload = requests.post(target["url"], data=parameters, files={"file": ("lines.jsonl", text.encode())}, timeout=10)
    assert upload.status_code == 201
    return parameters["key"]


def refusals(store, query):
    payload = run(store, RUN_QUERY, query=query)
    assert payload["bulkOperation"] is None
    assert all(error["field"] == ["query"] and error["code"] == "INVALID" for error in payload["userErrors"])
    return [error["message"] for error in payload["userErrors"]]
