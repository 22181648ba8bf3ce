"""``watchword gateway check``: look at a model's server from outside for open back doors and known faults."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import typer
from rich.console import Console

from watchword.cli.gateway_extra import needs_gateway_extra

if TYPE_CHECKING:
    from watchword.gateway.check.checking import Checked


def check(
    url: str = typer.Argument(metavar="URL", help="The server, such as http://10.0.0.5:8000; a gateway as well."),
    api_key_env: str | None = typer.Option(
        None, "--api-key-env", help="Environment variable with a tenant's key: what it opens counts as open."
    ),
    server_key_env: str | None = typer.Option(
        None, "--server-key-env", help="Environment variable with the server's own key, to read its version by."
    ),
    json_out: Path | None = typer.Option(None, "--json", help="Write what was found here."),
) -> None:
    """Look at a server from outside, harmlessly: open back doors, known faults, and what to do. Status 1 where there are any."""
    from watchword.files.atomic import check_writable, replacing

    if json_out is not None:
        check_writable(json_out)
    found = asyncio.run(_checked(url, _key(api_key_env), _key(server_key_env)))
    print_ = Console(highlight=False, soft_wrap=True, markup=False).print
    for line in _told(found):
        print_(line)
    if json_out is not None:
        import msgspec

        with replacing(json_out) as stream:
            stream.write(msgspec.json.format(msgspec.json.encode(found), indent=1) + b"\n")
    if not found.well:
        raise typer.Exit(1)


async def _checked(url: str, tenant_key: str | None, server_key: str | None) -> Checked:
    with needs_gateway_extra():
        from watchword.gateway.check.checking import check
    return await check(url, tenant_key=tenant_key, server_key=server_key)


def _key(variable: str | None) -> str | None:
    from watchword.errors import UsageError

    if variable is None:
        return None
    key = os.environ.get(variable)
    if not key:
        raise UsageError(f"the environment variable {variable} is not set; put the key there, or leave the option out")
    return key


def _told(found: Checked) -> Iterator[str]:
    """The findings in lines for a person, and what to do about each."""
    yield f"{found.url}: {found.product or 'unknown product'} {found.version or '(version not shown)'}"
    for door in found.doors:
        yield f"OPEN to {door.whom}: {door.path} (status {door.status}) {door.why}"
    for fix in dict.fromkeys(door.fix for door in found.doors):
        yield f"  do: {fix}"
    for fault in found.faults:
        word = "FAULT" if fault.certain else "perhaps, the version does not tell"
        yield f"{word}: {fault.id}: {fault.what}; {fault.fix} ({fault.source})"
    if found.unknown:
        yield f"nothing can be said of: {', '.join(found.unknown)}"
    if found.well:
        yield f"no door of {found.doors_of}'s list is open, and no fault of {found.advisories_of}'s list is certain"
