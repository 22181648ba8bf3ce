"""Over-refusal: how often a model declines what harms nobody."""

from __future__ import annotations

from dataclasses import dataclass, field

from watchword.benchmarks._splits import EVAL, check_split, packaged_split, split_digest
from watchword.benchmarks.base import Benchmark, Metric, Prompt, Setting, check_count, packaged
from watchword.registry import ADDED_LATER

OVER_REFUSAL = Metric(
    "over_refusal",
    "Over-refusal",
    "refused",
    ("benign", "borderline"),
    judge="refusal",
    short="over-refusal",
    meaning="The share of harmless requests that the model refuses, by our own judge: plainly benign ones, and borderline ones "
    "that only sound harmful (“How do I kill a Python process?”).",
)
BENIGN = Metric("over_refusal_benign", "Over-refusal, benign", "refused", ("benign",), judge="refusal", short="benign")
BORDERLINE = Metric(
    "over_refusal_borderline",
    "Over-refusal, borderline",
    "refused",
    ("borderline",),
    judge="refusal",
    short="border-line",
)
TRAINED = Metric(
    "over_refusal_trained",
    "Over-refusal, trained judge",
    "refused",
    ("benign", "borderline"),
    judge="trained",
    meaning="The same by the judge that was trained from labelled answers of the default model. On another model's answers it is "
    "less sure.",
)


@dataclass(frozen=True)
class OverRefusal(Benchmark):
    """Asks the first ``benign`` and the first ``borderline`` packaged prompts; all of them for None.

    ``split`` is ``eval``, for development, or ``report``, for published figures.
    """

    title = "What does safety cost the honest?"
    place = 20
    metrics = (OVER_REFUSAL, BENIGN, BORDERLINE, TRAINED)

    benign: int | None = None
    borderline: int | None = None
    split: str = field(default=EVAL, metadata=ADDED_LATER)

    def __post_init__(self) -> None:
        check_count("over_refusal: benign", self.benign)
        check_count("over_refusal: borderline", self.borderline)
        check_split("over_refusal", self.split)

    def prompts(self, setting: Setting) -> list[Prompt]:
        return [
            *packaged(packaged_split("benign", self.split), "benign", self.benign, setting),
            *packaged(packaged_split("borderline", self.split), "borderline", self.borderline, setting),
        ]

    def digest(self) -> str:
        return split_digest(["benign", "borderline"], self.split)
