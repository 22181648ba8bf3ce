"""Every chat template that the installed TRL ships, each with a small tokenizer that knows its special tokens."""

from __future__ import annotations

import functools
import re
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, pre_tokenizers, trainers

from support.golden_families import LLAMA3_WORDS, TEXT
from watchword.chat.template import ChatTemplate

# What stands in a template as one token: <|im_end|>, <｜User｜>, <|turn>, <turn|>, <end_of_turn>, </s>, [INST].
_TOKEN = re.compile(
    r"<\|[^|<>\s'{]+\|?>|<｜[^｜<>]+｜>|</?s>|<(?:start|end)_of_\w+>|<[a-z_]+\|>|<sop>|\[/?[A-Z]+\]|\[gMASK\]"
)
_BOS, _EOS = "<|begin|>", "<|endoftext|>"
_THINK = ("<think>", "</think>")


def shipped() -> dict[str, str]:
    """Name → template, for each one that models publish; TRL's own training variants are ``trained_on``."""
    return {name: text for name, text in _all().items() if not name.endswith("_training")}


def training_variant(name: str) -> str | None:
    """TRL's variant of a template with ``{% generation %}`` marks, where it has one."""
    return _all().get(f"{name}_training")


@functools.cache
def template(name: str, template: str | None = None) -> ChatTemplate:
    text = shipped()[name]
    special = sorted({*_TOKEN.findall(text), _BOS, _EOS})
    return ChatTemplate(_tokenizer(tuple(special)), template or text, {"bos_token": _BOS, "eos_token": _EOS}, name=name)


@functools.cache
def _all() -> dict[str, str]:
    try:
        folder = Path(str(distribution("trl").locate_file("trl/chat_templates")))
    except PackageNotFoundError:
        return {}
    return {path.stem: path.read_text("utf-8") for path in sorted(folder.glob("*.jinja"))}


@functools.cache
def _tokenizer(special: tuple[str, ...]) -> Tokenizer:
    made = Tokenizer(models.BPE())
    words = pre_tokenizers.Split(Regex(LLAMA3_WORDS), "isolated")
    made.pre_tokenizer = pre_tokenizers.Sequence(
        [words, pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)]
    )
    made.decoder = decoders.ByteLevel()
    known = [AddedToken(token, special=True, normalized=False) for token in special]
    trainer = trainers.BpeTrainer(
        vocab_size=600 + len(special),
        special_tokens=known,
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    made.train_from_iterator(TEXT, trainer)
    made.add_tokens([AddedToken(token, special=False, normalized=False) for token in _THINK])
    return made
