"""State of the local shop: documents, keys, links, transactions, the file."""

import sqlite3
import threading

import pytest

from scripts.shopify.dev_store.state import State, StateError, gid, split_gid


def test_numbers_rise_by_kind_and_are_never_given_again() -> None:
    state = State()
    assert [state.insert("Product", {"title": title})["id"] for title in "ab"] == [gid("Product", n) for n in (1, 2)]
    assert state.insert("Collection", {})["id"] == "gid://shopify/Collection/1"
    assert state.delete(gid("Product", 2))
    assert not state.delete(gid("Product", 2))
    assert state.insert("Product", {})["id"] == gid("Product", 3)
    assert state.count("Product") == 2
    assert state.get(gid("Product", 1)) == {"title": "a", "id": gid("Product", 1)}
    assert state.get(gid("Product", 2)) is None
    assert state.get("nonsense") is None
    assert [state.exists(id) for id in (gid("Product", 1), gid("Product", 2), gid("Order", 1), "nonsense")] == [
        True,
        False,
        False,
        False,
    ]


@pytest.mark.parametrize("text", ["", "1", "gid://shopify/Product", "gid://shopify/Product/0", "gid://other/Product/1"])
def test_malformed_gid_is_named(text: str) -> None:
    with pytest.raises(ValueError, match="gid://shopify/Product/12"):
        split_gid(text)


def test_keys_are_unique_in_a_kind_and_may_change() -> None:
    state = State()
    cup = state.insert("Product", {"title": "Cup"}, "cup")
    with pytest.raises(sqlite3.IntegrityError):
        state.insert("Product", {}, "cup")
    assert state.count("Product") == 1
    state.insert("Collection", {}, "cup")
    state.put({**cup, "title": "Mug"})
    assert state.find("Product", "cup") == {"title": "Mug", "id": cup["id"]}
    state.put(cup, "mug")
    assert state.find("Product", "cup") is None
    assert state.find("Product", "mug") == cup
    with pytest.raises(KeyError):
        state.put({"id": gid("Product", 99)})


def test_transaction_takes_back_what_failed_and_only_that() -> None:
    state = State()
    with state.transaction():
        state.insert("Product", {}, "kept")
        with pytest.raises(RuntimeError), state.transaction():
            state.insert("Product", {}, "inner")
            state.link("collection", gid("Collection", 1), gid("Product", 2))
            raise RuntimeError
    assert [state.find("Product", key) is not None for key in ("kept", "inner")] == [True, False]
    assert state.children("collection", gid("Collection", 1)) == []
    with pytest.raises(RuntimeError), state.transaction():
        state.insert("Product", {}, "outer")
        with state.transaction():
            state.insert("Product", {}, "within")
        raise RuntimeError
    assert state.count("Product") == 1


def test_links_keep_their_order_and_go_with_their_ends() -> None:
    state = State()
    for number in range(4):
        state.insert("Product", {"n": number})
    state.insert("Collection", {})
    collection, products = gid("Collection", 1), [gid("Product", number) for number in (3, 1, 2)]
    for product in products:
        state.link("collection", collection, product)
    state.link("collection", collection, products[0])  # again: keeps its place
    state.link("publication", gid("Publication", 1), products[1])
    assert state.children("collection", collection) == products
    assert state.parents("collection", products[1]) == [collection]
    assert state.linked("collection", collection, products[2])
    assert not state.linked("publication", collection, products[2])
    state.delete(products[0])
    assert state.children("collection", collection) == products[1:]
    assert state.unlink("collection", collection, products[2])
    assert not state.unlink("collection", collection, products[2])
    state.delete(collection)
    assert state.parents("collection", products[1]) == []
    assert state.parents("publication", products[1]) == [gid("Publication", 1)]


def test_scan_passes_its_chunks_in_both_directions() -> None:
    state = State()
    with state.transaction():
        for number in range(1201):
            state.insert("Product", {"n": number})
    numbers = list(range(1, 1202))
    assert [split_gid(document["id"])[1] for document in state.scan("Product")] == numbers
    assert [split_gid(document["id"])[1] for document in state.scan("Product", reverse=True)] == numbers[::-1]
    assert [document["n"] for document in state.scan("Product", 1198)] == [1198, 1199, 1200]
    assert [document["n"] for document in state.scan("Product", 10, 2)] == [10, 11]
    assert [document["n"] for document in state.scan("Product", limit=2, reverse=True, before=10)] == [8, 7]
    assert len(list(state.scan("Product", limit=700))) == 700
    assert list(state.scan("Product", limit=0)) == []


def test_file_is_found_again_and_belongs_to_one_process(tmp_path) -> None:
    path = tmp_path / "shop.db"
    state = State(path)
    state.insert("Product", {"title": "Tasse ☕"}, "tasse")
    with pytest.raises(StateError, match="another local shop"):
        State(path)
    state.close()
    again = State(path)
    assert again.find("Product", "tasse") == {"title": "Tasse ☕", "id": gid("Product", 1)}
    assert again.count("Publication") == 3
    again.close()


def test_file_of_something_else_is_refused(tmp_path) -> None:
    (tmp_path / "text.db").write_text("no database at all, but long enough to have a header of its own" * 20)
    with pytest.raises(StateError, match="not a SQLite file"):
        State(tmp_path / "text.db")
    with sqlite3.connect(tmp_path / "other.db") as other:
        other.execute("CREATE TABLE something (x)")
    other.close()
    with pytest.raises(StateError, match="holds no local shop"):
        State(tmp_path / "other.db")
    with pytest.raises(StateError, match="cannot be opened"):
        State(tmp_path / "missing" / "shop.db")


def test_fresh_shop_has_three_publications() -> None:
    catalogs = [publication["catalog"] for publication in State().scan("Publication")]
    assert catalogs[0] is None
    assert [catalog["apps"][0]["handle"] for catalog in catalogs[1:]] == ["pos", "online_store"]


def test_threads_share_the_state() -> None:
    state = State()

    def write(name: str) -> None:
        for number in range(50):
            with state.transaction():
                state.insert("Product", {}, f"{name}-{number}")

    threads = [threading.Thread(target=write, args=(name,)) for name in "abcd"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [split_gid(document["id"])[1] for document in state.scan("Product")] == list(range(1, 201))
