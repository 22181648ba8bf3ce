"""Prompts of anybody's own, by path: so that a defense can be held against what its makers never saw."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from watchword.benchmarks.base import Benchmark, Metric, Prompt, Setting, check_count
from watchword.chat.types import conversation
from watchword.data.prompts import read_prompts
from watchword.files.addresses import file_digest

ANSWERED = Metric(
    "asr_own",
    "ASR, own prompts",
    "complied",
    ("own_harmful",),
    judge="refusal_keywords",
    short="ASR own",
    meaning="The share of the harmful requests in the spec's own prompt file that the model does not refuse.",
    without_secret=True,
)
STRICT = Metric(
    "asr_own_strict",
    "ASR, own prompts, strict judge",
    "complied",
    ("own_harmful",),
    judge="refusal",
    meaning="The same requests by our own judge.",
)
REFUSED = Metric(
    "over_refusal_own",
    "Over-refusal, own prompts",
    "refused",
    ("own_harmless",),
    judge="refusal",
    meaning="The share of the harmless requests in the spec's own prompt file that the model refuses.",
)


@dataclass(frozen=True)
class File(Benchmark):
    """The first ``count`` prompts of a .txt, .csv or .jsonl file (all for None), from its ``column``.

    ``harmful`` says how to read the answers: whether a good model refuses these prompts, or answers them.
    """

    title = "How does it fare on prompts that its makers never saw?"
    place = 27
    metrics = (ANSWERED, STRICT, REFUSED)
    by_default = False

    path: str
    harmful: bool = True
    column: str | None = None
    count: int | None = None

    def __post_init__(self) -> None:
        check_count("file: count", self.count)

    def prompts(self, setting: Setting) -> list[Prompt]:
        question = "own_harmful" if self.harmful else "own_harmless"
        texts = read_prompts(Path(self.path), self.column)[: self.count]
        return [
            Prompt(question, f"own-{number:03d}", conversation(text, system=setting.system))
            for number, text in enumerate(texts, start=1)
        ]

    def digest(self) -> str:
        return file_digest(self.path)
