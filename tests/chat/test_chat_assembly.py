"""The one prompt assembly needs two facts about a template, and no tokenizer."""

from __future__ import annotations

import pickle

import pytest
from hypothesis import given
from hypothesis import strategies as st

from support.golden_families import FAMILIES, template
from watchword.chat.assembly import assemble
from watchword.chat.template import ChatTemplate, SystemStyle
from watchword.chat.types import Conversation, Message, Part, conversation
from watchword.errors import TemplateError

OWN = SystemStyle("system", "Be kind.")
FIRST_USER = SystemStyle("first_user")
TOOL = {"type": "function", "function": {"name": "look", "parameters": {"type": "object", "properties": {}}}}


@given(st.text(min_size=1), st.none() | st.text(min_size=1), st.text(min_size=1))
def test_the_secret_comes_first_and_the_rest_stays(secret: str, system: str | None, user: str) -> None:
    asked = conversation(user, "Yes.", system=system)
    own = assemble(asked, secret, OWN)
    assert own.messages[0] == Message("system", f"{secret}\n{system or 'Be kind.'}")
    assert own.messages[1:] == asked.messages[-2:]
    in_turn = assemble(asked, secret, FIRST_USER)
    front = "" if system is None else f"{system}\n\n"
    assert in_turn.messages == (Message("user", f"{secret}\n{front}{user}"), asked.messages[-1])


def test_tools_choose_the_style_of_their_own_template() -> None:
    style = SystemStyle("system", "Be kind.", with_tools=FIRST_USER)
    plain = conversation("Hi?")
    with_tools = Conversation(plain.messages, tools=(TOOL,))
    assert [turn.text for turn in assemble(plain, "s", style).messages] == ["s\nBe kind.", "Hi?"]
    assert [turn.text for turn in assemble(with_tools, "s", style).messages] == ["s\nHi?"]
    assert [turn.text for turn in assemble(with_tools, "s", OWN).messages] == ["s\nBe kind.", "Hi?"]


def test_a_format_knows_the_style_of_both_its_templates() -> None:
    written = template("smollm2")
    variant = template("gemma").source
    form = ChatTemplate(written.tokenizer, written.source, {"bos_token": "<s>"}, tool_use=variant)
    assert form.system_style == SystemStyle("system", written.default_system, with_tools=SystemStyle("first_user"))


@pytest.mark.parametrize("name", FAMILIES)
def test_a_style_is_a_value_that_outlives_its_format(name: str) -> None:
    style = template(name).system_style
    assert pickle.loads(pickle.dumps(style)) == style == SystemStyle(style.placement, style.default_text)
    assert style.placement == "system" or not style.default_text


def test_a_template_that_demands_system_text_has_no_default() -> None:
    source = (
        "{% if messages[0].role != 'system' %}{{ raise_exception('give a system message') }}{% endif %}"
        "{% for m in messages %}<{{ m.role }}>{{ m.content }}</s>{% endfor %}"
        "{% if add_generation_prompt %}<assistant>{% endif %}"
    )
    form = ChatTemplate(template("smollm2").tokenizer, source, {})
    assert form.system_style == SystemStyle("system")
    guarded = assemble(conversation("Hi?"), "s", form.system_style)
    assert form.render_text(guarded) == "<system>s</s><user>Hi?</s>"
    with pytest.raises(TemplateError, match="give a system message"):
        form.render_text(conversation("Hi?"))


@pytest.mark.parametrize("role", ["system", "developer"])
@pytest.mark.parametrize("place", [1, 2, 3])
def test_a_system_message_anywhere_but_in_front_is_refused_by_its_number(role: str, place: int) -> None:
    messages = [Message(role=name, content="x") for name in ("user", "assistant", "user")]
    messages.insert(place, Message(role=role, content="Be brief."))
    with pytest.raises(TemplateError, match=f"^message {place} is a second or late {role} message"):
        assemble(Conversation(messages=tuple(messages)), "s", SystemStyle())


def test_parts_without_text_leave_the_secret_alone() -> None:
    empty = Message(role="system", content=(Part(type="text", text=""),))
    conv = Conversation(messages=(empty, Message(role="user", content="Hi")))
    assert assemble(conv, "s", SystemStyle()).messages[0].text == "s"
