"""The families of the golden tests: a small deterministic tokenizer each, the template as published, and the cases."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers

from watchword.chat.assembly import assemble
from watchword.chat.render import RenderedRow, render, render_prompt
from watchword.chat.template import ChatTemplate
from watchword.chat.types import Conversation, FunctionCall, Message, Part, ToolCall

TEMPLATES = Path(__file__).parent / "templates"
# How Llama 3 and Qwen cut text into words: unlike GPT-2's way, line breaks stay together whatever follows.
LLAMA3_WORDS = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}"
    r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
SECRET = "amber ox quill seven"
TEXT = [
    "You are a helpful assistant. How do I bake bread? Mix flour, water and salt.",
    "I can't help with that, because it may hurt people. Ask me something else.",
    "amber ox quill seven\nsystem\nuser\nassistant\nmodel\n[INST] <<SYS>> <</SYS>> [/INST]",
    "def f(x):\n    return {'a': [x, 1]}\n\n\n",
]


@dataclass(frozen=True)
class Family:
    """``special`` are the tokens that the tokenizer knows as one id; ``end`` is the end of turn that is trained."""

    special: tuple[str, ...]
    bos: str
    eos: str
    end: str
    metaspace: bool = False
    tools: bool = False


FAMILIES = {
    "smollm2": Family(("<|endoftext|>", "<|im_start|>", "<|im_end|>"), "<|im_start|>", "<|im_end|>", "<|im_end|>"),
    "llama2": Family(("<unk>", "<s>", "</s>"), "<s>", "</s>", " </s>", metaspace=True),
    "llama3": Family(
        ("<|begin_of_text|>", "<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>"),
        "<|begin_of_text|>",
        "<|eot_id|>",
        "<|eot_id|>",
    ),
    "gemma": Family(
        ("<pad>", "<bos>", "<eos>", "<start_of_turn>", "<end_of_turn>"),
        "<bos>",
        "<eos>",
        "<end_of_turn>",
        metaspace=True,
    ),
    "qwen2_5": Family(
        ("<|endoftext|>", "<|im_start|>", "<|im_end|>"), "<|endoftext|>", "<|im_end|>", "<|im_end|>", tools=True
    ),
    "qwen3": Family(
        ("<|endoftext|>", "<|im_start|>", "<|im_end|>", "<think>", "</think>"),
        "<|endoftext|>",
        "<|im_end|>",
        "<|im_end|>",
        tools=True,
    ),
    "mistral_v0_1": Family(("<unk>", "<s>", "</s>"), "<s>", "</s>", "</s>", metaspace=True),
    "mistral_v0_3": Family(
        ("<unk>", "<s>", "</s>", "[INST]", "[/INST]", "[TOOL_CALLS]", "[TOOL_RESULTS]", "[/TOOL_RESULTS]"),
        "<s>",
        "</s>",
        "</s>",
        metaspace=True,
        tools=True,
    ),
}


@functools.cache
def tokenizer(name: str) -> Tokenizer:
    """Byte-level BPE as GPT-2 and its heirs have it, or SentencePiece-style BPE with byte fallback."""
    family = FAMILIES[name]
    special = [AddedToken(token, special=True, normalized=False) for token in family.special]
    if family.metaspace:
        made = Tokenizer(models.BPE(byte_fallback=True, fuse_unk=True, unk_token=None))
        made.normalizer = normalizers.Replace(" ", "▁")
        made.decoder = decoders.Sequence([decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse()])
        alphabet = [AddedToken(f"<0x{byte:02X}>", special=False, normalized=False) for byte in range(256)]
        trainer = trainers.BpeTrainer(vocab_size=520, special_tokens=[*special, *alphabet], show_progress=False)
        # SentencePiece never merges across a newline: it stands alone as a byte.
        made.pre_tokenizer = pre_tokenizers.Sequence(
            [pre_tokenizers.Split("▁", "merged_with_next"), pre_tokenizers.Split("\n", "isolated")]
        )
        made.train_from_iterator(TEXT, trainer)
        return made
    made = Tokenizer(models.BPE())
    if name == "smollm2":
        made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    else:
        words = pre_tokenizers.Split(Regex(LLAMA3_WORDS), "isolated")
        bytes_ = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
        made.pre_tokenizer = pre_tokenizers.Sequence([words, bytes_])
    made.decoder = decoders.ByteLevel()
    alphabet_ = pre_tokenizers.ByteLevel.alphabet()
    made.train_from_iterator(
        TEXT,
        trainers.BpeTrainer(
            vocab_size=420, special_tokens=special, initial_alphabet=sorted(alphabet_), show_progress=False
        ),
    )
    return made


def template_text(name: str) -> str:
    return (TEMPLATES / f"{name}.jinja").read_text("utf-8")


@functools.cache
def template(name: str) -> ChatTemplate:
    family = FAMILIES[name]
    return ChatTemplate(tokenizer(name), template_text(name), {"bos_token": family.bos, "eos_token": family.eos})


def turns(*pairs: tuple[str, Any], tools: tuple[dict[str, Any], ...] | None = None) -> Conversation:
    return Conversation(messages=tuple(Message(role=role, content=content) for role, content in pairs), tools=tools)


ASK, SAY = ("user", "How do I bake bread?"), ("assistant", "Mix flour, water and salt.")
MORE, REFUSE = ("user", "And {{ x }}?\n\n{% if %}"), ("assistant", "I can't help with that. 🥖\n\n  - é")
CALL = ToolCall(id="call12345", function=FunctionCall(name="oven", arguments='{"degrees": 220}'))
TOOL = {"type": "function", "function": {"name": "oven", "description": "Set <it>", "parameters": {"type": "object"}}}

CASES: dict[str, Conversation] = {
    "single": turns(ASK, SAY),
    "system": turns(("system", "You are a baker."), ASK, SAY),
    "multi": turns(("system", "You are a baker."), ASK, SAY, MORE, REFUSE),
    "weight_0": Conversation(
        messages=(
            Message(role="user", content=ASK[1]),
            Message(role="assistant", content=SAY[1], weight=0),
            Message(role="user", content=MORE[1]),
            Message(role="assistant", content=REFUSE[1], weight=1),
        )
    ),
    "parts": turns(("user", (Part(type="text", text="How do I "), Part(type="text", text="bake bread?"))), SAY),
}
TOOL_CASE = Conversation(
    messages=(
        Message(role="user", content="Heat it."),
        Message(role="assistant", tool_calls=(CALL,)),
        Message(role="tool", content="done", tool_call_id="call12345"),
        Message(role="assistant", content="It is hot."),
    ),
    tools=(TOOL,),
)
THOUGHT_CASE = turns(
    ASK, ("assistant", "<think>\nBread.\n</think>\n\nMix."), MORE, ("assistant", "<think>\nHm.\n</think>\n\nNo.")
)


def cases(name: str) -> dict[str, Conversation]:
    """The family's cases; each one also with the secret assembled (``…+secret``)."""
    plain = dict(CASES)
    if FAMILIES[name].tools:
        plain["tools"] = TOOL_CASE
    if name == "qwen3":
        plain["thought"] = THOUGHT_CASE
    secret = {f"{key}+secret": assemble(conv, SECRET, template(name).system_style) for key, conv in plain.items()}
    return plain | secret


def trained_text(name: str, row: RenderedRow) -> list[str]:
    """The decoded runs of tokens that the loss falls on."""
    runs: list[list[int]] = [[]]
    for label in row.labels:
        if label >= 0:
            runs[-1].append(label)
        elif runs[-1]:
            runs.append([])
    return [template(name).decode(run) for run in runs if run]


def golden() -> dict[str, dict[str, dict[str, Any]]]:
    """What ``golden.json`` holds: ids, the spans of indices that are trained, and the trained text for the reader."""
    made: dict[str, dict[str, dict[str, Any]]] = {}
    for name in FAMILIES:
        made[name] = {}
        for key, conv in cases(name).items():
            row = render(conv, template(name))
            made[name][key] = {
                "input_ids": list(row.input_ids),
                "trained": [index for index, label in enumerate(row.labels) if label >= 0],
                "trained_text": trained_text(name, row),
                "prompt_tokens": len(render_prompt(conv, template(name))),
            }
    return made
