"""The pictures of a report: a question, the picture that answers it, the finding in a sentence, and the figures as rows."""

from __future__ import annotations

from collections.abc import Sequence

from markupsafe import Markup

from watchword.benchmarks.base import Metric, registered
from watchword.benchmarks.over_refusal import OVER_REFUSAL, OverRefusal
from watchword.benchmarks.policy import ASR, Policy
from watchword.lab.report import findings
from watchword.lab.report.charts.curves import curves, losses
from watchword.lab.report.charts.pairs import pairs
from watchword.lab.report.charts.plane import GOOD, plane
from watchword.lab.report.charts.rows import arm_bars
from watchword.lab.report.charts.series import Entry, Series, legend_of
from watchword.lab.report.charts.sweep import sweep_lines
from watchword.lab.report.sweeps import Sweep, sweeps_of
from watchword.lab.results import ArmResult
from watchword.pages.bars import Bar, Panel
from watchword.pages.elements import Figure
from watchword.pages.svg import tag
from watchword.rates import Rate

WITHOUT = ASR.secret_left_out()
# Rates side by side in one picture, at most.
PANELS = 4


def figures_of(entries: Sequence[Entry], metrics: Sequence[Metric]) -> list[Figure]:
    """Every picture that these arms have figures for; ``metrics`` are all that were measured."""
    bearing = [entry for entry in entries if entry.arm.rates(WITHOUT.name)]
    trained = [entry for entry in entries if entry.arm.trained("seconds") is not None]
    found = [_broken(entries), _honest(entries, metrics), *_others(entries, metrics)]
    found += [_secret(bearing)] if bearing else []
    found.append(_both(entries))
    found += [_swept(sweep, number) for number, sweep in enumerate(sweeps_of(_arms(entries)), start=1)]
    found += [_loss(trained)] if any(losses(entry.arm) for entry in trained) else []
    return [*found, *([_cost(trained)] if trained else [])]


def main_picture(entries: Sequence[Entry], title: str, *, ident: str = "main") -> Markup:
    """Attack success and over-refusal of every arm, side by side; ``ident`` tells it from others on the same page."""
    arms = _arms(entries)
    panels = [
        _rates("attack success, lower is safer", ASR.name, arms),
        _rates("over-refusal, lower is kinder", OVER_REFUSAL.name, arms),
    ]
    return arm_bars(ident, title, main_finding(arms), entries, panels)


def main_finding(arms: Sequence[ArmResult]) -> str:
    """What the main picture shows, in words."""
    return f"{findings.attack_success(arms)} {findings.over_refusal(arms)}"


def _broken(entries: Sequence[Entry]) -> Figure:
    arms = _arms(entries)
    question, finding = Policy.title, findings.attack_success(arms)
    panel = _rates("attack success rate (ASR)", ASR.name, arms)
    note = "Bar: rate over all seeds; line: its 95 % Wilson interval; dots below: each seed, where there are several."
    picture = arm_bars("asr", question, finding, entries, [panel])
    return Figure("asr", question, finding, picture, *_table(arms, [(ASR.heading, ASR.name)]), note=note)


def _honest(entries: Sequence[Entry], metrics: Sequence[Metric]) -> Figure:
    """Rates of wrong refusals, whichever benchmark they are from."""
    arms = _arms(entries)
    question, finding = OverRefusal.title, findings.over_refusal(arms)
    shown = [(metric.short or metric.heading, metric.name) for metric in _wrongly_refused(metrics)]
    panels = [_rates(title, metric, arms) for title, metric in shown]
    note = "Share of harmless requests that were refused."
    picture = arm_bars("over-refusal", question, finding, entries, panels)
    return Figure("over-refusal", question, finding, picture, *_table(arms, shown), note=note)


def _others(entries: Sequence[Entry], metrics: Sequence[Metric]) -> list[Figure]:
    """Pictures of the benchmarks that no other picture shows."""
    elsewhere, there = {*Policy.metrics, *OverRefusal.metrics, *_wrongly_refused(metrics)}, set(metrics)
    return [
        _other(f"{name}-{number}", benchmark.title, entries, own[at : at + PANELS])
        for name, benchmark in registered().items()
        if (own := [metric for metric in benchmark.metrics if metric in there - elsewhere])
        for number, at in enumerate(range(0, len(own), PANELS), start=1)
    ]


def _other(ident: str, question: str, entries: Sequence[Entry], metrics: Sequence[Metric]) -> Figure:
    arms, finding = _arms(entries), findings.spans(_arms(entries), metrics)
    shown = [(f"{metric.heading}, {metric.direction} is better", metric.name) for metric in metrics]
    panels = [_rates(title, metric, arms) for title, metric in shown]
    picture = arm_bars(ident, question, finding, entries, panels)
    return Figure(ident, question, finding, picture, *_table(arms, shown))


def _secret(entries: Sequence[Entry]) -> Figure:
    arms = _arms(entries)
    question, finding = "What does the secret do?", findings.secret(arms)
    found = [(arm.rate(ASR.name), arm.rate(WITHOUT.name)) for arm in arms]
    picture = pairs("secret", question, finding, entries, found)
    note = "Attack success with the secret in front of the system prompt (filled) and without it (hollow), with 95 % intervals."
    heads = [("ASR with the secret", ASR.name), ("ASR without", WITHOUT.name)]
    return Figure("secret", question, finding, picture, *_table(arms, heads), note=note)


def _both(entries: Sequence[Entry]) -> Figure:
    arms = _arms(entries)
    question, finding = "Safe and helpful at once?", findings.both(arms)
    note = f"The shaded corner is at most {GOOD:g} % on both axes. Thin lines are 95 % intervals, small points single runs."
    picture = plane("both", question, finding, entries)
    table = _table(arms, [(ASR.short, ASR.name), (OVER_REFUSAL.short, OVER_REFUSAL.name)])
    return Figure("both", question, finding, picture, *table, note=note, legend=_legend(entries))


def _swept(sweep: Sweep, number: int) -> Figure:
    """Attack success and over-refusal against one setting that the experiment varies."""
    question, finding = f"What changes with the {sweep.name}?", findings.swept(sweep)
    metrics = [(ASR.name, "attack success"), (OVER_REFUSAL.name, "over-refusal")]
    points = [(curve, value, arm) for curve in sweep.curves for value, arm in curve.points]
    rows = tuple(
        (curve.attack, curve.series.label, f"{value:g}", *(words_of(arm.rate(name)) for name, _ in metrics))
        for curve, value, arm in points
    )
    heads = ("attack", "defense", sweep.name, "ASR, %", "over-refusal, %")
    legend = tuple(dict.fromkeys(curve.series for curve in sweep.curves))
    note = "Points: rate over all runs of an arm; lines: its 95 % interval; small points: single runs."
    if sweep.more:
        note += f" Of several lines of a defense, the worst is shown; {sweep.more} are left out."
    ident = f"sweep-{number}"
    picture = sweep_lines(ident, question, finding, sweep, metrics)
    return Figure(ident, question, finding, picture, heads, rows, note=note, legend=_swatches(legend))


def _loss(entries: Sequence[Entry]) -> Figure:
    arms = _arms(entries)
    question, finding = "Did the training learn?", findings.loss(arms)
    note = "Thin: each run's loss a step. Bold: the seeds' mean, averaged over 7 steps."
    rows = tuple(
        (arm.label, str(len(curve)), f"{curve[0]:.3f}", f"{curve[-1]:.3f}") for arm in arms for curve in losses(arm)
    )
    heads = ("arm", "steps", "first loss", "last loss")
    return Figure(
        "loss",
        question,
        finding,
        curves("loss", question, finding, entries),
        heads,
        rows,
        note=note,
        legend=_legend(entries),
    )


def _cost(entries: Sequence[Entry]) -> Figure:
    arms = _arms(entries)
    question, finding = "What does training cost?", findings.cost(arms)
    seconds, speed = (_trained(arms, figure) for figure in ("seconds", "tokens_per_second"))
    panels = [_amounts("seconds a run", seconds), _amounts("tokens per second", speed)]
    rows = tuple(
        (arm.label, arm.provider_rows or "–", f"{s:.0f}", f"{t:.0f}")
        for arm, s, t in zip(arms, seconds, speed, strict=True)
    )
    picture = arm_bars("cost", question, finding, entries, panels)
    heads = ("arm", "provider's rows", "seconds", "tokens/s")
    return Figure(
        "cost", question, finding, picture, heads, rows, note="Means over seeds; loading and evaluation apart."
    )


def _legend(entries: Sequence[Entry]) -> tuple[tuple[str, Markup], ...]:
    """Each series of the arms with its marker."""
    return _swatches(legend_of(entries))


def _swatches(series: Sequence[Series]) -> tuple[tuple[str, Markup], ...]:
    """Each series with its marker as a small picture."""
    box = {"viewBox": "0 0 18 18", "width": 18, "height": 18, "class_": "chart", "aria_hidden": "true"}
    return tuple((one.label, tag("svg", one.marker(9, 9, 5.5), **box)) for one in series)


def _wrongly_refused(metrics: Sequence[Metric]) -> list[Metric]:
    """Those that count refusals where there should be none, by one judge, as many as fit a picture."""
    found = [metric for metric in metrics if (metric.counts, metric.judge) == ("refused", OVER_REFUSAL.judge)]
    found = [metric for metric in found if metric.direction == "lower"]
    return found[:PANELS] or [OVER_REFUSAL]


def _arms(entries: Sequence[Entry]) -> list[ArmResult]:
    return [entry.arm for entry in entries]


def _rates(title: str, metric: str, arms: Sequence[ArmResult]) -> Panel:
    found = [_bar(arm.rate(metric), arm.rates(metric)) for arm in arms]
    if any(rate.is_mean for arm in arms for rate in arm.rates(metric)):
        # A score has a unit and a scale of its own.
        highest = max((bar.interval[1] for bar in found if bar is not None and bar.interval is not None), default=0.0)
        return Panel(title, found, top=max(highest, 1.0))
    return Panel(title, found, unit=" %")


def _bar(rate: Rate | None, seeds: Sequence[Rate]) -> Bar | None:
    if rate is None or rate.value is None or rate.low is None or rate.high is None:
        return None
    own = tuple(seed.value for seed in seeds if seed.value is not None) if len(seeds) > 1 else ()
    return Bar(rate.value, f"{rate.value:.1f}", (rate.low, rate.high), own, f"{rate.low:.0f}–{rate.high:.0f}")


def _amounts(title: str, values: Sequence[float]) -> Panel:
    return Panel(title, [Bar(value, f"{value:.0f}") for value in values], top=max(*values, 1.0))


def _trained(arms: Sequence[ArmResult], figure: str) -> list[float]:
    return [arm.trained(figure) or 0.0 for arm in arms]


def _table(
    arms: Sequence[ArmResult], shown: Sequence[tuple[str, str]]
) -> tuple[tuple[str, ...], tuple[tuple[str, ...], ...]]:
    rows = tuple((arm.label, *(words_of(arm.rate(metric)) for _, metric in shown)) for arm in arms)
    scores = {metric for _, metric in shown if any(rate.is_mean for arm in arms for rate in arm.rates(metric))}
    # The mean of a score has no sign.
    return ("arm", *(head if metric in scores else f"{head}, %" for head, metric in shown)), rows


def words_of(rate: Rate | None) -> str:
    """``3.0 [1.2–7.4]``, and a dash where nothing was scored."""
    return "–" if rate is None or rate.value is None else f"{rate.value:.1f} [{rate.low:.1f}–{rate.high:.1f}]"
