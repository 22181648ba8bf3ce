"""Runs the tests of other trainers, of serving engines and of lm-eval, each in an environment with the versions of ``<peer>.lock``.

    python tests/peers/run_peers.py [--set-up] [trl axolotl llama_cpp llama_factory lm_eval ms_swift ray transformers_serve vllm]

Engines serve releases that are trained once for all of them, in the environment that calls this. An environment stands in
``.venv-peers/<peer>``. It sees the packages of the environment that calls this script, torch among them, behind its own: what
a peer wants in another version is installed there, and nowhere else. ``trl`` needs none. ``--set-up`` makes them and runs nothing.

Engines and all others run side by side: the one waits much, for servers, and the others train. What a peer's tests say
is shown when they have ended.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import sysconfig
import tempfile
import time
import venv
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

HERE = Path(__file__).parent
TESTS, ROOT = HERE.parents[0], HERE.parents[1]
PEERS = ("trl", *sorted(path.stem for path in HERE.glob("*.lock")))
# llama.cpp is compiled: what reads pictures is left out, and threads that wait for each other are, too.
BUILDING = {"CMAKE_ARGS": "-DLLAVA_BUILD=OFF -DGGML_OPENMP=OFF", "CMAKE_BUILD_PARALLEL_LEVEL": str(os.cpu_count() or 1)}
ENGINES = {"llama_cpp", "transformers_serve", "vllm"}


SET_UP = "--set-up"


def main(told: list[str]) -> int:
    """Sets up all environments, then runs the tests in each. Gives the first status that is none of success."""
    names = [name for name in told if name != SET_UP] or list(PEERS)
    for name in names:
        if name not in PEERS:
            print(f"no peer {name!r}; choose from {', '.join(PEERS)}", file=sys.stderr)
            return 2
    pythons = {name: Path(sys.executable) if name == "trl" else set_up(name) for name in names}
    if SET_UP in told:
        return 0
    lanes = [[name for name in names if (name in ENGINES) is engines] for engines in (True, False)]
    with tempfile.TemporaryDirectory(prefix="watchword-peers-") as shared, ThreadPoolExecutor(len(lanes)) as pool:
        ended = list(pool.map(lambda lane: run_lane(lane, pythons, Path(shared)), lanes))
    failed = [(status, said) for status, said in ended if status]
    if not failed:
        return 0
    # Once more, where it cannot be overlooked.
    print("== what failed:", "".join(said for _, said in failed), sep="\n", end="", flush=True)
    return failed[0][0]


def run_lane(names: list[str], pythons: dict[str, Path], shared: Path) -> tuple[int, str]:
    """Runs peers one after another, up to the first that fails. Gives the last one's status, and what it said."""
    status, said = 0, ""
    if ENGINES & set(names):
        make_releases(shared)
    for name in names:
        began = time.monotonic()
        status, said = run_tests(name, pythons[name], shared)
        title = f"== {name}: {versions(name, pythons[name])}, {time.monotonic() - began:.0f} s"
        print(title, said, sep="\n", end="", flush=True)
        if status:
            break
    return status, said


def make_releases(folder: Path) -> None:
    """Trains what engines serve, with ``made_releases.py``."""
    began = time.monotonic()
    subprocess.run([sys.executable, HERE / "made_releases.py", folder], cwd=ROOT, check=True)
    print(f"releases: made in {time.monotonic() - began:.0f} s", flush=True)


def set_up(peer: str) -> Path:
    """The Python of the peer's environment, made anew where its lock or ours has changed."""
    folder, lock = ROOT / ".venv-peers" / peer, HERE / f"{peer}.lock"
    python = folder / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
    more = HERE / f"{peer}_set_up.py"
    parts = [path for path in (lock, ROOT / "requirements.lock", more) if path.exists()]
    made_from = "".join(path.read_text("utf-8") for path in parts)
    ready = folder / "made-from.lock"
    if ready.exists() and ready.read_text("utf-8") == made_from:
        return python
    began = time.monotonic()
    shutil.rmtree(folder, ignore_errors=True)
    venv.create(folder)
    _see_packages_of_caller(folder, python)
    # Little of what is installed is ever imported, so that to compile all of it is in vain.
    install = [python, "-m", "pip", "install", "--quiet", "--quiet", "--no-compile", "--no-deps"]
    subprocess.run([*install, "--requirement", lock], check=True, env={**os.environ, **BUILDING})
    if more.exists():
        subprocess.run([python, more], check=True)
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


def run_tests(peer: str, python: Path, shared: Path) -> tuple[int, str]:
    """Pytest's exit status (5, no test at all, is a failure, too) and what it said. ``shared`` holds what engines serve."""
    environment = {**os.environ, "WATCHWORD_PEERS": peer, "AXOLOTL_DO_NOT_TRACK": "1"}
    environment["WATCHWORD_PEER_RELEASES"] = str(shared)
    # The peer's own commands, and ours from where they always are: Axolotl cannot share typer with them.
    commands = [str(python.parent), sysconfig.get_path("scripts"), os.environ.get("PATH", "")]
    environment["PATH"] = os.pathsep.join(commands)
    # Files without a mark for this peer need not even be importable with its versions.
    marked = [path for path in sorted(TESTS.rglob("test_*.py")) if _concerns(peer, path.read_text("utf-8"))]
    # Plugins that peers bring along are not written for our pytest.
    command = [python, "-m", "pytest", "--disable-plugin-autoload", "-p", "no:cacheprovider", *marked]
    # A file, and no pipe: that would end with the last server that a test has left behind.
    with tempfile.TemporaryFile() as said:
        done = subprocess.run(command, cwd=ROOT, env=environment, check=False, stdout=said, stderr=subprocess.STDOUT)
        said.seek(0)
        return done.returncode, said.read().decode("utf-8", "replace")


def _concerns(peer: str, source: str) -> bool:
    """Whether a test file has a mark for the peer, or one whose name is not written out."""
    marks = re.findall(r"mark\.peers\(([^)]*)\)", source)
    return any(mark.strip("\"'") == peer or mark.strip("\"'") not in PEERS for mark in marks)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
