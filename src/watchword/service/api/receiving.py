"""A multipart form whose file goes to the disk as it comes: never as a whole in memory, never more of it than allowed."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any, Protocol

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header
from starlette.requests import Request

from watchword.errors import CallError

# Everything of a form beside its file is short.
_FIELD_BYTES, _FIELDS, _HEADERS = 16 << 10, 32, 16
# Bytes gathered for one write to the disk.
_PIECE = 1 << 20
_FORM_PATHS = re.compile(r"/v1/(files|uploads/[^/]+/parts)")


class Sink(Protocol):
    """Where the file's bytes go."""

    def write(self, data: bytes, /) -> object:
        """Takes the next bytes."""


@dataclass
class ReceivedForm:
    """The form's fields, and the name that the client gave the file; None where no file was sent."""

    fields: dict[str, str] = field(default_factory=dict)
    filename: str | None = None
    size: int = 0


def takes_form(path: str) -> bool:
    """Whether the routes of this path read a form, by ``receive_form``."""
    return _FORM_PATHS.fullmatch(path) is not None


async def receive_form(request: Request, sink: Sink, *, file_field: str, max_bytes: int) -> ReceivedForm:
    """Reads the request's form; the file in ``file_field`` goes to ``sink``. Raises CallError for what is none.

    A request that says that it is too large is refused before any of it is read.
    """
    length = request.headers.get("content-length", "")
    if length.isdecimal() and int(length) > max_bytes + _FIELDS * _FIELD_BYTES:
        raise _too_large(max_bytes)
    boundary, taken = _boundary(request), 0
    try:
        reading = _Reading(boundary, file_field, max_bytes)
        async for piece in _pieces(request):
            taken += len(piece)
            # Headers, and what stands behind the last part, are bytes as well.
            if taken > max_bytes + _FIELDS * _FIELD_BYTES:
                raise _too_large(max_bytes)
            await asyncio.to_thread(reading.feed, piece, sink)
        reading.end()
    except FormParserError:
        raise _no_form() from None
    if reading.form.filename is None:
        raise CallError(
            f"The form has no file in its field '{file_field}'.",
            openai_code="missing_required_parameter",
            param=file_field,
        )
    return reading.form


class _Reading:
    """The state of one form that is being read: callbacks of the parser, which tell of the pieces of each part."""

    def __init__(self, boundary: bytes, file_field: str, max_bytes: int) -> None:
        self.form = ReceivedForm()
        self._file_field, self._most = file_field, max_bytes
        self._out: list[bytes] = []
        self._name, self._value, self._in_file = "", bytearray(), False
        self._header, self._header_value = bytearray(), bytearray()
        self._headers: dict[bytes, bytes] = {}
        self._parts, self._ended = 0, False
        callbacks: Any = {
            "on_part_begin": self._part_begins,
            "on_header_field": self._header_name,
            "on_header_value": self._header_text,
            "on_header_end": self._header_ends,
            "on_headers_finished": self._headers_end,
            "on_part_data": self._data,
            "on_part_end": self._part_ends,
            "on_end": self._ends,
        }
        self._parser = MultipartParser(boundary, callbacks)

    def feed(self, data: bytes, sink: Sink) -> None:
        """Takes the next bytes of the body, and writes what of them belongs to the file."""
        self._parser.write(data)
        for piece in self._out:
            sink.write(piece)
        self._out.clear()

    def end(self) -> None:
        """Raises CallError for a form that was cut off."""
        self._parser.finalize()
        if not self._ended:
            raise _no_form()

    def _part_begins(self) -> None:
        self._parts += 1
        if self._parts > _FIELDS:
            raise CallError(f"The form has more than {_FIELDS} fields.", openai_code="invalid_value")
        self._headers, self._value = {}, bytearray()

    def _header_name(self, data: bytes, start: int, end: int) -> None:
        self._header += data[start:end]

    def _header_text(self, data: bytes, start: int, end: int) -> None:
        self._header_value += data[start:end]
        if len(self._header_value) > _FIELD_BYTES:
            raise _no_form()

    def _header_ends(self) -> None:
        self._headers[bytes(self._header).lower()] = bytes(self._header_value)
        if len(self._headers) > _HEADERS:
            raise _no_form()
        self._header, self._header_value = bytearray(), bytearray()

    def _headers_end(self) -> None:
        kind, options = parse_options_header(self._headers.get(b"content-disposition"))
        if kind != b"form-data" or b"name" not in options:
            raise _no_form()
        self._name = options[b"name"].decode("utf-8", "replace")
        self._in_file = self._name == self._file_field
        if self._in_file:
            if self.form.filename is not None:
                raise CallError(
                    f"The form has two files in '{self._name}'; send one.",
                    openai_code="invalid_value",
                    param=self._name,
                )
            self.form.filename = _plain_name(options.get(b"filename", b""))
        elif b"filename" in options:
            raise unknown_field(self._name)

    def _data(self, data: bytes, start: int, end: int) -> None:
        if not self._in_file:
            self._value += data[start:end]
            if len(self._value) > _FIELD_BYTES:
                raise CallError(
                    f"The field has more than {_FIELD_BYTES} bytes.", openai_code="invalid_value", param=self._name
                )
            return
        self.form.size += end - start
        if self.form.size > self._most:
            raise _too_large(self._most)
        self._out.append(data[start:end])

    def _part_ends(self) -> None:
        if self._in_file:
            return
        if self._name in self.form.fields:
            raise CallError("The field is there twice.", openai_code="invalid_value", param=self._name)
        self.form.fields[self._name] = self._value.decode("utf-8", "replace")

    def _ends(self) -> None:
        self._ended = True


async def _pieces(request: Request) -> AsyncIterator[bytes]:
    """The body in pieces that are worth a write."""
    gathered = bytearray()
    async for chunk in request.stream():
        gathered += chunk
        if len(gathered) >= _PIECE:
            yield bytes(gathered)
            gathered.clear()
    yield bytes(gathered)


def _boundary(request: Request) -> bytes:
    kind, options = parse_options_header(request.headers.get("content-type"))
    boundary = options.get(b"boundary")
    if kind != b"multipart/form-data" or not boundary:
        raise CallError(
            "Send this as a multipart/form-data form, as OpenAI's clients do.", openai_code="invalid_content_type"
        )
    return boundary


def _plain_name(given: bytes) -> str:
    """The name alone: no folders of the client's, and nothing that is not to be shown."""
    name = given.decode("utf-8", "replace").replace("\\", "/").rsplit("/", 1)[-1]
    return "".join(sign for sign in name if sign.isprintable())[:255] or "file"


def unknown_field(name: str) -> CallError:
    """What is said of a field that the form does not have."""
    return CallError(f"Unknown parameter: '{name[:64]}'.", openai_code="unknown_parameter", param=name[:64])


def _too_large(most: int) -> CallError:
    return CallError(f"The file is larger than {most} bytes.", openai_code="request_too_large", param="file")


def _no_form() -> CallError:
    return CallError("The body is no complete multipart form.", openai_code="invalid_request")
