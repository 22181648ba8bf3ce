"""What is light stays light: the package, its command line and its fakes load no torch."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import watchword

ONLY_UNIX = ("fcntl", "resource", "pwd", "grp", "termios", "pty", "syslog")
CALLS = ("pread", "posix_fadvise", "POSIX_FADV_DONTNEED", "fchmod", "getuid", "sync", "O_NOFOLLOW", "sched_getaffinity")
HEAVY = ("torch", "transformers", "peft", "trl", "datasets", "accelerate", "ray")
SHOW = f"\nimport sys; print([name for name in {HEAVY!r} if name in sys.modules])"
# What loads torch or another package that itself needs some of these on Unix, or lm-eval, which is not there.
WITH_TORCH = tuple(
    f"watchword.{name}"
    for name in (
        "training",
        "models",
        "finetune",
        "lab.lm_eval.documents",
        "lab.lm_eval.model",
        "release.opening",
        "service.gate.inspection",
        "service.worker.tuning",
        "__main__",
    )
)
COMMAND = Path(sys.executable).with_name("watchword")


def heavy_after(code: str) -> str:
    """Which heavy packages a fresh process holds after ``code``, on its last line of output."""
    done = subprocess.run([sys.executable, "-c", code + SHOW], capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()[-1]


@pytest.mark.parametrize(
    "module",
    [
        "watchword",
        "watchword.cli",
        "watchword.cli.app",
        "watchword.chat.render",
        "watchword.secret.generate",
        "watchword.safety.selection",
        "watchword.attacks.base",
        "watchword.defenses.base",
        "watchword.judges.base",
        "watchword.benchmarks.base",
        "watchword.models.catalog",
        "watchword.models.fetch",
        "watchword.models.cores",
        "watchword.training.fakes",
        "watchword.finetune.launch.child",
        "watchword.models.answer",
        "watchword.models.facts",
        "watchword.models.fakes",
        "watchword.release.artifact",
        "watchword.release.reading",
    ],
)
def test_importing_loads_nothing_heavy(module: str) -> None:
    assert heavy_after(f"import {module}") == "[]"


def test_every_attack_defense_judge_and_benchmark_is_made_without_anything_heavy() -> None:
    code = (
        "from watchword.attacks.base import ATTACKS\nfrom watchword.defenses.base import DEFENSES\n"
        "from watchword.judges.base import JUDGES\nfrom watchword.benchmarks.base import BENCHMARKS\n"
        "from watchword.errors import UsageError\n"
        "for kind in (ATTACKS, DEFENSES, JUDGES, BENCHMARKS):\n"
        "    for name in kind.names():\n"
        "        try:\n            kind.create(name)\n"
        # Some need a file, and say so.
        "        except UsageError as error:\n            assert 'needs the argument' in str(error)"
    )
    assert heavy_after(code) == "[]"


@pytest.mark.parametrize("argument", ["--help", "--version"])
def test_the_command_line_answers_without_anything_heavy(argument: str) -> None:
    code = f"import sys\nfrom watchword.cli import main\nsys.argv = ['watchword', {argument!r}]\n"
    code += "try:\n    main()\nexcept SystemExit as end:\n    assert end.code == 0, end.code"
    assert heavy_after(code) == "[]"


def test_the_package_runs_as_a_module() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "watchword", "--version"], capture_output=True, text=True, check=True, timeout=60
    )
    assert done.stdout.startswith("watchword ")


def test_the_console_script_shows_every_command() -> None:
    done = subprocess.run([COMMAND, "--help"], capture_output=True, text=True, check=False, timeout=60)
    assert (done.returncode, done.stderr) == (0, "")
    for command in ("demo", "align", "train", "chat", "evaluate", "secret", "models"):
        assert f" {command} " in done.stdout


def test_the_library_is_inside_the_package() -> None:
    assert heavy_after("from watchword.safety.library import SPLITS, digest; assert len(digest()) == 64") == "[]"


def test_what_only_unix_has_is_not_needed() -> None:
    """A stand-in for macOS and Windows, on which this was not tried: without their modules and calls, all modules load."""
    code = f"""
import importlib, os, pkgutil, signal, sys
for name in {ONLY_UNIX!r}:
    sys.modules[name] = None
import subprocess, tempfile
for module, names in ((os, {CALLS!r}), (signal, ["SIGHUP"])):
    for name in names:
        if hasattr(module, name):
            delattr(module, name)
import watchword
for found in pkgutil.walk_packages(watchword.__path__, "watchword."):
    if not found.name.startswith({WITH_TORCH!r}):
        importlib.import_module(found.name)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stderr


def test_no_module_imports_what_only_unix_has() -> None:
    """Of those as well that load torch, which itself needs some of it here."""
    root = Path(watchword.__file__).parent
    named = {
        name.split(".")[0]
        for path in root.rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text("utf-8")))
        for name in (
            [alias.name for alias in node.names]
            if isinstance(node, ast.Import)
            else [node.module or ""]
            if isinstance(node, ast.ImportFrom)
            else []
        )
    }
    assert named & set(ONLY_UNIX) == set()
