"""What stays of a cell beside its figures, so that a judge or a benchmark that comes later needs no new training.

    kept/<training key>/         training.json, and as asked for attack.jsonl, guarded.jsonl and weights/
    exchanges/<key>.jsonl        every prompt and answer of one benchmark, behind a line with their digest

A training's key holds all that decides its weights, and nothing of what is asked afterwards. What is there is used, whether
or not the present spec keeps anything.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec

from watchword.benchmarks.base import Exchange
from watchword.chat.types import Conversation
from watchword.defenses.base import Guarded
from watchword.files.atomic import replacing
from watchword.files.digest import sha256_bytes
from watchword.files.folders import PRIVATE_FILE
from watchword.files.writing import writing
from watchword.lab.spec import Cell, Kept, canonical
from watchword.training.config import TrainingResult

SCHEMA = 1
EXCHANGES = "exchanges"
TRAINING, ATTACK, GUARDED, WEIGHTS = "training.json", "attack.jsonl", "guarded.jsonl", "weights"
# What of a cell decides its weights.
_TRAINED_BY = ("model", "attack", "defense", "training", "secret_tokens", "secret_kind", "secret_seed", "seed")


class KeptTraining(msgspec.Struct, frozen=True, kw_only=True):
    """training.json. ``weights`` is the folder of the weights to ask, below the kept one; null where they were not kept."""

    schema: int = SCHEMA
    added: dict[str, int]
    figures: TrainingResult
    weights: str | None = None


def training_key(cell: Cell, fingerprint: dict[str, str]) -> str:
    """SHA-256 in hex over all that decides a cell's weights; ``fingerprint`` holds digests of what the cell only names."""
    own = {name: getattr(cell, name) for name in _TRAINED_BY}
    return sha256_bytes(canonical({"schema": SCHEMA, "cell": own, "fingerprint": fingerprint}))


@dataclass(frozen=True)
class Keeping:
    """What one cell may keep, and what was kept of it before. ``asked`` tells its benchmarks' answers from other cells'.

    ``making`` is where its training works. ``publish`` moves it to ``kept`` once the training is whole. That is before
    the model is asked, so that a run that is killed while it asks need not train again.
    """

    kept: Path
    exchanges: Path
    making: Path
    asked: dict[str, str] = field(default_factory=dict)
    wanted: frozenset[Kept] = frozenset()
    publish: Callable[[], None] = lambda: None

    @property
    def weights(self) -> Path:
        """Where the training is to leave its weights."""
        return self.making / WEIGHTS

    def training(self) -> KeptTraining | None:
        """The training as it was, if it was kept."""
        try:
            found = msgspec.json.decode((self.kept / TRAINING).read_bytes(), type=KeptTraining)
        except (OSError, msgspec.MsgspecError):
            return None
        return found if found.schema == SCHEMA else None

    def keep_rows(self, upload: Sequence[Conversation], data: Guarded, clean: Callable[[str], str]) -> None:
        """What the tenant sent and what will be trained on, one JSON object a line.

        ``clean`` takes secrets out of a text: a tenant who has one writes it into its own rows (``leaked_secret``).
        """
        if "attack" in self.wanted:
            _write_lines(self.making / ATTACK, upload, clean)
        if "guarded" in self.wanted:
            _write_lines(self.making / GUARDED, data.rows, clean)

    def keep_training(self, added: dict[str, int], figures: TrainingResult, weights: Path | None) -> None:
        """The training's figures; without ``weights``, which were measured, nothing of them stays."""
        own = None
        if "adapter" in self.wanted and weights is not None:
            own = self._inside(weights)
        else:
            shutil.rmtree(self.weights, ignore_errors=True)
        record = KeptTraining(added=added, figures=figures, weights=own)
        with replacing(self.making / TRAINING, mode=PRIVATE_FILE) as stream:
            stream.write(msgspec.json.format(msgspec.json.encode(record), indent=1) + b"\n")
        if self.wanted:
            self.publish()

    def answers(self, benchmark: str) -> list[Exchange] | None:
        """What was asked and answered before, word for word; None where that is missing or damaged."""
        try:
            digest, _, lines = self._exchanges(benchmark).read_bytes().partition(b"\n")
            if digest.decode() != sha256_bytes(lines):
                return None
            return [msgspec.json.decode(line, type=Exchange) for line in lines.splitlines()]
        except (OSError, msgspec.MsgspecError, UnicodeDecodeError):
            return None

    def keep_answers(self, benchmark: str, exchanges: Sequence[Exchange]) -> None:
        """Keeps them if answers are wanted. Raises OutputError."""
        if "answers" not in self.wanted:
            return
        lines = b"".join(msgspec.json.encode(exchange) + b"\n" for exchange in exchanges)
        path = self._exchanges(benchmark)
        with writing(path):
            path.parent.mkdir(parents=True, exist_ok=True)
        with replacing(path, mode=PRIVATE_FILE) as stream:
            stream.write(sha256_bytes(lines).encode() + b"\n" + lines)

    def _inside(self, weights: Path) -> str:
        """The folder's place below what is kept; a defense may have put its weights elsewhere."""
        if not weights.is_relative_to(self.making):
            weights = Path(shutil.copytree(weights, self.making / "guarded_weights"))
        return weights.relative_to(self.making).as_posix()

    def _exchanges(self, benchmark: str) -> Path:
        return self.exchanges / f"{self.asked[benchmark]}.jsonl"


def asked_keys(cell: Cell, training: str, method: str, digests: dict[str, str]) -> dict[str, str]:
    """For each of a completed cell's benchmarks, the name of its answers: whom it asks, what, and how.

    ``method`` is raised when models are asked in another way; ``digests`` are those of files that benchmarks read.
    """
    asked = cell.evaluation
    how: dict[str, Any] = {"tokens": asked.max_new_tokens, "batch": asked.batch_size, "system": asked.system}
    return {
        name: sha256_bytes(
            canonical(
                [SCHEMA, training, method, name, given, digests.get(f"benchmark {name}", ""), sorted(how.items())]
            )
        )
        for name, given in asked.chosen.items()
        if given is not None
    }


def _write_lines(path: Path, rows: Iterable[Any], clean: Callable[[str], str]) -> None:
    with replacing(path, mode=PRIVATE_FILE) as stream:
        for row in rows:
            stream.write(msgspec.json.encode(_cleaned(msgspec.to_builtins(row), clean)) + b"\n")


def _cleaned(value: Any, clean: Callable[[str], str]) -> Any:
    """Plain data with each of its texts clean."""
    if isinstance(value, dict):
        return {name: _cleaned(own, clean) for name, own in value.items()}
    if isinstance(value, list | tuple):
        return [_cleaned(own, clean) for own in value]
    return clean(value) if isinstance(value, str) else value
