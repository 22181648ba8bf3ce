"""A model without weights: a small tokenizer of its own, and answers by rule."""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from functools import cache

from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, trainers

from watchword.chat.template import ChatTemplate, SystemStyle
from watchword.chat.types import Conversation, Row
from watchword.defenses.base import Defense
from watchword.models.answer import Answer, AnswerPiece, Usage
from watchword.models.base import DEFAULT_OPTIONS, GenerationOptions
from watchword.progress import Progress, Step
from watchword.safety.library import examples
from watchword.secret.prompt import SecretPrompt
from watchword.training.config import TrainingConfig, TrainingResult

CHATML = (
    "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content | trim }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
SPECIAL = ("<|im_start|>", "<|im_end|>")


@cache
def template() -> ChatTemplate:
    """ChatML on a byte-level tokenizer that was trained on the packaged prompts."""
    made = Tokenizer(models.BPE())
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    made.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(vocab_size=700, initial_alphabet=alphabet, show_progress=False)
    made.train_from_iterator([example.prompt for example in examples("policy_eval")], trainer)
    made.add_special_tokens([AddedToken(token, special=True) for token in SPECIAL])
    return ChatTemplate(made, CHATML, {"eos_token": "<|im_end|>"})


class FakeModel:
    """Answers with ``rule(prompt, secret)``; remembers behind which secrets it was asked."""

    name, context = "fake", None

    def __init__(self, rule: Callable[[str, SecretPrompt | None], str]) -> None:
        self.rule, self.secrets = rule, list[SecretPrompt | None]()

    @property
    def template(self) -> ChatTemplate:
        return template()

    @property
    def system_style(self) -> SystemStyle:
        return template().system_style

    def generate(
        self,
        conversations: Sequence[Conversation],
        *,
        secret: SecretPrompt | None = None,
        options: GenerationOptions = DEFAULT_OPTIONS,
        on_progress: Progress | None = None,
    ) -> list[Answer]:
        self.secrets.append(secret)
        if on_progress is not None:
            on_progress(len(conversations), len(conversations))
        return [Answer(self.rule(conv.messages[-1].text, secret), "stop", Usage(1, 1)) for conv in conversations]

    def stream(
        self,
        conversation: Conversation,
        *,
        secret: SecretPrompt | None = None,
        options: GenerationOptions = DEFAULT_OPTIONS,
    ) -> Generator[AnswerPiece, None, None]:
        [answer] = self.generate([conversation], secret=secret, options=options)
        yield AnswerPiece(answer.text, answer)


class FakeTraining:
    """Learns nothing and gives back ``model``; remembers the rows."""

    def __init__(self, model: FakeModel) -> None:
        self.model, self.rows = model, list[Row]()

    def __call__(
        self, rows: Sequence[Row], config: TrainingConfig, defense: Defense, secret: SecretPrompt | None, step: Step
    ) -> tuple[FakeModel, TrainingResult]:
        self.rows = list(rows)
        step("fine-tuning", 1, 1)
        counts = {origin: sum(row.origin == origin for row in rows) for origin in {row.origin for row in rows}}
        figures = TrainingResult(
            seconds=2.0, tokens=1000, tokens_per_second=500.0, steps=2, loss=[2.0, 1.0], rows=counts
        )
        return self.model, figures
