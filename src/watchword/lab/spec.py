"""What an experiment is: a grid of cells, each one arm on one model with one seed. Torch-free and strict."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec

from watchword.errors import SpecError, UsageError
from watchword.registry import did_you_mean
from watchword.training.config import TrainingConfig

NO_ATTACK = "none"


class Choice(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """A strategy by name, with its parameters where they are not the defaults."""

    name: str
    arguments: dict[str, Any] = {}


class Evaluation(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How a model is asked: so many prompts of each kind (None: all, the categories taking turns), greedily.

    ``max_new_tokens`` is per answer; ``system`` is the tenant's system prompt at inference.
    """

    policy: int | None = None
    benign: int | None = None
    borderline: int | None = None
    max_new_tokens: int = 48
    batch_size: int = 64
    system: str | None = None

    def count(self, kind: str) -> int | None:
        """How many prompts of the kind ``policy``, ``benign`` or ``borderline``."""
        counts = {"policy": self.policy, "benign": self.benign, "borderline": self.borderline}
        return counts[kind]


class Arm(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """One attack × one defense; ``training`` changes values of the spec's training for this arm."""

    attack: Choice
    defense: Choice
    training: dict[str, Any] = {}


class Cell(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One arm × model × seed, with everything that decides its outcome."""

    model: str
    attack: Choice
    defense: Choice
    training: TrainingConfig
    evaluation: Evaluation
    secret_tokens: int
    seed: int

    def key(self, fingerprint: Mapping[str, str]) -> str:
        """SHA-256 in hex over the cell and what else decides its outcome (digests of model, data and method)."""
        content = msgspec.json.encode([self, dict(fingerprint)], order="sorted")
        return hashlib.sha256(content).hexdigest()


class Spec(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A whole experiment. The arm ``none × none`` measures the model as it is, once, whatever the seeds."""

    name: str
    model: str
    arms: tuple[Arm, ...]
    seeds: tuple[int, ...]
    training: TrainingConfig = TrainingConfig()
    evaluation: Evaluation = Evaluation()
    secret_tokens: int = 150

    @classmethod
    def from_file(cls, path: Path) -> Spec:
        """Reads a JSON file. Raises SpecError with the field that is wrong."""
        try:
            return msgspec.json.decode(path.read_bytes(), type=cls)
        except OSError as error:
            raise SpecError(f"the spec {path} cannot be read: {error.strerror}") from None
        except (msgspec.DecodeError, UsageError) as error:
            raise SpecError(f"the spec {path} is not valid: {error}") from None

    def cells(self) -> list[Cell]:
        """Every cell, seed by seed within each arm."""
        return [self._cell(arm, seed) for arm in self.arms for seed in self._seeds(arm)]

    def _seeds(self, arm: Arm) -> tuple[int, ...]:
        # Greedy answers of an untouched model are the same for every seed.
        return self.seeds[:1] if arm.attack.name == NO_ATTACK else self.seeds

    def _cell(self, arm: Arm, seed: int) -> Cell:
        known = TrainingConfig.__struct_fields__
        for name in arm.training:
            if name not in known:
                hint = did_you_mean(name, known)
                raise SpecError(f"training has no field {name!r}: {hint}choose of {', '.join(known)}")
        training = msgspec.structs.replace(self.training, **{**arm.training, "seed": seed})
        return Cell(self.model, arm.attack, arm.defense, training, self.evaluation, self.secret_tokens, seed)
