"""Several defenses that act together: at each seam one after the other, in the order in which they are named.

``DEFENSES.create("anchored_align + sbr", anchors=22)`` makes one. It is a dataclass whose fields hold the arguments of
its parts, all of them. So a spec, a manifest and a cell's key say what was done, and the same call makes it again.
"""

from __future__ import annotations

import functools
from dataclasses import field, fields, make_dataclass
from pathlib import Path
from typing import Any

from watchword.chat.types import Conversation, Row
from watchword.data.upload import Upload
from watchword.defenses.base import DEFENSES, Defense, DefenseContext, PromptGuard, TrainingHooks, overrides
from watchword.secret.prompt import SecretPrompt


class Composition(Defense):
    """What the compositions of any defenses share; ``composed`` adds the fields, and the seams that are not for all."""

    parts: tuple[Defense, ...]

    def __post_init__(self) -> None:
        own = fields(self)  # type: ignore[arg-type]
        parts = tuple(DEFENSES.create(part.name, **getattr(self, part.name)) for part in own)
        object.__setattr__(self, "parts", parts)

    @property
    def asks_model(self) -> bool:
        return any(part.asks_model for part in self.parts)

    def guard_data(self, upload: Upload, context: DefenseContext) -> list[Row]:
        return [row for part in self.parts for row in part.guard_data(upload, context)]

    def guard_prompt(self, conversation: Conversation, secret: SecretPrompt | None) -> PromptGuard:
        found = None
        for part in self.parts:
            guard = part.guard_prompt(conversation, secret)
            conversation, found = guard.conversation, found or guard.secret
        return PromptGuard(conversation, found)

    def hidden(self, secret: SecretPrompt) -> tuple[SecretPrompt, ...]:
        return tuple(text for part in self.parts for text in part.hidden(secret))


def _guard_tenant(self: Composition, rows: list[Row], context: DefenseContext) -> list[Row]:
    for part in self.parts:
        rows = part.guard_tenant(rows, context)
    return rows


def _training_hooks(self: Composition) -> TrainingHooks:
    hooks = [part.training_hooks() for part in self.parts]
    return TrainingHooks(tuple(callback for hook in hooks for callback in hook.callbacks))


def _guard_weights(self: Composition, tuned: Path, base: Any) -> Path:
    for part in self.parts:
        tuned = part.guard_weights(tuned, base)
    return tuned


# Callers ask whether a defense has these: a composition has them only where one of its parts has.
_ASKED_FOR = {"guard_tenant": _guard_tenant, "training_hooks": _training_hooks, "guard_weights": _guard_weights}


@functools.cache
def composed(*named: tuple[str, type[Defense]]) -> type[Defense]:
    """The class of these defenses together, each with its name: one and the same for every call."""
    parts = dict(named)
    seams = {name: seam for name, seam in _ASKED_FOR.items() if any(overrides(part, name) for part in parts.values())}
    origins = tuple(dict.fromkeys(origin for part in parts.values() for origin in part.origins))
    return make_dataclass(
        "And".join(part.__name__ for part in parts.values()),
        [(name, dict[str, Any], field(default_factory=dict)) for name in parts],
        bases=(Composition,),
        namespace={
            "origins": origins,
            "needs_secret": any(part.needs_secret for part in parts.values()),
            **seams,
        },
        frozen=True,
    )
