"""How a page is made from templates: escaped by default, and an error where a template names what it was not given."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import Any

import jinja2

from watchword.pages.text import visible

_SHARED = "watchword.pages"


def render_page(package: str, name: str, content: Mapping[str, Any]) -> str:
    """A template of ``package`` (in its folder ``templates``); the shared ones stand under ``pages/`` for it to extend."""
    return _templates(package).get_template(name).render(content)


@cache
def _templates(package: str) -> jinja2.Environment:
    shared = jinja2.PrefixLoader({"pages": jinja2.PackageLoader(_SHARED)})
    found = jinja2.Environment(
        loader=jinja2.ChoiceLoader([shared, jinja2.PackageLoader(package)]),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    found.filters["visible"] = visible
    found.filters["count"] = "{:,}".format
    return found
