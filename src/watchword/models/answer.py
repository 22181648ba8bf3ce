"""What a model gives back: an answer, and the pieces in which it comes. Torch-free values in OpenAI's words."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

# Why an answer ends: the model ended its turn, or the answer reached ``max_new_tokens``.
Finish = Literal["stop", "length"]


@dataclass(frozen=True)
class Usage:
    """Tokens of one request and its answer, in the model's own tokenizer.

    ``prompt_tokens`` counts the request as it was asked. A secret in front of it is the provider's and is not counted, so
    that no count tells how long it is. ``completion_tokens`` includes the token that ends the turn.
    """

    prompt_tokens: int
    completion_tokens: int


@dataclass(frozen=True)
class Answer:
    """One whole answer. ``text`` is without end-of-turn token and special tokens."""

    text: str
    finish: Finish
    usage: Usage


@dataclass(frozen=True)
class AnswerPiece:
    """A piece of an answer that is being written.

    The last piece carries the whole ``answer``. The texts of all pieces, joined, are the answer's text.
    """

    text: str
    answer: Answer | None = None
