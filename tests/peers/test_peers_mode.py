"""Where tests of peers run: left out by ``make test``, alone where WATCHWORD_PEERS names them, and never skipped there."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import run_peers

CONFTEST = Path(__file__).parents[1] / "conftest.py"
TESTS = """
import pytest

@pytest.mark.peers("axolotl")
def test_of_a_peer():
    assert True

@pytest.mark.peers("ray")
def test_of_an_absent_peer():
    import no_such_peer

@pytest.mark.peers("ms_swift")
def test_that_skips():
    pytest.importorskip("no_such_peer")

@pytest.mark.peers("trl")
def test_of_what_comes_with_us():
    assert True

def test_of_ours():
    assert True
"""
SKIPPING_MODULE = "import pytest\npytest.importorskip('no_such_peer')\n"


def pytest_says(folder: Path, peers: str, *files: str) -> str:
    """Pytest's last line, for these tests under our conftest."""
    shutil.copy(CONFTEST, folder)
    (folder / "pytest.ini").write_text("[pytest]\nmarkers = peers\n")
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "--disable-plugin-autoload", *files]
    environment = {**os.environ, "WATCHWORD_PEERS": peers}
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    return done.stdout.splitlines()[-1]


@pytest.mark.parametrize(
    ("peers", "summary"),
    [
        ("", "2 passed, 3 deselected"),
        ("axolotl", "1 passed, 4 deselected"),
        ("trl axolotl", "2 passed, 3 deselected"),
        ("ray", "1 failed, 4 deselected"),
        ("ms_swift", "1 failed, 4 deselected"),
    ],
)
def test_which_tests_run(tmp_path: Path, peers: str, summary: str) -> None:
    (tmp_path / "test_it.py").write_text(TESTS)
    assert summary in pytest_says(tmp_path, peers)


@pytest.mark.parametrize(("peers", "summary"), [("", "1 skipped"), ("axolotl", "1 error")])
def test_a_module_that_skips(tmp_path: Path, peers: str, summary: str) -> None:
    (tmp_path / "test_it.py").write_text(SKIPPING_MODULE)
    assert summary in pytest_says(tmp_path, peers)


def test_a_machine_without_node_may_skip_what_needs_it(tmp_path: Path) -> None:
    test = "import pytest\n@pytest.mark.peers('vllm')\ndef test_it():\n    pytest.skip('no node on this machine: npm is missing')\n"
    (tmp_path / "test_it.py").write_text(test)
    assert "1 skipped" in pytest_says(tmp_path, "vllm")


def test_a_misspelt_peer_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert run_peers.main(["axolotel"]) == 2
    assert (
        "choose from trl, axolotl, llama_cpp, llama_factory, lm_eval, ms_swift, ray, schemathesis, transformers_serve, vllm"
        in capsys.readouterr().err
    )


def test_a_peer_that_fails_is_the_last_of_its_lane_and_fails_the_whole(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    ran = []

    def run_tests(peer: str, python: Path, shared: Path) -> tuple[int, str]:
        ran.append(peer)
        return 5 * (peer == "ray"), f"the tests of {peer}\n"

    monkeypatch.setattr(run_peers, "set_up", Path)
    monkeypatch.setattr(run_peers, "versions", lambda peer, python: "")
    monkeypatch.setattr(run_peers, "make_releases", lambda folder: None)
    monkeypatch.setattr(run_peers, "run_tests", run_tests)
    assert run_peers.main(["trl", "ray", "axolotl", "llama_cpp", "vllm"]) == 5
    assert sorted(ran) == ["llama_cpp", "ray", "trl", "vllm"]
    told = capsys.readouterr().out
    assert told.count("the tests of trl") == told.count("the tests of vllm") == 1
    assert told.endswith("== what failed:\nthe tests of ray\n")


def test_environments_can_be_made_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    made = []
    monkeypatch.setattr(run_peers, "set_up", lambda name: made.append(name) or Path(name))
    monkeypatch.setattr(run_peers, "run_lane", lambda *_: pytest.fail("a test was run"))
    assert run_peers.main([run_peers.SET_UP, "ray", "trl"]) == 0
    assert run_peers.main([run_peers.SET_UP]) == 0
    assert made == ["ray", *(name for name in run_peers.PEERS if name != "trl")]


def test_releases_are_made_once_and_for_engines_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    made, seen = [], []
    monkeypatch.setattr(run_peers, "set_up", Path)
    monkeypatch.setattr(run_peers, "versions", lambda peer, python: "")
    monkeypatch.setattr(run_peers, "make_releases", made.append)
    monkeypatch.setattr(run_peers, "run_tests", lambda peer, python, shared: (seen.append(shared) or 0, ""))
    assert run_peers.main(["trl", "ray"]) == 0
    assert made == []
    assert run_peers.main(["ray", "vllm", "llama_cpp"]) == 0
    assert made == seen[-1:] == seen[-2:-1]
    assert not made[0].exists()
