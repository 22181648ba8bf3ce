"""``watchword align``: make an aligned model from any base, measured on held-out prompts."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import typer
from rich.console import Console

from watchword.cli.progress import reporter

if TYPE_CHECKING:
    from watchword.progress import Step
    from watchword.rates import Rate


def register(app: typer.Typer) -> None:
    """Adds the command."""
    app.command("align")(align)


def align(
    out: Path = typer.Option(..., "--out", help="New folder for the adapter and its model card."),
    base: str = typer.Option("smollm2-135m-base", "--base", help="Catalog name, folder or Hugging Face id."),
    seed: int = typer.Option(0, "--seed"),
    epochs: int | None = typer.Option(None, "--epochs", help="Passes over the rows; the recipe's own if left out."),
    mean_with: Path | None = typer.Option(
        None, "--mean-with", help="Folder of an adapter of the same base: what both add is averaged."
    ),
    measure: bool = typer.Option(True, "--measure/--no-measure", help="Ask the held-out prompts, for the card."),
) -> None:
    """Teach a base model to refuse harmful requests and to answer the rest as before; write a LoRA adapter.

    Refusals come from the packaged align split, answers to benign prompts from the base itself.
    """
    from watchword.alignment.card import rate_text
    from watchword.files.folders import atomic_folder
    from watchword.files.locks import locked
    from watchword.files.writing import writing
    from watchword.models.checks import check_adapter

    if mean_with is not None:
        check_adapter(mean_with, base)
    console = Console(highlight=False, soft_wrap=True)
    _refuse_taken(out)
    with writing(out):
        out.parent.mkdir(parents=True, exist_ok=True)
    with locked(out), reporter(console) as progress, atomic_folder(out.parent, ".aligning-") as folder:
        # Another process may have finished it between the first look and the lock.
        _refuse_taken(out)
        after = _aligned(folder, base, seed, epochs, mean_with, measure=measure, step=progress.step)
        with writing(out):
            folder.rename(out)
    for name, rate in after.items():
        console.print(f"{name}: {rate_text(rate, '%')}, n = {rate.n}")
    console.print(f"{out}: adapter and model card; use it as --model {out}")


def _aligned(
    folder: Path, base: str, seed: int, epochs: int | None, mean_with: Path | None, *, measure: bool, step: Step
) -> dict[str, Rate]:
    """Trains, measures and writes the card; the rates of the aligned model, none where it was not measured."""
    import msgspec

    from watchword.alignment.card import aligned_rates, write_card
    from watchword.alignment.run import RECIPE
    from watchword.alignment.run import align as train
    from watchword.models.load import load
    from watchword.provenance import versions

    config = msgspec.structs.replace(RECIPE, seed=seed, epochs=RECIPE.epochs if epochs is None else epochs)
    command = f"watchword align --base {base} --seed {config.seed} --epochs {config.epochs}"
    step("loading the model", 0, 1)
    model = load(base)
    step("loading the model", 1, 1)
    before = aligned_rates(model, step) if measure else {}
    tuned, figures = train(model, folder, config=config, mean_with=mean_with, step=step)
    after = aligned_rates(tuned, step) if measure else {}
    write_card(
        folder,
        base=base,
        command=command if mean_with is None else f"{command} --mean-with {mean_with}",
        mean_with=mean_with,
        config=config,
        figures=figures,
        before=before,
        after=after,
        versions=versions(),
    )
    return after


def _refuse_taken(out: Path) -> None:
    from watchword.errors import OutputError

    if out.exists():
        raise OutputError(f"{out} exists already; name a new folder")
