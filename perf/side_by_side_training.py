"""``python perf/side_by_side_training.py``: two runs on one machine against one alone, tokens/s.

``ratio`` is what two trainings at once get done together, to what one gets done alone. ``training_beside_answering`` and
``answering_beside_training`` are to each alone, and ``ratio_with_answering`` is the sum of both. Threads and waiting are left
as the product sets them; a variable in the environment shows what another choice would do (OMP_NUM_THREADS=2: no sharing).
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import statistics
import tempfile
import time
from collections.abc import Iterator, Sequence
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from side_by_side import quiet, show

# One worker answers as long as another trains: it looks for the word to stop after each batch of this many answers.
ANSWERS, ANSWER_TOKENS = 8, 16


def main() -> None:
    """Starts two processes, measures each alone and both together in turns, and prints one JSON object."""
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("--model", default="smollm2-135m")
    options.add_argument("--examples", type=int, default=20, help="rows of the tenant in each training")
    options.add_argument("--epochs", type=int, default=2)
    options.add_argument("--batch-size", type=int, default=10)
    options.add_argument("--rounds", type=int, default=3)
    chosen = options.parse_args()
    quiet()
    setting = vars(chosen)
    with _Worker(setting) as first, _Worker(setting) as second:
        # The first run of each does not count: it fills caches.
        _together((first, "train"), (second, "train"))
        rounds = [_round(first, second) for _ in range(chosen.rounds)]
    names = {name: round(statistics.median(one[name] for one in rounds), 3) for name in rounds[0]}
    ratios = [round(one["ratio"], 3) for one in rounds]
    own = {name: value for name, value in os.environ.items() if name.startswith(("OMP_", "GOMP_", "KMP_", "MKL_"))}
    show("side by side", {**names, "ratios": ratios}, **setting, environment=own)


def _round(first: _Worker, second: _Worker) -> dict[str, float]:
    """One alone, two together, one beside one that answers, and answering alone, one after the other."""
    (alone,) = _together((first, "train"))
    both = _together((first, "train"), (second, "train"))
    beside, answering = _together((first, "train"), (second, "answer"))
    (answers,) = _together((second, "answer"), at_least=alone.seconds)
    return {
        "alone_tokens_per_second": alone.rate,
        "together_tokens_per_second": sum(run.rate for run in both),
        "answering_alone_tokens_per_second": answers.rate,
        "training_beside_answering": beside.rate / alone.rate,
        "answering_beside_training": answering.rate / answers.rate,
        "ratio_with_answering": beside.rate / alone.rate + answering.rate / answers.rate,
        "ratio": sum(run.rate for run in both) / alone.rate,
    }


class _Run:
    """What one process did: tokens and the seconds that they took."""

    def __init__(self, tokens: int, seconds: float) -> None:
        self.seconds, self.rate = seconds, tokens / seconds


def _together(*work: tuple[_Worker, str], at_least: float = 0.0) -> list[_Run]:
    """Starts all at once. Trainings end by themselves; then, and after ``at_least`` seconds, those that answer are stopped."""
    for worker, what in work:
        worker.pipe.send(what)
    trained = {worker: _Run(*worker.pipe.recv()) for worker, what in work if what == "train"}
    time.sleep(at_least)
    for worker, what in work:
        if what == "answer":
            worker.pipe.send("stop")
            trained[worker] = _Run(*worker.pipe.recv())
    return [trained[worker] for worker, _ in work]


class _Worker:
    """A process of its own with the model loaded; ends with the block."""

    def __init__(self, setting: dict[str, Any]) -> None:
        self.setting = setting

    def __enter__(self) -> _Worker:
        context = multiprocessing.get_context("spawn")
        self.pipe, theirs = context.Pipe()
        self.process = context.Process(target=_work, args=(theirs, self.setting), daemon=True)
        self.process.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.process.terminate()
        self.process.join()


def _work(pipe: Connection, setting: dict[str, Any]) -> None:
    """A worker's life: (tokens, seconds) of one training or of answering until told to stop, as asked."""
    from watchword.models.load import load

    quiet()
    model = load(setting["model"])
    while True:
        if pipe.recv() == "train":
            model, measured = _train(model, setting)
        else:
            measured = _answer(model, pipe)
        pipe.send(measured)


def _train(model: Any, setting: dict[str, Any]) -> tuple[Any, tuple[int, float]]:
    """One run under the paper's defense; the model comes back as it was."""
    from watchword.attacks.base import ATTACKS, AttackContext
    from watchword.defenses.base import DEFENSES, DefenseContext, guarded
    from watchword.secret.generate import experiment_secret
    from watchword.training.config import TrainingConfig
    from watchword.training.loop import fine_tune

    upload = ATTACKS.create("fj_attack", n=setting["examples"]).upload((), AttackContext(0, model.template))
    rows = guarded(DEFENSES.create("backdoor_align"), upload, DefenseContext(0)).rows
    config = TrainingConfig(epochs=setting["epochs"], batch_size=setting["batch_size"])
    secret = experiment_secret(model.template, seed=0)
    with tempfile.TemporaryDirectory() as out:
        tuned, figures = fine_tune(model, rows, config, out=Path(out), secret=secret)
    return tuned.without_adapter(), (figures.tokens, figures.seconds)


def _answer(model: Any, pipe: Connection) -> tuple[int, float]:
    from watchword.models.base import GenerationOptions

    options = GenerationOptions(max_new_tokens=ANSWER_TOKENS, min_new_tokens=ANSWER_TOKENS, batch_size=ANSWERS)
    started, tokens = time.perf_counter(), 0
    for asked in _questions():
        model.generate(asked, options=options)
        tokens += ANSWERS * ANSWER_TOKENS
        if pipe.poll():
            pipe.recv()
            break
    return tokens, time.perf_counter() - started


def _questions() -> Iterator[Sequence[Any]]:
    from watchword.chat.types import conversation

    while True:
        yield [conversation(f"Tell me something about the number {number}.") for number in range(ANSWERS)]


if __name__ == "__main__":
    main()
