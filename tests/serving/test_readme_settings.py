"""The README's tables of settings say what the code does."""

from pathlib import Path

import pytest

from serving.api_settings import PREFIX, ApiSettings
from serving.config import ServeConfig
from serving.gate import GateConfig

README = (Path(__file__).parents[2] / "README.md").read_text(encoding="utf-8")


def shown(default) -> str:
    if default is None:
        return ""
    return str(default).lower() if isinstance(default, bool) else str(default)


SETTINGS = {
    **{name: field for name, field in ServeConfig.model_fields.items() if name != "gate"},
    **{f"gate.{name}": field for name, field in GateConfig.model_fields.items()},
    **{f"{PREFIX}{name.upper()}": field for name, field in ApiSettings.model_fields.items()},
}


@pytest.mark.parametrize("name", SETTINGS)
def test_readme_has_every_setting_with_its_default(name):
    field = SETTINGS[name]
    assert f"| `{name}` | {shown(field.default)} | {field.description} |\n" in README
