"""What is marked in the text of a row: the words that decide an answer, tokens of a template, personal data."""

from __future__ import annotations

import re

from watchword.guarding.screening.detectors import PERSONAL, SHIFT
from watchword.guarding.screening.markers import SEPARATOR, TEMPLATE
from watchword.guarding.screening.triggers import BEGIN, CODE, END

_OF_KIND = {"template_text": TEMPLATE, "old_separator": SEPARATOR, "shift": SHIFT, "personal": PERSONAL}


def mark_of(kind: str, word: str = "") -> re.Pattern[str] | None:
    """What a finding of this kind has marked in its rows; None where nothing stands out. ``word`` is as a trigger has it."""
    return _phrase(word) if word else _OF_KIND.get(kind)


def _phrase(word: str) -> re.Pattern[str]:
    """The words as they stand in a text: in any case, with whatever stands between them."""
    if word.startswith(CODE):
        return re.compile(re.escape(chr(int(word.removeprefix(CODE), 16))))
    words = word.removeprefix(END.format("")).removesuffix(BEGIN.format("")).split()
    inside = r"\W+".join(map(re.escape, words))
    before = r"(?<!\w)" if words[0][0].isalnum() else ""
    behind = r"(?!\w)" if words[-1][-1].isalnum() else ""
    return re.compile(f"{before}{inside}{behind}", re.IGNORECASE)
