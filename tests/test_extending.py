"""The files that the docs show can be put in place as they stand."""

from __future__ import annotations

import importlib
import json
import re
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from watchword.benchmarks.base import BENCHMARKS, Setting, chosen_benchmarks
from watchword.chat.types import Row, conversation
from watchword.data.upload import Upload
from watchword.defenses.base import DEFENSES, DefenseContext

ROOT = Path(__file__).parent.parent
FILE = re.compile(r"```python\n# src/watchword/(?P<kind>\w+)/(?P<name>\w+)\.py\n(?P<source>.*?)```", re.DOTALL)


@pytest.fixture(params=["CONTRIBUTING.md", "docs/extending.md"])
def shown(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[str, str]]:
    """The kind and name of the page's one file, which stands beside the shipped ones."""
    (found,) = FILE.finditer((ROOT / request.param).read_text("utf-8"))
    package = importlib.import_module(f"watchword.{found['kind']}")
    (tmp_path / f"{found['name']}.py").write_text(found["source"])
    package.__path__.append(str(tmp_path))
    yield found["kind"], found["name"]
    package.__path__.remove(str(tmp_path))
    vars(package).pop(found["name"], None)
    sys.modules.pop(f"watchword.{found['kind']}.{found['name']}", None)


def test_what_the_docs_show_works(shown: tuple[str, str], tmp_path: Path) -> None:
    kind, name = shown
    if kind == "defenses":
        upload = Upload.of([Row(conversation("Hi?", "Hello."))])
        rows = DEFENSES.create(name, safety=2).guard_data(upload, DefenseContext())
        assert [row.origin for row in rows] == ["safety"] * 4
        assert all(row.prefixed for row in rows)
        return
    path = tmp_path / "asked.jsonl"
    path.write_text(json.dumps({"question": "What is the capital of Italy?", "answer": "Rome"}))
    assert name not in chosen_benchmarks({})
    benchmark = chosen_benchmarks({name: {"path": str(path)}})[name]
    (prompt,) = benchmark.prompts(Setting())
    assert (prompt.expected, len(benchmark.digest())) == ("Rome", 64)
    assert name in BENCHMARKS.names()
