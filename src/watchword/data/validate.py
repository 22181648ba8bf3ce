"""The one validator: every fault of a tenant's source, without stopping at the first, from the scan that ``guard`` uses."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path

from watchword.chat.content import notes
from watchword.chat.fault import Fault, counted
from watchword.chat.template import ChatTemplate
from watchword.chat.types import Conversation
from watchword.data.lines import UTF8_BOM
from watchword.data.parse import format_named, format_or_fault
from watchword.data.passes import ScanPlan, scan_file, worker_pool
from watchword.data.prepared import Prepared
from watchword.data.profile import Profile
from watchword.data.reading import AS_IT_IS, Reading
from watchword.data.rules import check
from watchword.data.sources import local_rows, own_rows, readable
from watchword.data.token_estimate import TokenEstimate, estimate
from watchword.errors import DataError, EmptyFileError
from watchword.files.addresses import Address
from watchword.secret.known import KnownSecrets
from watchword.secret.prompt import SecretPrompt

MINIMUM_ROWS = 10  # OpenAI's rule for a fine-tuning file
# A layout fault, so that it is listed once for all rows that have it.
_CARRIES = Fault(
    "the row carries a secret of this provider", "find out how it got there, and draw a new one", layout=True
)
_UNREAD = "nothing behind it is read"

__all__ = ["Fault", "ValidationReport", "check", "require_valid", "validate"]


@dataclass(frozen=True)
class ValidationReport:
    """``rows`` counts all rows that are not blank; ``faults`` holds the first ones, ``fault_count`` counts them all.

    ``tokens`` is None where no template was given, or where it writes none of the rows.
    """

    path: str
    format: str | None
    rows: int
    valid_rows: int
    faults: tuple[Fault, ...]
    fault_count: int
    warnings: tuple[str, ...]
    tokens: TokenEstimate | None = None

    @property
    def ok(self) -> bool:
        """Whether the file can be trained on. Warnings do not count."""
        return self.fault_count == 0 and self.rows > 0


def require_valid(
    conv: Conversation, *, path: Path | str | None = None, line: int | None = None, training: bool = True
) -> None:
    """Raises DataError at a conversation's first fault."""
    for fault in check(conv, line=line, training=training):
        raise fault.error(path)


def validate(
    source: Address,
    *,
    format: str = "auto",
    template: ChatTemplate | None = None,
    max_length: int | None = None,
    reading: Reading = AS_IT_IS,
    workers: int = 1,
    known: Iterable[SecretPrompt] = (),
) -> ValidationReport:
    """Every fault of a source, the first hundred with their text. Raises DataError only if it can't be read at all.

    With ``template``, rows that cannot be trained on with it are faults too; so are rows of more than ``max_length`` tokens.
    Rows that carry one of the ``known`` secrets are faults in any case.
    """
    if format != "auto":
        format_named(format)
    with local_rows(source, reading=reading) as raw:
        try:
            rows, stopped = own_rows(raw, reading)
        except DataError as error:  # no row is there, or none can be told from the others
            fault = Fault.of(error) if isinstance(error, EmptyFileError) else _unread(error)
            return ValidationReport(
                raw.label, None if format == "auto" else format, 0, 0, (fault,), 1, tuple(raw.remarks.texts())
            )
        named, first_line = (format, None) if format != "auto" else _format(rows, reading)
        secrets = tuple(KnownSecrets.of(known).texts)
        plan = ScanPlan(secrets, template, max_length, named or "openai", first_line, reading, every=True)
        with worker_pool(workers, plan) as pool:
            profile = scan_file(rows.path, plan, skip=rows.skip, workers=pool, whole=True).profile
        profile.in_source(rows.line_of)
        profile.add_faults([replace(_CARRIES, line=line) for line in profile.collisions])
        if stopped is not None:
            profile.add_faults([_unread(stopped)])
        return _report(raw, named, profile, template, reading)


def _report(
    raw: Prepared, format: str | None, profile: Profile, template: ChatTemplate | None, reading: Reading
) -> ValidationReport:
    if not profile.rows and not profile.fault_count:
        profile.add_faults([Fault("the file has no row", "give one JSON object a line")])
    tokens = None
    if template is not None:
        tokens = estimate(profile.samples, profile.size, template, format=format or "openai", reading=reading)
    left_out = [] if template is None else notes(profile.dropped, template.called)
    return ValidationReport(
        path=raw.label,
        format=format,
        rows=profile.rows,
        valid_rows=profile.valid_rows,
        faults=tuple(profile.faults),
        fault_count=profile.fault_count,
        warnings=(*raw.remarks.texts(), *profile.remarks.texts(), *_warnings(raw.path, profile.rows), *left_out),
        tokens=tokens,
    )


def _format(rows: Prepared, reading: Reading) -> tuple[str | None, int | None]:
    """The format of the first row that has one, and the line of that row, however many broken ones stand before it."""
    most = reading.limits.row_bytes
    with readable(rows.label), rows.path.open("rb") as stream:
        stream.seek(rows.skip)
        for line, raw in enumerate(iter(lambda: stream.readline(most + 3), b""), start=1):
            if len(raw.rstrip(b"\r\n")) > most:  # the scan says so of it; what stands behind is of no known format
                break
            found = format_or_fault(raw, line, reading) if raw.strip() else None
            if isinstance(found, str):
                return found, rows.line_of(line)
    return None, None


def _unread(error: DataError) -> Fault:
    return Fault(error.problem, _UNREAD, error.field, error.line)


def _warnings(path: Path, rows: int) -> tuple[str, ...]:
    found = []
    with path.open("rb") as stream:
        if stream.read(3) == UTF8_BOM:
            found.append("the file begins with a byte order mark; it is skipped, but other trainers may refuse it")
    if 0 < rows < MINIMUM_ROWS:
        found.append(f"the file has {counted(rows)}; hosted fine-tuning services ask for at least {MINIMUM_ROWS}")
    return tuple(found)
