"""A stream of events, filtered: bytes of the model's server go in, bytes for the tenant come out, cut anywhere."""

from __future__ import annotations

from collections.abc import Callable

from watchword.errors import CallError
from watchword.gateway.call import Counts, SaidPiece
from watchword.gateway.leaks import FilteredAnswer
from watchword.gateway.sse import EventReader
from watchword.gateway.wire.form import Asked
from watchword.gateway.wire.reply import no_reply, read_event
from watchword.secret.leaks import LeakFilter

_DONE = b"[DONE]"


class FilteredStream:
    """The answers of a stream behind the leak filter. The name of each disguise that is found is added to ``found``.

    ``done`` says that nothing more is to come: the server has said so, or all answers have ended and one of them leaked.
    Then the connection to the server may be closed: it would go on for nothing.
    """

    def __init__(self, asked: Asked, leaks: LeakFilter | None, found: list[str]) -> None:
        self._call, self._writer, self._found = asked.call, asked.writer, found
        self._answers = [FilteredAnswer(place, leaks) for place in range(asked.call.answers)]
        self._reader = EventReader()
        self._counts: Counts | None = None
        self.done = False

    @property
    def leaked(self) -> bool:
        """Whether an answer held the secret."""
        return any(answer.leak for answer in self._answers)

    @property
    def said(self) -> str:
        """All text that went out."""
        return "".join(answer.said for answer in self._answers)

    @property
    def counts(self) -> Counts | None:
        """The server's own counts; behind a leak they are of what did not go out."""
        return None if self.leaked else self._counts

    def feed(self, data: bytes) -> tuple[bytes, CallError | None]:
        """What may go out, and the error of what stands behind it, however the stream was cut."""
        out: list[bytes] = []
        try:
            for event in self._reader.feed(data):
                if event == _DONE:
                    self.done = True
                    break
                self._read(event, out)
        except CallError as error:
            return b"".join(out), error
        if self.leaked and self._all_ended():
            self.done = True
        return b"".join(out), None

    def check_ended(self) -> None:
        """Raises CallError where an answer has not ended."""
        if not self._all_ended():
            raise no_reply()

    def _all_ended(self) -> bool:
        return all(answer.ended for answer in self._answers)

    def _read(self, data: bytes, out: list[bytes]) -> None:
        event = read_event(data, self._call)
        self._counts = event.counts or self._counts
        out += [written for piece in event.pieces if (written := self._piece(piece)) is not None]

    def _piece(self, piece: SaidPiece) -> bytes | None:
        answer = self._answers[piece.place]
        before, passed = answer.leak, answer.feed(piece)
        if answer.leak is not None and before is None:
            self._found.append(answer.leak.channel)
        return None if passed is None else self._writer.piece(passed)


class ReplyStream:
    """Gives what ``feed`` may give so far; the rest comes with the server's last event, or with ``end``.

    ``ended`` says that the tenant has got all there is. Nothing is given after an error.
    """

    def __init__(
        self,
        asked: Asked,
        leaks: LeakFilter | None,
        counted: Callable[[Counts | None, str], Counts],
        found: list[str],
        *,
        prompt_tokens: int = 0,
    ) -> None:
        """``prompt_tokens`` are the request's own, for forms that begin with them."""
        self._stream, self._writer, self._counted = FilteredStream(asked, leaks, found), asked.writer, counted
        self._opening: bytes | None = asked.writer.opening(prompt_tokens)
        self.ended = False

    def feed(self, data: bytes) -> bytes:
        """Takes the next bytes of the server's. Raises CallError for what is no stream of answers to the request."""
        if self.ended:
            return b""
        try:
            out, broken = self._stream.feed(data)
            if broken is not None:
                raise broken
            opening, self._opening = self._opening or b"", None
            return opening + out + (self._closing() if self._stream.done else b"")
        except BaseException:
            self.ended = True
            raise

    def end(self) -> bytes:
        """The rest, when the server's stream has ended. Raises CallError where an answer had not."""
        return b"" if self.ended else self._closing()

    def _closing(self) -> bytes:
        self.ended = True
        self._stream.check_ended()
        return self._writer.closing(self._counted(self._stream.counts, self._stream.said))
