"""``watchword validate`` without the command line: every fault with its line, token statistics, and a cost estimate."""

from __future__ import annotations

from dataclasses import dataclass, replace

import msgspec

from watchword.chat.content import notes
from watchword.chat.fault import counted
from watchword.chat.rowcheck import RowCheck
from watchword.chat.template import ChatTemplate
from watchword.data.passes import ScanPlan, scan_file, worker_pool
from watchword.data.profile import MAX_FAULTS, Profile
from watchword.data.reading import AS_IT_IS, Reading
from watchword.data.sources import Prepared, as_lines, local_rows, openai_lines
from watchword.data.token_estimate import TokenEstimate, estimate
from watchword.data.validate import ValidationReport, _warnings, validate_file
from watchword.errors import DataError
from watchword.models.base import row_limit
from watchword.models.facts import ModelFacts, check_length, facts_of
from watchword.training.config import TrainingConfig

SCHEMA = 1


@dataclass(frozen=True)
class CheckRequest:
    """``max_length`` in tokens, None for what ``train`` takes; ``price`` of a million trained tokens, in any currency."""

    source: str
    format: str = "auto"
    model: str = "smollm2-135m"
    max_length: int | None = None
    epochs: int = 3
    price: float | None = None
    workers: int = 1
    reading: Reading = AS_IT_IS


@dataclass(frozen=True)
class CheckResult:
    """What is wrong with a file, and how big it is."""

    request: CheckRequest
    report: ValidationReport
    model: ModelFacts
    profile: Profile | None
    tokens: TokenEstimate | None

    @property
    def ok(self) -> bool:
        """Whether the file can be trained on."""
        return self.report.ok

    @property
    def cost(self) -> float | None:
        """Of all epochs, in the price's currency."""
        if self.request.price is None or self.tokens is None:
            return None
        return self.request.price * self.request.epochs * self.tokens.total / 1e6

    def lines(self) -> list[str]:
        """For a person."""
        report = self.report
        lines = [
            f"{report.path}: {counted(report.rows)}, {report.valid_rows} valid, format {report.format or 'unknown'}"
        ]
        lines += [f"error: {fault}" for fault in report.faults]
        listed = sum(fault.rows for fault in report.faults)
        if report.fault_count > listed:
            lines.append(f"error: and {report.fault_count - listed} more")
        lines += [f"warning: {text}" for text in report.warnings]
        return [*lines, *self._token_lines()]

    def _token_lines(self) -> list[str]:
        tokens = self.tokens
        if tokens is None:
            return []
        lines = [
            f"tokens ({self.model.name}): about {tokens.total} a pass, {tokens.trained} of them trained; a row has {tokens.median} "
            f"(median), {tokens.p95} (95 %), at most {tokens.longest} among {tokens.sampled} sampled"
        ]
        if self.cost is not None:
            lines.append(
                f"cost: about {self.cost:.2f} for {self.request.epochs} epochs at {self.request.price} a million tokens"
            )
        return lines

    def json(self) -> bytes:
        """The whole report."""
        report = msgspec.to_builtins(self.report)
        whole = {"schema": SCHEMA, **report, "tokens": self.tokens, "cost": self.cost}
        return msgspec.json.format(msgspec.json.encode(whole), indent=2) + b"\n"


def check_source(request: CheckRequest) -> CheckResult:
    """Reads everything, faults or not. Raises DataError only for what cannot be read at all, and UsageError."""
    check_length(request.max_length)
    model = facts_of(request.model)
    reading, limit = request.reading, row_limit(request.max_length or TrainingConfig().max_length, model.context)
    with local_rows(request.source, reading=reading) as raw:
        lines = _openai_lines(raw, request.format, reading)
        profile: Profile | None
        if lines is not None:
            plan = ScanPlan((), model.template, limit, lines.first_line, reading.limits, every=True)
            profile = found = _scanned(request, lines, plan)
            report = _report(lines, found, model.template)
        else:
            check = RowCheck(model.template, limit, every=True)
            found_in = validate_file(
                raw.path, format=request.format, max_errors=MAX_FAULTS, reading=reading, check=check
            )
            report = replace(found_in, path=raw.label, warnings=(*raw.remarks.texts(), *found_in.warnings))
            # Every row has been rendered, where its own line is known; tokens are counted from what rows are written anew as.
            written = as_lines(raw, request.format, reading) if report.ok else None
            profile = _scanned(request, written, ScanPlan(limits=reading.limits)) if written is not None else None
    tokens = None if profile is None else estimate(profile.samples, profile.size, model.template)
    return CheckResult(request, report, model, profile, tokens)


def _openai_lines(raw: Prepared, format: str, reading: Reading) -> Prepared | None:
    """None also where the first row is broken: the careful validator then looks for a better one."""
    try:
        return openai_lines(raw, format, reading)
    except DataError:
        return None


def _scanned(request: CheckRequest, source: Prepared, plan: ScanPlan) -> Profile:
    with worker_pool(request.workers, plan) as workers:
        return scan_file(source.path, plan, skip=source.skip, workers=workers, whole=True).profile


def _report(source: Prepared, profile: Profile, template: ChatTemplate) -> ValidationReport:
    """The report that ``data.validate.validate_file`` would give, from a scan."""
    return ValidationReport(
        path=source.label,
        format=source.format,
        rows=profile.rows,
        valid_rows=profile.valid_rows,
        faults=tuple(profile.faults),
        fault_count=profile.fault_count,
        warnings=(
            *profile.remarks.texts(),
            *_warnings(source.path, profile.rows),
            *notes(profile.dropped, template),
        ),
    )
