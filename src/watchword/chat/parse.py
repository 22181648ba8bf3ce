"""One row of bytes → one Conversation, strictly, with a message that says where and how to mend it.

The plain case (OpenAI chat rows, text only) is decoded straight into the frozen types and checked in one pass; whatever
is unusual takes the slow path, which knows why. A row that the fast path takes is one that the slow path takes too.
"""

from __future__ import annotations

import functools
import json
import re
from collections import Counter
from pathlib import Path
from typing import Any, NoReturn

import msgspec

from watchword.chat.fault import Fault, shown
from watchword.chat.formats.base import FORMATS, RowFormat, format_of, unknown_format
from watchword.chat.rules import check, obviously_fine
from watchword.chat.types import Conversation

DECODE_ERRORS = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)
_DECODER = msgspec.json.Decoder(Conversation)
_UNUSUAL = re.compile(rb'"(?:tools|weight|name|parallel_tool_calls|tool_call)')
_TOO_DEEP = Fault("broken JSON: nested too deeply", "write at most a few levels of objects", line=1)


def parse_line(
    raw: bytes,
    line: int,
    path: Path | str | None = None,
    format: str = "openai",
    *,
    first_line: int | None = None,
) -> Conversation:
    """A row as a valid training conversation. ``first_line`` is named where this row has another format than the file.

    Raises DataError with path, line and field at the first fault.
    """
    if format == "openai":
        quick = _quick(raw)
        if quick is not None:
            return quick
    conv, faults = parse_row(raw, line, format, first_line=first_line)
    if faults or conv is None:
        raise faults[0].error(path)
    return conv


def parse_row(
    raw: bytes,
    line: int,
    format: str,
    *,
    first_line: int | None = None,
) -> tuple[Conversation | None, list[Fault]]:
    """The slow path: the conversation (None where its shape is wrong) and every fault."""
    shaped = _shaped(raw) if format == "openai" else None
    if shaped is not None:
        twice = [fault.at(line) for fault in duplicate_keys(raw)]
        return (None, twice) if twice else (shaped, list(check(shaped, line=line)))
    try:
        obj = msgspec.json.decode(raw)
    except DECODE_ERRORS as error:
        return None, [broken_json(raw, error).at(line)]
    row_format = format_named(format)
    if not isinstance(obj, dict) or not row_format.detect(obj):
        return None, [_other_format(obj, format, first_line).at(line)]
    faults = [*duplicate_keys(raw), *row_format.faults(obj)]
    if faults:
        return None, [fault.at(line) for fault in faults]
    conv = row_format.build(obj)
    return conv, list(check(conv, line=line))


def detect_format(raw: bytes, line: int, path: Path | str | None = None) -> str:
    """The name of the format of a row. Raises DataError if there is none."""
    try:
        obj = msgspec.json.decode(raw)
    except DECODE_ERRORS as error:
        raise broken_json(raw, error).at(line).error(path) from None
    name = format_of(obj)
    if name is None:
        raise unknown_format(obj).at(line).error(path)
    return name


@functools.cache
def format_named(name: str) -> RowFormat:
    """The format's one instance. Raises UnknownNameError with the choices."""
    return FORMATS.create(name)


def duplicate_keys(raw: bytes) -> list[Fault]:
    """A fault for each key that an object has twice: a parser keeps one of the two values and drops the other."""
    twice: list[str] = []

    def note(pairs: list[tuple[str, Any]]) -> None:
        if len(dict(pairs)) < len(pairs):
            twice.extend(key for key, times in Counter(key for key, _ in pairs).items() if times > 1)

    try:
        json.loads(raw, object_pairs_hook=note, parse_int=str, parse_float=str)
    except RecursionError:
        return [_TOO_DEEP]
    return [Fault(f"the key {shown(key)} stands twice in one object", "keep one of the two", key) for key in twice]


def broken_json(raw: bytes, error: Exception) -> Fault:
    """Why bytes are no JSON. ``line`` counts inside ``raw``, from 1; offsets count bytes, columns characters."""
    if isinstance(error, RecursionError):
        return _TOO_DEEP
    try:
        # Without the line's end: a row that is cut would be called broken at column 1 of the next line.
        text = raw.decode("utf-8").rstrip()
    except UnicodeDecodeError as wrong:
        line = raw.count(b"\n", 0, wrong.start) + 1
        offset = wrong.start - (raw.rfind(b"\n", 0, wrong.start) + 1)
        problem = f"byte {raw[wrong.start]:#04x} at byte offset {offset} of the line is not UTF-8"
        return Fault(problem, "save the file as UTF-8", line=line)
    try:
        obj = json.loads(text, parse_constant=_no_constant, parse_int=str)
    except RecursionError:
        return _TOO_DEEP
    except json.JSONDecodeError as wrong:
        problem = f"broken JSON at column {wrong.colno}: {wrong.msg[:1].lower()}{wrong.msg[1:]}"
        fix = "give one whole JSON object a line" + ("; is the line cut?" if wrong.pos >= len(text) - 1 else "")
        return Fault(problem, fix, line=wrong.lineno)
    except ValueError as wrong:
        return Fault(f"broken JSON: {wrong}", "JSON has no such value; use null or a string", line=1)
    return _stricter(obj, error)


def _stricter(obj: object, error: Exception) -> Fault:
    """Why our parser refuses what Python takes: half of an escaped surrogate pair, or a number out of range."""
    if _half_surrogates(obj):
        problem = "broken JSON: a \\u escape is half of a surrogate pair"
        return Fault(problem, "write the whole character; it was cut", line=1)
    said = str(error).partition(" - at ")[0]
    return Fault(f"broken JSON: {said[:1].lower()}{said[1:]}", "write a value that JSON parsers can hold", line=1)


def _half_surrogates(obj: object) -> bool:
    try:
        json.dumps(obj, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        return True
    return False


def _quick(raw: bytes) -> Conversation | None:
    try:
        conv = _DECODER.decode(raw)
    except DECODE_ERRORS:
        return None
    if not obviously_fine(conv) or _UNUSUAL.search(raw):
        return None
    # A key that stands twice is dropped by the parser without a word; more names than messages may mean that.
    turns = len(conv.messages)
    if raw.count(b'"messages"') > 1 or raw.count(b'"role"') > turns or raw.count(b'"content"') > turns:
        return None
    return conv


def _shaped(raw: bytes) -> Conversation | None:
    """The row if ``shape`` has certainly nothing against it: tools and calls, which take long to look at key by key."""
    try:
        conv = _DECODER.decode(raw)
    except DECODE_ERRORS:
        return None
    # These the decoder takes in forms that ``shape`` does not: 1.0 as a weight, parts without text.
    odd = any(turn.weight is not None or isinstance(turn.content, tuple) for turn in conv.messages)
    calls = [call.type for turn in conv.messages for call in turn.tool_calls or ()]
    return None if odd or calls.count("function") != len(calls) else conv


def _other_format(obj: object, expected: str, first_line: int | None) -> Fault:
    name = format_of(obj)
    if name is None:
        return unknown_format(obj)
    before = f"line {first_line} is {expected}" if first_line is not None else f"the format asked for is {expected}"
    return Fault(f"this row is {name}, and {before}", "put rows of one format into one file")


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is no JSON value")
