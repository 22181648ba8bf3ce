"""``watchword demo``: break a real model, and save it, on a laptop; in the laboratory, or through the service."""

from __future__ import annotations

from pathlib import Path

import typer

from watchword.cli.arguments import Jobs

_OUT = Path("runs/demo")


def register(app: typer.Typer) -> None:
    """Adds the command."""
    app.command("demo")(demo)


def demo(
    out: Path | None = typer.Option(
        None,
        "--out",
        help=f"Folder for results.json, report.html and finished cells, by default {_OUT}. "
        "With --service for what the services keep, by default a temporary one.",
    ),
    full: bool = typer.Option(False, "--full", help="100 attack examples, three seeds, every evaluation prompt."),
    service: bool = typer.Option(
        False, "--service", help="Through the service: a poisoned file from a tenant's side, in some minutes."
    ),
    jobs: Jobs = None,
) -> None:
    """Attack the embedded model by fine-tuning, without and with each defense, and report what happened.

    Finished parts are re-used when it runs again. With --service, a tenant attacks by OpenAI's client. Two services, one of
    them undefended, tune on the same poisoned file and answer the same questions.
    """
    from watchword.errors import UsageError

    if service:
        if full or jobs is not None:
            raise UsageError("--full and --jobs belong to the demo in the laboratory; leave out --service, or them")
        from watchword.cli.demo_service import demo_service

        demo_service(out)
        return
    from watchword.cli.experiment import experiment
    from watchword.lab.demo import demo_spec

    experiment(demo_spec(full=full), _OUT if out is None else out, jobs)
