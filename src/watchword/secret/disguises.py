"""How a secret may be written so that a person or a program reads it back: letters, base64, hexadecimal, numbers.

A channel brings text into a plain form that many ways of writing share: spaced or not, upper case or lower, in lines or
not. Beside it stand the secret's own texts in that form.
"""

from __future__ import annotations

import base64
import codecs
import html
import json
import re
import string
import unicodedata
import urllib.parse
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

# Characters of a plain form below which ordinary text could hold a run of the secret by chance.
LEAST = {"letters": 14, "base64": 18, "hexadecimal": 24, "numbers": 18}
_GAP = re.compile(r"[^0-9]+")


@dataclass(frozen=True)
class Channel:
    """``plain`` brings text into the channel's form, character by character; ``texts`` are the secret's own in that form.

    ``run`` is how many characters of them make a leak: one or more. In ``numbers``, what stands between two numbers is one comma.
    """

    name: str
    plain: Callable[[str], str]
    texts: tuple[str, ...]
    run: int


def channels_of(secret: str, runs: Sequence[str], ids: Sequence[int] = ()) -> list[Channel]:
    """Every channel of a secret. ``runs`` are its shortest parts that count as leaked, and never empty.

    ``ids`` are its token ids, if they are known.
    """
    return [
        _channel("letters", letters, _in_letters(secret), (letters(run) for run in runs)),
        _channel("base64", _in_base64, _base64_texts(secret.encode()), (_whole_base64(run.encode()) for run in runs)),
        _channel("hexadecimal", _in_hex, _hex_texts(secret), (run.encode().hex() for run in runs)),
        _channel("numbers", numbers, _number_texts(secret, ids), _number_runs(runs, ids)),
    ]


def _channel(name: str, plain: Callable[[str], str], texts: Iterable[str], runs: Iterable[str]) -> Channel:
    kept = tuple(dict.fromkeys(text for text in texts if text))
    wanted = max(LEAST[name], min(len(run) for run in runs))
    return Channel(name, plain, kept, min(len(text) for text in (*kept, "." * wanted)))


class _Letters(dict[int, str | None]):
    """Each character → the letters and digits that it is read as: full-width, accented and capital ones included.

    None is for those that are left out: Python translates ASCII text several times as fast with it as with an empty text.
    """

    def __missing__(self, code: int) -> str | None:
        whole = unicodedata.normalize("NFKD", unicodedata.normalize("NFKC", chr(code)).casefold())
        self[code] = found = "".join(char for char in whole if char.isalnum()) or None
        return found


class _Ascii:
    """Characters that a form has, as it writes them; all others are left out, at the speed of bytes."""

    def __init__(self, kept: Mapping[str, str]) -> None:
        self._written = bytes.maketrans("".join(kept).encode(), "".join(kept.values()).encode())
        self._others = bytes(code for code in range(256) if chr(code) not in kept)

    def __call__(self, text: str) -> str:
        return text.encode("ascii", "ignore").translate(self._written, self._others).decode("ascii")


_LETTERS = _Letters()
_in_base64 = _Ascii({char: char for char in string.ascii_letters + string.digits + "+/"} | {"-": "+", "_": "/"})
_in_hex = _Ascii({char: char.lower() for char in string.hexdigits})


def letters(text: str) -> str:
    """Letters and digits alone, without case, accents and width."""
    return text.translate(_LETTERS)


def numbers(text: str) -> str:
    """Whole numbers with one comma between each two, whatever stood there."""
    return _GAP.sub(",", text)


def _in_letters(secret: str) -> list[str]:
    """As it is, and as other formats quote it; each forwards, backwards and by rot13; and in base32."""
    quoted = [secret, json.dumps(secret), html.escape(secret), urllib.parse.quote(secret)]
    # Rot13 leaves an accented letter as it is; who takes the accents off first gets another text.
    turned = [letters(codecs.encode(text, "rot13")) for text in (*quoted, *map(letters, quoted))]
    plain = [*map(letters, quoted), *turned]
    return [*plain, *(text[::-1] for text in plain), *(letters(text) for text in _base32_texts(secret.encode()))]


def _base64_texts(data: bytes) -> list[str]:
    """The characters that stand in base64 whatever comes before and behind, for each of the three ways they can fall."""
    return [_inner(base64.b64encode(bytes(at) + data).decode(), at, len(data), 3, 4) for at in range(3)]


def _base32_texts(data: bytes) -> list[str]:
    return [_inner(base64.b32encode(bytes(at) + data).decode(), at, len(data), 5, 8) for at in range(5)]


def _inner(encoded: str, before: int, size: int, group: int, characters: int) -> str:
    """Without the characters that other bytes have a part in."""
    bits = group * 8 // characters
    first = -(-before * 8 // bits)
    return encoded[first : (before + size) * 8 // bits]


def _whole_base64(run: bytes) -> str:
    return min(_base64_texts(run), key=len)


def _hex_texts(secret: str) -> list[str]:
    """As UTF-8, as UTF-16 (``\\u0041``), and as bytes that are written ``0x41``."""
    data = secret.encode()
    return [data.hex(), secret.encode("utf-16-be").hex(), "".join(f"0{byte:02x}" for byte in data)]


def _number_texts(secret: str, ids: Sequence[int]) -> list[str]:
    """Token ids, and the numbers of the characters and of the bytes."""
    return [_listed(ids), _listed(map(ord, secret)), _listed(secret.encode())]


def _number_runs(runs: Sequence[str], ids: Sequence[int]) -> list[str]:
    if not ids:
        return [_listed(map(ord, run)) for run in runs]
    return [_listed(ids[at : at + RUN]) for at in range(max(1, len(ids) - RUN + 1))]


def _listed(values: Iterable[int]) -> str:
    return ",".join(map(str, values))


# Tokens in a row that count as leaked: random ones do not stand in a row by chance.
RUN = 8
