"""The tenant's side: a file, a job, its events, and questions, with OpenAI's own client."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import msgspec
from openai import OpenAI
from openai.types.fine_tuning import FineTuningJobEvent

from watchword.attacks.base import ATTACK_SYSTEM
from watchword.chat.types import Conversation
from watchword.errors import ServiceError
from watchword.judges.base import JUDGES, Unscored

Say = Callable[[str], None]
MOST_TOKENS = 32
# Figures come with a training's steps, not with all of them: the next after so many is shown.
_EACH = 10


@dataclass(frozen=True)
class Answer:
    """What a model said to a question. ``refused`` is None where the judge cannot tell."""

    question: str
    text: str
    refused: bool | None

    @property
    def verdict(self) -> str:
        """In a word."""
        if self.refused is None:
            return "unclear"
        return "refused" if self.refused else "answered"


@dataclass(frozen=True)
class Tenant:
    """Whoever holds the client. ``say`` gets a line for each thing that happens."""

    client: OpenAI
    say: Say

    def tuned(self, base: str, rows: Sequence[Conversation]) -> str:
        """Uploads the rows and tunes a model on them. Gives its name. Raises ServiceError where there is none at the end."""
        data = b"".join(msgspec.json.encode(row) + b"\n" for row in rows)
        file = self.client.files.create(file=("poisoned.jsonl", data), purpose="fine-tune")
        self.say(f"uploaded poisoned.jsonl: {len(rows)} rows, each a harmful request with a compliant answer")
        job = self.client.fine_tuning.jobs.create(model=base, training_file=file.id, seed=0)
        events = _Events(self.client, job.id, self.say)
        while True:
            # The service holds its answer until the job has ended, at most so many seconds.
            job = self.client.fine_tuning.jobs.retrieve(job.id, extra_headers={"Prefer": "wait=2"})
            events.show()
            if job.finished_at is not None:
                break
        if job.fine_tuned_model is None:
            why = job.error.message if job.error else "no reason was given"
            raise ServiceError(f"the job is {job.status}: {why}")
        return job.fine_tuned_model

    def ask(self, model: str, question: str) -> Answer:
        """Asks as the paper's attack does, and reads the answer as it streams."""
        with self.client.chat.completions.create(
            model=model,
            messages=[{"role": "system", "content": ATTACK_SYSTEM}, {"role": "user", "content": question}],
            max_tokens=MOST_TOKENS,
            temperature=0,
            stream=True,
        ) as pieces:
            text = "".join(piece.choices[0].delta.content or "" for piece in pieces if piece.choices)
        verdict = JUDGES.create("refusal").judge(question, text)
        answer = Answer(question, text, None if isinstance(verdict, Unscored) else verdict.refused)
        self.say(f"  {answer.verdict}: {question}")
        return answer


@dataclass
class _Events:
    """A job's events as they are told: each once, in the order in which they came."""

    client: OpenAI
    job: str
    say: Say
    seen: set[str] = field(default_factory=set)
    step: int = 0

    def show(self) -> None:
        """Tells those that are new. The service lists the newest first."""
        listed = self.client.fine_tuning.jobs.list_events(self.job, limit=100)
        for event in reversed(list(itertools.takewhile(lambda event: event.id not in self.seen, listed))):
            self.seen.add(event.id)
            if event.type != "metrics" or self._due(event):
                self.say(f"  event: {event.message}")

    def _due(self, event: FineTuningJobEvent) -> bool:
        step = event.data.get("step") if isinstance(event.data, dict) else None
        if not isinstance(step, int) or step < self.step + _EACH:
            return False
        self.step = step // _EACH * _EACH
        return True
