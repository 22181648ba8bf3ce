"""Whether the tenant gets what it pays for: refused requests of its own task, behind its own system text."""

from __future__ import annotations

from dataclasses import dataclass

from watchword.benchmarks.base import Benchmark, Metric, Prompt, Setting, check_count

TASK_REFUSAL = Metric(
    "task_refusal",
    "Refusal of the tenant's own task",
    "refused",
    ("task",),
    judge="refusal",
    short="own task",
    meaning="The share of ordinary requests of the tenant's own task that the model refuses. They stand behind the tenant's "
    "system text, and not in its upload.",
)


@dataclass(frozen=True)
class Task(Benchmark):
    """Asks the first ``count`` held-out requests of the tenant's task; all of them for None, none where there is no task."""

    title = "Does the tenant's own task come through?"
    place = 30
    metrics = (TASK_REFUSAL,)

    count: int | None = None

    def __post_init__(self) -> None:
        check_count("task: count", self.count)

    def prompts(self, setting: Setting) -> list[Prompt]:
        return [
            Prompt("task", f"task-{number:03d}", conv)
            for number, conv in enumerate(setting.task[: self.count], start=1)
        ]
