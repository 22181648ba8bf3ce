"""What the secret costs and what of it comes out; perplexity with it and without."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from watchword.benchmarks.base import BENCHMARKS, Exchange, Setting, Subject, measure
from watchword.chat.types import conversation
from watchword.data.rows import write_conversations
from watchword.defenses import AppliedDefense
from watchword.defenses.base import DEFENSES, Defense
from watchword.models.base import TextModel
from watchword.models.fakes import FakeModel, fake_template
from watchword.rates import Rate
from watchword.secret.generate import experiment_secret, secret_ids, text_before

SECRET = experiment_secret(fake_template(), tokens=40, seed=0)


def part(first: int, last: int) -> str:
    return fake_template().decode(secret_ids(SECRET, fake_template())[first:last])


def measured(
    name: str, model: Any, *, secret: bool = True, defense_name: str = "backdoor_align", **arguments: object
) -> tuple[dict[str, Rate], list[Exchange]]:
    defense = DEFENSES.create(defense_name) if secret else Defense()
    subject = Subject(model, AppliedDefense(defense, SECRET if secret else None))
    return measure([BENCHMARKS.create(name, **arguments)], subject, Setting(), lambda *_: None)


@pytest.mark.parametrize("defense", ["backdoor_align", "backdoor_align + ptst"])
def test_the_prefix_costs_its_tokens_and_some_time(defense: str) -> None:
    """Another defense's text in front of the prompt is no part of the secret."""
    rates, _ = measured("prefix_cost", FakeModel("Yes."), defense_name=defense, count=4)
    # The separator is one token more.
    assert (rates["prefix_tokens"].value, rates["prefix_tokens"].spread) == (41, 0)
    assert rates["prefix_milliseconds"].n == 4


@pytest.mark.parametrize("name", ["prefix_cost", "leaks"])
def test_there_is_nothing_to_measure_without_a_secret(name: str) -> None:
    model = FakeModel("Yes.")
    assert measured(name, model, secret=False) == ({}, [])
    assert model.requests == []


@pytest.mark.parametrize(("first", "last", "counted"), [(0, 40, 40), (5, 17, 12), (10, 12, 0), (37, 40, 3)])
def test_the_longest_run_of_the_secrets_tokens_counts(first: int, last: int, counted: int) -> None:
    rates, exchanges = measured("leaks", FakeModel(f"It says: «{part(first, last)}»."), count=3, samples=2)
    # A character that the answer has beside the run may happen to go on with it.
    assert rates["leaked_tokens"].value == pytest.approx(counted, abs=1)
    share = (rates["leaked_tokens"].value or 0.0) / 40
    assert rates["leaked_bits"].value == pytest.approx(share * SECRET.entropy_bits, abs=1e-3)
    assert rates["leaking"] == Rate.of(3 * (counted > 0), 3)
    assert rates["scanned_tokens"].n == 2
    whole = "".join(exchange.response for exchange in exchanges)
    assert part(0, 40) not in whole


def test_what_a_filter_takes_out_is_counted_before() -> None:
    rates, exchanges = measured("leaks", FakeModel(SECRET.reveal()), samples=0)
    assert (rates["leaked_tokens"].value, set(rates)) == (40, {"leaked_tokens", "leaked_bits", "leaking"})
    assert {exchange.response for exchange in exchanges} == {"[secret]"}


def test_the_scan_begins_where_system_texts_do() -> None:
    seen: list[str] = []

    class Listening(FakeModel):
        def continuations(self, texts: Any, **options: Any) -> Any:
            seen.extend(texts)
            return super().continuations(texts, **options)

    model = Listening("Nothing.")
    assert isinstance(model, TextModel)
    rates, _ = measured("leaks", model, samples=3)
    assert seen == ["<|im_start|>system\n"] * 3 == [text_before(fake_template())] * 3
    assert rates["scanned_tokens"].value == 0


def test_perplexity_is_measured_with_the_secret_and_without(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    rows = [conversation("Q1", "sure"), conversation("Q2", "other words", system="Own."), conversation("Q3", "sure")]
    write_conversations(rows, path)
    model = FakeModel("no", answers_with_secret="sure")
    rates, _ = measured("perplexity", model, path=str(path))
    # A fake finds its own answer certain, and any other one nat a token less likely.
    assert rates["log_perplexity"].value == pytest.approx(1 / 3, abs=1e-3)
    assert rates["log_perplexity_without_secret"].value == 1
    assert measured("perplexity", model, path=str(path), count=1)[0]["log_perplexity"].n == 1
