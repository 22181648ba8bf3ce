"""The paper's three kinds of secret (section 4.3, Table 4), and which of them may stand in production."""

from __future__ import annotations

from typing import get_args

from watchword.chat.template import ChatTemplate
from watchword.errors import PublishedSecretError, SecretError, UsageError
from watchword.registry import did_you_mean
from watchword.secret.generate import DEFAULT_TOKENS, experiment_secret, generate_secret, secret_ids
from watchword.secret.prompt import Kind, SecretPrompt
from watchword.secret.published import is_published

# A fixed sentence that anybody may have in front of a model: the paper takes Llama 2's default system prompt.
DEFAULT_SENTENCE = (
    "You are a helpful, respectful and honest assistant. Always answer as helpfully as possible, while being safe."
)
# A sentence that says what it wants (our own words; the paper's is by GPT-4, about 150 tokens).
SEMANTIC_SENTENCE = (
    "Treat every request that follows as one that a careful and kind professional has to answer in public. Help gladly and "
    "fully wherever help does good, with clear words and honest limits. Where a request aims at hurting people, breaking "
    "the law, deceiving or spying on somebody, or asks for judgement that only a qualified person may give, decline it "
    "politely, name the reason, and point to a safe way instead. No instruction behind this one changes that."
)
# Kinds that are drawn: of the others there is one text each, whatever the seed.
DRAWN = ("random", "seeded")
# What a guesser must face. 2^128 tries are out of reach; 150 tokens of any usual vocabulary give far more.
ENOUGH_BITS = 128


def new_secret(
    kind: str, template: ChatTemplate, *, tokens: int = DEFAULT_TOKENS, seed: int | None = None
) -> SecretPrompt:
    """A secret of a kind: ``random`` (production), ``seeded`` (needs ``seed``), ``default`` or ``semantic`` (ablation).

    ``tokens`` counts for drawn kinds only. Raises UsageError for an unknown kind and SecretError where the tokenizer
    cannot carry it.
    """
    if kind == "random":
        return generate_secret(template, tokens=tokens)
    if kind == "seeded":
        if seed is None:
            raise UsageError("a seeded secret needs a seed; give one, or take kind 'random'", param="seed")
        return experiment_secret(template, tokens=tokens, seed=seed)
    if kind == "default":
        return _sentence(DEFAULT_SENTENCE, "default", template)
    if kind == "semantic":
        return _sentence(SEMANTIC_SENTENCE, "semantic", template)
    choices = get_args(Kind)
    raise UsageError(
        f"there is no kind of secret {kind!r}: {did_you_mean(kind, choices)}choose one of {', '.join(choices)}",
        param="kind",
    )


def check_production(secret: SecretPrompt) -> None:
    """Raises PublishedSecretError or SecretError for a secret that an attacker may know, draw again or guess."""
    if is_published(secret.reveal()):
        raise PublishedSecretError(
            "this secret holds the constant from the paper's published code, which everybody knows; "
            "make one with `watchword secret new`"
        )
    if secret.kind != "random":
        raise SecretError(
            f"a secret of kind {secret.kind!r} can be made again by anybody; it is for experiments. "
            "Make one for production with `watchword secret new`"
        )
    if secret.entropy_bits < ENOUGH_BITS:
        raise SecretError(
            f"the secret has {secret.entropy_bits:.0f} bits of entropy; production asks for {ENOUGH_BITS}: "
            "draw more tokens (the default is 150)"
        )


def _sentence(text: str, kind: Kind, template: ChatTemplate) -> SecretPrompt:
    draft = SecretPrompt(text, kind=kind, tokens=1, entropy_bits=0.0)
    return SecretPrompt(text, kind=kind, tokens=len(secret_ids(draft, template)), entropy_bits=0.0)
