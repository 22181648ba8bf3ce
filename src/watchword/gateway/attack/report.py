"""The attack's results as a page in Markdown."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import msgspec

from watchword.files.atomic import replacing
from watchword.gateway.attack.running import ArmResult, Interval, Summary
from watchword.rates import Rate

_HEAD = "| probes | leaks %, 95 % | longest run, tokens | tokens out | bits out | bits a probe | side bits | refused |"
_RULE = "|---|---|---|---|---|---|---|---|"


def page(arms: Sequence[ArmResult], title: str) -> str:
    """A table of all arms, and one of each arm's families."""
    first = arms[0]
    lines = [
        f"# {title}",
        "",
        f"A secret of {first.secret_tokens} tokens, {first.secret_bits:.0f} bits. A leak is a run of 8 of its tokens or more, "
        "in any disguise. `tokens out` and `bits out` are what all probes brought out together.",
        "",
        *_table("arm", [(arm.arm, arm.whole) for arm in arms]),
    ]
    for arm in arms:
        lines += ["", f"## {arm.arm}", "", *_table("family", list(arm.families.items()))]
        lines += _notes(arm)
    return "\n".join(lines) + "\n"


def _table(what: str, rows: Sequence[tuple[str, Summary]]) -> list[str]:
    return [f"| {what} {_HEAD}", f"|---{_RULE}", *(f"| `{name}` | {_cells(one)} |" for name, one in rows)]


def _cells(one: Summary) -> str:
    cells = (
        one.probes,
        _rate(one.leaks),
        one.longest_run,
        one.tokens,
        f"{one.bits:.0f}",
        _interval(one.bits_a_probe),
        f"{one.side_bits:.1f}",
        one.refused,
    )
    return " | ".join(map(str, cells))


def _rate(rate: Rate) -> str:
    return "none" if rate.value is None else f"{rate.value:.1f} ({rate.low:.1f} to {rate.high:.1f})"


def _interval(one: Interval) -> str:
    return f"{one.value:.0f} ({one.low:.0f} to {one.high:.0f})"


def _notes(arm: ArmResult) -> list[str]:
    """What side channels told, a line each."""
    told = [one for one in arm.probes if one.side is not None and one.side.note]
    lines = [
        f"- {one.family}, {one.name}: {one.side.value:.1f} bits ({one.side.low:.1f} to {one.side.high:.1f}); {one.side.note}"
        for one in told
        if one.side is not None
    ]
    return ["", *lines] if lines else []


def write_arms(path: Path, arms: Sequence[ArmResult]) -> None:
    """The figures as JSON. Raises OutputError."""
    with replacing(path) as stream:
        stream.write(msgspec.json.format(msgspec.json.encode({"arms": arms}), indent=1) + b"\n")


def write_page(path: Path, text: str) -> None:
    """The page. Raises OutputError."""
    with replacing(path) as stream:
        stream.write(text.encode())
