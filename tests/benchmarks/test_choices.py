"""ARC-Challenge and MMLU: what is asked, behind which examples, and which choice counts."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from watchword.benchmarks.base import BENCHMARKS, Benchmark, Setting, Subject, measure
from watchword.chat.types import Conversation, last_user_text
from watchword.defenses import AppliedDefense
from watchword.defenses.base import DEFENSES, Defense
from watchword.errors import DataError, UsageError
from watchword.models.fakes import FakeModel, fake_template
from watchword.rates import Rate
from watchword.secret.generate import experiment_secret

SECRET = experiment_secret(fake_template(), tokens=20, seed=0)
ARC = [
    {"query": f"Question: What is {n}?", "choices": [f"{n}", "many", "none at all"], "gold": n % 3} for n in range(8)
]
MMLU = [
    {"split": split, "subject": f"{subject}_{split}", "question": f"{subject} {n}?", "choices": ["p", "q", "r", "s"], "answer": n}
    for split, count in (("dev", 2), ("test", 3))
    for subject in ("anatomy", "world_religions")
    for n in range(count)
]  # fmt: skip
PUBLIC = os.environ.get("WATCHWORD_DATA")


def made(folder: Path, name: str, rows: list[dict[str, Any]], **arguments: object) -> Benchmark:
    path = folder / f"{name}.jsonl"
    path.write_text("\n".join(map(json.dumps, rows)), "utf-8")
    return BENCHMARKS.create(name, path=str(path), **arguments)


def rates(benchmark: Benchmark, model: Any, *, secret: bool = False) -> dict[str, Rate]:
    defense = DEFENSES.create("backdoor_align") if secret else Defense()
    subject = Subject(model, AppliedDefense(defense, SECRET if secret else None))
    found, exchanges = measure([benchmark], subject, Setting("Be brief."), lambda *_: None)
    assert benchmark.rates(exchanges) == found
    return found


def knows(right: dict[str, str]) -> FakeModel:
    return FakeModel(lambda conv: right[last_user_text(conv)])


def test_the_likeliest_choice_counts(tmp_path: Path) -> None:
    benchmark = made(tmp_path, "arc_challenge", ARC, shots=2)
    right = {f"{row['query']}\nAnswer:": row["choices"][row["gold"]] for row in ARC}
    assert rates(benchmark, knows(right))["arc_challenge"] == Rate.of(6, 6)
    wrong = dict.fromkeys(right, "many")
    assert rates(benchmark, knows(wrong))["arc_challenge"] == Rate.of(2, 6)


def test_a_question_of_another_split_is_not_taken_for_a_test(tmp_path: Path) -> None:
    benchmark = made(tmp_path, "mmlu", [*MMLU, {**MMLU[-1], "split": "val", "subject": "anatomy_val"}], shots=1)
    with pytest.raises(DataError, match=f"line {len(MMLU) + 1}: .*'val'"):
        benchmark.prompts(Setting())


@pytest.mark.parametrize(
    ("name", "row", "says"),
    [
        ("mmlu", MMLU[-1] | {"answer": 4}, "answer is 4; there are 4 choices"),
        (
            "mmlu",
            MMLU[-1] | {"choices": [str(n) for n in range(12)], "answer": 11},
            "answer is 11; there are 10 choices",
        ),
        ("arc_challenge", ARC[-1] | {"gold": -1}, "gold is -1; there are 3 choices"),
    ],
)
def test_a_right_choice_that_is_none_of_them_is_an_error_with_its_line(
    tmp_path: Path, name: str, row: dict[str, Any], says: str
) -> None:
    rows = [*(MMLU if name == "mmlu" else ARC), row]
    with pytest.raises(DataError, match=f"line {len(rows)}: .*{says}"):
        made(tmp_path, name, rows, shots=1).prompts(Setting())


def test_examples_are_turns_with_the_right_answers(tmp_path: Path) -> None:
    first = made(tmp_path, "arc_challenge", ARC, shots=2).prompts(Setting("Be brief."))[0].conversation
    told = [(message.role, message.text.removesuffix("\nAnswer:")) for message in first.messages]
    assert told == [
        ("system", "Be brief."),
        ("user", "Question: What is 0?"),
        ("assistant", "0"),
        ("user", "Question: What is 1?"),
        ("assistant", "many"),
        ("user", "Question: What is 2?"),
    ]


def test_long_choices_are_not_at_a_loss_where_length_is_taken_out(tmp_path: Path) -> None:
    class Verbose(FakeModel):
        """Each text is as likely by the letter, but "many", which is a little less so."""

        def log_likelihoods(self, conversations: Any, texts: Any, **_: Any) -> Any:
            found = super().log_likelihoods(conversations, texts)
            chance = {"many": -4.4, "none at all": -5.5}
            return [type(one)(chance.get(text, -0.9), one.tokens) for one, text in zip(found, texts, strict=True)]

    rows = [{"query": "Q?", "choices": ["many", "none at all"], "gold": 1}] * 3
    found = rates(made(tmp_path, "arc_challenge", rows, shots=1), Verbose("x"))
    assert found["arc_challenge"].hits == 0
    assert found["arc_challenge_by_letter"].hits == 2


def test_mmlu_asks_for_letters_behind_examples_of_the_same_subject(tmp_path: Path) -> None:
    benchmark = made(tmp_path, "mmlu", MMLU, shots=2)
    prompts = benchmark.prompts(Setting())
    # Subjects take turns.
    assert [last_user_text(prompt.conversation).splitlines()[1] for prompt in prompts[:3]] == [
        "anatomy 0?",
        "world_religions 0?",
        "anatomy 1?",
    ]
    assert [message.text for message in prompts[1].conversation.messages if message.role == "assistant"] == ["A", "B"]
    assert "world religions" in prompts[1].conversation.messages[0].text
    found = rates(benchmark, FakeModel("B"))
    assert found["mmlu"] == Rate.of(2, 6)


def test_the_secret_is_in_front_of_every_question(tmp_path: Path) -> None:
    benchmark = made(tmp_path, "mmlu", MMLU, shots=1, count=2)
    model = FakeModel("D", answers_with_secret="A")
    assert rates(benchmark, model, secret=True)["mmlu"] == Rate.of(2, 2)
    assert {request.with_secret for request in model.requests} == {True}


def test_a_model_without_probabilities_is_refused(tmp_path: Path) -> None:
    class Remote:
        """Only answers."""

        name = "far-away"

    with pytest.raises(UsageError, match="far-away does not say how likely a text is"):
        rates(made(tmp_path, "mmlu", MMLU, shots=0), Remote())


@pytest.mark.parametrize(
    ("name", "rows", "shots", "says"),
    [
        ("arc_challenge", ARC, 8, "shots is 8; the file has 8 questions"),
        ("mmlu", MMLU, 3, "shots is 3; anatomy has 2 dev questions"),
    ],
)
def test_more_examples_than_there_are_is_an_error(
    tmp_path: Path, name: str, rows: list[dict[str, Any]], shots: int, says: str
) -> None:
    with pytest.raises(UsageError, match=says):
        made(tmp_path, name, rows, shots=shots).prompts(Setting())


def test_a_record_that_is_none_is_named_with_its_line(tmp_path: Path) -> None:
    benchmark = made(tmp_path, "arc_challenge", [*ARC, {"query": "Q?", "choices": "A"}])
    with pytest.raises(DataError, match=r"line 9: .*choices.*each record needs query, choices, gold"):
        benchmark.prompts(Setting())


@pytest.mark.skipif(PUBLIC is None, reason="WATCHWORD_DATA names no folder with public evaluation files")
@pytest.mark.parametrize(
    ("name", "file", "count"),
    [
        ("arc_challenge", "arc_challenge_test.jsonl", 1167),
        ("mmlu", "mmlu_dev_and_20_per_subject.jsonl", 1140),
        ("xstest", "xstest_prompts.csv", 450),
        ("mt_bench", "mt_bench_questions.jsonl", 80),
        ("sql", "sql_create_context_test200.json", 200),
    ],
)
def test_public_files_are_read_whole(name: str, file: str, count: int) -> None:
    own = {"judge": {"url": "http://localhost", "model": "none"}} if name == "mt_bench" else {}
    prompts = BENCHMARKS.create(name, path=str(Path(PUBLIC or "") / file), **own).prompts(Setting())
    assert len(prompts) == len({prompt.id for prompt in prompts}) == count
    assert all(isinstance(prompt.conversation, Conversation) for prompt in prompts)
