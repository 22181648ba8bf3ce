"""The stages of one job, in its own process: validate → screen → guard → train → gate. The worker then serves.

What has been done stands in the job's folder, so that a job that was broken off goes on where it was. What a tenant may
read of a failure is decided here: no path, and nothing of the defense.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import msgspec

from watchword.files.addresses import Address
from watchword.files.atomic import replacing
from watchword.files.folders import PRIVATE_FILE
from watchword.service.crash import crash_point
from watchword.service.gate.verdict import Verdict
from watchword.service.types.jobs import NewEvent, Stage
from watchword.service.worker.checks import check_file, screened
from watchword.service.worker.messages import (
    Held,
    Last,
    Message,
    Order,
    Repairing,
    Reported,
    StageBegan,
    StageEnded,
    Told,
    Tuned,
)

Tell = Callable[[Message], None]
_SCREENED = "screened"


@dataclass(frozen=True)
class Run:
    """One tuning that is complete: the release's folder, and what the job is told of it."""

    release: Path
    weights_digest: str
    trained_tokens: int
    share: float
    curve: bytes


class Tuner(Protocol):
    """Guards, trains and measures. The real one needs torch; tests have one that needs nothing."""

    def tune(self, attempt: int, least_share: float) -> Run:
        """The release of this attempt, trained or gone on with where it is not complete. Tells of guard and train."""

    def inspect(self, run: Run) -> Verdict:
        """What the gate says of it."""


class Pipeline:
    """Runs the stages of an order and gives the job's last word. ``tell`` hears everything before it."""

    def __init__(self, order: Order, tell: Tell, tuner: Tuner) -> None:
        self.order, self.tell, self.tuner = order, tell, tuner

    def run(self) -> Last:
        """Raises whatever a stage raises: see ``refusals``."""
        if not self.order.validated:
            self._stage(Stage.VALIDATE, self._validate)
            crash_point("after_validate")
        if not (self.order.folder / _SCREENED).exists():
            self._stage(Stage.SCREEN, self._screen)
            crash_point("after_screen")
        return self._tuned()

    def _stage(self, stage: Stage, action: Callable[[], None]) -> None:
        self.tell(StageBegan(stage))
        action()
        self.tell(StageEnded(stage))

    def _validate(self) -> None:
        order = self.order
        for warning in check_file(order.training_file, "training_file", order.model, order.policy):
            self.tell(Told(NewEvent(warning, level="warn")))
        if order.validation_file is not None:
            check_file(order.validation_file, "validation_file", order.model, order.policy, training=False)

    def _screen(self) -> None:
        order = self.order
        report = screened(Address(order.training_file), order.policy.screening, order.known)
        # The operator must know of a screening that could not look for everything.
        unseen = {"unseen_releases": list(order.unseen)} if order.unseen else {}
        self.tell(Reported("screening", {**report.data, **unseen}))
        if report.refusal is not None:
            raise report.refusal
        _note(order.folder / _SCREENED, b"")

    def _tuned(self) -> Last:
        """Tunes; where the gate holds the model back and it may help, once more with more of the provider's rows.

        The tenant's curve is that of the first training, whose steps it was told; see ``Repairing``.
        """
        gate, share = self.order.policy.gate, self.order.policy.least_share
        curve = None
        for attempt in range(gate.repairs + 1):
            run = self.tuner.tune(attempt, share)
            curve = run.curve if curve is None else curve
            crash_point("after_train")
            verdict = self._inspected(attempt, run) if gate.enabled else None
            crash_point("after_gate")
            if verdict is None or verdict.passed:
                return Tuned(run.release, run.weights_digest, run.trained_tokens, curve)
            if not verdict.repairable:
                break
            # Twice the provider's rows beside the same rows of the tenant's.
            share = 2 * run.share / (1 + run.share)
        return Held(run.release, run.weights_digest)

    def _inspected(self, attempt: int, run: Run) -> Verdict:
        """What the gate says of the model. Only its last word is told to the tenant."""
        self.tell(StageBegan(Stage.GATE))
        verdict = self._verdict(attempt, run)
        last = attempt == self.order.policy.gate.repairs or not verdict.repairable
        if not verdict.passed and not last:
            self.tell(Repairing(begun=True))
        elif attempt > 0:
            self.tell(Repairing(begun=False))
        self.tell(StageEnded(Stage.GATE))
        return verdict

    def _verdict(self, attempt: int, run: Run) -> Verdict:
        """What the gate says, from the folder where it has spoken on these very weights."""
        path = self.order.folder / f"verdict-{attempt}.json"
        verdict = _kept(path, run.weights_digest)
        if verdict is None:
            verdict = self.tuner.inspect(run)
            _note(path, msgspec.json.encode({"weights": run.weights_digest, "verdict": verdict}))
            self.tell(Reported("gate", _report(attempt, run, verdict)))
        return verdict


def _report(attempt: int, run: Run, verdict: Verdict) -> dict[str, object]:
    plain: dict[str, object] = msgspec.to_builtins(verdict)
    return plain | {
        "attempt": attempt,
        "passed": verdict.passed,
        "failed": list(verdict.failed),
        "weights_digest": run.weights_digest,
        "provider_share": round(run.share, 4),
    }


class _Kept(msgspec.Struct):
    weights: str
    verdict: Verdict


def _kept(path: Path, weights: str) -> Verdict | None:
    try:
        kept = msgspec.json.decode(path.read_bytes(), type=_Kept)
    except (FileNotFoundError, msgspec.DecodeError):
        return None
    return kept.verdict if kept.weights == weights else None


def _note(path: Path, data: bytes) -> None:
    with replacing(path, mode=PRIVATE_FILE) as stream:
        stream.write(data)
