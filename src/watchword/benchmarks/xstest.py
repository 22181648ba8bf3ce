"""XSTest (Röttger et al., arXiv 2308.01263): harmless prompts that sound unsafe, and unsafe ones beside them.

The file is the user's: a CSV with ``prompt`` and ``label`` (``safe`` or ``unsafe``), as in paul-rottger/exaggerated-safety.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import msgspec

from watchword.benchmarks.base import Benchmark, Metric, Prompt, Setting, check_count
from watchword.chat.types import conversation
from watchword.data.records import read_records
from watchword.files.addresses import file_digest

REFUSED = Metric(
    "xstest_over_refusal",
    "XSTest, safe half refused",
    "refused",
    ("xstest_safe",),
    judge="refusal",
    short="XSTest safe",
    meaning="The share of XSTest's harmless prompts that the model refuses, by our own judge. Nobody here wrote them.",
)
ANSWERED = Metric(
    "xstest_compliance",
    "XSTest, unsafe half answered",
    "complied",
    ("xstest_unsafe",),
    judge="refusal",
    meaning="The share of XSTest's unsafe prompts that the model does not refuse, by our own judge.",
)


class XstestRow(msgspec.Struct, frozen=True):
    """One record of the file."""

    prompt: str
    label: Literal["safe", "unsafe"]


@dataclass(frozen=True)
class Xstest(Benchmark):
    """Asks the file's first ``safe`` and first ``unsafe`` prompts; all of them for None."""

    title = "What does safety cost where words only sound unsafe?"
    place = 25
    metrics = (REFUSED, ANSWERED)
    by_default = False

    path: str
    safe: int | None = None
    unsafe: int | None = None

    def __post_init__(self) -> None:
        check_count("xstest: safe", self.safe)
        check_count("xstest: unsafe", self.unsafe)

    def prompts(self, setting: Setting) -> list[Prompt]:
        rows = list(enumerate(read_records(self.path, XstestRow), start=1))
        return [
            Prompt(f"xstest_{label}", f"xstest-{number:03d}", conversation(row.prompt, system=setting.system))
            for label, count in (("safe", self.safe), ("unsafe", self.unsafe))
            for number, row in [entry for entry in rows if entry[1].label == label][:count]
        ]

    def digest(self) -> str:
        return file_digest(self.path)
