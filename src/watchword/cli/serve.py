"""``watchword serve``: the fine-tuning service, whole or in parts."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path

import typer
from rich.console import Console


class Only(StrEnum):
    """A part that runs by itself."""

    API = "api"
    WORKER = "worker"
    ENGINE = "engine"


def register(app: typer.Typer) -> None:
    """Adds the command."""
    app.command("serve")(serve)


def serve(
    config: Path | None = typer.Option(None, "--config", help="TOML file with the settings (docs/jobs.md)."),
    data: Path = typer.Option(
        Path("watchword-service"), "--data", help="Folder for everything that the service keeps."
    ),
    host: str | None = typer.Option(None, "--host", help="Address to listen on. Default: 127.0.0.1, or the settings'."),
    port: int | None = typer.Option(
        None, "--port", min=0, max=65535, help="Port to listen on. Default: 8000, or the settings'."
    ),
    only: Only | None = typer.Option(None, "--only", help="Run one part, where each has a machine of its own."),
    drain: int = typer.Option(30, "--drain-seconds", min=1, help="How long open requests may last after SIGTERM."),
) -> None:
    """Offer fine-tuning and chats to many tenants, in OpenAI's shape and defended: API, worker and engine."""
    from watchword.errors import UsageError
    from watchword.service.settings_file import read_settings

    settings = read_settings(config, data=data)
    try:
        from watchword.service.starting import prepared, run_part, supervised
    except ModuleNotFoundError as error:
        raise UsageError(f"{error.name} is missing; install it with `pip install 'watchword[service]'`") from None

    started = prepared(settings, host=host, port=port)
    if only is not None:
        run_part(started.settings, only.value, drain_seconds=drain)
        return
    print_ = Console(stderr=True, highlight=False, soft_wrap=True, markup=False).print
    place = started.settings.service
    print_(f"Watchword serves at http://{place.host}:{place.port}/v1 and keeps its state in {started.settings.data}.")
    if started.new_key:
        print_(f"A provider's key was made: {started.settings.key_file}. Keep a copy elsewhere.")
    if not started.has_keys:
        print_(f"Draw a tenant's key: watchword keys create NAME --data {data}")
    supervised(started.settings, drain_seconds=drain)
