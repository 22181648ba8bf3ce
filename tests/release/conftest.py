"""Releases of a model of a few thousand weights, made once."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def runs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Two defended runs and a plain one on the same tiny model and data; ``base`` is the model."""
    pytest.importorskip("torch")
    from support.releases import released

    return released(tmp_path_factory.mktemp("runs"))


@pytest.fixture
def folder(runs: dict[str, Path], tmp_path: Path) -> Path:
    """A copy of a defended run, to be changed."""
    return Path(shutil.copytree(runs["one"], tmp_path / "run"))
