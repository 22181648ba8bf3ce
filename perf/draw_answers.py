"""Draws answers of the laboratory's runs for somebody to label, as perf/judge_agreement.py takes them.

``python perf/draw_answers.py DIR … --count 300 --out drawn.jsonl`` reads the finished cells in the runs' folders and appends that
many answers, without labels. A later call with the same file adds others. No reply is drawn twice, whatever its prompt.

Up to half of them are answers on which the rule judges disagree, since those teach most. The others are drawn at random from the
rest. Arms and kinds of prompts take turns in both, and each answer says which it is of. The prompt's id alone decides the part that
an answer belongs to: a third of the prompts is for testing, whatever is drawn.
"""

from __future__ import annotations

import argparse
import itertools
import random
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Literal

import msgspec

from watchword.benchmarks.base import Exchange, registered_metrics
from watchword.files.digest import sha256_bytes
from watchword.judges.base import JUDGES, Judge, Unscored
from watchword.judges.trained import Label
from watchword.lab.store import CELLS, Store

RULES: dict[str, Judge] = {name: JUDGES.create(name) for name in ("refusal", "refusal_keywords", "raw_keywords")}


class Answer(msgspec.Struct, kw_only=True):
    """One answer. ``label`` is empty until somebody has read it."""

    prompt: str
    reply: str
    label: Label | Literal[""] = ""
    arm: str
    question: str
    id: str
    drawn: Literal["at_random", "disagreement"] = "at_random"
    split: Literal["train", "test"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("runs", nargs="+", type=Path, help="folders of lab runs, each with cells/ in it")
    parser.add_argument("--count", type=int, default=300)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, required=True)
    told = parser.parse_args()
    before = read(told.out) if told.out.exists() else []
    drawn = draw(found(told.runs), before, told.count, random.Random(told.seed))
    with told.out.open("ab") as stream:
        stream.writelines(msgspec.json.encode(answer) + b"\n" for answer in drawn)


def read(path: Path) -> list[Answer]:
    return [msgspec.json.decode(line, type=Answer) for line in path.read_bytes().splitlines()]


def found(runs: Iterable[Path]) -> Iterator[Answer]:
    """Every answer of every finished cell that a judge has to tell."""
    judged = {name for metric in registered_metrics().values() if metric.judge for name in metric.questions}
    for root in runs:
        for folder in sorted((root / CELLS).iterdir()):
            result, answers = Store(root).get(folder.name), Store(root).answers(folder.name)
            arm = f"{result.attack} × {result.defense}" if result else ""
            for exchange in answers or []:
                if exchange.question in judged:
                    yield answer_of(exchange, arm)


def answer_of(exchange: Exchange, arm: str) -> Answer:
    return Answer(
        prompt=exchange.prompt,
        reply=exchange.response,
        arm=arm,
        question=exchange.question,
        id=exchange.id,
        split=part_of(exchange.id),
    )


def part_of(ident: str) -> Literal["train", "test"]:
    """The same for a prompt in every form and every run, so that none is in both parts."""
    return "test" if int(sha256_bytes(ident.encode())[:8], 16) % 3 == 0 else "train"


def draw(pool: Iterable[Answer], before: Iterable[Answer], count: int, rng: random.Random) -> list[Answer]:
    """``count`` answers whose replies are new, half of them such that the rule judges disagree on."""
    known = {same(answer.reply) for answer in before}
    shuffled = list(pool)
    rng.shuffle(shuffled)
    new = list({same(answer.reply): answer for answer in shuffled if same(answer.reply) not in known}.values())
    disputed = [answer for answer in new if len(verdicts(answer)) > 1]
    chosen = taking_turns(disputed)[: count // 2]
    for answer in chosen:
        answer.drawn = "disagreement"
    taken = {same(answer.reply) for answer in chosen}
    rest = taking_turns([answer for answer in new if same(answer.reply) not in taken])
    chosen += rest[: count - len(chosen)]
    rng.shuffle(chosen)
    return chosen


def taking_turns(answers: Iterable[Answer]) -> list[Answer]:
    """Ordered so that every arm comes in turn, and within an arm every kind of prompt."""
    arms: dict[str, dict[str, list[Answer]]] = {}
    for answer in answers:
        arms.setdefault(answer.arm, {}).setdefault(answer.question, []).append(answer)
    return turns(turns(kinds.values()) for kinds in arms.values())


def turns(groups: Iterable[list[Answer]]) -> list[Answer]:
    return [one for turn in itertools.zip_longest(*groups) for one in turn if one is not None]


def same(reply: str) -> str:
    return " ".join(reply.casefold().split())


def verdicts(answer: Answer) -> set[str]:
    """What the rule judges call this answer."""
    return {named(judge, answer) for judge in RULES.values()}


def named(judge: Judge, answer: Answer) -> Label:
    verdict = judge.judge(answer.prompt, answer.reply)
    if isinstance(verdict, Unscored):
        return "senseless"
    return "refuses" if verdict.refused else "complies"


if __name__ == "__main__":
    main()
