"""Do the judges agree with labels that were given by reading? Fits the trained judge as well.

``python perf/judge_agreement.py results/judges`` holds every judge against the labelled answers of the testing part, in
``answers.jsonl`` there. It writes ``agreement.json`` beside them: agreement, Cohen's kappa and confusion.

``--fit`` first fits the trained judge anew on the training part and writes its weights (scikit-learn, the extra ``dev``). How
strongly its weights are held back, and how many prompts a feature must stand behind, is chosen by cross-validation inside that
part, with all answers to a prompt in one fold. The testing part is not looked at.

Sentences that no model of ours wrote, from the tests of the rule judges, are trained on as well. Those of ``unusual.jsonl`` that
were held out when the rules were written are held out here, too, with every other sentence to the same prompts.

``perf/draw_answers.py`` draws answers to be labelled.
"""

from __future__ import annotations

import argparse
import itertools
import json
import random
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from draw_answers import RULES, Answer, named, read, verdicts

from watchword.files.digest import sha256_bytes
from watchword.judges._features import features
from watchword.judges.base import Judge
from watchword.judges.trained import LABELS, PACKAGED, Label, Trained
from watchword.provenance import versions
from watchword.rates import Rate

ANSWERS, AGREEMENT = "answers.jsonl", "agreement.json"
# What cross-validation chooses from: the inverse strength of the penalty, and the least number of prompts behind a feature.
STRENGTHS, PROMPTS, FOLDS = (0.03, 0.1, 0.3, 1.0, 3.0, 10.0), (2, 3, 5), 5
DRAWS = 2000
HAND_WRITTEN = Path(__file__).parents[1] / "tests" / "judges"
_WORDS: dict[str, Label] = {"refused": "refuses", "complied": "complies", "neither": "senseless"}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("folder", type=Path, help="where answers.jsonl stands and agreement.json goes")
    parser.add_argument("--fit", action="store_true", help="fit the trained judge first")
    parser.add_argument(
        "--weights", type=Path, default=Path(str(PACKAGED)), help="the trained judge's; --fit writes them"
    )
    told = parser.parse_args()
    answers = read(told.folder / ANSWERS)
    unread = [number for number, answer in enumerate(answers, 1) if not answer.label]
    if unread:
        parser.error(
            f"{told.folder / ANSWERS}, line {unread[0]}: no label; write one of {', '.join(LABELS)} ({len(unread)} lack it)"
        )
    if told.fit:
        digest = sha256_bytes((told.folder / ANSWERS).read_bytes())
        training = [answer for answer in [*answers, *hand_written()] if answer.split == "train"]
        told.weights.write_text(written(fitted(training, chosen(training), digest)), "utf-8")
    found = {**measured(answers, told.weights), "versions": versions()}
    (told.folder / AGREEMENT).write_text(json.dumps(found, indent=1) + "\n", "utf-8")
    print(json.dumps(found, indent=1))


def hand_written() -> list[Answer]:
    """The labelled sentences of the rule judges' tests, split by prompt."""
    found = [
        (msgspec.json.decode(line), name)
        for name in ("labelled.jsonl", "unusual.jsonl")
        for line in (HAND_WRITTEN / name).read_bytes().splitlines()
    ]
    held_out = {row["prompt"] for row, _ in found if row.get("half") == "held_out"}
    return [
        Answer(
            prompt=row["prompt"],
            reply=row["response"],
            label=_WORDS[row["label"]],
            arm=f"hand-written, {name}",
            question="",
            # Held-out sentences were written one by one, and are drawn one by one in an interval.
            id=row["response"] if row["prompt"] in held_out else row["prompt"],
            split="test" if row["prompt"] in held_out else "train",
        )
        for row, name in found
        if row["prompt"] not in held_out or row.get("half") == "held_out"
    ]


# How the judges do


def measured(answers: Sequence[Answer], weights: Path) -> dict[str, Any]:
    """agreement.json without the versions: how many answers there are, and each judge's figures on the testing part."""
    test = [answer for answer in answers if answer.split == "test"]
    sets = {
        "test": test,
        "test_where_rules_agree": [answer for answer in test if len(verdicts(answer)) == 1],
        "hand_written": [answer for answer in hand_written() if answer.split == "test"],
    }
    judges = {"trained": Trained(str(weights)), **RULES}
    return {
        "schema": 1,
        "answers": {part: counted(answers, part) for part in ("train", "test")},
        "judges": {
            name: {own: figures(judge, rows) for own, rows in sets.items() if rows} for name, judge in judges.items()
        },
    }


def counted(answers: Sequence[Answer], part: str) -> dict[str, Any]:
    own = [answer for answer in answers if answer.split == part]
    labels = Counter(answer.label for answer in own)
    arms = Counter(answer.arm for answer in own)
    return {
        "n": len(own),
        "prompts": len({answer.id for answer in own}),
        "labels": {label: labels[label] for label in LABELS},
        "arms": dict(sorted(arms.items())),
    }


def figures(judge: Judge, answers: Sequence[Answer]) -> dict[str, Any]:
    """``confusion`` counts answers by label, and within a label by what the judge says."""
    said = [named(judge, answer) for answer in answers]
    rate = Rate.of(sum(answer.label == verdict for answer, verdict in zip(answers, said, strict=True)), len(answers))
    table = confusion(answers, said)
    return {
        "agreement": {"percent": rate.value, "low": rate.low, "high": rate.high, "n": rate.n},
        "kappa": kappa_with_interval(answers, said),
        "confusion": {
            label: dict(zip(LABELS, map(int, own), strict=True)) for label, own in zip(LABELS, table, strict=True)
        },
    }


def confusion(answers: Iterable[Answer], said: Iterable[str]) -> np.ndarray:
    """Counts: a row for each label, a column for each verdict, in the order of ``LABELS``."""
    table = np.zeros((len(LABELS), len(LABELS)), int)
    for answer, verdict in zip(answers, said, strict=True):
        table[place(answer.label), place(verdict)] += 1
    return table


def place(label: str) -> int:
    return [*map(str, LABELS)].index(label)


def kappa(table: np.ndarray) -> float:
    """Cohen's kappa: 1 for full agreement, 0 for what chance alone would give."""
    n = table.sum()
    by_chance = float(table.sum(1) @ table.sum(0)) / n**2
    return (float(np.trace(table)) / n - by_chance) / (1 - by_chance) if by_chance < 1 else 1.0


def kappa_with_interval(answers: Sequence[Answer], said: Sequence[str]) -> dict[str, float]:
    """With a 95 % percentile bootstrap, which draws whole prompts: answers to one hang together."""
    prompts: dict[str, np.ndarray] = {}
    for answer, verdict in zip(answers, said, strict=True):
        prompts[answer.id] = prompts.get(answer.id, 0) + confusion([answer], [verdict])
    tables, rng = np.stack(list(prompts.values())), random.Random(0)
    drawn = sorted(kappa(tables[rng.choices(range(len(tables)), k=len(tables))].sum(0)) for _ in range(DRAWS))
    found = {"value": kappa(tables.sum(0)), "low": drawn[DRAWS // 40], "high": drawn[-DRAWS // 40 - 1]}
    return {name: round(value, 4) for name, value in found.items()}


# How the trained judge is fitted


def chosen(training: Sequence[Answer]) -> dict[str, float]:
    """The settings with the best kappa over all folds; of equals the one that holds the weights back most."""
    scores = {own: in_folds(training, *own) for own in itertools.product(STRENGTHS, PROMPTS)}
    strength, prompts = max(scores, key=lambda own: (scores[own], -own[0], own[1]))
    return {"strength": strength, "prompts": prompts, "kappa_in_folds": scores[strength, prompts]}


def in_folds(training: Sequence[Answer], strength: float, prompts: int) -> float:
    """Kappa where each answer is judged by a model that saw no answer to its prompt."""
    numbers = folds(training)
    table = np.zeros((len(LABELS), len(LABELS)), int)
    for number in range(FOLDS):
        own = [answer for answer in training if numbers[answer.id] == number]
        rest = [answer for answer in training if numbers[answer.id] != number]
        model, names = regression(rest, strength, prompts)
        table += confusion(own, model.predict(matrix(own, names)))
    return round(kappa(table), 4)


def folds(training: Sequence[Answer]) -> dict[str, int]:
    """The fold of each prompt."""
    prompts = sorted({answer.id for answer in training})
    random.Random(0).shuffle(prompts)
    return {ident: number % FOLDS for number, ident in enumerate(prompts)}


def fitted(training: Sequence[Answer], settings: Mapping[str, float], digest: str) -> dict[str, Any]:
    """The content of the weights' file."""
    model, names = regression(training, settings["strength"], int(settings["prompts"]))
    order = [list(model.classes_).index(label) for label in LABELS]
    weights = {name: rounded(model.coef_[order, column]) for name, column in names.items()}
    return {
        "schema": 1,
        "answers": digest,
        "settings": dict(settings),
        "bias": rounded(model.intercept_[order]),
        "weights": dict(sorted(weights.items())),
    }


def regression(training: Sequence[Answer], strength: float, prompts: int) -> tuple[Any, dict[str, int]]:
    """The fitted model, and the column of each feature that stands behind so many different prompts."""
    from sklearn.linear_model import LogisticRegression

    behind: dict[str, set[str]] = {}
    for answer in training:
        for name in features(answer.prompt, answer.reply):
            behind.setdefault(name, set()).add(answer.id)
    kept = sorted(name for name, idents in behind.items() if len(idents) >= prompts)
    names = {name: column for column, name in enumerate(kept)}
    model = LogisticRegression(C=strength, max_iter=2000)
    model.fit(matrix(training, names), [answer.label for answer in training])
    return model, names


def matrix(answers: Sequence[Answer], names: Mapping[str, int]) -> Any:
    """A row for each answer: 1 where it has the feature."""
    from sklearn.feature_extraction.text import CountVectorizer

    counting = CountVectorizer(analyzer=lambda answer: features(answer.prompt, answer.reply), vocabulary=dict(names))
    return counting.transform(answers)


def rounded(values: Iterable[float]) -> list[float]:
    """Three decimals decide the same, and keep the file small."""
    return [round(float(value), 3) for value in values]


def written(made: Mapping[str, Any]) -> str:
    """As JSON with one feature a line, so that a change can be read."""
    head = [f"{json.dumps(name)}: {json.dumps(value)}" for name, value in made.items() if name != "weights"]
    rows = [f"{json.dumps(name, ensure_ascii=False)}: {json.dumps(row)}" for name, row in made["weights"].items()]
    return "{\n" + ",\n".join([*head, '"weights": {\n' + ",\n".join(rows)]) + "\n}}\n"


if __name__ == "__main__":
    main()
