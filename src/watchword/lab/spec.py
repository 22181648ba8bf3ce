"""What an experiment is, as data: a spec file becomes a grid of cells. Torch-free, and strict: a typo is an error.

{"name": "foundation", "model": "smollm2-135m", "seeds": [0, 1, 2],
 "arms": [{"attack": {"name": "none"}},
          {"attack": {"name": "fj_attack", "arguments": {"n": 100}}, "defense": {"name": "backdoor_align"}}]}
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec

from watchword.attacks.base import ATTACKS
from watchword.benchmarks.base import ANSWERS, check_count, chosen_benchmarks
from watchword.defenses.base import DEFENSES
from watchword.errors import SpecError, UsageError
from watchword.models.base import GenerationOptions
from watchword.registry import Registry, did_you_mean, spelled
from watchword.training.config import TrainingConfig

# The attack of the aligned model's own cell: no upload, no training, no defense.
NO_ATTACK = "none"
ALIGNED = "aligned"
# What the name of a model begins with that somebody else trains.
REMOTE = "remote:"


class Choice(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A strategy by name, and the arguments that differ from its defaults. Hyphens in names become underscores."""

    name: str
    arguments: dict[str, Any] = {}

    def __post_init__(self) -> None:
        if not self.name.strip():
            raise ValueError("name is empty; give the name of a strategy")
        msgspec.structs.force_setattr(self, "name", spelled(self.name))

    @property
    def label(self) -> str:
        """``fj_attack n=100``: what reports call it."""
        return " ".join([self.name, *(f"{key}={value}" for key, value in sorted(self.arguments.items()))])


NONE = Choice(NO_ATTACK)


class Evaluation(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What every model is asked. ``benchmarks`` holds arguments by the benchmark's name.

    Every registered benchmark is run, but those that need an argument only where they are named here. Null in place of
    arguments leaves one out: ``{"policy": {"count": 44}, "task": null}``. ``max_new_tokens`` is in tokens an answer,
    ``batch_size`` in answers; ``system`` is the system prompt of every question that brings none (None: the template's own).
    """

    benchmarks: dict[str, dict[str, Any] | None] = {}
    max_new_tokens: int = ANSWERS.max_new_tokens
    batch_size: int = ANSWERS.batch_size
    system: str | None = None
    # Numbers of prompts, as specs said them before they named benchmarks. They are read into ``benchmarks``.
    policy: int | msgspec.UnsetType | None = msgspec.UNSET
    benign: int | msgspec.UnsetType | None = msgspec.UNSET
    borderline: int | msgspec.UnsetType | None = msgspec.UNSET
    task: int | msgspec.UnsetType | None = msgspec.UNSET

    def __post_init__(self) -> None:
        named = {spelled(name): given for name, given in self.benchmarks.items()}
        for field, (benchmark, argument) in _OLD_COUNTS.items():
            count = getattr(self, field)
            if isinstance(count, int):
                check_count(field, count)
                named[benchmark] = {**(named.get(benchmark) or {}), argument: count}
            msgspec.structs.force_setattr(self, field, msgspec.UNSET)
        msgspec.structs.force_setattr(self, "benchmarks", named)
        for name in ("max_new_tokens", "batch_size"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} is {getattr(self, name)}; it must be at least 1")

    @property
    def answers(self) -> GenerationOptions:
        """How answers are made."""
        return GenerationOptions(max_new_tokens=self.max_new_tokens, batch_size=self.batch_size)


_OLD_COUNTS = {
    "policy": ("policy", "count"),
    "benign": ("over_refusal", "benign"),
    "borderline": ("over_refusal", "borderline"),
    "task": ("task", "count"),
}


class Cell(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One run: arm × model × seed. ``training`` is None for the aligned model's own cell, which is measured as it is."""

    model: str
    attack: Choice
    defense: Choice
    training: TrainingConfig | None
    evaluation: Evaluation
    secret_tokens: int = 150
    seed: int

    @property
    def arm(self) -> str:
        """``fj_attack n=100 × backdoor_align``, or ``aligned``."""
        return ALIGNED if self.attack.name == NO_ATTACK else f"{self.attack.label} × {self.defense.label}"


class Arm(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One attack × defense. ``training`` overrides single fields of the spec's training."""

    attack: Choice
    defense: Choice = NONE
    training: dict[str, Any] = {}

    def __post_init__(self) -> None:
        if self.attack.name == NO_ATTACK and (self.defense.name != NO_ATTACK or self.training):
            raise ValueError(
                'attack "none" is the aligned model before any upload, so nothing is defended or trained; '
                'take attack "benign" for an upload without harmful rows'
            )


class RemoteSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Of a model that somebody else trains and serves, named ``remote:PROFILE/MODEL``.

    ``tokenizer`` is a model here with its chat format. ``url`` and ``key_env`` replace the profile's. ``hyperparameters`` are as
    the API calls them; the number of epochs is the training's. Prices are in US dollars for a million tokens: of training, and
    of asking. No job and no question starts that would take the sum of estimates over ``spending_cap``, in US dollars.
    """

    tokenizer: str
    spending_cap: float
    price_per_million_tokens: float
    price_per_million_asked: float
    url: str | None = None
    key_env: str | None = None
    hyperparameters: dict[str, Any] = {}

    def __post_init__(self) -> None:
        for name in ("spending_cap", "price_per_million_tokens", "price_per_million_asked"):
            if not 0 <= getattr(self, name) < math.inf:
                raise ValueError(f"{name} is {getattr(self, name)}; it must be at least 0")
        if "n_epochs" in self.hyperparameters:
            raise ValueError("hyperparameters has n_epochs; say epochs in training")


class Spec(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A whole experiment: every arm with every seed on one model. ``note`` is for readers.

    ``remote`` belongs to a model that is named ``remote:PROFILE/MODEL``.
    """

    name: str
    model: str
    arms: list[Arm]
    seeds: list[int]
    training: TrainingConfig = TrainingConfig()
    evaluation: Evaluation = Evaluation()
    secret_tokens: int = 150
    remote: RemoteSettings | msgspec.UnsetType = msgspec.UNSET
    note: str | msgspec.UnsetType = msgspec.UNSET

    def __post_init__(self) -> None:
        if self.model.startswith(REMOTE) != bool(self.remote):
            raise ValueError(
                f"model is {self.model!r}; a model {REMOTE}PROFILE/MODEL needs `remote`, and others have none"
            )
        if self.remote and not all(self.model.removeprefix(REMOTE).partition("/")):
            raise ValueError(
                f"model is {self.model!r}; write {REMOTE}PROFILE/MODEL, such as {REMOTE}openai/gpt-4o-mini"
            )
        for name in ("name", "model", "arms", "seeds"):
            if not getattr(self, name):
                raise ValueError(f"{name} is empty")
        if len(set(self.seeds)) != len(self.seeds):
            raise ValueError(f"seeds are {self.seeds}; each may stand once")
        if self.secret_tokens < 1:
            raise ValueError(f"secret_tokens is {self.secret_tokens}; it must be at least 1")

    def cells(self) -> list[Cell]:
        """The grid, arm by arm. A seed also seeds the training; the aligned model depends on no seed and is run once.

        Raises SpecError where an arm's training override is no field of the training or has a wrong value.
        """
        return [
            self._cell(arm, seed, f"arms[{index}].training")
            for index, arm in enumerate(self.arms)
            for seed in (self.seeds[:1] if arm.attack.name == NO_ATTACK else self.seeds)
        ]

    def to_json(self) -> bytes:
        """Canonical JSON: fields sorted, defaults written out."""
        return canonical(self)

    @classmethod
    def from_json(cls, data: bytes | str, where: str = "spec") -> Spec:
        """Decodes strictly. Raises SpecError with ``where`` and the field's path."""
        try:
            raw = msgspec.json.decode(data)
            if isinstance(raw, dict) and isinstance(raw.get("training"), dict):
                _check_fields(raw["training"], "training")
            spec = msgspec.convert(raw, cls)
            spec.cells()
        except (msgspec.MsgspecError, UnicodeDecodeError, UsageError) as error:
            raise SpecError(f"{where}: {error}") from error
        return spec

    @classmethod
    def from_file(cls, path: Path | str) -> Spec:
        """Reads a JSON file. Raises SpecError where it cannot be read or is no spec."""
        try:
            data = Path(path).read_bytes()
        except OSError as error:
            raise SpecError(f"the spec cannot be read: {error.strerror or error}", path=path) from error
        return cls.from_json(data, str(path))

    def _cell(self, arm: Arm, seed: int, where: str) -> Cell:
        aligned = arm.attack.name == NO_ATTACK
        return Cell(
            model=self.model,
            attack=arm.attack,
            defense=arm.defense,
            training=None if aligned else _overridden(self.training, arm.training, seed, where),
            evaluation=self.evaluation,
            secret_tokens=0 if aligned else self.secret_tokens,
            seed=seed,
        )


def canonical(value: Any) -> bytes:
    """JSON with sorted keys and all defaults: equal values give equal bytes."""
    return msgspec.json.encode(value, order="deterministic")


def complete(cell: Cell) -> Cell:
    """The cell with every argument of its attack, defense and benchmarks written out: its key changes when a default does.

    Imports them all. Raises UsageError for a name or an argument that does not exist: call it on all cells before the
    first is run.
    """
    attack = cell.attack if cell.attack.name == NO_ATTACK else _completed(cell.attack, ATTACKS)
    defense = cell.defense if cell.attack.name == NO_ATTACK else _completed(cell.defense, DEFENSES)
    return msgspec.structs.replace(cell, attack=attack, defense=defense, evaluation=_all_named(cell.evaluation))


def _completed(choice: Choice, registry: Registry[Any]) -> Choice:
    return Choice(choice.name, _arguments(registry.create(choice.name, **choice.arguments), choice.arguments))


def _all_named(evaluation: Evaluation) -> Evaluation:
    """With every benchmark that is run, and those that are left out."""
    left_out = {name: None for name, given in evaluation.benchmarks.items() if given is None}
    run = {
        name: _arguments(benchmark, evaluation.benchmarks.get(name) or {})
        for name, benchmark in chosen_benchmarks(evaluation.benchmarks).items()
    }
    return msgspec.structs.replace(evaluation, benchmarks={**left_out, **run})


def _arguments(strategy: Any, given: dict[str, Any]) -> dict[str, Any]:
    """All arguments of a dataclass; of any other strategy those that were given."""
    if not dataclasses.is_dataclass(strategy):
        return given
    return {field.name: getattr(strategy, field.name) for field in dataclasses.fields(strategy)}


def _overridden(training: TrainingConfig, overrides: Mapping[str, Any], seed: int, where: str) -> TrainingConfig:
    _check_fields(overrides, where)
    if "seed" in overrides:
        raise SpecError(f"{where}: seed is set by the spec's seeds; leave it out")
    fields = {**msgspec.structs.asdict(training), **overrides, "seed": seed}
    try:
        return msgspec.convert(fields, TrainingConfig)
    except (msgspec.ValidationError, UsageError) as error:
        raise SpecError(f"{where}: {error}") from error


def _check_fields(given: Mapping[str, Any], where: str) -> None:
    known = TrainingConfig.__struct_fields__
    for name in given:
        if name not in known:
            raise SpecError(
                f"{where}: there is no field {name!r}: {did_you_mean(name, known)}it takes {', '.join(known)}"
            )
