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
from watchword.errors import DataError, TemplateError
from watchword.guarding.digest import HashingWriter
from watchword.guarding.weave import Piece, ProviderRow
from watchword.registry import Registry


@dataclass(frozen=True)
class ExportPlan:
    """What rows and settings are made of. ``data`` is the guarded file; ``max_length`` in tokens cuts no provider row.

    ``untrained``: some rows of the tenant have assistant turns of weight 0.
    """

    data: Path
    model: str
    chat_format: ChatFormat
    max_length: int
    untrained: bool = False


class Sink(Protocol):
    """Takes pieces in their final order."""

    def write(self, piece: Piece) -> None:
        """Whole tenant lines, or one provider row."""


class Exporter(abc.ABC):
    """One file in this package is one trainer."""

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
    """For trainers that need each row in another form. Faults of the tenant's rows carry their number, from 1."""

    def __init__(self) -> None:
        self.tenant_rows = 0

    def write(self, piece: Piece) -> None:
        if isinstance(piece, ProviderRow):
            self.row(piece.conversation)
            return
        for line in piece.split(b"\n"):
            if line.strip():
                self.tenant_rows += 1
                self._tenant(line)

    def _tenant(self, line: bytes) -> None:
        number = self.tenant_rows
        try:
            self.row(parse_line(line, number))
        except DataError as error:
            raise type(error)(error.problem, line=number, field=error.field) from None
        except TemplateError as error:
            raise TemplateError(f"row {number}: {error}") from None

    @abc.abstractmethod
    def row(self, conv: Conversation) -> None:
        """Writes one row. Raises DataError where the trainer would skip or misread it."""


def require_alternation(conv: Conversation, trainer: str) -> None:
    """Raises DataError unless user and assistant take turns behind at most one system message, without tools."""
    turns = conv.messages[1:] if conv.system is not None else conv.messages
    if conv.tools or [turn.role for turn in turns] != ["user", "assistant"] * (len(turns) // 2):
        raise DataError(
            f"{trainer} skips or refuses rows in which user and assistant do not take turns, or that use tools; "
            "mend the row, or guard the file for another trainer"
        )


EXPORTERS: Registry[Exporter] = Registry("trainer", Exporter, "watchword.guarding.exporters")  # type: ignore[type-abstract]
