"""The service's API as a real server on loopback, with an engine that is scripted and a worker that trains nothing."""

from __future__ import annotations

import contextlib
import json
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec
import uvicorn
from openai import OpenAI

from support.gateway_parts import Scripted, friendly, respond, served
from support.served_release import release_folder
from watchword.service.db import Database, open_database
from watchword.service.engine_place import EnginePlace
from watchword.service.jobs.machine import JobAction
from watchword.service.keys import draw_key
from watchword.service.serving import api
from watchword.service.settings import ServiceSettings, WebhookSettings
from watchword.service.storage import Blobs
from watchword.service.types.files import NewFile
from watchword.service.types.jobs import (
    Claim,
    Facts,
    Failed,
    JobError,
    JobState,
    NewCheckpoint,
    NewEvent,
    Outcome,
    Stage,
    Stopped,
    Succeeded,
)
from watchword.service.types.models import NewModel
from watchword.service.types.tenants import Scope

BASE = "smollm2-135m"
CSV = "step,train_loss,train_accuracy,valid_loss,valid_mean_token_accuracy\n1,2.5,0.4,,\n2,1.5,0.6,,\n"


def rows(count: int = 12) -> bytes:
    """A training file."""
    one = {"messages": [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hello!"}]}
    return b"".join(json.dumps(one).encode() + b"\n" for _ in range(count))


@dataclass
class FakeWorker:
    """Takes jobs as a worker does, and writes what a training would. ``hold`` keeps a job running until it is asked to stop."""

    database: Database
    blobs: Blobs
    release: Path
    hold: threading.Event = field(default_factory=threading.Event)
    fails: JobError | None = None

    def once(self) -> bool:
        """One job, from claim to outcome. Says whether there was one."""
        claim = self.database.claim("fake", 60.0)
        if claim is None:
            return False
        if claim.job.state is JobState.VALIDATING_FILES:
            self.database.advance(claim, JobAction.VALIDATED)
        self.database.advance(claim, JobAction.STARTED, NewEvent("Training"), facts=Facts(stage=Stage.TRAIN))
        self.database.record(claim, NewEvent("Screened the file", data={"flagged": 3}, private=True))
        for step, loss in ((1, 2.5), (2, 1.5)):
            self.database.record(
                claim,
                NewEvent(f"Step {step}/2", type="metrics", data={"step": step, "train_loss": loss}),
                checkpoint=NewCheckpoint(step, {"train_loss": loss}),
            )
        self.database.finish(claim, self._outcome(claim))
        return True

    def run(self, ended: threading.Event) -> None:
        """Takes jobs until it is told to end."""
        while not ended.wait(0.02):
            self.once()

    def _outcome(self, claim: Claim) -> Outcome:
        while self.hold.is_set():
            if self.database.heartbeat(claim).state is not JobState.RUNNING:
                return Stopped()
            threading.Event().wait(0.02)
        if self.fails is not None:
            return Failed(self.fails)
        job = claim.job
        blob = self.blobs.put(CSV.encode())
        result = NewFile("fine-tune-results", f"{job.id}.csv", blob.bytes, blob.sha256, blob.name)
        # A renewal keeps the model's name.
        name = job.replaces or f"ft:{job.model}:{job.tenant}:{job.suffix or ''}:{job.id[-8:]}"
        version = 1 if job.replaces is None else 2
        return Succeeded(NewModel(name, job.model, str(self.release), "w" * 64, version), 100, result)


@dataclass
class ServiceUnderTest:
    """A running service, and what a test needs to look behind it."""

    url: str
    port: int
    database: Database
    blobs: Blobs
    worker: FakeWorker
    engine: Scripted
    settings: ServiceSettings
    key: str
    other_key: str
    operator_key: str
    clients: list[OpenAI] = field(default_factory=list)

    def client(self, key: str | None = None, **options: Any) -> OpenAI:
        """OpenAI's own client, for the first tenant unless another key is given."""
        made = OpenAI(base_url=f"{self.url}/v1", api_key=key or self.key, **{"max_retries": 0, **options})
        self.clients.append(made)
        return made


@contextlib.contextmanager
def running_service(root: Path, *, worker: bool = True, **changed: Any) -> Iterator[ServiceUnderTest]:
    """The service in a data folder. WATCHWORD_KEY must be ``KEY``. ``changed`` replaces settings."""
    settings = msgspec.structs.replace(
        ServiceSettings(data=root / "service", webhooks=WebhookSettings(private=True)), **changed
    )
    settings.releases.mkdir(parents=True)
    release = release_folder(settings.releases)
    database, blobs = open_database(settings, settings.key()), Blobs(settings.storage_url)
    fake, ended = FakeWorker(database, blobs, release), threading.Event()
    engine = Scripted(friendly)
    texts = [
        _drawn(database, tenant, scope)
        for tenant, scope in (("bakery", Scope.TENANT), ("florist", Scope.TENANT), ("provider", Scope.OPERATOR))
    ]
    with served(_Engine(engine)) as engine_port:
        app = api(settings, EnginePlace(f"http://127.0.0.1:{engine_port}/v1", "vllm", port=engine_port))
        config = uvicorn.Config(
            app, host="127.0.0.1", port=0, log_config=None, access_log=False, lifespan="on", ws="none"
        )
        with served(app, config) as port:
            thread = threading.Thread(target=fake.run, args=(ended,), daemon=True)
            if worker:
                thread.start()
            found = ServiceUnderTest(f"http://127.0.0.1:{port}", port, database, blobs, fake, engine, settings, *texts)
            try:
                yield found
            finally:
                ended.set()
                fake.hold.clear()
                for client in found.clients:
                    client.close()
                if worker:
                    thread.join(10)
    database.close()


class _Engine:
    """The scripted engine, which is healthy."""

    def __init__(self, scripted: Scripted) -> None:
        self._scripted = scripted

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["path"] == "/health":
            await respond(send, b"{}")
        else:
            await self._scripted(scope, receive, send)


def _drawn(database: Database, tenant: str, scope: Scope) -> str:
    drawn = draw_key()
    database.create_key(drawn, tenant, scope=scope)
    return drawn.text
