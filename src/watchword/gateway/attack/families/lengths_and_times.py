"""What counts and times tell of a prompt that nobody shows."""

from __future__ import annotations

import math
import re
import statistics
from collections.abc import Sequence

from watchword.chat.render import render_prompt
from watchword.chat.types import conversation
from watchword.gateway.attack.base import Ask, Evidence, Family, Probe, Sampling, SideBits, Truth

# Lengths that a secret may have, for an attacker who knows nothing: all are equally likely.
_LENGTHS = 1_024
_SYSTEM, _WORD = "Be brief.", "bread "
_SIZES = (1, 120, 240, 360)
_CONTEXTS = [1 << exponent for exponent in range(9, 21)]
# Tokens of the separator, and of a default text that gives way.
_SLACK = 24


class _Usage(Probe):
    """Compares the tokens that are counted with those of the request, which the attacker counts alone."""

    name = "usage"

    async def attempt(self, ask: Ask, truth: Truth, sampling: Sampling) -> Evidence:
        hidden, codes = list[int](), list[str]()
        for size in _SIZES:
            turn = _WORD * size
            got = await ask(_messages(turn), {**sampling.options(), "max_tokens": 1})
            if got.code is not None:
                codes.append(got.code)
            elif got.prompt_tokens is not None:
                own = render_prompt(conversation(turn, system=_SYSTEM), truth.template)
                hidden.append(got.prompt_tokens - len(own))
        seen = max(hidden, default=0)
        bits = math.log2(_LENGTHS) if seen > 0 else 0.0
        return Evidence(refused=tuple(codes), side=SideBits(bits, bits, bits, f"{seen} hidden tokens in usage"))


class _Times(Probe):
    """Times requests of several lengths, and goes on to the time of none: what is left is the hidden part's.

    An attacker cannot take the server's own time for a request away, so the bits are an upper bound.
    """

    name = "times"

    async def attempt(self, ask: Ask, truth: Truth, sampling: Sampling) -> Evidence:
        tokens, seconds, codes = list[float](), list[float](), list[str]()
        for _ in range(3):
            for size in _SIZES:
                turn = _WORD * size
                got = await ask(_messages(turn), {**sampling.options(), "max_tokens": 1})
                if got.code is not None:
                    codes.append(got.code)
                    continue
                tokens.append(float(len(render_prompt(conversation(turn, system=_SYSTEM), truth.template))))
                seconds.append(got.seconds)
        return Evidence(refused=tuple(codes), side=_told(tokens, seconds))


def _told(tokens: Sequence[float], seconds: Sequence[float]) -> SideBits:
    """Bits on the length: how far the spread of the estimate narrows it down."""
    if len(set(tokens)) < 2:
        return SideBits(0.0, 0.0, 0.0, "no times")
    slope, start = statistics.linear_regression(tokens, seconds)
    if slope <= 0:
        return SideBits(0.0, 0.0, 0.0, "times do not grow with length")
    rest = [second - start - slope * token for token, second in zip(tokens, seconds, strict=True)]
    spread = max(1.0, statistics.pstdev(rest) / slope)
    # The entropy of a normal distribution of that spread, next to that of equally likely lengths.
    bits = max(0.0, math.log2(_LENGTHS) - math.log2(spread * math.sqrt(2 * math.pi * math.e)))
    return SideBits(bits, 0.0, bits, f"a start of {start / slope:.0f} tokens' time, give or take {spread:.0f}")


class _Edge(Probe):
    """Asks for too much: an error that names the context's limit may tell how much of it is taken."""

    name = "edge of the context"

    async def attempt(self, ask: Ask, truth: Truth, sampling: Sampling) -> Evidence:
        texts = list[str]()
        for size in (512, 4_096, 40_000):
            got = await ask(_messages(_WORD * size), {**sampling.options(), "max_tokens": 1})
            texts += [got.raw] if got.code else []
        missing = _missing(" ".join(texts), len(truth.ids))
        bits = math.log2(_LENGTHS) if missing else 0.0
        note = (
            f"{missing} tokens are missing from a usual context" if missing else "no limit that tells of a hidden part"
        )
        return Evidence(tuple(texts), side=SideBits(bits, bits, bits, note))


def _missing(said: str, hidden: int) -> int | None:
    """How much smaller than a usual context a number is, where that is the hidden part."""
    numbers = (int(number) for number in re.findall(r"\d{3,7}", said))
    gaps = [context - number for number in numbers for context in _CONTEXTS]
    return next((gap for gap in gaps if abs(gap - hidden) <= _SLACK), None)


def _messages(turn: str) -> list[dict[str, str]]:
    return [{"role": "system", "content": _SYSTEM}, {"role": "user", "content": turn}]


class LengthsAndTimes(Family):
    """Usage counts, latency, and where a request becomes too long."""

    def probes(self) -> Sequence[Probe]:
        return [_Usage(), _Times(), _Edge()]
