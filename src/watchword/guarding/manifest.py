"""What was done to a file, for the provider's records: counts, digests, places, shares, warnings; never the secret."""

from __future__ import annotations

from typing import Any

import msgspec

from watchword.chat.fault import counted
from watchword.chat.origins import described
from watchword.defenses.base import DEFENSES

SCHEMA = 2


class InputRecord(msgspec.Struct, frozen=True):
    """``sha256`` is of the source's bytes as they came, compressed or not; ``size`` in bytes of its rows as JSON lines."""

    source: str
    format: str
    rows: int
    size: int
    sha256: str


class OutputRecord(msgspec.Struct, frozen=True):
    """``settings`` are the files beside the data that a trainer needs to keep the defense intact."""

    file: str
    trainer: str
    rows: int
    size: int
    sha256: str
    settings: list[str]


class SecretRecord(msgspec.Struct, frozen=True):
    """``fingerprint`` is keyed and safe to log; ``kept_in`` is where the secret itself lies."""

    fingerprint: str
    tokens: int
    entropy_bits: float
    kept_in: str


class ProviderRecord(msgspec.Struct, frozen=True):
    """The provider's rows: how many of each origin, how many different ones, their tokens, and their places (row of the
    output, from 1)."""

    rows: dict[str, int]
    different: int
    prefixed: bool
    tokens: int
    trained_tokens: int
    longest_tokens: int
    placement: str
    places: list[int]


class AlignedRecord(msgspec.Struct, frozen=True):
    """The model that the defense asked: its name, and SHA-256 over its files (as in the manifest of ``watchword train``)."""

    model: str
    digest: str


class Shares(msgspec.Struct, frozen=True):
    """The provider's part of one epoch, from 0 to 1. Token shares are estimated: the tenant's rows are sampled."""

    rows: float
    tokens: float | None
    trained_tokens: float | None
    sampled_rows: int


class GuardManifest(msgspec.Struct, frozen=True):
    """Everything that an audit asks about one guarded file."""

    watchword: str
    model: str
    defense: str
    parameters: dict[str, Any]
    seed: int
    max_length: int
    input: InputRecord
    output: OutputRecord
    secret: SecretRecord | None
    provider: ProviderRecord
    share_per_epoch: Shares
    warnings: list[str]
    aligned: AlignedRecord | None = None
    schema: int = SCHEMA

    def text(self) -> bytes:
        """As indented JSON."""
        return msgspec.json.format(msgspec.json.encode(self), indent=2) + b"\n"

    def summary(self) -> list[str]:
        """A few lines for a person."""
        added, share = self.provider, self.share_per_epoch
        lines = [
            f"{self.output.file}: {counted(self.input.rows)} of the tenant ({self.input.format}), "
            f"{counted(sum(added.rows.values()))} of {self.defense}{self._origins()}"
        ]
        if share.trained_tokens is not None and added.tokens:
            lines.append(f"the provider's rows are about {share.trained_tokens:.2%} of each epoch's trained tokens")
        if self.secret is not None:
            lines.append(f"secret with fingerprint {self.secret.fingerprint}, kept in {self.secret.kept_in}")
        if self.output.settings:
            lines.append(f"settings for {self.output.trainer}: {', '.join(self.output.settings)}")
        return [*lines, *(f"warning: {text}" for text in self.warnings)]

    def _origins(self) -> str:
        told = described(self.provider.rows, DEFENSES.get(self.defense).origins)
        return f" ({told})" if told else ""
