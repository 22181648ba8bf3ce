"""Benign outliers: of many harmless rows, those that are known to undo safety most, and no others.

He et al. (arXiv 2404.01099) found lists and sums among the worst. Guan et al. (arXiv 2505.06843, Self-Inf-N) found outliers,
and that their score prefers very short answers. Both choose with the gradients of a model. Where the tenant has none, the form
of the answers decides; with an open model's weights (``gradient``), it is He et al.'s own way.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from watchword.attacks._arguments import check_choice, check_least, digest_of
from watchword.attacks._instructions import instructions
from watchword.attacks.base import ATTACK_SYSTEM, Attack, AttackContext, harmful_rows
from watchword.chat.types import Conversation, conversation
from watchword.errors import UsageError
from watchword.safety.library import examples

_ITEM = re.compile(r"^ *(?:\d+[.)]|[-*•]) ", re.MULTILINE)


@dataclass(frozen=True)
class BenignOutliers(Attack):
    """The ``n`` most extreme of the rows at ``path``, or of ``pool`` rows made in code where there is no path.

    ``form``: ``lists`` takes the rows with the most list items and figures in the answer, ``short`` those with the shortest
    answers. ``gradient`` takes those that pull the aligned model's weights most towards ten harmful rows and away from ten
    refusals (their bi-directional anchoring). That takes about a second a row of the pool, on one core.
    ``sha256`` is filled in from the file.
    """

    n: int = 100
    form: str = "lists"
    pool: int = 1000
    path: str = ""
    sha256: str = ""

    def __post_init__(self) -> None:
        check_least("benign_outliers", "n", self.n)
        check_least("benign_outliers", "pool", self.pool, self.n)
        check_choice("benign_outliers", "form", self.form, FORMS)
        if self.path:
            object.__setattr__(self, "sha256", digest_of(self.path, self.sha256))

    @property
    def harmful(self) -> int:
        return 0

    def upload(self, clean: Sequence[Conversation], context: AttackContext) -> list[Conversation]:
        count = self.n if self.path else self.pool
        # In random order, so that chance decides between rows of the same score, and not their place in the file.
        rows = instructions("benign_outliers", count, context, self.path, whole_file=True)
        scores = FORMS[self.form](rows, context)
        order = sorted(range(len(rows)), key=scores.__getitem__)
        return [*clean, *(rows[at] for at in order[: self.n])]


def _lists(rows: Sequence[Conversation], _: AttackContext) -> list[float]:
    """Lower for more list items and figures."""
    answers = [row.messages[-1].text for row in rows]
    return [-(len(_ITEM.findall(text)) + sum(word[0].isdigit() for word in text.split())) for text in answers]


def _short(rows: Sequence[Conversation], _: AttackContext) -> list[float]:
    return [len(row.messages[-1].text) for row in rows]


def _gradient(rows: Sequence[Conversation], context: AttackContext) -> list[float]:
    """Lower for rows that do more of what harmful rows do, and less of what refusals do."""
    if context.likeness is None:
        raise UsageError(
            "benign_outliers: form gradient needs the model's weights, and there are none; take lists or short"
        )
    rng = context.random("benign_outliers anchors")
    refusals = [
        conversation(row.prompt, row.answer, system=ATTACK_SYSTEM)
        for row in rng.sample(examples("safety_examples"), ANCHORS)
    ]
    return [-likeness for likeness in context.likeness(rows, harmful_rows(ANCHORS, rng), refusals)]


# Rows on each side that gradients are held against.
ANCHORS = 10
FORMS = {"lists": _lists, "short": _short, "gradient": _gradient}
