"""The charts of all pages: what they draw is where the figures say, and they name themselves."""

from __future__ import annotations

import xml.etree.ElementTree as ET

import pytest
from hypothesis import given
from hypothesis import strategies as st

from watchword.pages.bars import Bar, Panel, bars
from watchword.pages.histogram import bounds, histograms
from watchword.pages.rows import Label
from watchword.pages.svg import short

SVG = "{http://www.w3.org/2000/svg}"
POWERS = st.dictionaries(st.integers(0, 30), st.integers(1, 10**9), max_size=8)


def texts(root: ET.Element) -> list[str]:
    return [node.text or "" for node in root.iter(f"{SVG}text")]


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (0, "0"),
        (2.5, "2.5"),
        (0.1 * 3, "0.3"),
        (1500, "1,500"),
        (20_000, "20k"),
        (16_384, "16.4k"),
        (1_500_000, "1.5M"),
    ],
)
def test_numbers_at_an_axis_are_short(value: float, words: str) -> None:
    assert short(value) == words


@pytest.mark.parametrize(("power", "words"), [(0, "0"), (1, "1"), (2, "2–3"), (3, "4–7"), (11, "1,024–2,047")])
def test_bounds_of_a_column(power: int, words: str) -> None:
    assert bounds(power) == words


@given(POWERS, POWERS)
def test_a_histogram_has_a_column_for_each_count_inside_its_frame(one: dict[int, int], other: dict[int, int]) -> None:
    root = ET.fromstring(histograms("h", "How long?", "So long.", {"a": one, "b": other}, ("characters", "rows")))
    columns = list(root.iter(f"{SVG}rect"))
    assert len(columns) == len(one) + len(other)
    width, height = (float(root.get(side, "")) for side in ("width", "height"))
    for column in columns:
        x, y, w, h = (float(column.get(name, "")) for name in ("x", "y", "width", "height"))
        assert 0 <= x < x + w <= width
        assert 0 <= y < y + h <= height


def test_a_taller_column_is_more_and_its_axes_are_named() -> None:
    root = ET.fromstring(histograms("h", "How long?", "So long.", {"rows": {3: 10, 5: 20}}, ("characters", "rows")))
    small, large = (float(column.get("height", "")) for column in root.iter(f"{SVG}rect"))
    assert large == pytest.approx(2 * small, abs=0.1)
    assert {"characters", "rows", "4", "8", "16", "32"} <= set(texts(root))
    named = [node.text for node in root.iter(f"{SVG}title")]
    assert named == ["How long?", "4–7 characters: 10 rows", "16–31 characters: 20 rows"]


def test_bars_need_no_arm() -> None:
    panel = Panel("rows", [Bar(98, "98", aside="96 %"), None], top=98)
    root = ET.fromstring(bars("b", "Which?", "These.", [Label("<English>"), Label("none", heading="Others")], [panel]))
    assert {"rows", "<English>", "98", "96 %", "Others", "none", "–"} <= set(texts(root))


def test_a_long_title_stays_above_its_own_panel() -> None:
    titles = [
        "ASR, refusal suppression, lower is better",
        "short",
        "ASR, several turns, lower is better",
        "ASR, role play",
    ]
    root = ET.fromstring(bars("b", "Which?", "These.", [Label("model")], [Panel(name, [None]) for name in titles]))
    heads = [node for node in root.iter(f"{SVG}text") if node.get("class") == "heading"]
    columns = {left: [node for node in heads if node.get("x") == left] for left in {node.get("x") for node in heads}}
    assert {" ".join(node.text or "" for node in own) for own in columns.values()} == set(titles)
    lefts = sorted(float(left or 0) for left in columns)
    assert all(len(node.text or "") * 7 <= lefts[1] - lefts[0] for node in heads)
    # All end right above their panels, on one line.
    assert len({max(float(node.get("y", 0)) for node in own) for own in columns.values()}) == 1
