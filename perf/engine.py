"""``python perf/engine.py``: what the embedded engine costs, in processor time, side by side in turns.

- ``adapter_ratio``: one answer by an adapter over the base, beside the same weights merged into one model
- ``first_token_ratio``: the first token of an answer behind a 150-token secret, beside the same request without it, warm
- ``together_ratio``: tokens a second of eight answers at once, four adapters mixed, beside one answer at a time
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable
from pathlib import Path

from side_by_side import quiet, show

from watchword.chat.types import Conversation, conversation
from watchword.models.adapted import AdaptedModel
from watchword.models.batching import BatchDecoder, DecodedRow
from watchword.models.catalog import ADAPTERS
from watchword.models.generate import prompt_ids
from watchword.models.load import load
from watchword.models.sampling import Sampling
from watchword.secret.generate import experiment_secret
from watchword.secret.prompt import SecretPrompt

_ADAPTER = ADAPTERS / "smollm2-135m-aligned"
_NAMES = ("ftm-0", "ftm-1", "ftm-2", "ftm-3")
_GREEDY = Sampling(temperature=0, logit_bias={2: -100.0})


def main() -> None:
    """Measures in turns and prints one JSON object."""
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("--rounds", type=int, default=5)
    options.add_argument("--new-tokens", type=int, default=24)
    chosen = options.parse_args()
    quiet()
    over = AdaptedModel(load("smollm2-135m-base"))
    for name in _NAMES:
        over.add(name, Path(_ADAPTER))
    merged = BatchDecoder(AdaptedModel(load("smollm2-135m")))
    decoder, secret = BatchDecoder(over), experiment_secret(over.base.template, seed=0)

    def asked(number: int, secret: SecretPrompt | None = None) -> list[int]:
        return list(prompt_ids(_question(number), over.base.template, secret))

    new = chosen.new_tokens
    figures = {
        "adapter_ratio": _ratio(
            lambda at: _seconds(decoder, [DecodedRow(asked(at), "ftm-0", _GREEDY, new)]),
            lambda at: _seconds(merged, [DecodedRow(asked(at), None, _GREEDY, new)]),
            chosen.rounds,
        ),
        "first_token_ratio": _ratio(
            lambda at: _seconds(decoder, [DecodedRow(asked(at, secret), "ftm-1", _GREEDY, 1)]),
            lambda at: _seconds(decoder, [DecodedRow(asked(at), "ftm-2", _GREEDY, 1)]),
            4 * chosen.rounds,
        ),
        "together_ratio": _ratio(
            lambda at: 8 * _seconds(decoder, [DecodedRow(asked(at), "ftm-3", _GREEDY, new)]),
            lambda at: _seconds(
                decoder, [DecodedRow(asked(at + row), _NAMES[row % 4], _GREEDY, new) for row in range(8)]
            ),
            chosen.rounds,
        ),
    }
    show("engine", figures, rounds=chosen.rounds, new_tokens=new)


def _question(number: int) -> Conversation:
    return conversation(f"What is there to know about the number {number}, and what is it good for?")


def _seconds(decoder: BatchDecoder, rows: list[DecodedRow]) -> float:
    """Processor time of some answers together."""
    for row in rows:
        decoder.admit(row)
    started = time.process_time()
    while decoder.rows:
        decoder.step()
    return time.process_time() - started


def _ratio(first: Callable[[int], float], second: Callable[[int], float], rounds: int) -> float:
    """The median over rounds of the first by the second; the round before them does not count."""
    ratios = [first(at) / second(at) for at in range(100, 101 + rounds)][1:]
    return round(statistics.median(ratios), 3)


if __name__ == "__main__":
    main()
