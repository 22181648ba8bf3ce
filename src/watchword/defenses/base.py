"""What every defense is: seams, each of which changes nothing unless a defense overrides it."""

from __future__ import annotations

import functools
import itertools
import math
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

from watchword.chat.assembly import assemble
from watchword.chat.origins import RowOrigin, count_origins
from watchword.chat.render import render_row
from watchword.chat.template import ChatTemplate, SystemStyle
from watchword.chat.types import TENANT, Conversation, Row, last_user_text
from watchword.data.upload import Upload
from watchword.defenses._registry import DefenseRegistry
from watchword.errors import DataError, UsageError
from watchword.models.answer import Answer
from watchword.models.base import ChatModel, row_limit, template_at_hand
from watchword.progress import Step
from watchword.secret.prompt import SecretPrompt

Generate = Callable[[Sequence[Conversation]], list[Answer]]


@dataclass(frozen=True)
class DefenseContext:
    """What a defense may use: a seed, and where there is one, the aligned model's own voice.

    ``generate`` answers conversations with the model before fine-tuning, greedily. It is None where no model is at hand
    (guarding a file for another trainer); defenses then fall back on the packaged answers. ``refuses`` says whether an
    answer declines. ``fits`` says whether a row can be trained on behind the secret: short enough, and with a place for it.
    ``trainable`` says so of a row as it is marked: behind the secret, behind an inoculation, or behind nothing.
    ``model`` is the aligned model itself, for defenses that look at its weights; they find out what it is.
    """

    seed: int = 0
    generate: Generate | None = None
    refuses: Callable[[str], bool] | None = None
    fits: Callable[[Conversation], bool] = lambda _: True
    model: ChatModel | None = field(default=None, repr=False)
    trainable: Callable[[Row], bool] = lambda _: True

    @classmethod
    def beside(
        cls,
        model: ChatModel,
        refuses: Callable[[str], bool],
        *,
        secret: SecretPrompt | None,
        max_length: int,
        seed: int,
        step: Step,
        template: ChatTemplate | None = None,
    ) -> DefenseContext:
        """With the aligned model at hand, rows at most ``max_length`` tokens long.

        ``template`` is that of the model to fine-tune where this is another one; rows must then fit both. A remote
        model's template is not at hand, so rows need not fit it.
        """
        voice = functools.partial(model.generate, on_progress=functools.partial(step, "asking the aligned model"))
        prefix = secret.reveal() if secret is not None else None
        longest = row_limit(max_length, model.context)
        templates = [form for form in (template_at_hand(model), template) if form is not None]

        def trainable(row: Row) -> bool:
            try:
                for form in templates:
                    render_row(row, prefix, form, longest)
            except DataError:
                return False
            return True

        def fits(conv: Conversation) -> bool:
            return trainable(Row(conv, prefixed=prefix is not None))

        return cls(seed, voice, refuses, fits, model, trainable)

    def random(self, purpose: str) -> random.Random:
        """A generator of its own for each purpose, so that one draw more here changes nothing there."""
        return random.Random(f"{self.seed}:{purpose}")


class Defense:
    """One file in this package is one defense: a frozen dataclass whose fields are its parameters."""

    needs_secret: bool = False
    # What its rows are, in the order in which tables count them.
    origins: ClassVar[tuple[RowOrigin, ...]] = ()

    @property
    def asks_model(self) -> bool:
        """Whether ``guard_data`` does more where the aligned model is at hand than where it is not."""
        return False

    def guard_data(self, upload: Upload, context: DefenseContext) -> list[Row]:  # noqa: ARG002
        """Before training: the provider's rows to mix into an upload. The tenant's own rows are never touched."""
        return []

    def guard_tenant(self, rows: list[Row], context: DefenseContext) -> list[Row]:  # noqa: ARG002
        """Before training: the tenant's rows as they are trained. Each is as it was, marked (``Row.inoculation``), or left out."""
        return rows

    def training_hooks(self) -> TrainingHooks:
        """During training: callbacks for the trainer; one that is an ``Objective`` has a part in the loss as well."""
        return TrainingHooks()

    def guard_weights(self, tuned: Path, base: Any) -> Path:  # noqa: ARG002
        """After training: the folder of the adapter to serve."""
        return tuned

    def guard_prompt(self, conversation: Conversation, secret: SecretPrompt | None) -> PromptGuard:  # noqa: ARG002
        """At inference: the conversation, and the secret to assemble in front of it, if any."""
        return PromptGuard(conversation)

    def hidden(self, secret: SecretPrompt) -> tuple[SecretPrompt, ...]:  # noqa: ARG002
        """What else was trained behind the secret and must stand in no answer."""
        return ()


# What a file that is guarded for another trainer cannot hold.
BEYOND_ROWS = {
    "guard_tenant": "marks or leaves out rows of the tenant's",
    "training_hooks": "takes part in the training",
    "guard_weights": "changes the trained weights",
}


def overrides(kind: type[Defense], seam: str) -> bool:
    """Whether a defense of this kind does anything at the seam."""
    return getattr(kind, seam) is not getattr(Defense, seam)


def beyond_rows(defense: Defense) -> dict[str, str]:
    """What the defense does beside mixing rows in and guarding prompts, by seam."""
    return {seam: what for seam, what in BEYOND_ROWS.items() if overrides(type(defense), seam)}


@dataclass(frozen=True)
class TrainingHooks:
    """Callbacks in the form of transformers' TrainerCallback, kept untyped so that defenses load no torch."""

    callbacks: tuple[Any, ...] = ()


@dataclass(frozen=True)
class PromptGuard:
    """A conversation as the tenant sent it, and the secret that the one prompt assembly puts in front of it."""

    conversation: Conversation
    secret: SecretPrompt | None = field(default=None, repr=False)

    def assembled(self, style: SystemStyle) -> Conversation:
        """The conversation with the secret, if any, in front. Raises TemplateError where it has no place for one."""
        return self.conversation if self.secret is None else assemble(self.conversation, self.secret.reveal(), style)


def one_secret(guards: Sequence[PromptGuard]) -> SecretPrompt | None:
    """The secret of prompts that are asked together. Raises UsageError for a defense that chose several."""
    secrets = {guard.secret for guard in guards}
    if len(secrets) > 1:
        raise UsageError("this defense put a secret in front of some of these prompts only; ask each kind by itself")
    return next(iter(secrets), None)


@dataclass(frozen=True)
class Guarded:
    """What goes to training: the tenant's rows with the provider's mixed in.

    ``added`` counts the different examples among the provider's rows by their origin: a row may be mixed in several times.
    ``left_out`` counts the tenant's rows that the defense does not let train.
    """

    rows: list[Row]
    added: dict[str, int] = field(default_factory=dict)
    left_out: int = 0


def guarded(
    defense: Defense, upload: Sequence[Conversation], context: DefenseContext, *, least_share: float = 0.0
) -> Guarded:
    """Applies the defense to an upload that is at hand. The laboratory, the service and the command line all do it here.

    Where the provider's rows would be less than ``least_share`` of all rows, they are repeated in turn. Each row is a
    part of one step in every epoch, so that they keep this share of the training whatever its settings.
    """
    tenant = tenant_rows(defense, upload, context)
    profile = Upload.of([Row(row.conversation) for row in tenant])
    provider = _at_least(least_share, rows_to_add(defense, profile, context), len(tenant))
    rows = mixed(tenant, provider, context.random("places"))
    return Guarded(rows, _different(provider), len(upload) - len(tenant))


def tenant_rows(defense: Defense, upload: Sequence[Conversation], context: DefenseContext) -> list[Row]:
    """The tenant's rows as the defense lets them train.

    Raises UsageError for a defense that changes what the tenant wrote, or adds to it, and for one that leaves no row.
    """
    rows = defense.guard_tenant([Row(conv) for conv in upload], context)
    own = iter(upload)
    if not all(row.origin == TENANT and any(row.conversation == conv for conv in own) for row in rows):
        raise UsageError(
            f"the defense {type(defense).__name__} changed, moved or added rows of the tenant's; it may mark rows, or leave "
            "some out, and its own rows come from guard_data"
        )
    if not rows:
        raise UsageError(f"the defense {type(defense).__name__} left out all of the tenant's rows")
    return rows


def rows_to_add(defense: Defense, upload: Upload, context: DefenseContext) -> list[Row]:
    """What the defense mixes into an upload. Raises UsageError for a row that passes for one of the tenant's."""
    rows = defense.guard_data(upload, context)
    if any(row.origin == TENANT for row in rows):
        raise UsageError(
            f"the defense {type(defense).__name__} made a row of origin {TENANT!r}, which is the tenant's own; give its "
            'rows an origin of the provider\'s, as in Row(conversation, origin="safety")'
        )
    return rows


def mixed(rows: Sequence[Row], provider: Sequence[Row], rng: random.Random) -> list[Row]:
    """The provider's rows spread evenly over the tenant's, whose order stays; where exactly each falls is drawn."""
    places = [(index + rng.random()) / len(provider) for index in range(len(provider))]
    keyed = [((index + 0.5) / len(rows), row) for index, row in enumerate(rows)]
    keyed += list(zip(places, provider, strict=True))
    return [row for _, row in sorted(keyed, key=lambda entry: entry[0])]


def _at_least(share: float, provider: list[Row], tenant: int) -> list[Row]:
    """The provider's rows, over and over until they are this share of all."""
    if not 0 <= share < 1:
        raise UsageError(
            f"the provider's least share is {share}; it must be at least 0 and less than 1", param="least_share"
        )
    wanted = math.ceil(share / (1 - share) * tenant)
    return list(itertools.islice(itertools.cycle(provider), max(wanted, len(provider))))


def _different(rows: Sequence[Row]) -> dict[str, int]:
    """How many different examples of each origin there are."""
    examples = {(row.origin, last_user_text(row.conversation)) for row in rows}
    return count_origins(origin for origin, _ in examples)


DEFENSES: DefenseRegistry[Defense] = DefenseRegistry("defense", Defense, "watchword.defenses")


def registered_origins() -> dict[str, RowOrigin]:
    """The row origins of every defense by name, in their own order. Imports all defenses."""
    found: dict[str, RowOrigin] = {}
    for name in DEFENSES.names():
        for origin in DEFENSES.get(name).origins:
            found.setdefault(origin.name, origin)
    return found


def defenses_of_rows_alone() -> list[str]:
    """The registered defenses that a file guarded for another trainer can hold. Imports them all."""
    return [name for name in DEFENSES.names() if not any(overrides(DEFENSES.get(name), seam) for seam in BEYOND_ROWS)]
