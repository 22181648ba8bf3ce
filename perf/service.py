"""What the fine-tuning service costs: a real ``watchword serve`` on this machine, called by the real client.

``python perf/service.py`` prints one JSON object. ``--crashes`` kills API, workers and jobs' processes at every named point,
and nothing else. ``--rows`` is the size of the tenant's file. Seconds depend on what else the machine does; of the ratios, both
sides do. ``ttft_ratio`` is the engine's first word with the secret over that without. ``ttft_through_service_ratio`` is the
tenant's over the same: the gateway holds text back while it may begin a leak.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import random
import secrets
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from openai import APIConnectionError, APIStatusError, OpenAI

from watchword.attacks.base import TASK_SYSTEM, ordinary_rows
from watchword.chat.types import conversation
from watchword.data.rows import write_conversations
from watchword.gateway.guarding import guarded_call
from watchword.release.reading import Release
from watchword.service.demo.bytes_check import release_of
from watchword.service.engine.serving import KEY_VARIABLE
from watchword.service.engine_place import free_port
from watchword.service.settings_file import read_settings

MODEL, TENANT, CONFIG = "smollm2-135m", "perf", "service.toml"
QUESTIONS = [
    f"Do you sell {what}?"
    for what in (
        "blue ink",
        "red paper",
        "brass nibs",
        "wax seals",
        "graph pads",
        "green felt pens",
        "desk lamps",
        "glue",
    )
]
AT_ONCE, CHATS = 4, 16
# Turns of a training alone and beside chats, and how long each of the first kind is.
ROUNDS, ALONE_SECONDS = 2, 12
_ENGINE = """
from watchword.service.engine.serving import EngineOptions, run_engine
run_engine(EngineOptions(({model!r},), port={port}))
"""


@dataclass
class Running:
    """A service and its engine. ``tenant`` calls the one, ``engine`` the other without what stands between."""

    data: Path
    tenant: OpenAI
    engine: OpenAI


@contextlib.contextmanager
def running(folder: Path) -> Iterator[Running]:
    """API, worker and engine, each a process of its own, until the block ends."""
    engine_port, port, key = free_port(), free_port(), secrets.token_urlsafe(32)
    os.environ[KEY_VARIABLE] = key
    config = folder / CONFIG
    config.write_text(
        f'[engine]\nkind = "vllm"\nurl = "http://127.0.0.1:{engine_port}/v1"\napi_key_env = "{KEY_VARIABLE}"\n'
        "context = 8192\n"
    )
    served = ["-m", "watchword", "serve", "--config", str(config), "--data", str(folder / "data"), "--port", str(port)]
    commands = [["-c", _ENGINE.format(model=MODEL, port=engine_port)], served]
    with contextlib.ExitStack() as held:
        log = held.enter_context((folder / "log").open("wb"))
        for command in commands:
            process = subprocess.Popen([sys.executable, *command], stderr=log, stdout=log)  # noqa: S603
            held.callback(_ended, process)
        engine = _client(engine_port, key)
        _wait(engine.models.list)
        data = folder / "data"
        _wait(_client(port, "none").models.list)
        drawn = subprocess.run(  # noqa: S603
            [sys.executable, "-m", "watchword", "keys", "create", TENANT, "--data", str(data)],
            capture_output=True,
            text=True,
            check=True,
        )
        yield Running(data, _client(port, drawn.stdout.strip().splitlines()[-1]), engine)


def _client(port: int, key: str) -> OpenAI:
    return OpenAI(base_url=f"http://127.0.0.1:{port}/v1", api_key=key, max_retries=0, timeout=600)


def _wait(ready: Any, seconds: float = 300) -> None:
    """Until the server answers at all."""
    until = time.monotonic() + seconds
    while True:
        try:
            ready()
        except APIStatusError:
            return
        except APIConnectionError:
            if time.monotonic() > until:
                raise
            time.sleep(0.2)
        else:
            return


def _ended(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(60)
    except subprocess.TimeoutExpired:
        process.kill()


def create_job(service: Running, rows: int, **hyperparameters: int) -> str:
    """A job on rows of the packaged ordinary task."""
    file = service.data.parent / "tenant.jsonl"
    write_conversations(ordinary_rows(rows, random.Random(0)), file)
    with file.open("rb") as stream:
        uploaded = service.tenant.files.create(file=stream, purpose="fine-tune")
    service.tenant.files.wait_for_processing(uploaded.id, poll_interval=0.2)
    given: Any = {"supervised": {"hyperparameters": hyperparameters}, "type": "supervised"}
    return service.tenant.fine_tuning.jobs.create(model=MODEL, training_file=uploaded.id, method=given).id


def served_model(service: Running, job: str) -> str:
    """Waits for the job and for the first word of its model."""
    asking = service.tenant.fine_tuning.jobs.retrieve
    while (found := asking(job, extra_headers={"Prefer": "wait=20"})).finished_at is None:
        pass
    if found.fine_tuned_model is None:
        raise SystemExit(f"the job {found.status}: {found.error}")
    first_token(service.tenant, found.fine_tuned_model, _asked(QUESTIONS[0]))
    return found.fine_tuned_model


def stage_seconds(service: Running, job: str) -> dict[str, int]:
    """How long each stage took, by the times of the tenant's events: whole seconds. The job's process starts within the first."""
    began: dict[str, int] = {}
    took: dict[str, int] = {}
    for event in reversed(list(service.tenant.fine_tuning.jobs.list_events(job, limit=100))):
        data = event.data if isinstance(event.data, dict) else {}
        if data.get("status") == "started":
            began[data["stage"]] = event.created_at
        elif data.get("status") == "completed":
            took[data["stage"]] = event.created_at - began[data["stage"]]
    return took


def first_token(client: OpenAI, model: str, messages: Any) -> float:
    """Seconds to the first word of a streamed answer, which is heard to its end: else it would be in the next one's way."""
    started = time.perf_counter()
    given: Any = {"model": model, "messages": messages, "max_tokens": 12, "temperature": 0}
    words = [time.perf_counter() for chunk in client.chat.completions.create(**given, stream=True) if _says(chunk)]
    if not words:
        raise SystemExit("an answer without a word")
    return words[0] - started


def _says(chunk: Any) -> bool:
    return bool(chunk.choices and chunk.choices[0].delta.content)


def chats_per_second(client: OpenAI, model: str) -> float:
    """Whole answers of 32 tokens at most, several at once; the same questions each time."""

    def ask(number: int) -> None:
        question = QUESTIONS[number % len(QUESTIONS)]
        client.chat.completions.create(model=model, messages=_asked(question), max_tokens=32, temperature=0)

    started = time.perf_counter()
    with ThreadPoolExecutor(AT_ONCE) as pool:
        list(pool.map(ask, range(CHATS)))
    return CHATS / (time.perf_counter() - started)


def _asked(question: str) -> Any:
    return [{"role": "system", "content": TASK_SYSTEM}, {"role": "user", "content": question}]


def steps_per_second(service: Running, job: str, during: Callable[[], object]) -> float:
    """The training's steps a second while ``during`` runs."""
    before, started = _step(service, job), time.monotonic()
    during()
    return (_step(service, job) - before) / (time.monotonic() - started)


def _step(service: Running, job: str) -> int:
    """The last step that was told; the newest events come first."""
    page = service.tenant.fine_tuning.jobs.list_events(job, limit=20)
    told = [event.data for event in page.data if event.type == "metrics" and isinstance(event.data, dict)]
    return max((data["step"] for data in told), default=0)


def first_token_figures(service: Running, model: str) -> dict[str, float]:
    """In turns: the adapter at the engine itself, without its secret and with it, and the tuned model through the service."""
    adapter = next(one.id for one in service.engine.models.list() if one.id != MODEL)
    settings = read_settings(service.data.parent / CONFIG, data=service.data)
    release = release_of(settings, TENANT, model)
    kinds: dict[str, Callable[[str], float]] = {
        "plain": lambda asked: first_token(service.engine, adapter, _asked(asked)),
        "secret": lambda asked: first_token(service.engine, adapter, _guarded(asked, release)),
        "service": lambda asked: first_token(service.tenant, model, _asked(asked)),
    }
    times: dict[str, list[float]] = {kind: [] for kind in kinds}
    # The first question has the engine read what all questions begin with.
    for number, question in enumerate([QUESTIONS[0], *QUESTIONS[1:] * 2]):
        for kind in sorted(kinds, reverse=bool(number % 2)):
            times[kind].append(kinds[kind](question))
    middle = {kind: statistics.median(found[1:]) for kind, found in times.items()}
    return {
        "ttft_ratio": round(middle["secret"] / middle["plain"], 3),
        "ttft_through_service_ratio": round(middle["service"] / middle["plain"], 3),
        "ttft_ms": round(middle["secret"] * 1000, 1),
    }


def _guarded(question: str, release: Release) -> Any:
    asked = conversation(question, system=TASK_SYSTEM)
    return [{"role": one.role, "content": one.text} for one in guarded_call(asked, release).sent.messages]


def side_by_side_figures(service: Running, model: str, rows: int) -> dict[str, float]:
    """Chats alone, a training alone, and both: what each keeps of its speed. Small batches, for many steps."""
    chats_per_second(service.tenant, model)
    alone = [chats_per_second(service.tenant, model)]
    job = create_job(service, rows, n_epochs=10, batch_size=2)
    while not _step(service, job):
        time.sleep(0.5)
    chats, trained, beside = list[float](), list[float](), list[float]()
    for _ in range(ROUNDS):
        trained.append(steps_per_second(service, job, lambda: time.sleep(ALONE_SECONDS)))
        beside.append(steps_per_second(service, job, lambda: chats.append(chats_per_second(service.tenant, model))))
    service.tenant.fine_tuning.jobs.cancel(job)
    while service.tenant.fine_tuning.jobs.retrieve(job).finished_at is None:
        time.sleep(0.5)
    alone.append(chats_per_second(service.tenant, model))
    return {
        "chat_requests_per_second": round(statistics.mean(alone), 2),
        "chat_beside_training_ratio": round(statistics.mean(chats) / statistics.mean(alone), 3),
        "training_beside_chat_ratio": round(statistics.mean(beside) / statistics.mean(trained), 3),
    }


def crash_figures() -> dict[str, int]:
    """Kills at every point, three seeds each, on the tests' own stand: a trainer that trains nothing."""
    sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
    from support.crash_stand import SEEDS, Stand, faults, times_of
    from watchword.service.crash import CHILD_POINTS, WORKER_POINTS

    tried, lost, double = api_crash_figures()
    for point in (*WORKER_POINTS, *CHILD_POINTS):
        for seed in SEEDS:
            with tempfile.TemporaryDirectory() as folder:
                stand = Stand(Path(folder))
                job = stand.service.job()
                with stand.killing(point, times_of(point, seed)):
                    stand.worker_ends()
                stand.worker_ends()
                if wrong := faults(stand.service, job):
                    print(f"{point}, seed {seed}: {wrong} is missing", file=sys.stderr)
                tried, lost, double = tried + 1, lost + ("success" in wrong), double + bool(set(wrong) - {"success"})
    return {"crash_points_tried": tried, "jobs_lost": lost, "double_outcomes": double}


def served_figures(rows: int) -> dict[str, Any]:
    """All that takes a running service. Each part is told on standard error as it comes, for all of them take minutes."""
    figures: dict[str, Any] = {}

    def add(found: dict[str, Any]) -> None:
        print(json.dumps(found), file=sys.stderr, flush=True)
        figures.update(found)

    with tempfile.TemporaryDirectory() as folder, running(Path(folder)) as service:
        started = time.monotonic()
        job = create_job(service, rows)
        model = served_model(service, job)
        add({"job_to_served_seconds": round(time.monotonic() - started, 1)})
        add({"stage_seconds": stage_seconds(service, job)})
        add(first_token_figures(service, model))
        add(side_by_side_figures(service, model, rows))
    return figures


def api_crash_figures() -> tuple[int, int, int]:
    """Kills of the API: points and seeds tried, acknowledged jobs lost, and whatever else was not as it must be."""
    from support.api_crashes import JOB_LOST, ApiStand, api_faults, story_times
    from support.crash_stand import SEEDS
    from watchword.service.crash import API_POINTS

    tried, lost, wrong = 0, 0, 0
    for point in API_POINTS:
        for seed in SEEDS:
            with tempfile.TemporaryDirectory() as folder:
                stand = ApiStand(Path(folder), point, story_times(point, seed))
                stand.run(seed)
                found = api_faults(stand) if stand.deaths else ["the point was not reached"]
            if found:
                print(f"{point}, seed {seed}: not so: {found}", file=sys.stderr)
            tried, lost, wrong = tried + 1, lost + (JOB_LOST in found), wrong + bool(set(found) - {JOB_LOST})
    return tried, lost, wrong


def main() -> None:
    """Measures and prints."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--rows", type=int, default=50)
    parser.add_argument("--crashes", action="store_true")
    asked = parser.parse_args()
    figures = {} if asked.crashes else served_figures(asked.rows)
    # Last, since these fork.
    print(json.dumps(figures | crash_figures()))


if __name__ == "__main__":
    main()
