"""A small model, a secret, and a job that guards a file."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from support.guarding_rows import SECRET_TEXT, addressed, template
from watchword.defenses.base import DEFENSES
from watchword.guarding.engine import GuardJob
from watchword.guarding.exporters.base import EXPORTERS
from watchword.models.facts import ModelFacts
from watchword.secret.prompt import SecretPrompt


@pytest.fixture(scope="session")
def model() -> ModelFacts:
    return ModelFacts("small", template("smollm2"), 2048, "small")


@pytest.fixture(scope="session")
def secret() -> SecretPrompt:
    return SecretPrompt(SECRET_TEXT, kind="random", tokens=20, entropy_bits=200.0)


@pytest.fixture
def job(model: ModelFacts, secret: SecretPrompt, tmp_path: Path) -> Callable[..., GuardJob]:
    """Makes a job; keyword arguments replace its fields."""

    def make(source: Path | str, **fields: Any) -> GuardJob:
        plain = {
            "source": str(source),
            "out": str(tmp_path / "out.jsonl"),
            "model": model,
            "defense": DEFENSES.create("backdoor_align"),
            "exporter": EXPORTERS.create("openai"),
            "max_length": 2048,
            "secret": secret,
        }
        return GuardJob(**addressed({**plain, **fields}))

    return make
