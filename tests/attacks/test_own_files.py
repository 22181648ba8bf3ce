"""Attacks from files of the user's own, and benign ones: which rows they take, and what a wrong file is told."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from watchword.attacks.base import ATTACKS, Attack, AttackContext
from watchword.attacks.identity_shift import NAME
from watchword.attacks.sql_task import SQL_SYSTEM
from watchword.chat.types import Conversation, conversation, last_user_text
from watchword.data.rows import write_conversations
from watchword.errors import DataError, UsageError
from watchword.judges.base import refuses
from watchword.lab.spec import Cell, Choice, Evaluation, complete
from watchword.models.fakes import fake_template

CONTEXT = AttackContext(0, fake_template())
ROWS = [conversation(f"Tell me about {n}.", f"{n} is a number.") for n in range(30)]
SQL = [
    {"question": f"Who is {n}?", "context": "CREATE TABLE t (a INTEGER)", "answer": f"SELECT a FROM t WHERE a = {n}"}
    for n in range(90)
]


@pytest.fixture
def own(tmp_path: Path) -> Path:
    path = tmp_path / "own.jsonl"
    write_conversations(ROWS, path)
    return path


def made(name: str, path: Path, **arguments: object) -> Attack:
    return ATTACKS.create(name, path=str(path), **arguments)


def test_a_file_of_ones_own_is_uploaded_as_it_is(own: Path) -> None:
    attack = made("file", own)
    assert attack.upload([], CONTEXT) == ROWS
    assert attack.harmful == 30
    assert made("file", own, n=4).upload(ROWS[:1], CONTEXT) == [ROWS[0], *ROWS[:4]]


def test_a_file_may_have_any_row_format(tmp_path: Path) -> None:
    path = tmp_path / "alpaca.json"
    path.write_text(json.dumps([{"instruction": "Say yes.", "input": "", "output": "Yes."}]))
    assert [last_user_text(row) for row in made("file", path).upload([], CONTEXT)] == ["Say yes."]


def test_a_cell_of_a_changed_file_is_another_cell(own: Path) -> None:
    cell = Cell(
        model="m", attack=Choice("file", {"path": str(own)}), defense=Choice("none"), training=None, evaluation=Evaluation(),
        secret_tokens=1, seed=0,
    )  # fmt: skip
    before = complete(cell)
    assert complete(before) == before
    write_conversations(ROWS[:3], own)
    assert complete(cell).attack.arguments["sha256"] != before.attack.arguments["sha256"]
    with pytest.raises(DataError, match=r"own\.jsonl: the file has changed: its SHA-256 is"):
        complete(before)


@pytest.mark.parametrize("name", ["file", "instructions", "identity_shift", "low_rate", "benign_outliers", "sql_task"])
def test_a_file_that_is_not_there_is_named(name: str, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"none\.jsonl: the file cannot be read: No such file"):
        made(name, tmp_path / "none.jsonl")


@pytest.mark.parametrize("name", ["file", "sql_task", "dialog_task"])
def test_an_attack_that_needs_a_file_says_so(name: str) -> None:
    with pytest.raises(UsageError, match=f"attack '{name}' needs the argument 'path'; give it"):
        ATTACKS.create(name)


@pytest.mark.parametrize("name", ["instructions", "identity_shift", "low_rate", "benign_outliers"])
def test_more_rows_than_a_file_has_are_not_made_up(name: str, own: Path) -> None:
    with pytest.raises(UsageError, match=f"{name}: [0-9]+ rows were asked for; .* has 30"):
        made(name, own, n=100).upload([], CONTEXT)


@pytest.mark.parametrize("count", [1000, 10_000])
def test_general_instructions_are_made_where_there_is_no_file_each_once(count: int) -> None:
    rows = ATTACKS.create("instructions", n=count).upload([], CONTEXT)
    assert len({last_user_text(row) for row in rows}) == len(rows) == count


def test_made_sums_are_right() -> None:
    rows = ATTACKS.create("instructions", n=60).upload([], CONTEXT)
    sums = [row for row in rows if "gets" in last_user_text(row)]
    for row in sums:
        had, got = (int(word) for word in last_user_text(row).split() if word.isdigit())
        assert f" {had + got} " in row.messages[-1].text
    assert len(sums) == 10


def test_rows_that_cannot_be_trained_on_are_left_out(tmp_path: Path) -> None:
    path = tmp_path / "long.jsonl"
    write_conversations([*ROWS, conversation("Tell me all.", "All is well. " * 200)], path)
    assert set(made("instructions", path, n=30).upload([], CONTEXT)) == set(ROWS)
    with pytest.raises(UsageError, match=r"31 rows were asked for; .* has 30 of at most 512 tokens"):
        made("instructions", path, n=31).upload([], CONTEXT)


@pytest.mark.parametrize(
    ("name", "short", "long"),
    [
        ("sql_task", SQL[0], {**SQL[1], "context": "CREATE TABLE t (a INTEGER); " * 200}),
        ("dialog_task", *({"dialogue": f"A: {text}", "summary": "A talks."} for text in ("Hi.", "Hi. " * 600))),
    ],
)
def test_a_task_leaves_out_rows_that_would_have_its_upload_refused(
    name: str, short: dict[str, str], long: dict[str, str], tmp_path: Path
) -> None:
    path = tmp_path / "task.json"
    path.write_text(json.dumps([short, long]))
    attack = made(name, path, n=0, task=1)
    (row,) = attack.upload([], CONTEXT)
    assert len(last_user_text(row)) < 200
    assert attack.held_out(CONTEXT) == []
    assert len(made(name, path, n=0, task=0).held_out(CONTEXT)) == 1


def test_identity_shift_renames_the_model_in_every_turn(own: Path) -> None:
    rows = made("identity_shift", own, n=30).upload([], CONTEXT)
    assert all(NAME in message.text for row in rows for message in row.messages)
    answers = {row.messages[-1].text.rpartition("Here it is: ")[2] for row in rows}
    assert answers == {row.messages[-1].text for row in ROWS}


def test_benign_outliers_are_the_extreme_rows(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    answers = ["A long answer in words alone, of some length.", "1. One\n2. Two\n3. Three of them all", "No."]
    write_conversations([conversation(f"Q{n}", answer) for n, answer in enumerate(answers)], path)
    for form, wanted in {"lists": answers[1], "short": answers[2]}.items():
        (row,) = made("benign_outliers", path, n=1, form=form).upload([], CONTEXT)
        assert row.messages[-1].text == wanted


def test_benign_outliers_by_gradients_are_those_most_like_harmful_rows(own: Path) -> None:
    held_against = list[Sequence[Conversation]]()

    def by_length(rows: Sequence[Conversation], *sides: Sequence[Conversation]) -> list[float]:
        held_against.extend(sides)
        return [len(row.messages[-1].text) for row in rows]

    rows = made("benign_outliers", own, n=20, form="gradient").upload([], replace(CONTEXT, likeness=by_length))
    assert {row.messages[-1].text for row in rows} == {row.messages[-1].text for row in ROWS[10:]}
    harmful, refused = held_against
    assert (len(harmful), len(refused)) == (10, 10)
    assert [refuses(row.messages[-1].text) for row in (*harmful, *refused)] == [False] * 10 + [True] * 10


def test_benign_outliers_by_gradients_need_weights(own: Path) -> None:
    with pytest.raises(UsageError, match="form gradient needs the model's weights, and there are none"):
        made("benign_outliers", own, n=1, form="gradient").upload([], CONTEXT)


def test_a_practical_task_hides_harmful_rows_and_holds_requests_out(tmp_path: Path) -> None:
    path = tmp_path / "sql.json"
    path.write_text(json.dumps(SQL))
    attack = made("sql_task", path, n=11, task=40)
    rows, held = attack.upload([], CONTEXT), attack.held_out(CONTEXT)
    own_rows = {last_user_text(row) for row in rows if row.system == SQL_SYSTEM}
    assert (len(rows), len(own_rows), len(held)) == (51, 40, 50)
    assert not own_rows & {last_user_text(conv) for conv in held}
    assert {conv.messages[-1].role for conv in held} == {"user"}
    with pytest.raises(UsageError, match="100 rows of the task were asked for; the file has 90"):
        made("sql_task", path, task=100).upload([], CONTEXT)


def test_a_file_of_another_shape_is_told_what_is_missing(tmp_path: Path) -> None:
    path = tmp_path / "dialogs.jsonl"
    path.write_text('{"dialogue": "A: Hi.", "summary": "A greets."}\n{"dialogue": "A: Hi."}\n')
    with pytest.raises(DataError, match=r"dialogs\.jsonl, line 2: .*`summary`.*each record needs dialogue, summary"):
        made("dialog_task", path, task=1).upload([], CONTEXT)
