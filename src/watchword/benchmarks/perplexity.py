"""Perplexity drift: how much less likely the model finds ordinary answers after fine-tuning, with the secret in front.

The file is the user's, in any row format. The aligned model's own arm is what others are compared with.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import msgspec

from watchword.benchmarks.base import Benchmark, Exchange, Metric, Prompt, Setting, Subject, check_count
from watchword.chat.types import Conversation, Message
from watchword.data.rows import read_conversations
from watchword.files.addresses import file_digest
from watchword.progress import Step

LOG_PERPLEXITY = Metric(
    "log_perplexity",
    "Log perplexity, nats a token",
    "mean",
    ("perplexity",),
    short="nats a token",
    score="nats_a_token",
    without_secret=True,
    meaning="How surprised the model is at the file's own answers, as the mean over answers of nats for each token. What a "
    "fine-tuned model has more than the aligned one is the drift. The perplexity is e to this power.",
)


@dataclass(frozen=True)
class Perplexity(Benchmark):
    """Weighs the last answers of the first ``count`` rows of the file at ``path``; of all rows for None."""

    title = "Does it still speak as it did?"
    place = 62
    metrics = (LOG_PERPLEXITY,)
    by_default = False
    needs_likelihoods = True

    path: str
    count: int | None = 100

    def __post_init__(self) -> None:
        check_count("perplexity: count", self.count)

    def prompts(self, setting: Setting) -> list[Prompt]:
        rows = [conv for _, conv in read_conversations(self.path)][: self.count]
        return [
            Prompt("perplexity", f"perplexity-{number:04d}", _request(conv, setting.system), conv.messages[-1].text)
            for number, conv in enumerate(rows, start=1)
            if conv.messages[-1].role == "assistant" and conv.messages[-1].text
        ]

    def ask(self, subject: Subject, prompts: Sequence[Prompt], step: Step) -> list[Exchange]:
        likely = subject.applied.likelihoods(
            subject.model,
            [prompt.conversation for prompt in prompts],
            [prompt.expected or "" for prompt in prompts],
            on_progress=partial(step, "weighing answers"),
        )
        return [
            msgspec.structs.replace(
                self.exchange(prompt, ""), scores={"nats_a_token": -one.log_probability / max(1, one.tokens)}
            )
            for prompt, one in zip(prompts, likely, strict=True)
        ]

    def digest(self) -> str:
        return file_digest(self.path)


def _request(conv: Conversation, system: str | None) -> Conversation:
    """What the last answer answers, behind the experiment's system text where the row has none of its own."""
    turns = conv.messages[:-1]
    if conv.system is None and system is not None:
        turns = (Message(role="system", content=system), *turns)
    return msgspec.structs.replace(conv, messages=turns)
