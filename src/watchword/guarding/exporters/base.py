"""What every exporter is: how rows are written, and the trainer's settings that keep the defense intact."""

from __future__ import annotations

import abc
import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import msgspec

from watchword.chat.template import ChatTemplate
from watchword.chat.types import Conversation
from watchword.data.parse import parse_line
from watchword.errors import DataError, TemplateError
from watchword.files.digest import HashingWriter
from watchword.guarding.interleave import Piece, ProviderRow
from watchword.registry import Registry


@dataclass(frozen=True)
class ExportPlan:
    """What rows and settings are made of. ``data`` is the guarded file; ``max_length`` in tokens cuts no provider row.

    ``untrained``: some rows of the tenant have assistant turns of weight 0. ``model`` is what a trainer here loads,
    ``hosted`` what a service gets to read: never a path of this machine.
    """

    data: Path
    model: str
    template: ChatTemplate
    max_length: int
    untrained: bool = False
    hosted: str = ""


def hosted_name(name: str) -> str:
    """What a service may call the model: its name, or for a folder here a placeholder that nobody overlooks."""
    folder = Path(name).expanduser()
    return f"REPLACE-WITH-THE-SERVICE-NAME-OF-{folder.resolve().name}" if folder.is_dir() else name


class Sink(Protocol):
    """Takes pieces in their final order."""

    def write(self, piece: Piece) -> None:
        """Whole tenant lines, or one provider row."""


class Exporter(abc.ABC):
    """One file in this package is one trainer.

    ``long_rows`` says what the trainer does with a tenant row beyond the limit. ``tables`` lists the endings of names
    for which it writes a table and not JSON lines.
    """

    long_rows = "the trainer may cut or leave out such rows"
    tables: tuple[str, ...] = ()

    @contextlib.contextmanager
    def sink(self, out: HashingWriter, plan: ExportPlan) -> Iterator[Sink]:  # noqa: ARG002
        """Where the rows go: by default OpenAI chat JSON lines, the tenant's byte for byte."""
        yield Verbatim(out)

    @abc.abstractmethod
    def settings(self, plan: ExportPlan) -> dict[str, str]:
        """File name (beside the data) → text of the trainer's settings."""

    def shares(self, name: str) -> bool:  # noqa: ARG002
        """Whether a settings file may hold what is not ours, which must then be kept."""
        return False

    def merged(self, address: str, text: str, old: bytes) -> str:  # noqa: ARG002
        """Our ``text`` put into the ``old`` bytes of such a file. Raises OutputError where they do not go together."""
        return text


class Verbatim:
    """Tenant lines as they are, provider rows in OpenAI's format."""

    def __init__(self, out: HashingWriter) -> None:
        self.out = out

    def write(self, piece: Piece) -> None:
        self.out.write(piece.line() if isinstance(piece, ProviderRow) else piece)


class SystemRoles(Verbatim):
    """The same for trainers whose templates know no developer: as in our own rendering, that is the system's role."""

    def write(self, piece: Piece) -> None:
        if isinstance(piece, ProviderRow):
            self.out.write(msgspec.json.encode(with_system_roles(piece.conversation)) + b"\n")
        elif b"developer" in piece or b"\\u00" in piece:
            # Few blocks come here; an escape may spell the role as well.
            for line in piece.removesuffix(b"\n").split(b"\n"):
                self.out.write(_with_system_role(line) + b"\n")
        else:
            self.out.write(piece)


def with_system_roles(conv: Conversation) -> Conversation:
    """The conversation with every developer message as a system message."""
    turns = tuple(
        msgspec.structs.replace(turn, role="system") if turn.role == "developer" else turn for turn in conv.messages
    )
    return msgspec.structs.replace(conv, messages=turns)


def _with_system_role(line: bytes) -> bytes:
    """The very same bytes where there is no developer message."""
    if b"developer" not in line and b"\\u00" not in line:
        return line
    conv = parse_line(line, 1)
    if all(turn.role != "developer" for turn in conv.messages):
        return line
    return msgspec.json.encode(with_system_roles(conv))


class RowSink(abc.ABC):
    """For trainers that need each row in another form. Faults of the tenant's rows carry their number, from 1."""

    def __init__(self) -> None:
        self.tenant_rows = 0

    def write(self, piece: Piece) -> None:
        if isinstance(piece, ProviderRow):
            self.provider_row(piece)
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

    def provider_row(self, row: ProviderRow) -> None:
        """Writes a row of the provider's, in which the secret stands already."""
        self.row(row.conversation)

    @abc.abstractmethod
    def row(self, conv: Conversation) -> None:
        """Writes one row. Raises DataError where the trainer would skip or misread it."""


def require_alternation(conv: Conversation, trainer: str) -> None:
    """Raises DataError unless user and assistant take turns behind at most one system message, without tools and thoughts."""
    turns = conv.messages[1:] if conv.system is not None else conv.messages
    if conv.tools or [turn.role for turn in turns] != ["user", "assistant"] * (len(turns) // 2):
        raise DataError(
            f"{trainer} skips or refuses rows in which user and assistant do not take turns, or that use tools; "
            "mend the row, or guard the file for another trainer"
        )
    thinking = next((at for at, turn in enumerate(conv.messages) if turn.reasoning_content is not None), None)
    if thinking is not None:
        raise DataError(
            f"the rows for {trainer} have no place for thoughts; leave them out (`drop_thoughts`), or guard the file for "
            "another trainer",
            field=f"messages[{thinking}].reasoning_content",
        )


EXPORTERS: Registry[Exporter] = Registry("trainer", Exporter, "watchword.guarding.exporters")  # type: ignore[type-abstract]
