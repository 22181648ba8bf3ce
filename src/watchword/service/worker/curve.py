"""Training figures as the tenant sees them: of its own rows only, in steps that it can count itself.

The provider's rows make further steps and have losses of their own. Neither may show, so the tenant's curve has as many
steps as its own rows alone would make.
"""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Iterator
from pathlib import Path

import msgspec

from watchword.files.atomic import replacing
from watchword.service.types import NewCheckpoint, NewEvent
from watchword.service.worker.messages import Marked, Told
from watchword.training.events import LossMeasured, StepDone, TokenFigures, TrainingEvent, ValidationMeasured

# The header of OpenAI's result files.
COLUMNS = ("step", "train_loss", "train_accuracy", "valid_loss", "valid_mean_token_accuracy")


class Point(msgspec.Struct, omit_defaults=True):
    """The figures of one of the tenant's steps."""

    step: int
    train_loss: float | None = None
    train_accuracy: float | None = None
    valid_loss: float | None = None
    valid_mean_token_accuracy: float | None = None


class Curve:
    """Hears a training's events and tells what the tenant may know. ``path`` keeps the points, so that a resumed job has all."""

    def __init__(self, path: Path, *, rows: int, batch_size: int, epochs: int, validated: bool) -> None:
        self._path, self._validated = path, validated
        self.steps = epochs * math.ceil(rows / batch_size)
        self._each = math.ceil(rows / batch_size)
        self._points = self._read()
        self._total = 0
        self._heard: list[TokenFigures] = []
        self._marked = max(self._points, default=0) // self._each

    def hear(self, event: TrainingEvent) -> Iterator[Told | Marked]:
        """What to tell the tenant of this event."""
        if isinstance(event, StepDone):
            self._total = event.total
        elif isinstance(event, LossMeasured):
            yield from self._trained(event)
        elif isinstance(event, ValidationMeasured):
            yield from self._measured(event)

    def csv(self) -> bytes:
        """The result file."""
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(COLUMNS)
        for step in sorted(self._points):
            values = (getattr(self._points[step], name) for name in COLUMNS)
            writer.writerow("" if value is None else value for value in values)
        return text.getvalue().encode()

    def _trained(self, event: LossMeasured) -> Iterator[Told | Marked]:
        if event.tenant is not None:
            self._heard.append(event.tenant)
        step = self._own(event.step)
        if step == 0 or not self._heard:
            return
        if self._points.get(step, Point(step)).train_loss is not None:
            # Told before, by the process that began this training or for a step that this one is a part of.
            self._heard = []
            return
        tokens = sum(figures.tokens for figures in self._heard)
        point = self._points.setdefault(step, Point(step))
        point.train_loss = _rounded(sum(figures.loss * figures.tokens for figures in self._heard) / tokens)
        point.train_accuracy = _rounded(sum(figures.correct for figures in self._heard) / tokens)
        self._heard = []
        self._write()
        yield _told(point)
        if not self._validated:
            yield from self._marks(step)

    def _measured(self, event: ValidationMeasured) -> Iterator[Told | Marked]:
        step = max(self._own(event.step), 1)
        point = self._points.setdefault(step, Point(step))
        point.valid_loss = _rounded(event.figures.loss)
        point.valid_mean_token_accuracy = _rounded(event.figures.accuracy)
        self._write()
        yield _told(point)
        yield from self._marks(step)

    def _own(self, step: int) -> int:
        """The tenant's step at the trainer's."""
        return step * self.steps // self._total if self._total else 0

    def _marks(self, step: int) -> Iterator[Marked]:
        """An epoch of the tenant's rows is a checkpoint in its list."""
        if step // self._each > self._marked:
            self._marked = step // self._each
            last = max(at for at, point in self._points.items() if point.train_loss is not None or at == step)
            yield Marked(NewCheckpoint(step, _metrics(self._points[last], step)))

    def _read(self) -> dict[int, Point]:
        try:
            points = msgspec.json.decode(self._path.read_bytes(), type=list[Point])
        except (FileNotFoundError, msgspec.DecodeError):
            return {}
        return {point.step: point for point in points}

    def _write(self) -> None:
        with replacing(self._path, mode=0o600) as stream:
            stream.write(msgspec.json.encode([self._points[step] for step in sorted(self._points)]))


def _told(point: Point) -> Told:
    data = {name: value for name, value in msgspec.to_builtins(point).items() if value is not None}
    loss = point.train_loss if point.train_loss is not None else point.valid_loss
    return Told(NewEvent(f"Step {point.step}: loss={loss:.4f}", type="metrics", data=data))


def _metrics(point: Point, step: int) -> dict[str, float]:
    """OpenAI's names for the metrics of a checkpoint."""
    found = {
        "step": float(step),
        "train_loss": point.train_loss,
        "train_mean_token_accuracy": point.train_accuracy,
        "valid_loss": point.valid_loss,
        "valid_mean_token_accuracy": point.valid_mean_token_accuracy,
    }
    return {name: value for name, value in found.items() if value is not None}


def _rounded(value: float) -> float:
    return round(value, 6)
