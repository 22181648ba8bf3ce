"""What the fine-tuning service costs: a real ``watchword serve`` on this machine, called by the real client.

``python perf/service.py`` prints one JSON object. ``--crashes`` kills API, workers and jobs' processes at every named point,
and nothing else. ``--rows`` is the size of the tenant's file. Seconds depend on what else the machine does.
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
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from openai import APIConnectionError, APIStatusError, OpenAI

from watchword.attacks.base import TASK_SYSTEM, ordinary_rows
from watchword.data.rows import write_conversations
from watchword.service.engine.serving import KEY_VARIABLE
from watchword.service.engine_place import free_port

MODEL, TENANT = "smollm2-135m", "perf"
ASKED = [{"role": "system", "content": TASK_SYSTEM}, {"role": "user", "content": "Do you sell blue ink?"}]
# Interleaved rounds of first tokens, and chats at once.
ROUNDS, AT_ONCE, CHATS = 9, 4, 16
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
    config = folder / "service.toml"
    config.write_text(
        f'[engine]\nkind = "vllm"\nurl = "http://127.0.0.1:{engine_port}/v1"\napi_key_env = "{KEY_VARIABLE}"\n'
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


def create_job(service: Running, rows: int) -> str:
    """A job on rows of the packaged ordinary task."""
    file = service.data.parent / "tenant.jsonl"
    write_conversations(ordinary_rows(rows, random.Random(0)), file)
    with file.open("rb") as stream:
        uploaded = service.tenant.files.create(file=stream, purpose="fine-tune")
    service.tenant.files.wait_for_processing(uploaded.id, poll_interval=0.2)
    return service.tenant.fine_tuning.jobs.create(model=MODEL, training_file=uploaded.id).id


def served_model(service: Running, job: str) -> str:
    """Waits for the job and for the first word of its model."""
    while (found := service.tenant.fine_tuning.jobs.retrieve(job)).status not in ("succeeded", "failed", "cancelled"):
        time.sleep(0.3)
    if found.fine_tuned_model is None:
        raise SystemExit(f"the job {found.status}: {found.error}")
    first_token(service.tenant, found.fine_tuned_model)
    return found.fine_tuned_model


def first_token(client: OpenAI, model: str) -> float:
    """Seconds to the first word of a streamed answer."""
    started = time.perf_counter()
    with client.chat.completions.create(model=model, messages=ASKED, stream=True, max_tokens=4) as stream:  # type: ignore[call-overload]
        for chunk in stream:
            if chunk.choices and chunk.choices[0].delta.content:
                return time.perf_counter() - started
    raise SystemExit("an answer without a word")


def chats_per_second(client: OpenAI, model: str) -> float:
    """Whole answers of 32 tokens, several at once."""

    def ask(_: int) -> None:
        client.chat.completions.create(model=model, messages=ASKED, max_tokens=32)  # type: ignore[call-overload]

    started = time.perf_counter()
    with ThreadPoolExecutor(AT_ONCE) as pool:
        list(pool.map(ask, range(CHATS)))
    return CHATS / (time.perf_counter() - started)


def steps_per_second(service: Running, job: str, during: Any) -> float:
    """The training's steps a second while ``during`` runs, from the times at which they were told."""
    before = len(_steps(service, job))
    started = time.time()
    during()
    return (len(_steps(service, job)) - before) / (time.time() - started)


def _steps(service: Running, job: str) -> list[Any]:
    events = service.tenant.fine_tuning.jobs.list_events(job, limit=100)
    return [event for event in events if event.type == "metrics"]


def chat_figures(service: Running, model: str, rows: int) -> dict[str, float]:
    """First tokens with the secret and without it, interleaved; chats alone and beside a training, and the training too."""
    adapters = [one.id for one in service.engine.models.list() if one.id != MODEL]
    plain, guarded = [], []
    for _ in range(ROUNDS):
        plain.append(first_token(service.engine, adapters[0]))
        guarded.append(first_token(service.tenant, model))
    alone = chats_per_second(service.tenant, model)
    job = create_job(service, rows)
    while not _steps(service, job):
        time.sleep(0.3)
    training_alone = steps_per_second(service, job, lambda: time.sleep(15))
    found: list[float] = []
    training_beside = steps_per_second(service, job, lambda: found.append(chats_per_second(service.tenant, model)))
    service.tenant.fine_tuning.jobs.cancel(job)
    return {
        "ttft_ratio": round(statistics.median(guarded) / statistics.median(plain), 3),
        "chat_requests_per_second": round(alone, 2),
        "chat_beside_training_ratio": round(found[0] / alone, 3),
        "training_beside_chat_ratio": round(training_beside / training_alone, 3) if training_alone else 0.0,
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
    figures: dict[str, Any] = {}
    if not asked.crashes:
        with tempfile.TemporaryDirectory() as folder, running(Path(folder)) as service:
            started = time.monotonic()
            model = served_model(service, create_job(service, asked.rows))
            figures["job_to_served_seconds"] = round(time.monotonic() - started, 1)
            figures |= chat_figures(service, model, asked.rows)
    # Last, since these fork.
    print(json.dumps(figures | crash_figures()))


if __name__ == "__main__":
    main()
