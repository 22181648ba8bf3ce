"""Threads follow the share of the cores, in a fresh process each: torch's setting is the process's own."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("torch")

START = """
import torch
from watchword.models import cores
from watchword.models.cores import Neighbours
from watchword.models.threads import sharing_cores
cores.cores, cores._FRESH = (lambda: 4), 0.0
torch.set_num_threads({most})
cpu, seen = torch.device("cpu"), []
"""
SIDE_BY_SIDE = """
with sharing_cores(cpu) as adjust:
    seen.append(torch.get_num_threads())
    with Neighbours().present():
        adjust()
        seen.append(torch.get_num_threads())
    adjust()
    seen.append(torch.get_num_threads())
    with Neighbours().present():
        adjust()
seen.append(torch.get_num_threads())
print(seen)
"""


def threads(code: str, cache: Path, most: int, **environment: str) -> str:
    clean = {name: value for name, value in os.environ.items() if name != "OMP_NUM_THREADS"}
    done = subprocess.run(
        [sys.executable, "-c", START.format(most=most) + code],
        env=clean | {"WATCHWORD_CACHE": str(cache)} | environment,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_threads_are_given_to_another_and_taken_back(tmp_path: Path) -> None:
    assert threads(SIDE_BY_SIDE, tmp_path, most=4) == "[4, 2, 4, 4]"


def test_no_more_threads_than_the_program_has_set(tmp_path: Path) -> None:
    assert threads(SIDE_BY_SIDE, tmp_path, most=1) == "[1, 1, 1, 1]"


def test_who_sets_the_number_of_threads_in_the_environment_has_it(tmp_path: Path) -> None:
    assert threads(SIDE_BY_SIDE, tmp_path, most=4, OMP_NUM_THREADS="4") == "[4, 4, 4, 4]"


def test_two_streams_that_overlap_give_all_threads_back(tmp_path: Path) -> None:
    code = """
with Neighbours().present():
    first, second = sharing_cores(cpu), sharing_cores(cpu)
    first.__enter__()
    second.__enter__()
    seen.append(torch.get_num_threads())
    first.__exit__(None, None, None)
    second.__exit__(None, None, None)
    seen.append(torch.get_num_threads())
print(seen)
"""
    assert threads(code, tmp_path, most=4) == "[2, 4]"


def test_an_accelerator_shares_nothing(tmp_path: Path) -> None:
    code = """
with sharing_cores(torch.device("meta")) as adjust, Neighbours().present():
    adjust()
    seen.append(torch.get_num_threads())
print(seen)
"""
    assert threads(code, tmp_path, most=4) == "[4]"
