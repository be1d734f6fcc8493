"""Fetches Shopify's published GraphQL schemas into an ignored cache, for the tests to hold our documents against.

    python -m scripts.shopify.fetch_schema        (or: make shopify-schema)

Shopify publishes the schemas of its APIs inside an npm package. `npm pack` downloads that one archive without
installing or running anything of it; the two schema files of our API version are kept, under `.shopify-schema/`. Only
tests read them: the commands and the dev store do without. They are not ours to pass on, so they are never committed.
"""

import argparse
import base64
import hashlib
import hmac
import shutil
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from scripts.shopify.settings import API_VERSION
from training.files import atomic_folder

PACKAGE: Final = "@shopify/dev-mcp"
"""The one package of Shopify's with complete schemas of the Admin and the Storefront API, all versions, as files."""
PACKAGE_VERSION: Final = "1.16.0"
"""A release that has 2026-10, our API version; of 28 September 2026, so that its 2026-10 is the release candidate."""
INTEGRITY: Final = "sha512-tqgRnK7sQhjew+htxtleTH23nXB5fZcsrhWgEkomsorGXvLOB2mh2upwZm8uzuTDNTZnqtLMe64yIwh6s2awtw=="
"""What the archive must hash to, whichever mirror it comes from; change it together with the version."""
CACHE: Final = Path(__file__).parents[2] / ".shopify-schema"
_MEMBERS: Final = {"admin": "admin", "storefront": "storefront-graphql"}  # API -> name in the package


class SchemaError(RuntimeError):
    """The schemas could not be fetched."""


def schema_path(api: str, cache: Path = CACHE) -> Path:
    """Returns where the schema of an API is kept: gzipped JSON, an introspection result under the key `data`.

    Args:
        api: `admin` or `storefront`.
        cache: Folder of the cache.
    """
    return cache / f"{PACKAGE_VERSION}-{API_VERSION}" / f"{_MEMBERS[api]}_{API_VERSION}.json.gz"


def is_fetched(cache: Path = CACHE) -> bool:
    """Whether the schemas are there. The folder appears with both files in it or not at all."""
    return all(schema_path(api, cache).is_file() for api in _MEMBERS)


def fetch_schema(cache: Path = CACHE) -> bool:
    """Downloads the schemas, unless they are there.

    Args:
        cache: Folder of the cache; made if missing.

    Returns:
        Whether something was downloaded.

    Raises:
        SchemaError: npm is missing or fails, or the archive is not the one that was pinned.
    """
    if is_fetched(cache):
        return False
    with tempfile.TemporaryDirectory() as folder:
        archive = _download(Path(folder))
        check_integrity(archive)
        extract(archive, cache)
    return True


def check_integrity(archive: Path, integrity: str = INTEGRITY) -> None:
    """Raises `SchemaError` unless the file's SHA-512 is the given one, written as npm does (`sha512-` and base64)."""
    with archive.open("rb") as stream:
        digest = hashlib.file_digest(stream, "sha512").digest()
    received = f"sha512-{base64.b64encode(digest).decode()}"
    if not hmac.compare_digest(received, integrity):
        raise SchemaError(f"{archive.name} should have the integrity {integrity}. Received: {received}")


def extract(archive: Path, cache: Path = CACHE) -> None:
    """Takes the schema files of our version out of the package's archive.

    Args:
        archive: The package, as npm packs it.
        cache: Folder of the cache.

    Raises:
        SchemaError: The archive lacks one of them.
    """
    folder = schema_path("admin", cache).parent
    with tarfile.open(archive) as tar, atomic_folder(folder) as temporary:
        for api in _MEMBERS:
            name = schema_path(api, cache).name
            try:
                member = tar.extractfile(f"package/dist/data/{name}")
            except KeyError:
                member = None
            if member is None:
                raise SchemaError(f"{archive.name} should hold package/dist/data/{name}, and does not")
            with member, (temporary / name).open("wb") as stream:
                shutil.copyfileobj(member, stream)


def _download(folder: Path) -> Path:
    npm = shutil.which("npm")
    if npm is None:
        raise SchemaError("npm is needed to fetch Shopify's schemas, and is not in PATH: install Node.js, which has it")
    command = [npm, "pack", f"{PACKAGE}@{PACKAGE_VERSION}", "--silent", "--ignore-scripts"]
    result = subprocess.run(command, cwd=folder, capture_output=True, text=True)
    archives = list(folder.glob("*.tgz"))
    if result.returncode or len(archives) != 1:
        lines = (result.stderr or result.stdout).strip().splitlines()
        reason = lines[-1] if lines else f"exit status {result.returncode}"
        raise SchemaError(f"npm pack {PACKAGE}@{PACKAGE_VERSION} failed: {reason}")
    return archives[0]


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command line; returns 0 where the schemas are there."""
    parser = argparse.ArgumentParser(description="Fetch Shopify's published GraphQL schemas for the tests.")
    parser.add_argument("--cache", type=Path, default=CACHE, help="folder to keep them in; the tests read the default")
    cache = parser.parse_args(argv).cache
    try:
        fetched = fetch_schema(cache)
    except (SchemaError, OSError, tarfile.TarError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("Stopped; start again to fetch the schemas", file=sys.stderr)
        return 130
    state = "fetched into" if fetched else "already in"
    print(f"Shopify's schemas of {API_VERSION} ({PACKAGE} {PACKAGE_VERSION}): {state} {cache}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
