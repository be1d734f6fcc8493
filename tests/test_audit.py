"""Known vulnerabilities of the locked packages, as warnings: news of one must not stop work on something else."""

import json
import re
import subprocess
import sys
import warnings
from pathlib import Path

import pytest

LOCK = Path(__file__).parents[1] / "requirements.lock"


@pytest.mark.slow
def test_locked_packages_are_audited():
    command = [sys.executable, "-m", "pip_audit", "--requirement", str(LOCK), "--require-hashes", "--disable-pip",
               "--format", "json", "--progress-spinner", "off", "--timeout", "10"]  # fmt: skip
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=180)
    except subprocess.TimeoutExpired:
        warnings.warn("The audit of the packages did not end in 180 s", stacklevel=1)
        return
    if not done.stdout.strip():  # no way to the service that knows of vulnerabilities
        assert re.search("connect|timed out|resolve|upstream", done.stderr, re.IGNORECASE), done.stderr
        warnings.warn(f"The packages were not audited: {done.stderr.strip().splitlines()[-1]}", stacklevel=1)
        return
    packages = json.loads(done.stdout)["dependencies"]
    audited, locked = {package["name"] for package in packages}, LOCK.read_text(encoding="utf-8")
    # Lines for other systems and Python versions are left out.
    everywhere = set(re.findall(r"^([a-z0-9-]+)==\S+ \\$", locked, re.MULTILINE))
    assert everywhere <= audited and {"mlflow", "onnxruntime"} <= everywhere
    for package in packages:
        for found in package.get("vulns", ()):
            fixed = ", ".join(found["fix_versions"]) or "no version yet"
            text = f"{package['name']} {package['version']} has {found['id']}, mended in {fixed}"
            warnings.warn(text, stacklevel=1)
    if unknown := sum("skip_reason" in package for package in packages):
        warnings.warn(f"{unknown} of {len(packages)} packages could not be audited", stacklevel=1)
