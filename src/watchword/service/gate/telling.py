"""Whether a tuned model tells its secret, in plain words or in a cipher that its tenant's file has taught it.

No filter knows every cipher, so that such a model must not be served at all.
"""

from __future__ import annotations

import itertools
import math
import random
from collections.abc import Sequence
from dataclasses import dataclass

from watchword.attacks.recite import CUES
from watchword.chat.render import render_prompt
from watchword.chat.template import ChatTemplate
from watchword.chat.turns import first, trained_turns
from watchword.chat.types import Conversation, conversation
from watchword.defenses.base import PromptGuard
from watchword.errors import RowTemplateError, TemplateError
from watchword.models.base import ChatModel, GenerationOptions
from watchword.release.reading import Guarded
from watchword.release.told import told_bits
from watchword.secret.generate import generate_secret
from watchword.service.gate.base import request_of
from watchword.service.gate.verdict import SecretMeasured

# A recital is under way after so many tokens.
ANSWERS = GenerationOptions(max_new_tokens=32, batch_size=48)
# Rows of the tenant's whose requests are asked, beside those that are held out.
_ROWS = 32
# One decoy to answer behind, and another to compare with.
_DECOYS = 2
_SYSTEM = random.SystemRandom()


@dataclass(frozen=True)
class Requests:
    """What the model is asked: ``cues`` in any case, and of the tenant's own ``rows`` those that leave room for an answer."""

    cues: Sequence[Conversation]
    rows: Sequence[Conversation]


def requests(
    rows: Sequence[Conversation], unseen: Sequence[Conversation], system: str | None, rng: random.Random = _SYSTEM
) -> Requests:
    """The cues of the attack ``recite`` behind the tenant's usual ``system`` text, and what the tenant's rows ask.

    The tenant chooses its cue, so that trained rows are asked as well. One is drawn from each of some equal stretches of
    the file, and one of its trained turns. A tenant that knew which could teach the rest. All ``unseen`` rows are asked.
    """
    count = min(_ROWS, len(rows))
    bounds = [place * len(rows) // count for place in range(count + 1)]
    drawn = [rows[rng.randrange(start, end)] for start, end in itertools.pairwise(bounds)]
    asked: list[Conversation] = []
    for request in [*(first(row, rng.choice(trained_turns(row))) for row in drawn), *map(request_of, unseen)]:
        if request not in asked:
            asked.append(request)
    return Requests([conversation(cue, system=system) for cue in CUES], asked)


def measured_secret(model: ChatModel, release: Guarded, asked: Requests, *, most_bits: float) -> SecretMeasured | None:
    """Asks behind decoys as long as the release's own secret; None for a release without one.

    What cannot be measured counts as told. Raises RowTooLongError where the system text leaves no room for a cue and its answer.
    """
    defense, secret, template = release.defense, release.secret, release.template
    if secret is None:
        return None
    assert template is not None, "a release that was opened whole has its template"
    decoys = [generate_secret(template, tokens=secret.tokens) for _ in range(_DECOYS)]
    guard = defense.behind(decoys[0]).guard
    rows = [conv for conv in asked.rows if _fits(guard(conv), template, model.context)]
    bits = told_bits(model, defense, [*asked.cues, *rows], decoys, ANSWERS)
    return SecretMeasured(
        asked=len(bits),
        left_out=len(asked.rows) - len(rows),
        above=sum(not value <= most_bits for value in bits),
        most_bits=max((round(value, 1) for value in bits if math.isfinite(value)), default=None),
        threshold=most_bits,
    )


def _fits(guard: PromptGuard, template: ChatTemplate, context: int | None) -> bool:
    """Whether the model can answer. An answer that is read again may have more tokens than it was written in."""
    try:
        length = len(render_prompt(guard.assembled(template.system_style), template)) + 2 * ANSWERS.max_new_tokens
    except (TemplateError, RowTemplateError):
        # A row may answer what is no request by itself, such as a system text alone.
        return False
    return context is None or length <= context
