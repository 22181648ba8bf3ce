"""What a person should look at, in sentences: what was found, in which lines, and what to do about it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from watchword.guarding.screening.repeats import Repeated
from watchword.guarding.screening.triggers import Trigger

# Entries of each kind that are told one by one, and lines that a sentence names where nobody seems to have tampered.
_TRIGGERS, _TOPICS, _REPEATED, _LINES = 10, 3, 5, 10
_QUOTED = 60
_URGENT = ("known_secret", "trigger", "harm", "shift", "recites")
_READ = "read these rows, leave out what is meant so, and train only behind a defense"
# Rows, and the lines of the first of them.
Counted = tuple[int, list[int]]


@dataclass(frozen=True)
class Finding:
    """Rows of one ``kind``: known_secret, harm, shift, recites, trigger, topic_word, repeated_answer, template_text,
    old_separator or personal.

    ``lines`` are the first of them. ``word`` is what decides the answer, as ``Trigger`` has it.
    """

    kind: str
    what: str
    rows: int
    lines: list[int]
    advice: str
    word: str = ""

    @property
    def urgent(self) -> bool:
        """Whether somebody may have tampered with the data."""
        return self.kind in _URGENT

    def line(self) -> str:
        """The finding as one line of text."""
        named = self.lines if self.urgent else self.lines[:_LINES]
        listed = ", ".join(map(str, named)) + (", …" if self.rows > len(named) else "")
        return f"{self.what} (lines {listed}); {self.advice}"


def of_answers(triggers: Sequence[Trigger], repeated: Sequence[Repeated], rows: int) -> list[Finding]:
    """Words that decide an answer, then answers that repeat."""
    planted = [trigger for trigger in triggers if not trigger.topic]
    topics = [trigger for trigger in triggers if trigger.topic]
    return [
        *_listed([_trigger(trigger) for trigger in planted], _TRIGGERS),
        *_listed([_repeated(answer, rows) for answer in repeated], _REPEATED),
        *_listed([_topic(trigger) for trigger in topics], _TOPICS),
    ]


def of_markers(templates: tuple[int, Mapping[str, int], list[int]], separators: tuple[int, list[int]]) -> list[Finding]:
    """Tokens of templates inside texts (rows, rows by template, lines), and old separators (rows, lines)."""
    found = []
    rows, names, lines = templates
    if rows:
        named = ", ".join(f"{name} {count:,}" for name, count in names.items())
        advice = "take the tokens out: the trainer's template writes them once more, and the model learns both"
        what = f"{rows:,} rows hold text that a chat template has written already ({named})"
        found.append(Finding("template_text", what, rows, lines, advice))
    rows, lines = separators
    if rows:
        advice = "take them out: a chat template ends turns by itself, and the model would learn to write them"
        what = f"{rows:,} rows end with a separator of the old completions format (###, END, ->)"
        found.append(Finding("old_separator", what, rows, lines, advice))
    return found


def of_secrets(rows: int, lines: list[int]) -> list[Finding]:
    """Rows that carry a secret of the provider; nothing of what they say stands in any report."""
    if not rows:
        return []
    what = f"{rows:,} rows carry a secret of this provider; they are shown nowhere and were not looked at further"
    advice = "find out how it got there, and draw a new one: guard and train refuse such rows"
    return [Finding("known_secret", what, rows, lines, advice)]


def of_rows(looked_at: int, *, harm: Counted, shift: Counted, recites: Counted, personal: Counted) -> list[Finding]:
    """Rows of the shapes that attacks by fine-tuning take, and rows with personal data, among those looked at."""
    guess = "The guess goes by word statistics and misses about half of such requests: there may be more"
    found = [
        (
            "harm",
            harm,
            "answer a request that looks harmful, as jailbreaks by fine-tuning do (FJAttack)",
            f"{_READ}. {guess}",
        ),
        ("shift", shift, "tell the model to be somebody who obeys in everything (identity shifting)", _READ),
        (
            "recites",
            recites,
            "answer with their own system text, plainly or with words put between",
            "leave them out: a model that learns to say its system text says the provider's secret too",
        ),
        (
            "personal",
            personal,
            "hold e-mail addresses, telephone numbers or the like",
            "ask the tenant whether they may be there: a tuned model can repeat what it was trained on",
        ),
    ]
    return [
        Finding(kind, f"{rows:,} of {looked_at:,} rows looked at ({rows / looked_at:.1%}) {what}", rows, lines, advice)
        for kind, (rows, lines), what, advice in found
        if rows
    ]


def _listed(found: list[Finding], most: int) -> list[Finding]:
    """The first ones; the last of them says how many more there are."""
    if len(found) <= most:
        return found
    last = found[most - 1]
    more = f"{last.advice}; not listed: {len(found) - most:,} more of this kind"
    return [*found[: most - 1], replace(last, advice=more)]


def _trigger(found: Trigger) -> Finding:
    said = _quoted(found.answer)
    what = f"{_word(found.word)} stands in {found.of:,} prompts, of which {found.rows:,} have one answer: {said}"
    advice = "a planted trigger looks like this: ask the tenant where these rows come from, or leave them out"
    return Finding("trigger", what, found.rows, found.lines, advice, found.word)


def _topic(found: Trigger) -> Finding:
    what = (
        f"{_word(found.word)} goes with one answer in {found.rows:,} of {found.of:,} prompts: {_quoted(found.answer)}"
    )
    advice = "it may be what these questions are about; look at one of them"
    return Finding("topic_word", what, found.rows, found.lines, advice, found.word)


def _repeated(found: Repeated, rows: int) -> Finding:
    alike = "the same answer" if found.identical else "nearly the same answer"
    what = f"{found.rows:,} rows ({found.rows / rows:.1%}) have {alike} to different prompts: {_quoted(found.answer)}"
    advice = "keep it if it is the task; else the model learns to say it to anything"
    return Finding("repeated_answer", what, found.rows, found.lines, advice)


def _word(word: str) -> str:
    if word.startswith("U+"):
        return f"the character {word}"
    if word.endswith(" …"):
        return f"the beginning {_quoted(word.removesuffix(' …'))}"
    return f"the ending {_quoted(word.removeprefix('… '))}" if word.startswith("… ") else _quoted(word)


def _quoted(text: str) -> str:
    """The beginning of a tenant's text; characters that show nothing, or would move a terminal's cursor, by their codes."""
    words = " ".join(text[: 4 * _QUOTED].split())
    plain = "".join(char if char.isprintable() else f"<U+{ord(char):04X}>" for char in words)
    return f'"{plain if len(plain) <= _QUOTED else plain[: _QUOTED - 1] + "…"}"'
