"""The colours of all pages, in light and dark."""

from __future__ import annotations

import re
from importlib.resources import files

import pytest


def _luminance(colour: str) -> float:
    channels = [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
    linear = [c / 12.92 if c <= 0.03928 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


@pytest.mark.parametrize("half", [0, 1], ids=["light", "dark"])
def test_colours_are_told_from_the_paper(half: int) -> None:
    """WCAG 2.2: 4.5 for text (1.4.3), 3 for what a picture is made of (1.4.11)."""
    palette = files("watchword.pages").joinpath("templates", "palette.css").read_text().split("@media")[half]
    colours = dict(re.findall(r"--([\w]+): (#[0-9a-f]{6});", palette))
    for paper in ("paper", "card", "mark"):
        for name in (
            ("ink",) if paper == "mark" else ("ink", "muted", "link", "bad", *(f"c{number}" for number in range(9)))
        ):
            pair = sorted((_luminance(colours[name]), _luminance(colours[paper])))
            ratio = (pair[1] + 0.05) / (pair[0] + 0.05)
            assert ratio >= (3 if name.startswith("c") else 4.5), (name, paper, ratio)
