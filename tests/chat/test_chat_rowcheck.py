"""Asking whether rows can be trained on: the quick yes never says what rendering would not."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from support.golden_families import FAMILIES, TOOL, template, tokenizer
from watchword.chat.content import THOUGHTS
from watchword.chat.render import render_row
from watchword.chat.rowcheck import RowCheck
from watchword.chat.template import ChatTemplate
from watchword.chat.types import Conversation, Row
from watchword.data.fast import plain_rows
from watchword.data.rules import check
from watchword.errors import DataError

FAMILY = st.sampled_from(sorted(FAMILIES))
TEXT = st.sampled_from(
    ["a", " b ", "x</think>y", "<think>\nHm.\n</think>\n\nz", "<tool_response>r</tool_response>", "é\n"]
)
CALL = {"id": "call12345", "type": "function", "function": {"name": "oven", "arguments": '{"degrees": 220}'}}
TURN = st.fixed_dictionaries(
    {"role": st.sampled_from(["user", "assistant", "assistant", "tool"]), "content": TEXT},
    optional={"reasoning_content": TEXT, "name": st.just("n")},
).map(
    lambda turn: (
        turn | {"tool_call_id": "call12345"}
        if turn["role"] == "tool"
        else {key: value for key, value in turn.items() if key != "reasoning_content" or turn["role"] == "assistant"}
    )
)
SYSTEM = st.lists(st.just({"role": "system", "content": "s"}), max_size=1)
ROW = st.builds(
    lambda system, turns, call, tools: {
        "messages": [*system, *([call] if call else []), *turns, {"role": "assistant", "content": "end"}],
        **({"tools": [TOOL]} if tools else {}),
    },
    SYSTEM,
    st.lists(TURN, max_size=4),
    st.none() | st.just({"role": "assistant", "tool_calls": [CALL]}),
    st.booleans(),
)
PLAIN = st.builds(
    lambda system, turns: {"messages": [*system, *turns, {"role": "assistant", "content": "end"}]},
    SYSTEM,
    st.lists(st.fixed_dictionaries({"role": st.sampled_from(["user", "assistant"]), "content": TEXT}), max_size=4),
)


def truth(conv: Conversation, form: ChatTemplate) -> tuple[str | None, tuple[str, ...]]:
    try:
        return None, render_row(Row(conv), None, form, None).dropped
    except DataError as error:
        return str(error), ()


@settings(max_examples=150)
@given(FAMILY, st.lists(ROW | PLAIN, min_size=1, max_size=6))
def test_rows_that_are_known_are_judged_as_if_they_were_rendered(name: str, rows: list[dict[str, Any]]) -> None:
    form = template(name)
    asked = RowCheck(form)
    for row in rows:
        conv = msgspec.convert(row, Conversation)
        looked = asked.look(conv)
        assert (None if looked.error is None else str(looked.error), looked.dropped) == truth(conv, form)


@settings(max_examples=150)
@given(FAMILY, st.lists(PLAIN, min_size=1, max_size=5), st.booleans())
def test_a_quick_yes_is_a_yes_for_every_row(name: str, rows: list[dict[str, Any]], ascii_only: bool) -> None:
    form = template(name)
    lines = b"".join(json.dumps(row, ensure_ascii=ascii_only).encode() + b"\n" for row in rows)
    plain = plain_rows(lines)
    if plain is None or not RowCheck(form).surely_fine(lines, plain):
        return
    for row in rows:
        conv = msgspec.convert(row, Conversation)
        assert list(check(conv)) == []
        assert truth(conv, form) == (None, ())


def test_ordinary_rows_are_surely_fine() -> None:
    turns = [{"role": "user", "content": "q"}, {"role": "assistant", "content": "a"}]
    rows = [turns, [{"role": "system", "content": "s"}, *turns, *turns]]
    lines = b"".join(json.dumps({"messages": row}).encode() + b"\n" for row in rows)
    plain = plain_rows(lines)
    assert plain is not None
    assert all(RowCheck(template(name)).surely_fine(lines, plain) for name in FAMILIES)
    assert not RowCheck(template("smollm2"), every=True).surely_fine(lines, plain)


def test_a_word_that_the_template_looks_for_is_seen_through_escapes() -> None:
    form = template("qwen3")
    assert "</think>" in form.sought_words
    for spelt in ("</think>", "\\u003c/think\\u003e", "<\\/think>"):
        turns = f'{{"role": "user", "content": "q"}}, {{"role": "assistant", "content": "<think>Hmm.{spelt}No."}}'
        lines = f'{{"messages": [{turns}, {turns}]}}\n'.encode()
        plain = plain_rows(lines)
        assert plain is not None
        assert not RowCheck(form).surely_fine(lines, plain)
        conv = msgspec.json.decode(lines, type=Conversation)
        assert RowCheck(form).look(conv).dropped == (THOUGHTS,)


@pytest.mark.parametrize("change", ["replace('#', '')", "upper", "escape", "truncate(80)", "replace('\\n', ' ')"])
def test_a_template_that_changes_texts_is_asked_about_every_row(change: str) -> None:
    text = (
        "{%% for m in messages %%}<|im_start|>{{ m.role }}\n{{ m.content | %s }}<|im_end|>\n{%% endfor %%}"
        "{%% if add_generation_prompt %%}<|im_start|>assistant\n{%% endif %%}"
    )
    asked = RowCheck(ChatTemplate(tokenizer("smollm2"), text % change, {}))
    for answer in ("A", "Quite <b> so #1\nq" + " long" * 20):
        turns = [{"role": "user", "content": "A"}, {"role": "assistant", "content": answer}]
        found = asked.look(msgspec.convert({"messages": turns}, Conversation))
        assert (found.error is None) == (answer == "A")


def test_a_template_that_takes_one_question_only_is_asked_about_every_kind_of_row() -> None:
    text = (
        "{% if messages | length > 2 %}{{ raise_exception('one question only') }}{% endif %}"
        "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}"
        "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
    )
    form = ChatTemplate(tokenizer("smollm2"), text, {})
    assert not form.abilities.alternating
    turns = ({"role": "user", "content": "q"}, {"role": "assistant", "content": "a"})
    one, two = (msgspec.convert({"messages": turns * count}, Conversation) for count in (1, 2))
    asked = RowCheck(form)
    assert asked.look(one).error is None
    found = asked.look(two).error
    assert found is not None
    assert found.field == "messages[2]"
