"""What a run may be told; needs no torch."""

from __future__ import annotations

import math
from typing import Any

import msgspec
import pytest

from watchword.errors import UsageError
from watchword.training.config import MOST_SEED, TrainingConfig, TrainingResult


@pytest.mark.parametrize("name", ["epochs", "learning_rate", "batch_size", "lora_rank", "lora_alpha", "max_length"])
@pytest.mark.parametrize("value", [0, -1])
def test_what_must_be_positive(name: str, value: int) -> None:
    with pytest.raises(UsageError, match=f"training: {name} is {value}; it must be greater than 0"):
        TrainingConfig(**{name: value})


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"learning_rate": math.nan}, "learning_rate is nan"),
        ({"learning_rate": math.inf}, "learning_rate is inf"),
        ({"lora_dropout": 1.0}, "lora_dropout is 1.0; it must be at least 0 and less than 1"),
        ({"lora_dropout": -0.1}, "lora_dropout is -0.1"),
        ({"checkpoint_steps": 0}, "checkpoint_steps is 0; it must be at least 1"),
        ({"checkpoint_steps": -5}, "checkpoint_steps is -5"),
        ({"seed": -1}, "seed is -1; it must be between 0 and 4294967295"),
        ({"seed": MOST_SEED + 1}, "seed is 4294967296"),
    ],
)
def test_what_training_could_not_use(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        TrainingConfig(**fields)
    with pytest.raises(UsageError, match=message):
        msgspec.convert(fields, TrainingConfig)


def test_extremes_that_are_fine() -> None:
    config = TrainingConfig(seed=MOST_SEED, checkpoint_steps=1, lora_dropout=0.0, epochs=1)
    assert msgspec.json.decode(msgspec.json.encode(config), type=TrainingConfig) == config


def test_a_count_of_nothing_is_not_written_so_that_older_signatures_hold() -> None:
    old = b'{"seconds":1.0,"tokens":2,"tokens_per_second":2.0,"steps":1,"loss":[0.5],"rows":{"tenant":1}}'
    result = msgspec.json.decode(old, type=TrainingResult)
    assert result.dropped == {}
    assert msgspec.json.encode(result) == old
    lost = msgspec.structs.replace(result, dropped={"thoughts": 2})
    assert msgspec.json.decode(msgspec.json.encode(lost), type=TrainingResult) == lost
