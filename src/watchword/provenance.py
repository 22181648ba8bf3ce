"""On what a result was made: versions, code revision, machine. Imports none of the packages that it names."""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

PACKAGES = ("watchword", "torch", "transformers", "trl", "peft", "tokenizers")


def versions() -> dict[str, str | int]:
    """Python, packages, code revision, platform, processor; what cannot be known is left out."""
    found: dict[str, str | int | None] = {
        "python": platform.python_version(),
        **{name: _version(name) for name in PACKAGES},
        "revision": revision(),
        "platform": f"{platform.system()} {platform.machine()}",
        "cpu": _cpu(),
        "cpu_count": os.cpu_count(),
        "gpu": _gpu(),
    }
    return {name: value for name, value in found.items() if value}


def revision() -> str | None:
    """The git commit of this code, with ``+changes`` where the checkout differs from it; None outside a checkout."""
    here = Path(__file__)
    # A virtual environment often lies inside somebody's repository: only a tracked file speaks of our own revision.
    if _git(here.parent, "ls-files", "--error-unmatch", here.name) is None:
        return None
    commit, changed = _git(here.parent, "rev-parse", "HEAD"), _git(here.parent, "status", "--porcelain", "--", ":/src")
    return f"{commit}+changes" if commit and changed else commit


def _git(folder: Path, *arguments: str) -> str | None:
    program = shutil.which("git")
    if program is None:
        return None
    try:
        done = subprocess.run(  # noqa: S603
            [program, "-C", str(folder), *arguments], capture_output=True, text=True, check=True, timeout=10
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip()


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _cpu() -> str:
    return _field(Path("/proc/cpuinfo"), "model name") or platform.processor()


def _gpu() -> str | None:
    files = sorted(Path("/proc/driver/nvidia/gpus").glob("*/information"))
    names = [name for path in files if (name := _field(path, "Model"))]
    return ", ".join(names) or None


def _field(path: Path, name: str) -> str | None:
    """The value of the first ``name : value`` line of one of the kernel's text files."""
    try:
        lines = path.read_text(errors="replace").splitlines()
    except OSError:
        return None
    return next((line.partition(":")[2].strip() for line in lines if line.startswith(name)), None)
