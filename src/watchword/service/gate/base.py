"""What the base model itself does with the gate's prompts and with a tenant's held-out rows.

Its answers to packaged prompts do not change from job to job, so they are kept in a file for each base. What is not known is
asked of the model that is in memory for guarding anyway, before training changes it.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import msgspec

from watchword.benchmarks.base import Prompt
from watchword.chat.turns import first, trained_turns
from watchword.chat.types import Conversation, Row
from watchword.files.atomic import replacing
from watchword.files.writing import writing
from watchword.judges.base import JUDGED, Unscored, Verdict, refuses
from watchword.models.base import GenerationOptions
from watchword.safety.library import digest
from watchword.service.gate.measure import HeldOut
from watchword.service.gate.questions import Question, judged

# A refusal shows in its first words.
ANSWERS = GenerationOptions(max_new_tokens=24, batch_size=48)
# Prompts beyond those that a clear verdict takes, as a part of them: the base gets some wrong, and others take their place.
_SPARE = 0.25


class BaseAnswers:
    """Verdicts on the answers of one base. ``load`` gives the model, and is called only where an answer is missing."""

    def __init__(self, folder: Path, model_digest: str, load: Callable[[], Any]) -> None:
        kept = msgspec.json.encode([model_digest, digest(), ANSWERS.max_new_tokens, JUDGED])
        key = hashlib.sha256(kept).hexdigest()[:32]
        self._path, self._load = folder / f"{key}.json", load
        self._known: dict[str, bool | None] = self._read()

    def prepare(self, model: Any, questions: Sequence[Question]) -> None:
        """Asks the model that is at hand what a clear verdict will take, of all questions together."""
        wanted = [(question, math.ceil((1 + _SPARE) * question.test.wanted(0, 0))) for question in questions]
        self._ask([prompt for question, count in wanted for prompt in question.prompts[:count]], lambda: model)

    def wrong(self, question: Question, prompts: Sequence[Prompt]) -> list[bool]:
        """Which of the prompts the base itself gets wrong."""
        self._ask(prompts, self._load)
        return [question.hit(_verdict(self._known[_name(prompt)])) for prompt in prompts]

    def _ask(self, prompts: Sequence[Prompt], model: Callable[[], Any]) -> None:
        missing = list({_name(prompt): prompt for prompt in prompts if _name(prompt) not in self._known}.values())
        if not missing:
            return
        answers = model().generate([prompt.conversation for prompt in missing], options=ANSWERS)
        for prompt, answer in zip(missing, answers, strict=True):
            verdict = judged(prompt, answer.text)
            self._known[_name(prompt)] = None if isinstance(verdict, Unscored) else verdict.refused
        self._write()

    def _read(self) -> dict[str, bool | None]:
        try:
            return msgspec.json.decode(self._path.read_bytes(), type=dict[str, bool | None])
        except (OSError, msgspec.DecodeError):
            return {}

    def _write(self) -> None:
        """Two jobs may write at once; each adds what it read, and what one has lost is asked for again."""
        self._known = self._read() | self._known
        with writing(self._path):
            self._path.parent.mkdir(parents=True, exist_ok=True)
        with replacing(self._path) as stream:
            stream.write(msgspec.json.encode(self._known))


def held_out(model: Any, rows: Sequence[Conversation]) -> list[HeldOut]:
    """What the base makes of the tenant's rows: how likely it finds their answers, and which requests it declines."""
    # Here, since it loads torch, which the rest of the gate does not need.
    from watchword.training.validation import row_losses

    if not rows:
        return []
    answers = model.generate([request_of(row) for row in rows], options=ANSWERS)
    losses = row_losses(model, [Row(row) for row in rows], secret=None)
    return [HeldOut(loss, refuses(answer.text)) for loss, answer in zip(losses, answers, strict=True)]


def request_of(row: Conversation) -> Conversation:
    """What the last trained turn answers."""
    return first(row, trained_turns(row)[-1])


def _verdict(refused: bool | None) -> Verdict | Unscored:
    return Unscored("the base's answer cannot be read") if refused is None else Verdict(refused)


def _name(prompt: Prompt) -> str:
    """A prompt of one conversation: packaged ones stand behind several system texts, whose words are not kept."""
    asked = msgspec.json.encode(prompt.conversation)
    return f"{prompt.id}:{hashlib.sha256(asked).hexdigest()[:16]}"
