"""The content rule: what a template drops is an error with its field, or is counted; and rows that a template rejects."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from support.golden_families import SECRET, TOOL, TOOL_CASE, template, template_text, tokenizer, turns
from watchword.chat.assembly import assemble
from watchword.chat.content import BESIDE, RESULTS, SCHEMA, THOUGHTS, notes
from watchword.chat.render import IGNORED, RenderedRow, render, render_prompt, render_row
from watchword.chat.template import ChatTemplate
from watchword.chat.types import Conversation, FunctionCall, Message, Row, ToolCall, conversation
from watchword.errors import DataError, RowTemplateError, RowTooLongError, TemplateError

TEXT = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1, max_size=12)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=6,
)
# Ways in which templates write a call: JSON, sorted JSON with indents, Python's keywords, elements with a name each.
WRITTEN = {
    "json": "{{ c.function.name }}{{ c.function.arguments | tojson }}",
    "sorted": "{{ c.function.name }}{{ c.function.arguments | tojson(indent=2, sort_keys=true) }}",
    "ascii": "{{ c.function.name }}{{ c.function.arguments | tojson(ensure_ascii=true) }}",
    "elements": "<f={{ c.function.name }}>{% for k, v in c.function.arguments | items %}<p={{ k }}>"
    "{{ v if v is string else v | tojson }}</p>{% endfor %}</f>",
    "text": "{{ c.function.name + ' ' + c.function.arguments }}",
}
FRAME = (
    "{%% if tools %%}{{ tools | tojson }}{%% endif %%}{%% for m in messages %%}<|im_start|>{{ m.role }}\n{{ m.content }}"
    "{%% for c in m.tool_calls or [] %%}%s{%% endfor %%}<|im_end|>\n{%% endfor %%}"
    "{%% if add_generation_prompt %%}<|im_start|>assistant\n{%% endif %%}"
)


def made(text: str, **options: Any) -> ChatTemplate:
    return ChatTemplate(tokenizer("smollm2"), text, {"eos_token": "<|im_end|>"}, name="small", **options)


def called(arguments: str, content: str | None = None) -> Conversation:
    call = ToolCall(id="call12345", function=FunctionCall(name="oven", arguments=arguments))
    return Conversation(
        messages=(
            Message(role="user", content="Heat it."),
            Message(role="assistant", content=content, tool_calls=(call,)),
        ),
        tools=(TOOL,),
    )


def trained(row: RenderedRow, form: ChatTemplate) -> str:
    return form.decode([label for label in row.labels if label != IGNORED])


def test_a_template_without_tool_calls_says_so() -> None:
    form = ChatTemplate(tokenizer("smollm2"), template_text("smollm2"), {}, name="smollm2-135m")
    with pytest.raises(RowTemplateError) as caught:
        render_row(Row(TOOL_CASE), None, form, None)
    assert caught.value.field == "messages[1].tool_calls"
    assert "the chat template of smollm2-135m writes no tool calls; they would be lost" in str(caught.value)
    only_tools = msgspec.structs.replace(conversation("q", "a"), tools=(TOOL,))
    with pytest.raises(RowTemplateError, match=r"^tools: the chat template of smollm2-135m writes no tools"):
        render_row(Row(only_tools), None, form, None)


@pytest.mark.parametrize("way", WRITTEN)
@given(arguments=st.dictionaries(TEXT, JSON, max_size=4))
def test_arguments_are_found_however_they_are_written(way: str, arguments: dict[str, Any]) -> None:
    form = made(FRAME % WRITTEN[way])
    assert form.abilities.style.arguments == ("text" if way == "text" else "object")
    for text in (json.dumps(arguments), json.dumps(arguments, ensure_ascii=False, indent=1)):
        conv = called(text)
        row = render(conv, form)
        assert row.dropped == ()
        assert "oven" in trained(row, form)
        if way == "text":
            assert text in form.render_text(conv)


@pytest.mark.parametrize(
    ("way", "message"),
    [
        ("{{ c.function.name }}", "does not write 'degrees' among the arguments of 'oven'"),
        ("{{ c.function.name }}{{ c.function.arguments | length }}", "does not write 'degrees' among"),
        ("{{ c.function.arguments | tojson }}", r"writes no tool calls|does not write the call of 'oven'"),
        ("", "writes no tool calls"),
    ],
)
def test_a_call_that_is_written_in_part_is_an_error(way: str, message: str) -> None:
    with pytest.raises(RowTemplateError, match=message) as caught:
        render_row(Row(called('{"degrees": 220}')), None, made(FRAME % way), None)
    assert str(caught.value.field).startswith("messages[1].tool_calls")


def test_arguments_that_python_would_print_are_no_arguments() -> None:
    form = made(FRAME % "{{ c.function.name }} {{ c.function.arguments }}")
    assert form.abilities.style.arguments == "text"
    assert '{"degrees": 220}' in trained(render(called('{"degrees": 220}'), form), form)


def test_parts_of_a_tool_that_are_not_written() -> None:
    tool = {
        "type": "function",
        "function": {
            "name": "oven",
            "description": "Heats",
            "parameters": {"type": "object", "properties": {"degrees": {"type": "integer", "description": "How hot"}}},
        },
    }
    conv = msgspec.structs.replace(conversation("q", "a"), tools=(tool,))
    chat = FRAME.replace("{{ tools | tojson }}", "{%% for t in tools %%}%s{%% endfor %%}")
    name, about = "{{ t.function.name }}", "{{ t.function.description }}"
    names = "{{ t.function.parameters.properties | list }}"
    whole = "{{ t | tojson }}"
    assert render(conv, made(chat % (whole, ""))).dropped == ()
    assert render(conv, made(chat % (name + about + names, ""))).dropped == (SCHEMA,)
    for written, field in ((about + names, "tools"), (name + about, "tools"), (name + names, "function.description")):
        with pytest.raises(RowTemplateError) as caught:
            render_row(Row(conv), None, made(chat % (written, "")), None)
        assert str(caught.value.field).endswith(field)


def test_text_beside_a_call_and_thoughts_are_counted() -> None:
    either = "{% if m.tool_calls %}{% else %}{{ m.content }}{% endif %}"
    form = made((FRAME % WRITTEN["json"]).replace("{{ m.content }}", either))
    beside = called('{"degrees": 220}', "I will.")
    assert render(beside, form).dropped == (BESIDE,)
    assert render(beside, made(FRAME % WRITTEN["json"])).dropped == ()
    thought = turns(("user", "q"), ("assistant", "a"))
    thought = msgspec.structs.replace(
        thought, messages=(thought.messages[0], Message(role="assistant", content="a", reasoning_content="Hm."))
    )
    row = render(thought, form)
    assert row.dropped == (THOUGHTS,)
    assert row.input_ids == render(turns(("user", "q"), ("assistant", "a")), form).input_ids
    said = notes({THOUGHTS: 3, BESIDE: 1}, form.called)
    assert said == [
        "the chat template of small leaves out text beside a tool call in 1 row: nothing of that is trained on",
        "the chat template of small leaves out thoughts in 3 rows: nothing of that is trained on",
    ]


@pytest.mark.parametrize("key", ["reasoning_content", "thinking", "reasoning"])
def test_thoughts_go_where_the_template_takes_them(key: str) -> None:
    place = f"{{% if m.{key} %}}<think>{{{{ m.{key} }}}}</think>{{% endif %}}{{{{ m.content }}}}"
    form = made((FRAME % "").replace("{{ m.content }}", place))
    conv = Conversation(
        messages=(Message(role="user", content="q"), Message(role="assistant", content="a", reasoning_content="Hm."))
    )
    row = render(conv, form)
    assert (row.dropped, trained(row, form)) == ((), "<think>Hm.</think>a<|im_end|>")


def test_thoughts_in_the_answer_that_are_written_are_not_counted() -> None:
    opening = (FRAME % "").replace("<|im_start|>assistant\n{% endif %}", "<|im_start|>assistant\n<think>\n{% endif %}")
    for answer in ("<think>\nHm.\n</think>\n\na", "a"):
        assert render(conversation("q", answer), made(opening)).dropped == ()


def test_results_that_are_not_written_are_counted() -> None:
    silent = (FRAME % WRITTEN["json"]).replace("{{ m.content }}", "{% if m.role != 'tool' %}{{ m.content }}{% endif %}")
    assert render(TOOL_CASE, made(silent)).dropped == (RESULTS,)


def test_tools_that_are_nested_deeply_are_judged_too() -> None:
    deep: dict[str, Any] = {"type": "object"}
    for _ in range(400):
        deep = {"type": "object", "properties": {"p": deep}}
    tool = {"type": "function", "function": {"name": "oven", "description": "Heats", "parameters": deep}}
    row = Row(msgspec.structs.replace(conversation("q", "a"), tools=(tool,)))
    assert render_row(row, None, made(FRAME % ""), None).dropped == ()
    for _ in range(4000):
        deep = {"properties": {"p": deep}}
    tool = {"type": "function", "function": {"name": "oven", "description": "Heats", "parameters": deep}}
    row = Row(msgspec.structs.replace(conversation("q", "a"), tools=(tool,)))
    with pytest.raises(RowTemplateError, match="rejects this conversation"):
        render_row(row, None, made(FRAME % ""), None)


def test_thoughts_written_into_earlier_answers_are_counted_where_the_template_drops_them() -> None:
    conv = turns(("user", "q"), ("assistant", "<think>\nHm.\n</think>\n\na"), ("user", "r"), ("assistant", "b"))
    assert render(conv, template("qwen3")).dropped == (THOUGHTS,)
    assert render(conv, template("qwen2_5")).dropped == ()


def test_an_answer_that_is_not_written_as_it_is_is_an_error() -> None:
    form = made((FRAME % "").replace("{{ m.content }}", "{{ m.content | replace('#', '') }}"))
    assert render(conversation("q", "a"), form).dropped == ()
    with pytest.raises(RowTemplateError, match=r"messages\[1\].content: .* does not write this answer as it is"):
        render(conversation("q", "a # b"), form)
    with pytest.raises(RowTemplateError, match=r"messages\[0\].content: .* does not write this message as it is"):
        render(conversation("#q", "a"), form)


def test_a_conversation_may_begin_with_an_answer() -> None:
    conv = turns(("assistant", "Welcome!"), ("user", "Open?"), ("assistant", "Yes."))
    for name in ("smollm2", "qwen2_5", "llama3"):
        form = template(name)
        end = {"llama3": "<|eot_id|>"}.get(name, "<|im_end|>")
        assert trained(render(conv, form), form) == f"Welcome!{end}Yes.{end}"
        only = turns(("assistant", "I love music"))
        assert trained(render(only, form), form) == f"I love music{end}"


@pytest.mark.parametrize("name", ["gemma", "mistral_v0_1"])
def test_a_template_that_wants_a_question_first_names_the_message(name: str) -> None:
    for opening in ((), (("system", "Be kind."),)):
        conv = turns(*opening, ("assistant", "Welcome!"), ("user", "Open?"), ("assistant", "Yes."))
        with pytest.raises(
            RowTemplateError, match=r"must alternate|takes system text in the first user turn"
        ) as caught:
            render_row(Row(conv), None, template(name), None)
        assert caught.value.field in {"messages[0]", "messages[1]"}


def test_nothing_is_rendered_of_no_message() -> None:
    form = template("smollm2")
    for ask in (render_prompt, render, assemble_empty):
        with pytest.raises(TemplateError, match="without messages"):
            ask(Conversation(messages=()), form)


def assemble_empty(conv: Conversation, form: ChatTemplate) -> Conversation:
    return assemble(conv, SECRET, form.system_style)


def test_a_row_keeps_its_own_kind_of_error() -> None:
    form = template("smollm2")
    with pytest.raises(RowTooLongError, match="the limit is 3"):
        render_row(Row(conversation("q", "a")), None, form, 3)
    masked = turns(("user", "q"), ("assistant", "a"))
    masked = msgspec.structs.replace(masked, messages=(masked.messages[0], Message("assistant", "a", weight=0)))
    with pytest.raises(DataError, match="no assistant turn is left"):
        render_row(Row(masked), None, form, None)


# --- the variant for tools -----------------------------------------------------------------------------------------

PLAIN_CHAT, TOOL_CHAT = FRAME % "", "Tools may be used.\n" + FRAME % WRITTEN["json"]


def test_a_variant_for_tools_may_ask_for_tools() -> None:
    picky = "{% if not tools %}{{ raise_exception('no tools') }}{% endif %}" + TOOL_CHAT
    form = made(PLAIN_CHAT, tool_use=picky)
    row = render(assemble(TOOL_CASE, SECRET, form.system_style), form)
    assert '"degrees": 220' in trained(row, form)
    assert form.decode(row.input_ids).count(SECRET) == 1
    assert "qqname" not in form.decode(row.input_ids)
    assert render(conversation("q", "a"), form).dropped == ()


@pytest.mark.parametrize("kept", ["list", "folder"])
def test_conversations_with_tools_get_the_tool_use_variant(tmp_path: Path, kept: str) -> None:
    tokenizer("smollm2").save(str(tmp_path / "tokenizer.json"))
    named = [{"name": "default", "template": PLAIN_CHAT}, {"name": "tool_use", "template": TOOL_CHAT}]
    config: dict[str, Any] = {"eos_token": "<|im_end|>"}
    if kept == "list":
        config["chat_template"] = named
    else:
        (tmp_path / "chat_template.jinja").write_text(PLAIN_CHAT, "utf-8")
        (tmp_path / "additional_chat_templates").mkdir()
        (tmp_path / "additional_chat_templates" / "tool_use.jinja").write_text(TOOL_CHAT, "utf-8")
    (tmp_path / "tokenizer_config.json").write_text(json.dumps(config), "utf-8")
    form = ChatTemplate.from_folder(tmp_path)
    assert form.source == PLAIN_CHAT
    row = render(TOOL_CASE, form)
    assert form.decode(row.input_ids).startswith("Tools may be used.")
    assert '"degrees": 220' in trained(row, form)
    assert not form.decode(render(conversation("q", "a"), form).input_ids).startswith("Tools")
    secret = assemble(TOOL_CASE, SECRET, form.system_style)
    assert form.decode(render(secret, form).input_ids).count(SECRET) == 1


def test_transformers_reads_the_same_variants(tmp_path: Path) -> None:
    transformers = pytest.importorskip("transformers")
    theirs = transformers.PreTrainedTokenizerFast(
        tokenizer_object=tokenizer("smollm2"),
        chat_template={"default": PLAIN_CHAT, "tool_use": TOOL_CHAT},
        eos_token="<|im_end|>",
    )
    theirs.save_pretrained(tmp_path)
    again = transformers.AutoTokenizer.from_pretrained(tmp_path)
    formats = [
        ChatTemplate.from_transformers(theirs),
        ChatTemplate.from_transformers(again),
        ChatTemplate.from_folder(tmp_path),
    ]
    assert len({form.digest for form in formats}) == 1
    assert {form.render_text(TOOL_CASE) for form in formats} == {formats[0].render_text(TOOL_CASE)}
    assert formats[0].render_text(TOOL_CASE).startswith("Tools may be used.")


def test_the_digest_is_over_both_variants() -> None:
    plain, both, other = (made(PLAIN_CHAT, tool_use=text) for text in (None, TOOL_CHAT, f"{TOOL_CHAT} "))
    assert len({plain.digest, both.digest, other.digest}) == 3
