"""``watchword.guard``: rows in memory in, guarded rows for a trainer in the same process out."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import msgspec

from watchword.chat.content import notes
from watchword.chat.fault import shown
from watchword.chat.render import render_row, row_error, secret_row
from watchword.chat.template import ChatTemplate
from watchword.chat.types import Conversation, Row
from watchword.data.parse import detect_format
from watchword.data.reading import AS_IT_IS, Reading
from watchword.data.remarks import Remarks
from watchword.data.rows import TenantRow, TenantRows, read_rows, row_of
from watchword.data.validate import require_valid
from watchword.defenses.base import DEFENSES, guarded
from watchword.errors import DataError, UsageError
from watchword.files.addresses import Address
from watchword.guarding.known import known_secrets
from watchword.guarding.provider import check_rows_alone
from watchword.guarding.voice import aligned_model, context_of
from watchword.models.base import ChatModel
from watchword.models.facts import check_length, facts_of
from watchword.secret.generate import generate_secret, secret_ids
from watchword.secret.keys import provider_key
from watchword.secret.kinds import check_production
from watchword.secret.known import KnownSecrets, refuse_carriers
from watchword.secret.prompt import SecretPrompt
from watchword.secret.vault import write_secret_file


@dataclass(frozen=True)
class GuardedData:
    """The tenant's rows with the provider's among them. The secret comes in when rows are asked for, not before.

    ``max_length`` in tokens; None lets every row through. ``added`` counts the provider's different examples
    by origin; ``remarks`` says what somebody should know about the tenant's rows. ``dropped`` counts rows by what the
    chat template leaves out of them.
    """

    rows: tuple[Row, ...] = field(repr=False)
    template: ChatTemplate = field(repr=False)
    secret: SecretPrompt | None = None
    max_length: int | None = None
    added: Mapping[str, int] = field(default_factory=dict)
    remarks: tuple[str, ...] = ()
    dropped: Mapping[str, int] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.rows)

    def conversations(self) -> list[Conversation]:
        """Every row as it is trained on, with the secret where it belongs."""
        return [self._whole(row) for row in self.rows]

    def messages(self) -> list[dict[str, Any]]:
        """Rows of OpenAI's chat format. A trainer must put the loss on assistant turns only: better take ``token_rows``."""
        return [msgspec.json.decode(msgspec.json.encode(conv)) for conv in self.conversations()]

    def token_rows(self) -> list[dict[str, list[int]]]:
        """``input_ids`` and ``labels`` (-100 where no loss falls), both T long, for any trainer of transformers' kind.

        Raises RowTooLongError for a row beyond ``max_length``.
        """
        return [self._tokens(number, row) for number, row in enumerate(self.rows, start=1)]

    def dataset(self) -> Any:
        """``token_rows`` as a ``datasets.Dataset``, for TRL and transformers; give TRL the same ``max_length``, or it cuts rows."""
        from datasets import Dataset

        return Dataset.from_list(self.token_rows())

    def save_secret(self, path: Path | str) -> None:
        """Keeps the secret in a file (mode 0600, never replaced): without it the tuned model cannot be served safely."""
        if self.secret is None:
            raise UsageError("this defense has no secret, so there is none to save")
        write_secret_file(Path(path), self.secret)

    def _whole(self, row: Row) -> Conversation:
        return secret_row(row, self._secret, self.template)

    @property
    def _secret(self) -> str | None:
        return None if self.secret is None else self.secret.reveal()

    def _tokens(self, number: int, row: Row) -> dict[str, list[int]]:
        try:
            rendered = render_row(row, self._secret, self.template, self.max_length)
        except DataError as error:
            raise row_error(error, row, number) from None
        return {"input_ids": list(rendered.input_ids), "labels": list(rendered.labels)}


def guard(
    rows: Iterable[Mapping[str, Any] | Conversation] | str | Path,
    *,
    tokenizer: Any,
    defense: str = "anchored_align",
    secret: SecretPrompt | None = None,
    seed: int = 0,
    max_length: int | None = None,
    aligned: str | ChatModel | None = None,
    known: Sequence[Path | str] = (),
    reading: Reading = AS_IT_IS,
    **parameters: Any,
) -> GuardedData:
    """Mixes a defense's rows into a tenant's: ``watchword.guard(rows, tokenizer=tok).dataset()``.

    ``rows``: dicts of any format that ``watchword guard`` reads, Conversations, a ``datasets.Dataset``, or the path or
    address of whatever the command reads. ``tokenizer``: a fast tokenizer of transformers, a ChatTemplate, or a model's
    name. ``aligned``: the model before fine-tuning, by name or as ``models.load`` gives it, for defenses that ask it;
    without it they use the packaged answers. ``reading``: what is left out of rows, and how much is read.
    ``parameters`` go to the defense. Without ``secret`` one is drawn; keep it with ``save_secret``. ``known``: files of
    secrets, releases, or folders of such, that no row may carry; so are those kept beside a path of ``rows``. Raises
    DataError with the row's number (from 1) at the first fault, such as a tool call that the chat template does not
    write. Raises SecretCollisionError for a row that carries a known secret. Warns of what the template leaves out and
    may leave out: thoughts, text beside a call.
    """
    chosen = DEFENSES.create(defense, **parameters)
    check_rows_alone(chosen, tenant_rows_made=True)
    check_length(max_length)
    if isinstance(rows, Mapping) or not isinstance(rows, (Iterable, Path)):
        raise UsageError(f"rows is {shown(rows)}; give a list of rows, or the path or address of a file")
    template = _template(tokenizer, max_length)
    source = Address.parse(rows) if isinstance(rows, (str, Path)) else None
    remarks = Remarks()
    tenant = _tenant_rows(source if source is not None else cast(Iterable[Any], rows), reading, remarks)
    secret = _checked(secret, template) if chosen.needs_secret else None
    others = known_secrets([] if source is None else [source], map(Path, known), provider_key)
    place = "row" if source is None else "line"
    refuse_carriers(tenant.numbered(), KnownSecrets.of((*others, secret)), tenant.label or "rows", place)
    dropped = tenant.check(template)
    for text in notes(dropped, template.called):
        warnings.warn(text, stacklevel=2)
    voice = aligned_model(aligned, chosen) if isinstance(aligned, str) else aligned
    mixed = guarded(chosen, tenant.conversations(), context_of(voice, template, secret, max_length, seed))
    return GuardedData(tuple(mixed.rows), template, secret, max_length, mixed.added, tuple(remarks.texts()), dropped)


def _template(tokenizer: Any, max_length: int | None) -> ChatTemplate:
    """The chat template. Raises UsageError for a limit that the model of this name cannot read."""
    if isinstance(tokenizer, ChatTemplate):
        return tokenizer
    if not isinstance(tokenizer, str):
        return ChatTemplate.from_transformers(tokenizer)
    model = facts_of(tokenizer)
    check_length(max_length, model)
    return model.template


def _checked(secret: SecretPrompt | None, template: ChatTemplate) -> SecretPrompt:
    """The secret if it is fit for production with this template, or a new one."""
    if secret is None:
        return generate_secret(template)
    check_production(secret)
    secret_ids(secret, template)
    return secret


def _tenant_rows(rows: Address | Iterable[Any], reading: Reading, remarks: Remarks) -> TenantRows:
    if isinstance(rows, Address):
        return read_rows(rows, reading=reading, remarks=remarks)
    tenant = list(_in_memory(rows, reading, remarks))
    if not tenant:
        raise DataError("there is no row to guard; give at least one conversation with an assistant turn")
    return TenantRows(tenant)


def _in_memory(
    rows: Iterable[Mapping[str, Any] | Conversation], reading: Reading, remarks: Remarks
) -> Iterator[TenantRow]:
    format: str | None = None
    for number, row in enumerate(rows, start=1):
        reading.limits.check_rows(number, "rows")
        if isinstance(row, Conversation):
            require_valid(row, line=number)
            yield TenantRow(number, row)
            continue
        raw = msgspec.json.encode(row)
        reading.limits.check_row(len(raw), number, "rows")
        format = format or detect_format(raw, number, reading=reading)
        yield row_of(raw, number, "rows", format, first_line=1, reading=reading, remarks=remarks)
