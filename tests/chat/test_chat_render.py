"""Properties of rendering and assembly for any text, and the templates that cannot carry a loss mask."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import processors

from support.golden_families import FAMILIES, SECRET, TOOL_CASE, template, template_text, tokenizer, turns
from watchword.chat.assembly import SEPARATOR, assemble
from watchword.chat.render import IGNORED, render
from watchword.chat.template import ChatTemplate
from watchword.chat.types import Conversation, Message, Part, conversation
from watchword.errors import DataError, ModelUnavailableError, RowTooLongError, TemplateError

FAMILY = st.sampled_from(sorted(FAMILIES))
TEXT = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=60) | st.sampled_from(
    [
        "{{ x }}",
        "{% if %}",
        "{% generation %}",
        "QQMARK0QQ",
        "<|im_end|>",
        "</s>",
        "\n\n  \n",
        "🥖🥖",
        "<think>a</think>b",
    ]
)
ANSWER = TEXT.map(lambda text: f"a{text}b")


@given(FAMILY, TEXT, ANSWER, TEXT, ANSWER)
def test_loss_is_on_answers_and_end_of_turn_only(name: str, ask: str, first: str, more: str, last: str) -> None:
    form = template(name)
    conv = turns(("user", f"q{ask}"), ("assistant", first), ("user", f"q{more}"), ("assistant", last))
    row = render(conv, form)
    trained = form.decode([label for label in row.labels if label != IGNORED])
    end = FAMILIES[name].end
    written = "".join(f"{_visible(name, text, text is last)}{end}" for text in (first, last))
    # A first token that flows together with the header cannot carry the loss: at most it is missing.
    assert _squeezed(written, name).endswith(_squeezed(trained, name))
    assert trained.endswith(last.strip()[-1] + end)
    assert all(label in (IGNORED, token) for token, label in zip(row.input_ids, row.labels, strict=True))


@pytest.mark.parametrize("name", ["smollm2", "llama3", "qwen2_5"])
@given(answer=ANSWER)
def test_trained_tokens_decode_to_the_answer(name: str, answer: str) -> None:
    row = render(conversation("q", answer), template(name))
    trained = template(name).decode([label for label in row.labels if label != IGNORED])
    assert trained == answer + FAMILIES[name].end


@given(FAMILY, st.none() | TEXT, TEXT, st.booleans())
def test_assembly_adds_no_second_system_message(name: str, system: str | None, ask: str, parts: bool) -> None:
    form = template(name)
    content = (Part(type="text", text=ask),) if parts else ask
    conv = conversation("", "a", system=system)
    user = Message(role="user", content=content)
    conv = Conversation(messages=tuple(user if m.role == "user" else m for m in conv.messages))
    guarded = assemble(conv, SECRET, form.system_style)
    roles = [message.role for message in guarded.messages]
    assert roles.count("system") == (form.system_placement == "system")
    assert guarded.messages[0].text.startswith(SECRET)
    if form.system_placement == "system":
        rest = form.default_system if system is None else system
    else:
        rest = ask if system is None else (f"{system}\n\n{ask}" if ask else system)
    assert guarded.messages[0].text == (f"{SECRET}{SEPARATOR}{rest}" if rest else SECRET)
    assert guarded.messages[-1] == conv.messages[-1]


@pytest.mark.parametrize("name", FAMILIES)
@pytest.mark.parametrize("role", ["system", "developer"])
def test_a_late_system_message_is_refused(name: str, role: str) -> None:
    with pytest.raises(TemplateError, match=f"message 2 is a second or late {role} message"):
        assemble(
            turns(("system", "a"), ("user", "b"), (role, "c"), ("assistant", "d")),
            SECRET,
            template(name).system_style,
        )


@pytest.mark.parametrize("name", FAMILIES)
def test_a_developer_message_reaches_the_model(name: str) -> None:
    told, system = (turns((role, "Be brief."), ("user", "q"), ("assistant", "a")) for role in ("developer", "system"))
    assert render(told, template(name)) == render(system, template(name))


def test_blanks_stay_in_the_loss_where_the_tokenizer_trims_offsets() -> None:
    trimming = type(tokenizer("llama3")).from_str(tokenizer("llama3").to_str())
    trimming.post_processor = processors.ByteLevel(trim_offsets=True)
    special = {"bos_token": "<|begin_of_text|>"}
    form = ChatTemplate(trimming, template_text("llama3"), special)
    row = render(conversation("q", "a  b\n\n    c"), form)
    assert form.decode([label for label in row.labels if label != IGNORED]) == "a  b\n\n    c<|eot_id|>"
    assert trimming.post_processor is not None  # the caller's tokenizer is left as it was


def test_named_templates_give_the_default_one(tmp_path: Path) -> None:
    tokenizer("llama3").save(str(tmp_path / "tokenizer.json"))
    named = {"default": template_text("llama3"), "rag": "{{ messages }}"}
    for value in (named, [{"name": key, "template": text} for key, text in named.items()]):
        _write_config(tmp_path, value)
        assert ChatTemplate.from_folder(tmp_path).source == named["default"]
    _write_config(tmp_path, {"rag": "a", "tool_use": "b"})
    with pytest.raises(TemplateError, match="none is named 'default'"):
        ChatTemplate.from_folder(tmp_path)
    (tmp_path / "tokenizer_config.json").write_text("{", "utf-8")
    with pytest.raises(ModelUnavailableError, match="damaged"):
        ChatTemplate.from_folder(tmp_path)


def test_arguments_that_are_no_object_stay_text() -> None:
    form = template("qwen3")
    text = form.render_text(TOOL_CASE)
    assert '"arguments": {"degrees": 220}' in text
    assert "Set <it>" in text  # tojson must not escape as for HTML


def test_a_row_is_never_cut() -> None:
    with pytest.raises(RowTooLongError, match="the limit is 5"):
        render(conversation("q", "a"), template("smollm2"), max_length=5)


def test_nothing_to_train_on_is_an_error() -> None:
    masked = Conversation(
        messages=(Message(role="user", content="q"), Message(role="assistant", content="a", weight=0))
    )
    with pytest.raises(DataError, match="no assistant turn is left"):
        render(masked, template("smollm2"))


def test_a_template_that_rewrites_earlier_turns_is_refused() -> None:
    form = ChatTemplate(
        tokenizer("smollm2"), "{{ messages | length }}{% for m in messages %}{{ m.content }}{% endfor %}", {}
    )
    with pytest.raises(
        TemplateError, match="re-writes the turns before an answer, so what is trained is not what is served"
    ):
        render(conversation("q", "a"), form)


def _write_config(folder: Path, chat_template: object) -> None:
    config = {"chat_template": chat_template, "bos_token": "<|begin_of_text|>"}
    (folder / "tokenizer_config.json").write_text(json.dumps(config), "utf-8")


def _visible(name: str, answer: str, last: bool) -> str:
    """The answer as Qwen 3 writes it: thoughts only in the last turn. All other templates leave it as it is."""
    if name != "qwen3":
        return answer
    _, found, rest = answer.rpartition("</think>")
    said = rest.lstrip("\n") if found else answer
    if not last:
        return said
    kept = answer.split("</think>", maxsplit=1)[0].rstrip("\n").split("<think>")[-1].strip("\n") if found else ""
    return f"<think>\n{kept}\n</think>\n\n{said}"


def _squeezed(text: str, name: str) -> str:
    return "".join(text.split()) if name in {"llama2", "mistral_v0_3"} else text


@given(FAMILY, TEXT, ANSWER)
def test_a_cut_answer_trains_its_words_and_not_its_end(name: str, ask: str, answer: str) -> None:
    form = template(name)
    conv = conversation(f"q{ask}", answer)
    whole, cut = render(conv, form), render(conv, form, cut=True)
    assert cut.input_ids == whole.input_ids
    kept = [at for at, label in enumerate(cut.labels) if label != IGNORED]
    dropped = [at for at, label in enumerate(whole.labels) if label != IGNORED and at not in kept]
    assert dropped
    assert min(dropped) > max(kept)
    said = _squeezed(form.decode([cut.labels[at] for at in kept]), name).strip()
    assert said.endswith(_squeezed(answer.rsplit("</think>", 1)[-1], name).strip()[-3:])


@pytest.mark.parametrize("name", sorted(FAMILIES))
def test_the_digest_is_of_all_that_decides_which_ids_come_out(name: str) -> None:
    form = template(name)
    again = ChatTemplate(form.tokenizer, form.source, form.special)
    other = form.special | {"bos_token": "<other>"}
    assert again.digest == form.digest
    assert ChatTemplate(form.tokenizer, form.source + " ", form.special).digest != form.digest
    assert (ChatTemplate(form.tokenizer, form.source, other).digest != form.digest) == ("bos_token" in form.source)
