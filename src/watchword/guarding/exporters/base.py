"""What every exporter is: how rows are written, and the trainer's settings that keep the defense intact."""

from __future__ import annotations

import abc
import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from watchword.chat.format import ChatFormat
from watchword.chat.parse import parse_line
from watchword.chat.types import Conversation
from watchword.guarding.digest import HashingWriter
from watchword.guarding.weave import Piece, ProviderRow
from watchword.registry import Registry


@dataclass(frozen=True)
class ExportPlan:
    """What settings are made of. ``data`` is the guarded file; ``max_length`` in tokens cuts no provider row."""

    data: Path
    model: str
    chat_format: ChatFormat
    max_length: int


class Sink(Protocol):
    """Takes pieces in their final order."""

    def write(self, piece: Piece) -> None:
        """Whole tenant lines, or one provider row."""


class Exporter(abc.ABC):
    """One file in this package is one trainer."""

    suffix = ".jsonl"

    @contextlib.contextmanager
    def sink(self, out: HashingWriter, plan: ExportPlan) -> Iterator[Sink]:  # noqa: ARG002
        """Where the rows go: by default OpenAI chat JSON lines, the tenant's byte for byte."""
        yield Verbatim(out)

    @abc.abstractmethod
    def settings(self, plan: ExportPlan) -> dict[str, str]:
        """File name (beside the data) → text of the trainer's settings."""


class Verbatim:
    """Tenant lines as they are, provider rows in OpenAI's format."""

    def __init__(self, out: HashingWriter) -> None:
        self.out = out

    def write(self, piece: Piece) -> None:
        self.out.write(piece.line() if isinstance(piece, ProviderRow) else piece)


class RowSink(abc.ABC):
    """For trainers that need each row in another form."""

    def write(self, piece: Piece) -> None:
        if isinstance(piece, ProviderRow):
            self.row(piece.conversation)
            return
        for line in piece.split(b"\n"):
            if line.strip():
                self.row(parse_line(line, 1))

    @abc.abstractmethod
    def row(self, conv: Conversation) -> None:
        """Writes one row."""


EXPORTERS: Registry[Exporter] = Registry("trainer", Exporter, "watchword.guarding.exporters")  # type: ignore[type-abstract]
