"""Text as it reads once its JSON is decoded: a letter that is written ``\\u0041`` is a letter for whoever decodes it."""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Iterator

from watchword.secret.leaks import Leak, LeakFilter, LeakStream

_ESCAPE = re.compile(r"\\(?:u([0-9a-fA-F]{4})|(.))", re.DOTALL)
_HALF = re.compile(r"\\(?:u[0-9a-fA-F]{0,3})?\Z")
# JSON in JSON in JSON: nobody reads further.
_DEPTH = 3
_CONTROLS = {"n": "\n", "t": "\t", "r": "\r", "b": "\b", "f": "\f"}


def unescaped(text: str) -> Iterator[str]:
    """The text with each escape as the character that it stands for, and so on for JSON in JSON."""
    for _ in range(_DEPTH):
        if "\\" not in text:
            return
        text = _ESCAPE.sub(_character, text)
        yield text


def leak_in_text(text: str, leaks: LeakFilter) -> Leak | None:
    """The first leak in a whole text, as it stands and as its JSON reads."""
    return next(filter(None, map(leaks.find, (text, *unescaped(text)))), None)


class Reading:
    """A text that comes in pieces, read as it stands, and from its first backslash on as its JSON reads, too."""

    def __init__(self, stream: LeakStream, depth: int = _DEPTH) -> None:
        self._stream, self._depth = stream, depth
        self._inner: _Decoded | None = None

    @property
    def leak(self) -> Leak | None:
        """What was found in either reading."""
        return self._stream.leak or (None if self._inner is None else self._inner.reading.leak)

    def feed(self, text: str) -> str:
        """What may go out: what has passed both readings."""
        if self._inner is None and self._depth and "\\" in text:
            self._inner = _Decoded(self._stream.fork(), self._depth - 1)
        out = self._stream.feed(text)
        return out if self._inner is None else self._inner.feed(text, len(out))

    def finish(self) -> str:
        """The rest, at the end."""
        out = self._stream.finish()
        return out if self._inner is None else self._inner.finish()


class _Decoded:
    """A text of which the decoded form is looked at. ``stream`` has read it so far."""

    def __init__(self, stream: LeakStream, depth: int) -> None:
        self.reading = Reading(stream, depth)
        self._text, self._open = stream.held, ""
        # How long each character that the reading holds back is in the text.
        self._sizes = deque([1] * len(stream.held))
        self._passed = [0, 0]

    def feed(self, piece: str, passed: int) -> str:
        """Takes a piece in of which the text as it stands lets so many more characters pass; what may go out."""
        self._text += piece
        plain = self._decoded(piece)
        self._passed[0] += passed
        self._passed[1] += sum(self._sizes.popleft() for _ in self.reading.feed(plain))
        size = min(self._passed)
        out, self._text = self._text[:size], self._text[size:]
        self._passed = [count - size for count in self._passed]
        return out

    def finish(self) -> str:
        """The rest, at the end."""
        out, self._text = self._text, ""
        return out

    def _decoded(self, piece: str) -> str:
        """The characters that are complete with this piece."""
        text = self._open + piece
        half = _HALF.search(text)
        text, self._open = (text[: half.start()], half[0]) if half and _is_open(text, half.start()) else (text, "")
        plain, at = [], 0
        for match in _ESCAPE.finditer(text):
            between = text[at : match.start()]
            plain += [between, _character(match)]
            self._sizes.extend([1] * len(between) + [len(match[0])])
            at = match.end()
        self._sizes.extend([1] * (len(text) - at))
        return "".join(plain) + text[at:]


def _is_open(text: str, at: int) -> bool:
    """Whether the backslash there begins an escape, and is not the second one of a pair."""
    return (len(text[:at]) - len(text[:at].rstrip("\\"))) % 2 == 0


def _character(match: re.Match[str]) -> str:
    return chr(int(match[1], 16)) if match[1] else _CONTROLS.get(match[2], match[2])
