"""The leak filter on answers: every text that a model wrote is looked at before a tenant gets it, whole or in pieces."""

from __future__ import annotations

from msgspec.structs import replace

from watchword.chat.types import FunctionCall
from watchword.gateway.call import CallPiece, Said, SaidPiece, TokenChances
from watchword.gateway.chances import FilteredChances, leak_in_chances
from watchword.gateway.escapes import Reading, leak_in_text
from watchword.gateway.joined import JoinedCalls, put_together
from watchword.gateway.wire.reply import no_reply
from watchword.secret.leaks import REFUSAL, Leak, LeakFilter

_FINISH = "content_filter"


def leak_in(said: Said, leaks: LeakFilter | None) -> Leak | None:
    """The first leak in an answer, in any of its texts or across them; None where there is none."""
    if leaks is None:
        return None
    texts = (text for text in (*said.texts, *put_together(said)) if text)
    found = (leak_in_text(text, leaks) for text in texts)
    return next(filter(None, found), None) or leak_in_chances(said.chances, leaks)


def refused() -> Said:
    """The answer in place of one that leaked."""
    return Said(REFUSAL, finish=_FINISH)


class FilteredAnswer:
    """One answer of a stream. What ``feed`` returns may go out; nothing is returned behind its end or a leak.

    ``leak`` is what was found, ``said`` what went out so far.
    """

    def __init__(self, place: int, leaks: LeakFilter | None) -> None:
        self._place, self._leaks = place, leaks
        self._content, self._refusal = _Text(leaks), _Text(leaks)
        self._names: dict[int, str] = {}
        # Made when the first ones come: most calls have none.
        self._chances: FilteredChances | None = None
        self._calls: dict[int, _Text] = {}
        self._joined: JoinedCalls | None = None
        self._texts: list[str] = []
        self.leak: Leak | None = None
        self.ended = False

    @property
    def said(self) -> str:
        """All text that went out."""
        return "".join(self._texts)

    def feed(self, piece: SaidPiece) -> SaidPiece | None:
        """What may go out of this piece and of those before it; None for nothing."""
        if self.ended:
            return None
        out = SaidPiece(
            self._place,
            self._content.feed(piece.content),
            self._refusal.feed(piece.refusal),
            tuple(call for call in map(self._call, piece.calls) if call is not None),
            chances=self._shown(piece.chances) if piece.chances else (),
        )
        if self._found() or (piece.finish is not None and self._found_across()):
            return self._stopped()
        if piece.finish is not None:
            out = replace(self._finished(out, piece.finish), stop=piece.stop)
        return self._sent(out)

    def _call(self, piece: CallPiece) -> CallPiece | None:
        if (piece.name is None) != (piece.place in self._calls):
            raise no_reply()
        if self._leaks is not None and self.leak is None:
            self.leak = self._leak_with(piece, self._leaks)
        if piece.name is None:
            rest = self._calls[piece.place].feed(piece.arguments)
            return CallPiece(piece.place, None, rest) if rest else None
        self._calls[piece.place], self._names[piece.place] = text, _ = _Text(self._leaks), piece.name
        return CallPiece(piece.place, piece.name, text.feed(piece.arguments))

    def _leak_with(self, piece: CallPiece, leaks: LeakFilter) -> Leak | None:
        """A leak in the name of a call, or in all calls so far together."""
        if self._joined is None:
            self._joined = JoinedCalls(leaks, self._content.whole + self._refusal.whole)
        return leak_in_text(piece.name or "", leaks) or self._joined.feed(piece)

    def _found(self) -> bool:
        texts = (self._content, self._refusal, *self._calls.values())
        self.leak = self.leak or next((text.leak for text in texts if text.leak is not None), None)
        if self.leak is None and self._chances is not None:
            self.leak = self._chances.leak
        return self.leak is not None

    def _found_across(self) -> bool:
        """Whether the texts hold a leak together. Until the end, each holds back what could be a part of one."""
        if self._leaks is None:
            return False
        calls = tuple(FunctionCall(name, self._calls[place].whole) for place, name in self._names.items())
        together = put_together(Said(self._content.whole, self._refusal.whole, calls))
        found = (leak_in_text(text, self._leaks) for text in together if text)
        self.leak = next(filter(None, found), None)
        return self.leak is not None

    def _shown(self, chances: tuple[TokenChances, ...]) -> tuple[TokenChances, ...]:
        if self._leaks is None:
            return chances
        if self._chances is None:
            self._chances = FilteredChances(self._leaks)
        return self._chances.feed(chances)

    def _finished(self, out: SaidPiece, finish: str) -> SaidPiece:
        """The last piece, with what was held back."""
        self.ended = True
        held = ((place, text.finish()) for place, text in self._calls.items())
        rest = tuple(CallPiece(place, None, text) for place, text in held if text)
        return replace(
            out,
            content=out.content + self._content.finish(),
            refusal=out.refusal + self._refusal.finish(),
            calls=out.calls + rest,
            finish=finish,
            chances=out.chances if self._chances is None else out.chances + self._chances.finish(),
        )

    def _stopped(self) -> SaidPiece:
        self.ended = True
        return SaidPiece(self._place, "" if self._texts else REFUSAL, finish=_FINISH)

    def _sent(self, out: SaidPiece) -> SaidPiece | None:
        words = (out.content, out.refusal, *(text for call in out.calls for text in (call.name, call.arguments)))
        self._texts += [text for text in words if text]
        return out if out.finish is not None or out.content or out.refusal or out.calls or out.chances else None


class _Text:
    """One text of an answer, in pieces; without a secret to look for, all of it passes."""

    def __init__(self, leaks: LeakFilter | None) -> None:
        self._reading = None if leaks is None else Reading(leaks.stream())
        self._fed: list[str] = []

    @property
    def whole(self) -> str:
        """All that came in, where there is a secret to look for."""
        return "".join(self._fed)

    @property
    def leak(self) -> Leak | None:
        return None if self._reading is None else self._reading.leak

    def feed(self, text: str) -> str:
        if self._reading is None or not text:
            return text
        self._fed.append(text)
        return self._reading.feed(text)

    def finish(self) -> str:
        return "" if self._reading is None else self._reading.finish()
