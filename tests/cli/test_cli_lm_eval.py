"""``watchword lab lm-eval``: lm-eval gets its own arguments untouched behind ours, and its refusals are one line."""

from __future__ import annotations

import sys
from collections.abc import Callable
from types import ModuleType
from typing import Any

import pytest

from watchword.lab.lm_eval import TASKS

ASKED = ["--model_args", "release=runs/a", "-tarc_challenge,mmlu", "-L", "5", "-oout/here", "--log_samples"]


@pytest.fixture
def lm_eval(monkeypatch: pytest.MonkeyPatch) -> Callable[[Callable[[], None]], None]:
    """Puts a command in lm-eval's place; the real one is asked in an environment of its own."""

    def put(command: Callable[[], None]) -> None:
        stands_in = ModuleType("lm_eval.__main__")
        stands_in.cli_evaluate = command  # type: ignore[attr-defined]
        monkeypatch.setitem(sys.modules, "lm_eval", ModuleType("lm_eval"))
        monkeypatch.setitem(sys.modules, "lm_eval.__main__", stands_in)
        monkeypatch.setitem(sys.modules, "watchword.lab.lm_eval.model", ModuleType("watchword.lab.lm_eval.model"))

    return put


def raised(error: Exception, module: str) -> Callable[[], None]:
    """A call that fails in a module of that name."""
    names: dict[str, Any] = {"__name__": module, "error": error}
    exec("def fail():\n    raise error", names)
    return names["fail"]


def test_arguments_go_through_behind_ours(watchword: Any, lm_eval: Any) -> None:
    told, before = list[list[str]](), sys.argv
    lm_eval(lambda: told.append(sys.argv))
    assert watchword("lab", "lm-eval", *ASKED).code == 0
    assert told == [["lm-eval", "run", "--model", "watchword", "--include_path", str(TASKS), *ASKED]]
    assert sys.argv is before


def test_its_refusal_of_arguments_is_one_line_and_its_own_failures_stay_whole(watchword: Any, lm_eval: Any) -> None:
    lm_eval(raised(ValueError("Tasks not found: ark"), "lm_eval.config.evaluate_config"))
    done = watchword("lab", "lm-eval", *ASKED)
    assert (done.code, done.err) == (2, "error: lm-eval: Tasks not found: ark\n")
    lm_eval(raised(ValueError("no such shape"), "lm_eval.evaluator"))
    with pytest.raises(ValueError, match="no such shape"):
        watchword("lab", "lm-eval", *ASKED)


@pytest.mark.parametrize("argument", ["--model", "-M", "-Mhf", "--model=hf", "--include_path"])
def test_another_model_is_refused(watchword: Any, lm_eval: Any, argument: str) -> None:
    lm_eval(lambda: pytest.fail("asked all the same"))
    done = watchword("lab", "lm-eval", argument, "hf")
    assert (done.code, done.err.partition(" is said by this command itself")[0]) == (2, f"error: {argument}")


def test_what_is_to_be_installed_is_said(watchword: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "lm_eval", None)
    done = watchword("lab", "lm-eval", *ASKED)
    assert (done.code, "install it with `pip install 'watchword[train,lm-eval]'`" in done.err) == (2, True)


def test_the_tasks_are_there() -> None:
    assert {path.name for path in TASKS.iterdir()} >= {"watchword_arc_challenge.yaml", "watchword_mmlu.yaml"}
