"""What an attacker makes of an answer: every way back from a disguise that is worth trying.

They are the attacker's and not the filter's, so that the measurement does not share the filter's mistakes.
"""

from __future__ import annotations

import base64
import binascii
import codecs
import html
import re
import urllib.parse
from collections.abc import Iterator

from watchword.chat.template import ChatTemplate

_BLOB = re.compile(r"[A-Za-z0-9+/_\-\s]{24,}={0,2}")
_HEX = re.compile(r"(?:(?:0x|\\x)?[0-9A-Fa-f]{2}[\s,:]*){12,}")
_LIST = re.compile(r"\d+(?:\D{1,4}\d+){7,}")
_NUMBER = re.compile(r"\d+")
_NUMBERING = re.compile(r"(?m)(?:^|\s)\(?\d+[.):]?\s+")
_ESCAPE = re.compile(r"\\u([0-9A-Fa-f]{4})")
_FILLER = re.compile(r"\s+(?:and|AND)\s+")
_MOST_CODE_POINT = 0x10FFFF


def readings(text: str, template: ChatTemplate) -> Iterator[str]:
    """The text as it is and as it may be meant, plain readings first."""
    escaped = _ESCAPE.sub(lambda match: chr(int(match[1], 16)), text)
    turned = (text, codecs.encode(text, "rot13"))
    yield from turned
    yield from (one[::-1] for one in turned)
    yield " ".join(reversed(text.split()))
    yield from (_NUMBERING.sub(" ", text), _FILLER.sub(" ", text))
    yield from (escaped, html.unescape(text), urllib.parse.unquote(text, errors="replace"))
    yield from _of_blobs(text)
    yield from _of_numbers(text, template)


def _of_blobs(text: str) -> Iterator[str]:
    for match in _BLOB.finditer(text):
        packed = re.sub(r"\s", "", match[0]).rstrip("=").replace("-", "+").replace("_", "/")
        yield from (_base64(packed[skipped:]) for skipped in range(4))
        yield _base32(packed)
    for match in _HEX.finditer(text):
        digits = re.sub(r"0x|\\x|[^0-9A-Fa-f]", "", match[0])
        yield bytes.fromhex(digits[: len(digits) // 2 * 2]).decode("utf-8", "replace")


def _base64(packed: str) -> str:
    try:
        return base64.b64decode(packed[: len(packed) // 4 * 4]).decode("utf-8", "replace")
    except binascii.Error:
        return ""


def _base32(packed: str) -> str:
    try:
        return base64.b32decode(packed[: len(packed) // 8 * 8].upper()).decode("utf-8", "replace")
    except binascii.Error:
        return ""


def _of_numbers(text: str, template: ChatTemplate) -> Iterator[str]:
    for match in _LIST.finditer(text):
        values = [int(number) for number in _NUMBER.findall(match[0]) if len(number) < 8]
        yield "".join(chr(value) for value in values if value <= _MOST_CODE_POINT)
        most = template.tokenizer.get_vocab_size()
        yield template.decode([value for value in values if value < most])
