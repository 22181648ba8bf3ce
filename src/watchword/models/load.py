"""The only way to a model's weights: name → model, tokenizer and chat template, ready to generate or to fine-tune."""

from __future__ import annotations

import contextlib
import logging
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer
from transformers.utils import logging as transformers_logging

from watchword.chat.template import ChatTemplate
from watchword.errors import ModelUnavailableError, UsageError
from watchword.models.attention import quick_on_processor
from watchword.models.catalog import ModelSource, resolve
from watchword.models.checks import check_adapter, check_model_folder
from watchword.models.fetch import at_hand
from watchword.models.hub import WAY_OUT
from watchword.models.loaded import LoadedModel

# Said each time: left out, transformers asks on standard input, and a "y" in a pipe says yes.
_NO_CODE = {"trust_remote_code": False}


def load(
    name: str | Path,
    *,
    adapter: Path | None = None,
    device: str | torch.device | None = None,
    dtype: torch.dtype | Literal["auto"] | None = None,
) -> LoadedModel:
    """Loads a catalog model, a Hugging Face id, or a local folder (a model, or a LoRA adapter on its base).

    Adapters are merged into the weights, those of the source first and then ``adapter``. So what comes back is a plain
    model that can be fine-tuned again. ``device`` defaults to CUDA, then MPS, then CPU; ``dtype`` to bfloat16 where the
    processor computes with it, else float32. ``auto`` is the type in which the files hold it. Nothing of a folder is run:
    its own code and pickled weights are refused.

    Raises UnknownNameError, ModelUnavailableError (with the way out) and TemplateError (no chat template).
    """
    source = resolve(name)
    given = (adapter,) if adapter is not None else ()
    # Before anything is fetched; the hub's adapters are known only afterwards.
    for path in (*source.adapters, *given):
        check_adapter(path, source.name)
    place = _device(device)
    wanted = dtype or default_dtype(place)
    folder, below = at_hand(source)
    check_model_folder(folder, source.name)
    adapters = (*below, *given)
    for path in adapters:
        check_adapter(path, source.name)
    with quiet():
        model = _complete(source, folder, wanted)
        tokenizer = _pretrained(AutoTokenizer, source, folder)
        for path in adapters:
            model = _merged(model, path)
    # What PEFT writes into a trained adapter as its base: our name, not a path in somebody's home.
    model.name_or_path = model.config._name_or_path = source.name
    label = source.name if adapter is None else f"{source.name}+{adapter.name}"
    model = quick_on_processor(model.to(place).eval())
    template = ChatTemplate.from_transformers(tokenizer, Path(source.name).name)
    return LoadedModel(model, tokenizer, template, label, place)


def load_tokenizer(source: ModelSource, folder: Path) -> Any:
    """The fast tokenizer in the source's folder, as transformers makes it."""
    with quiet():
        return _pretrained(AutoTokenizer, source, folder)


def default_dtype(device: torch.device) -> torch.dtype:
    """bfloat16 on an accelerator that has it, or a processor with AVX-512 BF16 or AMX instructions; else float32."""
    if device.type == "cuda":
        return torch.bfloat16 if torch.cuda.is_bf16_supported() else torch.float16
    if device.type == "cpu":
        # No public query for these exists in torch 2.13.
        fast = torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()
        return torch.bfloat16 if fast else torch.float32
    return torch.float32


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """No progress bars, log lines or warnings of other libraries; ours stand."""
    level, bars = transformers_logging.get_verbosity(), transformers_logging.is_progress_bar_enabled()
    hub = logging.getLogger("huggingface_hub")
    hub_level = hub.level
    transformers_logging.set_verbosity_error()
    transformers_logging.disable_progress_bar()
    hub.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        transformers_logging.set_verbosity(level)
        hub.setLevel(hub_level)
        if bars:
            transformers_logging.enable_progress_bar()


def _pretrained(kind: Any, source: ModelSource, folder: Path, **arguments: Any) -> Any:
    try:
        return kind.from_pretrained(str(folder), **_NO_CODE, **arguments)
    except Exception as error:  # boundary: transformers raises anything for files that it dislikes
        reason = " ".join(str(error).split())
        if "trust_remote_code" in reason:
            raise ModelUnavailableError(
                f"the model {source.name!r} needs code of its own (auto_map in its {_config_of(kind)}), and code of a model is "
                "never run; name a model whose architecture transformers itself knows"
            ) from error
        raise ModelUnavailableError(
            f"the model {source.name!r} cannot be loaded: {reason[:300]}\n{_way_out(source)}"
        ) from error


def _config_of(kind: Any) -> str:
    return "tokenizer_config.json" if kind is AutoTokenizer else "config.json"


def _complete(source: ModelSource, folder: Path, dtype: torch.dtype | Literal["auto"]) -> Any:
    """The model with every weight from its files: transformers fills gaps with random numbers and only warns."""
    wanted = {"dtype": dtype, "use_safetensors": True, "output_loading_info": True}
    model, info = _pretrained(AutoModelForCausalLM, source, folder, **wanted)
    gaps = sorted(info["missing_keys"])
    if gaps:
        raise ModelUnavailableError(
            f"the model {source.name!r} lacks {len(gaps)} of its weights, {gaps[0]} for one\n{_way_out(source)}"
        )
    return model


def _way_out(source: ModelSource) -> str:
    if source.hub_id:
        return WAY_OUT
    return "Check that the folder holds config.json, *.safetensors and the tokenizer's files, all complete."


def _merged(model: Any, path: Path) -> Any:
    from peft import PeftModel

    try:
        return PeftModel.from_pretrained(model, str(path)).merge_and_unload()
    except Exception as error:  # boundary: PEFT raises anything for files that it dislikes
        reason = " ".join(str(error).split())[:300]
        raise ModelUnavailableError(f"the adapter {path} does not fit the model: {reason}") from error


def _device(wanted: str | torch.device | None) -> torch.device:
    if wanted is not None:
        try:
            return torch.device(wanted)
        except RuntimeError:
            raise UsageError(f"there is no device {wanted!r}: choose cpu, cuda, cuda:0, mps …") from None
    if torch.cuda.is_available():
        return torch.device("cuda")
    return torch.device("mps" if torch.backends.mps.is_available() else "cpu")
