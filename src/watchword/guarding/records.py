"""From what was done to what is written down: counts, places, shares and warnings of one guarded file."""

from __future__ import annotations

from importlib.metadata import version
from typing import Any

from watchword.chat.content import notes
from watchword.chat.origins import count_origins
from watchword.data.token_estimate import TokenEstimate, estimate
from watchword.defenses.base import Defense
from watchword.guarding.engine import GuardJob, Outcome
from watchword.guarding.manifest import (
    AlignedRecord,
    GuardManifest,
    InputRecord,
    OutputRecord,
    ProviderRecord,
    SecretRecord,
    Shares,
)
from watchword.registry import arguments_of

# Provider's tokens of an epoch below this part are likely to be forgotten (docs/training.md: small files want small batches).
FEW = 0.01


def manifest_of(
    job: GuardJob,
    outcome: Outcome,
    secret: SecretRecord | None,
    trainer: str,
    defense: str,
    settings: list[str],
    aligned: AlignedRecord | None = None,
) -> GuardManifest:
    """The manifest of a finished job; ``settings`` are the names of the files beside the data."""
    profile, source = outcome.profile, outcome.source
    tokens = estimate(profile.samples, profile.size, job.model.template)
    shares = _shares(outcome, tokens)
    return GuardManifest(
        watchword=version("watchword"),
        model=job.model.name,
        defense=defense,
        parameters=_parameters(job.defense),
        seed=job.seed,
        max_length=job.max_length,
        input=InputRecord(source.label, source.format, profile.rows, profile.size, outcome.source_sha256),
        output=OutputRecord(
            str(job.out), trainer, profile.rows + len(outcome.rows), outcome.size, outcome.sha256, settings
        ),
        secret=secret,
        provider=_provider(outcome),
        share_per_epoch=shares,
        warnings=_warnings(job, outcome, shares),
        aligned=aligned,
    )


def _parameters(defense: Defense) -> dict[str, Any]:
    """All of them, defaults too: an audit must not have to know what the defaults of this version were."""
    return arguments_of(defense, {})


def _provider(outcome: Outcome) -> ProviderRecord:
    rows = outcome.rows
    return ProviderRecord(
        rows=count_origins(row.origin for row in rows),
        different=len({id(row) for row in rows}),
        prefixed=any(row.prefixed for row in rows),
        tokens=sum(row.tokens for row in rows),
        trained_tokens=sum(row.trained_tokens for row in rows),
        longest_tokens=max((row.tokens for row in rows), default=0),
        placement="evenly spread over the tenant's rows, whose order stays; each place drawn from the seed",
        places=[before + index + 1 for index, before in enumerate(outcome.places)],
    )


def _shares(outcome: Outcome, tokens: TokenEstimate | None) -> Shares:
    ours = len(outcome.rows)
    if tokens is None:
        return Shares(_part(ours, outcome.profile.rows), None, None, 0)
    return Shares(
        rows=_part(ours, outcome.profile.rows),
        tokens=_part(sum(row.tokens for row in outcome.rows), tokens.total),
        trained_tokens=_part(sum(row.trained_tokens for row in outcome.rows), tokens.trained),
        sampled_rows=tokens.sampled,
    )


def _part(ours: int, theirs: int) -> float:
    """Ours of the whole, to four figures."""
    whole = ours + theirs
    return 0.0 if not ours else float(f"{ours / whole:.4g}")


def _warnings(job: GuardJob, outcome: Outcome, shares: Shares) -> list[str]:
    found = []
    profile = outcome.profile
    if profile.long_count:
        word = "row" if outcome.source.converted else "line"
        first = ", ".join(f"{word} {row.line} ({row.tokens} tokens)" for row in profile.long_rows[:5])
        more = ", …" if profile.long_count > 5 else ""
        found.append(
            f"{profile.long_count} tenant rows are longer than {job.max_length} tokens: {first}{more}; "
            f"{job.exporter.long_rows}"
        )
    found += notes(profile.dropped, job.model.template.called)
    share = shares.trained_tokens
    if outcome.rows and share is not None and share < FEW:
        found.append(
            f"the provider's rows are {share:.2%} of an epoch's trained tokens; so few may be forgotten: raise the defense's "
            "repetition, or train it on a part of the file"
        )
    if job.defense.asks_model and job.aligned is None:
        found.append(
            "no model was asked: the provider's rows are the packaged ones, and none of the tenant's own requests is echoed; "
            "name the model before fine-tuning by `aligned`"
        )
    if job.model.adapters:
        found.append(
            f"{job.model.location} lacks the adapter that makes {job.model.name}: merge the two first (docs/trainers.md), "
            "or name a whole model by `model`"
        )
    found += profile.remarks.texts()
    if profile.blank_lines:
        found.append(f"{profile.blank_lines} blank lines were left out")
    return found
