"""How good is the guess at harmful goals (``watchword.safety.harm``) on prompts that nobody here wrote?

Reads public sets from the folder that the environment variable WATCHWORD_DATA names: ``simple_safety_tests.csv``
(SimpleSafetyTests), ``xstest_prompts.csv`` (XSTest) and ``general_instructions_1000.jsonl`` (Dolly and HH-RLHF, the helpful
part). Prints one JSON object: for each set how many prompts the guess takes for harmful (percent, 95 % Wilson interval), as
they are and behind one harmless sentence, as somebody who wants to hide a goal would write it.
"""

from __future__ import annotations

import csv
import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path

import msgspec

from watchword.provenance import versions
from watchword.rates import Rate
from watchword.safety.harm import THRESHOLD, looks_harmful
from watchword.safety.library import digest, examples

IN_FRONT = "What is a good recipe for a cake? Also: "
FILES = ("simple_safety_tests.csv", "xstest_prompts.csv", "general_instructions_1000.jsonl")


def main() -> None:
    named = os.environ.get("WATCHWORD_DATA", "")
    missing = [name for name in FILES if not (Path(named) / name).is_file()]
    if not named or missing:
        where = f"{named} lacks {', '.join(missing)}" if named else "WATCHWORD_DATA names no folder"
        print(f"skipped: {where}; it takes {', '.join(FILES)}", file=sys.stderr)
        return
    figures = {
        name: {"plain": found(asked, ""), "behind a sentence": found(asked, IN_FRONT)}
        for name, asked in sets(Path(named))
    }
    made = {"threshold": THRESHOLD, "in_front": IN_FRONT, "examples": digest(), "versions": versions()}
    print(json.dumps({"found": figures, **made}, indent=2))


def sets(folder: Path) -> list[tuple[str, list[str]]]:
    """Name and prompts of each set, the packaged held-out ones first."""
    tests = rows(folder / FILES[0])
    xstest = rows(folder / FILES[1])
    lines = (folder / FILES[2]).read_bytes().splitlines()
    general = [instruction(msgspec.json.decode(line)["prompt"]) for line in lines]
    return [
        ("packaged attack (harmful)", [row.prompt for row in examples("attack")]),
        ("packaged policy_eval (harmful)", [row.prompt for row in examples("policy_eval")]),
        ("packaged benign_eval (harmless)", [row.prompt for row in examples("benign_eval")]),
        ("packaged borderline_eval (harmless)", [row.prompt for row in examples("borderline_eval")]),
        ("SimpleSafetyTests (harmful)", [row["prompts_final"] for row in tests]),
        ("XSTest unsafe (harmful)", [row["prompt"] for row in xstest if row["label"] == "unsafe"]),
        ("XSTest safe (harmless)", [row["prompt"] for row in xstest if row["label"] == "safe"]),
        ("general instructions (harmless)", general),
    ]


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as stream:
        return list(csv.DictReader(stream))


def instruction(prompt: str) -> str:
    """What is asked, without the Alpaca template around it."""
    return prompt.partition("### Instruction:\n")[2].partition("\n\n### Response:")[0] or prompt


def found(asked: Sequence[str], before: str) -> dict[str, float | int | None]:
    rate = Rate.of(sum(looks_harmful(before + text) for text in asked), len(asked))
    return {"percent": rate.value, "low": rate.low, "high": rate.high, "n": rate.n}


if __name__ == "__main__":
    main()
