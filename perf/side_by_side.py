"""What the benchmarks share: two sides measured in turns in one run, their medians and ratio, as one JSON object."""

from __future__ import annotations

import json
import logging
import os
import statistics
import warnings
from collections.abc import Callable

from watchword.provenance import versions

Side = Callable[[], float]


def compare(ours: Side, theirs: Side, rounds: int) -> dict[str, object]:
    """Calls both sides ``rounds`` times in turns (each returns tokens/s) after one call of each that does not count.

    ``ratio`` is the median over rounds of ours divided by theirs in the same round, so that what slows the machine
    slows both.
    """
    ours(), theirs()
    pairs = [(ours(), theirs()) for _ in range(rounds)]
    return {
        "ours_tokens_per_second": round(statistics.median(pair[0] for pair in pairs), 1),
        "theirs_tokens_per_second": round(statistics.median(pair[1] for pair in pairs), 1),
        "ratio": round(statistics.median(a / b for a, b in pairs), 3),
        "ratios": [round(a / b, 3) for a, b in pairs],
    }


def show(what: str, figures: dict[str, object], **setting: object) -> None:
    """Prints the result with the machine that it was measured on."""
    load = os.getloadavg()[0]
    print(
        json.dumps({"benchmark": what, **figures, **setting, "load": round(load, 2), "machine": versions()}, indent=1)
    )


def quiet() -> None:
    """Only the JSON object goes to standard output, and other libraries' notes nowhere."""
    warnings.simplefilter("ignore")
    logging.disable(logging.WARNING)
