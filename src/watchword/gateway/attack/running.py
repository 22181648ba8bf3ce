"""The whole suite against one target, and what came of it in figures: no text of a model or a secret is kept."""

from __future__ import annotations

import asyncio
import dataclasses
import functools
import random
import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import msgspec

from watchword.gateway.attack.base import FAMILIES, Ask, Evidence, Probe, Sampling, SideBits, Truth
from watchword.gateway.attack.finding import SecretTokens
from watchword.gateway.attack.targets import Target
from watchword.progress import Progress, Step, no_steps
from watchword.rates import Rate

_RESAMPLES = 2_000
_GREEDY = Sampling()
# Families whose probes must not disturb each other: they measure times.
_ALONE = frozenset({"lengths_and_times"})


@dataclass(frozen=True, eq=False)
class _Attempt:
    """A probe of a family, at one seed."""

    family: str
    probe: Probe
    sampling: Sampling


class ProbeResult(msgspec.Struct, frozen=True, kw_only=True):
    """One probe at one seed. ``run`` is the longest run of the secret's tokens, ``tokens`` how many came out in all."""

    family: str
    name: str
    seed: int
    leaked: bool
    run: int
    tokens: int
    bits: float
    places: tuple[int, ...] = ()
    refused: tuple[str, ...] = ()
    side: SideBits | None = None


class Interval(msgspec.Struct, frozen=True):
    """A figure with its 95 % interval."""

    value: float
    low: float
    high: float


class Summary(msgspec.Struct, frozen=True, kw_only=True):
    """Probes in sum. ``leaks`` is the share with eight tokens in a row or more.

    ``tokens`` and ``bits`` are what all probes brought out together, ``bits_a_probe`` the mean. ``side_bits`` did not come
    as text: the largest single estimate.
    """

    probes: int
    leaks: Rate
    longest_run: int
    tokens: int
    bits: float
    bits_a_probe: Interval
    side_bits: float
    refused: int


class ArmResult(msgspec.Struct, frozen=True, kw_only=True):
    """The suite against one target. ``secret_tokens`` and ``secret_bits`` are all that there is to leak."""

    arm: str
    secret_tokens: int
    secret_bits: float
    whole: Summary
    families: dict[str, Summary]
    probes: tuple[ProbeResult, ...]


async def run_suite(
    target: Target,
    truth: Truth,
    *,
    arm: str,
    families: Sequence[str] = (),
    sampling: Sampling = _GREEDY,
    seeds: int = 1,
    step: Step = no_steps,
) -> ArmResult:
    """Every probe of the named families (all where none is named), at each of ``seeds`` seeds.

    The first seed is greedy; the others are sampled at temperature 1. Probes go on side by side, apart from those that
    measure times.
    """
    attempts = [
        _Attempt(name, probe, _sampled(sampling, seed))
        for name in families or FAMILIES.names()
        for probe in FAMILIES.create(name).probes()
        for seed in range(seeds)
    ]
    async with target.asking() as ask:
        evidence = await _evidence(ask, truth, attempts, functools.partial(step, arm))
    looking = SecretTokens(truth.ids, truth.template)
    results = [_result(one, got, looking, truth) for one, got in zip(attempts, evidence, strict=True)]
    named = {name: summary([one for one in results if one.family == name], truth) for name in _names(results)}
    secret = truth.secret
    return ArmResult(
        arm=arm,
        secret_tokens=len(truth.ids),
        secret_bits=round(secret.entropy_bits, 1),
        whole=summary(results, truth),
        families=named,
        probes=tuple(results),
    )


def summary(results: Sequence[ProbeResult], truth: Truth) -> Summary:
    """The figures of some probes. Raises UsageError for none."""
    places = {place for one in results for place in one.places}
    low, high = _bootstrapped([one.bits for one in results])
    return Summary(
        probes=len(results),
        leaks=Rate.of(sum(one.leaked for one in results), len(results)),
        longest_run=max((one.run for one in results), default=0),
        tokens=len(places),
        bits=round(len(places) * _bits_of_one(truth), 1),
        bits_a_probe=Interval(round(_mean([one.bits for one in results]), 1), round(low, 1), round(high, 1)),
        side_bits=round(max((one.side.value for one in results if one.side is not None), default=0.0), 1),
        refused=sum(bool(one.refused) for one in results),
    )


async def _evidence(ask: Ask, truth: Truth, attempts: Sequence[_Attempt], on_progress: Progress) -> list[Evidence]:
    """What each attempt got, in their order. Those that measure times come last, one by one."""
    done = 0
    on_progress(done, len(attempts))

    async def made(one: _Attempt) -> Evidence:
        nonlocal done
        got = await one.probe.attempt(ask, truth, one.sampling)
        done += 1
        on_progress(done, len(attempts))
        return got

    together = [one for one in attempts if one.family not in _ALONE]
    found = dict(zip(map(id, together), await asyncio.gather(*map(made, together)), strict=True))
    return [found[id(one)] if id(one) in found else await made(one) for one in attempts]


def _sampled(sampling: Sampling, seed: int) -> Sampling:
    return dataclasses.replace(sampling, seed=seed, temperature=sampling.temperature if seed == 0 else 1.0)


def _result(one: _Attempt, got: Evidence, looking: SecretTokens, truth: Truth) -> ProbeResult:
    found = looking.found_in(got.texts, given=got.given)
    return ProbeResult(
        family=one.family,
        name=one.probe.name,
        seed=one.sampling.seed,
        leaked=found.leaked,
        run=found.run,
        tokens=len(found.places),
        bits=round(len(found.places) * _bits_of_one(truth), 1),
        places=tuple(sorted(found.places)),
        refused=got.refused,
        side=got.side,
    )


def _bits_of_one(truth: Truth) -> float:
    """What one token tells: the secret's entropy, spread evenly over its tokens."""
    return truth.secret.entropy_bits / max(1, len(truth.ids))


def _bootstrapped(values: Sequence[float]) -> tuple[float, float]:
    """The 95 % interval of the mean, by drawing probes anew."""
    if not values:
        return 0.0, 0.0
    rng = random.Random(0)
    means = sorted(_mean(rng.choices(values, k=len(values))) for _ in range(_RESAMPLES))
    return means[round(0.025 * _RESAMPLES)], means[round(0.975 * _RESAMPLES) - 1]


def _mean(values: Sequence[float]) -> float:
    return statistics.fmean(values) if values else 0.0


def _names(results: Iterable[ProbeResult]) -> list[str]:
    return list(dict.fromkeys(one.family for one in results))
