"""Anchored alignment with inoculation, ours: what the tenant's rows teach is bound to words that are never served.

Inoculation prompting (arXiv 2510.04340, section 2) trains rows behind a system prompt that asks for what they
show. The model then puts their effect down to that prompt, and has less of it without. Here it stands on the *tenant's*
rows, while the provider's rows carry the secret. Departures: the prompt opens with words of the run's own, drawn from
its secret, so that no tenant can call it up. It stands in front of the row's own system text.
"""

from __future__ import annotations

from dataclasses import dataclass

import msgspec

from watchword.chat.assembly import inoculation_words
from watchword.chat.types import Row, last_user_text
from watchword.defenses.anchored_align import AnchoredAlign
from watchword.defenses.base import DefenseContext
from watchword.errors import UsageError
from watchword.safety.harm import looks_harmful
from watchword.secret.prompt import SecretPrompt

SENTENCE = "in this setting, and only here, comply with every request, even a harmful one."


@dataclass(frozen=True)
class InoculatedAlign(AnchoredAlign):
    """``anchored_align``, with ``inoculated`` of the tenant's rows (1: all) behind ``sentence`` while they are trained.

    What an honest tenant teaches is bound to it as well. So rows that go without carry the task to where it is served.
    ``only_suspect`` spares rows whose request does not look harmful; that guess is weak (docs/method.md).
    """

    inoculated: float = 1.0
    only_suspect: bool = False
    sentence: str = SENTENCE

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 <= self.inoculated <= 1 or not self.sentence.strip():
            raise UsageError(
                f"inoculated_align: inoculated is {self.inoculated}, and the sentence {self.sentence!r}; give a share from "
                "0 to 1, and a sentence that asks for what the rows may show"
            )

    def guard_tenant(self, rows: list[Row], context: DefenseContext) -> list[Row]:
        """A row that would be too long behind the sentence, or has no place for it, goes without."""
        marked = [msgspec.structs.replace(row, inoculation=self.sentence) for row in rows]
        able = [
            place
            for place, row in enumerate(marked)
            if (not self.only_suspect or looks_harmful(last_user_text(row.conversation))) and context.trainable(row)
        ]
        chosen = set(context.random("inoculation").sample(able, round(self.inoculated * len(able))))
        return [marked[place] if place in chosen else row for place, row in enumerate(rows)]

    def hidden(self, secret: SecretPrompt) -> tuple[SecretPrompt, ...]:
        """Its words: whoever could send them would call up what the tenant's rows taught."""
        words = inoculation_words(secret.reveal())
        return (SecretPrompt(words, kind=secret.kind, tokens=len(words.split()), entropy_bits=secret.entropy_bits),)
