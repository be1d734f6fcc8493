"""Renders a theme section as Shopify does, as far as the section of this project needs it.

Liquid itself is python-liquid; here are the filters and the schema block that Shopify adds to it.
https://shopify.dev/docs/storefronts/themes/architecture/sections and https://shopify.dev/docs/api/liquid/filters
"""

import hashlib
import hmac
import json
import re
from collections.abc import Mapping
from functools import cache
from html import escape
from pathlib import Path
from typing import Any

from liquid import Environment

THEME = Path(__file__).parents[1] / "theme"

_SCHEMA = re.compile(r"\{%-?\s*schema\s*-?%\}(.*?)\{%-?\s*endschema\s*-?%\}", re.DOTALL)


def hmac_sha256(value: object, secret: object) -> str:
    """Returns HMAC-SHA256 of a text under a secret in lower-case hex, as the Liquid filter of that name."""
    return hmac.new(_text(secret).encode(), _text(value).encode(), hashlib.sha256).hexdigest()


def _text(value: object) -> str:
    return "" if value is None else str(value)


def _asset_url(name: object) -> str:
    return f"/assets/{name}"


def _stylesheet_tag(url: object) -> str:
    return f'<link href="{escape(str(url))}" rel="stylesheet" type="text/css" media="all" />'


@cache
def _environment() -> Environment:
    environment = Environment()  # without autoescape: Shopify's Liquid has none either
    environment.add_filter("hmac_sha256", hmac_sha256)
    environment.add_filter("asset_url", _asset_url)
    environment.add_filter("stylesheet_tag", _stylesheet_tag)
    return environment


def section_source(name: str) -> str:
    """Returns the text of theme/sections/<name>.liquid."""
    return (THEME / "sections" / f"{name}.liquid").read_text(encoding="utf-8")


def section_schema(name: str) -> dict[str, Any]:
    """Returns the schema of a section.

    Raises:
        ValueError: The section has no schema, or one that is not JSON.
    """
    found = _SCHEMA.search(section_source(name))
    if found is None:
        raise ValueError(f"sections/{name}.liquid should have a {{% schema %}} block. Received: none")
    return json.loads(found[1])


def section_settings(name: str, given: Mapping[str, str]) -> dict[str, Any]:
    """Returns the settings of a section as the theme editor would have stored them.

    Args:
        name: Of the section.
        given: Setting id -> text, as it comes in a query string; what the schema does not know is left out.

    Returns:
        Setting id -> value, in the schema's types; defaults where nothing is given.

    Raises:
        ValueError: A value that the theme editor would not take.
    """
    settings = [setting for setting in section_schema(name)["settings"] if "id" in setting]
    return {setting["id"]: _value(setting, given.get(setting["id"])) for setting in settings}


def _value(setting: Mapping[str, Any], text: str | None) -> Any:
    if text is None:
        return setting.get("default")
    if setting["type"] == "checkbox":
        if text not in ("true", "false"):
            raise ValueError(f"`{setting['id']}` should be true or false. Received: {text}")
        return text == "true"
    if setting["type"] == "range":
        allowed = range(setting["min"], setting["max"] + 1, setting["step"])
        if not re.fullmatch(r"\d{1,6}", text, re.ASCII) or int(text) not in allowed:
            raise ValueError(
                f"`{setting['id']}` should be from {setting['min']} to {setting['max']}, in steps of {setting['step']}."
                f" Received: {text}"
            )
        return int(text)
    return text


def render_liquid(source: str, **variables: Any) -> str:
    """Returns what a piece of Liquid renders to.

    Args:
        source: The Liquid.
        variables: Liquid objects, such as `customer`.
    """
    return _environment().from_string(source).render(**variables)


def render_section(name: str, section_id: str, settings: Mapping[str, Any], **variables: Any) -> str:
    """Returns the HTML of one section, in the element that Shopify wraps around it.

    Args:
        name: Of the file in theme/sections.
        section_id: Unique on the page.
        settings: As `section_settings` returns them.
        variables: Global Liquid objects, such as `customer` and `routes`.
    """
    # The schema is for the theme editor only: it is not rendered, and its JSON is not Liquid.
    section = {"id": section_id, "settings": dict(settings)}
    html = render_liquid(_SCHEMA.sub("", section_source(name)), section=section, **variables)
    css_class = f"shopify-section {section_schema(name).get('class', '')}".strip()
    return f'<div id="shopify-section-{escape(section_id)}" class="{escape(css_class)}">{html}</div>'
