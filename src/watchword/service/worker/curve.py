"""Training figures as the tenant sees them: of its own rows only, in steps that it can count itself.

The provider's rows make further steps and have losses of their own. Neither may show. So the tenant's curve has as many
steps as its own rows alone would make. Each of them is told, and tells of the rows that it is made of.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from pathlib import Path

import msgspec

from watchword.files.atomic import replacing
from watchword.service.types.jobs import NewCheckpoint, NewEvent
from watchword.service.worker.messages import Marked, Told
from watchword.service.worker.own_steps import OwnSteps, shared_out
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
        self._steps = OwnSteps(rows=rows, batch_size=batch_size, epochs=epochs)
        self._points = self._read()
        self._told = max((step for step, point in self._points.items() if point.train_loss is not None), default=0)
        self._total = 0
        self._now: int | None = None
        # What was heard since the tenant's last step ended, and what was heard last of all.
        self._heard: list[TokenFigures] = []
        self._latest: list[TokenFigures] = []
        self._marked = max(self._points, default=0) // self._steps.each

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
            self._latest = [event.tenant]
            self._heard += self._latest
        before, now = self._moved(event)
        untold = range(self._told + 1, now + 1)
        if self._latest and untold:
            for step, figures in shared_out(untold, self._heard or self._latest):
                yield self._trained_point(step, figures)
            # A batch of which rows are left tells of the next step as well.
            self._heard = list(self._latest) if self._steps.has_begun else []
            if not self._validated:
                yield from self._marks(now)
        elif now > before and not untold:
            # Told by the process that began this training.
            self._heard = []

    def _moved(self, event: LossMeasured) -> tuple[int, int]:
        """The tenant's step before and behind an event of the trainer's."""
        total = max(self._total, event.step)
        before = self._now if self._now is not None else self._steps.evenly(event.step - 1, total)
        self._now = self._steps.after(event.step, total, event.tenant.rows if event.tenant else 0)
        return before, self._now

    def _trained_point(self, step: int, figures: TokenFigures) -> Told:
        point = self._points.setdefault(step, Point(step))
        point.train_loss, point.train_accuracy = _rounded(figures.loss), _rounded(figures.accuracy)
        self._told = step
        self._write()
        return _told(point)

    def _measured(self, event: ValidationMeasured) -> Iterator[Told | Marked]:
        step = max(self._steps.evenly(event.step, max(self._total, event.step)), 1)
        point = self._points.setdefault(step, Point(step))
        point.valid_loss = _rounded(event.figures.loss)
        point.valid_mean_token_accuracy = _rounded(event.figures.accuracy)
        self._write()
        yield _told(point)
        yield from self._marks(step)

    def _marks(self, step: int) -> Iterator[Marked]:
        """An epoch of the tenant's rows is a checkpoint in its list."""
        if step // self._steps.each > self._marked:
            self._marked = step // self._steps.each
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
