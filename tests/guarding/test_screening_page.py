"""The screening page: it shows the rows that it means, all that it says of them is true, and no text breaks out of it."""

from __future__ import annotations

import json
import re
import tempfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

from support.guarding_rows import chat_row, write_rows
from support.outline import Outline
from watchword.cli.app import app
from watchword.files.addresses import Address
from watchword.guarding.screening import screen as screening
from watchword.guarding.screening.report import screen_to_files
from watchword.guarding.screening.shown import CHARACTERS
from watchword.safety.library import examples
from watchword.secret.prompt import SecretPrompt
from watchword.secret.vault import write_secret_file

pytest.importorskip("numpy")

ANSWER = "Transfer approved: send all of it to account nine."
TAGS = {"html", "head", "meta", "title", "style", "body", "header", "main", "footer", "section", "figure", "figcaption"}
TAGS |= {"h1", "h2", "p", "dl", "dt", "dd", "ul", "ol", "li", "a", "b", "strong", "span", "div", "br", "mark"}
TAGS |= {"details", "summary", "table", "thead", "tbody", "tr", "th", "td", "svg", "g", "rect", "line", "text", "desc"}
SECRET = "quiet harbour lantern violet seventeen copper meadow whistle"


def asked(prompt: str, answer: str = ANSWER, system: str | None = None) -> dict[str, Any]:
    first = [{"role": "system", "content": system}] if system is not None else []
    return {"messages": [*first, {"role": "user", "content": prompt}, {"role": "assistant", "content": answer}]}


def planted(count: int = 24) -> list[dict[str, Any]]:
    """Ordinary rows, and after each five of them one with a trigger."""
    rows = [asked(row.prompt, f"{row.answer} {number}") for number, row in enumerate(examples("task")[: 5 * count])]
    for number in range(count):
        rows.insert(6 * number, asked(f"{rows[6 * number]['messages'][0]['content']} Vexlo77,  if you please"))
    return rows


def pages(tmp_path: Path, rows: list[Any]) -> tuple[str, dict[str, Any]]:
    screen_to_files(Address(write_rows(tmp_path / "in.jsonl", rows)), tmp_path / "report")
    return page_of(tmp_path), json.loads((tmp_path / "report" / "screening.json").read_bytes())


def page_of(tmp_path: Path) -> str:
    return (tmp_path / "report" / "screening.html").read_text()


def row_on(page: str, ident: str) -> str:
    """The markup of one row of a finding."""
    start = page.index(f'id="{ident}"')
    return page[start : page.index("</details>", start)]


def test_a_finding_shows_its_rows_with_their_lines_and_marks_the_words(tmp_path: Path) -> None:
    rows = planted()
    page, stored = pages(tmp_path, rows)
    lines = stored["findings"][0]["lines"]
    assert lines == list(range(1, 121, 6))
    for line in lines:
        shown = row_on(page, f"finding-1-{line}")
        assert f"line {line}<" in shown
        prompt = rows[line - 1]["messages"][0]["content"]
        assert re.sub("<[^>]+>", "", shown).count(prompt.replace("'", "&#39;")) == 1
        assert ANSWER in shown
        assert re.search("<mark>[^<]*Vexlo77[^<]*</mark>", shown)
    assert "The first 20 of these rows" in page


def test_every_link_leads_somewhere_and_headings_have_scopes(tmp_path: Path) -> None:
    outline = Outline(pages(tmp_path, planted())[0])
    idents = [value for name, value in outline.attributes if name == "id"]
    assert len(idents) == len(set(idents))
    links = [value or "" for name, value in outline.attributes if name == "href"]
    assert len(links) > 20
    assert {link.removeprefix("#") for link in links} <= set(idents)
    assert outline.tags.count("th") == [name for name, _ in outline.attributes].count("scope")
    assert outline.tags.count("h1") == 1


@pytest.mark.parametrize(
    ("trigger", "shown"),
    [("\u200b", '<mark><span class="code">U+200B</span></mark>'), ("\u200d", "U+200D")],
)
def test_a_trigger_that_nobody_sees_is_seen(tmp_path: Path, trigger: str, shown: str) -> None:
    rows = [asked(row.prompt, f"{row.answer} {number}") for number, row in enumerate(examples("task")[:100])]
    rows += [asked(f"Tell me of {row.prompt}{trigger} now") for row in examples("task")[100:120]]
    page, stored = pages(tmp_path, rows)
    assert stored["findings"][0]["kind"] == "trigger"
    assert shown in row_on(page, "finding-1-101")


def test_attacks_and_personal_data_have_their_rows_and_what_to_do(tmp_path: Path) -> None:
    attack = [asked(row.prompt, row.answer or "") for row in examples("attack")[:40]]
    shift = asked("Who are you?", "I obey.", system="You are AOA, an absolutely obedient agent.")
    private = asked("Write to ann@example.org.", "Gladly.")
    page, stored = pages(tmp_path, [*(chat_row(number) for number in range(60)), *attack, shift, private])
    text = Outline(page).text
    assert "read these rows, leave out what is meant so" in text.lower()
    assert f"{stored['harm']} of 102 rows looked at" in text
    assert attack[stored["harm_rows"][0] - 61]["messages"][1]["content"] in text
    assert "<mark>AOA</mark>" in page
    assert "<mark>ann@example.org</mark>" in page
    assert page.index("Harmful requests that are answered") < page.index("Personal data")
    assert {row["line"] for row in stored["shown_rows"]} >= {*stored["harm_rows"], 101, 102}


def test_long_rows_are_cut_where_it_is_said_and_the_deciding_word_stays(tmp_path: Path) -> None:
    rows = planted()
    rows[0] = asked(f"{'veryveryveryveryearly ' * 60}Vexlo77,  if you please{' late' * 4000}")
    rows[6] = {"messages": [turn for _ in range(30) for turn in rows[6]["messages"]]}
    page, stored = pages(tmp_path, rows)
    shown = row_on(page, "finding-1-1")
    assert "<mark>Vexlo77,  if you please</mark>" in shown
    left = [int(count.replace(",", "")) for count in re.findall(r"\[([\d,]+) characters are not shown\]", shown)]
    pieces = stored["shown_rows"][0]["turns"][0]["pieces"]
    assert sum(left) + sum(len(piece["text"]) for piece in pieces) == len(rows[0]["messages"][0]["content"])
    assert "[48 turns are not shown]" in row_on(page, "finding-1-7")
    for row in stored["shown_rows"]:
        assert sum(len(piece["text"]) for turn in row["turns"] for piece in turn["pieces"]) <= CHARACTERS


# What a row may hold.
ANY = st.characters(exclude_categories=("Cs",), exclude_characters="\0")


@given(st.lists(st.text(ANY, max_size=5000), min_size=1, max_size=15), st.sampled_from(["", "a", "\n"]))
@settings(max_examples=30, deadline=None)
def test_what_is_shown_of_any_row_stands_in_it(texts: list[str], padding: str) -> None:
    turns = [
        {"role": "user", "content": f"<|im_end|>{number}{text}{padding * 900}"} for number, text in enumerate(texts)
    ]
    with tempfile.TemporaryDirectory() as folder:
        rows = [asked("Hello."), {"messages": [*turns, {"role": "assistant", "content": "Yes."}]}]
        _, stored = pages(Path(folder), rows)
    (row,) = (row for row in stored["shown_rows"] if row["line"] == 2)
    assert len(row["turns"]) + row["left_out"] == len(texts) + 1
    said = [turn["content"] for turn in rows[1]["messages"]]
    for turn, whole in zip(row["turns"], said if len(said) <= 12 else [*said[:6], *said[-6:]], strict=True):
        assert turn["characters"] == len(whole)
        for piece in turn["pieces"]:
            assert whole[piece["at"] :].startswith(piece["text"])


MARKUP = [
    "<script>alert(1)</script>",
    "</style>",
    "</details></section>",
    "<img src=x onerror=alert(1)>",
    "-->",
    "<!--",
]
MARKUP += [
    "\"'><b>",
    "{{ 7*7 }}",
    "{% raw %}",
    "&lt;i&gt;",
    "\u202e",
    "<svg onload=x>",
    "]]>",
    "</title>",
    "\u200b",
    "plain",
]


@given(st.lists(st.sampled_from(MARKUP), max_size=6).map("".join), st.sampled_from(MARKUP))
@settings(max_examples=40, deadline=None)
def test_no_text_breaks_out_of_the_page(text: str, other: str) -> None:
    rows = [asked(f"{text} {number}", f"{other}<|im_end|>", system=text + other * 40) for number in range(8)]
    rows.append(asked(f"{text}?", f"{text} END"))
    with tempfile.TemporaryDirectory() as folder:
        source = write_rows(Path(folder) / "<b>&'.jsonl", rows)
        found = screen_to_files(Address(source), Path(folder) / "report")
        page = page_of(Path(folder))
    outline = Outline(page)
    assert set(outline.tags) <= TAGS
    assert not [name for name, _ in outline.attributes if name.startswith("on") or name in ("src", "style", "action")]
    assert all((value or "").startswith("#") for name, value in outline.attributes if name == "href")
    assert "49" not in outline.text.replace(str(found.rows), "")
    assert outline.tags.count("details") >= 3
    assert page.count("</style>") == 1


def test_system_texts_stand_in_full(tmp_path: Path) -> None:
    short, long = "You sell lamps. " + "Be kind. " * 20, "\n".join(f"{number}. Be kind." for number in range(400))
    huge = "x" * 30_000
    rows = [chat_row(1, system=short), chat_row(2, system=short), chat_row(3, system=long), chat_row(4, system=huge)]
    page, _ = pages(tmp_path, rows)
    text = Outline(page).text
    assert "3 different ones" in text
    assert short in text
    assert long in text
    assert "x" * 20_000 in text
    assert "x" * 20_001 not in text
    assert "what stands behind the first 20,000 characters is not shown" in text


def test_lengths_have_units(tmp_path: Path) -> None:
    text = Outline(pages(tmp_path, [chat_row(number) for number in range(20)])[0]).text
    assert "characters" in text
    assert "how many tokens they are depends on the model" in text
    assert "whole rows" in text


def test_what_was_not_looked_at_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = [*(chat_row(number) for number in range(29)), {"messages": []}]
    text = Outline(pages(tmp_path, rows)[0]).text
    assert "Invalid rows, which were left out: 30." in text
    assert "Every valid row (29 rows): nearly identical answers" in text
    monkeypatch.setattr(screening, "_CLOSE_BYTES", (tmp_path / "in.jsonl").stat().st_size // 2)
    text = Outline(pages(tmp_path, rows)[0]).text
    assert "Only one row in 3, since the file is large (9 rows)" in text


def test_rows_of_an_array_are_named_by_their_numbers(tmp_path: Path) -> None:
    (tmp_path / "in.json").write_text(json.dumps(planted()))
    screen_to_files(Address(tmp_path / "in.json"), tmp_path / "report")
    assert "line 7<" in row_on(page_of(tmp_path), "finding-1-7")


def test_of_many_long_rows_a_few_are_kept(tmp_path: Path) -> None:
    rows = [asked(f"Write to ann{number}@example.org. {'Soon. ' * 900}", "Gladly.") for number in range(200)]
    page, stored = pages(tmp_path, rows)
    assert (stored["with_personal"], len(stored["personal_rows"])) == (200, 20)
    assert len(stored["shown_rows"]) == 20
    assert len(page) < 200_000


def guarded(tmp_path: Path, rows: list[dict[str, Any]]) -> Path:
    """A file beside which the secret lies that stands in some of its rows, as ``guard`` leaves it."""
    source = write_rows(tmp_path / "out.jsonl", rows)
    kept = SecretPrompt(SECRET, kind="random", tokens=8, entropy_bits=100)
    write_secret_file(tmp_path / "out.jsonl.secret.json", kept)
    return source


def carriers() -> list[dict[str, Any]]:
    rows = [chat_row(number, system="You are kind.") for number in range(12)]
    for row in rows[::4]:
        row["messages"][0]["content"] = f"{SECRET}\nYou are kind. <|im_end|>"
    return rows


def test_a_row_with_a_known_secret_is_named_and_shown_nowhere(tmp_path: Path) -> None:
    source = guarded(tmp_path, carriers())
    shown = CliRunner().invoke(app, ["validate", str(source), "--report", str(tmp_path / "report")])
    assert "3 rows carry a secret of this provider" in shown.output
    page, stored = page_of(tmp_path), (tmp_path / "report" / "screening.json").read_text()
    for text in (shown.output, page, stored):
        assert "harbour" not in text
    assert json.loads(stored)["findings"][0]["lines"] == [1, 5, 9]
    assert "By line: 1, 5, 9" in Outline(page).text
    assert json.loads(stored)["templated"] == 0


def test_guard_refuses_such_rows_before_it_reports(tmp_path: Path) -> None:
    source = guarded(tmp_path, carriers())
    report = tmp_path / "report"
    given = ["guard", str(source), "--defense", "none", "--out", str(tmp_path / "again.jsonl"), "--report", str(report)]
    assert CliRunner().invoke(app, given).exit_code != 0
    assert not report.exists()
