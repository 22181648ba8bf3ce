"""A model's chat template and context length, without its weights and, as a rule, without torch."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import msgspec

from watchword.chat.template import ChatTemplate
from watchword.errors import ModelUnavailableError, UsageError
from watchword.files.decoding import DECODE_ERRORS
from watchword.models.catalog import ModelSource, resolve
from watchword.models.fetch import at_hand

TOKENIZER = "tokenizer.json"
# What transformers makes a fast tokenizer of where a model has none.
_CONVERTIBLE = ("*.model", "*.tiktoken", "*.spm", "vocab.json", "vocab.txt")


class _TextConfig(msgspec.Struct):
    max_position_embeddings: int | None = None


class _Config(_TextConfig):
    text_config: _TextConfig | None = None


class Reads(Protocol):
    """A model, loaded or not, that may say how many tokens it reads at once."""

    @property
    def name(self) -> str:
        """What messages call it."""

    @property
    def context(self) -> int | None:
        """Tokens; None where nobody says."""


@dataclass(frozen=True)
class ModelFacts:
    """``context``: the most tokens that the model reads at once, None where its configuration does not say.

    ``location`` is what another trainer loads: a folder or a Hugging Face id. ``adapters`` counts those that belong to the
    model and are not in the weights there.
    """

    name: str
    template: ChatTemplate
    context: int | None
    location: str
    adapters: int = 0


def facts_of(name: str | Path) -> ModelFacts:
    """Of a catalog name, a local folder, or a Hugging Face id, of which only the small files are fetched.

    The one look-up of a template by name: guarding, drawing secrets and the laboratory all take it. Raises
    UnknownNameError and ModelUnavailableError with the choices, and TemplateError for a model without a chat template.
    """
    source = resolve(name)
    folder, _ = at_hand(source, weights=False)
    # Absolute: a trainer reads its settings from wherever it is started.
    location = source.hub_id or str(folder.absolute())
    return ModelFacts(str(name), _template(source, folder), _context(folder), location, len(source.adapters))


def _template(source: ModelSource, folder: Path) -> ChatTemplate:
    label = source.hub_id or Path(source.name).name
    if (folder / TOKENIZER).is_file() or not any(any(folder.glob(kind)) for kind in _CONVERTIBLE):
        return ChatTemplate.from_folder(folder, label)
    # An older kind of tokenizer: transformers makes a fast one of it, and brings torch along.
    from watchword.models.load import load_tokenizer

    return ChatTemplate.from_transformers(load_tokenizer(source, folder), label)


def check_length(max_length: int | None, model: Reads | None = None) -> None:
    """Raises UsageError for a limit that no row could keep, and for one that the model cannot read; None is the model's own."""
    if max_length is None:
        return
    if max_length < 1:
        raise UsageError(
            f"`max_length` is {max_length}; give the trainer's limit in tokens, such as 2048", param="max_length"
        )
    if model is not None and model.context is not None and max_length > model.context:
        raise UsageError(
            f"`max_length` is {max_length}, and the context of {model.name} is {model.context} tokens: a longer row cannot be "
            f"trained on whole; give at most {model.context}",
            param="max_length",
        )


def length_limit(asked: int | None, model: Reads, usual: int | None = None) -> int:
    """Tokens of the longest row that may be trained on, by one rule for ``train``, ``guard`` and ``validate``.

    That is what was ``asked`` for, else the ``usual`` limit as far as the model's context reaches, else the context. Raises
    UsageError for more than the model can read, and where nothing says how much that is.
    """
    check_length(asked, model)
    known = [limit for limit in (usual, model.context) if limit is not None]
    if asked is None and not known:
        raise UsageError(
            f"{model.name} does not say how long its context is; give the trainer's limit by `max_length`",
            param="max_length",
        )
    return asked if asked is not None else min(known)


def _context(folder: Path) -> int | None:
    """Without a configuration nobody knows; one that is there and makes no sense is an error, not a guess."""
    file = folder / "config.json"
    if not file.is_file():
        return None
    try:
        config = msgspec.json.decode(file.read_bytes(), type=_Config)
    except OSError:
        return None
    except DECODE_ERRORS as error:
        raise ModelUnavailableError(f"the file is damaged ({error}); fetch it again", path=file) from None
    text = config.text_config or _TextConfig()
    length = config.max_position_embeddings or text.max_position_embeddings
    return length if length is not None and length > 0 else None
