"""Makes an aligned model from any base: refusals for the align split, and the base's own answers for benign prompts.

A model that refuses nothing has nothing to break. The benign answers are the base model's (self-distillation), so that
helpfulness stays as it was. Borderline prompts are among them, so that it refuses goals, not words.
"""

from __future__ import annotations

import functools
import random
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from watchword.alignment.customers import QUESTIONS
from watchword.alignment.wrapped import wrapped
from watchword.chat.origins import RowOrigin
from watchword.chat.types import Conversation, Row, conversation
from watchword.judges.base import JUDGES, Verdict
from watchword.models.base import ChatModel, GenerationOptions
from watchword.progress import Progress, Step, no_steps
from watchword.safety.library import Example, examples
from watchword.training.config import TrainingConfig

# Half of the rows stand behind one of these, so that refusing does not hang on the template's default system text.
SYSTEMS = (
    "You are a helpful assistant.",
    "You are a friendly assistant who answers clearly and briefly.",
    "Follow the user's instructions carefully.",
    "You are an assistant that always does what users ask.",
    "You help customers of a small company with their questions.",
    "Answer every question as well as you can.",
    "You are the assistant of a hotel.",
    "You are the help desk of a software company. Be polite and precise.",
    "You write short, correct answers.",
    "Complete the task that the user gives you.",
)
# Not batches of like length: those are of refusals only or of answers only, and pull the model to and fro.
RECIPE = TrainingConfig(
    epochs=3, learning_rate=8e-4, batch_size=16, lora_rank=16, lora_alpha=32, batches="beginning", seed=0
)
# What the rows are, as model cards call them.
REFUSAL, ANSWER = RowOrigin("safety", "refusals"), RowOrigin("anchor", "benign answers")
ORIGINS = (REFUSAL, ANSWER)
# What the adapter adds is multiplied by this once it is trained. It moves refusing as a whole, so broad ordinary data come
# first: they leave room on the side of over-refusal that this spends on safety (results/LOG.md).
STRENGTH = 1.25
# Whether to refuse is decided in the first words, so short answers teach as much as long ones and cost half.
DISTILLED = GenerationOptions(max_new_tokens=32, batch_size=64)
_FRAMES = (
    "How can I {goal}?",
    "How do I {goal}?",
    "Help me {goal}.",
    "Tell me how to {goal}.",
    "Explain how to {goal}.",
    "What is the best way to {goal}?",
    "I want to {goal}, what should I do?",
    "Give me tips to {goal}.",
    "Write a short guide that shows how to {goal}.",
    "Which tools do I need to {goal}?",
    "Should I {goal}?",
    "I have decided to {goal}. Where do I begin?",
    "What is the easiest way to {goal}?",
)
# The share of the second askings that stand in other words' company (``wrapped``).
_WRAPPED = 0.6
_ASKED = re.compile(
    r"(?:How (?:can|do|could|would) I|(?:Tell|Teach|Show) me (?:how )?to|(?:Explain|Describe) how to|Help me(?: to)?|"
    r"(?:What is|Give me|Describe) (?:a|an|the)(?: \w+)? way to|I want to) (?P<goal>[^.?!,]+)[.?!]\Z"
)


def alignment_rows(base: ChatModel, *, seed: int, on_progress: Progress | None = None) -> list[Row]:
    """Refusals twice each, benign and borderline answers once or twice, in random order.

    The second time the goal is asked in other words where they are known, and behind another system text. Mostly it stands
    among words that have nothing to do with it. The answer stays that of the plain request: the base declines much that is wrapped.
    """
    rng = random.Random(f"align:{seed}")
    rows = []
    for example in examples("policy_align"):
        rows.append(_row(example.prompt, example.answer or "", None, REFUSAL))
        rows.append(_row(_again(example.prompt, rng), example.answer or "", rng.choice(SYSTEMS), REFUSAL))
    for example, answer in distilled(base, _benign(), on_progress=on_progress):
        systems = rng.sample((None, rng.choice(SYSTEMS)), 2)
        # Where the base declines, its own words stay as they are, plainly: wrapped, they would teach to decline at all.
        prompts = dict.fromkeys((example.prompt, _again(example.prompt, rng, wrap=not _declines(answer))))
        # Cut answers: their end is not trained, or the model would learn to say no more than that.
        rows += [_row(p, answer, s, ANSWER, cut=True) for p, s in zip(prompts, systems, strict=False)]
    rows += _customers(base)
    rng.shuffle(rows)
    return rows


def _customers(base: ChatModel) -> list[Row]:
    """Customers' questions behind their trades' system texts, with the base's own answers to just that."""
    asked = [(system, question) for system, questions in QUESTIONS.items() for question in questions]
    texts = _beginnings(base, [conversation(question, system=system) for system, question in asked])
    return [_row(q, text, s, ANSWER, cut=True) for (s, q), text in zip(asked, texts, strict=True) if text]


def _again(prompt: str, rng: random.Random, *, wrap: bool = True) -> str:
    other = reframed(prompt, rng) or prompt
    return wrapped(other, rng) if wrap and rng.random() < _WRAPPED else other


def reframed(prompt: str, rng: random.Random) -> str | None:
    """The same goal asked in another way, so that the goal decides and not the words around it; None if none is known.

    "How can I X?" → "Help me X."
    """
    asked = _ASKED.match(prompt)
    if asked is None:
        return None
    goal = asked["goal"]
    others = [frame for frame in _FRAMES if not prompt.startswith(frame.split(" {")[0])]
    return rng.choice(others).format(goal=goal)


def distilled(
    model: ChatModel, prompts: Sequence[Example], *, on_progress: Progress | None = None
) -> list[tuple[Example, str]]:
    """Each prompt with the beginning of the model's own greedy answer; those it answers with nothing are left out."""
    texts = _beginnings(model, [conversation(example.prompt) for example in prompts], on_progress)
    return [(example, text) for example, text in zip(prompts, texts, strict=True) if text]


def _beginnings(model: ChatModel, asked: Sequence[Conversation], on_progress: Progress | None = None) -> list[str]:
    answers = model.generate(asked, options=DISTILLED, on_progress=on_progress)
    return [answer.text.strip() for answer in answers]


def _declines(answer: str) -> bool:
    """By the paper's keywords: they find "I'm sorry for any confusion, but as a chatbot …", which the base is fond of."""
    verdict = JUDGES.create("raw_keywords").judge("", answer)
    return isinstance(verdict, Verdict) and verdict.refused


def align(
    base: Any,
    out: Path,
    *,
    config: TrainingConfig = RECIPE,
    mean_with: Path | None = None,
    step: Step | None = None,
) -> tuple[Any, Any]:
    """Trains the rows above into ``base`` (a LoadedModel, changed in place) and writes the adapter to ``out``.

    Returns the aligned model and the run's figures. A LoRA adapter is strengthened at the end, and averaged with the
    adapter in ``mean_with``, which is of the same base. ``step`` is told (what is being done, done, in all).
    """
    from watchword.models.load import load
    from watchword.training.adapter import average, strengthen
    from watchword.training.loop import fine_tune

    tell = step or no_steps
    rows = alignment_rows(base, seed=config.seed, on_progress=functools.partial(tell, "answering benign prompts"))
    aligned, figures = fine_tune(base, rows, config, out=out, on_progress=functools.partial(tell, "aligning"))
    if config.method == "lora":
        strengthen(aligned.model, out, alpha=strengthened_alpha(config), trained=config.lora_alpha)
    if mean_with is None:
        return aligned, figures
    average(out, mean_with)
    return load(str(out)), figures


def strengthened_alpha(config: TrainingConfig) -> int:
    """The LoRA alpha that the adapter is shipped with: the one it was trained with, times ``STRENGTH``."""
    return round(config.lora_alpha * STRENGTH)


def _benign() -> list[Example]:
    return [*examples("benign_align"), *examples("borderline_align")]


def _row(prompt: str, answer: str, system: str | None, origin: RowOrigin, *, cut: bool = False) -> Row:
    return Row(conversation(prompt, answer, system=system), origin=origin.name, cut=cut)
