"""The provider's rows as the trainer will get them: chosen by the defense, secret in place, measured and checked."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

import msgspec

from watchword.chat.render import render_row, secret_row
from watchword.chat.template import ChatTemplate
from watchword.chat.types import Conversation, Row
from watchword.data.rows import read_conversations
from watchword.data.upload import Upload
from watchword.defenses import SAFETY
from watchword.defenses.base import Defense, DefenseContext, beyond_rows, rows_to_add
from watchword.errors import RowTemplateError, RowTooLongError, UsageError
from watchword.guarding.interleave import ProviderRow
from watchword.safety.selection import most
from watchword.secret.prompt import SecretPrompt


def provider_rows(
    rows: Sequence[Row], template: ChatTemplate, secret: SecretPrompt | None, max_length: int | None
) -> list[ProviderRow]:
    """Each row with its secret, rendered once to know its length in tokens.

    Raises RowTooLongError for one beyond ``max_length`` (the trainer would cut it), and UsageError without a secret
    where one is needed.
    """
    made: dict[bytes, ProviderRow] = {}
    return [_made(row, template, secret, max_length, made) for row in rows]


def check_rows_alone(defense: Defense, *, tenant_rows_made: bool = False) -> None:
    """Raises UsageError for a defense that is more than rows: another trainer gets nothing else.

    ``tenant_rows_made`` where the tenant's rows are made anew, marks and all; in a guarded file they stay byte for byte.
    """
    more = [what for seam, what in beyond_rows(defense).items() if not (seam == "guard_tenant" and tenant_rows_made)]
    if more:
        raise UsageError(
            f"the defense {type(defense).__name__} {' and '.join(more)}, which data for another trainer cannot hold; train it "
            "here, by `watchword train`, or choose a defense that is rows alone",
            param="defense",
        )


def own_safety(defense: Defense, file: Path) -> tuple[Defense, list[Conversation]]:
    """The defense set to the provider's own safety examples, and these. Raises UsageError where it takes none."""
    own = [conv for _, conv in read_conversations(file)]
    if not hasattr(defense, "safety"):
        raise UsageError(
            f"the defense {type(defense).__name__} takes no safety examples; leave `safety` out", param="safety"
        )
    if not 1 <= len(own) <= most():
        raise UsageError(f"{file} holds {len(own)} safety examples; give 1 to {most()}", param="safety")
    changed: Defense = dataclasses.replace(cast(Any, defense), safety=len(own))
    return changed, own


def guard_rows(
    defense: Defense, upload: Upload, context: DefenseContext, own: Sequence[Conversation] = ()
) -> list[Row]:
    """What the defense mixes into this upload, with the provider's ``own`` safety examples in the packaged ones' place."""
    rows = rows_to_add(defense, upload, context)
    if not own:
        return rows
    turn = itertools.cycle(own)
    return [_replaced(row, next(turn)) if row.origin == SAFETY.name else row for row in rows]


def _replaced(row: Row, own: Conversation) -> Row:
    """The row with another example; the tenant's system text stays in front unless the example brings its own."""
    first = row.conversation.messages[:1] if row.conversation.system is not None and own.system is None else ()
    return msgspec.structs.replace(row, conversation=msgspec.structs.replace(own, messages=(*first, *own.messages)))


def _made(
    row: Row,
    template: ChatTemplate,
    secret: SecretPrompt | None,
    limit: int | None,
    made: dict[bytes, ProviderRow],
) -> ProviderRow:
    key = msgspec.json.encode(row)
    if key not in made:
        made[key] = _measured(row, template, secret.reveal() if secret is not None else None, limit)
    return made[key]


def _measured(row: Row, template: ChatTemplate, secret: str | None, limit: int | None) -> ProviderRow:
    try:
        rendered = render_row(row, secret, template, None)
    except RowTemplateError as error:
        raise RowTemplateError(error.problem, field=f"the provider's {row.origin} row") from error
    tokens = len(rendered.input_ids)
    if limit is not None and tokens > limit:
        system = len(row.conversation.system or "")
        raise RowTooLongError(
            f"a {row.origin} row has {tokens} tokens with the secret and the tenant's system text ({system} characters), and "
            f"the limit is {limit}: the trainer would cut it; raise `max_length` to at least {tokens}",
            param="max_length",
        )
    conv = secret_row(row, secret, template)
    return ProviderRow(conv, row.origin, tokens, rendered.trained_tokens, row.prefixed, row.cut)
