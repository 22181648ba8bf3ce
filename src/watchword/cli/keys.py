"""``watchword keys``: API keys of the service, for tenants and operators."""

from __future__ import annotations

import datetime
import time
from pathlib import Path
from typing import TYPE_CHECKING

import typer
from rich.console import Console
from rich.table import Table

from watchword.cli.service_options import config_option, data_option, service_database

if TYPE_CHECKING:
    from watchword.service.types.tenants import ApiKey

app = typer.Typer(help="Make, list and revoke API keys of the service.", no_args_is_help=True)
_DAY = 86_400.0


@app.command()
def create(
    tenant: str = typer.Argument(metavar="TENANT", help="Whose key it is."),
    name: str = typer.Option("", "--name", help="What it is for, as lists show it."),
    operator: bool = typer.Option(False, "--operator", help="A key for the operator's view of all tenants."),
    days: float | None = typer.Option(
        None, "--expires-days", min=0.0, max=3650.0, help="It opens nothing after so many days."
    ),
    data: Path = data_option(),
    config: Path | None = config_option(),
) -> None:
    """Draw a key. It is shown once; only its digest is kept."""
    from watchword.service.keys import draw_key
    from watchword.service.types.tenants import Scope

    drawn, expires = draw_key(), None if days is None else time.time() + days * _DAY
    scope = Scope.OPERATOR if operator else Scope.TENANT
    with service_database(data, config, make=True) as database:
        database.create_key(drawn, tenant, scope=scope, name=name, expires_at=expires)
    # The key alone, so that a script can take it.
    typer.echo(drawn.text)


@app.command("list")
def list_keys(
    tenant: str | None = typer.Option(None, "--tenant", help="Only this tenant's."),
    data: Path = data_option(),
    config: Path | None = config_option(),
) -> None:
    """List all keys, revoked and expired ones too."""
    from watchword.service.types.tenants import EVERY_TENANT

    with service_database(data, config) as database:
        found = database.keys(EVERY_TENANT if tenant is None else tenant)
    table = Table("id", "tenant", "scope", "name", "made", "state", box=None)
    for key in found:
        table.add_row(key.id, key.tenant, key.scope, key.name, _day(key.created_at), _state(key))
    Console(highlight=False, soft_wrap=True, markup=False).print(table)


@app.command()
def revoke(
    key_id: str = typer.Argument(metavar="ID", help="The key's id, as the list shows it."),
    data: Path = data_option(),
    config: Path | None = config_option(),
) -> None:
    """Take a key's rights away, at once and for ever."""
    with service_database(data, config) as database:
        key = database.revoke_key(key_id)
    typer.echo(f"{key.id} of {key.tenant} opens nothing any more")


@app.command("rotate-wrapping")
def rotate(
    same_key: bool = typer.Option(
        False, "--same-key", help="Draw no new wrapping key; bring all records to the newest."
    ),
    forget: bool = typer.Option(
        False, "--forget-older", help="Remove older wrapping keys from the key file afterwards."
    ),
    data: Path = data_option(),
    config: Path | None = config_option(),
) -> None:
    """Renew the key that wraps all others, while the service runs; every sealed secret is wrapped anew."""
    from watchword.service.rotation import rotate_wrapping
    from watchword.service.settings_file import read_settings

    settings = read_settings(config, data=data)
    with service_database(data, config) as database:
        done = rotate_wrapping(settings, database, settings.key(), new_key=not same_key, forget=forget)
    typer.echo(f"{done.records} records wrapped anew, {done.forgotten} older keys forgotten")


def _state(key: ApiKey) -> str:
    if key.revoked_at is not None:
        return f"revoked {_day(key.revoked_at)}"
    if key.expires_at is None:
        return "valid"
    return f"{'expired' if key.expires_at <= time.time() else 'valid until'} {_day(key.expires_at)}"


def _day(at: float) -> str:
    return datetime.datetime.fromtimestamp(at, datetime.UTC).strftime("%Y-%m-%d")
