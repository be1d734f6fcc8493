import os
import pickle
import random

import numpy as np
import polars as pl
import pytest

from training.data.amazon_format import (
    AMAZON_COLUMNS,
    AmazonFormatError,
    read_amazon_file,
    read_amazon_vocabulary,
    write_amazon_files,
)
from training.data.columns import INTERACTION_COLUMNS
from training.data.sequences import build_dataset

ROWS = [
    *[
        (1, "ann", item, 10 * (at + 1), category)
        for at, (item, category) in enumerate(zip("abac", "XXXZ", strict=True))
    ],
    *[(1, "bob", item, at + 1, category) for at, (item, category) in enumerate(zip("dbe", "ZXZ", strict=True))],
]


def build(rows, folder, **options):
    frame = pl.DataFrame(rows, schema=list(INTERACTION_COLUMNS), orient="row")
    return build_dataset(frame, folder, **({"valid_num_ngs": 1, "test_num_ngs": 1} | options))


@pytest.fixture(scope="module")
def amazon_reviews():
    """recommenders' own code; importing it seeds `random`, which must not reach other tests."""
    state = random.getstate()
    from recommenders.datasets import amazon_reviews

    random.setstate(state)
    return amazon_reviews


@pytest.fixture(scope="module")
def shoppers():
    """200 users with 3 to 25 events each, at distinct times, over 60 items, in one shuffled table."""
    rng = np.random.default_rng(11)
    rows = []
    for user in range(200):
        times = rng.choice(100_000, size=rng.integers(3, 26), replace=False) + 1
        items = (60 * rng.random(len(times)) ** 2).astype(int)
        rows += [
            (1, f"u{user:03d}", f"item {item}", int(at), f"c/{item % 7}") for item, at in zip(items, times, strict=True)
        ]
    return [rows[place] for place in rng.permutation(len(rows))]


@pytest.fixture(scope="module")
def both(amazon_reviews, shoppers, tmp_path_factory):
    """The same interactions written by us and by recommenders: (dataset, our files, its folder)."""
    folder = tmp_path_factory.mktemp("amazon")
    dataset = build(shoppers, folder / "dataset", valid_num_ngs=4, test_num_ngs=9)
    ours = write_amazon_files(dataset, folder / "ours")

    # recommenders keeps users in the order of the file it reads; ids of equally frequent values depend on that order.
    theirs = folder / "theirs"
    theirs.mkdir()
    in_our_order = sorted(shoppers, key=lambda row: dataset.vocabularies["user"].index[row[1]])
    (theirs / "reviews").write_text("".join(f"{user}\t{item}\t{at}\n" for _, user, item, at, _ in in_our_order))
    (theirs / "meta").write_text("".join(f"item {item}\tc/{item % 7}\n" for item in range(60)))
    instances = amazon_reviews._create_instance(str(theirs / "reviews"), str(theirs / "meta"))
    preprocessed = amazon_reviews._data_processing(instances)
    paths = [str(theirs / name) for name in ("train_data", "valid_data", "test_data")]
    amazon_reviews._data_generating(preprocessed, *paths)
    vocabularies = [str(theirs / name) for name in ("user_vocab.pkl", "item_vocab.pkl", "category_vocab.pkl")]
    amazon_reviews._create_vocab(paths[0], *vocabularies)
    return dataset, ours, theirs


@pytest.mark.parametrize("split", ["train", "valid", "test"])
def test_lines_equal_those_of_recommenders_row_for_row(both, split):
    dataset, ours, theirs = both
    known = set(dataset.vocabularies["item"].index)
    lines = [line for line in getattr(ours, split).read_text().splitlines() if line.startswith("1\t")]
    assert lines == [_with_default(line, known) for line in (theirs / f"{split}_data").read_text().splitlines()]
    assert len(lines) == len(dataset.rows(split)) > 0


def _with_default(line, known):
    """Names items that training never saw as we do; recommenders' iterator gives them the same index, 0."""
    fields = line.split("\t")
    fields[2] = fields[2] if fields[2] in known else "default_mid"
    fields[5] = ",".join(item if item in known else "default_mid" for item in fields[5].split(","))
    return "\t".join(fields)


def test_vocabularies_have_the_ids_of_recommenders(both):
    _, ours, theirs = both
    for path in (ours.user_vocab, ours.item_vocab, ours.cate_vocab):
        their_vocabulary = pickle.loads((theirs / path.name).read_bytes())  # noqa: S301 - written by this test
        assert read_amazon_vocabulary(path) == their_vocabulary
        assert list(read_amazon_vocabulary(path)) == list(their_vocabulary)
        assert read_amazon_vocabulary(theirs / path.name) == their_vocabulary


@pytest.mark.parametrize(("split", "count"), [("valid", 4), ("test", 9)])
def test_every_positive_is_followed_by_its_negatives(both, split, count):
    dataset, ours, _ = both
    table = read_amazon_file(getattr(ours, split))
    assert table["label"].tolist() == ([1] + [0] * count) * len(dataset.rows(split))
    items = dataset.vocabularies["item"]
    categories = dataset.vocabularies["category"]
    negatives = table[table["label"] == 0]
    ids = items.encode(negatives["item_handle"]).reshape(-1, count)
    np.testing.assert_array_equal(ids, dataset.negatives[split])
    assert negatives["item_category"].tolist() == categories.decode(dataset.item_category[ids.ravel()])
    same = [column for column in AMAZON_COLUMNS if column not in ("label", "item_handle", "item_category")]
    groups = table[same].map(str).groupby(np.arange(len(table)) // (count + 1)).nunique()
    assert (groups == 1).all(axis=None)


def test_a_small_table_is_written_exactly(tmp_path):
    dataset = build(ROWS, tmp_path / "dataset", valid_num_ngs=0, test_num_ngs=0)
    files = write_amazon_files(dataset, tmp_path / "amazon")
    assert files.train.read_text() == "1\tann\tb\tX\t20\ta\tX\t10\n"
    assert files.valid.read_text() == "1\tann\ta\tX\t30\ta,b\tX,X\t10,20\n1\tbob\tb\tX\t2\td\tZ\t1\n"
    assert files.test.read_text() == (
        "1\tann\tdefault_mid\tZ\t40\ta,b,a\tX,X,X\t10,20,30\n1\tbob\tdefault_mid\tZ\t3\td,b\tZ,X\t1,2\n"
    )
    assert read_amazon_vocabulary(files.user_vocab) == {"ann": 0}
    assert read_amazon_vocabulary(files.item_vocab) == {"default_mid": 0, "b": 1, "a": 2}
    assert read_amazon_vocabulary(files.cate_vocab) == {"default_cat": 0, "X": 1}
    row = read_amazon_file(files.test).iloc[0].tolist()
    assert row == [1, "ann", "default_mid", "Z", 40, ["a", "b", "a"], ["X", "X", "X"], [10, 20, 30]]


def test_ids_of_the_dataset_can_be_kept(both, tmp_path):
    dataset, _, _ = both
    files = write_amazon_files(dataset, tmp_path / "amazon", ids="dataset")
    for path, default, name in (
        (files.user_vocab, "default_uid", "user"),
        (files.item_vocab, "default_mid", "item"),
        (files.cate_vocab, "default_cat", "category"),
    ):
        vocabulary = read_amazon_vocabulary(path)
        assert vocabulary.pop(default) == 0
        assert vocabulary == dict(dataset.vocabularies[name].index)


@pytest.mark.parametrize(("item", "category"), [("a,b", "X"), ("a", "Home, Garden"), ("default_mid", "X")])
def test_values_that_the_format_cannot_carry_are_named(tmp_path, item, category):
    rows = [(1, "ann", item if at == 0 else f"i{at}", at + 1, category) for at in range(4)]
    dataset = build(rows, tmp_path / "dataset", valid_num_ngs=0, test_num_ngs=0)
    with pytest.raises(AmazonFormatError, match=repr(category if "," in category else item)):
        write_amazon_files(dataset, tmp_path / "amazon")


def test_a_pickle_that_runs_code_is_refused(tmp_path):
    class Evil:
        def __reduce__(self):
            return os.mkdir, (str(tmp_path / "owned"),)

    for content in (Evil(), {"a": Evil()}, ["a"], {1: "a"}):
        (tmp_path / "vocab.pkl").write_bytes(pickle.dumps(content))
        with pytest.raises(AmazonFormatError, match=r"vocab\.pkl should"):
            read_amazon_vocabulary(tmp_path / "vocab.pkl")
    (tmp_path / "vocab.pkl").write_bytes(b"not a pickle")
    with pytest.raises(AmazonFormatError):
        read_amazon_vocabulary(tmp_path / "vocab.pkl")
    assert not (tmp_path / "owned").exists()


@pytest.mark.parametrize("line", ["1\tann\ta", "1\tann\ta\tX\t5\ta,b\tX\t1,2", "1\tann\ta\tX\tnow\ta\tX\t1"])
def test_lines_that_are_not_in_the_format_are_named(tmp_path, line):
    path = tmp_path / "train_data"
    path.write_text("1\tann\tb\tX\t20\ta\tX\t10\n" + line + "\n")
    with pytest.raises(AmazonFormatError, match="Line 2 of"):
        read_amazon_file(path)
