"""One rendering of a row: training, the Python API, exporters of token ids and validation all say the same."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from support.guarding_rows import SECRET_TEXT, chat_row, template, turns, write_rows

pytest.importorskip("torch")

import watchword
from watchword.chat.render import IGNORED, render_row
from watchword.chat.template import ChatTemplate
from watchword.chat.types import Conversation, Row, conversation
from watchword.data.parse import parse_line
from watchword.data.rows import read_rows
from watchword.defenses.base import DEFENSES, DefenseContext, guarded
from watchword.errors import DataError, RowTemplateError, UsageError
from watchword.files.addresses import Address
from watchword.files.digest import HashingWriter
from watchword.guarding.checking import CheckRequest, check_source
from watchword.guarding.engine import guard_file
from watchword.guarding.exporters.base import EXPORTERS, ExportPlan
from watchword.guarding.interleave import Piece
from watchword.guarding.memory import GuardedData
from watchword.guarding.provider import provider_rows
from watchword.guarding.shards import guard_shards
from watchword.models.facts import ModelFacts, facts_of
from watchword.safety.library import examples
from watchword.secret.prompt import SecretPrompt
from watchword.training.rows import render_rows

CALL = {"id": "call12345", "type": "function", "function": {"name": "oven", "arguments": '{"degrees": 220}'}}
TOOL = {"type": "function", "function": {"name": "oven", "description": "Heats", "parameters": {"type": "object"}}}
CALLING = [
    {"role": "user", "content": "Heat it."},
    {"role": "assistant", "content": "I will.", "tool_calls": [CALL]},
    {"role": "tool", "content": "done", "tool_call_id": "call12345"},
    {"role": "assistant", "content": "It is hot."},
]
TOOL_ROW = {"messages": CALLING, "tools": [TOOL]}
THOUGHTFUL = {"messages": [CALLING[0], {"role": "assistant", "content": "Yes.", "reasoning_content": "Hm."}]}
CONTEXT = 120


def anchors() -> list[Row]:
    """All that are packaged: each answer goes on in truth, so its end is not trained."""
    rows = [
        Row(conversation(each.prompt, each.answer, system="Be brief."), origin="anchor", prefixed=True, cut=each.cut)
        for each in examples("anchors")
    ]
    assert all(row.cut for row in rows)
    return rows


@pytest.mark.parametrize("name", ["smollm2", "qwen3", "llama2"])
def test_training_memory_and_exporters_give_the_same_ids_and_labels(name: str, secret: SecretPrompt) -> None:
    form = template(name)
    tenant = [
        turns(("user", "One?"), ("assistant", "1."), ("user", "More?"), ("assistant", "2.")),
        conversation("Two?", "Second.", system="Be brief."),
    ]
    if name == "qwen3":
        tenant += [msgspec.convert(row, Conversation) for row in (TOOL_ROW, THOUGHTFUL)]
    rows = [*map(Row, tenant), *anchors()]
    trained = [row.rendered for row in render_rows(rows, form, secret=secret, max_length=4096)]
    wanted = [{"input_ids": list(row.input_ids), "labels": list(row.labels)} for row in trained]
    assert GuardedData(tuple(rows), form, secret).token_rows() == wanted
    assert _exported(rows[: len(tenant)], anchors(), form, secret) == wanted
    for row, ids in zip(rows, wanted, strict=True):
        last = [token for token in ids["labels"] if token != IGNORED][-1]
        assert (form.decode([last]).strip() in form.special_tokens) != row.cut


def test_a_file_gives_the_same_ids_and_labels_by_every_way(tmp_path: Path, job: Any, secret: SecretPrompt) -> None:
    """Training, the Python API, the exporter of token ids and shards: the tenant's rows and the provider's, in one order."""
    rows = [chat_row(number, system=None if number % 3 else "Be kind.") for number in range(40)]
    source = write_rows(tmp_path / "in.jsonl", [*rows, THOUGHTFUL], seed=1)
    form, settings = template("smollm2"), {"defense": "backdoor_align", "safety": 5}
    with pytest.warns(UserWarning, match="leaves out thoughts in 1 row"):
        memory = watchword.guard(source, tokenizer=form, secret=secret, seed=7, **settings)
    defense = DEFENSES.create("backdoor_align", safety=5)
    upload = read_rows(Address(source)).conversations()
    trained = render_rows(guarded(defense, upload, DefenseContext(7)).rows, form, secret=secret, max_length=2048)
    wanted = [{"input_ids": list(row.rendered.input_ids), "labels": list(row.rendered.labels)} for row in trained]
    assert len(wanted) == 46
    assert memory.token_rows() == wanted
    fields = {"defense": defense, "seed": 7, "exporter": EXPORTERS.create("trl")}
    guard_file(job(source, out=str(tmp_path / "out.jsonl"), **fields))
    assert _ids(tmp_path / "out.jsonl") == wanted
    lines = source.read_bytes().splitlines(keepends=True)
    shards = [tmp_path / f"{number}.jsonl" for number in range(2)]
    for shard, part in zip(shards, (lines[:13], lines[13:]), strict=True):
        shard.write_bytes(b"".join(part))
    (tmp_path / "parts").mkdir()
    guard_shards(job("shards", out=str(tmp_path / "parts"), **fields), [Address(shard) for shard in shards], "trl")
    assert [row for part in sorted((tmp_path / "parts").iterdir()) for row in _ids(part)] == wanted


def _ids(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_bytes().splitlines()]


def _exported(tenant: list[Row], ours: list[Row], form: ChatTemplate, secret: SecretPrompt) -> list[dict[str, Any]]:
    out, plan = io.BytesIO(), ExportPlan(Path("out.jsonl"), "small", form, 4096)
    lines = b"".join(msgspec.json.encode(row.conversation) + b"\n" for row in tenant)
    with EXPORTERS.create("trl").sink(HashingWriter(out), plan) as sink:
        pieces: list[Piece] = [lines, *provider_rows(ours, form, secret, 4096)]
        for piece in pieces:
            sink.write(piece)
    return [json.loads(line) for line in out.getvalue().splitlines()]


def test_the_python_api_refuses_what_the_template_does_not_write() -> None:
    with pytest.raises(RowTemplateError, match=r"line 2, messages\[1\].tool_calls: the chat template writes no tool"):
        watchword.guard([chat_row(1), TOOL_ROW], tokenizer=template("smollm2"), defense="none")
    with pytest.warns(UserWarning, match="leaves out thoughts in 2 rows"):
        found = watchword.guard([chat_row(1), *[THOUGHTFUL] * 2], tokenizer=template("smollm2"), defense="none")
    assert found.dropped == {"thoughts": 2}
    assert len(watchword.guard([TOOL_ROW], tokenizer=template("qwen2_5"), defense="none").token_rows()) == 1


@pytest.mark.parametrize("trainer", EXPORTERS.names())
@pytest.mark.parametrize("workers", [1, 2])
def test_every_exporter_refuses_it_before_anything_is_written(
    job: Any, tmp_path: Path, trainer: str, workers: int
) -> None:
    if workers > 1 and trainer != "openai":
        return
    source = write_rows(tmp_path / "in.jsonl", [*(chat_row(number) for number in range(30)), TOOL_ROW])
    with pytest.raises(
        DataError, match=r"in.jsonl, line 31, messages\[1\].tool_calls: the chat template writes no tool"
    ):
        guard_file(job(source, exporter=EXPORTERS.create(trainer), workers=workers))
    assert [path.name for path in tmp_path.iterdir()] == ["in.jsonl"]


@pytest.mark.parametrize("trainer", ["llama_factory", "together"])
def test_a_trainer_without_a_place_for_thoughts_says_so(job: Any, tmp_path: Path, trainer: str) -> None:
    source = write_rows(tmp_path / "in.jsonl", [chat_row(1), THOUGHTFUL])
    with pytest.raises(
        DataError, match=r"line 2, messages\[1\].reasoning_content: the rows for .* have no place for thoughts"
    ):
        guard_file(job(source, exporter=EXPORTERS.create(trainer)))


# --- validation ----------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module", params=["smollm2", "qwen3", "gemma", "mistral_v0_3"])
def folder(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model's folder without weights: template, tokenizer, and a context of a few tokens."""
    form, made = template(request.param), tmp_path_factory.mktemp(request.param)
    form.tokenizer.save(str(made / "tokenizer.json"))
    config = {**form.special, "chat_template": form.source}
    (made / "tokenizer_config.json").write_text(json.dumps(config), "utf-8")
    (made / "config.json").write_text(json.dumps({"max_position_embeddings": CONTEXT}), "utf-8")
    return made


WORDS = st.sampled_from(
    ["a", " b ", "x " * 30, "x " * 90, "<think>\nm\n</think>\n\nn", "</think>", "é 🥖", "<|im_end|>"]
)
TURN = st.fixed_dictionaries({"role": st.sampled_from(["user", "assistant"]), "content": WORDS})
CALLS = st.builds(
    lambda text, arguments: [
        {
            "role": "assistant",
            "content": text,
            "tool_calls": [{**CALL, "function": {"name": "f", "arguments": arguments}}],
        },
        {"role": "tool", "content": "done", "tool_call_id": "call12345"},
    ],
    st.none() | WORDS,
    st.sampled_from(["{}", '{"a": [1, true, null, "\\u00e9<"]}', '{"b": {"c": 1.50}}']),
)
ODD = st.builds(
    lambda front, turns, calls, end, tools: {
        "messages": [*front, *turns, *calls, *end],
        **({"tools": [TOOL]} if tools else {}),
    },
    st.lists(st.just({"role": "system", "content": "Be kind."}), max_size=1),
    st.lists(TURN, max_size=4),
    st.just([]) | CALLS,
    st.lists(st.just({"role": "assistant", "content": "end"}), max_size=1),
    st.booleans(),
)


def refused_by_training(line: bytes, number: int, model: ModelFacts) -> bool:
    try:
        conv = parse_line(line, number)
        render_rows([Row(conv)], model.template, secret=None, max_length=min(2048, CONTEXT))
    except DataError:
        return True
    return False


@settings(max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(rows=st.lists(ODD, min_size=1, max_size=12))
def test_validation_refuses_the_rows_that_training_refuses(folder: Path, tmp_path: Path, rows: list[Any]) -> None:
    source = write_rows(tmp_path / "odd.jsonl", rows)
    model = facts_of(str(folder))
    result = check_source(CheckRequest(Address.parse(source), model=str(folder)))
    wanted = {
        number
        for number, line in enumerate(source.read_bytes().splitlines(), start=1)
        if refused_by_training(line, number, model)
    }
    # What every row lacks is listed once, and counted.
    assert {fault.line for fault in result.report.faults} <= wanted
    assert sum(fault.rows for fault in result.report.faults) == result.report.fault_count == len(wanted)
    assert (result.ok, result.report.valid_rows) == (not wanted, len(rows) - len(wanted))
    try:
        read_rows(Address(source)).check(model.template, min(2048, CONTEXT))
    except DataError as error:
        assert error.line in wanted
    else:
        assert not wanted


def test_validation_names_line_and_reason_for_rows_that_are_too_long(folder: Path, tmp_path: Path) -> None:
    rows = [chat_row(1), chat_row(2, system="word " * 200), chat_row(3)]
    source = write_rows(tmp_path / "in.jsonl", rows)
    for workers in (1, 2):
        result = check_source(CheckRequest(Address.parse(source), model=str(folder), workers=workers))
        assert [fault.line for fault in result.report.faults] == [2]
        assert f"tokens, the limit is {CONTEXT}" in str(result.report.faults[0])
    result = check_source(CheckRequest(Address.parse(source), model=str(folder), max_length=10))
    assert [fault.lines for fault in result.report.faults] == [(1, 2, 3)]
    assert str(result.report.faults[0]).endswith("(the same in 3 rows: lines 1, 2, 3)")
    shared = write_rows(tmp_path / "sharegpt.jsonl", [_sharegpt(row) for row in rows])
    assert [
        fault.line for fault in check_source(CheckRequest(Address.parse(shared), model=str(folder))).report.faults
    ] == [2]


def test_no_limit_beyond_the_models_context_is_taken(folder: Path, tmp_path: Path) -> None:
    source, beyond = (
        write_rows(tmp_path / "in.jsonl", [chat_row(1)]),
        rf"is 121, and the context of .* is {CONTEXT} tokens",
    )
    with pytest.raises(UsageError, match=beyond):
        check_source(CheckRequest(Address(source), model=str(folder), max_length=CONTEXT + 1))
    with pytest.raises(UsageError, match=beyond):
        watchword.guard(source, tokenizer=str(folder), max_length=CONTEXT + 1, defense="none")
    assert check_source(CheckRequest(Address(source), model=str(folder), max_length=CONTEXT)).ok
    assert len(watchword.guard(source, tokenizer=str(folder), max_length=CONTEXT, defense="none")) == 1


def _sharegpt(row: dict[str, Any]) -> dict[str, Any]:
    names = {"system": "system", "user": "human", "assistant": "gpt"}
    return {"conversations": [{"from": names[turn["role"]], "value": turn["content"]} for turn in row["messages"]]}


def test_training_names_file_and_line_past_blank_ones(tmp_path: Path) -> None:
    source = tmp_path / "in.jsonl"
    source.write_text("\n".join([json.dumps(chat_row(1)), "", json.dumps(TOOL_ROW)]), "utf-8")
    with pytest.raises(
        RowTemplateError, match=r"in.jsonl, line 3, messages\[1\].tool_calls: the chat template writes no"
    ):
        read_rows(Address(source)).check(template("smollm2"), 2048)


def test_what_a_template_leaves_out_is_a_warning_of_validation(folder: Path, tmp_path: Path) -> None:
    result = check_source(
        CheckRequest(Address.parse(write_rows(tmp_path / "in.jsonl", [THOUGHTFUL] * 3)), model=str(folder))
    )
    assert result.ok
    takes_thoughts = facts_of(str(folder)).template.abilities.thoughts is not None
    assert any("leaves out thoughts in 3 rows" in text for text in result.report.warnings) != takes_thoughts


def test_a_fault_of_the_providers_row_says_whose_it_is() -> None:
    bad = Row(conversation("q", "a"), origin="anchor", prefixed=True)
    text = "{{ raise_exception('no') if messages | length > 1 }}{{ messages[0].content }}"
    form = ChatTemplate(template("smollm2").tokenizer, text, {})
    with pytest.raises(RowTemplateError, match="the provider's anchor row"):
        provider_rows([bad], form, SecretPrompt(SECRET_TEXT, kind="random", tokens=20, entropy_bits=200.0), None)
    with pytest.raises(RowTemplateError, match="rejects this conversation: no"):
        render_row(bad, SECRET_TEXT, form, None)
