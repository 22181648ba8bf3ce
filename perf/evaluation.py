"""``python perf/evaluation.py``: answers to evaluation prompts behind a 150-token secret, tokens/s.

Ours (the prefix computed once, a cache that grows in place, batches by length) against plain ``transformers`` ``generate``
on the same model, prompts, batch size and number of new tokens, without re-use of the prefix.
"""

from __future__ import annotations

import argparse
import time

import torch
from side_by_side import compare, quiet, show

from watchword.attacks.base import ATTACK_SYSTEM
from watchword.chat.types import conversation
from watchword.models.base import GenerationOptions
from watchword.models.decode import generate_ids
from watchword.models.generate import prompt_ids
from watchword.models.load import load
from watchword.models.loaded import LoadedModel
from watchword.safety.library import balanced, examples
from watchword.secret.generate import experiment_secret


def main() -> None:
    """Measures both sides in turns and prints one JSON object."""
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("--model", default="smollm2-135m")
    options.add_argument("--prompts", type=int, default=64)
    options.add_argument("--new-tokens", type=int, default=32)
    options.add_argument("--batch-size", type=int, default=32)
    options.add_argument("--rounds", type=int, default=3)
    chosen = options.parse_args()
    quiet()
    model = load(chosen.model)
    secret = experiment_secret(model.template, seed=0)
    asked = [conversation(e.prompt, system=ATTACK_SYSTEM) for e in balanced(examples("policy_eval"), chosen.prompts)]
    prompts = [prompt_ids(conv, model.template, secret) for conv in asked]
    figures = compare(
        lambda: ours(model, prompts, chosen.new_tokens, chosen.batch_size),
        lambda: plain(model, prompts, chosen.new_tokens, chosen.batch_size),
        chosen.rounds,
    )
    setting = {name: getattr(chosen, name) for name in ("model", "prompts", "new_tokens", "batch_size", "rounds")}
    show("evaluation", figures, **setting, prompt_tokens=sum(map(len, prompts)))


def ours(model: LoadedModel, prompts: list[list[int]], new: int, batch_size: int) -> float:
    """Generated tokens a second, all answers of full length."""
    started = time.perf_counter()
    made = GenerationOptions(max_new_tokens=new, min_new_tokens=new, batch_size=batch_size)
    answers = generate_ids(model, prompts, options=made)
    return sum(map(len, answers)) / (time.perf_counter() - started)


@torch.inference_mode()
def plain(model: LoadedModel, prompts: list[list[int]], new: int, batch_size: int) -> float:
    """Generated tokens a second by ``model.generate`` on left-padded batches in the order given."""
    started, made = time.perf_counter(), 0
    pad = model.tokenizer.pad_token_id
    for at in range(0, len(prompts), batch_size):
        batch = prompts[at : at + batch_size]
        width = max(map(len, batch))
        ids = torch.tensor([[pad] * (width - len(row)) + row for row in batch], device=model.device)
        mask = torch.tensor([[0] * (width - len(row)) + [1] * len(row) for row in batch], device=model.device)
        out = model.model.generate(
            input_ids=ids,
            attention_mask=mask,
            do_sample=False,
            max_new_tokens=new,
            min_new_tokens=new,
            pad_token_id=pad,
        )
        made += out[:, width:].numel()
    return made / (time.perf_counter() - started)


if __name__ == "__main__":
    main()
