"""What an experiment asks its models: which benchmarks, and how answers are made."""

from __future__ import annotations

from typing import Any

import msgspec

from watchword.benchmarks.base import ANSWERS, Setting, check_count, chosen_benchmarks
from watchword.errors import UsageError
from watchword.models.base import GenerationOptions
from watchword.registry import spelled


class Evaluation(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What every model is asked. ``benchmarks`` holds arguments by the benchmark's name.

    Every registered benchmark is run, but those that need an argument only where they are named here. Null or false in
    place of arguments leaves one out: ``{"policy": {"count": 44}, "task": null}``; true runs it with its defaults.
    ``max_new_tokens`` is in tokens an answer, ``batch_size`` in answers; ``system`` is the system prompt of every question
    that brings none (None: the template's own).
    """

    benchmarks: dict[str, dict[str, Any] | bool | None] = {}
    max_new_tokens: int = ANSWERS.max_new_tokens
    batch_size: int = ANSWERS.batch_size
    system: str | None = None
    # Numbers of prompts, as specs said them before they named benchmarks. They are read into ``benchmarks``.
    policy: int | msgspec.UnsetType | None = msgspec.UNSET
    benign: int | msgspec.UnsetType | None = msgspec.UNSET
    borderline: int | msgspec.UnsetType | None = msgspec.UNSET
    task: int | msgspec.UnsetType | None = msgspec.UNSET

    def __post_init__(self) -> None:
        named = {spelled(name): _benchmark_arguments(given) for name, given in self.benchmarks.items()}
        for field, (benchmark, argument) in _OLD_COUNTS.items():
            count = getattr(self, field)
            if isinstance(count, int):
                check_count(field, count)
                named[benchmark] = {**(named.get(benchmark) or {}), argument: count}
            msgspec.structs.force_setattr(self, field, msgspec.UNSET)
        msgspec.structs.force_setattr(self, "benchmarks", named)
        for name in ("max_new_tokens", "batch_size"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} is {getattr(self, name)}; it must be at least 1")

    @property
    def chosen(self) -> dict[str, dict[str, Any] | None]:
        """Arguments by benchmark; None leaves one out."""
        return {name: _benchmark_arguments(given) for name, given in self.benchmarks.items()}

    @property
    def answers(self) -> GenerationOptions:
        """How answers are made."""
        return GenerationOptions(max_new_tokens=self.max_new_tokens, batch_size=self.batch_size)

    def check(self, *, remote: bool) -> None:
        """Reads all that is asked, so that no fault in it shows only once a model is trained.

        Raises DataError for a wrong file, and UsageError for what is missing, or cannot be asked at somebody else's API
        (``remote``).
        """
        for name, benchmark in chosen_benchmarks(self.chosen).items():
            if remote and benchmark.needs_likelihoods:
                raise UsageError(
                    f"benchmark {name!r} asks how likely texts are, which a model at somebody else's API does not tell; "
                    "leave it out, or take a model that is loaded here",
                    param="benchmarks",
                )
            benchmark.check()
            benchmark.prompts(Setting(self.system))


def _benchmark_arguments(given: dict[str, Any] | bool | None) -> dict[str, Any] | None:
    return ({} if given else None) if isinstance(given, bool) else given


_OLD_COUNTS = {
    "policy": ("policy", "count"),
    "benign": ("over_refusal", "benign"),
    "borderline": ("over_refusal", "borderline"),
    "task": ("task", "count"),
}
