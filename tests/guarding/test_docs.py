"""The commands in the pages give what the pages show. WATCHWORD_UPDATE_DOCS=1 writes the pages anew."""

from __future__ import annotations

import os
import re
import shlex
from pathlib import Path

import pytest

from watchword.cli import app as cli
from watchword.cli import guard, validate

pytestmark = pytest.mark.integration
ROOT = Path(__file__).parents[2]
BLOCK = re.compile(r"```console\n\$ (?P<command>[^\n]+)\n(?P<shown>.*?)```\n", re.DOTALL)
PAGES = [page for page in sorted((ROOT / "docs").glob("*.md")) if BLOCK.search(page.read_text("utf-8"))]


@pytest.fixture
def workplace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with the examples in it, a provider's key, and the commands at hand."""
    (tmp_path / "examples").symlink_to(ROOT / "examples")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("WATCHWORD_KEY", "00" * 32)
    known = {command.name for command in cli.app.registered_commands}
    for name, group in (("guard", guard), ("validate", validate)):
        if name not in known:
            group.register(cli.app)
    return tmp_path


def output(command: str, capfd: pytest.CaptureFixture[str]) -> str:
    """What the command prints; a secret's fingerprint is another each time."""
    program, *arguments = shlex.split(command)
    assert program == "watchword"
    cli.run(arguments)
    shown = capfd.readouterr()
    return re.sub(r"\b[0-9a-f]{16}\b", "0123456789abcdef", shown.out + shown.err)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_command_prints_what_the_page_shows(
    page: Path, workplace: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    text = page.read_text("utf-8")
    blocks = list(BLOCK.finditer(text))
    got = {block["command"]: output(block["command"], capfd) for block in blocks}
    if os.environ.get("WATCHWORD_UPDATE_DOCS"):
        whole = BLOCK.sub(lambda block: f"```console\n$ {block['command']}\n{got[block['command']]}```\n", text)
        page.write_text(whole, "utf-8")
        return
    assert {block["command"]: block["shown"] for block in blocks} == got


def test_the_commands_of_the_guard_are_shown() -> None:
    shown = BLOCK.findall((ROOT / "docs" / "guard.md").read_text("utf-8"))
    assert len(shown) >= 5
