"""What the commands of the service share: where its settings and its state are."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

if TYPE_CHECKING:
    from watchword.service.db import Database


def data_option() -> Any:
    """``--data``."""
    return typer.Option(Path("watchword-service"), "--data", help="Folder of the service's state.")


def config_option() -> Any:
    """``--config``."""
    return typer.Option(None, "--config", help="TOML file with the service's settings (docs/jobs.md).")


@contextlib.contextmanager
def service_database(data: Path, config: Path | None, *, make: bool = False) -> Iterator[Database]:
    """The database of the service in ``data``, which only ``make`` makes. Raises UsageError where there is none.

    It is also raised where the extra is not installed.
    """
    from watchword.errors import UsageError
    from watchword.service.settings_file import read_settings

    try:
        from watchword.service.db import open_database
    except ModuleNotFoundError as error:
        raise UsageError(f"{error.name} is missing; install it with `pip install 'watchword[service]'`") from None
    settings = read_settings(config, data=data)
    if not make and not settings.service.database and not (settings.data / "service.db").exists():
        raise UsageError(f"there is no service in {data}; name the folder that `watchword serve` keeps its state in")
    with contextlib.closing(open_database(settings, settings.key())) as database:
        yield database
