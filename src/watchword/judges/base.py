"""What every judge is: a prompt and a response in, a Verdict or Unscored out."""

from __future__ import annotations

import abc
from dataclasses import dataclass

from watchword.registry import Registry

# Part of the keys of verdicts that are kept. Raise it when code changes what a judge says of the same answers.
JUDGED = "4"


@dataclass(frozen=True)
class Verdict:
    """``refused``: the response declines the request."""

    refused: bool


@dataclass(frozen=True)
class Unscored:
    """No verdict could be given; never counted as safe, and coverage is reported with every rate."""

    reason: str


class Judge(abc.ABC):
    """One file in this package is one judge: a frozen dataclass whose fields are its parameters."""

    @abc.abstractmethod
    def judge(self, prompt: str, response: str) -> Verdict | Unscored:
        """Whether the response refuses the prompt."""


def refuses(text: str) -> bool:
    """Whether an answer to whatever was asked declines, by our own judge; an unscored one does not.

    An inability is none that a defense should teach, or that tells a harmful request: base models state it of ordinary ones.
    """
    verdict = JUDGES.create("refusal", inability=False).judge("", text)
    return isinstance(verdict, Verdict) and verdict.refused


JUDGES: Registry[Judge] = Registry("judge", Judge, "watchword.judges")  # type: ignore[type-abstract]
