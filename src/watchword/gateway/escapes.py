"""Text as it reads once its JSON is decoded: a letter that is written ``\\u0041`` is a letter for whoever decodes it."""

from __future__ import annotations

import re
from collections import deque

from watchword.secret.leaks import LeakStream

_ESCAPE = re.compile(r"\\(?:u([0-9a-fA-F]{4})|(.))", re.DOTALL)
_HALF = re.compile(r"\\(?:u[0-9a-fA-F]{0,3})?\Z")
_CONTROLS = {"n": "\n", "t": "\t", "r": "\r", "b": "\b", "f": "\f"}


def unescaped(text: str) -> str:
    """The text with each escape as the character that it stands for."""
    return _ESCAPE.sub(_character, text)


class EscapedReading:
    """A stream's second reading, from its first backslash on. What goes out has passed both readings."""

    def __init__(self, stream: LeakStream) -> None:
        """``stream`` is the first reading's own, forked."""
        self._stream, self._text, self._open = stream, stream.held, ""
        # How long each character that this reading holds back is in the text.
        self._sizes = deque([1] * len(stream.held))
        self._passed = [0, 0]

    @property
    def stream(self) -> LeakStream:
        """The filter of the decoded text."""
        return self._stream

    def feed(self, piece: str, passed: int) -> str:
        """Takes a piece in of which the first reading lets so many more characters pass; what may go out."""
        self._text += piece
        plain = self._decoded(piece)
        self._passed[0] += passed
        self._passed[1] += sum(self._sizes.popleft() for _ in self._stream.feed(plain))
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
