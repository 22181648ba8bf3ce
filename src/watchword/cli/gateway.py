"""``watchword gateway``: the proxy that puts secrets into requests, and keys for those who call it."""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path

import typer
from rich.console import Console

from watchword.cli import gateway_attack, gateway_check
from watchword.errors import UsageError

app = typer.Typer(help="Serve releases behind an OpenAI-compatible server, with their secrets.", no_args_is_help=True)
app.command("attack")(gateway_attack.attack)
app.command("check")(gateway_check.check)


@app.command()
def run(
    config: Path = typer.Option(..., "--config", help="TOML file with upstreams, models and keys (docs/gateway.md)."),
    host: str = typer.Option("127.0.0.1", "--host", help="Address to listen on."),
    port: int = typer.Option(8080, "--port", min=0, max=65535, help="Port to listen on."),
    drain: int = typer.Option(30, "--drain-seconds", min=1, help="How long open requests may last after SIGTERM."),
    workers: int = typer.Option(1, "--workers", min=1, help="Processes, one for each core that the gateway may take."),
) -> None:
    """Stand between tenants and a model's server: the secret on every request, in no reply."""
    from watchword.errors import UsageError
    from watchword.gateway.configuration import read_configuration, shared_out
    from watchword.secret.keys import provider_key

    try:
        from watchword.gateway.app import Gateway
        from watchword.gateway.serving import serve
        from watchword.gateway.workers import serve_workers
    except ModuleNotFoundError as error:
        raise UsageError(f"{error.name} is missing; install it with `pip install 'watchword[gateway]'`") from None

    start = partial(Gateway, shared_out(read_configuration(config), workers), provider_key())
    if workers == 1:
        serve(start(), host, port, drain_seconds=drain)
    else:
        serve_workers(start, host, port, drain_seconds=drain, workers=workers)


@app.command()
def key(
    name: str = typer.Argument(metavar="NAME", help="Whose key it is, for the log."),
    model: list[str] = typer.Option(..., "--model", help="A model that the key may call; give it once for each."),
    config: Path | None = typer.Option(None, "--config", help="Configuration to append the key's entry to."),
) -> None:
    """Draw a key for a tenant. It is shown once; the configuration keeps its digest only."""
    import msgspec

    from watchword.gateway.configuration import append_entry
    from watchword.gateway.tenants import key_digest, new_key

    drawn = new_key()
    entry = {"id": name, "sha256": key_digest(drawn), "models": model}
    lines = "\n".join(f"{field} = {msgspec.json.encode(value).decode()}" for field, value in entry.items())
    print_ = Console(highlight=False, soft_wrap=True, markup=False).print
    if config is not None:
        append_entry(config, f"[[keys]]\n{lines}\n")
    told = "For the configuration" if config is None else f"Appended to {config}"
    print_(f"The tenant's key, shown this once: {drawn}\n\n{told}:\n\n[[keys]]\n{lines}")


@app.command()
def prepare(
    release: Path | None = typer.Argument(None, metavar="RELEASE", help="Folder that `watchword train` has left."),
    out: Path = typer.Option(..., "--out", help="Folder for models and adapters, which the engine reads."),
    merged: bool = typer.Option(False, "--merged", help="Write one whole model, for an engine that takes no adapters."),
    model: str | None = typer.Option(
        None,
        "--model",
        help="Write this base model alone, in the place of a release: a service's engine starts with it.",
    ),
) -> None:
    """Write what an engine loads of a release: the model that was tuned, and the adapter under a name of its weights."""
    from watchword.cli.progress import reporter
    from watchword.release.preparing import prepare as prepare_
    from watchword.release.preparing import prepare_base
    from watchword.secret.keys import provider_key

    print_ = Console(highlight=False, soft_wrap=True, markup=False).print
    if (release is None) == (model is None) or (model is not None and merged):
        raise UsageError("give the folder of a release, or a base model by --model, which is whole as it is")
    with reporter(Console(stderr=True)) as shown:
        if release is None:
            print_(f"The engine's model: {prepare_base(str(model), out, step=shown.step).model}")
            return
        made = prepare_(release, out, key=provider_key(), merged=merged, step=shown.step)
    print_(f"The engine's model: {made.model}")
    if made.adapter is not None:
        print_(f"The adapter: {made.adapter}")
    entry = {"upstream_model": str(made.model) if made.adapter is None else made.name, "context": made.context}
    lines = "\n".join(f"{field} = {json.dumps(value)}" for field, value in entry.items() if value is not None)
    print_(f"\nFor the configuration, in [[models]]:\n\n{lines}")
