"""Where anything at all may be caught: only at named boundaries, to foreign code that raises whatever it likes."""

from __future__ import annotations

import ast
from pathlib import Path

import watchword

SOURCE = Path(watchword.__file__).parent
BROAD = ("Exception", "BaseException")
# Each turns what a foreign library raises into an error of ours.
BOUNDARIES = {
    "chat/template.py": 1,  # tokenizers
    "files/remote.py": 4,  # file systems of fsspec
    "finetune/launch/_ray_driver.py": 2,  # whatever a training on a cluster ends with
    "gateway/app.py": 1,  # whatever fails while a call is answered
    "gateway/middleware.py": 1,  # whatever fails in the application behind it
    "models/adapted.py": 1,  # PEFT
    "models/batching.py": 1,  # whatever fails at one row of many
    "models/hub.py": 1,  # the hub's client
    "models/load.py": 2,  # transformers, PEFT
    "registry.py": 1,  # modules of other packages
    "service/api/edge.py": 1,  # whatever fails while a call is answered
    "service/engine/app.py": 1,  # whatever fails while a request is answered
    "service/engine/scheduler.py": 3,  # whatever fails while models compute
    "service/worker/child.py": 1,  # whatever fails in a job
    "service/worker/loop.py": 1,  # whatever fails around a job
}


def handlers(path: Path) -> list[ast.ExceptHandler]:
    """What catches everything and does not raise the very same again."""
    found = (node for node in ast.walk(ast.parse(path.read_text("utf-8"))) if isinstance(node, ast.ExceptHandler))
    return [node for node in found if _broad(node.type) and not _raises_again(node)]


def _broad(caught: ast.expr | None) -> bool:
    names = caught.elts if isinstance(caught, ast.Tuple) else [caught]
    return any(name is None or (isinstance(name, ast.Name) and name.id in BROAD) for name in names)


def _raises_again(handler: ast.ExceptHandler) -> bool:
    last = handler.body[-1]
    return isinstance(last, ast.Raise) and last.exc is None


def test_everything_is_caught_at_named_boundaries_only() -> None:
    found = {path.relative_to(SOURCE).as_posix(): len(handlers(path)) for path in SOURCE.rglob("*.py")}
    assert {name: count for name, count in found.items() if count} == BOUNDARIES


def test_each_boundary_says_so() -> None:
    for name in BOUNDARIES:
        lines = (SOURCE / name).read_text("utf-8").splitlines()
        assert all("boundary" in lines[handler.lineno - 1] for handler in handlers(SOURCE / name))
