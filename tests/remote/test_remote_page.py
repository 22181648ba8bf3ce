"""docs/remote.md can be followed to the letter; only the address is another one."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from support.remote_parts import KEY, KEY_ENV, remote_side

pytestmark = pytest.mark.integration
ROOT = Path(__file__).parents[2]


def test_the_page_can_be_followed_literally(tmp_path: Path) -> None:
    text = (ROOT / "docs" / "remote.md").read_text("utf-8")
    script = "".join(re.findall(r"```sh\n(.*?)```", text, re.DOTALL))
    assert "watchword remote run" in script
    (tmp_path / "examples").symlink_to(ROOT / "examples")
    binaries = tmp_path / "bin"
    binaries.mkdir()
    (binaries / "watchword").write_text(f'#!/bin/sh\nexec {sys.executable} -m watchword "$@"\n')
    (binaries / "watchword").chmod(0o755)
    with remote_side(tmp_path / "side") as side:
        given = {"WATCHWORD_KEY": KEY.hex(), KEY_ENV: side.key, "PATH": f"{binaries}:{os.environ['PATH']}"}
        done = subprocess.run(
            [shutil.which("bash") or "bash", "-ec", script.replace("http://127.0.0.1:8000/v1", side.url)],
            cwd=tmp_path,
            env={**os.environ, **given},
            capture_output=True,
            text=True,
            check=False,
            timeout=900,
        )
    assert done.returncode == 0, done.stdout + done.stderr
    for words in ("sees all of it", "created the job", "sealed", "flour", "n = 2"):
        assert words in done.stdout
    assert (tmp_path / "tuned" / "manifest.json").exists()
