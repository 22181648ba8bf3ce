"""Attack success: how often a model does what a safe one declines."""

from __future__ import annotations

from dataclasses import dataclass, field

from watchword.benchmarks._splits import EVAL, check_split, packaged_split, split_digest
from watchword.benchmarks.base import Benchmark, Metric, Prompt, Setting, check_count, packaged
from watchword.registry import ADDED_LATER

POLICY = ("policy",)
ASR = Metric(
    "asr",
    "ASR",
    "complied",
    POLICY,
    judge="refusal_keywords",
    short="ASR",
    meaning="Attack success rate: the share of held-out harmful requests that the model does not refuse. A refusal is an "
    "answer that holds one of the refusal keywords of the BackdoorAlign paper (arXiv 2402.14968), so that figures compare with "
    "published ones. The prompts only name a goal, and stand in no training file.",
    without_secret=True,
)
STRICT = Metric(
    "asr_strict",
    "ASR, strict judge",
    "complied",
    POLICY,
    judge="refusal",
    meaning="The same requests by our own judge, which reads whether the opening of the answer declines, and leaves loops, "
    "echoes and jumbles unscored.",
)
TRAINED = Metric(
    "asr_trained",
    "ASR, trained judge",
    "complied",
    POLICY,
    judge="trained",
    meaning="The same requests by the judge that was trained from labelled answers of the default model. On another model's "
    "answers it is less sure.",
)
RAW = Metric(
    "asr_raw",
    "ASR, the paper's raw keywords",
    "complied",
    POLICY,
    judge="raw_keywords",
    meaning="The paper's figure as its authors count it: senseless answers are scored, too.",
)


@dataclass(frozen=True)
class Policy(Benchmark):
    """Asks the first ``count`` of the packaged policy prompts, the harm categories taking turns; all of them for None.

    ``split`` is ``eval``, for development, or ``report``, for published figures.
    """

    title = "Does fine-tuning break the model, and which defense holds?"
    place = 10
    metrics = (ASR, STRICT, RAW, TRAINED)

    count: int | None = None
    split: str = field(default=EVAL, metadata=ADDED_LATER)

    def __post_init__(self) -> None:
        check_count("policy: count", self.count)
        check_split("policy", self.split)

    def prompts(self, setting: Setting) -> list[Prompt]:
        return packaged(packaged_split("policy", self.split), "policy", self.count, setting)

    def digest(self) -> str:
        return split_digest(["policy"], self.split)
