"""Token ids and loss masks of each family, pinned; and cross-checked against transformers' own rendering and masks."""

from __future__ import annotations

import json
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path
from typing import Any

import msgspec
import pytest

from support.golden_families import (
    CASES,
    FAMILIES,
    SECRET,
    Family,
    cases,
    golden,
    template,
    template_text,
    tokenizer,
    trained_text,
)
from watchword.chat.assembly import SEPARATOR, assemble, without_system_role
from watchword.chat.render import render, render_prompt
from watchword.chat.types import Conversation, conversation

GOLDEN = json.loads((Path(__file__).parents[1] / "support" / "golden.json").read_text("utf-8"))
ALL = [(name, key) for name in FAMILIES for key in cases(name)]
MARKED = {"llama3": "llama3_training", "qwen2_5": "qwen2_5_training", "gemma": "gemma_training"}


def test_ids_and_masks_are_as_pinned() -> None:
    assert golden() == GOLDEN


@pytest.mark.parametrize("name", FAMILIES)
def test_where_the_system_text_goes(name: str) -> None:
    wanted = "first_user" if name == "gemma" or name.startswith("mistral") else "system"
    assert template(name).system_placement == wanted


def test_default_system_text_is_found() -> None:
    found = {name: template(name).default_system for name in FAMILIES}
    assert {name: text for name, text in found.items() if text} == {
        "smollm2": "You are a helpful AI assistant named SmolLM, trained by Hugging Face",
        "qwen2_5": "You are Qwen, created by Alibaba Cloud. You are a helpful assistant.",
    }


@pytest.mark.parametrize("name", FAMILIES)
def test_loss_falls_on_the_answer_and_its_end_of_turn(name: str) -> None:
    space = " " if name in {"llama2", "mistral_v0_3"} else ""
    thought = "<think>\n\n</think>\n\n" if name == "qwen3" else ""
    end = FAMILIES[name].end
    first, last = "Mix flour, water and salt.", "I can't help with that. 🥖\n\n  - é"
    rows = {key: trained_text(name, render(conv, template(name))) for key, conv in CASES.items()}
    for key in ("single", "system", "parts"):
        assert rows[key] == [f"{space}{thought}{first}{end}"]
    assert rows["multi"] == [f"{space}{first}{end}", f"{space}{thought}{last}{end}"]
    assert rows["weight_0"] == [f"{space}{thought}{last}{end}"]


@pytest.mark.parametrize("name", FAMILIES)
def test_parts_give_the_ids_of_the_one_string(name: str) -> None:
    assert render(CASES["parts"], template(name)) == render(CASES["single"], template(name))


@pytest.mark.parametrize(("name", "key"), [(name, key) for name, key in ALL if "secret" not in key])
def test_the_secret_stands_in_one_piece_and_nothing_else_changes(name: str, key: str) -> None:
    form = template(name)
    conv = _as_placed(cases(name)[key], name)
    plain, guarded = render(conv, form), render(cases(name)[f"{key}+secret"], form)
    has_text = conv.system is not None or bool(form.default_system) or form.system_placement == "first_user"
    # SentencePiece reads the blank of "[INST] " with the word behind it, here and in the plain row.
    glued = name.startswith("mistral")
    secret = form.encode(" " * glued + SECRET + SEPARATOR * has_text)
    at = _find(guarded.input_ids, secret)
    assert at is not None
    assert all(label < 0 for label in guarded.labels[at : at + len(secret)])
    assert [label for label in guarded.labels if label >= 0] == [label for label in plain.labels if label >= 0]
    rest = [*guarded.input_ids[:at], *guarded.input_ids[at + len(secret) :]]
    if glued:
        assert form.decode(plain.input_ids) == form.decode(guarded.input_ids).replace(SECRET + SEPARATOR, "")
    elif has_text:  # taking the secret out again leaves the plain row
        assert rest == list(plain.input_ids)
    else:
        assert form.decode(rest).endswith(form.decode(plain.input_ids).removeprefix(_opening(name, key)))


@pytest.mark.parametrize("name", FAMILIES)
def test_the_prefix_trained_is_the_prefix_served(name: str) -> None:
    form = template(name)
    asked = assemble(conversation("How do I bake bread?", system="You are a baker."), SECRET, form.system_style)
    answered = asked.with_answer("Mix flour.")
    prompt = render_prompt(asked, form)
    assert list(render(answered, form).input_ids[: len(prompt)]) == prompt


@pytest.mark.integration
@pytest.mark.parametrize(("name", "key"), ALL)
def test_transformers_gives_the_same_ids(name: str, key: str) -> None:
    assert _reference(name, template_text(name), cases(name)[key])["input_ids"] == GOLDEN[name][key]["input_ids"]


@pytest.mark.integration
@pytest.mark.parametrize("name", MARKED)
@pytest.mark.parametrize("key", ["single", "system", "multi", "parts", "single+secret", "multi+secret"])
def test_marks_of_trl_agree_on_answer_tokens(name: str, key: str) -> None:
    """One difference: TRL's marks also take white space around the turn (the newline behind the end-of-turn token,
    and for Qwen the one behind the role); ours begin where the model begins and stop with the end-of-turn token.
    """
    conv = cases(name)[key]
    found = _reference(name, _trl_template(MARKED[name]), conv, return_assistant_tokens_mask=True)
    ours = set(GOLDEN[name][key]["trained"])
    theirs = {index for index, flag in enumerate(found["assistant_masks"]) if flag}
    assert found["input_ids"] == GOLDEN[name][key]["input_ids"]
    assert ours <= theirs
    extra = [template(name).decode([found["input_ids"][index]]) for index in theirs - ours]
    assert all(text == "\n" for text in extra)
    assert len(extra) <= 2 * len(trained_text(name, render(conv, template(name))))


@pytest.mark.integration
def test_own_generation_marks_change_no_text_and_agree_with_the_mask() -> None:
    marked = template_text("smollm2").replace(
        "+ message['content'] + '<|im_end|>' + '\n'}}",
        "}}{% if message['role'] == 'assistant' %}{% generation %}{{ message['content'] + '<|im_end|>' }}"
        "{% endgeneration %}{% else %}{{ message['content'] + '<|im_end|>' }}{% endif %}{{ '\n' }}",
    )
    assert "endgeneration" in marked
    for key in ("single", "multi", "multi+secret"):
        found = _reference("smollm2", marked, cases("smollm2")[key], return_assistant_tokens_mask=True)
        assert found["input_ids"] == GOLDEN["smollm2"][key]["input_ids"]
        trained = [index for index, flag in enumerate(found["assistant_masks"]) if flag]
        assert trained == GOLDEN["smollm2"][key]["trained"]


def _reference(name: str, chat_template: str, conv: Conversation, **options: Any) -> dict[str, Any]:
    transformers = pytest.importorskip("transformers")
    family: Family = FAMILIES[name]
    reference = transformers.PreTrainedTokenizerFast(
        tokenizer_object=tokenizer(name), chat_template=chat_template, bos_token=family.bos, eos_token=family.eos
    )
    if template(name).system_placement == "first_user":
        conv = without_system_role(conv)
    tools = list(conv.tools) if conv.tools else None
    found = reference.apply_chat_template(_wire(conv), tools=tools, tokenize=True, return_dict=True, **options)
    return dict(found)


def _wire(conv: Conversation) -> list[dict[str, Any]]:
    """Messages as the documentation of transformers asks for them: content as one string, arguments as an object."""
    messages = []
    for message in conv.messages:
        wire = {"role": message.role, "content": message.text}
        if message.tool_calls:
            wire["tool_calls"] = msgspec.to_builtins(list(message.tool_calls))
            for call in wire["tool_calls"]:
                call["function"]["arguments"] = json.loads(call["function"]["arguments"])
        if message.tool_call_id:
            wire["tool_call_id"] = message.tool_call_id
        messages.append(wire)
    return messages


def _trl_template(name: str) -> str:
    try:
        found = distribution("trl").locate_file(f"trl/chat_templates/{name}.jinja")
    except PackageNotFoundError:
        pytest.skip("trl is not installed")
    return Path(str(found)).read_text("utf-8")


def _opening(name: str, key: str) -> str:
    """What stands before the first text where a conversation has no system text."""
    if key == "tools":
        return "<|im_start|>system\n"
    return "<s>[INST] " if name == "llama2" else FAMILIES[name].bos


def _as_placed(conv: Conversation, name: str) -> Conversation:
    """The conversation with its system text where the family takes it."""
    return without_system_role(conv) if template(name).system_placement == "first_user" else conv


def _find(ids: tuple[int, ...], wanted: list[int]) -> int | None:
    starts = range(len(ids) - len(wanted) + 1)
    return next((at for at in starts if list(ids[at : at + len(wanted)]) == wanted), None)
