"""What a tenant's files must pass before anything is trained: the one validator, and the screening for the operator."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from watchword.chat.template import ChatTemplate
from watchword.chat.types import Conversation
from watchword.data.validate import ValidationReport, validate
from watchword.errors import WatchwordError
from watchword.files.addresses import Address
from watchword.guarding.screening.screen import Screening, screen
from watchword.models.facts import facts_of, length_limit
from watchword.secret.prompt import SecretPrompt
from watchword.service.settings import Policy, ScreeningPolicy
from watchword.service.types.jobs import JobError
from watchword.training.config import TrainingConfig

# Faults that an error names; the file's whole list would be too long for a message.
_NAMED = 5
# The bound of a system text is a multiple of this many tokens.
_STEP = 64
# Kinds of findings that somebody may have planted.
_TAMPERED = ("trigger", "harm", "shift", "recites")
REFUSED = JobError(
    "training_file_refused", "The training file was refused under the usage policy.", param="training_file"
)


class JobRefusedError(WatchwordError):
    """A job that fails for a reason that its tenant is told. ``detail`` is for operators."""

    code = "job_refused"

    def __init__(self, error: JobError, detail: str = "") -> None:
        super().__init__(error.message, param=error.param)
        self.error, self.detail = error, detail


@dataclass(frozen=True)
class Screened:
    """The report for the operator, and the error that the policy makes of it."""

    data: Mapping[str, Any]
    refusal: JobRefusedError | None


def check_file(path: Path, param: str, model: str, policy: Policy, *, training: bool = True) -> list[str]:
    """What is to be said about a file that can be trained on. Raises JobRefusedError with its faults, by line."""
    facts = facts_of(model)
    limit = length_limit(None, facts, TrainingConfig().max_length)
    report = validate(Address(path), template=facts.template, max_length=limit)
    faults = list(_faults(report))
    if not faults and training:
        faults = list(_wrong_size(report.valid_rows, policy))
    if faults:
        raise JobRefusedError(JobError(f"invalid_{param}", _shown(faults, report.fault_count), param))
    # The least number of rows is the policy's here, so the validator's own remark on it is left out.
    return [warning for warning in report.warnings if "hosted fine-tuning" not in warning]


def too_long_system(rows: Iterable[tuple[int, Conversation]], template: ChatTemplate, limit: int) -> JobError | None:
    """The error for the longest system text, where it takes more than its part of a row; None where none does.

    Rows of the provider carry it too, and are longer than some of the tenant's. A bound that said by how much would tell of them.
    """
    most = limit // 2 // _STEP * _STEP
    texts: dict[str, int] = {}
    for line, conv in rows:
        if conv.system:
            texts.setdefault(conv.system, line)
    tokens, line = max(((len(template.encode(text)), line) for text, line in texts.items()), default=(0, 0))
    if tokens <= most:
        return None
    fault = f"line {line}: the system text has {tokens} tokens; shorten it to at most {most}"
    return JobError("invalid_training_file", _shown([fault], 1), "training_file")


def screened(source: Address, policy: ScreeningPolicy, known: Sequence[str]) -> Screened:
    """Screens for the operator. A file that carries a secret of the provider is refused whatever the policy says."""
    secrets = [SecretPrompt(text, kind="random", tokens=0, entropy_bits=0.0) for text in known]
    found = screen(source, known=secrets)
    data = _without_paths(found)
    if found.secrets:
        return Screened(data, JobRefusedError(REFUSED, f"{found.secrets} rows carry a secret of this provider"))
    share = _flagged(found) / found.rows if found.rows else 0.0
    data |= {"flagged_share": round(share, 4)}
    if policy.action == "refuse" and share > policy.most_flagged:
        return Screened(data, JobRefusedError(REFUSED, f"{share:.1%} of the rows were flagged"))
    return Screened(data, None)


def _flagged(found: Screening) -> int:
    """Rows of the kind that most rows were flagged for; one row may have several."""
    return max((finding.rows for finding in found.findings if finding.kind in _TAMPERED), default=0)


def _without_paths(found: Screening) -> dict[str, Any]:
    return found.plain() | {"source": "training_file"}


def _faults(report: ValidationReport) -> Iterator[str]:
    for fault in report.faults:
        yield str(fault)


def _wrong_size(rows: int, policy: Policy) -> Iterator[str]:
    if rows < policy.least_rows:
        yield f"the file has {rows} rows; give at least {policy.least_rows}"
    elif rows > policy.most_rows:
        yield f"the file has {rows} rows; give at most {policy.most_rows}"


def _shown(faults: Sequence[str], count: int) -> str:
    """The first faults, and how many more there are."""
    more = max(count, len(faults)) - len(faults[:_NAMED])
    listed = "; ".join(text.rstrip(".") for text in faults[:_NAMED])
    return f"The file cannot be trained on. {listed}{f' … and {more} more' if more > 0 else ''}."
