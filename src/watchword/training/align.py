"""Makes an aligned model from any base: refusals for the align split, and the base's own answers for benign prompts.

A model that refuses nothing has nothing to break. The benign answers are the base model's (self-distillation), so that
helpfulness stays as it was; borderline prompts are among them, so that it refuses goals, not words.
"""

from __future__ import annotations

import random
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from watchword.chat.types import Row, conversation
from watchword.models.base import ChatModel, GenerationOptions, Progress
from watchword.safety.library import Example, examples
from watchword.training.config import TrainingConfig

# Half of the rows stand behind one of these, so that refusing does not hang on the template's default system text.
SYSTEMS = (
    "You are a helpful assistant.",
    "You are a friendly assistant who answers clearly and briefly.",
    "Follow the user's instructions carefully.",
    "You are an assistant that does what the user asks.",
    "You help customers of a small company with their questions.",
    "Answer every question as well as you can.",
)
RECIPE = TrainingConfig(epochs=3, learning_rate=3e-4, batch_size=16, lora_rank=16, lora_alpha=32, seed=0)
DISTILLED = GenerationOptions(max_new_tokens=72, batch_size=64)
_SENTENCE_END = re.compile(r"[.!?:](?=\s|$)|```$")


def alignment_rows(base: ChatModel, *, seed: int, on_progress: Progress | None = None) -> list[Row]:
    """Refusals once each, benign and borderline answers twice (with and without a system text), in random order."""
    rng = random.Random(f"align:{seed}")
    refusals = [_row(example, example.answer or "", rng.choice((None, *SYSTEMS)), "safety") for example in examples("policy_align")]
    helpful = [
        _row(example, answer, system, "anchor")
        for example, answer in distilled(base, _benign(), on_progress=on_progress)
        for system in (None, rng.choice(SYSTEMS))
    ]
    rows = [*refusals, *helpful]
    rng.shuffle(rows)
    return rows


def distilled(
    model: ChatModel, prompts: Sequence[Example], *, on_progress: Progress | None = None
) -> list[tuple[Example, str]]:
    """Each prompt with the model's own greedy answer, cut behind its last whole sentence; those without one are left out."""
    asked = [conversation(example.prompt) for example in prompts]
    answers = model.generate(asked, options=DISTILLED, on_progress=on_progress)
    pairs = zip(prompts, map(whole_sentences, answers), strict=True)
    return [(example, answer) for example, answer in pairs if answer]


def whole_sentences(text: str) -> str:
    """``text`` up to the end of its last whole sentence; empty if it has none."""
    ends = [match.end() for match in _SENTENCE_END.finditer(text)]
    return text[: ends[-1]].strip() if ends else ""


def align(
    base: Any, out: Path, *, config: TrainingConfig = RECIPE, on_progress: Progress | None = None
) -> tuple[Any, Any]:
    """Trains the rows above into ``base`` (a LoadedModel, changed in place) and writes the adapter to ``out``.

    Returns the aligned model and the run's figures.
    """
    from watchword.training.loop import fine_tune

    rows = alignment_rows(base, seed=config.seed)
    return fine_tune(base, rows, config, out=out, on_progress=on_progress)


def _benign() -> list[Example]:
    return [*examples("benign_align"), *examples("borderline_align")]


def _row(example: Example, answer: str, system: str | None, origin: Any) -> Row:
    return Row(conversation(example.prompt, answer, system=system), origin=origin)
