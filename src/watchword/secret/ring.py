"""A ring of wrapping keys: in the provider's key file behind the key, or in the environment.

The file's first line is the provider's key. Each further line is ``wrap ID HEX``, the newest first; a file without any has
the one that is derived from the key.
"""

from __future__ import annotations

import os
import secrets
from collections.abc import Callable, Iterable
from pathlib import Path

from watchword.errors import SecretError
from watchword.files.atomic import replacing
from watchword.files.locks import locked
from watchword.secret.keys import KEY_BYTES, check_private, derived, parsed_key
from watchword.secret.wrapping import FIRST, Ring

RING = "WATCHWORD_WRAPPING_KEYS"
_WORD, _GONE = "wrap", "-"


def file_ring(path: Path) -> Callable[[], Ring]:
    """Reads the ring in a key file, anew at each call. Raises SecretError."""

    def read() -> Ring:
        key, *lines = _lines(path)
        return _ring(parsed_key(key, str(path)), (_entry(line, str(path)) for line in lines))

    return read


def environment_ring(key: bytes) -> Callable[[], Ring]:
    """The ring in WATCHWORD_WRAPPING_KEYS as it is now, ``ID:HEX`` with commas between them. Raises SecretError."""
    given = [entry for entry in os.environ.get(RING, "").split(",") if entry.strip()]
    ring = _ring(key, (_named(*entry.strip().partition(":")[::2], RING) for entry in given))
    return lambda: ring


def add_wrapping_key(path: Path) -> str:
    """Draws a wrapping key and puts it first in the file's ring. Its id. The older ones stay, to open what they wrapped."""
    with locked(path, wait=10.0):
        key, *lines = _lines(path)
        name = secrets.token_hex(4)
        _write(path, [key, f"{_WORD} {name} {secrets.token_hex(KEY_BYTES)}", *lines])
    return name


def forget_older_keys(path: Path) -> int:
    """Leaves only the newest wrapping key in the file. How many are gone: what they wrapped never opens again."""
    before = len(file_ring(path)())
    with locked(path, wait=10.0):
        key, *lines = _lines(path)
        if lines:
            # The first one is derived from the key itself, so a line has to say that it is gone.
            _write(path, [key, lines[0], f"{_WORD} {FIRST} {_GONE}"])
    return before - len(file_ring(path)())


def _ring(key: bytes, entries: Iterable[tuple[str, bytes | None]]) -> Ring:
    ring = dict(entries)
    ring.setdefault(FIRST, derived(key, "wrap"))
    return {name: value for name, value in ring.items() if value is not None}


def _entry(line: str, where: str) -> tuple[str, bytes | None]:
    word, name, text = [*line.split(), "", "", ""][:3]
    if word != _WORD or len(line.split()) != 3:
        raise SecretError(f"{where} holds a line that is no wrapping key; it must read `{_WORD} ID HEX`")
    return _named(name, text, where)


def _named(name: str, text: str, where: str) -> tuple[str, bytes | None]:
    if not (name.isalnum() and name.isascii() and len(name) <= 16):
        raise SecretError(f"{where} names a wrapping key by {len(name)} characters; take 1 to 16 letters and digits")
    return name, None if text == _GONE else parsed_key(text, where)


def _lines(path: Path) -> list[str]:
    try:
        check_private(path, "if somebody has read it, seal every secret anew under another")
        lines = [line for line in path.read_text("ascii").splitlines() if line.strip()]
    except (OSError, UnicodeDecodeError) as error:
        why = getattr(error, "strerror", None) or error
        raise SecretError(f"the provider's key cannot be read ({why}); restore it from its backup", path=path) from None
    if not lines:
        raise SecretError("the provider's key file is empty; restore it from its backup", path=path)
    return lines


def _write(path: Path, lines: list[str]) -> None:
    with replacing(path, mode=0o600) as stream:
        stream.write("".join(f"{line}\n" for line in lines).encode("ascii"))
