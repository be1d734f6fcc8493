"""Files of recommendations and the metaobject definition: literal cases, no shop."""

import json

import polars as pl
import pytest
from conftest import HMAC_SECRET
from pydantic import SecretStr

from scripts.shopify.metaobject_definition import DEFINITION, definition_problems
from scripts.shopify.recommendation_file import SHOPPER_SCHEMA, RecommendationFileError, read_recommendations
from scripts.shopify.shopper_ids import ShopperIds

IDS = ShopperIds(SecretStr(HMAC_SECRET))


def gids(*numbers):
    return [f"gid://shopify/Product/{number}" for number in numbers]


def row(user, *numbers):
    return {"userId": user, "itemIds": gids(*numbers), "preds": [0.5 for _ in numbers]}


def test_jsonl_with_good_bad_and_repeated_rows(tmp_path):
    path = tmp_path / "recommendations.jsonl"
    lines = [
        json.dumps(row("ann", 3, 1, 3, 2)),
        "",
        "{not json",
        json.dumps(row("bob", 1)),
        json.dumps(["ann"]),
        json.dumps({"userId": "cy"}),
        json.dumps({"userId": "cy", "itemIds": ["gid://shopify/Product/1", "hat"]}),
        json.dumps({"userId": 5, "itemIds": []}),
        json.dumps({"userId": "", "itemIds": []}),
        json.dumps({"userId": "gid://shopify/Customer/1", "itemIds": []}),
        json.dumps(row("ann", 9)),
        json.dumps(row("dee")),
    ]
    path.write_bytes("\n".join(lines).encode() + b'\n{"userId": "\xff", "itemIds": []}\n')
    read = read_recommendations(path, IDS, keep=8)
    assert read.shoppers.schema == SHOPPER_SCHEMA
    kept = [(4, "bob", [1]), (11, "ann", [9]), (12, "dee", [])]
    assert read.shoppers.rows() == [(number, IDS.handle_of(name), products) for number, name, products in kept]
    assert (read.rows, read.bad, read.repeated) == (12, 8, 1)
    assert read.rows == len(read.shoppers) + read.bad + read.repeated
    assert read.problems == (
        "row 3: is no JSON object",
        "row 5: should be an object with userId and itemIds. Received: list",
        "row 6: `itemIds` should be a list. Received: NoneType",
        "row 7: `itemIds[1]` should be like gid://shopify/Product/123. Received: 'hat'",
        "row 8: `userId` should be text. Received: int",
        "row 9: `userId` should be text. Received: an empty text",
        "row 10: `userId` should be an opaque id, as export_orders makes it. Received: a GID",
        "row 13: is no JSON object",
    )


def test_parquet_of_several_row_groups(tmp_path):
    path = tmp_path / "recommendations.parquet"
    table = pl.DataFrame([row(f"u{number}", 1 + number, 1 + number, 2 + number) for number in range(9_999)])
    table.write_parquet(path, row_group_size=1_000)
    read = read_recommendations(path, IDS, keep=8)
    assert (read.rows, read.bad, read.repeated) == (9_999, 0, 0)
    assert read.shoppers.rows()[9_998] == (9_999, IDS.handle_of("u9998"), [9_999, 10_000])


def test_folder_of_parts_is_read_in_the_order_of_their_names(tmp_path):
    for name, user in (("part-00001", "bob"), ("part-00000", "ann"), ("_rejected", "cy"), (".part-00002", "dee")):
        pl.DataFrame([row(user, 1), row(user + "a", 2)]).write_parquet(tmp_path / f"{name}.parquet")
    (tmp_path / "_batch.json").write_text("{}")
    read = read_recommendations(tmp_path, IDS, keep=8)
    kept = [(1, "ann", [1]), (2, "anna", [2]), (3, "bob", [1]), (4, "boba", [2])]
    assert read.shoppers.rows() == [(number, IDS.handle_of(name), products) for number, name, products in kept]
    (tmp_path / "_temporary").mkdir()
    with pytest.raises(RecommendationFileError, match="is not complete"):
        read_recommendations(tmp_path, IDS, keep=8)


def test_products_are_cut_after_doubles_are_gone(tmp_path):
    path = tmp_path / "recommendations.jsonl"
    path.write_text(json.dumps(row("ann", 1, 1, 2, 2, 3)))
    assert read_recommendations(path, IDS, keep=2).shoppers["products"].to_list() == [[1, 2]]


def test_row_that_is_null_in_parquet(tmp_path):
    path = tmp_path / "recommendations.parquet"
    pl.DataFrame({"userId": ["a", None, "c"], "itemIds": [gids(1), gids(1), None]}).write_parquet(path)
    read = read_recommendations(path, IDS, keep=8)
    assert read.problems == (
        "row 2: `userId` should be text. Received: NoneType",
        "row 3: `itemIds` should be a list. Received: NoneType",
    )


def test_files_that_cannot_be_used(tmp_path):
    csv, wrong, broken = tmp_path / "a.csv", tmp_path / "wrong.parquet", tmp_path / "broken.parquet"
    csv.write_text("userId,itemIds\n")
    empty = tmp_path / "empty"
    empty.mkdir()
    pl.DataFrame({"user": ["a"], "itemIds": [gids(1)]}).write_parquet(wrong)
    broken.write_bytes(b"PAR1")
    for path, message in (
        (csv, r"should end with \.parquet, \.jsonl or \.ndjson"),
        (wrong, "Missing: userId. Received: user, itemIds"),
        (broken, "is no readable Parquet file"),
        (tmp_path / "absent.jsonl", "should be a file of recommendations"),
        (empty, "should hold Parquet files of recommendations. Received: none"),
    ):
        with pytest.raises(RecommendationFileError, match=message):
            read_recommendations(path, IDS, keep=8)


def definition(**changes):
    field = {"key": "products", "required": False, "type": {"name": "list.product_reference"}, "validations": []}
    fields = [field | changes.pop("field", {})]
    capabilities = {"publishable": {"enabled": False}}
    return {"access": {"storefront": "PUBLIC_READ"}, "capabilities": capabilities, "fieldDefinitions": fields} | changes


def test_definitions_that_do_and_that_do_not():
    other = {"key": "note", "required": False, "type": {"name": "single_line_text_field"}, "validations": []}
    assert definition_problems(definition(), 16) == []
    good = definition()
    good["fieldDefinitions"].append(other)
    assert definition_problems(good, 16) == []
    assert definition_problems(definition(field={"validations": [{"name": "list.max", "value": "16"}]}), 16) == []
    assert definition_problems(definition(field={"validations": [{"name": "list.max", "value": "8"}]}), 16) == [
        "its field 'products' takes at most 8 products, --k is 16"
    ]
    assert definition_problems(definition(access={"storefront": "NONE"}), 16) == [
        "its storefront access should be PUBLIC_READ, is NONE"
    ]
    assert definition_problems(definition(capabilities={"publishable": {"enabled": True}}), 16) == [
        "its entries should be active at once, are drafts first (the capability 'publishable' is enabled)"
    ]
    assert definition_problems(definition(field={"type": {"name": "product_reference"}}), 16) == [
        "its field 'products' should be list.product_reference, is product_reference"
    ]
    assert definition_problems(definition(fieldDefinitions=[other | {"required": True}]), 16) == [
        "it should have a field 'products', has 'note'",
        "it should not require other fields, requires 'note'",
    ]
    assert DEFINITION["access"] == {"storefront": "PUBLIC_READ"}
