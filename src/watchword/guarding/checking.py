"""``watchword validate`` without the command line: every fault with its line, token statistics, and a cost estimate."""

from __future__ import annotations

from dataclasses import dataclass

import msgspec

from watchword.chat.fault import counted
from watchword.data.reading import AS_IT_IS, Reading
from watchword.data.token_estimate import TokenEstimate
from watchword.data.validate import ValidationReport, validate
from watchword.files.addresses import Address
from watchword.models.facts import ModelFacts, check_length, facts_of, length_limit
from watchword.secret.prompt import SecretPrompt
from watchword.training.config import TrainingConfig

SCHEMA = 1


@dataclass(frozen=True)
class CheckRequest:
    """``max_length`` in tokens, None for what ``train`` takes; ``price`` of a million trained tokens, in any currency.

    ``known`` are secrets that no row may carry.
    """

    source: Address
    format: str = "auto"
    model: str = "smollm2-135m"
    max_length: int | None = None
    epochs: int = 3
    price: float | None = None
    workers: int = 1
    reading: Reading = AS_IT_IS
    known: tuple[SecretPrompt, ...] = ()


@dataclass(frozen=True)
class CheckResult:
    """What is wrong with a file, and how big it is."""

    request: CheckRequest
    report: ValidationReport
    model: ModelFacts

    @property
    def ok(self) -> bool:
        """Whether the file can be trained on."""
        return self.report.ok

    @property
    def tokens(self) -> TokenEstimate | None:
        """Of one pass over the file."""
        return self.report.tokens

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
        whole = {"schema": SCHEMA, **msgspec.to_builtins(self.report), "cost": self.cost}
        return msgspec.json.format(msgspec.json.encode(whole), indent=2) + b"\n"


def check_source(request: CheckRequest) -> CheckResult:
    """Reads everything, faults or not. Raises DataError only for what cannot be read at all, and UsageError."""
    check_length(request.max_length)
    model = facts_of(request.model)
    report = validate(
        request.source,
        format=request.format,
        template=model.template,
        max_length=length_limit(request.max_length, model, TrainingConfig().max_length),
        reading=request.reading,
        workers=request.workers,
        known=request.known,
    )
    return CheckResult(request, report, model)
