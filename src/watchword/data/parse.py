"""One row of bytes → one Conversation, strictly, with a message that says where and how to mend it.

The plain case (OpenAI chat rows, text only) is decoded straight into the frozen types and checked in one pass. Whatever
is unusual takes the slow path, which says what is wrong. A row that the fast path takes is one that the slow path takes
too.
"""

from __future__ import annotations

import functools
import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any, NoReturn

import msgspec

from watchword.chat.fault import Fault, in_a_sentence, shown
from watchword.chat.types import ROLES, Conversation, Message
from watchword.data.duplicates import keys_twice
from watchword.data.formats.base import FORMATS, RowFormat, RowRead, format_of, unknown_format
from watchword.data.places import Places
from watchword.data.reading import AS_IT_IS, Reading
from watchword.data.remarks import Remark, column_left_out
from watchword.data.rules import check, obviously_fine, remarks_on
from watchword.data.tools import is_plain_tool
from watchword.data.unsupported import unsupported
from watchword.files.decoding import DECODE_ERRORS

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
    reading: Reading = AS_IT_IS,
) -> Conversation:
    """A row as a valid training conversation. ``first_line`` is named where this row has another format than the file.

    Raises DataError with path, line and the file's own field at the first fault.
    """
    conv = read_line(raw, line, path, format, first_line=first_line, reading=reading).conversation
    assert conv is not None
    return conv


def read_line(
    raw: bytes,
    line: int,
    path: Path | str | None = None,
    format: str = "openai",
    *,
    first_line: int | None = None,
    reading: Reading = AS_IT_IS,
) -> RowRead:
    """The same with what is to be said about the row."""
    if format == "openai" and not reading.drops:
        quick = _quick(raw)
        if quick is not None:
            return RowRead(quick, [], Places(), rewritten=False)
    found = read_row(raw, line, format, first_line=first_line, reading=reading)
    for fault in found.faults:
        raise fault.error(path)
    return found


def parse_row(
    raw: bytes,
    line: int,
    format: str,
    *,
    first_line: int | None = None,
    reading: Reading = AS_IT_IS,
) -> tuple[Conversation | None, list[Fault]]:
    """The slow path: the conversation (None where its shape is wrong) and every fault."""
    found = read_row(raw, line, format, first_line=first_line, reading=reading)
    return found.conversation, found.faults


def read_row(
    raw: bytes,
    line: int,
    format: str,
    *,
    first_line: int | None = None,
    reading: Reading = AS_IT_IS,
) -> RowRead:
    """The same with where the row's parts stand in the file, and what is to be said about it."""
    shaped = _shaped(raw) if format == "openai" and not reading.drops else None
    if shaped is not None:
        found = RowRead(shaped, [], Places(), rewritten=False)
        twice = duplicate_keys(raw)
        return _refused(twice, line) if twice else _judged(found, line)
    row = _claimed(raw, format, first_line, reading)
    if isinstance(row, Fault):
        return _refused([row], line)
    obj, dropped = row
    found = format_named(format).read(obj)
    faults = [*duplicate_keys(raw), *found.faults]
    if faults:
        return _refused(faults, line)
    remarks = [*(Remark(column_left_out(name)) for name in dropped), *found.remarks]
    found = replace(found, remarks=remarks, rewritten=found.rewritten or bool(dropped))
    return _judged(_without_thoughts(found) if reading.drop_thoughts else found, line)


def _claimed(
    raw: bytes, format: str, first_line: int | None, reading: Reading
) -> tuple[dict[str, Any], list[str]] | Fault:
    """A row of this format without what is left out by request, and the names of that; or why there is none."""
    try:
        obj = msgspec.json.decode(raw)
    except DECODE_ERRORS as error:
        return broken_json(raw, error)
    if not isinstance(obj, dict):
        return _other_format(obj, format, first_line)
    obj, dropped = reading.without_columns(obj)
    row_format = format_named(format)
    if (fault := unsupported(obj)) or not row_format.detect(obj):
        return fault or _other_format(obj, format, first_line)
    if reading.drop_extra:
        extra = [key for key in obj if key not in row_format.columns]
        obj, dropped = {key: value for key, value in obj.items() if key not in extra}, [*dropped, *extra]
    return obj, dropped


def _refused(faults: list[Fault], line: int) -> RowRead:
    return RowRead(None, [fault.at(line) for fault in faults], Places())


def _judged(found: RowRead, line: int) -> RowRead:
    """The row with the faults of its meaning, under the names of the file's fields."""
    conv = found.conversation
    assert conv is not None
    faults = list(check(conv, line=line))
    if faults:
        return replace(found, faults=[replace(fault, field=found.places.field_of(fault.field)) for fault in faults])
    found.remarks.extend(remarks_on(conv))
    return found


def _without_thoughts(found: RowRead) -> RowRead:
    conv = found.conversation
    if conv is None or all(turn.reasoning_content is None for turn in conv.messages):
        return found
    turns = tuple(msgspec.structs.replace(turn, reasoning_content=None) for turn in conv.messages)
    said = Remark("the thoughts (reasoning_content) were left out, as asked")
    conv = msgspec.structs.replace(conv, messages=turns)
    return replace(found, conversation=conv, remarks=[*found.remarks, said], rewritten=True)


def detect_format(raw: bytes, line: int, path: Path | str | None = None, *, reading: Reading = AS_IT_IS) -> str:
    """The name of the format of a row. Raises DataError if there is none."""
    found = format_or_fault(raw, line, reading)
    if isinstance(found, Fault):
        raise found.error(path)
    return found


def format_or_fault(raw: bytes, line: int, reading: Reading = AS_IT_IS) -> str | Fault:
    """The name of the format of a row, or why it has none."""
    try:
        obj = msgspec.json.decode(raw)
    except DECODE_ERRORS as error:
        return broken_json(raw, error).at(line)
    if isinstance(obj, dict):
        obj, _ = reading.without_columns(obj)
    return format_of(obj) or unknown_format(obj).at(line)


def is_written_so(raw: bytes) -> bool:
    """Whether a row of OpenAI's format can stay as it is written: it has faults, or every trainer reads it as we do."""
    found = read_row(raw, 1, "openai")
    return bool(found.faults) or not found.rewritten


@functools.cache
def format_named(name: str) -> RowFormat:
    """The format's one instance. Raises UnknownNameError with the choices."""
    return FORMATS.create(name)


def duplicate_keys(raw: bytes) -> list[Fault]:
    """A fault for each key that an object has twice: a parser keeps one of the two values and drops the other."""
    try:
        twice = keys_twice(raw)
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
        return Fault(problem, "write the whole character; the text was cut inside it", line=1)
    said = str(error).partition(" - at ")[0]
    return Fault(f"broken JSON: {in_a_sentence(said)}", "write a value that JSON parsers can hold", line=1)


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
    # These the decoder takes in forms that ``shape`` does not (1.0 as a weight, parts without text), or ``spellings`` changes.
    odd = any(turn.weight is not None or isinstance(turn.content, tuple) or not _usual(turn) for turn in conv.messages)
    calls = [call.type for turn in conv.messages for call in turn.tool_calls or ()]
    tools = all(map(is_plain_tool, conv.tools or ()))
    return None if odd or not tools or calls.count("function") != len(calls) else conv


def _usual(turn: Message) -> bool:
    return turn.role in ROLES and turn.tool_calls != () and (turn.role != "tool" or turn.tool_call_id is not None)


def _other_format(obj: object, expected: str, first_line: int | None) -> Fault:
    name = format_of(obj)
    if name is None:
        return unknown_format(obj)
    before = f"line {first_line} is {expected}" if first_line is not None else f"the format asked for is {expected}"
    return Fault(f"this row is {name}, and {before}", "put rows of one format into one file")


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is no JSON value")
