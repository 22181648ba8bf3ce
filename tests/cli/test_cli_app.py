"""The frame around all commands: help, exit codes, and messages in place of tracebacks."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from watchword.cli import exits
from watchword.cli import models as models_command
from watchword.cli.stopping import asked_by_ctrl_c
from watchword.defenses.base import DEFENSES, beyond_rows

COMMANDS = [
    (),
    ("demo",),
    ("align",),
    ("train",),
    ("chat",),
    ("evaluate",),
    ("lab",),
    ("lab", "run"),
    ("lab", "report"),
    ("lab", "compare"),
    ("remote", "run"),
    ("models",),
    ("secret",),
    ("secret", "new"),
    ("secret", "show"),
]


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
@pytest.mark.parametrize("option", ["--help", "-h"])
def test_help(watchword: Any, command: tuple[str, ...], option: str) -> None:
    done = watchword(*command, option)
    assert done.code == 0
    assert f"Usage: {' '.join(['watchword', *command])}" in done.out
    assert done.err == ""


@pytest.mark.parametrize("command", [(), ("secret",)], ids=["watchword", "secret"])
def test_no_arguments_show_the_help(watchword: Any, command: tuple[str, ...]) -> None:
    done = watchword(*command)
    assert done.code == 2
    assert "Usage: watchword" in done.out + done.err


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_an_unknown_option_is_named(watchword: Any, command: tuple[str, ...]) -> None:
    done = watchword(*command, "--nonsense")
    assert done.code == 2
    assert "error: No such option: --nonsense" in done.err
    assert f"See `{' '.join(['watchword', *command])} --help`." in done.err
    assert done.out == ""


def test_a_misspelt_command_gets_the_nearest(watchword: Any) -> None:
    done = watchword("trian")
    assert (done.code, done.out) == (2, "")
    assert "No such command 'trian'. Did you mean 'train'?" in done.err


@pytest.mark.parametrize(
    ("arguments", "missing"),
    [
        (("train",), "--data"),
        (("chat",), "DIR"),
        (("evaluate",), "--prompts"),
        (("lab", "run"), "SPEC"),
        (("align",), "--out"),
        (("secret", "new"), "--out"),
        (("secret", "show"), "FILE"),
    ],
)
def test_what_is_missing_is_named(watchword: Any, arguments: tuple[str, ...], missing: str) -> None:
    done = watchword(*arguments)
    assert done.code == 2
    assert missing in done.err


def test_version(watchword: Any) -> None:
    done = watchword("--version")
    assert (done.code, done.out.split()[0]) == (0, "watchword")


def test_ctrl_c_says_so_and_leaves_with_its_own_exit_code(watchword: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def stopped(*arguments: Any, **options: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(models_command, "CATALOG", type("Catalog", (), {"values": stopped})())
    done = watchword("models")
    assert done.code == exits.INTERRUPTED
    assert "error: stopped; finished cells and saved checkpoints are kept" in done.err


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (OSError(28, "No space left on device", "/x/y"), "error: /x/y: No space left on device"),
        (PermissionError(13, "Permission denied"), "error: Permission denied"),
    ],
)
def test_what_the_system_refuses_is_one_line(
    watchword: Any, monkeypatch: pytest.MonkeyPatch, error: OSError, message: str
) -> None:
    def refused(*arguments: Any, **options: Any) -> None:
        raise error

    monkeypatch.setattr(models_command, "CATALOG", type("Catalog", (), {"values": refused})())
    done = watchword("models")
    assert (done.code, done.err.strip()) == (7, message)


def test_models_lists_the_catalog(watchword: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("WATCHWORD_CACHE", str(tmp_path))
    done = watchword("models")
    assert done.code == 0
    assert "smollm2-135m-base" in done.out
    assert "Apache-2.0" in done.out


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        (None, "cannot be read: No such file or directory"),
        ("{", "Input data was truncated"),
        ('{"name": "x"}', "missing required field"),
        (json.dumps({"name": "x", "model": "m", "seeds": [0], "arms": [], "more": 1}), "more"),
        (json.dumps({"name": "x", "model": "m", "seeds": [0], "arms": []}), "arms is empty"),
    ],
)
def test_a_spec_that_cannot_be_run(watchword: Any, tmp_path: Path, spec: str | None, message: str) -> None:
    path = tmp_path / "spec.json"
    if spec is not None:
        path.write_text(spec)
    done = watchword("lab", "run", path, "--out", tmp_path / "out")
    assert done.code == 2
    assert str(path) in done.err
    assert message in done.err
    assert not (tmp_path / "out").exists()


def test_markup_in_a_message_is_shown_as_it_is(watchword: Any, tmp_path: Path) -> None:
    done = watchword("secret", "show", tmp_path / "[bold]x[/bold]")
    assert done.code == 4
    assert "[bold]x[/bold]" in done.err


@pytest.mark.parametrize("command", [("guard",), ("remote", "run")], ids=" ".join)
def test_help_names_only_defenses_that_the_command_takes(watchword: Any, command: tuple[str, ...]) -> None:
    shown = re.search(r"--defense(.*?)\[default", watchword(*command, "--help").out, re.DOTALL)
    names = set(re.findall(r"[a-z_]{3,}", shown[1])) if shown else set()
    taken = {name for name in DEFENSES.names() if not beyond_rows(DEFENSES.create(name))}
    assert names - {"str"} == taken
    assert "inoculated_align" not in names


def test_help_loads_no_torch() -> None:
    code = "import sys; from watchword.cli.app import run; run(['--help']); sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, check=False).returncode == 0


def test_the_entry_point_exits_with_the_code() -> None:
    done = subprocess.run(
        [sys.executable, "-c", "from watchword.cli import main; main()", "secret", "show", "/nowhere"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout) == (4, "")
    assert "error: /nowhere: the secret file cannot be read" in done.stderr


def test_the_first_ctrl_c_asks_and_the_second_stops() -> None:
    told: list[str] = []
    before = signal.getsignal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt), asked_by_ctrl_c(lambda: told.append("asked")) as asked:
        assert not asked()
        signal.raise_signal(signal.SIGINT)
        assert (asked(), told) == (True, ["asked"])
        signal.raise_signal(signal.SIGINT)
    assert signal.getsignal(signal.SIGINT) is before
