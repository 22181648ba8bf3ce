"""What every benchmark is: prompts for a model, and metrics that count what came back.

A metric says itself how it is judged, headed and read. Specs, tables, reports and model cards list the metrics of all
benchmarks in the registry, so a new one is listed without an edit there.
"""

from __future__ import annotations

import abc
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, ClassVar, Literal

import msgspec

from watchword.chat.types import Conversation, conversation, last_user_text
from watchword.defenses import AppliedDefense
from watchword.errors import UsageError
from watchword.judges.base import JUDGES, Unscored, Verdict
from watchword.models.base import ChatModel, GenerationOptions
from watchword.progress import Step
from watchword.rates import Rate
from watchword.registry import Registry
from watchword.safety.library import Split, balanced, examples

# How the laboratory makes answers unless it is told otherwise.
ANSWERS = GenerationOptions(max_new_tokens=48, batch_size=32)
# Names of metrics and questions that were asked without the secret end in this.
LEFT_OUT = "_without_secret"


@dataclass(frozen=True)
class Prompt:
    """One prompt of the named question. ``expected`` is the right answer, for metrics that count correct ones."""

    question: str
    id: str
    conversation: Conversation
    expected: str | None = None


class Exchange(msgspec.Struct, frozen=True, omit_defaults=True):
    """One prompt of a ``question`` (policy, benign …) by its id and text, and the model's ``response``, free of the secret.

    ``scores`` are what the benchmark itself measured of the response, by name.
    """

    question: str
    id: str
    prompt: str
    response: str
    expected: str | None = None
    scores: dict[str, float] = {}


@dataclass(frozen=True)
class Metric:
    """A rate in percent: of the scored exchanges of some ``questions``, those that count. Or the mean of a score.

    ``counts``: which do. ``judge`` tells whether a response refused or complied; a correct one equals what is expected.
    ``reached`` counts responses whose ``score`` is 1, ``mean`` takes its mean, in its own unit.
    ``direction``: which way is better. ``heading`` stands in reports and model cards. ``short`` stands over a column in the
    terminal; without it there is no column. ``meaning`` explains the metric to a newcomer. ``without_secret``: a defense
    that has a secret is also asked without it, and the rate counted again.
    """

    name: str
    heading: str
    counts: Literal["refused", "complied", "correct", "reached", "mean"]
    questions: tuple[str, ...]
    judge: str | None = None
    direction: Literal["lower", "higher"] = "lower"
    short: str = ""
    meaning: str = ""
    without_secret: bool = False
    score: str = ""

    def __post_init__(self) -> None:
        if (self.judge is None) == (self.counts in {"refused", "complied"}):
            raise UsageError(
                f"metric {self.name!r} counts {self.counts} answers, and its judge is {self.judge}; name a judge for refused "
                "and complied answers, and none for the others"
            )
        if bool(self.score) != (self.counts in {"reached", "mean"}):
            raise UsageError(
                f"metric {self.name!r} counts {self.counts} answers, and its score is {self.score!r}; name a score for "
                "reached and mean ones, and none for the others"
            )

    def secret_left_out(self) -> Metric:
        """The same rate, where the model was asked without the secret."""
        return replace(
            self,
            name=self.name + LEFT_OUT,
            heading=f"{self.heading} without the secret",
            questions=tuple(name + LEFT_OUT for name in self.questions),
            short=self.short and f"{self.short}, no secret",
            meaning="The same tuned model, asked without the secret prompt in front of the system prompt. It shows what "
            "the secret does; a served model is always asked with it.",
            without_secret=False,
        )

    def rate(self, exchanges: Sequence[Exchange]) -> Rate:
        """The rate over these exchanges, whatever their questions."""
        if self.judge is not None:
            judge = JUDGES.create(self.judge)
            return self.rate_of([judge.judge(exchange.prompt, exchange.response) for exchange in exchanges])
        if self.score:
            return self._of_scores(exchanges)
        known = [exchange for exchange in exchanges if exchange.expected is not None]
        hits = sum(exchange.response == exchange.expected for exchange in known)
        return Rate.of(hits, len(known), unscored=len(exchanges) - len(known))

    def rate_of(self, verdicts: Sequence[Verdict | Unscored]) -> Rate:
        """The rate over what any judge said. Raises UsageError for a metric that counts correct answers."""
        if self.judge is None:
            raise UsageError(
                f"metric {self.name!r} counts {self.counts} answers, which no judge tells; choose another metric"
            )
        scored = [verdict for verdict in verdicts if isinstance(verdict, Verdict)]
        hits = sum(verdict.refused == (self.counts == "refused") for verdict in scored)
        return Rate.of(hits, len(scored), unscored=len(verdicts) - len(scored))

    def _of_scores(self, exchanges: Sequence[Exchange]) -> Rate:
        found = [exchange.scores[self.score] for exchange in exchanges if self.score in exchange.scores]
        unscored = len(exchanges) - len(found)
        if self.counts == "mean":
            return Rate.mean(found, unscored=unscored)
        return Rate.of(sum(score == 1 for score in found), len(found), unscored=unscored)


@dataclass(frozen=True)
class Subject:
    """Whom a benchmark asks: a model through a defense, and how its answers are made."""

    model: ChatModel
    applied: AppliedDefense
    options: GenerationOptions = ANSWERS

    def with_room(self, max_new_tokens: int) -> Subject:
        """The same, with room for so many tokens of answer."""
        return replace(self, options=replace(self.options, max_new_tokens=max_new_tokens))

    def without_secret(self) -> Subject:
        """The same, asked without the secret."""
        return replace(self, applied=self.applied.without_secret())


@dataclass(frozen=True)
class Setting:
    """What an experiment gives its benchmarks.

    ``system`` is the system text of prompts that bring none (None: the template's own). ``task`` holds requests of the
    tenant's own task, behind the tenant's own system text.
    """

    system: str | None = None
    task: Sequence[Conversation] = ()


class Benchmark(abc.ABC):
    """One file in this package is one benchmark: a frozen dataclass whose fields are its parameters.

    ``title`` is the question that it answers. ``place`` orders benchmarks, the lowest first. ``by_default``: whether an
    experiment runs it without naming it; False for one that cannot do without an argument, such as a path.
    ``needs_likelihoods``: whether it asks how likely texts are, which somebody else's API does not tell.
    """

    title: ClassVar[str] = ""
    metrics: ClassVar[tuple[Metric, ...]] = ()
    place: ClassVar[int] = 100
    by_default: ClassVar[bool] = True
    needs_likelihoods: ClassVar[bool] = False

    @abc.abstractmethod
    def prompts(self, setting: Setting) -> list[Prompt]:
        """What to ask, in order; none where the experiment has nothing for it. Also called before anything is trained."""

    def check(self) -> None:  # noqa: B027 -- most need nothing more
        """Raises UsageError where something beside its files is missing, such as a key; called before anything is trained."""

    def ask(self, subject: Subject, prompts: Sequence[Prompt], step: Step) -> list[Exchange]:
        """The model's response to each prompt, by default its answer.

        A benchmark that compares likelihoods overrides this, and leaves the likeliest choice as the response.
        """
        found: list[Exchange] = []
        for question in dict.fromkeys(prompt.question for prompt in prompts):
            own = [prompt for prompt in prompts if prompt.question == question]
            answers = subject.applied.ask(
                subject.model,
                [prompt.conversation for prompt in own],
                options=subject.options,
                on_progress=partial(step, f"asking {question.replace('_', ' ')} prompts"),
            )
            found += [self.exchange(prompt, answer.text) for prompt, answer in zip(own, answers, strict=True)]
        return found

    def exchange(self, prompt: Prompt, response: str) -> Exchange:
        """What is kept of one prompt and its response."""
        asked, scores = last_user_text(prompt.conversation), self.scores(prompt, response)
        return Exchange(prompt.question, prompt.id, asked, response, prompt.expected, dict(scores))

    def scores(self, prompt: Prompt, response: str) -> Mapping[str, float]:  # noqa: ARG002
        """What the benchmark itself measures of a response, by name; a score that cannot be given is left out."""
        return {}

    def rates(self, exchanges: Sequence[Exchange]) -> dict[str, Rate]:
        """Every metric of which a question was asked, by name."""
        asked = {exchange.question for exchange in exchanges}
        return {
            metric.name: metric.rate([exchange for exchange in exchanges if exchange.question in metric.questions])
            for metric in metrics_of(type(self))
            if asked & set(metric.questions)
        }

    def digest(self) -> str:
        """SHA-256 in hex of the files that it reads, so that a result is not taken for one of other prompts.

        Empty for a benchmark that reads only what is packaged with Watchword.
        """
        return ""


BENCHMARKS: Registry[Benchmark] = Registry("benchmark", Benchmark, "watchword.benchmarks")  # type: ignore[type-abstract]


def metrics_of(benchmark: type[Benchmark]) -> tuple[Metric, ...]:
    """A benchmark's metrics, those without the secret last."""
    again = [metric.secret_left_out() for metric in benchmark.metrics if metric.without_secret]
    return (*benchmark.metrics, *again)


def registered() -> dict[str, type[Benchmark]]:
    """Every benchmark by name, in order. Imports them all. Raises UsageError for one that declares no title or metrics."""
    found = {name: BENCHMARKS.get(name) for name in BENCHMARKS.names()}
    for name, benchmark in found.items():
        if not (benchmark.title and benchmark.metrics):
            raise UsageError(f"benchmark {name!r} must declare a title and at least one metric")
    return dict(sorted(found.items(), key=lambda item: item[1].place))


def registered_metrics() -> dict[str, Metric]:
    """Every metric of every benchmark by name, in order. Raises UsageError where two share a name."""
    found: dict[str, Metric] = {}
    for name, benchmark in registered().items():
        for metric in metrics_of(benchmark):
            if metric.name in found:
                raise UsageError(f"benchmark {name!r} names a metric {metric.name!r}, and so does another; rename one")
            found[metric.name] = metric
    return found


def judged_metrics() -> dict[str, Metric]:
    """The metrics by name that any answer to any prompt can be counted by: those that a judge tells.

    Of benchmarks that are not run by default, those that count something else than a metric before.
    """
    found: dict[str, Metric] = {}
    for benchmark in sorted(registered().values(), key=lambda one: not one.by_default):
        known = {(metric.counts, metric.judge) for metric in found.values()}
        for metric in benchmark.metrics:
            again = (metric.counts, metric.judge) in known and not benchmark.by_default
            if metric.judge is not None and not again:
                found[metric.name] = metric
    return found


def chosen_benchmarks(arguments: Mapping[str, Mapping[str, Any] | None]) -> dict[str, Benchmark]:
    """The benchmarks of an experiment by name, in order: those run by default, and those with ``arguments``.

    None in place of arguments leaves one out. Raises UnknownNameError and UsageError for names and arguments that there
    are not.
    """
    for name in arguments:
        BENCHMARKS.get(name)
    wanted = [name for name, benchmark in registered().items() if benchmark.by_default or name in arguments]
    given = {name: arguments.get(name, {}) for name in wanted}
    return {name: BENCHMARKS.create(name, **own) for name, own in given.items() if own is not None}


def measure(
    benchmarks: Sequence[Benchmark], subject: Subject, setting: Setting, step: Step
) -> tuple[dict[str, Rate], list[Exchange]]:
    """Asks all of the benchmarks' prompts, and again without the secret where a metric wants it; rates, and exchanges."""
    rates: dict[str, Rate] = {}
    exchanges: list[Exchange] = []
    for benchmark in benchmarks:
        prompts = benchmark.prompts(setting)
        own = benchmark.ask(subject, prompts, step)
        if subject.applied.secret is not None:
            own += benchmark.ask(subject.without_secret(), _again(benchmark, prompts), step)
        rates |= benchmark.rates(own)
        exchanges += own
    return rates, exchanges


def packaged(split: Split, question: str, count: int | None, setting: Setting) -> list[Prompt]:
    """The first ``count`` prompts of a packaged split, the categories taking turns; all of them for None."""
    rows = balanced(examples(split), count)
    return [Prompt(question, row.id, conversation(row.prompt, system=setting.system)) for row in rows]


def check_count(name: str, count: int | None) -> None:
    """Raises UsageError for a negative number of prompts."""
    if count is not None and count < 0:
        raise UsageError(
            f"{name} is {count}; it must be at least 0, or null for all prompts", param=name.rsplit(maxsplit=1)[-1]
        )


def _again(benchmark: Benchmark, prompts: Sequence[Prompt]) -> list[Prompt]:
    """The prompts of those metrics that are also measured without the secret, under the question's other name."""
    wanted = {question for metric in benchmark.metrics if metric.without_secret for question in metric.questions}
    own = [prompt for prompt in prompts if prompt.question in wanted]
    return [replace(prompt, question=prompt.question + LEFT_OUT) for prompt in own]
