"""A release, once for all tests of the gateway."""

from __future__ import annotations

from pathlib import Path

import pytest

from support.served_release import release_folder


@pytest.fixture(scope="session")
def release(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return release_folder(tmp_path_factory.mktemp("gateway"))
