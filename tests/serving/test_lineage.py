"""What a version was made with: configuration, commit and lock, in a repository made here."""

import hashlib
import subprocess

from fake_bundle import build_fake_bundle

from serving.bundle import open_bundle
from serving.lineage import flat, lineage_tags, metric_name


def test_code_is_named_by_its_commit_and_without_git_by_its_package(tmp_path):
    def git(*arguments):
        person = ["-c", "user.name=x", "-c", "user.email=x@example.org", "-c", "commit.gpgsign=false"]
        return subprocess.run(["git", *person, *arguments], cwd=tmp_path, check=True, capture_output=True, text=True)

    opened = open_bundle(build_fake_bundle(tmp_path.with_name("bundle")))
    without = lineage_tags(tmp_path, opened, {"k": 16})
    assert without["code_version"].startswith("shopify-slirec ") or without["code_version"] == "unknown"
    assert (without["code_dirty"], without["lock_sha256"]) == ("unknown", "unknown")
    git("init")
    git("commit", "--allow-empty", "-m", "x")
    commit = git("rev-parse", "HEAD").stdout.strip()
    clean = lineage_tags(tmp_path, opened, {"k": 16})
    assert (clean["code_version"], clean["code_dirty"]) == (commit, "false")
    (tmp_path / "requirements.lock").write_text("numpy==2\n")
    changed = lineage_tags(tmp_path, opened, {"k": 17})
    assert (changed["code_version"], changed["code_dirty"]) == (commit, "true")
    assert changed["lock_sha256"] == hashlib.sha256(b"numpy==2\n").hexdigest()
    assert changed["serving_config_sha256"] != clean["serving_config_sha256"]
    (tmp_path / "inside").mkdir()
    assert lineage_tags(tmp_path / "inside", opened, {})["code_dirty"] == "unknown"  # another project's repository


def test_names_that_fit_mlflow():
    assert list(flat({"model": {"units": 40, "deep": {"x": None}}, "k": 1})) == [
        ("model.units", "40"), ("model.deep.x", "None"), ("k", "1"),
    ]  # fmt: skip
    assert metric_name("full_ranking/seen_out/NDCG@10 (mean)") == "full_ranking/seen_out/NDCG_at_10 _mean_"
