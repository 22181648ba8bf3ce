"""A finished release as a model in memory that may be served. This is the part of the folder that brings torch along."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from dataclasses import dataclass
from pathlib import Path

from watchword.chat.types import Conversation
from watchword.errors import UnsealError
from watchword.models.answer import Answer, AnswerPiece
from watchword.models.base import DEFAULT_OPTIONS, ChatModel, GenerationOptions
from watchword.models.digest import model_digest
from watchword.models.load import load
from watchword.progress import Progress
from watchword.release.artifact import signed_manifest
from watchword.release.reading import Release, at_hand_for, checked_release, read_release
from watchword.release.remote import remote_model


@dataclass(frozen=True)
class ServedModel:
    """A model with its release: whatever is asked through ``ask`` and ``stream`` is guarded, and every answer is clean."""

    model: ChatModel
    release: Release

    def ask(
        self,
        conversations: Sequence[Conversation],
        *,
        options: GenerationOptions = DEFAULT_OPTIONS,
        on_progress: Progress | None = None,
    ) -> list[Answer]:
        """One clean answer for each conversation, in order."""
        return self.release.defense.ask(self.model, conversations, options=options, on_progress=on_progress)

    def stream(
        self, conversation: Conversation, *, options: GenerationOptions = DEFAULT_OPTIONS
    ) -> Generator[AnswerPiece, None, None]:
        """One clean answer in pieces, as they come."""
        return self.release.defense.stream(self.model, conversation, options=options)


def open_release(folder: Path, *, key: bytes) -> ServedModel:
    """A finished folder as a model that may be served. Fails closed: see ``release.artifact``.

    Whatever the manifest names is looked up and loaded only once the manifest itself is known to be the provider's.
    """
    manifest = signed_manifest(folder, key)
    if manifest.remote:
        release = read_release(folder, key)
        return ServedModel(remote_model(release), release)
    with at_hand_for(folder):
        if model_digest(manifest.model) != manifest.model_digest:
            raise UnsealError(
                f"{manifest.model} is not the model that this was tuned from any more; restore it", path=folder
            )
        lora = manifest.method == "lora"
        model = load(manifest.model, adapter=folder) if lora else load(folder)
    return ServedModel(model, checked_release(folder, manifest, model.template, key))
