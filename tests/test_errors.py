"""The exception tree in the docstring is the one in the code, and a data error says where."""

from __future__ import annotations

import inspect
import pickle
import re
from pathlib import Path

import pytest

from watchword import errors
from watchword.errors import DataError, RowTooLongError, WatchwordError

CLASSES = {
    name: member for name, member in vars(errors).items() if inspect.isclass(member) and issubclass(member, Exception)
}


def test_the_tree_in_the_docstring_is_the_one_in_the_code() -> None:
    drawn: dict[str, str] = {}
    above = ["WatchwordError"]
    for line in (errors.__doc__ or "").splitlines():
        found = re.match(r"    (?P<indent>[ │├└─]*)(?P<name>\w+Error)\b", line)
        if not found:
            continue
        depth = len(found["indent"]) // 4
        above[depth:] = [found["name"]]
        drawn[found["name"]] = above[depth - 1] if depth else "Exception"
    assert drawn == {name: kind.__bases__[0].__name__ for name, kind in CLASSES.items()}


@pytest.mark.parametrize("kind", CLASSES.values(), ids=CLASSES)
def test_every_error_has_an_exit_code_of_its_branch_and_a_docstring(kind: type[WatchwordError]) -> None:
    assert 1 <= kind.exit_code <= 7
    assert kind.__doc__
    codes = {branch: branch.exit_code for branch in CLASSES.values() if branch.__bases__ == (WatchwordError,)}
    assert len(set(codes.values())) == len(codes)
    assert all(kind.exit_code == code for branch, code in codes.items() if issubclass(kind, branch))


@pytest.mark.parametrize(
    ("place", "text"),
    [
        ({}, "it is cut off; end it"),
        ({"path": "a.jsonl"}, "a.jsonl: it is cut off; end it"),
        ({"path": Path("a.jsonl"), "line": 3}, "a.jsonl, line 3: it is cut off; end it"),
        ({"line": 3, "field": "messages[0].role"}, "line 3, messages[0].role: it is cut off; end it"),
    ],
)
def test_a_data_error_says_where(place: dict[str, object], text: str) -> None:
    error = DataError("it is cut off; end it", **place)
    assert str(error) == text
    assert error.problem == "it is cut off; end it"
    assert (error.path, error.line, error.field) == tuple(place.get(key) for key in ("path", "line", "field"))


def test_a_data_error_says_the_same_after_it_came_from_another_process() -> None:
    error = RowTooLongError("the row is too long", path="a.jsonl", line=3, field="messages")
    again = pickle.loads(pickle.dumps(error))
    assert (str(again), again.line, again.field, again.path) == (str(error), 3, "messages", "a.jsonl")
