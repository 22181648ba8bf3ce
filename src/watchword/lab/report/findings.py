"""What each picture of a report shows, as one sentence worked out from the figures; nothing is claimed beforehand."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from watchword.benchmarks.base import Metric
from watchword.benchmarks.over_refusal import OVER_REFUSAL
from watchword.benchmarks.policy import ASR
from watchword.lab.report.charts.curves import losses
from watchword.lab.report.charts.plane import GOOD, good
from watchword.lab.report.sweeps import Curve, Sweep
from watchword.lab.results import ArmResult
from watchword.rates import Rate

WITHOUT = ASR.secret_left_out()
# Up to so many arms are named one by one.
FEW = 2
# Percent of an attack that must get through for a defense to be none, whatever else it is good at.
BROKEN = 50.0
UNSCORED = "No answer could be scored, so this run says nothing about it."


def attack_success(arms: Sequence[ArmResult]) -> str:
    """What the attack does to the model, and which defense holds best where it is worst."""
    before = [f"{percent(rate)} for {name}" for name, rate in _aligned(arms, ASR.name)]
    after = _range(arms, ASR.name, lambda arm: not arm.aligned and arm.defense == "none")
    parts = [*before, *([f"{after} after fine-tuning without a defense"] if after else [])]
    opening = f"Attack success is {' and '.join(parts)}" if parts else ""
    return _sentence([opening, _best(arms, ASR.name, "attack success", "with a defense it is")])


def over_refusal(arms: Sequence[ArmResult]) -> str:
    """What harmless requests are refused before and after."""
    before = [f"{name} refuses {percent(rate)}" for name, rate in _aligned(arms, OVER_REFUSAL.name)]
    opening = f"{' and '.join(before)} of the harmless requests" if before else ""
    ranked = worst_cases(arms, OVER_REFUSAL.name)
    most = [f"most with {ranked[-1][0]}: {_up_to(arms)}{percent(ranked[-1][1])}"] if len(ranked) > 1 else []
    best = _best(arms, OVER_REFUSAL.name, "over-refusal", "among the defenses over-refusal is")
    return _sentence([opening, ", ".join([best, *most]), *[_let_through(arms, label) for label, _ in ranked[:1]]])


def _let_through(arms: Sequence[ArmResult], label: str) -> str:
    """That this defense lets the attack through, where it does: then that it refuses least says little."""
    through = dict(worst_cases(arms, ASR.name)).get(label)
    if through is None or through.value is None or through.value < BROKEN:
        return ""
    return f"but {label} lets {percent(through)} of the attack through"


def spans(arms: Sequence[ArmResult], metrics: Sequence[Metric]) -> str:
    """From where to where each metric goes over the arms, and which defense is worst, of a benchmark of which no more is known."""
    found = {metric: _range(arms, metric.name, lambda _: True) for metric in metrics}
    told = [f"{metric.heading}: {ends}{_worst_defended(arms, metric)}" for metric, ends in found.items() if ends]
    return f"{'; '.join(told)}." if told else UNSCORED


def _worst_defended(arms: Sequence[ArmResult], metric: Metric) -> str:
    """Empty where higher is better, or where nothing sets two defenses apart."""
    ranked = worst_cases(arms, metric.name)
    if metric.direction == "higher" or len(ranked) < 2 or _value(ranked[0][1]) == _value(ranked[-1][1]):
        return ""
    return f", with a defense most for {ranked[-1][0]}: {percent(ranked[-1][1])}"


def secret(arms: Sequence[ArmResult]) -> str:
    """What taking the secret away changes."""
    gaps = sorted(((gap, arm) for arm in arms if (gap := _gap(arm)) is not None), key=lambda pair: pair[0])
    if not gaps:
        return UNSCORED
    if len(gaps) <= FEW:
        said = " and ".join(_instead(arm) for arm in arms if _gap(arm) is not None)
        return f"Without the secret, attack success is {said}."
    (least, _), (most, arm) = gaps[0], gaps[-1]
    return (
        f"Taking the secret away changes attack success by {least:+.1f} to {most:+.1f} points in {len(gaps)} arms, "
        f"most for {arm.label}."
    )


def both(arms: Sequence[ArmResult]) -> str:
    """Which defended arms are low on both axes."""
    guarded = [arm for arm in arms if defended(arm) and arm.rate(ASR.name) and arm.rate(OVER_REFUSAL.name)]
    inside = [arm for arm in guarded if good(arm)]
    if not guarded:
        return UNSCORED
    held = {label: [arm for arm in guarded if arm.defense_label == label] for label in _labels(guarded)}
    attacks = len({arm.attack_label for arm in guarded})
    counts = [
        label if attacks == 1 else f"{label} under {_of(sum(map(good, own)), len(own))} attacks"
        for label, own in held.items()
        if any(map(good, own))
    ]
    low = f"low on both axes (at most {GOOD:g} %)"
    one = len(guarded) == 1
    if not inside:
        none = "The one defended arm is not" if one else f"None of the {len(guarded)} defended arms is"
        return f"{none} {low}."
    some = "The one defended arm" if one else f"{_of(len(inside), len(guarded)).capitalize()} defended arms"
    are = "is" if len(inside) == 1 else "are"
    return f"{some} {are} {low}: {', '.join(counts)}."


def swept(sweep: Sweep) -> str:
    """Where each defense is worst over the values of a setting, and where best."""
    found = [(curve, ends) for curve in sweep.curves if (ends := _ends(curve)) is not None]
    if not found:
        return UNSCORED
    if len(found) > FEW:
        # Of many curves, the one that moves most and the one that moves least.
        found = sorted(found, key=lambda pair: _value(pair[1][1][1]) - _value(pair[1][0][1]))
        found = [found[-1], found[0]]
    parts = [f"{curve.series.label} under {curve.attack} lets through {_between(ends)}" for curve, ends in found]
    among = f"; these move most and least of {len(sweep.curves)} lines" if len(sweep.curves) > FEW else ""
    return f"{'; '.join(parts)}{among}."


def _between(ends: tuple[tuple[float, Rate], tuple[float, Rate]]) -> str:
    (best, low), (worst, high) = ends
    if low.value == high.value:
        return f"{percent(low)} at every value"
    return f"{percent(low)} at {best:g} and {percent(high)} at {worst:g}"


def _ends(curve: Curve) -> tuple[tuple[float, Rate], tuple[float, Rate]] | None:
    """The values with the lowest and the highest attack success; None below two that could be scored."""
    rates = [(value, rate) for value, arm in curve.points if (rate := arm.rate(ASR.name)) is not None]
    return (min(rates, key=_rated), max(rates, key=_rated)) if len(rates) > 1 else None


def _rated(point: tuple[float, Rate]) -> float:
    return _value(point[1])


def loss(arms: Sequence[ArmResult]) -> str:
    """How many runs learned anything, and where they ended."""
    curves = [curve for arm in arms for curve in losses(arm)]
    fell = sum(curve[-1] < curve[0] for curve in curves)
    ends = [curve[-1] for curve in curves]
    if len(curves) == 1:
        return f"The loss of the one training run went from {curves[0][0]:.2f} to {ends[0]:.2f}."
    return (
        f"The loss ended below its start in {_of(fell, len(curves))} training runs, "
        f"between {min(ends):.2f} and {max(ends):.2f}."
    )


def cost(arms: Sequence[ArmResult]) -> str:
    """What a run of these fine-tuned arms took."""
    timed = sorted(((arm.trained("seconds") or 0.0, arm) for arm in arms), key=lambda pair: pair[0])
    (least, first), (most, last) = timed[0], timed[-1]
    if len(timed) == 1:
        return f"One training run took {least:.0f} seconds."
    return f"A training run took between {least:.0f} s ({first.label}) and {most:.0f} s ({last.label})."


def worst_cases(arms: Sequence[ArmResult], metric: str) -> list[tuple[str, Rate]]:
    """(defense, its highest rate over the attacks), lowest first; only defenses that met every attack that any met."""
    found: dict[str, list[Rate]] = {}
    for arm in arms:
        rate = arm.rate(metric)
        if defended(arm) and rate is not None:
            found.setdefault(arm.defense_label, []).append(rate)
    met = max(map(len, found.values()), default=0)
    worst = [(label, max(rates, key=_value)) for label, rates in found.items() if len(rates) == met]
    return sorted(worst, key=lambda pair: _value(pair[1]))


def defended(arm: ArmResult) -> bool:
    """Whether a defense was at work."""
    return not arm.aligned and arm.defense != "none"


def percent(rate: Rate) -> str:
    """``3.6 %``, and behind it how many of the answers could be scored where not all could."""
    return "".join(percent_and_part(rate))


def percent_and_part(rate: Rate) -> tuple[str, str]:
    """The two apart. The space does not break, and the mean of a score has no sign."""
    if rate.value is None:
        return "–", ""
    part = f" (of {rate.n} answers; {rate.unscored} unscored)" if rate.unscored else ""
    sign = "" if rate.is_mean else "\u00a0%"
    return f"{rate.value:.1f}{sign}", part


def _best(arms: Sequence[ArmResult], metric: str, what: str, opening: str) -> str:
    """The lowest worst case, and whether the runner-up's interval lies apart from it; of one defense alone, its rate."""
    ranked = worst_cases(arms, metric)
    if not ranked:
        return ""
    label, rate = ranked[0]
    if len(ranked) == 1:
        return f"with {label} {what} is {_up_to(arms)}{percent(rate)}"
    least = [name for name, own in ranked if own.value == rate.value]
    alike = [
        other
        for other, more in ranked[len(least) :]
        if rate.high is not None and more.low is not None and more.low <= rate.high
    ]
    others = " and ".join(alike) if len(alike) <= FEW else f"{len(alike)} others"
    doubt = f"; the intervals do not set {others} apart from it" if alike and metric == ASR.name else ""
    return f"{opening} least with {_listed(least)}: {_up_to(arms)}{percent(rate)}{doubt}"


def _listed(names: Sequence[str]) -> str:
    """``A, B and C``."""
    return f"{', '.join(names[:-1])} and {names[-1]}" if len(names) > 1 else names[0]


def _up_to(arms: Sequence[ArmResult]) -> str:
    return "at most " if len({arm.attack_label for arm in arms if defended(arm)}) > 1 else ""


def _sentence(clauses: Iterable[str]) -> str:
    joined = "; ".join(clause for clause in clauses if clause)
    return f"{joined[0].upper()}{joined[1:]}." if joined else UNSCORED


def _range(arms: Sequence[ArmResult], metric: str, chosen: Callable[[ArmResult], bool]) -> str:
    rates = sorted(_rates(arms, metric, chosen), key=_value)
    if not rates:
        return ""
    ends = list(dict.fromkeys([percent(rates[0]), percent(rates[-1])]))
    return " to ".join(ends)


def _rates(arms: Sequence[ArmResult], metric: str, chosen: Callable[[ArmResult], bool]) -> list[Rate]:
    return [rate for arm in arms if chosen(arm) and (rate := arm.rate(metric)) is not None]


def _aligned(arms: Sequence[ArmResult], metric: str) -> list[tuple[str, Rate]]:
    """What each aligned model is called within a sentence, and its rate."""
    found = [(arm.attack_label, arm.rate(metric)) for arm in arms if arm.aligned]
    return [(f"the {label[:1].lower()}{label[1:]}", rate) for label, rate in found if rate is not None]


def _instead(arm: ArmResult) -> str:
    given, taken = arm.rate(ASR.name), arm.rate(WITHOUT.name)
    if given and taken and given.value == taken.value:
        return f"{percent(taken)} as with it ({arm.defense_label})"
    return f"{percent(taken) if taken else '–'} instead of {percent(given) if given else '–'} ({arm.defense_label})"


def _gap(arm: ArmResult) -> float | None:
    """Points by which attack success differs without the secret."""
    given, taken = arm.rate(ASR.name), arm.rate(WITHOUT.name)
    if given is None or taken is None or given.value is None or taken.value is None:
        return None
    return taken.value - given.value


def _labels(arms: Iterable[ArmResult]) -> list[str]:
    return list(dict.fromkeys(arm.defense_label for arm in arms))


def _of(some: int, whole: int) -> str:
    return f"all {whole}" if some == whole else f"{some} of {whole}"


def _value(rate: Rate) -> float:
    return rate.value or 0.0
