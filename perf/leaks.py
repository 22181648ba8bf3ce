"""The leak filter on text that holds no secret: false alarms, and how fast whole texts and streams go through.

``python perf/leaks.py --megabytes 100`` reads this Python's own files: source code, prose, and binaries written as base64.
"""

from __future__ import annotations

import argparse
import base64
import json
import statistics
import time
from collections.abc import Iterator
from pathlib import Path

import msgspec

from watchword.models.facts import facts_of
from watchword.secret.generate import generate_secret
from watchword.secret.leaks import LeakFilter

# A reply of a model comes in pieces of about this many characters.
PIECE = 4
# Characters that are looked at together: a long reply.
REPLY = 100_000


def texts(megabytes: float) -> Iterator[tuple[str, str]]:
    """(kind, text) of this Python's files, half of it code and prose, half binaries in base64."""
    left = {"text": megabytes * 5e5, "base64": megabytes * 5e5}
    for path in sorted(Path(msgspec.__file__).parents[1].rglob("*")):
        kind = {".py": "text", ".md": "text", ".txt": "text", ".json": "text", ".so": "base64"}.get(path.suffix)
        if kind is None or left[kind] <= 0 or not path.is_file():
            continue
        data = path.read_bytes()[: int(left[kind]) + 1]
        text = base64.encodebytes(data).decode() if kind == "base64" else data.decode("utf-8", "replace")
        left[kind] -= len(text)
        for at in range(0, len(text), REPLY):
            yield kind, text[at : at + REPLY]


def streamed(leaks: LeakFilter, text: str) -> float:
    """Pieces a second of one stream."""
    pieces, start = [text[at : at + PIECE] for at in range(0, len(text), PIECE)], time.perf_counter()
    stream = leaks.stream()
    for piece in pieces:
        stream.feed(piece)
    return len(pieces) / (time.perf_counter() - start)


def main() -> None:
    """Reads, looks, and prints one JSON object."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--megabytes", type=float, default=100)
    parser.add_argument("--model", default="smollm2-135m")
    options = parser.parse_args()
    form = facts_of(options.model).template
    leaks = LeakFilter(generate_secret(form), form)
    size, spent, alarms, rates = {"text": 0, "base64": 0}, 0.0, 0, []
    for number, (kind, text) in enumerate(texts(options.megabytes)):
        start = time.perf_counter()
        alarms += leaks.find(text) is not None
        spent += time.perf_counter() - start
        size[kind] += len(text)
        if number % 100 == 0 and kind == "text":
            rates.append(streamed(leaks, text))
    whole = sum(size.values())
    print(
        json.dumps(
            {
                "characters": size,
                "false_alarms": alarms,
                "megabytes_per_second": round(whole / spent / 1e6, 2),
                "streamed_pieces_per_second": round(statistics.median(rates)),
            }
        )
    )


if __name__ == "__main__":
    main()
