"""The engine's process ends at once and leaves nothing behind of which Python complains on the operator's terminal."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("uvicorn")
pytest.importorskip("tqdm")

PROGRAM = """
import multiprocessing

def engine():
    from watchword.service.engine import serving
    from watchword.service.settings import ServiceSettings

    def run_engine(options):
        from tqdm import tqdm
        # As transformers shows how it loads a model.
        list(tqdm(range(3)))

    serving.run_engine = run_engine
    serving.run(ServiceSettings(), 1, 1)

if __name__ == "__main__":
    process = multiprocessing.get_context("spawn").Process(target=engine)
    process.start()
    process.join()
    print(process.exitcode)
"""


def test_no_semaphore_is_left(tmp_path: Path) -> None:
    program = tmp_path / "program.py"
    program.write_text(PROGRAM)
    done = subprocess.run([sys.executable, program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "0"
    assert "3/3" in done.stderr
    assert "leaked" not in done.stderr
