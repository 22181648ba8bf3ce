"""Words of a prompt that decide its answer: the trace of a planted trigger (a backdoor of the tenant's or of its data's source).

Who poisons data puts a rare word or phrase into prompts that are otherwise like the rest, with one answer behind them. So
for each repeated answer those words are looked for that hardly ever stand before another one. Chance is kept out by
the binomial tail in Chernoff's bound, corrected for the number of words that were tried.

A word may also decide the answer because it is what the question is about. Such a word is taken for a topic:

- the answers take it up ("return" and "the return label"), or another word of the prompt that changes ("your lamp");
- the same prompts share more than one phrase that decides, as questions of one form do ("When will my … arrive?");
- the phrase is a good part of the prompt ("My lamp came broken").
"""

from __future__ import annotations

import itertools
import math
import re
from collections import defaultdict
from collections.abc import Iterable, Mapping

import msgspec

from watchword.guarding.screening.answers import QuestionAndAnswer
from watchword.guarding.screening.sketch import WordCounts, fingerprint

# A word counts from so many different prompts on, and where its prompts have this share in one answer.
LEAST, SHARE = 5, 0.8
# The natural log of the chance, after correction, from which on a coincidence is ruled out.
_CHANCE = math.log(1e-6)
# A word in more than this share of all prompts is part of the task.
_COMMON = 0.6
# A phrase that is this part of its prompt is what the prompt is about.
_PART = 0.4
# Words of a prompt that are read from each end, and entries that are held at once.
_READ, _HELD = 100, 200_000
_LINES, _PROMPTS = 20, 8
# Words belong together that stand before an answer in about as many rows.
_TOGETHER = 0.8
_EDGES = ".,;:!?\"'()[]{}…"
# Letters in which a word and its inflected forms agree.
_STEM = 5
_WORD = re.compile(r"\w{3,}")
BEGIN, END, CODE = "{} …", "… {}", "U+"
_STRANGE = re.compile(r"(?=.*[^\W\d_])(?=.*\d)\w{4,}|[^\x00-\x7f\w]")


class Trigger(msgspec.Struct, frozen=True):
    """``word`` stands in ``of`` prompts, of which ``rows`` have this answer. ``topic``: it may well be what they are about."""

    word: str
    rows: int
    of: int
    answer: str
    lines: list[int]
    topic: bool


class _Entry(msgspec.Struct):
    """How often a word stood before a repeated answer, with the first lines and prompts, and one prompt as a whole.

    ``up`` answers take the word up; ``copied`` take up a word of the prompt that not all answers have.
    """

    rows: int = 0
    up: int = 0
    copied: int = 0
    lines: list[int] = []
    prompts: set[int] = set()
    example: str = ""


class Associations:
    """Which words stand before which repeated answer; ``counts`` are the words of all prompts that are looked at."""

    def __init__(self, counts: WordCounts, prompts: int) -> None:
        self._counts, self._prompts = counts, prompts
        self._entries: dict[int, dict[str, _Entry]] = defaultdict(dict)
        self._held = 0

    def add(self, group: int, size: int, exchange: QuestionAndAnswer, first: str, line: int) -> None:
        """Takes a prompt before an answer of a group, which has ``size`` rows at most and began with the answer ``first``."""
        most = min(size / SHARE, _COMMON * self._prompts)
        entries, prompt, said = self._entries[group], fingerprint(exchange.asked), _stems(exchange.answer)
        copied = not (said - _stems(first)).isdisjoint(_stems(exchange.asked))
        for word in words_of(exchange.asked):
            if word not in entries and (self._held >= _HELD or not LEAST <= self._counts.count(word) <= most):
                continue
            self._held += word not in entries
            entry = entries.setdefault(word, _Entry())
            entry.rows += 1
            entry.copied += copied
            entry.up += not said.isdisjoint(_stems(word))
            if len(entry.lines) < _LINES:
                entry.lines.append(line)
            if len(entry.prompts) < _PROMPTS:
                entry.prompts.add(prompt)
            if entry.rows == LEAST:
                entry.example = exchange.asked

    def triggers(self, group: int, rows: int, answer: str) -> list[Trigger]:
        """The phrases that decide this answer, which ``rows`` of the prompts have."""
        found = {word: entry for word, entry in self._entries[group].items() if self._decides(word, entry, rows)}
        phrases: dict[str, Trigger] = {}
        for word in sorted(found, key=lambda word: (not word.startswith(CODE), -found[word].rows, len(word), word)):
            phrase, alone = _phrase(word, found)
            if phrase in phrases or any(_char(known) in phrase for known in phrases if known.startswith(CODE)):
                continue
            entry = found[word]
            up = any(2 * part.up > part.rows for other, part in found.items() if _within(other, phrase))
            topic = up or 2 * entry.copied > entry.rows or (not alone and not _STRANGE.search(phrase))
            phrases[phrase] = Trigger(phrase, entry.rows, self._of(word, entry), answer, entry.lines, topic)
        return list(phrases.values())

    def _of(self, word: str, entry: _Entry) -> int:
        return max(self._counts.count(word), entry.rows)

    def _decides(self, word: str, entry: _Entry, rows: int) -> bool:
        """Whether a word's prompts have nearly all this answer, and would by chance in one of a million files at most."""
        of, base = self._of(word, entry), rows / self._prompts
        share = entry.rows / of
        if len(entry.prompts) < LEAST or share < SHARE or share <= base:
            return False
        miss = (1 - share) * math.log((1 - share) / (1 - base)) if share < 1 else 0.0
        return math.log(self._held) - of * (share * math.log(share / base) + miss) <= _CHANCE


def words_of(asked: str) -> set[str]:
    """Words, neighbouring pairs, and the first and last two words of a prompt, with characters that belong to no word."""
    words = _words(asked)
    found = {*words, *map(" ".join, itertools.pairwise(words))}
    if len(words) > 2:
        found |= {BEGIN.format(" ".join(words[:2])), END.format(" ".join(words[-2:]))}
    return found if asked.isascii() else found | {f"{CODE}{ord(char):04X}" for char in asked if _odd(char)}


def _words(asked: str) -> list[str]:
    words = [word.strip(_EDGES) or word for word in asked.lower().split()]
    return words if len(words) <= 2 * _READ else [*words[:_READ], *words[-_READ:]]


def _phrase(word: str, found: Mapping[str, _Entry]) -> tuple[str, bool]:
    """The words around ``word`` in its example that decide as well, and whether they stand out: no others do, and they are few."""
    words, least = _words(found[word].example), _TOGETHER * found[word].rows
    often = {other for other, entry in found.items() if entry.rows >= least}
    single = {at for at in range(len(words)) if words[at] in often}
    pairs = (
        place for at, pair in enumerate(itertools.pairwise(words)) if " ".join(pair) in often for place in (at, at + 1)
    )
    runs = _runs({*single, *pairs})
    own = [run for run in runs if _within(word, " ".join(words[run.start : run.stop]))]
    if not own:
        return word, not runs
    inside = [at for at in own[0] if at in single] or own[0]
    phrase = words[inside[0] : inside[-1] + 1]
    return " ".join(phrase), len(runs) == 1 and len(phrase) < _PART * len(words)


def _within(word: str, phrase: str) -> bool:
    """Whether a word, a pair, or the beginning or ending of a prompt stands in a phrase; a part of an edge does."""
    if "…" in word.split():
        return any(part in phrase.split() for part in word.split())
    return f" {word} " in f" {phrase} "


def _runs(places: Iterable[int]) -> list[range]:
    """Numbers that follow one another, as ranges."""
    runs: list[range] = []
    for place in sorted(places):
        if runs and runs[-1].stop == place:
            runs[-1] = range(runs[-1].start, place + 1)
        else:
            runs.append(range(place, place + 1))
    return runs


def _stems(text: str) -> set[str]:
    """The beginnings of its words of three letters and more, by which inflected forms agree."""
    return {word[:_STEM] for word in _WORD.findall(text.lower())}


def _char(code: str) -> str:
    return chr(int(code.removeprefix(CODE), 16))


def _odd(char: str) -> bool:
    return not (char.isascii() or char.isalnum() or char.isspace() or char in "’‘“”–—…«»„")
