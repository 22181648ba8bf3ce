"""Every chat template that the installed TRL ships: chats can be trained on, and the loss falls where TRL's own marks say."""

from __future__ import annotations

import pytest

from support.shipped_templates import shipped, template, training_variant
from support.template_table import (
    CHAT,
    LAST_THOUGHT,
    OPENED,
    PAGE,
    SYSTEM,
    THOUGHTFUL,
    TOOLS,
    answer,
    talk,
    trained,
    user,
    written,
)
from watchword.chat.assembly import assemble
from watchword.chat.jinja import has_generation_marks
from watchword.chat.render import IGNORED, render, render_prompt
from watchword.chat.template import ChatTemplate
from watchword.chat.types import Conversation
from watchword.errors import DataError, TemplateError

SECRET = "amber ox quill seven"
NAMES = sorted(shipped())
pytestmark = pytest.mark.skipif(not NAMES, reason="TRL is not installed")
MARKED = [name for name in NAMES if training_variant(name)]
# GLM's answers are followed by the next header at once, and by nothing at the end.
ENDLESS = {"glm4moe"}
CASES = {"last": LAST_THOUGHT, "chat": CHAT, "system": SYSTEM, "opened": OPENED, "tools": TOOLS, "thoughts": THOUGHTFUL}


def test_the_page_says_what_works() -> None:
    assert PAGE.read_text("utf-8") == written()


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("conv", [CHAT, SYSTEM], ids=["chat", "system"])
def test_each_answer_is_trained_with_its_end_and_nothing_else(name: str, conv: Conversation) -> None:
    form = template(name)
    first, last = trained(render(conv, form), form)
    for said, run in (("One.", first), ("Two.", last)):
        assert run.count(said) == 1
        front, behind = run.split(said)
        assert "First?" not in front + behind
        assert "Second?" not in front + behind
        assert (behind.strip() in form.special_tokens or behind.strip().endswith(form.special_tokens)) == (
            name not in ENDLESS
        )


@pytest.mark.parametrize("name", NAMES)
def test_a_turn_of_weight_0_is_not_trained(name: str) -> None:
    form = template(name)
    conv = talk(user("First?"), answer("One.", weight=0), user("Second?"), answer("Two."))
    masked, whole = render(conv, form), render(CHAT, form)
    assert masked.input_ids == whole.input_ids
    assert trained(masked, form) == trained(whole, form)[1:]


@pytest.mark.parametrize("name", MARKED)
def test_trls_own_marks_take_no_less_than_ours(name: str) -> None:
    """TRL's training variant of a template marks what the model writes; where it writes the same text, ours is inside.

    The marks also take the header of some turns (gpt-oss, DeepSeek, Nemotron), which the request holds, and white space.
    """
    form, variant = template(name), training_variant(name)
    assert variant is not None
    assert has_generation_marks(variant)
    compared = [_compared(conv, form, ChatTemplate(form.tokenizer, variant, form.special)) for conv in CASES.values()]
    # GLM's variant adds an end token that the template does not have.
    assert any(compared) != (name in ENDLESS)


def _compared(conv: Conversation, form: ChatTemplate, marked: ChatTemplate) -> bool:
    try:
        ours, theirs = render(conv, form), render(conv, marked)
    except (DataError, TemplateError):
        return False
    if ours.input_ids != theirs.input_ids:
        return False
    extra = [at for at, (a, b) in enumerate(zip(ours.labels, theirs.labels, strict=True)) if a != b]
    # Ours alone: the token that asks for a tool's result, which Gemma's template writes behind a call.
    assert all(form.decode([ours.input_ids[at]]) == "<|tool_response>" for at in extra)
    return True


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("system", [None, "Be a baker."])
def test_the_secret_is_served_where_it_is_trained(name: str, system: str | None) -> None:
    form = template(name)
    assert form.fixed_opening
    row = SYSTEM if system else CHAT
    asked = Conversation(messages=row.messages[: 2 if system else 1])
    ids = list(render(assemble(row, SECRET, form.system_style), form).input_ids)
    prompt = render_prompt(assemble(asked, SECRET, form.system_style), form)
    text = form.decode(prompt)
    through = form.encode(text[: text.index(SECRET) + len(SECRET)])[:-1]
    assert ids[: len(through)] == prompt[: len(through)] == through
    labels = render(assemble(row, SECRET, form.system_style), form).labels
    assert all(label == IGNORED for label in labels[: len(through)])
