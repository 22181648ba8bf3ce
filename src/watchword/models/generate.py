"""Batched generation that computes what all prompts share only once.

Evaluation prompts share a long prefix: template header, the secret (150 tokens) and the system text. It is prefilled
once, and its keys and values are re-used by every row of every batch. Batches are sorted by length, so little is
padded; finished rows leave the batch. The cache of a batch is allocated once, where the cache of transformers copies
itself at each token.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from watchword.chat.assembly import assemble
from watchword.chat.render import render_prompt
from watchword.chat.template import ChatTemplate
from watchword.chat.types import Conversation, conversation
from watchword.errors import RowTooLongError
from watchword.models.base import DEFAULT_OPTIONS, GenerationOptions
from watchword.models.kv import SharedPrefix
from watchword.progress import Progress
from watchword.secret.prompt import SecretPrompt

if TYPE_CHECKING:
    from watchword.models.load import LoadedModel

# Finished rows leave a batch when they are 1/8 of it: taking them out copies the cache, keeping them computes in vain.
LEAVE_SHARE = 8


def generate(
    model: LoadedModel,
    conversations: Sequence[Conversation],
    *,
    secret: SecretPrompt | None = None,
    options: GenerationOptions = DEFAULT_OPTIONS,
    on_progress: Progress | None = None,
) -> list[str]:
    """One answer for each conversation, in order, without its end-of-turn token and special tokens.

    The secret, if any, goes in by the one prompt assembly. Greedy answers equal those of transformers' ``generate`` row
    by row in float32; in bfloat16 the order of sums may tip a near-tie.
    """
    prompts = [prompt_ids(conv, model.template, secret) for conv in conversations]
    answers = generate_ids(model, prompts, options=options, on_progress=on_progress)
    return [model.tokenizer.decode(ids, skip_special_tokens=True) for ids in answers]


def prompt_ids(conv: Conversation, template: ChatTemplate, secret: SecretPrompt | None) -> list[int]:
    """Token ids of a request, the secret in front of its system text."""
    return render_prompt(assemble(conv, secret.reveal(), template) if secret else conv, template)


@torch.inference_mode()
def generate_ids(
    model: LoadedModel,
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
    _check_context(prompts, model, options)
    training = model.model.training
    model.model.eval()
    try:
        prefix = SharedPrefix.of(model.model, prompts)
        decoder = _Decoder(model, options, prefix)
        done = 0
        for batch in _batches(prompts, options.batch_size):
            for index, answer in zip(batch, decoder.decode([prompts[i] for i in batch]), strict=True):
                answers[index] = answer
            done += len(batch)
            if on_progress:
                on_progress(done, len(prompts))
    finally:
        model.model.train(training)
    return answers


def _check_context(prompts: Sequence[Sequence[int]], model: LoadedModel, options: GenerationOptions) -> None:
    longest = max(map(len, prompts)) + options.max_new_tokens
    if model.context is not None and longest > model.context:
        raise RowTooLongError(
            f"a prompt of {longest - options.max_new_tokens} tokens and an answer of {options.max_new_tokens} are more than "
            f"the {model.context} that {model.name} can look at; shorten the conversation, or ask for a shorter answer"
        )


def stop_tokens(model: LoadedModel) -> frozenset[int]:
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
    model: LoadedModel
    options: GenerationOptions
    prefix: SharedPrefix

    def __post_init__(self) -> None:
        device = self.model.device
        self.stops = stop_tokens(self.model)
        self.stop_ids = torch.tensor(sorted(self.stops), device=device)
        self.random = torch.Generator(device=device).manual_seed(self.options.seed)

    def decode(self, prompts: Sequence[Sequence[int]]) -> list[list[int]]:
        """Answers of one batch. B rows, S tokens of the longest prompt behind the shared prefix of P tokens."""
        ids, mask = self._left_padded([prompt[self.prefix.length :] for prompt in prompts])
        cache = self.prefix.cache(len(prompts), ids.shape[1] + self.options.max_new_tokens)
        positions = (mask.cumsum(-1) - 1).clamp(min=0)[:, self.prefix.length :]
        answers: list[list[int]] = [[] for _ in prompts]
        rows, going = list(range(len(prompts))), [True] * len(prompts)
        for step in range(self.options.max_new_tokens):
            tokens = self._choose(self._forward(ids, mask, positions, cache), step)
            for at, token in enumerate(tokens.tolist()):
                if going[at]:
                    answers[rows[at]].append(token)
                    going[at] = token not in self.stops
            if not any(going):
                break
            positions, mask = positions[:, -1:] + 1, torch.cat([mask, mask.new_ones(len(rows), 1)], dim=1)
            if going.count(False) * LEAVE_SHARE >= len(rows):
                stay = torch.tensor([at for at, on in enumerate(going) if on], device=mask.device)
                tokens, mask, positions = tokens[stay], mask[stay], positions[stay]
                cache.batch_select_indices(stay)
                rows, going = [rows[at] for at in stay.tolist()], [True] * len(stay)
            ids = tokens[:, None]
        return answers

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
            logits_to_keep=1,
        )
        return out.logits[:, -1]

    def _choose(self, logits: Tensor, step: int) -> Tensor:
        """Next tokens (B,)."""
        if step < self.options.min_new_tokens:
            logits = logits.index_fill(1, self.stop_ids, -torch.inf)
        if self.options.temperature == 0:
            return logits.argmax(-1)
        scaled = logits.float() / self.options.temperature
        return torch.multinomial(_nucleus(scaled, self.options.top_p), 1, generator=self.random).squeeze(1)


def _nucleus(logits: Tensor, top_p: float) -> Tensor:
    """Probabilities (B, V) of the smallest set of tokens that holds ``top_p`` (Holtzman et al., arXiv 1904.09751)."""
    probabilities = logits.softmax(-1)
    if top_p >= 1:
        return probabilities
    ordered, order = probabilities.sort(dim=-1, descending=True)
    outside = ordered.cumsum(-1) - ordered >= top_p
    return probabilities.scatter(-1, order, ordered.masked_fill(outside, 0))
