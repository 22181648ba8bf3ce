"""Reading files of conversations, and writing them so that a crash or a full disk leaves the old file whole."""

from __future__ import annotations

import contextlib
import os
import secrets
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import BinaryIO

import msgspec

from watchword.chat.lines import numbered_rows, opened
from watchword.chat.parse import detect_format, format_named, read_line
from watchword.chat.reading import AS_IT_IS, Reading
from watchword.chat.remarks import Remarks
from watchword.chat.types import Conversation
from watchword.errors import DataError, OutputError


def read_conversations(
    source: Path | str | BinaryIO,
    *,
    format: str = "auto",
    reading: Reading = AS_IT_IS,
    remarks: Remarks | None = None,
) -> Iterator[tuple[int, Conversation]]:
    """(line number, conversation) of each row: JSON lines or one JSON array, in any format of ``chat.formats``.

    Streams JSON lines in constant memory. ``auto`` takes the format of the first row; a file that mixes formats is
    refused. What is to be said about rows goes to ``remarks``. Raises DataError with path, line and field at the first
    fault, and where the file goes beyond the limits of ``reading``.
    """
    path = source if isinstance(source, (str, Path)) else getattr(source, "name", None)
    first_line: int | None = None
    if format != "auto":
        format_named(format)
    with opened(source) as stream:
        for line, raw in numbered_rows(stream, path, reading.limits):
            if format == "auto":
                format, first_line = detect_format(raw, line, path, reading=reading), line
            found = read_line(raw, line, path, format, first_line=first_line, reading=reading)
            if remarks is not None:
                remarks.add(line, found.remarks)
            assert found.conversation is not None
            yield line, found.conversation


def field_in_file(
    path: Path | str, row: int, field: str | None, *, format: str = "auto", reading: Reading = AS_IT_IS
) -> str | None:
    """What the file calls one of our fields (``messages[1].content``) in its n-th row, from 1.

    For faults that are found when a row is a Conversation already, such as those of rendering. Where the row cannot be
    found again the field keeps our name.
    """
    with contextlib.suppress(DataError), opened(path) as stream:
        for count, (line, raw) in enumerate(numbered_rows(stream, path, reading.limits), start=1):
            if format == "auto":
                format = detect_format(raw, line, path, reading=reading)
            if count == row:
                obj, _ = reading.without_columns(msgspec.json.decode(raw))
                return format_named(format).field_of(field, obj)
    return field


def write_conversations(rows: Iterable[Conversation], path: Path | str) -> int:
    """Writes rows as OpenAI chat JSON lines and returns their number. Raises OutputError; the old file then stands."""
    encoder, count = msgspec.json.Encoder(), 0
    with replacing(Path(path)) as stream:
        for conv in rows:
            stream.write(encoder.encode(conv) + b"\n")
            count += 1
    return count


@contextlib.contextmanager
def replacing(path: Path, *, mode: int = 0o666) -> Iterator[BinaryIO]:
    """A stream whose bytes become ``path`` at the end, all or nothing: temporary file, fsync, rename.

    Whatever is raised inside, the old file stands and the temporary one is gone. ``mode`` is subject to the umask; give
    0o600 for a file that holds a secret. Raises OutputError where the file system refuses.
    """
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}.tmp")
    try:
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
        try:
            with os.fdopen(descriptor, "wb") as stream:
                yield stream
                stream.flush()
                os.fsync(stream.fileno())
            temporary.replace(path)
        finally:
            temporary.unlink(missing_ok=True)
        _sync_folder(path.parent)
    except OSError as error:
        why = error.strerror or str(error)
        raise OutputError(f"{path} cannot be written: {why}; choose a folder with room and write rights") from error


def check_writable(path: Path) -> None:
    """Raises OutputError unless a file could be made there: before long work, not after it."""
    if path.is_dir():
        raise OutputError(f"{path} is a folder; name a file in it")
    probe = path.with_name(f".{path.name}.{secrets.token_hex(4)}.tmp")
    try:
        probe.touch(exist_ok=False)
        probe.unlink()
    except OSError as error:
        why = error.strerror or str(error)
        raise OutputError(f"{path} cannot be written: {why}; choose a folder with room and write rights") from error


def _sync_folder(folder: Path) -> None:
    """Makes the rename itself last through a power cut."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
