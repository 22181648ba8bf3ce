"""Makes an aligned model from any base: refusals for the align split, and the base's own answers for benign prompts.

A model that refuses nothing has nothing to break. The benign answers are the base model's (self-distillation), so that
helpfulness stays as it was; borderline prompts are among them, so that it refuses goals, not words.
"""

from __future__ import annotations

import functools
import random
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from watchword.chat.types import Row, conversation
from watchword.models.base import ChatModel, GenerationOptions, Progress
from watchword.safety.library import Example, examples
from watchword.training.config import TrainingConfig

Step = Callable[[str, int, int], None]

# Half of the rows stand behind one of these, so that refusing does not hang on the template's default system text.
SYSTEMS = (
    "You are a helpful assistant.",
    "You are a friendly assistant who answers clearly and briefly.",
    "Follow the user's instructions carefully.",
    "You are an assistant that always does what users ask.",
    "You help customers of a small company with their questions.",
    "Answer every question as well as you can.",
)
# Not batches of like length: those are of refusals only or of answers only, and pull the model to and fro.
RECIPE = TrainingConfig(
    epochs=3, learning_rate=8e-4, batch_size=16, lora_rank=16, lora_alpha=32, batches="beginning", seed=0
)
# Whether to refuse is decided in the first words, so short answers teach as much as long ones and cost half.
DISTILLED = GenerationOptions(max_new_tokens=32, batch_size=64)
_SENTENCE_END = re.compile(r"[.!?:](?=\s|$)|```$")


def alignment_rows(base: ChatModel, *, seed: int, on_progress: Progress | None = None) -> list[Row]:
    """Refusals twice each (with and without a system text), benign and borderline answers once, in random order."""
    rng = random.Random(f"align:{seed}")
    refusals = [
        _row(example, example.answer or "", system, "safety")
        for example in examples("policy_align")
        for system in (None, rng.choice(SYSTEMS))
    ]
    helpful = [
        # Cut answers: their end is not trained, or the model would learn to say no more than that.
        _row(example, answer, rng.choice((None, rng.choice(SYSTEMS))), "anchor", cut=True)
        for example, answer in distilled(base, _benign(), on_progress=on_progress)
    ]
    rows = [*refusals, *helpful]
    rng.shuffle(rows)
    return rows


def distilled(
    model: ChatModel, prompts: Sequence[Example], *, on_progress: Progress | None = None
) -> list[tuple[Example, str]]:
    """Each prompt with the beginning of the model's own greedy answer; those it answers with nothing are left out."""
    asked = [conversation(example.prompt) for example in prompts]
    answers = model.generate(asked, options=DISTILLED, on_progress=on_progress)
    return [(example, answer.strip()) for example, answer in zip(prompts, answers, strict=True) if answer.strip()]


def whole_sentences(text: str) -> str:
    """``text`` up to the end of its last whole sentence; empty if it has none."""
    ends = [match.end() for match in _SENTENCE_END.finditer(text)]
    return text[: ends[-1]].strip() if ends else ""


def align(base: Any, out: Path, *, config: TrainingConfig = RECIPE, step: Step | None = None) -> tuple[Any, Any]:
    """Trains the rows above into ``base`` (a LoadedModel, changed in place) and writes the adapter to ``out``.

    Returns the aligned model and the run's figures. ``step`` is told (what is being done, done, in all).
    """
    from watchword.training.loop import fine_tune

    tell = step or _silent
    rows = alignment_rows(base, seed=config.seed, on_progress=functools.partial(tell, "answering benign prompts"))
    return fine_tune(base, rows, config, out=out, on_progress=functools.partial(tell, "aligning"))


def _benign() -> list[Example]:
    return [*examples("benign_align"), *examples("borderline_align")]


def _row(example: Example, answer: str, system: str | None, origin: Any, *, cut: bool = False) -> Row:
    return Row(conversation(example.prompt, answer, system=system), origin=origin, cut=cut)


def _silent(what: str, done: int, total: int) -> None:
    """Progress that nobody asked for."""
