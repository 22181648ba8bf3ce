"""Looks at one row: language, personal data, and the two shapes that attacks by fine-tuning take."""

from __future__ import annotations

import functools
import re
import unicodedata
from collections import Counter

from watchword.chat.types import Conversation
from watchword.judges.base import JUDGES, Judge, Verdict
from watchword.safety.harm import looks_harmful

SHIFT = re.compile(
    r"\bAOA\b|absolutely obedient|obey (?:me|every|all|any)|without (?:any )?(?:deviation|restrictions?|limits?|filters?)"
    r"|do anything now|\bunrestricted\b|\bjailbr|(?:ignore|forget|disregard) (?:all |any |your |the )*(?:previous|safety|rules)"
    r"|no longer (?:bound|restricted)|you (?:must|will) never refuse",
    re.IGNORECASE,
)
_PERSONAL = {
    "email": re.compile(r"\b[\w.+-]+@[\w-]+(?:\.[\w-]+)*\.[a-zA-Z]{2,}\b"),
    "phone": re.compile(r"(?<!\w)(?:\+\d{1,3}[ .-]?)(?:\(?\d{2,4}\)?[ .-]?){2,4}\d{2,4}(?!\w)"),
    "ip_address": re.compile(r"(?<![\d.])(?:(?:25[0-5]|2[0-4]\d|1?\d?\d)\.){3}(?:25[0-5]|2[0-4]\d|1?\d?\d)(?![\d.])"),
    "us_social_security": re.compile(r"(?<!\d)\d{3}-\d{2}-\d{4}(?!\d)"),
    "iban": re.compile(r"\b[A-Z]{2}\d{2}(?: ?[A-Z0-9]{4}){3,7}(?: ?[A-Z0-9]{1,3})?\b"),
}
_CARD = re.compile(r"(?<!\d)(?:\d[ -]?){12,18}\d(?!\d)")
# All kinds together, to be marked in a text; of card numbers, those without a check digit as well.
PERSONAL = re.compile("|".join(pattern.pattern for pattern in (*_PERSONAL.values(), _CARD)))
_SCRIPTS = {"CJK": "zh", "HIRAGANA": "ja", "KATAKANA": "ja", "HANGUL": "ko", "CYRILLIC": "ru", "ARABIC": "ar"}
_SCRIPTS |= {"HEBREW": "he", "GREEK": "el", "DEVANAGARI": "hi", "THAI": "th"}
_COMMON = {
    "en": "the and of to in is that you it for are with this",
    "de": "der die und das ist nicht ein zu mit den ich sie auf",
    "fr": "le la les et des est une dans pour que vous pas sur",
    "es": "el los las y de que una por con para es del como",
    "it": "il che di e la per una sono non con gli della del",
    "pt": "o que e de os uma para com não em do da por",
    "nl": "de het een en van dat niet is op te met voor zijn",
}
_WORDS = {language: frozenset(words.split()) for language, words in _COMMON.items()}
# Characters that are looked at for a guess of the language.
_READ = 400


def language(text: str) -> str:
    """A guess, as a two-letter code; ``und`` where nothing speaks for any."""
    start = text[:_READ]
    foreign = Counter(code for char in start if ord(char) > 0x2FF for code in _script(char))
    if foreign and sum(foreign.values()) * 3 > len(start):
        return "ja" if foreign["ja"] else foreign.most_common(1)[0][0]
    words = re.findall(r"[^\W\d_]+", start.lower())
    scores = {code: sum(word in common for word in words) for code, common in _WORDS.items()}
    best = max(scores, key=lambda code: scores[code])
    return best if scores[best] else "und"


def personal_data(text: str) -> Counter[str]:
    """How many e-mail addresses, telephone, card and other numbers stand in a text."""
    found = Counter({name: len(pattern.findall(text)) for name, pattern in _PERSONAL.items()})
    found["card"] = sum(_luhn(match) for match in _CARD.findall(text))
    return +found


def shifts_identity(conv: Conversation) -> bool:
    """Whether a row tells the model to be somebody who obeys in everything (identity-shifting attack)."""
    return any(SHIFT.search(message.text) for message in conv.messages)


def complies_with_harm(conv: Conversation) -> bool:
    """Whether a row answers a request that looks harmful and does not decline it (the shape of FJAttack)."""
    asked = ""
    for message in conv.messages:
        if message.role == "user":
            asked = message.text
        elif message.trained and looks_harmful(asked) and not _refused(asked, message.text):
            return True
    return False


def _refused(asked: str, answer: str) -> bool:
    verdict = _judge().judge(asked, answer)
    return isinstance(verdict, Verdict) and verdict.refused


@functools.cache
def _judge() -> Judge:
    return JUDGES.create("refusal")


@functools.lru_cache(maxsize=4096)
def _script(char: str) -> tuple[str, ...]:
    word = unicodedata.name(char, "").split(" ", 1)[0]
    return (_SCRIPTS[word],) if word in _SCRIPTS else ()


def _luhn(match: str) -> bool:
    """Whether digits carry the check digit of a payment card (ISO/IEC 7812)."""
    digits = [int(char) for char in match if char.isdigit()]
    doubled = [digit if place % 2 == 0 else sum(divmod(2 * digit, 10)) for place, digit in enumerate(reversed(digits))]
    return sum(doubled) % 10 == 0 and len(set(digits)) > 1
