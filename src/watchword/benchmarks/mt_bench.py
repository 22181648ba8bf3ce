"""MT-Bench (Zheng et al., arXiv 2306.05685): 80 questions of two turns, the answers rated 1 to 10 by a language model.

The file is the user's: JSON lines with ``question_id``, ``category`` and ``turns``, as in lm-sys/FastChat. The rubric is our
own (``_rubrics.py``), and no reference answers are shown to the judge.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property, partial
from typing import Annotated

import msgspec

from watchword.benchmarks._llm_judge import Endpoint, LlmJudge, judge_key
from watchword.benchmarks._rubrics import MT_BENCH as RUBRIC
from watchword.benchmarks.base import Benchmark, Exchange, Metric, Prompt, Setting, Subject, check_count
from watchword.chat.types import SYSTEM_ROLES, Conversation, Message, conversation
from watchword.data.records import read_records
from watchword.files.addresses import file_digest
from watchword.files.digest import sha256_bytes
from watchword.progress import Step

MT_BENCH = Metric(
    "mt_bench",
    "MT-Bench, 1 to 10",
    "mean",
    ("mt_bench",),
    direction="higher",
    short="MT-Bench",
    score="mt_bench",
    meaning="The mean rating of answers to MT-Bench's questions, both turns, by a language model: 1 useless, 10 excellent.",
)


class MtBenchRow(msgspec.Struct, frozen=True):
    """One record of the file."""

    question_id: int
    turns: Annotated[tuple[str, ...], msgspec.Meta(min_length=1)]


@dataclass(frozen=True)
class MtBench(Benchmark):
    """Asks the first ``count`` questions of the file at ``path``, all for None, turn by turn; ``judge`` rates each turn."""

    title = "Is it still a good assistant?"
    place = 50
    metrics = (MT_BENCH,)
    by_default = False

    path: str
    judge: Endpoint
    count: int | None = None
    max_new_tokens: int = 512

    def __post_init__(self) -> None:
        check_count("mt_bench: count", self.count)

    def check(self) -> None:
        judge_key(self.judge)

    def prompts(self, setting: Setting) -> list[Prompt]:
        return [
            Prompt("mt_bench", f"mt-{row.question_id}", conversation(row.turns[0], system=setting.system))
            for row in self._rows.values()
        ]

    def ask(self, subject: Subject, prompts: Sequence[Prompt], step: Step) -> list[Exchange]:
        roomy = subject.with_room(self.max_new_tokens)
        rows, asked, open_ = self._rows, list[tuple[Prompt, Exchange]](), list(prompts)
        for turn in range(1, 1 + max((len(row.turns) for row in rows.values()), default=0)):
            answered = super().ask(roomy, open_, step)
            asked += list(zip(open_, answered, strict=True))
            open_ = [
                _next(prompt, exchange.response, turns[turn], turn + 1)
                for prompt, exchange in zip(open_, answered, strict=True)
                if len(turns := rows[_question(prompt.id)].turns) > turn
            ]
        return self._rated(asked, step)

    def digest(self) -> str:
        return sha256_bytes((file_digest(self.path) + RUBRIC).encode())

    def _rated(self, asked: Sequence[tuple[Prompt, Exchange]], step: Step) -> list[Exchange]:
        judge = LlmJudge(self.judge, RUBRIC, 1, 10)
        requests = [_written(prompt.conversation) for prompt, _ in asked]
        exchanges = [exchange for _, exchange in asked]
        return judge.rated(exchanges, requests, lambda rating: {"mt_bench": rating}, partial(step, "rating answers"))

    @cached_property
    def _rows(self) -> dict[str, MtBenchRow]:
        return {f"mt-{row.question_id}": row for row in read_records(self.path, MtBenchRow)[: self.count]}


def _next(prompt: Prompt, answer: str, asked: str, turn: int) -> Prompt:
    """The same conversation with its answer and the next question: ``mt-81``, then ``mt-81-2``."""
    longer = prompt.conversation.with_answer(answer)
    messages = (*longer.messages, Message(role="user", content=asked))
    return replace(prompt, id=f"{_question(prompt.id)}-{turn}", conversation=Conversation(messages))


def _question(ident: str) -> str:
    """``mt-81`` of ``mt-81-2``."""
    return "-".join(ident.split("-")[:2])


def _written(conv: Conversation) -> str:
    shown = [message for message in conv.messages if message.role not in SYSTEM_ROLES]
    return "\n\n".join(f"{message.role.capitalize()}: {message.text}" for message in shown)
