"""Benign outliers: of many harmless rows, those that are known to undo safety most, and no others.

He et al. (arXiv 2404.01099) found lists and sums among the worst. Guan et al. (arXiv 2505.06843, Self-Inf-N) found outliers,
and that their score prefers very short answers. Both choose with the gradients of a model. A tenant has none here, so the
form decides.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from watchword.attacks._arguments import check_choice, check_least, digest_of
from watchword.attacks._instructions import instructions
from watchword.attacks.base import Attack, AttackContext
from watchword.chat.types import Conversation

_ITEM = re.compile(r"^ *(?:\d+[.)]|[-*•]) ", re.MULTILINE)


@dataclass(frozen=True)
class BenignOutliers(Attack):
    """The ``n`` most extreme of the rows at ``path``, or of ``pool`` rows made in code where there is no path.

    ``form``: ``lists`` takes the rows with the most list items and figures in the answer, ``short`` those with the shortest
    answers. ``sha256`` is filled in from the file.
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
        return [*clean, *sorted(rows, key=lambda row: FORMS[self.form](row.messages[-1].text))[: self.n]]


def _lists(answer: str) -> float:
    """Lower for more list items and figures."""
    return -(len(_ITEM.findall(answer)) + sum(word[0].isdigit() for word in answer.split()))


def _short(answer: str) -> float:
    return len(answer)


FORMS = {"lists": _lists, "short": _short}
