import io
import tarfile

import pytest

from scripts.shopify.fetch_schema import SchemaError, check_integrity, extract, is_fetched, main, schema_path

MEMBERS = ("package/dist/data/admin_2026-10.json.gz", "package/dist/data/storefront-graphql_2026-10.json.gz")


@pytest.fixture
def archive(tmp_path):
    def write(*names):
        path = tmp_path / "package.tgz"
        with tarfile.open(path, "w:gz") as tar:
            for name in names:
                member = tarfile.TarInfo(name)
                member.size = len(name)
                tar.addfile(member, io.BytesIO(name.encode()))
        return path

    return write


def test_extract_takes_the_two_schemas_and_nothing_else(archive, tmp_path):
    cache = tmp_path / "cache"
    assert not is_fetched(cache)
    extract(archive("package/index.js", "../evil", *MEMBERS), cache)
    assert is_fetched(cache)
    assert {path.name for path in cache.rglob("*.gz")} == {name.rsplit("/", 1)[1] for name in MEMBERS}
    assert len([path for path in cache.rglob("*") if path.is_file()]) == 2
    assert schema_path("storefront", cache).read_text() == MEMBERS[1]


def test_extract_is_all_or_nothing(archive, tmp_path):
    cache = tmp_path / "cache"
    with pytest.raises(SchemaError, match=r"should hold package/dist/data/storefront-graphql_2026-10\.json\.gz"):
        extract(archive(MEMBERS[0]), cache)
    assert list(cache.iterdir()) == []


def test_integrity_is_npm_s(tmp_path):
    path = tmp_path / "a.tgz"
    path.write_bytes(b"abc")
    # SHA-512 of "abc", FIPS 180-2, appendix C.1
    good = "sha512-3a81oZNherrMQXNJriBBMRLm+k6JqX6iCp7u5ktV05ohkpkqJ0/BqDa6PCOj/uu9RU1EI2Q86A4qmslPpUyknw=="
    check_integrity(path, good)
    with pytest.raises(SchemaError, match=r"a\.tgz should have the integrity sha512-tqgRnK.* Received: sha512-3a81o"):
        check_integrity(path)


def test_another_archive_under_the_pinned_name_is_refused(archive, tmp_path, monkeypatch, capsys):
    cache, npm = tmp_path / "cache", tmp_path / "bin" / "npm"
    npm.parent.mkdir()
    npm.write_text(f'#!/bin/sh\ncp "{archive(*MEMBERS)}" shopify-dev-mcp-1.16.0.tgz\n')
    npm.chmod(0o755)
    monkeypatch.setenv("PATH", str(npm.parent), prepend=":")
    assert main(["--cache", str(cache)]) == 1
    assert capsys.readouterr().err.startswith("error: shopify-dev-mcp-1.16.0.tgz should have the integrity sha512-")
    assert not cache.exists()


@pytest.mark.parametrize(
    ("script", "expected"),
    [
        (None, "error: npm is needed to fetch Shopify's schemas"),
        ("echo 'npm error 404 Not Found' >&2; exit 1", "pack @shopify/dev-mcp@1.16.0 failed: npm error 404 Not Found"),
        ("exit 0", "pack @shopify/dev-mcp@1.16.0 failed: exit status 0"),
    ],
)
def test_without_npm_there_is_one_clear_line(tmp_path, monkeypatch, capsys, script, expected):
    cache = tmp_path / "cache"
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":" if script else None)
    if script:
        (tmp_path / "npm").write_text(f"#!/bin/sh\n{script}\n")
        (tmp_path / "npm").chmod(0o755)
    assert main(["--cache", str(cache)]) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert expected in line
    assert not cache.exists()


def test_nothing_is_done_where_the_schemas_are(archive, tmp_path, monkeypatch, capsys):
    cache = tmp_path / "cache"
    extract(archive(*MEMBERS), cache)
    monkeypatch.setenv("PATH", str(tmp_path))  # no npm
    assert main(["--cache", str(cache)]) == 0
    assert "already in" in capsys.readouterr().out
