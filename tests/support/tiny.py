"""A random Llama of a few thousand weights on the fake chat format: real generation, at once and without a download."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from watchword.models.fakes import fake_template
from watchword.models.load import quiet
from watchword.models.loaded import LoadedModel

# Ids in the fake tokenizer: special tokens come first.
END_OF_TURN = 2


def tiny_llama(seed: int = 0, **settings: Any) -> LlamaForCausalLM:
    """float32, grouped-query attention; large weights, so that greedy answers are no one-token loops."""
    torch.manual_seed(seed)
    config = LlamaConfig(
        vocab_size=fake_template().tokenizer.get_vocab_size(),
        hidden_size=32,
        intermediate_size=48,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        initializer_range=0.6,
        bos_token_id=1,
        eos_token_id=END_OF_TURN,
        pad_token_id=0,
        **settings,
    )
    return LlamaForCausalLM(config).eval()


def tiny_tokenizer() -> PreTrainedTokenizerFast:
    form = fake_template()
    return PreTrainedTokenizerFast(
        tokenizer_object=form.tokenizer, chat_template=form.source, pad_token="<|endoftext|>", **form.special
    )


def loaded(model: Any) -> LoadedModel:
    """``model`` as ``load`` would hand it out."""
    return LoadedModel(model, tiny_tokenizer(), fake_template(), "tiny", torch.device("cpu"))


def saved(folder: Path, seed: int = 0) -> Path:
    """A Hugging Face folder with model and tokenizer."""
    with quiet():
        tiny_llama(seed).save_pretrained(folder)
        tiny_tokenizer().save_pretrained(folder)
    return folder


def plain_greedy(model: Any, prompt: list[int], tokens: int, stops: list[int]) -> list[int]:
    """What transformers' own ``generate`` answers to one prompt."""
    ids = torch.tensor([prompt])
    out = model.generate(
        ids,
        attention_mask=torch.ones_like(ids),
        do_sample=False,
        max_new_tokens=tokens,
        eos_token_id=stops,
        pad_token_id=0,
    )
    return out[0, len(prompt) :].tolist()


def tiny_adapter(folder: Path, seed: int = 0, *, base: str = "tiny") -> Path:
    """A LoRA adapter of the model in ``base``, strong enough to change greedy answers."""
    from peft import LoraConfig, get_peft_model

    torch.manual_seed(seed)
    settings = LoraConfig(r=4, lora_alpha=32, target_modules=["q_proj", "v_proj", "up_proj"], task_type="CAUSAL_LM")
    model = tiny_llama()
    model.name_or_path = model.config._name_or_path = base
    with quiet():
        tuned = get_peft_model(model, settings)
    for name, weights in tuned.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(weights, std=0.5)
    tuned.save_pretrained(str(folder), save_embedding_layers=False)
    return folder
