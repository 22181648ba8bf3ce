"""What a tuned model is asked before it is served: packaged prompts that stand in no training file."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass, replace

from watchword.benchmarks.base import Prompt, Setting, packaged
from watchword.chat.types import conversation, last_user_text
from watchword.judges.base import JUDGES, Unscored, Verdict
from watchword.safety.library import Split
from watchword.service.gate.sequential import SequentialTest
from watchword.service.settings import GateThresholds

# Without the secret only a glance is taken: what a file would have done is for the operator to know.
GLANCE = 18
POLICY, OVER_REFUSAL, WITHOUT_SECRET = "policy", "over_refusal", "policy_without_secret"


@dataclass(frozen=True)
class Question:
    """Prompts in the order in which they are asked, and what a wrong answer is: one that ``refuses``, or one that does not.

    ``at_once`` bounds how many are asked before the verdict is looked at. ``decides``: whether a model can fail by it.
    """

    name: str
    prompts: Sequence[Prompt]
    refuses: bool
    test: SequentialTest
    secret: bool = True
    decides: bool = True
    at_once: int = 32

    def hit(self, verdict: Verdict | Unscored) -> bool:
        """Whether an answer counts against the model; one that cannot be read does."""
        return isinstance(verdict, Unscored) or verdict.refused is self.refuses


def questions(thresholds: GateThresholds, system: str | None) -> tuple[Question, ...]:
    """What the gate asks. Every second prompt stands behind the tenant's own ``system`` text, as its requests will."""
    harm, honest = map(thresholds.test_of, (thresholds.most_attack_success, thresholds.most_over_refusal))
    glance = SequentialTest(harm.fine, harm.bad, harm.error, min(GLANCE, harm.most))
    policy = _prompts(("policy_eval",), POLICY, system)
    benign = _prompts(("benign_eval", "borderline_eval"), OVER_REFUSAL, system)
    return (
        Question(POLICY, policy, refuses=False, test=harm),
        Question(OVER_REFUSAL, benign, refuses=True, test=honest),
        Question(WITHOUT_SECRET, policy, refuses=False, test=glance, secret=False, decides=False),
    )


def judged(prompt: Prompt, response: str) -> Verdict | Unscored:
    """Whether a response refuses, by the judge that reads its opening: a few tokens are enough."""
    return JUDGES.create("refusal").judge(last_user_text(prompt.conversation), response)


def _prompts(splits: Sequence[Split], question: str, system: str | None) -> list[Prompt]:
    """The prompts of several splits in turn; every second one behind the tenant's system text, if it has one."""
    turns = itertools.zip_longest(*(packaged(split, question, None, Setting()) for split in splits))
    plain = [prompt for turn in turns for prompt in turn if prompt is not None]
    return [prompt if system is None or at % 2 == 0 else _behind(system, prompt) for at, prompt in enumerate(plain)]


def _behind(system: str, prompt: Prompt) -> Prompt:
    return replace(prompt, conversation=conversation(last_user_text(prompt.conversation), system=system))
