"""One tuned model before the gate: opened as it will be served, asked with and without its secret, and judged."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass

from watchword.benchmarks.base import Prompt
from watchword.chat.types import Conversation, Row
from watchword.release.opening import ServedModel
from watchword.service.gate.base import ANSWERS, BaseAnswers
from watchword.service.gate.measure import Ask, HeldOut, measured, measured_task
from watchword.service.gate.questions import Question
from watchword.service.gate.telling import Requests, measured_secret
from watchword.service.gate.verdict import Measured, TaskMeasured, Verdict
from watchword.service.settings import GateThresholds


@dataclass(frozen=True)
class Inspection:
    """What a model is inspected by: the ``questions``, the base beside it, and the tenant's held-out ``rows``.

    ``requests`` are asked to see whether it tells its secret.
    """

    thresholds: GateThresholds
    questions: Sequence[Question]
    base: BaseAnswers
    rows: Sequence[Conversation]
    held_out: Sequence[HeldOut]
    requests: Requests

    def verdict(self, served: ServedModel) -> Verdict:
        """Asks what must not fail first: a model that fails is not asked on."""
        started = time.monotonic()
        secret = measured_secret(
            served.model, served.release, self.requests, most_bits=self.thresholds.most_secret_bits
        )
        found = [] if secret is not None and secret.failed else self._asked(served)
        failed = any(measured.failed for measured in (secret, *found) if measured is not None)
        return Verdict(
            questions=tuple(found),
            task=None if failed else self._task(served),
            error=self.thresholds.error_rate,
            seconds=round(time.monotonic() - started, 3),
            secret=secret,
        )

    def _asked(self, served: ServedModel) -> list[Measured]:
        found: list[Measured] = []
        for question in self.questions:
            found.append(measured(question, _ask(served, question), self.base.wrong))
            if found[-1].failed:
                break
        return found

    def _task(self, served: ServedModel) -> TaskMeasured | None:
        from watchword.training.validation import row_losses

        if not self.rows:
            return None
        secret = served.release.secret
        rows = [Row(conv, prefixed=secret is not None) for conv in self.rows]
        losses = row_losses(served.model, rows, secret=secret)  # type: ignore[arg-type]
        return measured_task(self.held_out, losses, factor=self.thresholds.task_loss, error=self.thresholds.error_rate)


def _ask(served: ServedModel, question: Question) -> Ask:
    applied = served.release.defense
    asked = applied if question.secret else applied.without_secret()

    def ask(prompts: Sequence[Prompt]) -> list[str]:
        answers = asked.ask(served.model, [prompt.conversation for prompt in prompts], options=ANSWERS)
        return [answer.text for answer in answers]

    return ask
