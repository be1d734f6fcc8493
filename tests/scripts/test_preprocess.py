import numpy as np
import pytest

from scripts.ml.preprocess import main
from training.data.amazon_format import read_amazon_file
from training.data.inventory import inventory_from_records, save_inventory
from training.data.sequences import load_dataset


@pytest.fixture
def interactions(tmp_path):
    rng = np.random.default_rng(0)
    lines = [
        f"1\tu{user}\titem-{item}\t{1000 * user + at + 1}\tBooks\n"
        for user in range(20)
        for at, item in enumerate(rng.integers(0, 60, 8))
    ]
    path = tmp_path / "interactions.tsv"
    path.write_text("".join(lines) + "1\tu1\tgone\t5\tToys\n1\t\titem-1\t5\tBooks\n")
    return path


@pytest.fixture
def inventory(tmp_path):
    records = [
        {"id": f"gid://shopify/Product/{n + 1}", "handle": f"item-{n}", "title": f"Item {n}", "category": "Books"}
        for n in range(60)
    ]
    save_inventory(inventory_from_records(records), tmp_path / "inventory.pkl")
    return tmp_path / "inventory.pkl"


def test_summary_and_folder(tmp_path, interactions, inventory, capsys):
    folder = tmp_path / "dataset"
    assert main([str(interactions), str(folder), "--inventory", str(inventory), "--seed", "5"]) == 0
    dataset = load_dataset(folder)
    assert dataset.metadata["splits"] == {"train": 120, "valid": 20, "test": 20}
    assert dataset.metadata["rng_seed"] == 5
    assert {split: table.shape for split, table in dataset.negatives.items()} == {"valid": (20, 4), "test": (20, 9)}
    output = capsys.readouterr()
    lines = {" ".join(line.split()) for line in output.out.splitlines()}
    assert {
        "Rows in 162",
        "Rows dropped 2",
        "no user_id 1",
        "item_handle is not in the catalogue 1",
        "Rows kept 160",
        "Users 20",
        "Categories 1",
        "Train rows 120",
        "Test rows 20",
    } <= lines
    assert "with polars" in output.out
    assert output.err == ""


def test_options_reach_the_dataset(tmp_path, interactions, capsys):
    folder, amazon = tmp_path / "dataset", tmp_path / "amazon"
    options = ["--engine", "polars", "--valid-negatives", "2", "--test-negatives", "3", "--amazon-format", str(amazon)]
    assert main([str(interactions), str(folder), *options]) == 0
    dataset = load_dataset(folder)
    assert dataset.metadata["engine"] == "polars"
    assert dataset.metadata["dropped"] == {"no user_id": 1}
    assert {split: table.shape[1] for split, table in dataset.negatives.items()} == {"valid": 2, "test": 3}
    assert len(read_amazon_file(amazon / "test_data")) == 20 * 4
    assert str(amazon) in capsys.readouterr().out


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda tmp, file: [str(tmp / "none.tsv"), str(tmp / "out")], "existing file of interactions"),
        (lambda tmp, file: [str(file), str(tmp)], "holds something else"),
        (lambda tmp, file: [str(file), str(tmp / "out"), "--test-negatives", "500"], "at least 500 items untouched"),
        (lambda tmp, file: [str(file), str(tmp / "out"), "--inventory", str(tmp / "none.pkl")], "none.pkl"),
    ],
)
def test_expected_errors_are_one_line_and_status_1(tmp_path, interactions, capsys, make, message):
    assert main(make(tmp_path, interactions)) == 1
    output = capsys.readouterr()
    assert message in output.err
    assert output.err.startswith("error: ")
    assert output.err.count("\n") == 1
    assert not (tmp_path / "out").exists()


def test_a_negative_count_is_refused_by_the_command_line(tmp_path, interactions, capsys):
    with pytest.raises(SystemExit) as exit_status:
        main([str(interactions), str(tmp_path / "out"), "--seed", "-1"])
    assert exit_status.value.code == 2
    assert "should not be negative" in capsys.readouterr().err


def test_a_setting_of_spark_that_is_none_is_refused(tmp_path, interactions, capsys):
    for wrong in ("master=local[2]", "spark.master", "spark.master="):
        with pytest.raises(SystemExit):
            main([str(interactions), str(tmp_path / "out"), "--engine", "spark", "--spark", wrong])
        assert "should be NAME=VALUE, the name beginning with spark." in capsys.readouterr().err
