"""``watchword audit``: the service's audit log, read and verified."""

from __future__ import annotations

import datetime
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from watchword.cli.service_options import config_option, data_option, service_database

if TYPE_CHECKING:
    from watchword.service.types.operator import AuditHead

app = typer.Typer(help="Read and verify the service's audit log.", no_args_is_help=True)
# The largest number that a database takes.
_MOST = 2**63 - 1


@app.command()
def verify(
    anchor: str | None = typer.Option(
        None, "--anchor", metavar="NUMBER:DIGEST", help="A head that was noted earlier, and must still be in the log."
    ),
    data: Path = data_option(),
    config: Path | None = config_option(),
) -> None:
    """Check that no entry was changed, removed, moved or cut off. Prints the head: keep it elsewhere, as an anchor."""
    noted = None if anchor is None else _head(anchor)
    with service_database(data, config) as database:
        head = database.audit_verify(noted)
    typer.echo(f"{head.number}:{head.digest}")


@app.command()
def show(
    after: int = typer.Option(0, "--after", min=0, max=_MOST, help="Begin behind this entry."),
    limit: int = typer.Option(100, "--limit", min=1, max=_MOST, help="At most so many entries."),
    data: Path = data_option(),
    config: Path | None = config_option(),
) -> None:
    """Print entries, one a line."""
    import msgspec

    with service_database(data, config) as database:
        for entry in database.audit_entries(after=after, limit=limit):
            at = datetime.datetime.fromtimestamp(entry.at, datetime.UTC).isoformat(timespec="seconds")
            facts = msgspec.json.encode(entry.facts).decode()
            typer.echo(f"{entry.number} {at} {entry.actor} {entry.action} {entry.tenant} {entry.subject} {facts}")


def _head(text: str) -> AuditHead:
    from watchword.errors import UsageError
    from watchword.service.types.operator import AuditHead

    number, _, digest = text.partition(":")
    if not number.isdecimal() or len(digest) != 64:
        raise UsageError(f"--anchor {text} is no head; give NUMBER:DIGEST, as `watchword audit verify` prints it")
    return AuditHead(int(number), digest)
