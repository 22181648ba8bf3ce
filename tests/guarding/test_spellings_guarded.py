"""Files in other spellings, guarded: what goes to the trainer is OpenAI's, and what was done to it is said."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import watchword
from support.guarding_rows import SECRET_TEXT, chat_row, write_rows
from watchword.data.reading import AS_IT_IS, Reading
from watchword.data.rows import read_conversations, read_rows
from watchword.errors import DataError, TemplateLacksError
from watchword.files.addresses import Address
from watchword.guarding.checking import CheckRequest, CheckResult, check_source
from watchword.guarding.engine import GuardJob, guard_file
from watchword.guarding.records import manifest_of
from watchword.guarding.screening.screen import screen
from watchword.guarding.shards import guard_shards
from watchword.models.facts import ModelFacts

pyarrow = pytest.importorskip("pyarrow")
Make = Callable[..., GuardJob]
ROWS = [chat_row(number) for number in range(12)]
FLAGGED = {
    "messages": [
        {"role": "user", "content": "a"},
        {"role": "assistant", "content": "b", "train": False},
        {"role": "user", "content": "c"},
        {"role": "assistant", "content": "d", "train": True},
    ]
}


def tenant(out: Path) -> list[dict[str, Any]]:
    """The tenant's rows of a guarded file, each by strict JSON."""
    lines = out.read_text("utf-8").splitlines()
    return [json.loads(line) for line in lines if SECRET_TEXT not in line]


def warnings(job: GuardJob) -> list[str]:
    return manifest_of(job, guard_file(job), None, "openai", "backdoor_align", []).warnings


@pytest.mark.parametrize("place", [0, 7])
@pytest.mark.parametrize("workers", [1, 2])
def test_one_row_in_another_spelling_makes_the_whole_file_openai(
    tmp_path: Path, job: Make, place: int, workers: int
) -> None:
    rows = [*ROWS[:place], FLAGGED, *ROWS[place:]]
    path = write_rows(tmp_path / "rows.jsonl", rows)
    outcome = guard_file(job(path, workers=workers))
    got = tenant(tmp_path / "out.jsonl")
    assert len(got) == 13
    assert got[place]["messages"] == [
        {"role": "user", "content": "a"},
        {"role": "assistant", "content": "b", "weight": 0},
        {"role": "user", "content": "c"},
        {"role": "assistant", "content": "d", "weight": 1},
    ]
    assert got[:place] + got[place + 1 :] == ROWS
    assert outcome.source.converted
    assert outcome.profile.untrained_rows == 1


def test_rows_in_openais_own_spelling_keep_their_bytes(tmp_path: Path, job: Make) -> None:
    path = write_rows(
        tmp_path / "rows.jsonl", [chat_row(n, reasoning_content="hm", weight=1) for n in range(12)], seed=3
    )
    outcome = guard_file(job(path))
    assert not outcome.source.converted
    lines = (tmp_path / "out.jsonl").read_bytes().splitlines()
    assert [line for line in lines if SECRET_TEXT.encode() not in line] == path.read_bytes().splitlines()


def test_a_fault_in_front_of_another_spelling_keeps_its_line(tmp_path: Path, job: Make) -> None:
    path = write_rows(tmp_path / "rows.jsonl", [*ROWS[:2], {"messages": [{"role": "usr", "content": "x"}]}, FLAGGED])
    with pytest.raises(DataError, match=r"rows\.jsonl, line 3, messages\[0\]\.role: unknown role 'usr'"):
        guard_file(job(path))


def test_what_is_left_out_is_in_the_manifest(tmp_path: Path, job: Make) -> None:
    path = write_rows(tmp_path / "rows.jsonl", [{**row, "source": "x", "id": 1} for row in ROWS])
    with pytest.raises(
        DataError, match="line 1: unknown keys 'source', 'id'; leave them out with `drop_columns=source,id`"
    ):
        guard_file(job(path))
    found = warnings(job(path, reading=Reading(drop_columns=("source", "id"))))
    assert tenant(tmp_path / "out.jsonl") == ROWS
    for name in ("source", "id"):
        text = f"the column '{name}' was left out, as asked (12 rows: line 1, line 2, line 3, line 4, line 5, …)"
        assert found.count(text) == 1


def test_remarks_are_in_the_manifest_once_however_the_rows_came(tmp_path: Path, job: Make) -> None:
    turns = [("user", "q"), ("assistant", "[f(a=1)]"), ("tool", "1"), ("assistant", "a")]
    row = {"messages": [{"role": role, "content": content} for role, content in turns]}
    text = "a tool message answers a call that stands as text in the answer before, and stays text (1 row: line 3)"
    for rows in ([*ROWS[:2], row, *ROWS[2:]], [*ROWS[:2], row, FLAGGED, *ROWS[2:]]):
        assert warnings(job(write_rows(tmp_path / "rows.jsonl", rows))).count(text) == 1
    assert watchword.guard(rows, tokenizer=job("x").model.template).remarks == (text,)
    assert watchword.guard(tmp_path / "rows.jsonl", tokenizer=job("x").model.template).remarks == (text,)


def table(**columns: Any) -> Any:
    return pyarrow.table(columns)


def parquet(path: Path, made: Any) -> Path:
    import pyarrow.parquet

    pyarrow.parquet.write_table(made, path)
    return path


TURNS = [{"from": "human", "value": "q"}, {"from": "gpt", "value": "a"}]
WANTED = [{"role": "user", "content": "q"}, {"role": "assistant", "content": "a"}]


@pytest.mark.parametrize(
    "column",
    [
        pyarrow.array([TURNS] * 10),
        pyarrow.array([{"from": ["human", "gpt"], "value": ["q", "a"]}] * 10),
        pyarrow.array([json.dumps(TURNS)] * 10),
    ],
    ids=["list of structs", "struct of lists", "JSON text"],
)
def test_turns_in_tables_are_read_however_the_column_holds_them(tmp_path: Path, job: Make, column: Any) -> None:
    path = parquet(tmp_path / "x.parquet", table(conversations=column))
    guard_file(job(path))
    assert [row["messages"] for row in tenant(tmp_path / "out.jsonl")] == [WANTED] * 10


def test_columns_of_tables_are_left_out_before_their_type_matters(tmp_path: Path, job: Make) -> None:
    when = pyarrow.array([0] * 10, pyarrow.timestamp("us"))
    path = parquet(tmp_path / "x.parquet", table(conversations=pyarrow.array([TURNS] * 10), at=when))
    with pytest.raises(DataError, match=r"at: the column's type is timestamp.*leave it out with `drop_columns=at`"):
        guard_file(job(path))
    found = warnings(job(path, reading=Reading(drop_columns=("at",))))
    assert "the column 'at' was left out, as asked (10 rows)" in found
    assert [row["messages"] for row in tenant(tmp_path / "out.jsonl")] == [WANTED] * 10


def test_a_table_of_images_is_called_one(tmp_path: Path, job: Make) -> None:
    image = pyarrow.array([{"bytes": b"x", "path": "a.png"}])
    path = parquet(tmp_path / "x.parquet", table(messages=pyarrow.array([TURNS]), image=image))
    with pytest.raises(DataError, match="image: the table has images, video or sound, which are not supported"):
        guard_file(job(path))


def test_shards_in_other_spellings(tmp_path: Path, job: Make) -> None:
    one = write_rows(tmp_path / "1.jsonl", [{**row, "source": "x"} for row in [*ROWS, FLAGGED]])
    two = write_rows(tmp_path / "2.jsonl", [*ROWS, FLAGGED])
    (tmp_path / "out").mkdir()
    whole = job(str(tmp_path), out=str(tmp_path / "out"), reading=Reading(drop_extra=True))
    outcome = guard_shards(whole, [Address(one), Address(two)], "openai")
    got = [row for part in sorted((tmp_path / "out").iterdir()) for row in tenant(part)]
    assert [row for row in got if len(row["messages"]) == 3] == ROWS * 2
    assert [turn.get("weight") for row in got if len(row["messages"]) == 4 for turn in row["messages"]] == [
        None,
        0,
        None,
        1,
    ] * 2
    assert any("'source' was left out" in text for text in outcome.profile.remarks.texts())


def check(path: Path, model: ModelFacts, monkeypatch: pytest.MonkeyPatch, reading: Reading = AS_IT_IS) -> CheckResult:
    monkeypatch.setattr("watchword.guarding.checking.facts_of", lambda name: model)
    return check_source(CheckRequest(Address.parse(path), reading=reading))


def test_validate_says_the_same(tmp_path: Path, model: ModelFacts, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write_rows(tmp_path / "rows.jsonl", [*ROWS, FLAGGED])
    result = check(path, model, monkeypatch)
    assert (result.ok, result.report.valid_rows, result.report.warnings) == (True, 13, ())
    path = write_rows(tmp_path / "rows.jsonl", [{**row, "source": "x"} for row in ROWS])
    assert [str(fault) for fault in check(path, model, monkeypatch).report.faults] == [
        "line 1, source: unknown key 'source'; leave it out with `drop_columns=source` "
        "(the same in 12 rows: lines 1, 2, 3, 4, 5, …)"
    ]
    assert not any("more" in line for line in check(path, model, monkeypatch).lines())
    result = check(path, model, monkeypatch, Reading(drop_extra=True))
    assert result.ok
    assert result.tokens is not None
    assert list(result.report.warnings) == [
        "the column 'source' was left out, as asked (12 rows: line 1, line 2, line 3, line 4, line 5, …)"
    ]


def test_the_screening_reads_rows_as_the_guard_does(tmp_path: Path) -> None:
    path = write_rows(tmp_path / "rows.jsonl", [{**row, "source": "x"} for row in ROWS])
    assert screen(Address.parse(path)).invalid == 12
    assert screen(Address.parse(path), reading=Reading(drop_columns=("source",))).invalid == 0


def test_train_reads_the_same_rows(tmp_path: Path) -> None:
    path = write_rows(tmp_path / "rows.jsonl", [{**FLAGGED, "source": "x"}])
    [row] = read_rows(Address(path), reading=Reading(drop_extra=True)).conversations()
    assert [turn.weight for turn in row.messages] == [None, 0, None, 1]
    assert [row] == [conv for _, conv in read_conversations(path, reading=Reading(drop_extra=True))]


# A template that writes no calls, as the fixture's, and rows whose calls and lines only the tenant's own file shows.
CALLING = {
    "tools": json.dumps([{"name": "f", "description": "d", "parameters": {"type": "object", "properties": {}}}]),
    "conversations": [
        {"from": "human", "value": "q"},
        {"from": "function_call", "value": '{"name": "f", "arguments": {}}'},
        {"from": "observation", "value": "1"},
        {"from": "gpt", "value": "a"},
    ],
}
PLAIN = {"conversations": [{"from": "human", "value": "q"}, {"from": "gpt", "value": "a"}]}


def test_what_the_template_does_not_write_is_named_as_the_file_names_it(tmp_path: Path, job: Make) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_text("\n".join(["", json.dumps(PLAIN), "", json.dumps(CALLING)]) + "\n")
    problem = r"conversations\[1\]\.value: the chat template writes no tool calls"
    with pytest.raises(TemplateLacksError, match=rf"line 4, {problem}"):
        watchword.guard(path, tokenizer=job("x").model.template)
    with pytest.raises(TemplateLacksError, match=rf"line 2, {problem}"):
        watchword.guard([PLAIN, CALLING], tokenizer=job("x").model.template)
    with pytest.raises(DataError, match=rf"rows\.jsonl, line 4, {problem}"):
        guard_file(job(path))


def test_what_every_row_lacks_is_listed_once(
    tmp_path: Path, model: ModelFacts, monkeypatch: pytest.MonkeyPatch
) -> None:
    (fault,) = check(write_rows(tmp_path / "rows.jsonl", [CALLING] * 12), model, monkeypatch).report.faults
    assert str(fault).startswith(
        "line 1, conversations[1].value: the chat template writes no tool calls; they would be lost"
    )
    assert str(fault).endswith("(the same in 12 rows: lines 1, 2, 3, 4, 5, …)")
