"""Models of the Hugging Face hub as folders on this machine."""

from __future__ import annotations

import functools
from pathlib import Path

from watchword.errors import ModelUnavailableError

# What a model is loaded from. Pickled weights and code are not even fetched.
_DESCRIPTION = ["*.json", "*.jinja", "*.model", "*.txt", "*.tiktoken", "*.spm"]
_WEIGHTS = ["*.safetensors"]
_UNWANTED = ["consolidated*", "*/*.safetensors", "*/*.json", "*/*.model", "*/*.txt"]
WAY_OUT = (
    "Ways out: check the id and the network; for a gated model accept its licence and set HF_TOKEN;\n"
    "  offline, set HF_HUB_OFFLINE=1 to use what HF_HOME holds already, or name a local folder instead."
)


@functools.cache
def snapshot(hub_id: str, *, weights: bool = True) -> Path:
    """The model's files in one revision, fetched where they are not at hand; without ``weights`` only the small ones.

    The answer stays the same as long as the process lives: what was checked by its digest is what is loaded.
    """
    try:
        from huggingface_hub import snapshot_download
    except ImportError:
        raise ModelUnavailableError(
            f"{hub_id} needs the package huggingface_hub; name a local folder instead"
        ) from None
    try:
        wanted = [*_DESCRIPTION, *(_WEIGHTS if weights else [])]
        return Path(snapshot_download(hub_id, allow_patterns=wanted, ignore_patterns=_UNWANTED))
    except Exception as error:  # boundary: the hub's client raises errors of its own and of its HTTP library
        reason = " ".join(str(error).split())[:300]
        raise ModelUnavailableError(f"the model {hub_id!r} cannot be fetched: {reason}\n{WAY_OUT}") from error
