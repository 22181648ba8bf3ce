"""A stream of events, filtered: bytes of the model's server go in, bytes for the tenant come out, cut anywhere."""

from __future__ import annotations

from collections.abc import Callable

from watchword.gateway.call import Counts, SaidPiece, StreamEvent
from watchword.gateway.leaks import FilteredAnswer
from watchword.gateway.sse import EventReader
from watchword.gateway.wire.form import Asked
from watchword.gateway.wire.reply import no_reply, read_event
from watchword.secret.leaks import LeakFilter

_DONE = b"[DONE]"


class ReplyStream:
    """Gives what ``feed`` may give so far; the rest comes with the server's last event, or with ``end``.

    ``ended`` says that the tenant has got all there is. Then the connection to the server may be closed: after a leak the
    server would go on for nothing. Nothing is given after an error.
    """

    def __init__(
        self,
        asked: Asked,
        leaks: LeakFilter | None,
        counted: Callable[[Counts | None, str], Counts],
        found: list[str],
    ) -> None:
        self._call, self._writer, self._counted, self._found = asked.call, asked.writer, counted, found
        self._answers = [FilteredAnswer(place, leaks) for place in range(asked.call.answers)]
        self._reader = EventReader()
        self._counts: Counts | None = None
        self._begun = False
        self.ended = False

    def feed(self, data: bytes) -> bytes:
        """Takes the next bytes of the server's. Raises CallError for what is no stream of answers to the request."""
        if self.ended:
            return b""
        out = [] if self._begun else [self._writer.opening(0)]
        self._begun = True
        try:
            for event in self._reader.feed(data):
                if event == _DONE:
                    out.append(self._closing())
                    break
                out += self._filtered(read_event(event, self._call))
            if not self.ended and any(answer.leak for answer in self._answers) and self._all_ended():
                out.append(self._closing())
        except BaseException:
            self.ended = True
            raise
        return b"".join(out)

    def end(self) -> bytes:
        """The rest, when the server's stream has ended. Raises CallError where an answer had not."""
        return b"" if self.ended else self._closing()

    def _closing(self) -> bytes:
        self.ended = True
        if not self._all_ended():
            raise no_reply()
        counts = self._counted(self._counts, "".join(answer.said for answer in self._answers))
        return self._writer.closing(counts)

    def _all_ended(self) -> bool:
        return all(answer.ended for answer in self._answers)

    def _filtered(self, event: StreamEvent) -> list[bytes]:
        self._counts = event.counts or self._counts
        return [written for piece in event.pieces if (written := self._piece(piece)) is not None]

    def _piece(self, piece: SaidPiece) -> bytes | None:
        answer = self._answers[piece.place]
        before, passed = answer.leak, answer.feed(piece)
        if answer.leak is not None and before is None:
            self._found.append(answer.leak.channel)
        return None if passed is None else self._writer.piece(passed)
