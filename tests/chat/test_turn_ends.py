"""Templates whose turns end in plain text: what users say is never trained on, and answers are, to the last letter."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from watchword.chat.content import END
from watchword.chat.render import IGNORED, RenderedRow, render
from watchword.chat.template import ChatTemplate
from watchword.chat.types import Conversation, Message
from watchword.errors import RowTemplateError
from watchword.models.fakes import fake_template

# The fake tokenizer knows the end of a whole conversation alone as a special token.
EOS = "<|im_end|>"
REQUEST = "{% if add_generation_prompt %}ASSISTANT: {% endif %}"
TURNS = "{% for m in messages %}{{ m.role | upper }}: {{ m.content }}"
TEMPLATES = {
    "end token in each turn": TURNS
    + "{% if m.role == 'assistant' %}{{ eos_token }}{% endif %}\n{% endfor %}"
    + REQUEST,
    "end token at the end": TURNS
    + "\n{% endfor %}"
    + REQUEST
    + "{% if not add_generation_prompt %}{{ eos_token }}{% endif %}",
    "no end token": TURNS + "\n{% endfor %}" + REQUEST,
    "words end a turn": "{% for m in messages %}[{{ m.role }}]{{ m.content }}[END]\n{% endfor %}"
    "{% if add_generation_prompt %}[assistant]{% else %}{{ eos_token }}{% endif %}",
    "as Phi 3, without its tokens": "{% for m in messages %}<|{{ m.role }}|>\n{{ m.content }}<|end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>\n{% else %}{{ eos_token }}{% endif %}",
    "another end at the end": "{% for m in messages %}<|{{ m.role }}|>{{ m.content }}"
    "{% if loop.last %}<|return|>{% else %}<|end|>{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>{% endif %}",
}
WORDS = st.text(st.characters(codec="ascii", categories=["L", "N"]), min_size=1, max_size=12)


def form(template: str) -> ChatTemplate:
    return ChatTemplate(fake_template().tokenizer, template, {"eos_token": EOS})


def talk(*texts: str) -> Conversation:
    """User and assistant in turn; what users say stands in braces, which no answer and no template does."""
    roles = ("user", "assistant")
    return Conversation(
        tuple(
            Message(role=roles[at % 2], content=f"{{{text}}}" if at % 2 == 0 else text) for at, text in enumerate(texts)
        )
    )


def trained(row: RenderedRow, template: ChatTemplate) -> str:
    return template.decode([label for label in row.labels if label != IGNORED])


@pytest.mark.parametrize("template", TEMPLATES.values(), ids=TEMPLATES)
@given(texts=st.lists(st.tuples(WORDS, WORDS), min_size=1, max_size=3))
def test_answers_alone_are_trained_on(template: str, texts: list[tuple[str, str]]) -> None:
    template = form(template)
    conv = talk(*(text for pair in texts for text in pair))
    try:
        said = trained(render(conv, template), template)
    except RowTemplateError as error:
        assert "the tokenizer joins a part of this answer" in str(error)
        return
    assert "{" not in said
    assert "}" not in said
    at = 0
    for _, answer in texts:
        at = said.index(answer, at) + len(answer)


def test_the_end_of_each_turn_is_trained_where_the_template_writes_one() -> None:
    for name in ("words end a turn", "as Phi 3, without its tokens"):
        template = form(TEMPLATES[name])
        end = "[END]" if "words" in name else "<|end|>"
        row = render(talk("a", "b", "c", "d"), template)
        said = trained(row, template)
        assert said.startswith(f"b{end}d{end}") or END in row.dropped
