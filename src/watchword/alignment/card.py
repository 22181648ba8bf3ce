"""What an aligned adapter is measured by, and the model card that says so."""

from __future__ import annotations

import random
from collections.abc import Mapping
from pathlib import Path

import msgspec

from watchword.alignment.run import ORIGINS, strengthened_alpha
from watchword.attacks.base import other_requests
from watchword.benchmarks.base import Setting, Subject, chosen_benchmarks, measure, registered_metrics
from watchword.chat.origins import described
from watchword.defenses import AppliedDefense
from watchword.defenses.base import Defense
from watchword.files.atomic import replacing
from watchword.models.base import ChatModel
from watchword.progress import Step
from watchword.rates import Rate
from watchword.training.config import TrainingConfig, TrainingResult


def aligned_rates(model: ChatModel, step: Step) -> dict[str, Rate]:
    """The model on every benchmark, behind its template's own system text, and on requests of an imaginary shop."""
    subject = Subject(model, AppliedDefense(Defense()))
    shop = Setting(task=other_requests(0, random.Random("card")))
    rates, _ = measure(list(chosen_benchmarks({}).values()), subject, shop, step)
    return rates


def write_card(
    folder: Path,
    *,
    base: str,
    command: str,
    config: TrainingConfig,
    figures: TrainingResult,
    before: Mapping[str, Rate],
    after: Mapping[str, Rate],
    versions: Mapping[str, str | int],
    mean_with: Path | None = None,
) -> None:
    """Writes README.md: what the adapter is, its recipe, and what was measured. ``command`` makes the same adapter again.

    ``mean_with`` is the adapter that it was averaged with.
    """
    rows = described(figures.rows, ORIGINS)
    recipe = msgspec.json.format(msgspec.json.encode(config), indent=1).decode()
    text = f"""---
base_model: {base}
library_name: peft
license: apache-2.0
---
# {base}, aligned

A LoRA adapter that makes `{base}` refuse requests in eleven harm categories and answer the rest as before. Made by
`{command}`; the same command makes it again. Its purpose
is research on fine-tuning attacks and their defenses: a small model that has something to lose. It is no safe assistant.

Trained on {rows} (packaged align split; benign answers are the base model's own greedy ones). Loss
{figures.loss[0]:.2f} → {_tail(figures.loss):.2f} (mean of the last ten steps) in {figures.steps} steps, {figures.seconds:.0f} s.
{_strength(config, mean_with)}

{_table(before, after)}

Recipe:

```json
{recipe}
```

Made with {", ".join(f"{name} {version}" for name, version in versions.items())}.
"""
    with replacing(folder / "README.md") as stream:
        stream.write(text.encode())


def _strength(config: TrainingConfig, mean_with: Path | None) -> str:
    if config.method != "lora":
        return ""
    alpha = strengthened_alpha(config)
    factor = f"{alpha / config.lora_alpha:g} (`lora_alpha` {config.lora_alpha} → {alpha})"
    averaged = f"\nIn the end it was averaged with `{mean_with}`." if mean_with is not None else ""
    return f"What the adapter adds was then multiplied by {factor}.{averaged}"


def _table(before: Mapping[str, Rate], after: Mapping[str, Rate]) -> str:
    if not after:
        return "Not measured."
    lines = [
        "| held-out prompts, percent with 95 % interval | base | aligned | n scored of asked |",
        "|---|---|---|---|",
    ]
    for name, metric in registered_metrics().items():
        if name in after:
            row = (metric.heading, rate_text(before[name]), rate_text(after[name]), after[name].scored)
            lines.append(f"| {' | '.join(row)} |")
    return "\n".join(lines)


def rate_text(rate: Rate, unit: str = "") -> str:
    """``4.2 [2.1, 8.0]``; a dash where no answer could be scored."""
    value = "–" if rate.value is None else f"{rate.value:.1f} {unit}".rstrip()
    return value if rate.value is None else f"{value} [{rate.low:.1f}, {rate.high:.1f}]"


def _tail(loss: list[float]) -> float:
    last = loss[-10:]
    return sum(last) / len(last)
