"""What is installed: pyproject.toml, requirements.lock and environment.yml say the same, and every package says why."""

import re
import tomllib
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parents[1]
PYPROJECT = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
PROJECT = tomllib.loads(PYPROJECT)["project"]
LOCK = (ROOT / "requirements.lock").read_text(encoding="utf-8")
ENVIRONMENT = yaml.safe_load((ROOT / "environment.yml").read_text(encoding="utf-8"))
EXTRAS = ("datasets", "snowplow", "spark", "dev")  # what the lock and environment.yml hold; gpu is added by hand
PYTHONS = ("3.11.9", "3.12.4", "3.13.1")


def locked(python: str, platform: str = "linux") -> dict[str, str]:
    """Returns package -> version, as `requirements.lock` has it for a Python version."""
    environment = {
        "python_full_version": python,
        "python_version": python.rsplit(".", 1)[0],
        "sys_platform": platform,
        "platform_system": {"linux": "Linux", "darwin": "Darwin"}[platform],
        "platform_machine": {"linux": "x86_64", "darwin": "arm64"}[platform],
        "implementation_name": "cpython",
        "platform_python_implementation": "CPython",
        "os_name": "posix",
    }
    versions: dict[str, str] = {}
    for requirement in lock_requirements():
        if requirement.marker is None or requirement.marker.evaluate(environment):
            assert requirement.name not in versions, f"{requirement.name} is locked twice for Python {python}"
            (specifier,) = requirement.specifier
            versions[requirement.name] = specifier.version
    return versions


def lock_requirements() -> list[Requirement]:
    return [Requirement(line.rstrip(" \\")) for line in LOCK.splitlines() if line[:1].isalnum()]


def direct_requirements() -> list[Requirement]:
    lines = [*PROJECT["dependencies"], *(line for extra in EXTRAS for line in PROJECT["optional-dependencies"][extra])]
    return [Requirement(line) for line in lines]


def pip_section() -> list[str]:
    (section,) = [entry["pip"] for entry in ENVIRONMENT["dependencies"] if isinstance(entry, dict)]
    return section


def test_environment_pins_the_direct_dependencies_to_the_versions_of_the_lock():
    versions = locked("3.11.9")
    expected = []
    for requirement in direct_requirements():
        extras = f"[{','.join(sorted(requirement.extras))}]" if requirement.extras else ""
        expected.append(f"{requirement.name}{extras}=={versions[canonicalize_name(requirement.name)]}")
    assert pip_section() == expected


def test_environment_is_a_conda_environment_with_a_supported_python():
    assert ENVIRONMENT["name"] == PROJECT["name"]
    assert [entry for entry in ENVIRONMENT["dependencies"] if isinstance(entry, str)] == ["python=3.11", "pip"]


@pytest.mark.parametrize("python", PYTHONS)
@pytest.mark.parametrize("platform", ["linux", "darwin"])
def test_lock_satisfies_every_requirement_of_the_project(python, platform):
    versions = locked(python, platform)
    for requirement in direct_requirements():
        version = versions[canonicalize_name(requirement.name)]
        assert requirement.specifier.contains(version), f"{requirement} is locked at {version}"


def test_lock_pins_exactly_with_hashes_and_without_addresses():
    for block in re.split(r"\n(?=[A-Za-z0-9])", LOCK.strip()):
        head, *hashes = block.split(" \\\n")
        (specifier,) = Requirement(head).specifier
        assert specifier.operator == "==", head
        assert hashes, f"{head} has no hash"
        assert all(re.fullmatch(r" +--hash=sha256:[0-9a-f]{64}", line) for line in hashes), head
    assert "://" not in LOCK
    assert not re.search(r"^-", LOCK, re.MULTILINE)


def test_lock_leaves_out_what_the_overrides_drop():
    lines = (ROOT / "overrides.txt").read_text(encoding="utf-8").splitlines()
    dropped = {Requirement(line).name for line in lines if line and not line.startswith("#")}
    assert dropped
    assert not dropped & {requirement.name for requirement in lock_requirements()}


def test_every_dependency_says_why_it_is_there():
    lines = PYPROJECT.splitlines()
    requirements = [*PROJECT["dependencies"], *(r for rs in PROJECT["optional-dependencies"].values() for r in rs)]
    for requirement in requirements:
        (line,) = [line for line in lines if line.strip().startswith(f'"{requirement}"')]
        _, _, why = line.partition("#")
        assert len(why.split()) >= 2, f"pyproject.toml should say after {requirement} why it is there"


def test_build_backend_is_locked_so_that_installing_needs_no_isolated_build():
    (requirement,) = [Requirement(line) for line in tomllib.loads(PYPROJECT)["build-system"]["requires"]]
    assert requirement.specifier.contains(locked("3.11.9")[requirement.name])
