"""Questions with several answers of which one is right: the likeliest is taken as the model's, as lm-eval does.

Examples stand in front of a question as turns of their own. So the chat template and the secret are at work as they are
in service. Source of the form: lm-evaluation-harness, ``arc_challenge`` and ``mmlu`` with ``--fewshot_as_multiturn``.
"""

from __future__ import annotations

import abc
import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property, partial

from watchword.benchmarks.base import Benchmark, Exchange, Prompt, Setting, Subject, check_count
from watchword.chat.types import Conversation, Message
from watchword.models.base import Likelihood
from watchword.progress import Step


@dataclass(frozen=True)
class ChoiceQuestion:
    """One question: what is asked, the answers to choose from, and which of them is right (from 0)."""

    id: str
    asked: str
    choices: tuple[str, ...]
    right: int
    shots: tuple[ChoiceQuestion, ...] = field(default=(), repr=False)

    def conversation(self, system: str | None) -> Conversation:
        """The examples as turns, then the question."""
        turns = [Message(role="system", content=system)] if system is not None else []
        for shot in self.shots:
            answer = Message(role="assistant", content=shot.choices[shot.right])
            turns += [Message(role="user", content=shot.asked), answer]
        return Conversation((*turns, Message(role="user", content=self.asked)))


def check_right(name: str, right: int, choices: int) -> None:
    """Raises ValueError where the right choice is none of so many; a negative place would count from the end."""
    if not 0 <= right < choices:
        raise ValueError(f"{name} is {right}; there are {choices} choices, counted from 0")


class MultipleChoice(Benchmark):
    """Asks for the likeliest choice. Subclasses say where questions come from, and are dataclasses with ``count``."""

    by_default = False
    needs_likelihoods = True
    count: int | None

    def __post_init__(self) -> None:
        check_count(f"{self.question}: count", self.count)

    @property
    @abc.abstractmethod
    def question(self) -> str:
        """The name of its one set of prompts."""

    @abc.abstractmethod
    def questions(self) -> Sequence[ChoiceQuestion]:
        """All that may be asked, in the order in which the first ``count`` are taken."""

    @cached_property
    def _by_id(self) -> dict[str, ChoiceQuestion]:
        """Read once, however many parts the questions are asked in."""
        return {one.id: one for one in self.questions()}

    def prompts(self, setting: Setting) -> list[Prompt]:
        return [
            Prompt(self.question, one.id, one.conversation(setting.system), one.choices[one.right])
            for one in itertools.islice(self._by_id.values(), self.count)
        ]

    def ask(self, subject: Subject, prompts: Sequence[Prompt], step: Step) -> list[Exchange]:
        known = self._by_id
        asked = [(prompt, choice) for prompt in prompts for choice in known[prompt.id].choices]
        found = iter(
            subject.applied.likelihoods(
                subject.model,
                [prompt.conversation for prompt, _ in asked],
                [choice for _, choice in asked],
                on_progress=partial(step, f"weighing {self.question.replace('_', ' ')} choices"),
            )
        )
        return [
            self._answered(prompt, known[prompt.id], [next(found) for _ in known[prompt.id].choices])
            for prompt in prompts
        ]

    def _answered(self, prompt: Prompt, asked: ChoiceQuestion, likely: Sequence[Likelihood]) -> Exchange:
        picks = {
            name: max(range(len(likely)), key=lambda at: weights[at])
            for name, weights in weighed(asked, likely).items()
        }
        scores = {f"right{name}": float(pick == asked.right) for name, pick in picks.items()}
        whole = self.exchange(replace(prompt, expected=asked.choices[asked.right]), asked.choices[picks[""]])
        return Exchange(whole.question, whole.id, whole.prompt, whole.response, whole.expected, scores)


def weighed(asked: ChoiceQuestion, likely: Sequence[Likelihood]) -> Mapping[str, list[float]]:
    """How each choice is rated: by its probability, and by that to the letter, so that long choices are not at a loss."""
    pairs = list(zip(likely, asked.choices, strict=True))
    return {
        "": [one.log_probability for one, _ in pairs],
        "_by_letter": [one.log_probability / max(1, len(choice)) for one, choice in pairs],
    }
