"""What a training tells of the tenant's rows by themselves, and of rows that it is not trained on."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import pytest

torch = pytest.importorskip("torch")

from support.training_samples import CONFIG, ROWS, SECRET, learner, trained  # noqa: E402
from watchword.chat.types import Row, conversation  # noqa: E402
from watchword.training.events import LossMeasured, TokenFigures, ValidationMeasured  # noqa: E402
from watchword.training.rows import CountingCollator, render_rows  # noqa: E402
from watchword.training.validation import row_figures  # noqa: E402

TENANT = [row for row in ROWS if row.origin == "tenant"]
UNSEEN = [Row(conversation("Question 9?", "Answer ababab.")), Row(conversation("Question 8?", "Nothing."))]


def told(tmp_path: Path, kind: type, config: Any = CONFIG, **options: Any) -> list[Any]:
    events: list[Any] = []
    trained(tmp_path, config, events=events.append, **options)
    return [event for event in events if isinstance(event, kind)]


def figures_of(model: Any, rows: list[Row], measured: list[int]) -> TokenFigures | None:
    rendered = render_rows(rows, model.template, secret=SECRET, max_length=2048)
    collator = CountingCollator(0, share=True, measured=measured)
    return row_figures(model.model, rendered, collator, 4)


def test_each_step_tells_the_loss_of_the_tenants_rows_alone(tmp_path: Path) -> None:
    # One step that sees every row, so that what it tells is the loss before training.
    once = msgspec.structs.replace(CONFIG, epochs=1, batch_size=len(ROWS))
    (step,) = told(tmp_path, LossMeasured, once)
    expected = figures_of(learner(), TENANT, list(range(len(TENANT))))
    assert expected is not None
    assert (step.tenant.tokens, step.tenant.rows) == (expected.tokens, len(TENANT))
    assert step.tenant.loss == pytest.approx(expected.loss, rel=1e-4)
    assert step.tenant.correct == expected.correct
    assert step.loss != pytest.approx(step.tenant.loss, rel=1e-6)


def test_a_step_without_the_tenants_rows_tells_nothing_of_them(tmp_path: Path) -> None:
    steps = told(tmp_path, LossMeasured, msgspec.structs.replace(CONFIG, batch_size=1, epochs=1))
    assert sum(step.tenant is None for step in steps) == len(ROWS) - len(TENANT)


def test_only_measured_rows_are_counted() -> None:
    model = learner()
    assert figures_of(model, ROWS, []) is None
    first, both = figures_of(model, UNSEEN, [0]), figures_of(model, UNSEEN, [0, 1])
    assert first is not None and both is not None
    assert 0 < first.tokens < both.tokens
    assert 0.0 <= both.accuracy <= 1.0


def test_validation_rows_are_measured_after_each_epoch_and_change_nothing(tmp_path: Path) -> None:
    measured = told(tmp_path / "with", ValidationMeasured, validation=UNSEEN)
    assert [event.step for event in measured] == [2, 4]
    assert {event.figures.tokens for event in measured} == {measured[0].figures.tokens}
    assert measured[1].figures.loss < measured[0].figures.loss
    _, figures = trained(tmp_path / "again", validation=UNSEEN)
    _, plain = trained(tmp_path / "without")
    assert figures.loss == plain.loss
    assert figures.rows == plain.rows


def test_tokens_are_counted_by_the_origin_of_their_rows_over_all_epochs(tmp_path: Path) -> None:
    _, figures = trained(tmp_path)
    rendered = render_rows(ROWS, learner().template, secret=SECRET, max_length=2048)
    for origin in ("tenant", "safety", "anchor"):
        own = [row for row in rendered if row.origin == origin]
        assert figures.trained[origin] == CONFIG.epochs * sum(map(len, own))
        assert figures.labelled[origin] == CONFIG.epochs * sum(row.labelled for row in own)
    assert sum(figures.trained.values()) == figures.tokens
