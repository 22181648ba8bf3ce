"""Drawing a secret prompt: random tokens whose text, in its place in the prompt, encodes to the same tokens again.

The paper samples 150 random ids and keeps their decoded text (section 3.3). Encoded again, that text can be other
tokens, and more of them. Here the secret grows token by token behind the template's own header, and a token that does
not survive there is drawn again. So what is counted, trained and served is one and the same sequence.
"""

from __future__ import annotations

import functools
import math
import random
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from watchword.chat.assembly import assemble
from watchword.chat.render import prompt_text
from watchword.chat.template import ChatTemplate
from watchword.chat.types import conversation
from watchword.errors import SecretError, TemplateError, UsageError
from watchword.secret.prompt import Kind, SecretPrompt

DEFAULT_TOKENS = 150
_MARK = "QQSECRETQQ"
# Draws for one place before the tokenizer counts as unable to carry a secret, and whole secrets tried.
_DRAWS, _SECRETS = 2_000, 20


class _Source(Protocol):
    def randrange(self, stop: int, /) -> int: ...


def generate_secret(template: ChatTemplate, *, tokens: int = DEFAULT_TOKENS) -> SecretPrompt:
    """A production secret of exactly ``tokens`` tokens from the operating system's CSPRNG.

    Raises UsageError for fewer than one token and SecretError where the tokenizer cannot carry one.
    """
    return _drawn(template, tokens, secrets.SystemRandom(), "random")


def experiment_secret(template: ChatTemplate, *, tokens: int = DEFAULT_TOKENS, seed: int) -> SecretPrompt:
    """A secret that anybody can draw again from its seed: for experiments, refused in production."""
    return _drawn(template, tokens, random.Random(f"secret:{seed}"), "seeded")


def secret_ids(secret: SecretPrompt, template: ChatTemplate) -> list[int]:
    """The secret's ids where it stands in a prompt.

    Raises SecretError if they are not a whole number of tokens there, as with another tokenizer than it was drawn for.
    """
    place = _place(template)
    ids = place.ids_of(secret.reveal(), template)
    if ids is None or not place.holds(secret.reveal(), ids, template):
        raise SecretError("the secret does not keep its tokens in this chat template; draw one for this model")
    return ids


def text_before(template: ChatTemplate) -> str:
    """What the template writes in front of every secret. Raises TemplateError where it cannot carry one."""
    return _place(template).head


@dataclass(frozen=True)
class _Place:
    """Where secrets stand: the text and ids in front of them, and the texts that may follow."""

    head: str
    head_ids: list[int]
    tails: tuple[str, ...]

    def ids_of(self, text: str, template: ChatTemplate) -> list[int] | None:
        """The ids of ``text`` behind the header; None where the two merge."""
        ids = template.encode(self.head + text)
        return ids[len(self.head_ids) :] if ids[: len(self.head_ids)] == self.head_ids else None

    def holds(self, text: str, ids: Sequence[int], template: ChatTemplate) -> bool:
        """Whether ``ids`` stand unchanged between the header and whatever follows."""
        front = [*self.head_ids, *ids]
        return all(template.encode(self.head + text + tail)[: len(front)] == front for tail in self.tails)


def _place(template: ChatTemplate) -> _Place:
    with_system = assemble(conversation("QQUSER", system="QQSYSTEM"), _MARK, template.system_style)
    without = assemble(conversation("QQUSER"), _MARK, template.system_style)
    texts = [prompt_text(conv, template) for conv in (with_system, without)]
    if any(text.count(_MARK) != 1 for text in texts):
        raise TemplateError("the chat template drops or repeats the system text, so it cannot carry a secret")
    heads, tails = zip(*(text.split(_MARK) for text in texts), strict=True)
    if len(set(heads)) != 1:
        raise TemplateError(
            "the chat template begins differently with a system text, so the secret's place is not fixed"
        )
    return _Place(heads[0], template.encode(heads[0]), tails)


def _drawn(template: ChatTemplate, tokens: int, source: _Source, kind: Kind) -> SecretPrompt:
    if tokens < 1:
        raise UsageError(
            f"the secret's length is {tokens} tokens; give at least 1 (the paper uses 150)", param="tokens"
        )
    place, candidates = _place(template), _candidates(template)
    draws = 0
    for _ in range(_SECRETS):
        grown, tried = _grow(template, tokens, source, place, candidates)
        draws += tried
        text = template.decode(grown)
        if place.holds(text, grown, template):
            return SecretPrompt(text, kind=kind, tokens=tokens, entropy_bits=_entropy(tokens, len(candidates), draws))
    raise SecretError(
        f"no secret of {tokens} tokens keeps its tokens in this chat template; try another length or model"
    )


def _grow(
    template: ChatTemplate, tokens: int, source: _Source, place: _Place, candidates: Sequence[int]
) -> tuple[list[int], int]:
    """The ids of one secret, and how many draws they took."""
    ids: list[int] = []
    draws = 0
    while len(ids) < tokens:
        for _ in range(_DRAWS):
            draws += 1
            longer = [*ids, candidates[source.randrange(len(candidates))]]
            text = template.decode(longer)
            # Templates trim system texts, so white space may not stand at either end.
            if text == text.strip() and place.ids_of(text, template) == longer:
                break
        else:
            raise SecretError("the tokenizer has too few tokens that keep their place in a text to make a secret of")
        ids = longer
    return ids, draws


@functools.lru_cache(maxsize=8)
def _candidates(template: ChatTemplate) -> tuple[int, ...]:
    """Ordinary tokens: no special or added ones, and text that can be printed, U+FFFD apart."""
    added = set(template.tokenizer.get_added_tokens_decoder())
    texts = ((token, template.decode([token])) for token in range(template.tokenizer.get_vocab_size()))
    found = tuple(
        token
        for token, text in texts
        if token not in added and text.strip() and text.isprintable() and "\ufffd" not in text
    )
    if len(found) < 2:
        raise SecretError(f"the tokenizer has {len(found)} ordinary tokens; a secret needs at least 2 to draw from")
    return found


def _entropy(tokens: int, candidates: int, draws: int) -> float:
    """Bits that a guesser faces. Rejected draws shrink the choice at each place, on average to ``tokens / draws`` of it."""
    return tokens * max(0.0, math.log2(candidates * min(1.0, tokens / draws)))
