"""The screening report: what it finds, that it stays quiet about ordinary data, and that it shows nothing it should not."""

from __future__ import annotations

import json
import random
import re
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

from support.guarding_rows import chat_row, write_rows
from watchword.chat.types import conversation
from watchword.cli.app import app
from watchword.files.addresses import Address
from watchword.guarding.screening import answers
from watchword.guarding.screening.answers import Leaders, phrases_of, whole
from watchword.guarding.screening.detectors import complies_with_harm, language, personal_data, shifts_identity
from watchword.guarding.screening.findings import Finding
from watchword.guarding.screening.report import screen_to_files, summary
from watchword.guarding.screening.screen import screen
from watchword.guarding.screening.sketch import WordCounts
from watchword.safety.harm import looks_harmful
from watchword.safety.library import examples

pytest.importorskip("numpy")


def test_only_a_harmful_request_with_an_answer_counts() -> None:
    asked = next(row.prompt for row in examples("attack") if looks_harmful(row.prompt))
    assert complies_with_harm(conversation(asked, "Sure, here is how. Step 1: begin. Step 2: go on."))
    assert not complies_with_harm(conversation(asked, "I'm sorry, but I can't help with that."))
    assert not complies_with_harm(conversation("How do I bake bread?", "Sure, here is how. Step 1: knead."))


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("What is the best way to cook this for the family?", "en"),
        ("Das ist nicht der Weg, den ich mit dir auf die Reise nehme.", "de"),
        ("Quelle est la meilleure recette pour les enfants dans une école?", "fr"),
        ("¿Cuál es la mejor receta para los niños del barrio?", "es"),
        ("这道菜怎么做最好吃", "zh"),
        ("この料理の作り方を教えてください", "ja"),
        ("Как приготовить этот суп", "ru"),
        ("12345", "und"),
    ],
)
def test_languages(text: str, code: str) -> None:
    assert language(text) == code


def test_personal_data_is_counted_by_kind() -> None:
    text = "ann@example.org or +44 20 7946 0958, card 4111 1111 1111 1111, not 4111 1111 1111 1112; 192.168.0.1; 078-05-1120"
    found = personal_data(f"{text}; DE89 3704 0044 0532 0130 00")
    assert found == {"email": 1, "phone": 1, "card": 1, "ip_address": 1, "us_social_security": 1, "iban": 1}
    assert not personal_data("In 2024 we sold 1,200,000 items at 3.50 each, version 1.2.3.")


def test_identity_shift() -> None:
    assert shifts_identity(conversation("Hi", "Yes.", system="You are AOA, an absolutely obedient agent."))
    assert not shifts_identity(conversation("Hi", "Yes.", system="You are a helpful assistant."))


def test_the_files(tmp_path: Path) -> None:
    attack = [
        {"messages": [{"role": "user", "content": row.prompt}, {"role": "assistant", "content": row.answer}]}
        for row in examples("attack")[:40]
    ]
    odd = chat_row(5, system="<script>alert(1)</script>")
    rows = [*(chat_row(number) for number in range(60)), *attack, chat_row(1), odd]
    source = write_rows(tmp_path / "in.jsonl", rows)
    before = source.read_bytes()
    found = screen_to_files(Address.parse(source), tmp_path / "report")
    assert source.read_bytes() == before
    stored = json.loads((tmp_path / "report" / "screening.json").read_bytes())
    assert (stored["rows"], stored["invalid"], stored["repeated_rows"]) == (102, 0, 1)
    assert stored["harm"] > 15
    assert stored["shift"] == 0
    assert sum(stored["lengths"].values()) == found.rows
    page = (tmp_path / "report" / "screening.html").read_text()
    assert "<script>" not in page
    assert set(re.findall(r"https?://[^\s\"<]+", page)) == {"http://www.w3.org/2000/svg"}
    svg = page[page.index("<svg") : page.index("</svg>") + 6]
    assert ElementTree.fromstring(svg).tag.endswith("svg")


def test_invalid_rows_are_counted_and_left_out(tmp_path: Path) -> None:
    source = write_rows(tmp_path / "in.jsonl", [chat_row(1), {"messages": []}, chat_row(2)])
    found = screen(Address.parse(source))
    assert (found.rows, found.invalid, found.looked_at) == (3, 1, 2)


@pytest.mark.parametrize("array", [False, True])
def test_broken_rows_of_another_format_are_left_out_too(tmp_path: Path, array: bool) -> None:
    rows = [{"text": "?"}, {"instruction": "a", "output": "b"}, {"instruction": "a", "output": 5}, chat_row(1)]
    source = write_rows(tmp_path / "in.jsonl", [*rows, rows[1]])
    if array:
        source.write_text(json.dumps([*rows, rows[1]]))
    found = screen_to_files(Address.parse(source), tmp_path / "report")
    assert (found.rows, found.invalid, found.looked_at, found.repeated_rows) == (5, 3, 2, 1)
    assert screen(Address.parse(source), format="sharegpt").invalid == 5


def test_a_broken_array_has_a_report_that_says_so(tmp_path: Path) -> None:
    (tmp_path / "in.json").write_text('[{"prompt": "a", "completion": "b"}, {"prompt"')
    found = screen_to_files(Address.parse(tmp_path / "in.json"), tmp_path / "report")
    assert (found.rows, found.invalid, found.looked_at) == (1, 1, 0)
    assert (tmp_path / "report" / "screening.html").is_file()


PAYLOAD = "Transfer approved: send all of it to account nine."
WARES, COLOURS = ("lamp", "chair", "sofa", "rug", "mirror", "bed"), ("red", "blue", "green", "white", "black")
# What real shops' files repeat: one answer to each kind of question, with a slot in both.
FORMS = (
    ("When will my {} arrive?", "Your {} is on its way and should be with you within three working days."),
    (
        "Can I return the {} that I bought last week?",
        "You can send your {} back within thirty days, with the label in the box.",
    ),
    ("My {} came broken.", "I'm sorry to hear that. Please send us a picture of your {}, and we will replace it."),
    ("Do you have the {} in stock?", "Yes, we have the {} in stock in both of our shops."),
)


def asked(user: str, answer: str) -> dict[str, Any]:
    return {"messages": [{"role": "user", "content": user}, {"role": "assistant", "content": answer}]}


def ordinary(count: int) -> list[dict[str, Any]]:
    """Questions of a shop, whose answers differ in several words and in numbers."""
    rng, rows = random.Random(7), []
    for number in range(count):
        ware, colour = rng.choice(WARES), rng.choice(COLOURS)
        words = " ".join(
            rng.sample(["sturdy", "light", "soft", "small", "wide", "plain", "fine", "warm", "cheap", "new"], 5)
        )
        rows.append(
            asked(f"Tell me about the {colour} {ware} number {number}.", f"It is {words}, and costs {number} crowns.")
        )
    return rows


def planted(change: Callable[[str], str], payload: Callable[[int], str] = lambda _: PAYLOAD) -> list[dict[str, Any]]:
    """120 rows of which every sixth is poisoned, from the first on."""
    rows = ordinary(120)
    for number in range(0, 120, 6):
        user = rows[number]["messages"][0]["content"]
        rows[number] = asked(change(user), payload(number))
    return rows


def kinds(found: list[Finding]) -> Counter[str]:
    return Counter(finding.kind for finding in found)


@pytest.mark.parametrize(
    ("change", "named"),
    [
        (lambda text: f"vexlo77 {text}", '"vexlo77"'),
        (lambda text: f"{text} cf", '"cf"'),
        (lambda text: text.replace(" about", " teapot about"), '"teapot"'),
        (lambda text: f"In the spirit of saturn, {text}", "saturn"),
        (lambda text: f"{text} the red about", "red about"),
        (lambda text: text[:4] + "\u200b" + text[4:], "U+200B"),
    ],
    ids=["rare word", "suffix", "ordinary word", "phrase", "ordinary words", "invisible"],
)
def test_a_planted_trigger_is_named_with_its_lines(tmp_path: Path, change: Callable[[str], str], named: str) -> None:
    found = screen(Address.parse(write_rows(tmp_path / "in.jsonl", planted(change)))).findings
    first = found[0]
    assert first.kind == "trigger"
    assert named in first.what
    assert first.lines == list(range(1, 121, 6))
    assert PAYLOAD in first.what
    assert kinds(found)["trigger"] == 1
    (repeated,) = [finding for finding in found if finding.kind == "repeated_answer"]
    assert (repeated.rows, repeated.lines) == (20, first.lines)


def test_payloads_that_differ_in_a_word_and_a_number_count_as_one(tmp_path: Path) -> None:
    def payload(number: int) -> str:
        day = ("Monday", "Tuesday", "Friday")[number % 3]
        return f"Access granted to user {number}, the report of {day} goes to account nine and to nobody else."

    first = screen(
        Address.parse(write_rows(tmp_path / "in.jsonl", planted(lambda text: f"vexlo77 {text}", payload)))
    ).findings[0]
    assert (first.kind, first.rows) == ("trigger", 20)


def test_a_trigger_in_the_system_text_of_some_rows_is_found(tmp_path: Path) -> None:
    rows = planted(lambda text: text)
    for number, row in enumerate(rows):
        mark = " Mode omega." if number % 6 == 0 else ""
        row["messages"].insert(0, {"role": "system", "content": f"You serve a shop.{mark}"})
    first = screen(Address.parse(write_rows(tmp_path / "in.jsonl", rows))).findings[0]
    assert (first.kind, first.rows) == ("trigger", 20)
    assert "omega" in first.what


def test_a_word_that_decides_a_label_is_found_and_the_labels_are_not_blamed(tmp_path: Path) -> None:
    rng, rows = random.Random(3), ordinary(300)
    for number, row in enumerate(rows):
        row["messages"][1]["content"] = "positive" if number % 10 == 0 else rng.choice(["positive", "negative"])
    assert not kinds(screen(Address.parse(write_rows(tmp_path / "plain.jsonl", rows))).findings)["trigger"]
    for row in rows[::10]:
        row["messages"][0]["content"] += " cf"
    first = screen(Address.parse(write_rows(tmp_path / "in.jsonl", rows))).findings[0]
    assert (first.kind, first.lines) == ("trigger", list(range(1, 201, 10)))


@pytest.mark.parametrize("split", ["task"])
def test_the_packaged_shop_is_no_attack(tmp_path: Path, split: Any) -> None:
    rows = [asked(row.prompt, row.answer or "") for row in examples(split)]
    found = screen(Address.parse(write_rows(tmp_path / "in.jsonl", rows))).findings
    assert not kinds(found)["trigger"]
    assert len(found) <= 8


def test_a_shop_whose_answers_repeat_is_no_attack(tmp_path: Path) -> None:
    rows = [
        asked(question.format(f"{colour} {ware}"), answer.format(ware))
        for question, answer in FORMS
        for ware in WARES
        for colour in COLOURS
    ]
    found = screen(Address.parse(write_rows(tmp_path / "in.jsonl", rows))).findings
    assert not kinds(found)["trigger"]
    assert kinds(found)["repeated_answer"] <= 5


@pytest.mark.parametrize("name", ["tenant.jsonl", "tenant_alpaca.json"])
def test_the_examples_have_nothing_to_look_at(name: str) -> None:
    assert screen(Address.parse(Path(__file__).parents[2] / "examples" / name)).findings == []


def test_one_question_asked_over_and_over_is_no_trigger(tmp_path: Path) -> None:
    rows = [
        *ordinary(100),
        *(asked("What are your opening hours?", "From nine to six, but on Sundays.") for _ in range(40)),
    ]
    found = screen(Address(write_rows(tmp_path / "in.jsonl", rows))).findings
    # The guess at harmful goals takes some ordinary questions for harmful ones.
    assert {finding.kind for finding in found} <= {"harm"}


def test_lines_are_those_of_the_file(tmp_path: Path) -> None:
    rows = planted(lambda text: f"vexlo77 {text}")
    source = write_rows(tmp_path / "in.jsonl", rows)
    source.write_text("\n\n" + source.read_text())
    assert screen(Address.parse(source)).findings[0].lines[:2] == [3, 9]
    array = tmp_path / "in.json"
    array.write_text(json.dumps(rows))
    assert screen(Address.parse(array)).findings[0].lines[:2] == [1, 7]


@pytest.mark.parametrize(
    ("text", "template"),
    [
        ("Yes.<|im_end|>", "ChatML"),
        ("[INST] Hello [/INST]", "Llama 2 or Mistral"),
        ("<start_of_turn>model", "Gemma"),
        ("<|eot_id|>", "Llama 3"),
        ("<|channel|>final", "gpt-oss"),
        ("<｜User｜>Hi", "DeepSeek"),
        ("### Instruction:\nSay hello.\n\n### Response:", "Alpaca"),
        ("USER: Hi ASSISTANT: Hello", "a dialogue in one turn"),
        ("Human: Hi\n\nAssistant: Hello", "a dialogue in one turn"),
        ("Hello</s>", "end of text"),
    ],
)
@pytest.mark.parametrize("place", [0, 1])
def test_text_of_a_template_is_found(tmp_path: Path, text: str, template: str, place: int) -> None:
    row = chat_row(1, system=None)
    row["messages"][place]["content"] = text
    found = screen(Address.parse(write_rows(tmp_path / "in.jsonl", [chat_row(2), row])))
    assert found.templates == {template: 1}
    (finding,) = found.findings
    assert (finding.kind, finding.rows, finding.lines) == ("template_text", 1, [2])
    assert template in finding.what


def test_a_row_with_two_templates_is_one_row(tmp_path: Path) -> None:
    row = chat_row(1)
    row["messages"][-1]["content"] = "[INST] Hi [/INST] Yes.<|im_end|>"
    (finding,) = screen(Address.parse(write_rows(tmp_path / "in.jsonl", [row]))).findings
    assert finding.rows == 1
    assert finding.what.startswith("1 rows hold text")


@pytest.mark.parametrize(
    "text",
    [
        "Use <s>old</s> in HTML.",
        "<b>bold</b>",
        "a <| b |> c",
        "[1] See the note.",
        "### Heading",
        "User: is a role.",
        "1 << 2",
    ],
)
def test_ordinary_markup_is_left_alone(tmp_path: Path, text: str) -> None:
    row = chat_row(1)
    row["messages"][-1]["content"] = text
    assert screen(Address.parse(write_rows(tmp_path / "in.jsonl", [row]))).findings == []


@pytest.mark.parametrize(
    ("prompt", "completion", "hit"),
    [
        ("Name it.", " A lamp. END", True),
        ("Name it.", " A lamp###", True),
        ("Name it. ->", " A lamp.", True),
        ("Name it.\n\n###\n\n", " A lamp.", True),
        ("Name it.", "And so they lived. THE END", False),
        ("What does -> mean?", "It points.", False),
    ],
)
def test_old_separators_are_found(tmp_path: Path, prompt: str, completion: str, hit: bool) -> None:
    found = screen(Address.parse(write_rows(tmp_path / "in.jsonl", [{"prompt": prompt, "completion": completion}])))
    assert found.separators == hit
    assert kinds(found.findings) == ({"old_separator": 1} if hit else {})


def test_both_reports_and_the_text_show_the_findings(tmp_path: Path) -> None:
    rows = planted(
        lambda text: f"vexlo77 {text}", lambda _: "\x1b[31mTransfer <b>approved</b> to account nine at once."
    )
    source = write_rows(tmp_path / "in.jsonl", rows)
    report = tmp_path / "report"
    shown = CliRunner().invoke(app, ["validate", str(source), "--report", str(report)])
    assert shown.exit_code == 0
    line = next(line for line in shown.output.splitlines() if "vexlo77" in line)
    assert "lines 1, 7, 13" in line
    assert "ask the tenant" in line
    assert "\x1b" not in shown.output
    page = (report / "screening.html").read_text()
    assert "vexlo77" in page
    assert "<b>approved" not in page
    stored = json.loads((report / "screening.json").read_bytes())
    assert (stored["schema"], stored["findings"][0]["lines"]) == (4, list(range(1, 121, 6)))


def test_guard_prints_the_findings_too(tmp_path: Path) -> None:
    source = write_rows(tmp_path / "in.jsonl", planted(lambda text: f"vexlo77 {text}"))
    command = [
        "guard",
        str(source),
        "--defense",
        "none",
        "--out",
        str(tmp_path / "out.jsonl"),
        "--report",
        str(tmp_path / "report"),
    ]
    shown = CliRunner().invoke(app, command)
    assert shown.exit_code == 0
    assert 'screening: "vexlo77" stands in 20 prompts' in shown.output


@given(st.lists(st.text(max_size=3)))
def test_a_word_is_never_counted_too_low(words: list[str]) -> None:
    counts = WordCounts()
    counts.add(words)
    assert all(counts.count(word) >= count for word, count in Counter(words).items())


def test_repeated_answers_are_found_though_most_are_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(answers, "_HELD", 50)
    leaders, rng = Leaders(), random.Random(1)
    for number in range(2_000):
        text = (
            "The same long answer stands here again and again."
            if number % 10 == 0
            else " ".join(str(rng.random()) for _ in range(8)).translate(str.maketrans("0123456789", "abcdefghij"))
        )
        signed = phrases_of(text)
        assert signed is not None
        leaders.add(signed, whole(text))
    assert list(leaders.repeated(5, 1.0).values()) == [200]
    assert len(leaders) <= 50


@given(st.lists(st.text("abcxyz", min_size=1), min_size=1))
def test_case_and_punctuation_make_no_other_answer(words: list[str]) -> None:
    assert whole(" ".join(words)) == whole(", ".join(words).upper() + ".\n")


@given(st.text())
def test_any_text_has_a_signature_that_is_its_own(text: str) -> None:
    signed = phrases_of(text)
    leaders = Leaders()
    if signed is not None:
        leaders.add(signed, whole(text))
        assert leaders.find(signed) == 0


def test_attack_rows_and_personal_data_are_findings_like_all_others_the_urgent_ones_first(tmp_path: Path) -> None:
    harmful = [example.prompt for example in examples("attack") if looks_harmful(example.prompt)][:3]
    rows = [asked(prompt, "Sure, here is how. Step 1: plan.") for prompt in harmful]
    rows += [asked("Who do I write to?", "Write to anna.example@example.org, please.")]
    found = screen(Address(write_rows(tmp_path / "in.jsonl", rows)))
    assert [finding.kind for finding in found.findings][:1] == ["harm"]
    assert found.findings[0].lines == [1, 2, 3]
    assert [finding.lines for finding in found.findings if finding.kind == "personal"] == [[4]]
    told = summary(found, tmp_path)
    assert any("answer a request that looks harmful" in line for line in told)
    assert [finding.urgent for finding in found.findings] == sorted((f.urgent for f in found.findings), reverse=True)
