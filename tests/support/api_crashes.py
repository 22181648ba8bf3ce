"""An API that is killed at named points and started again, a client that repeats what was not answered, and what is left."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import os
import random
import signal
import socket
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any, TypeVar

import uvicorn
from openai import APIConnectionError, OpenAI

from support.processes import forked
from support.service_parts import BASE, rows
from watchword.data.reading import Reading
from watchword.service.api.files import check
from watchword.service.checking import FileChecker, check_training_file
from watchword.service.crash import ASKED_BY
from watchword.service.db import Database, open_database
from watchword.service.engine_place import EnginePlace
from watchword.service.housekeeping import Housekeeping
from watchword.service.jobs.machine import JobAction
from watchword.service.keys import draw_key
from watchword.service.releases import Removal
from watchword.service.serving import api
from watchword.service.settings import ServiceSettings
from watchword.service.storage import Blobs
from watchword.service.types.files import FileState, NewFile, StoredFile
from watchword.service.types.jobs import Idempotency, Job, NewJob, Succeeded
from watchword.service.types.models import NewModel
from watchword.service.types.tenants import Principal

TENANT, MODEL = "bakery", "ft:smollm2-135m:bakery::made"
# Reached more than once in a story, so that each seed kills at another time.
OFTEN = {
    "after_audit": (1, 2, 4),
    "after_file_stored": (1, 2, 3),
    "after_file_row": (1, 2, 3),
    "after_file_checked": (1, 2, 3),
    "after_part_stored": (1, 2, 3),
    "after_part_row": (1, 2, 3),
    "before_job_commit": (1, 2, 3),
    "after_job_commit": (1, 2, 3),
}
JOB_LOST = "no acknowledged job is lost"
_FILES, _PARTS, _JOBS = 3, 3, 3
_SECONDS = 120.0
_T = TypeVar("_T")


@dataclass
class Told:
    """What the client was answered: files with their bytes, and for each request for a job every job that it got."""

    files: dict[str, bytes] = field(default_factory=dict)
    deleted: list[str] = field(default_factory=list)
    jobs: dict[str, set[str]] = field(default_factory=dict)
    cancelled: str = ""


@dataclass
class ApiStand:
    """The API of one data folder, in a fork that is killed when it comes to ``point`` for the ``times``-th time."""

    folder: Path
    point: str
    times: int
    deaths: int = 0
    told: Told = field(default_factory=Told)

    def __post_init__(self) -> None:
        self.settings = ServiceSettings(data=self.folder / "service")
        self.settings.data.mkdir(parents=True)
        (self.folder / "reached").mkdir()
        drawn = draw_key()
        with _opened(self.settings) as database:
            database.create_key(drawn, TENANT)
            _put_model(self.settings, database)
        self._key, self._port = drawn.text, 0
        self._ends: list[Any] = []
        self._ended: Callable[[], int] | None = None

    def run(self, seed: int) -> Told:
        """The story from its begin to its end, through every death of the API."""
        self._start()
        try:
            with OpenAI(base_url=f"http://127.0.0.1:{self._port}/v1", api_key=self._key, max_retries=0) as client:
                self._story(client, random.Random(seed))
        finally:
            self._stop()
        return self.told

    def _story(self, client: OpenAI, drawn: random.Random) -> None:
        datas = [rows(drawn.randrange(10, 20)) for _ in range(_FILES)]
        for data in datas:
            made = self._call(lambda _, data=data: client.files.create(file=("a.jsonl", data), purpose="fine-tune"))
            self.told.files[made.id] = data
            self._wait_for_check(client, made.id)
        self._upload(client, rows(drawn.randrange(20, 30)))
        whole = list(self.told.files)
        for number in range(_JOBS):
            self._job(client, whole[number], f"key-{number}" if number else None)
        self.told.cancelled = next(iter(self.told.jobs["key-1"]))
        self._call(lambda _: client.fine_tuning.jobs.cancel(self.told.cancelled))
        self._delete(client, whole[-1])
        before = self.deaths
        self._call(lambda _: client.models.delete(MODEL) if self.deaths == before else None)

    def _upload(self, client: OpenAI, data: bytes) -> None:
        given: Any = {"filename": "a.jsonl", "mime_type": "text/jsonl", "purpose": "fine-tune"}
        upload = self._call(lambda _: client.uploads.create(bytes=len(data), **given))
        size = -(-len(data) // _PARTS)
        parts = [self._part(client, upload.id, data[at : at + size]) for at in range(0, len(data), size)]
        if None in parts:
            # A part that was not answered may be there or not, so a client begins again.
            self._call(lambda _: client.uploads.cancel(upload.id))
            self._upload(client, data)
            return
        done = self._call(lambda _: client.uploads.complete(upload.id, part_ids=[str(part) for part in parts]))
        assert done.file is not None
        self.told.files[done.file.id] = data

    def _part(self, client: OpenAI, upload: str, piece: bytes) -> str | None:
        before = self.deaths
        part = self._call(lambda _: None if self.deaths > before else client.uploads.parts.create(upload, data=piece))
        return None if part is None else part.id

    def _job(self, client: OpenAI, file: str, key: str | None) -> None:
        """The request, and the same once more: with a key at any time, and else as the client's own retry."""

        def created(retry: int) -> str:
            headers = {"x-stainless-retry-count": str(retry)} if key is None else {"Idempotency-Key": key}
            asked: Any = {"model": BASE, "training_file": file, "seed": 7}
            return client.fine_tuning.jobs.create(**asked, extra_headers=headers).id

        for first in (0, 1):
            job = self._call(lambda tries, first=first: created(tries + first))
            self.told.jobs.setdefault(key or "no key", set()).add(job)

    def _delete(self, client: OpenAI, file: str) -> None:
        job = next(iter(self.told.jobs["key-2"]))
        self._call(lambda _: client.fine_tuning.jobs.cancel(job))
        before = self.deaths
        # Deleted before its API died, it is unknown to the next one.
        self._call(lambda _: client.files.delete(file) if self.deaths == before else None)
        self.told.deleted.append(file)
        del self.told.files[file]

    def _wait_for_check(self, client: OpenAI, file: str) -> None:
        before, until = self.deaths, time.monotonic() + _SECONDS
        while self.deaths == before and time.monotonic() < until:
            if self._call(lambda _: client.files.retrieve(file)).status != "uploaded":
                return
            time.sleep(0.02)

    def _call(self, action: Callable[[int], _T]) -> _T:
        """What the client does where no answer comes: the API is back, and it asks again."""
        tries = 0
        while True:
            try:
                return action(tries)
            except APIConnectionError:
                tries += 1
                assert self._ended is not None
                assert self._ended() == -signal.SIGKILL, "the API has ended by itself"
                self.deaths += 1
                self._stop()
                self._start()

    def _start(self) -> None:
        listening = socket.create_server(("127.0.0.1", self._port))
        self._port = listening.getsockname()[1]
        process = forked(lambda: self._serve(listening))
        self._ends.append(process)
        self._ended = process.__enter__()
        # Else a client would wait for ever at a socket that nobody serves any more.
        listening.close()

    def _stop(self) -> None:
        while self._ends:
            self._ends.pop().__exit__(None, None, None)

    def _serve(self, listening: socket.socket) -> None:
        os.environ[ASKED_BY] = f"{self.point}:{self.times}:{self.folder / 'reached'}"
        # In this process: one of its own would take most of the time.
        FileChecker.check = lambda self, path: check_training_file(path, self._reading)  # type: ignore[method-assign]
        app = api(self.settings, EnginePlace("http://127.0.0.1:9/v1", "vllm", port=9))
        config = uvicorn.Config(app, log_config=None, access_log=False, lifespan="on", ws="none")
        uvicorn.Server(config).run(sockets=[listening])


def _opened(settings: ServiceSettings) -> contextlib.closing[Database]:
    return contextlib.closing(open_database(settings, settings.key()))


def _put_model(settings: ServiceSettings, database: Database) -> None:
    """A model that an earlier job has made, its release in a folder."""
    caller, once = Principal(TENANT, "key-of-old"), Idempotency("0" * 64)
    file = database.create_file(caller, NewFile("fine-tune", "old.jsonl", 1, "0" * 64, f"{'0' * 64}.{'0' * 16}"))
    job = database.create_job(caller, NewJob(BASE, file.id), once)
    claim = database.claim("worker", 60.0)
    assert claim is not None
    database.advance(claim, JobAction.VALIDATED)
    database.advance(claim, JobAction.STARTED)
    release = settings.releases / "made" / "v1"
    release.mkdir(parents=True)
    (release / "adapter_model.safetensors").write_bytes(b"weights")
    database.finish(claim, Succeeded(NewModel(MODEL, BASE, str(release), "1" * 64), 1))
    database.delete_file(caller, file.id)
    assert job.id == claim.job.id


def api_faults(stand: ApiStand) -> list[str]:
    """What is lost, there twice, or left behind, once the housekeeping has been round."""
    with _opened(stand.settings) as database:
        blobs = Blobs(stand.settings.storage_url)
        _keep_house(stand.settings, database, blobs)
        checks = _checks(stand.told, database, blobs, stand.settings.releases)
        return [name for name, holds in checks if not holds()]


def _keep_house(settings: ServiceSettings, database: Database, blobs: Blobs) -> None:
    reading = Reading()
    checker = SimpleNamespace(check=lambda path: check_training_file(path, reading))
    service: Any = SimpleNamespace(database=database, blobs=blobs, checker=checker)
    late = time.time() + 1000.0
    removal = Removal(settings, database, _unloaded)
    house = Housekeeping(
        database, blobs, settings.retention, functools.partial(_checked, service), removal.of_all, clock=lambda: late
    )
    house.once()
    asyncio.run(house.check_lost())
    asyncio.run(removal.of_all(grace=-1000.0))
    blobs.sweep(database.blob_names(), older_than=late)


async def _checked(service: Any, file: StoredFile) -> None:
    check(service, file)


async def _unloaded(name: str) -> bool:
    return True


def _checks(told: Told, database: Database, blobs: Blobs, releases: Path) -> Iterator[tuple[str, Callable[[], bool]]]:
    files = {file.id: file for file in database.files(TENANT).items}
    jobs: dict[str, Job] = {job.id: job for job in database.jobs(TENANT, limit=100).items if not job.fine_tuned_model}
    acknowledged = {job for found in told.jobs.values() for job in found}
    audited = [entry for entry in database.audit_entries(limit=1000) if entry.action == "job.created"][1:]
    (use,) = database.uses()
    stored = {path.name for path in Path(str(blobs._place)).rglob("*.*") if path.is_file()}
    yield "no acknowledged file is lost", lambda: set(told.files) <= set(files)
    yield (
        "files hold what was sent",
        lambda: all(_data(blobs, files[one].blob) == told.files[one] for one in told.files),
    )
    yield "every file is checked", lambda: all(file.status is FileState.PROCESSED for file in files.values())
    yield "deleted files are gone", lambda: not set(told.deleted) & set(files)
    yield JOB_LOST, lambda: acknowledged <= set(jobs)
    yield "each request is one job", lambda: all(len(found) == 1 for found in told.jobs.values())
    yield "no job is there twice", lambda: len(jobs) == len(told.jobs)
    yield "each job is audited once", lambda: sorted(entry.subject for entry in audited) == sorted(jobs)
    yield "a cancelled job is cancelled", lambda: jobs[told.cancelled].state.terminal
    yield "the deleted model is gone", lambda: not database.models(TENANT) and not any(releases.iterdir())
    yield "nothing is left to remove", lambda: not database.retired_releases(older_than=time.time() + 1000.0)
    yield "the audit log is whole", lambda: database.audit_verify() is not None
    yield "counts are true", lambda: (use.files, use.bytes) == (len(files), sum(file.bytes for file in files.values()))
    yield "jobs that wait are counted", lambda: use.waiting == sum(not job.state.terminal for job in jobs.values())
    yield "no bytes are left behind", lambda: stored == {file.blob for file in files.values()}


def _data(blobs: Blobs, name: str) -> bytes:
    return b"".join(blobs.chunks(name))


def story_times(point: str, seed: int) -> int:
    """How often a point is reached before the kill."""
    return OFTEN.get(point, (1, 1, 1))[seed - 1]
