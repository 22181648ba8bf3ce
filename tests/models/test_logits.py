"""The output matrix is multiplied once for all rows: what is in memory row by row has torch copy it for each of them."""

from __future__ import annotations

from typing import Any

import pytest

torch = pytest.importorskip("torch")

from support.tiny import loaded, tiny_llama  # noqa: E402
from watchword.chat.render import IGNORED  # noqa: E402
from watchword.models.adapted import AdaptedModel  # noqa: E402
from watchword.models.base import GenerationOptions  # noqa: E402
from watchword.models.batching import BatchDecoder, DecodedRow  # noqa: E402
from watchword.models.decode import generate_ids  # noqa: E402
from watchword.training.rows import CountingCollator  # noqa: E402
from watchword.training.shared import batch_loss  # noqa: E402

FRONT = list(range(5, 35))


def seen_by_the_last_layer(model: Any) -> list[tuple[int, bool]]:
    """Of each call of it from now on: how many places it gets, and whether they lie together by their strides.

    torch goes by strides, also where a single row makes them meaningless.
    """
    seen: list[tuple[int, bool]] = []

    def look(_: Any, given: Any) -> None:
        states = given[0]
        seen.append((states.shape[0] * states.shape[1], states.stride() == torch.empty(states.shape).stride()))

    model.lm_head.register_forward_pre_hook(look)
    return seen


def together(seen: list[tuple[int, bool]]) -> bool:
    return all(joined for _, joined in seen)


def test_answers_of_a_batch() -> None:
    model = loaded(tiny_llama())
    seen = seen_by_the_last_layer(model.model)
    prompts = [[*FRONT, 40, 41, 42 + at] for at in range(4)]
    generate_ids(model, prompts, options=GenerationOptions(max_new_tokens=3, min_new_tokens=3))
    assert [places for places, _ in seen] == [0, 4, 4, 4]
    assert together(seen)


def test_answers_that_are_written_side_by_side() -> None:
    model = loaded(tiny_llama())
    seen = seen_by_the_last_layer(model.model)
    decoder = BatchDecoder(AdaptedModel(model))
    for at in range(3):
        decoder.admit(DecodedRow([*FRONT, 50 + at], max_new_tokens=3))
    while decoder.rows:
        decoder.step()
    assert len(seen) > 3
    assert together(seen)


def test_a_batch_of_a_training() -> None:
    model = tiny_llama()
    seen = seen_by_the_last_layer(model)
    rows = [
        {"row": at, "input_ids": [*FRONT, 40 + at, 60, 61], "labels": [*[IGNORED] * (len(FRONT) + 1), 60, 61]}
        for at in range(3)
    ]
    loss, _ = batch_loss(model, CountingCollator(0)(rows)["groups"])
    loss.backward()
    assert [places for places, _ in seen] == [0, 6]
    assert together(seen)
