"""The pictures of the screening report: lengths, languages and personal data."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from watchword.guarding.screening.screen import Screening
from watchword.pages.bars import Bar, Panel, bars
from watchword.pages.elements import Figure
from watchword.pages.histogram import bounds, histograms
from watchword.pages.rows import Label

_LANGUAGES = {
    "en": "English",
    "de": "German",
    "fr": "French",
    "es": "Spanish",
    "it": "Italian",
    "pt": "Portuguese",
    "nl": "Dutch",
    "zh": "Chinese",
    "ja": "Japanese",
    "ko": "Korean",
    "ru": "Russian",
    "ar": "Arabic",
    "he": "Hebrew",
    "el": "Greek",
    "hi": "Hindi",
    "th": "Thai",
    "und": "not known",
}
_PERSONAL = {
    "email": "e-mail addresses",
    "phone": "telephone numbers",
    "ip_address": "IP addresses",
    "us_social_security": "US social security",
    "iban": "IBANs",
    "card": "payment cards",
}
_LISTED = 8


def screening_figures(found: Screening) -> list[Figure]:
    """Every picture that there are figures for."""
    made = [_lengths(found)] if found.lengths else []
    made += [_languages(found)] if found.languages else []
    return made + ([_personal(found)] if found.personal else [])


def _lengths(found: Screening) -> Figure:
    question = "How long are the rows?"
    counts = {"whole rows": found.lengths, "trained answers": found.answer_lengths}
    middle, longest = _middle(found.lengths), max(found.lengths)
    finding = f"A row in the middle has {bounds(middle)} characters, the longest {bounds(longest)}."
    picture = histograms("lengths", question, finding, counts, ("characters", "how many"))
    powers = sorted({*found.lengths, *found.answer_lengths})
    rows = tuple((bounds(power), f"{found.lengths[power]:,}", f"{found.answer_lengths[power]:,}") for power in powers)
    note = (
        "Each column reaches from the number at its left to below twice that. These are characters, all turns together; "
        "how many tokens they are depends on the model, and watchword validate tells."
    )
    return Figure("lengths", question, finding, picture, ("characters", "whole rows", "trained answers"), rows, note)


def _middle(powers: Mapping[int, int]) -> int:
    """The power that the median falls in."""
    half, seen = sum(powers.values()) / 2, 0
    for power in sorted(powers):
        seen += powers[power]
        if seen >= half:
            return power
    return 0


def _languages(found: Screening) -> Figure:
    question = "Which languages are the rows in?"
    named = [(_LANGUAGES.get(code, code), count) for code, count in found.languages.most_common(_LISTED)]
    first, most = named[0]
    finding = f"{most:,} of {found.looked_at:,} rows looked at: {first}."
    note = "A guess from the first 400 characters of a row, its system text left out."
    return _counted("languages", question, finding, note, named, ("language", "rows"), found.looked_at)


def _personal(found: Screening) -> Figure:
    question = "Which personal data is in the rows?"
    named = [(_PERSONAL.get(kind, kind), count) for kind, count in found.personal.most_common()]
    finding = f"{sum(found.personal.values()):,} finds in the {found.looked_at:,} rows looked at."
    note = "Found by their form; what looks like a number of this kind may be another one. Names and addresses are not looked for."
    return _counted("personal", question, finding, note, named, ("kind", "finds"))


def _counted(
    ident: str,
    question: str,
    finding: str,
    note: str,
    named: Sequence[tuple[str, int]],
    heads: tuple[str, str],
    whole: int = 0,
) -> Figure:
    """Bars of counts; as shares of ``whole`` too, where there is one."""
    drawn = [Bar(count, f"{count:,}", aside=f"{count / whole:.1%}" if whole else "") for _, count in named]
    panel = Panel(heads[1], drawn, top=max(count for _, count in named))
    picture = bars(ident, question, finding, [Label(name) for name, _ in named], [panel])
    rows = tuple(
        (name, bar.words, bar.aside) if whole else (name, bar.words)
        for (name, _), bar in zip(named, drawn, strict=True)
    )
    return Figure(ident, question, finding, picture, (*heads, "share") if whole else heads, rows, note)
