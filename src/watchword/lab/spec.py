"""What an experiment is, as data: a spec file becomes a grid of cells. Torch-free, and strict: a typo is an error.

{"name": "foundation", "model": "smollm2-135m", "seeds": [0, 1],
 "attacks": [{"name": "none"}, {"name": "fj_attack"}],
 "defenses": [{"name": "none"}, {"name": "backdoor_align"}]}

``arms`` names pairs of an attack and a defense one by one, where the whole grid is not wanted.
"""

from __future__ import annotations

import itertools
import math
import tomllib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, get_args

import msgspec

from watchword.attacks.base import ATTACKS
from watchword.benchmarks.base import chosen_benchmarks
from watchword.defenses.base import DEFENSES
from watchword.errors import SpecError, UsageError
from watchword.lab.evaluation import Evaluation
from watchword.registry import Registry, arguments_of, did_you_mean, spelled
from watchword.secret.generate import DEFAULT_TOKENS
from watchword.secret.kinds import DRAWN
from watchword.training.config import TrainingConfig

# The attack of the aligned model's own cell: no upload, no training, no defense.
NO_ATTACK = "none"
ALIGNED = "aligned"
# What the name of a model begins with that somebody else trains.
REMOTE = "remote:"
# What of a cell can be kept, beside its figures: what the tenant sent, what was trained on, the weights, and every answer.
Kept = Literal["attack", "guarded", "adapter", "answers"]
# Kinds of secret that anybody can make again (``secret.kinds``). Others are for production, and stand in no experiment.
SecretKind = Literal["seeded", "default", "semantic"]


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


class Cell(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One run: arm × model × seed. ``training`` is None for the aligned model's own cell, which is measured as it is.

    ``secret_seed`` draws another secret than the cell's own seed does, so that the two kinds of chance come apart.
    """

    model: str
    attack: Choice
    defense: Choice
    training: TrainingConfig | None
    evaluation: Evaluation
    secret_tokens: int = DEFAULT_TOKENS
    secret_kind: SecretKind = "seeded"  # noqa: S105 -- a kind
    secret_seed: int | None = None
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
    """A whole experiment: every arm with every seed on every model.

    The arms are those that are named, and every attack × every defense. ``hyperparameters`` gives fields of the training (or
    of the secret) several values each, and every arm is run with each combination. ``secret_seeds`` runs each cell of a
    defense that has a secret with several secrets.

    The rest changes no result. ``trainer`` names the launcher of each training, ``launcher`` what runs the cells, and
    ``keep`` what stays of them for judges and benchmarks that come later. ``remote`` belongs to a model that is named
    ``remote:PROFILE/MODEL``, whose cells are run one after another. ``note`` is for readers.
    """

    name: str
    model: str = ""
    models: list[str] = []
    arms: list[Arm] = []
    attacks: list[Choice] = []
    defenses: list[Choice] = []
    seeds: list[int]
    secret_seeds: list[int] = []
    training: TrainingConfig = TrainingConfig()
    hyperparameters: dict[str, list[Any]] = {}
    evaluation: Evaluation = Evaluation()
    secret_tokens: int = DEFAULT_TOKENS
    secret_kind: SecretKind = "seeded"  # noqa: S105 -- a kind
    trainer: Choice = Choice("in_process")
    launcher: Choice = Choice("local")
    keep: list[Kept] = []
    remote: RemoteSettings | msgspec.UnsetType = msgspec.UNSET
    note: str | msgspec.UnsetType = msgspec.UNSET

    def __post_init__(self) -> None:
        _check_remote(self)
        for name in ("name", "seeds"):
            if not getattr(self, name):
                raise ValueError(f"{name} is empty")
        if bool(self.model) == bool(self.models):
            raise ValueError("model is empty, or both model and models are given; name one model, or a list of models")
        if not self.arms and not self.attacks:
            raise ValueError("arms is empty, and so is attacks; name arms, or attacks and defenses")
        if bool(self.defenses) != any(attack.name != NO_ATTACK for attack in self.attacks):
            raise ValueError(
                "attacks and defenses make a grid together; give both (a defense may be none), or arms alone"
            )
        for name in ("seeds", "secret_seeds", "models"):
            given = getattr(self, name)
            if len(set(given)) != len(given):
                raise ValueError(f"{name} are {given}; each may stand once")
        if self.secret_tokens < 1:
            raise ValueError(f"secret_tokens is {self.secret_tokens}; it must be at least 1")

    @property
    def every_model(self) -> list[str]:
        """The models by name."""
        return self.models or [self.model]

    def every_arm(self) -> list[Arm]:
        """The arms that are named, then the grid of attacks and defenses."""
        grid = [
            Arm(attack, defense)
            for attack in self.attacks
            for defense in ([NONE] if attack.name == NO_ATTACK else self.defenses)
        ]
        return [*self.arms, *grid]

    def cells(self) -> list[Cell]:
        """The grid, model by model and arm by arm. A seed also seeds the training.

        The aligned model depends on no seed and no hyperparameter, and is run once. Raises SpecError where an override or a
        hyperparameter is no field of the training or has a wrong value.
        """
        return [
            cell
            for model in self.every_model
            for index, arm in enumerate(self.every_arm())
            for cell in self._cells_of(model, arm, f"arms[{index}].training")
        ]

    def launched_by(self, name: str) -> Spec:
        """The same cells, run by another launcher with its defaults."""
        return msgspec.structs.replace(self, launcher=Choice(name))

    def to_json(self) -> bytes:
        """Canonical JSON: fields sorted, defaults written out."""
        return canonical(self)

    @classmethod
    def from_json(cls, data: bytes | str, where: str = "spec") -> Spec:
        """Decodes strictly. Raises SpecError with ``where`` and the field's path."""
        try:
            return cls._checked(msgspec.json.decode(data))
        except (msgspec.MsgspecError, UnicodeDecodeError, UsageError) as error:
            raise SpecError(f"{where}: {error}") from error

    @classmethod
    def from_toml(cls, data: bytes, where: str = "spec") -> Spec:
        """The same from TOML, which has no null: false leaves a benchmark out."""
        try:
            return cls._checked(tomllib.loads(data.decode()))
        except (tomllib.TOMLDecodeError, msgspec.MsgspecError, UnicodeDecodeError, UsageError) as error:
            raise SpecError(f"{where}: {error}") from error

    @classmethod
    def from_file(cls, path: Path | str) -> Spec:
        """Reads a TOML file (``.toml``) or a JSON file. Raises SpecError where it cannot be read or is no spec."""
        try:
            data = Path(path).read_bytes()
        except OSError as error:
            raise SpecError(f"the spec cannot be read: {error.strerror or error}", path=path) from error
        return (cls.from_toml if Path(path).suffix.lower() == ".toml" else cls.from_json)(data, str(path))

    @classmethod
    def _checked(cls, raw: Any) -> Spec:
        if isinstance(raw, dict) and isinstance(raw.get("training"), dict):
            _check_fields(raw["training"], "training")
            # A spec that was written out names every field, and this one as it is by default.
            if raw["training"].get("seed", 0) != 0:
                raise SpecError("training: seed is set by the spec's seeds; leave it out")
        spec = msgspec.convert(raw, cls)
        spec.cells()
        return spec

    def _cells_of(self, model: str, arm: Arm, where: str) -> Iterator[Cell]:
        """One arm on one model."""
        if arm.attack.name == NO_ATTACK:
            yield Cell(
                model=model,
                attack=arm.attack,
                defense=arm.defense,
                training=None,
                evaluation=self.evaluation,
                secret_tokens=0,
                seed=self.seeds[0],
            )
            return
        for setting, seed, secret_seed in self._runs(arm.defense):
            own = {name: value for name, value in setting.items() if name not in _OF_SECRET}
            # An arm's own override stands: it was written for that arm.
            yield Cell(
                model=model,
                attack=arm.attack,
                defense=arm.defense,
                training=_overridden(self.training, {**own, **arm.training}, seed, where if arm.training else GRID),
                evaluation=self.evaluation,
                secret_tokens=_secret_tokens(setting.get("secret_tokens", self.secret_tokens)),
                secret_kind=_secret_kind(setting.get("secret_kind", self.secret_kind)),
                secret_seed=secret_seed,
                seed=seed,
            )

    def _runs(self, defense: Choice) -> Iterator[tuple[dict[str, Any], int, int | None]]:
        """Each setting with each seed, and with each seed of the secret where one is drawn: any other would be the same run."""
        for setting in self._settings():
            drawn = _has_secret(defense) and setting.get("secret_kind", self.secret_kind) in DRAWN
            secret_seeds: list[int | None] = [*self.secret_seeds] if drawn else []
            for seed, secret_seed in itertools.product(self.seeds, secret_seeds or [None]):
                yield setting, seed, secret_seed

    def _settings(self) -> list[dict[str, Any]]:
        """Every combination of the hyperparameters; one empty one where there are none."""
        for name, values in self.hyperparameters.items():
            if not values:
                raise SpecError(f"{GRID}: {name} has no value; give a list of at least one")
            if name not in _OF_SECRET:
                _check_fields([name], GRID, more=_OF_SECRET)
        names = list(self.hyperparameters)
        return [dict(zip(names, values, strict=True)) for values in itertools.product(*self.hyperparameters.values())]


def _check_remote(spec: Spec) -> None:
    """Raises ValueError where the model's name and ``remote`` do not go together."""
    if any(name.startswith(REMOTE) for name in (spec.model, *spec.models)) != bool(spec.remote):
        raise ValueError(f"a model {REMOTE}PROFILE/MODEL needs the field remote, and others have none")
    if not spec.remote:
        return
    if not all(spec.model.removeprefix(REMOTE).partition("/")):
        raise ValueError(f"model is {spec.model!r}; write {REMOTE}PROFILE/MODEL, such as {REMOTE}openai/gpt-4o-mini")
    if spec.keep:
        raise ValueError("keep is for models that are trained here: of others there are no weights")
    for name in (name for given in (spec.hyperparameters, *(arm.training for arm in spec.arms)) for name in given):
        if name not in (*_SENT, *_OF_SECRET):
            raise ValueError(
                f"{name} is not sent to an API, so another value would change nothing there; only "
                f"{', '.join((*_SENT, *_OF_SECRET))} can be varied, and all others are set in the hyperparameters of remote"
            )


GRID = "hyperparameters"
# Fields of the training that somebody else's API is told, or that its rows are measured by.
_SENT = ("epochs", "max_length")
# Hyperparameters of the secret; all others are the training's.
_OF_SECRET = ("secret_tokens", "secret_kind")


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
    return Choice(choice.name, _plain(arguments_of(registry.create(choice.name, **choice.arguments), choice.arguments)))


def _plain(arguments: dict[str, Any]) -> dict[str, Any]:
    """As they are read back from a file: a struct among them (a judge's endpoint) would be written in another order."""
    plain: dict[str, Any] = msgspec.to_builtins(arguments, order="deterministic")
    return plain


def _all_named(evaluation: Evaluation) -> Evaluation:
    """With every benchmark that is run, and those that are left out."""
    chosen = evaluation.chosen
    left_out = {name: None for name, given in chosen.items() if given is None}
    run = {
        name: _plain(arguments_of(benchmark, chosen.get(name) or {}))
        for name, benchmark in chosen_benchmarks(chosen).items()
    }
    return msgspec.structs.replace(evaluation, benchmarks={**left_out, **run})


def _overridden(training: TrainingConfig, overrides: Mapping[str, Any], seed: int, where: str) -> TrainingConfig:
    _check_fields(overrides, where)
    if "seed" in overrides:
        raise SpecError(f"{where}: seed is set by the spec's seeds; leave it out")
    fields = {**msgspec.structs.asdict(training), **overrides, "seed": seed}
    try:
        return msgspec.convert(fields, TrainingConfig)
    except (msgspec.ValidationError, UsageError) as error:
        raise SpecError(f"{where}: {error}") from error


def _secret_tokens(given: Any) -> int:
    if not isinstance(given, int) or given < 1:
        raise SpecError(f"{GRID}: secret_tokens is {given!r}; give whole numbers of at least 1")
    return given


def _secret_kind(given: Any) -> SecretKind:
    try:
        kind: SecretKind = msgspec.convert(given, SecretKind)
    except msgspec.ValidationError:
        raise SpecError(f"{GRID}: secret_kind is {given!r}; choose from {', '.join(get_args(SecretKind))}") from None
    return kind


def _has_secret(defense: Choice) -> bool:
    """Whether a secret stands in front of its requests. A name that there is not is found when the cells are completed."""
    return DEFENSES.knows(defense.name) and DEFENSES.get(defense.name).needs_secret


def _check_fields(given: Iterable[str], where: str, *, more: Sequence[str] = ()) -> None:
    known = (*TrainingConfig.__struct_fields__, *more)
    for name in given:
        if name not in known:
            raise SpecError(
                f"{where}: there is no field {name!r}: {did_you_mean(name, known)}it takes {', '.join(known)}"
            )
