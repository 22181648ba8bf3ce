"""How likely a model thinks a text is as its answer: what multiple-choice questions and perplexity are counted by.

What all prompts share (the secret, the examples in front of a question) is computed once, as in ``decode``.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from watchword.chat.render import prompt_text
from watchword.chat.template import ChatTemplate
from watchword.chat.types import Conversation
from watchword.errors import RowTooLongError, UsageError
from watchword.models.base import Likelihood
from watchword.models.decode import CausalModel, evaluating
from watchword.models.generate import guarded_request
from watchword.models.kv import SharedPrefix
from watchword.models.threads import sharing_cores
from watchword.progress import Progress
from watchword.secret.prompt import SecretPrompt

# Tokens in a batch: few enough for the probabilities of a large vocabulary to fit into memory.
BATCH_TOKENS = 1024
# (prompt's ids, text's ids)
Pair = tuple[list[int], list[int]]
Ids = tuple[int, ...]


def log_likelihoods(
    model: CausalModel,
    conversations: Sequence[Conversation],
    texts: Sequence[str],
    *,
    secret: SecretPrompt | None = None,
    on_progress: Progress | None = None,
) -> list[Likelihood]:
    """Of each text as the answer to the conversation of the same place; the end of the turn is not among its tokens.

    Raises RowTooLongError where a conversation and its text are more than the model can look at.
    """
    pairs = [
        _pair(guarded_request(conv, model.template, secret), text, model.template)
        for conv, text in zip(conversations, texts, strict=True)
    ]
    return token_likelihoods(model, pairs, on_progress=on_progress)


def token_likelihoods(
    model: CausalModel, pairs: Sequence[Pair], *, on_progress: Progress | None = None
) -> list[Likelihood]:
    """Of the ids in the second place of each pair, behind those in the first: neither template nor secret.

    Raises UsageError for a prompt without tokens, and RowTooLongError for more than the model can look at.
    """
    if not all(prompt for prompt, _ in pairs):
        raise UsageError("nothing is likely behind nothing: a prompt has no token; put a first token in front of it")
    _check(pairs, model)
    found: list[Likelihood] = _measured(model, pairs, on_progress)
    return found


@torch.inference_mode()
def _measured(model: CausalModel, pairs: Sequence[Pair], on_progress: Progress | None) -> list[Likelihood]:
    found = [Likelihood(0.0, 0)] * len(pairs)
    if not pairs:
        return found
    done, asked = 0, _asked(pairs)
    with evaluating(model.model), sharing_cores(model.device) as adjust_threads:
        prefix = SharedPrefix.of(model.model, [prompt for prompt, _ in pairs])
        for batch in _batches(list(asked), prefix.length):
            adjust_threads()
            rows = [[pairs[place] for place in asked[ids]] for ids in batch]
            for ids, told in zip(batch, _batch(model, batch, rows, prefix), strict=True):
                for place, likely in zip(asked[ids], told, strict=True):
                    found[place] = likely
                done += len(told)
            if on_progress:
                on_progress(done, len(pairs))
    return found


def _asked(pairs: Sequence[Pair]) -> dict[Ids, list[int]]:
    """What the model must look at, once each, with the places that it answers.

    The last token of all has nothing to tell. So choices of one token, such as letters, are all answered by their question.
    """
    found: dict[Ids, list[int]] = {}
    for place, (prompt, text) in enumerate(pairs):
        found.setdefault((*prompt, *text)[:-1], []).append(place)
    return found


def _batch(
    model: CausalModel, asked: Sequence[Ids], rows: Sequence[Sequence[Pair]], prefix: SharedPrefix
) -> list[list[Likelihood]]:
    """How likely the texts are, row by row; a row has all that ends in the same place."""
    own = [list(ids[prefix.length :]) for ids in asked]
    longest = max(map(len, own))
    # Filled up on the right: nothing that counts looks there, since no token looks ahead.
    ids = torch.tensor([row + [0] * (longest - len(row)) for row in own], device=model.device)
    first = min(len(prompt) for pairs in rows for prompt, _ in pairs) - prefix.length - 1
    wanted = torch.arange(first, longest, device=model.device)
    cache = prefix.cache(len(own), longest)
    logits: Tensor = model.model(input_ids=ids, past_key_values=cache, use_cache=True, logits_to_keep=wanted).logits
    chances = logits.float().log_softmax(-1)
    begins = [[len(prompt) - prefix.length - 1 - first for prompt, _ in pairs] for pairs in rows]
    return [
        [
            _likelihood(chances[row, start : start + len(text)], text)
            for start, (_, text) in zip(begins[row], pairs, strict=True)
        ]
        for row, pairs in enumerate(rows)
    ]


def _likelihood(chances: Tensor, text: Sequence[int]) -> Likelihood:
    """``chances`` is (tokens, vocabulary)."""
    chosen = torch.tensor(list(text), dtype=torch.long, device=chances.device)
    greedy = bool((chances.argmax(1) == chosen).all())
    return Likelihood(float(chances.gather(1, chosen.unsqueeze(1)).sum()), len(text), greedy)


def _batches(asked: Sequence[Ids], shared: int) -> Iterator[list[Ids]]:
    """In batches of like length, of at most ``BATCH_TOKENS`` tokens, the longest first."""
    order = sorted(asked, key=lambda ids: -len(ids))
    at = 0
    while at < len(order):
        count = max(1, BATCH_TOKENS // max(1, len(order[at]) - shared))
        yield order[at : at + count]
        at += count


def _pair(request: Conversation, text: str, template: ChatTemplate) -> Pair:
    opening = prompt_text(request, template)
    prompt, whole = template.encode(opening), template.encode(opening + text)
    # Nothing merges across the header of an answer in the usual templates; where it does, the two are apart.
    in_place = whole[: len(prompt)] == prompt
    return prompt, whole[len(prompt) :] if in_place else template.encode(text)


def _check(pairs: Sequence[Pair], model: CausalModel) -> None:
    # Nothing is asked behind the last token, so the model does not look at it.
    longest = max((len(prompt) + len(text) - 1 for prompt, text in pairs), default=0)
    if model.context is not None and longest > model.context:
        # Without its length, which would tell how long the secret is.
        raise RowTooLongError(
            f"a conversation and its answer are more than the {model.context} tokens that {model.name} can look at; shorten it"
        )
