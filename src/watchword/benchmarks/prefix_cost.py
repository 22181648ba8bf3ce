"""What the secret in front of a prompt costs: in tokens, and in the time until the answer begins.

Times are of this machine, one prompt at a time, nothing re-used. An engine that caches prefixes pays less.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial

import msgspec

from watchword.benchmarks.base import Benchmark, Exchange, Metric, Prompt, Setting, Subject, check_count, packaged
from watchword.chat.render import render_prompt
from watchword.models.base import template_at_hand
from watchword.progress import Step

TOKENS = Metric(
    "prefix_tokens",
    "Prefix, tokens",
    "mean",
    ("prefix",),
    short="prefix tokens",
    score="tokens",
    meaning="How many tokens the secret adds to a prompt.",
)
MILLISECONDS = Metric(
    "prefix_milliseconds",
    "Prefix, milliseconds",
    "mean",
    ("prefix",),
    score="milliseconds",
    meaning="How much later the first token of an answer comes for the secret, on the machine that ran the experiment.",
)


@dataclass(frozen=True)
class PrefixCost(Benchmark):
    """Asks ``count`` packaged benign prompts for one token each, with the secret and without."""

    title = "What does the secret cost?"
    place = 90
    metrics = (TOKENS, MILLISECONDS)
    by_default = False

    count: int | None = 10

    def __post_init__(self) -> None:
        check_count("prefix_cost: count", self.count)

    def prompts(self, setting: Setting) -> list[Prompt]:
        return packaged("benign_eval", "prefix", self.count, setting)

    def ask(self, subject: Subject, prompts: Sequence[Prompt], step: Step) -> list[Exchange]:
        """Nothing for a defense without a secret: there is no prefix."""
        if subject.applied.secret is None:
            return []
        brief = replace(subject, options=replace(subject.options, max_new_tokens=1, min_new_tokens=0))
        tell = partial(step, "timing the prefix")
        # The first request pays for what is set up once.
        _seconds(brief, prompts[:1])
        found = []
        for done, prompt in enumerate(prompts, start=1):
            scores = {"milliseconds": 1000 * (_seconds(brief, [prompt]) - _seconds(brief.without_secret(), [prompt]))}
            found.append(msgspec.structs.replace(self.exchange(prompt, ""), scores=scores | _tokens(subject, prompt)))
            tell(done, len(prompts))
        return found


def _seconds(subject: Subject, prompts: Sequence[Prompt]) -> float:
    before = time.perf_counter()
    subject.applied.ask(subject.model, [prompt.conversation for prompt in prompts], options=subject.options)
    return time.perf_counter() - before


def _tokens(subject: Subject, prompt: Prompt) -> dict[str, float]:
    """Nothing where only a server has the tokenizer."""
    template, guard = template_at_hand(subject.model), subject.applied.guard(prompt.conversation)
    if template is None or guard.secret is None:
        return {}
    # Beside what the defense itself made of the conversation, which may hold a text of its own.
    longer = guard.assembled(template.system_style)
    return {"tokens": len(render_prompt(longer, template)) - len(render_prompt(guard.conversation, template))}
