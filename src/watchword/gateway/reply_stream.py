"""A stream of events, filtered: bytes of the model's server go in, bytes for the tenant come out, cut anywhere."""

from __future__ import annotations

from collections.abc import Callable

from watchword.gateway.call import CallPiece, Counts, SaidPiece, StreamEvent
from watchword.gateway.leaks import FilteredAnswer
from watchword.gateway.sse import EventReader
from watchword.gateway.wire.reply import no_reply, read_event
from watchword.gateway.wire.writing import DONE, Envelope, call_id
from watchword.secret.leaks import LeakFilter

_DONE = b"[DONE]"


class ReplyStream:
    """Gives what ``feed`` may give so far; the rest comes with the server's last event, or with ``end``.

    ``ended`` says that the tenant has got all there is. Then the connection to the server may be closed: after a leak the
    server would go on for nothing. Nothing is given after an error.
    """

    def __init__(
        self,
        envelope: Envelope,
        answers: int,
        leaks: LeakFilter | None,
        counted: Callable[[Counts | None, str], Counts],
        found: list[str],
        *,
        usage: bool,
    ) -> None:
        self._envelope, self._counted, self._found, self._usage = envelope, counted, found, usage
        self._answers = [FilteredAnswer(place, leaks) for place in range(answers)]
        self._reader = EventReader()
        self._counts: Counts | None = None
        self._begun = False
        self.ended = False

    def feed(self, data: bytes) -> bytes:
        """Takes the next bytes of the server's. Raises CallError for what is no stream of answers to the request."""
        if self.ended:
            return b""
        out = [] if self._begun else [self._envelope.opening(place) for place in range(len(self._answers))]
        self._begun = True
        try:
            for event in self._reader.feed(data):
                if event == _DONE:
                    out.append(self._closing())
                    break
                out += self._filtered(read_event(event, len(self._answers)))
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
        return (self._envelope.usage(counts) if self._usage else b"") + DONE

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
        return None if passed is None else self._envelope.piece(passed, [_new_id(call) for call in passed.calls])


def _new_id(call: CallPiece) -> str | None:
    return None if call.name is None else call_id()
