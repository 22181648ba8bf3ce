"""Starting the service: the data folder, the provider's key, and which parts run where."""

from __future__ import annotations

import contextlib
import functools
import os
import socket
from dataclasses import dataclass

import msgspec

from watchword.errors import UsageError
from watchword.files.addresses import Address
from watchword.files.folders import PRIVATE_FOLDER
from watchword.files.writing import writing
from watchword.service.db import open_database
from watchword.service.engine.serving import KEY_VARIABLE
from watchword.service.engine_place import PORT, engine_place, free_port, share_engine_key
from watchword.service.logs import log_to_stderr
from watchword.service.serving import run_api
from watchword.service.settings import PlaceSettings, ServiceSettings
from watchword.service.supervisor import Part, Supervisor, leave, stopped_by

_ENGINE = "engine"
# What an error calls storage and releases.
_PLACES = "the service's state"
_KEY_VARIABLES = ("WATCHWORD_KEY", "WATCHWORD_KEY_FILE")


@dataclass(frozen=True)
class Started:
    """A service that is ready to run. ``new_key``: the provider's key was made just now; ``has_keys``: somebody can call."""

    settings: ServiceSettings
    new_key: bool
    has_keys: bool


def prepared(settings: ServiceSettings, *, host: str | None = None, port: int | None = None) -> Started:
    """Makes the data folder, the provider's key and the database where they are missing.

    Raises OutputError, SecretError and DatabaseError. For a URL of storage or releases whose file system is not installed
    it is an OutputError too: else the first job would find out.
    """
    place = msgspec.structs.replace(
        settings.service,
        host=settings.service.host if host is None else host,
        port=settings.service.port if port is None else port,
    )
    settings = msgspec.structs.replace(settings, service=place)
    releases = settings.release_place
    for state in (Address.parse(settings.storage_url), releases):
        if state.url is not None:
            with state.file_system(_PLACES):
                pass
    for folder in (settings.data, settings.work, *filter(None, [releases.local])):
        with writing(folder):
            folder.mkdir(parents=True, exist_ok=True, mode=PRIVATE_FOLDER)
    new_key = not settings.key_file.exists() and not any(os.environ.get(name) for name in _KEY_VARIABLES)
    with contextlib.closing(open_database(settings, settings.key())) as database:
        return Started(settings, new_key, has_keys=bool(database.keys()))


def supervised(settings: ServiceSettings, *, drain_seconds: int) -> None:
    """Runs all parts until SIGTERM or Ctrl-C. Raises UsageError where the API cannot listen."""
    _check_address(settings.service)
    share_engine_key()
    parts = _parts(settings, free_port(), drain_seconds)
    Supervisor(parts, drain_seconds=drain_seconds + 5, last=[_ENGINE]).run()


def run_part(settings: ServiceSettings, name: str, *, drain_seconds: int) -> None:
    """Runs one part in this process until SIGTERM or Ctrl-C. Raises UsageError where the settings have no such part."""
    part = _parts(settings, PORT, drain_seconds).get(name)
    if part is None:
        raise UsageError(f"the settings name an engine of {settings.engine.kind}, so that there is none to run here")
    if name == "api":
        _check_address(settings.service)
        _check_engine_key(settings)
    log_to_stderr()
    # uvicorn sends itself the signal once more when it has ended, which is then how a program ends that did as it was told.
    with stopped_by(leave):
        part()


def _check_address(place: PlaceSettings) -> None:
    """Raises UsageError where nobody can listen there. Else the API would die and be started again for ever."""
    try:
        for family, kind, protocol, _, address in socket.getaddrinfo(place.host, place.port, type=socket.SOCK_STREAM):
            with socket.socket(family, kind, protocol) as tried:
                tried.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                tried.bind(address)
    except OSError as error:
        raise UsageError(
            f"the service cannot listen at {place.host}, port {place.port}: {error.strerror or error}; stop what listens "
            "there, or give another host or port",
            param="port",
        ) from None


def _check_engine_key(settings: ServiceSettings) -> None:
    if settings.engine.url is None and not os.environ.get(KEY_VARIABLE):
        raise UsageError(
            f"the environment variable {KEY_VARIABLE} holds no key for the embedded engine; draw one (openssl rand -hex 32), "
            "and set it for the API and for the engine, on the same machine"
        )


def _parts(settings: ServiceSettings, engine_port: int, drain_seconds: int) -> dict[str, Part]:
    place = engine_place(settings, port=engine_port)
    parts: dict[str, Part] = {
        "api": functools.partial(run_api, settings, place, drain_seconds),
        "worker": functools.partial(_run_worker, settings),
    }
    if place.port is not None:
        parts[_ENGINE] = functools.partial(_run_engine, settings, place.port, drain_seconds)
    return parts


def _run_worker(settings: ServiceSettings) -> None:
    from watchword.service.worker import run

    run(settings)


def _run_engine(settings: ServiceSettings, port: int, drain_seconds: int) -> None:
    from watchword.service.engine import run

    run(settings, port, drain_seconds)
