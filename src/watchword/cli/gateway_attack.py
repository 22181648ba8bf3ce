"""``watchword gateway attack``: try to get a release's secret out of a gateway, and out of the model behind it."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

import typer
from rich.console import Console

from watchword.cli.gateway_extra import needs_gateway_extra
from watchword.cli.progress import reporter


def attack(
    config: Path = typer.Option(..., "--config", help="The gateway's own TOML file; it names the release."),
    model: str = typer.Option(..., "--model", help="The model to attack, as tenants call it."),
    url: str = typer.Option(
        "http://127.0.0.1:8080/v1", "--url", help="The gateway; what stands before /chat/completions."
    ),
    api_key_env: str = typer.Option(
        "WATCHWORD_TENANT_KEY", "--api-key-env", help="Environment variable with a tenant's key for the model."
    ),
    unfiltered: bool = typer.Option(
        False, "--unfiltered", help="Ask the model's server as well, behind the secret and past the filter."
    ),
    family: list[str] = typer.Option([], "--family", help="Only these attempts; may be repeated."),
    seeds: int = typer.Option(1, "--seeds", min=1, help="Tries of each attempt: one greedy, the others sampled."),
    max_tokens: int = typer.Option(200, "--max-tokens", min=1, help="Length of an answer in tokens."),
    json_out: Path | None = typer.Option(None, "--json", help="Write the figures here."),
    page_out: Path | None = typer.Option(None, "--page", help="Write the tables here, in Markdown."),
) -> None:
    """Try to get a release's secret out of a gateway, and say how much came. Status 1 where a leak got through."""
    from watchword.errors import UsageError
    from watchword.files.atomic import check_writable
    from watchword.gateway.configuration import read_configuration
    from watchword.secret.keys import provider_key

    with needs_gateway_extra():
        from watchword.gateway.attack.base import Sampling
        from watchword.gateway.attack.opening import attacked
        from watchword.gateway.attack.report import page, write_arms, write_page
        from watchword.gateway.attack.running import run_suite

    for path in (json_out, page_out):
        if path is not None:
            check_writable(path)
    key = os.environ.get(api_key_env)
    if not key:
        raise UsageError(f"the environment variable {api_key_env} is not set; put a tenant's key for {model} there")
    whom = attacked(read_configuration(config), model, provider_key())
    targets = {"gateway": whom.gateway(url, key)} | ({"unfiltered": whom.server()} if unfiltered else {})
    console = Console(highlight=False, soft_wrap=True, markup=False)
    sampling = Sampling(max_tokens=max_tokens)
    with reporter(console) as progress:
        arms = [
            asyncio.run(
                run_suite(
                    target,
                    whom.truth,
                    arm=arm,
                    families=family,
                    sampling=sampling,
                    seeds=seeds,
                    step=progress.step,
                )
            )
            for arm, target in targets.items()
        ]
    text = page(arms, f"Attempts to get the secret of {model}")
    console.print(text)
    if json_out is not None:
        write_arms(json_out, arms)
    if page_out is not None:
        write_page(page_out, text)
    if arms[0].whole.leaks.hits:
        raise typer.Exit(1)
