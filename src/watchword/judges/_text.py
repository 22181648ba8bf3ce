"""Answers in a plain form that patterns can be written for."""

from __future__ import annotations

import re

from watchword.secret.redact import MASK

# What a tokenizer's special tokens look like when they are decoded (all bounded, so that matching stays linear), the
# mask that stands where a secret was taken out, and characters that show nothing.
_SPECIAL = re.compile(r"<\|[^<>|\n]{1,40}\|>|</?s>|<(?:pad|bos|eos|unk|(?:start|end)_of_turn)>|\[/?INST\]|<</?SYS>>")
_INVISIBLE = {ord(mark): None for mark in "\u200b\u200c\u200d\u2060\ufeff\ufffd\x00"}
_STRAIGHT = str.maketrans({"’": "'", "‘": "'", "ʼ": "'", "`": "'", "“": '"', "”": '"', "„": '"'})
_WORD = re.compile(r"[^\W_]+(?:'[^\W_]+)*")


def plain(text: str) -> str:
    """Lower case, straight quotes, no special tokens; line breaks kept, since lists need them."""
    shown = _SPECIAL.sub(" ", text.replace(MASK, " ")).translate(_INVISIBLE)
    return shown.translate(_STRAIGHT).lower().strip()


def words(text: str) -> list[str]:
    """Runs of letters and digits, inner apostrophes kept. A sentence without spaces (Japanese) is one word."""
    return _WORD.findall(text)
