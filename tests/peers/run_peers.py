"""Runs the tests of other trainers, each in an environment of its own with the versions of ``<peer>.lock``.

    python tests/peers/run_peers.py [trl axolotl llama_factory ms_swift ray]

An environment stands in ``.venv-peers/<peer>``. It sees the packages of the environment that calls this script, torch among
them, behind its own: what a peer wants in another version is installed there, and nowhere else. ``trl`` needs none.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import sysconfig
import time
import venv
from pathlib import Path

HERE = Path(__file__).parent
TESTS, ROOT = HERE.parents[0], HERE.parents[1]
PEERS = ("trl", *sorted(path.stem for path in HERE.glob("*.lock")))


def main(names: list[str]) -> int:
    """Sets up all environments, then runs the tests in each; stops at the first that fails."""
    for name in names:
        if name not in PEERS:
            print(f"no peer {name!r}; choose from {', '.join(PEERS)}", file=sys.stderr)
            return 2
    pythons = {name: Path(sys.executable) if name == "trl" else set_up(name) for name in names}
    for name, python in pythons.items():
        print(f"== {name}: {versions(name, python)}", flush=True)
        if failed := run_tests(name, python):
            return failed
    return 0


def set_up(peer: str) -> Path:
    """The Python of the peer's environment, made anew where its lock or ours has changed."""
    folder, lock = ROOT / ".venv-peers" / peer, HERE / f"{peer}.lock"
    python = folder / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
    made_from = lock.read_text("utf-8") + (ROOT / "requirements.lock").read_text("utf-8")
    ready = folder / "made-from.lock"
    if ready.exists() and ready.read_text("utf-8") == made_from:
        return python
    began = time.monotonic()
    shutil.rmtree(folder, ignore_errors=True)
    venv.create(folder)
    _see_packages_of_caller(folder, python)
    # Little of what is installed is ever imported, so that to compile all of it is in vain.
    install = [python, "-m", "pip", "install", "--quiet", "--quiet", "--no-compile", "--no-deps"]
    subprocess.run([*install, "--requirement", lock], check=True)
    ready.write_text(made_from, "utf-8")
    print(f"{peer}: set up in {time.monotonic() - began:.0f} s", flush=True)
    return python


def _see_packages_of_caller(folder: Path, python: Path) -> None:
    """Puts our packages (with pip) behind the environment's own, then the modules that stand in."""
    ask = "import sysconfig; print(sysconfig.get_path('purelib'))"
    own = subprocess.run([python, "-c", ask], check=True, capture_output=True, text=True).stdout.strip()
    lines = [f"import site; site.addsitedir({sysconfig.get_path('purelib')!r})", str(HERE / "stand_ins")]
    (Path(own) / "behind_our_own.pth").write_text("\n".join(lines) + "\n", "utf-8")


def versions(peer: str, python: Path) -> str:
    """What the environment holds of the peer itself and of what all of them stand on, Python first."""
    asked = (HERE / f"{peer}.in").read_text("utf-8") if peer != "trl" else "trl==1"
    names = re.findall(r"^([a-z-]+)\S*==", asked, re.MULTILINE)
    names = list(dict.fromkeys([*names, "torch", "transformers", "datasets"]))
    show = f"import platform, importlib.metadata as m; print(platform.python_version(), *map(m.version, {names}))"
    found = subprocess.run([python, "-c", show], check=True, capture_output=True, text=True).stdout.split()
    return ", ".join(f"{name} {version}" for name, version in zip(["Python", *names], found, strict=True))


def run_tests(peer: str, python: Path) -> int:
    """Pytest's exit status; 5, no test at all, is a failure like any other."""
    environment = {**os.environ, "WATCHWORD_PEERS": peer, "AXOLOTL_DO_NOT_TRACK": "1"}
    # The peer's own commands, and ours from where they always are: Axolotl cannot share typer with them.
    commands = [str(python.parent), sysconfig.get_path("scripts"), os.environ.get("PATH", "")]
    environment["PATH"] = os.pathsep.join(commands)
    # Files without a mark need not even be importable with a peer's versions.
    marked = [path for path in sorted(TESTS.rglob("test_*.py")) if "mark.peers(" in path.read_text("utf-8")]
    # Plugins that peers bring along are not written for our pytest.
    command = [python, "-m", "pytest", "--disable-plugin-autoload", "-p", "no:cacheprovider", *marked]
    return subprocess.run(command, cwd=ROOT, env=environment, check=False).returncode


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:] or list(PEERS)))
