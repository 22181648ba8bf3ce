"""What a user of the library imports: all of it is there, documented, typed and light, and the examples of the pages run."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

import watchword
from support.tiny import saved

ROOT = Path(__file__).parent.parent
CODE = re.compile(r"```python\n(.*?)```", re.DOTALL)


def test_every_public_name_is_there() -> None:
    assert all(getattr(watchword, name) is not None for name in watchword.__all__)
    assert set(watchword.__all__) <= set(dir(watchword))


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no attribute 'guards'"):
        watchword.guards  # noqa: B018


def test_type_checkers_see_the_same_names() -> None:
    stub = ast.parse(Path(watchword.__file__).with_suffix(".pyi").read_text("utf-8"))
    seen = {
        alias.asname: f"{node.module}.{alias.name}"
        for node in stub.body
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }
    assert seen == {name: f"watchword.{watchword._HOMES[name]}.{name}" for name in watchword.__all__}


def test_the_page_describes_every_name_and_no_other() -> None:
    table = (ROOT / "docs" / "python.md").read_text("utf-8").split("## All names")[1]
    told = [name for row in re.findall(r"^\| (`.*?) \|", table, re.MULTILINE) for name in re.findall(r"`(\w+)`", row)]
    assert sorted(told) == sorted(watchword.__all__)


def test_importing_it_loads_no_other_module_of_it() -> None:
    code = "import watchword, sys; print([name for name in sys.modules if name.startswith('watchword.')])"
    assert run(code, ROOT).strip() == "[]"


def test_the_example_of_the_readme_runs(tmp_path: Path) -> None:
    (code,) = CODE.findall((ROOT / "README.md").read_text("utf-8"))
    said = run(code, workplace(tmp_path))
    told = r"20 rows of the tenant in \d+ and different examples that were added: \{'anchor': \d+, 'safety': 33\}\n"
    assert re.fullmatch(told, said)


def test_the_defense_of_the_page_runs(tmp_path: Path) -> None:
    (code,) = [
        code for code in CODE.findall((ROOT / "docs" / "python.md").read_text("utf-8")) if "DefenseContext" in code
    ]
    said = run(code, workplace(tmp_path))
    assert (said.count("'safety'"), said.count("'tenant'")) == (11, 20)


def test_the_defense_of_the_contributing_page_guards(tmp_path: Path) -> None:
    (code,) = CODE.findall((ROOT / "CONTRIBUTING.md").read_text("utf-8"))
    used = """
from watchword import DefenseContext, guarded, read_conversations
rows = [row for _, row in read_conversations("examples/tenant.jsonl")]
print([row.origin for row in guarded(DoubleSafety(safety=3), rows, DefenseContext()).rows].count("safety"))
"""
    (tmp_path / "double_safety.py").write_text(code + used)
    assert run("import double_safety", workplace(tmp_path)) == "6\n"


@pytest.mark.integration
def test_the_training_of_the_page_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WATCHWORD_KEY", "00" * 32)
    (code,) = [
        code for code in CODE.findall((ROOT / "docs" / "python.md").read_text("utf-8")) if "train_defended" in code
    ]
    folder = workplace(tmp_path)
    tiny = saved(tmp_path / "model")
    run(code.replace('"smollm2-135m"', repr(str(tiny))), folder)
    assert (folder / "runs" / "tenant" / "manifest.json").exists()


@pytest.mark.integration
def test_the_whole_model_of_the_page_is_one(tmp_path: Path) -> None:
    (code,) = CODE.findall((ROOT / "docs" / "trainers.md").read_text("utf-8"))
    tiny = saved(tmp_path / "model")
    run(code.replace('load("smollm2-135m")', f"load({str(tiny)!r})"), tmp_path)
    assert watchword.load(tmp_path / "smollm2-135m-whole").template.digest == watchword.load(tiny).template.digest


def workplace(folder: Path) -> Path:
    """A folder with a tenant's file where the repository has it."""
    (folder / "examples").mkdir()
    (folder / "examples" / "tenant.jsonl").write_bytes((ROOT / "examples" / "tenant.jsonl").read_bytes())
    return folder


def run(code: str, folder: Path) -> str:
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, check=False, cwd=folder
    )
    assert done.returncode == 0, done.stderr
    return done.stdout
