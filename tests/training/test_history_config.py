"""The ranker's settings as a file."""

import pytest

from training.config import ConfigError
from training.history_config import load_history_config


def test_what_a_file_leaves_out_has_its_default(tmp_path):
    path = tmp_path / "ranker.yaml"
    path.write_text("days: 14\nhidden: [16]\n")
    config = load_history_config(path)
    assert (config.days, config.hidden, config.seeds) == (14, (16,), 3)


@pytest.mark.parametrize("text", ["half_life: 3", "seeds: 0", "[", "days: soon", "hidden: []"])
def test_a_file_that_does_not_fit_is_refused(tmp_path, text):
    path = tmp_path / "ranker.yaml"
    path.write_text(text)
    with pytest.raises(ConfigError, match="ranker"):
        load_history_config(path)
    with pytest.raises(ConfigError, match="Cannot read"):
        load_history_config(tmp_path / "none.yaml")
