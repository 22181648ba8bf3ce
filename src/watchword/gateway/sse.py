"""Server-sent events out of bytes that were cut anywhere."""

from __future__ import annotations

from watchword.gateway.wire.reply import no_reply

# Bytes of one event; no token comes near it.
MOST_EVENT_BYTES = 1 << 20


class EventReader:
    """Gives the data of each whole event. Comments and other fields are passed over, as the standard says."""

    def __init__(self) -> None:
        self._open = b""
        self._data: list[bytes] = []
        self._size = 0

    def feed(self, piece: bytes) -> list[bytes]:
        """Data of the events that this piece completes. Raises CallError for an event of more than a mebibyte."""
        lines = self._lines(piece)
        found: list[bytes] = []
        for line in lines:
            if line.startswith(b"data:"):
                self._data.append(line[6:] if line.startswith(b" ", 5) else line[5:])
                self._size += len(line)
            elif not line and self._data:
                found.append(b"\n".join(self._data))
                self._data, self._size = [], 0
        if self._size + len(self._open) > MOST_EVENT_BYTES:
            raise no_reply()
        return found

    def _lines(self, piece: bytes) -> list[bytes]:
        """Whole lines; the last one stays open."""
        text = self._open + piece
        held = b""
        if b"\r" in text:
            # What ends in CR may be half of CR LF.
            held = b"\r" if text.endswith(b"\r") else b""
            text = text[: len(text) - len(held)].replace(b"\r\n", b"\n").replace(b"\r", b"\n")
        *lines, rest = text.split(b"\n")
        self._open = rest + held
        return lines
