"""Files of prompts, of anybody's: one text a line, a column of a table, or a key of JSON lines."""

from __future__ import annotations

import csv
import io
from pathlib import Path

import msgspec

from watchword.errors import DataError
from watchword.files.addresses import text_of

KINDS = (".txt", ".csv", ".jsonl")
# First names by which a .csv shows that its first line is a header, beside ``prompt``.
HEADERS = ("goal", "question", "behavior", "instruction", "query", "request", "input", "text")


def read_prompts(path: Path, column: str | None = None) -> list[str]:
    """The prompts of a file: .txt one a line, .csv the column ``prompt`` or else the first, .jsonl the key ``prompt``.

    ``column`` names another column or key. A .csv may begin with a header: one that names ``prompt`` or ``column``, or
    whose first name is a usual one (``goal``, ``question`` …).

    Raises DataError with the line for anything else.
    """
    kind = path.suffix.lower()
    if kind not in KINDS:
        raise DataError(f"a prompt file ends in {', '.join(KINDS)}; this one in {path.suffix or 'nothing'}", path=path)
    prompts = _READERS[kind](text_of(path), path, column)
    if not prompts:
        raise DataError("the file holds no prompts", path=path)
    return prompts


def _txt(text: str, path: Path, column: str | None) -> list[str]:
    if column is not None:
        raise DataError(f"a .txt file has no column {column!r}; leave `column` out", path=path, param="column")
    # Not splitlines: a prompt may hold U+2028 and its like.
    return [line.strip() for line in text.split("\n") if line.strip()]


def _csv(text: str, path: Path, column: str | None) -> list[str]:
    try:
        rows = [row for row in csv.reader(io.StringIO(text), strict=True) if any(cell.strip() for cell in row)]
    except csv.Error as error:
        raise DataError(f"the file is no CSV: {error}; quote fields with commas or line breaks", path=path) from None
    names = [name.strip().lower() for name in rows[0]] if rows else []
    wanted = (column or "prompt").lower()
    if wanted not in names and column is not None:
        raise DataError(f"there is no column {column!r}: choose one of {', '.join(rows[0])}", path=path, line=1)
    place = names.index(wanted) if wanted in names else 0
    first = int(wanted in names or next(iter(names), "") in HEADERS)
    return [row[place].strip() for row in rows[first:] if len(row) > place and row[place].strip()]


def _jsonl(text: str, path: Path, column: str | None) -> list[str]:
    return [
        _prompt(line, number, path, column or "prompt")
        for number, line in enumerate(text.split("\n"), start=1)
        if line.strip()
    ]


def _prompt(line: str, number: int, path: Path, field: str) -> str:
    try:
        row = msgspec.json.decode(line)
    except (msgspec.DecodeError, RecursionError) as error:
        raise DataError(f"this is no JSON: {error}; put one object on each line", path=path, line=number) from None
    prompt = row.get(field) if isinstance(row, dict) else None
    if not isinstance(prompt, str) or not prompt.strip():
        raise DataError(f'give a text, as in {{"{field}": "…"}}', path=path, line=number, field=field)
    return prompt


_READERS = {".txt": _txt, ".csv": _csv, ".jsonl": _jsonl}
