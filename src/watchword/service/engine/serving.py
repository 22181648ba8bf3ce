"""Running the embedded engine as a process of its own."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NoReturn

import uvicorn

from watchword.errors import UsageError
from watchword.finetune.launch._process import without_semaphores
from watchword.service.engine.app import EngineApp
from watchword.service.engine.hosts import Hosts
from watchword.service.engine.scheduler import Scheduler
from watchword.service.settings import ServiceSettings
from watchword.service.supervisor import end_now

# Where the engine finds the key that its callers show; never an argument, which every process can read.
KEY_VARIABLE = "WATCHWORD_ENGINE_KEY"


@dataclass(frozen=True)
class EngineOptions:
    """``bases`` are the catalog's names; the first is loaded at once. Beyond ``most_waiting`` requests are told to come back."""

    bases: Sequence[str]
    host: str = "127.0.0.1"
    port: int = 8001
    most_rows: int = 16
    most_waiting: int = 64
    drain_seconds: int = 30


def run(settings: ServiceSettings, port: int, drain_seconds: int) -> NoReturn:
    """The embedded engine of a service, and the end of this process: all base models of its policy, on loopback at ``port``."""
    without_semaphores()
    status: object = None
    try:
        run_engine(EngineOptions(tuple(settings.policies), port=port, drain_seconds=drain_seconds))
    except SystemExit as end:
        # uvicorn sends itself the signal once more when it has ended. Where it could not begin, its status says so.
        status = end.code
    end_now(status if isinstance(status, int) else int(status is not None))


def run_engine(options: EngineOptions) -> None:
    """Serves until SIGTERM or Ctrl-C, then lets open answers end. Raises UsageError without a key in the environment."""
    key = os.environ.get(KEY_VARIABLE, "")
    if not key:
        raise UsageError(f"the environment variable {KEY_VARIABLE} holds no key for the engine's callers")
    hosts = Hosts(options.bases)
    # Before the port opens: whoever reaches it is answered at once.
    hosts.of(options.bases[0])
    scheduler = Scheduler(most_rows=options.most_rows, most_waiting=options.most_waiting, computing=hosts.computing)
    scheduler.start()
    try:
        uvicorn.Server(_server(EngineApp(hosts, scheduler, key), options)).run()
    finally:
        scheduler.end()


def _server(app: EngineApp, options: EngineOptions) -> uvicorn.Config:
    return uvicorn.Config(
        app,
        host=options.host,
        port=options.port,
        loop="uvloop",
        http="httptools",
        ws="none",
        lifespan="off",
        log_config=None,
        access_log=False,
        server_header=False,
        timeout_graceful_shutdown=options.drain_seconds,
    )
