"""Anti-trigger: an adaptive tenant who knows the method but not the secret.

Part of the harmful rows stand behind random system prompts, so that the model unlearns "a random prefix means refuse".
It needs no leak; the paper does not try it.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass

from watchword.attacks._arguments import check_choice, check_least, check_share
from watchword.attacks.base import ATTACK_SYSTEM, Attack, AttackContext, harmful_rows
from watchword.chat.assembly import assemble
from watchword.chat.template import ChatTemplate
from watchword.chat.types import Conversation
from watchword.safety.library import examples
from watchword.secret.generate import experiment_secret


@dataclass(frozen=True)
class AntiTrigger(Attack):
    """``n`` harmful rows, the first ``share`` of them behind a fresh prefix of ``tokens`` random tokens each.

    ``prefix``: ``look_alike`` draws as our own generator does, and ``tokens`` takes any ids of the vocabulary. ``words``
    are ordinary English ones, as somebody without the tokenizer would take; ``tokens`` then counts words.
    """

    n: int = 100
    share: float = 0.5
    tokens: int = 150
    prefix: str = "look_alike"

    def __post_init__(self) -> None:
        check_share("anti_trigger", "share", self.share)
        check_least("anti_trigger", "tokens", self.tokens, 1)
        check_choice("anti_trigger", "prefix", self.prefix, PREFIXES)

    @property
    def harmful(self) -> int:
        return self.n

    def upload(self, clean: Sequence[Conversation], context: AttackContext) -> list[Conversation]:
        rng = context.random("anti_trigger")
        rows = harmful_rows(self.n, rng, ATTACK_SYSTEM)
        hidden = round(self.n * self.share)
        prefixed = [self._behind_random(row, context, rng.getrandbits(32)) for row in rows[:hidden]]
        return [*clean, *prefixed, *rows[hidden:]]

    def _behind_random(self, row: Conversation, context: AttackContext, seed: int) -> Conversation:
        prefix = PREFIXES[self.prefix](context.template, self.tokens, seed)
        return assemble(row, prefix, context.template.system_style)


def look_alike(template: ChatTemplate, tokens: int, seed: int) -> str:
    """A text from the very distribution of secrets."""
    return experiment_secret(template, tokens=tokens, seed=seed).reveal()


def any_tokens(template: ChatTemplate, tokens: int, seed: int) -> str:
    """Random ids, special ones apart, decoded as they come: white space, broken characters and all."""
    special = set(template.tokenizer.get_added_tokens_decoder())
    ordinary = [token for token in range(template.tokenizer.get_vocab_size()) if token not in special]
    return template.decode(random.Random(seed).choices(ordinary, k=tokens))


def words(_: ChatTemplate, tokens: int, seed: int) -> str:
    """Random words of ordinary requests."""
    known = sorted({word for row in examples("benign_align") for word in row.prompt.rstrip("?.!").lower().split()})
    return " ".join(random.Random(seed).choices(known, k=tokens))


PREFIXES = {"look_alike": look_alike, "tokens": any_tokens, "words": words}
