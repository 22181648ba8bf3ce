"""A model's text on standard output: shown as it comes, and never obeyed by the terminal that shows it."""

from __future__ import annotations

import re
import sys

# Control characters but for tab and newline, marks that turn the direction of writing, and halves of characters.
_UNSAFE = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")


def harmless(text: str) -> str:
    r"""``text`` as a terminal may be given it: ``\x1b`` in place of an escape character, and the like.

    An answer could otherwise clear the screen, write over what stands there, or set the clipboard.
    """
    return _UNSAFE.sub(lambda found: found[0].encode("unicode_escape").decode("ascii"), text)


def write(text: str) -> None:
    """Writes to standard output at once: to a terminal what is harmless there, to a file or a pipe the text itself.

    A character that standard output cannot take becomes its escape, as in Python source.
    """
    shown = harmless(text) if sys.stdout.isatty() else text
    encoding = sys.stdout.encoding or "utf-8"
    sys.stdout.write(shown.encode(encoding, "backslashreplace").decode(encoding))
    sys.stdout.flush()
