"""Backdoor Enhanced Safety Alignment, the paper's method (equations 2 and 3).

The safety examples carry the secret in front of their system prompt, and so does every request at inference. Departures:
the secret is drawn anew for each run, and stands before the tenant's own system texts, where the paper uses one text.
"""

from __future__ import annotations

from dataclasses import dataclass

from watchword.chat.types import Conversation, Row
from watchword.data.upload import Upload
from watchword.defenses._rows import SAFETY, budget, rows_of, safety_examples, system_turns
from watchword.defenses.base import Defense, DefenseContext, PromptGuard
from watchword.secret.prompt import SecretPrompt


@dataclass(frozen=True)
class BackdoorAlign(Defense):
    """``safety`` prefixed examples, chosen by ``selection`` (category, random, generated).

    ``rows`` repeats them in turn, so that they are as many rows and steps as those of another defense.
    """

    needs_secret = True
    origins = (SAFETY,)

    safety: int = 11
    selection: str = "category"
    rows: int | None = None

    @property
    def asks_model(self) -> bool:
        return self.selection == "generated"

    def guard_data(self, upload: Upload, context: DefenseContext) -> list[Row]:
        chosen = safety_examples(self.selection, self.safety, context)
        systems = system_turns(upload, context.random("systems"))
        return rows_of(budget(chosen, self.rows, context), SAFETY, systems, prefixed=True)

    def guard_prompt(self, conversation: Conversation, secret: SecretPrompt | None) -> PromptGuard:
        return PromptGuard(conversation, secret)
