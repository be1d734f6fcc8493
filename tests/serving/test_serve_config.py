"""The serving configuration refuses what it does not know."""

import pytest

from serving.config import ConfigError, ServeConfig, load_config


def test_configuration_file_has_every_key_at_its_default():
    assert load_config() == ServeConfig()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("kk: 3", "`kk`: Extra inputs are not permitted"),
        ("k: 0", "`k`: Input should be greater than or equal to 1"),
        ("k: '3'", "`k`: Input should be a valid integer"),
        ("include_tags: sale", "`include_tags`: Input should be a valid list"),
        ("exclude_categories: ['']", "`exclude_categories.0`: String should have at least 1 character"),
        ("exclude_seen: 1", "`exclude_seen`: Input should be a valid boolean"),
        ("alias: ''", "`alias`: String should have at least 1 character"),
        ("- 1", "should be a mapping. Received: list"),
        ("a: [", "should be a readable YAML file"),
    ],
)
def test_wrong_configuration_is_refused(tmp_path, text, message):
    path = tmp_path / "config.yaml"
    path.write_text(text)
    with pytest.raises(ConfigError, match=message):
        load_config(path)
