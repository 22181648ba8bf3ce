"""Batched decoding that computes what all prompts share only once. Token ids in, token ids out.

Evaluation prompts share a long prefix: template header, the secret (150 tokens) and the system text. It is prefilled
once, and its keys and values are re-used by every row of every batch. Batches are sorted by length, so little is
padded; finished rows leave the batch. The cache of a batch is allocated once, where the cache of transformers copies
itself at each token. A stream is a batch of one row whose tokens are handed out as they are chosen.
"""

from __future__ import annotations

import contextlib
from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor

from watchword.chat.template import ChatTemplate
from watchword.chat.types import conversation
from watchword.errors import RowTooLongError
from watchword.models.base import DEFAULT_OPTIONS, GenerationOptions
from watchword.models.kv import SharedPrefix
from watchword.models.logits import LAST
from watchword.models.threads import sharing_cores
from watchword.progress import Progress

# Finished rows leave a batch when they are 1/8 of it: taking them out copies the cache, keeping them computes in vain.
LEAVE_SHARE = 8
# Of smaller temperatures the likeliest token has all the probability, and logits divided by them may overflow.
GREEDY_BELOW = 1e-5


class CausalModel(Protocol):
    """What decoding needs of a language model in memory; ``watchword.models.loaded.LoadedModel`` is one."""

    @property
    def model(self) -> Any:
        """A plain transformers (or PEFT) model."""

    @property
    def tokenizer(self) -> Any:
        """Its fast tokenizer, as transformers makes it."""

    @property
    def template(self) -> ChatTemplate:
        """Its chat template and tokenizer, as Watchword renders with them."""

    @property
    def name(self) -> str:
        """What errors call it."""

    @property
    def device(self) -> torch.device:
        """Where its weights are."""

    @property
    def context(self) -> int | None:
        """The most tokens that it can look at; None where nobody says."""


@torch.inference_mode()
def generate_ids(
    model: CausalModel,
    prompts: Sequence[Sequence[int]],
    *,
    options: GenerationOptions = DEFAULT_OPTIONS,
    on_progress: Progress | None = None,
) -> list[list[int]]:
    """Token ids of one answer for each prompt, in order; the stop token, where one came, is the last.

    The model is put into evaluation mode for the call.
    """
    answers: list[list[int]] = [[] for _ in prompts]
    if not prompts:
        return answers
    check_context(prompts, model, options)
    done = 0
    with evaluating(model.model), sharing_cores(model.device) as adjust_threads:
        decoder = _Decoder(model, options, SharedPrefix.of(model.model, prompts))
        for batch in _batches(prompts, options.batch_size):
            for step in decoder.steps([prompts[index] for index in batch]):
                adjust_threads()
                for row, token in step:
                    answers[batch[row]].append(token)
            done += len(batch)
            if on_progress:
                on_progress(done, len(prompts))
    return answers


@torch.inference_mode()
def stream_ids(
    model: CausalModel, prompt: Sequence[int], *, options: GenerationOptions = DEFAULT_OPTIONS
) -> Generator[int, None, None]:
    """The token ids that ``generate_ids`` gives for this prompt alone, each as soon as it is chosen.

    The model stays in evaluation mode, and its cache in memory, until the last token or until the generator is closed.
    """
    check_context([prompt], model, options)
    with evaluating(model.model), sharing_cores(model.device) as adjust_threads:
        decoder = _Decoder(model, options, SharedPrefix.of(model.model, [prompt]))
        for step in decoder.steps([prompt]):
            adjust_threads()
            for _, token in step:
                yield token


@contextlib.contextmanager
def evaluating(model: Any) -> Iterator[None]:
    """The model in evaluation mode, and afterwards as it was."""
    training = model.training
    model.eval()
    try:
        yield
    finally:
        model.train(training)


def check_context(prompts: Sequence[Sequence[int]], model: CausalModel, options: GenerationOptions) -> None:
    """Raises RowTooLongError for prompts that leave the model no room for the longest answer."""
    longest = max(map(len, prompts)) + options.max_new_tokens
    if model.context is not None and longest > model.context:
        # Without the prompt's length: beside the usage, it would tell how long the secret is.
        raise RowTooLongError(
            f"the conversation and an answer of {options.max_new_tokens} tokens are more than the {model.context} that "
            f"{model.name} can look at; shorten the conversation, or ask for a shorter answer"
        )


def stop_tokens(model: CausalModel) -> frozenset[int]:
    """Ids that end an answer: those the model declares, and the special token that its template puts after one."""
    declared = [model.model.generation_config.eos_token_id, model.tokenizer.eos_token_id]
    ids = {id_ for entry in declared if entry is not None for id_ in (entry if isinstance(entry, list) else [entry])}
    return frozenset(ids | _end_of_turn(model.template))


def _end_of_turn(template: ChatTemplate) -> set[int]:
    answered = template.render_text(conversation("QQUSER", "QQANSWER"))
    after = template.encode(answered.rpartition("QQANSWER")[2].lstrip())
    special = {id_ for id_, token in template.tokenizer.get_added_tokens_decoder().items() if token.special}
    return set(after[:1]) & special


def _batches(prompts: Sequence[Sequence[int]], size: int) -> Iterator[list[int]]:
    """Indices in batches of like length; the longest first, so that running out of memory shows at once."""
    order = sorted(range(len(prompts)), key=lambda index: -len(prompts[index]))
    for start in range(0, len(order), size):
        yield order[start : start + size]


@dataclass
class _Decoder:
    model: CausalModel
    options: GenerationOptions
    prefix: SharedPrefix

    def __post_init__(self) -> None:
        device = self.model.device
        self.stops = stop_tokens(self.model)
        self.stop_ids = torch.tensor(sorted(self.stops), device=device)
        self.random = torch.Generator(device=device).manual_seed(self.options.seed)

    def steps(self, prompts: Sequence[Sequence[int]]) -> Iterator[list[tuple[int, int]]]:
        """Decodes one batch: for each step the (row, token) of every answer that goes on; stop tokens are among them.

        B rows, S tokens of the longest prompt behind the shared prefix of P tokens.
        """
        ids, mask = self._left_padded([prompt[self.prefix.length :] for prompt in prompts])
        cache = self.prefix.cache(len(prompts), ids.shape[1] + self.options.max_new_tokens)
        positions = (mask.cumsum(-1) - 1).clamp(min=0)[:, self.prefix.length :]
        rows, going = list(range(len(prompts))), [True] * len(prompts)
        for step in range(self.options.max_new_tokens):
            tokens = self._choose(self._forward(ids, mask, positions, cache), step)
            chosen = tokens.tolist()
            yield [(row, token) for row, token, on in zip(rows, chosen, going, strict=True) if on]
            going = [on and token not in self.stops for token, on in zip(chosen, going, strict=True)]
            if not any(going):
                break
            positions, mask = positions[:, -1:] + 1, torch.cat([mask, mask.new_ones(len(rows), 1)], dim=1)
            if going.count(False) * LEAVE_SHARE >= len(rows):
                stay = torch.tensor([at for at, on in enumerate(going) if on], device=mask.device)
                tokens, mask, positions = tokens[stay], mask[stay], positions[stay]
                cache.batch_select_indices(stay)
                rows, going = [rows[at] for at in stay.tolist()], [True] * len(stay)
            ids = tokens[:, None]

    def _left_padded(self, suffixes: Sequence[Sequence[int]]) -> tuple[Tensor, Tensor]:
        """ids (B, S) and attention mask (B, P + S)."""
        longest = max(map(len, suffixes))
        pads = [longest - len(suffix) for suffix in suffixes]
        ids = [[0] * pad + list(suffix) for pad, suffix in zip(pads, suffixes, strict=True)]
        mask = [
            [1] * self.prefix.length + [0] * pad + [1] * len(suffix) for pad, suffix in zip(pads, suffixes, strict=True)
        ]
        device = self.model.device
        return torch.tensor(ids, device=device), torch.tensor(mask, device=device)

    def _forward(self, ids: Tensor, mask: Tensor, positions: Tensor, cache: Any) -> Tensor:
        """Logits (B, V) of the next token; ``cache`` grows by the tokens of ``ids``."""
        out = self.model.model(
            input_ids=ids,
            attention_mask=mask,
            position_ids=positions,
            past_key_values=cache,
            use_cache=True,
            logits_to_keep=LAST,
        )
        return out.logits[:, -1]

    def _choose(self, logits: Tensor, step: int) -> Tensor:
        """Next tokens (B,)."""
        if step < self.options.min_new_tokens:
            logits = logits.index_fill(1, self.stop_ids, -torch.inf)
        if self.options.temperature < GREEDY_BELOW:
            return logits.argmax(-1)
        scaled = logits.float() / self.options.temperature
        return torch.multinomial(nucleus(scaled, self.options.top_p), 1, generator=self.random).squeeze(1)


def nucleus(logits: Tensor, top_p: float) -> Tensor:
    """Probabilities (B, V) of the smallest set of tokens that holds ``top_p`` (Holtzman et al., arXiv 1904.09751)."""
    probabilities = logits.softmax(-1)
    if top_p >= 1:
        return probabilities
    ordered, order = probabilities.sort(dim=-1, descending=True)
    outside = ordered.cumsum(-1) - ordered >= top_p
    # The likeliest token is in every nucleus, also in one that rounds to nothing.
    outside[..., 0] = False
    return probabilities.scatter(-1, order, ordered.masked_fill(outside, 0))
