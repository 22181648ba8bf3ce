"""The error tree is the one in the docstring and in docs/errors.md; codes are stable; an error says where."""

from __future__ import annotations

import inspect
import pickle
import re
from collections.abc import Callable
from pathlib import Path

import pytest

from watchword import errors
from watchword.cli.exits import INTERRUPTED, STATUSES, exit_status
from watchword.data.formats.base import FORMATS
from watchword.data.limits import Limits
from watchword.data.rows import read_conversations
from watchword.defenses.base import DEFENSES
from watchword.errors import DataError, OutputError, RowTooLongError, TrainingCancelledError, WatchwordError
from watchword.files.atomic import check_writable
from watchword.files.locks import locked
from watchword.lab.spec import Spec
from watchword.models.base import GenerationOptions
from watchword.models.catalog import resolve
from watchword.models.facts import check_length, facts_of
from watchword.release.artifact import read_manifest
from watchword.secret.prompt import SecretPrompt
from watchword.secret.vault import read_secret_file, write_secret_file
from watchword.training.config import TrainingConfig

CLASSES = {
    name: member for name, member in vars(errors).items() if inspect.isclass(member) and issubclass(member, Exception)
}
PAGE = Path(__file__).parents[1] / "docs" / "errors.md"
# Programs compare these. Add a line for a new error; never change or remove one.
CODES = {
    "AuditError": "audit_broken",
    "CallError": "call_failed",
    "ConflictError": "state_conflict",
    "DataError": "invalid_data",
    "DatabaseError": "database_unusable",
    "DivergedError": "training_diverged",
    "EmptyFileError": "empty_file",
    "KeyServiceError": "key_service_away",
    "LeaseLostError": "lease_lost",
    "LostRowError": "provider_row_lost",
    "ModelError": "model_unusable",
    "ModelUnavailableError": "model_unavailable",
    "NotFoundError": "not_found",
    "OutputError": "output_failed",
    "OutputInUseError": "output_in_use",
    "PublishedSecretError": "secret_published",
    "QuotaError": "quota_exceeded",
    "RemoteError": "remote_failed",
    "RepeatedKeyError": "idempotency_key_reused",
    "RowTemplateError": "row_not_in_template",
    "RowTooLongError": "row_too_long",
    "SecretCollisionError": "secret_collision",
    "SecretError": "secret_unusable",
    "ServiceError": "service_failed",
    "SpecError": "invalid_spec",
    "StoreError": "store_unusable",
    "TemplateError": "template_unsuitable",
    "TemplateLacksError": "kind_not_in_template",
    "TrainingCancelledError": "training_cancelled",
    "TrainingError": "training_failed",
    "UnknownNameError": "unknown_name",
    "UnsealError": "unseal_failed",
    "UsageError": "invalid_argument",
    "WatchwordError": "failed",
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


def test_each_class_has_a_code_of_its_own_that_stays() -> None:
    assert {name: vars(kind)["code"] for name, kind in CLASSES.items()} == CODES
    assert len(set(CODES.values())) == len(CODES)
    assert all(re.fullmatch(r"[a-z]+(_[a-z]+)*", code) for code in CODES.values())


@pytest.mark.parametrize("kind", CLASSES.values(), ids=CLASSES)
def test_every_error_has_the_exit_status_of_its_branch_and_a_docstring(kind: type[WatchwordError]) -> None:
    branches = {branch: exit_status(branch("")) for branch in CLASSES.values() if branch.__bases__ == (WatchwordError,)}
    assert sorted(branches.values()) == [2, 3, 4, 5, 6, 7, 8, 9, 10]
    # Whoever cancels a training has interrupted it, by Ctrl-C at a terminal.
    branches = {TrainingCancelledError: INTERRUPTED, **branches}
    assert exit_status(kind("")) == next((status for branch, status in branches.items() if issubclass(kind, branch)), 1)
    assert set(STATUSES) == {WatchwordError, *branches}
    assert kind.__doc__


def test_errors_know_nothing_of_the_command_line() -> None:
    assert not [name for kind in CLASSES.values() for name in vars(kind) if "exit" in name or "flag" in name]


def test_the_page_lists_each_error_with_its_code_and_exit_status() -> None:
    rows = re.findall(r"^\| `(\w+)` \| `(\w+Error)` \| (\d+) \| ([^|]+) \| ([^|]+) \|$", PAGE.read_text("utf-8"), re.M)
    listed = {name: (code, int(status)) for code, name, status, *_ in rows}
    assert len(listed) == len(rows)
    assert listed == {name: (kind.code, exit_status(kind(""))) for name, kind in CLASSES.items()}


@pytest.mark.parametrize(
    ("place", "text"),
    [
        ({}, "it is cut off; end it"),
        ({"path": "a.jsonl"}, "a.jsonl: it is cut off; end it"),
        ({"path": Path("a.jsonl"), "line": 3}, "a.jsonl, line 3: it is cut off; end it"),
        ({"line": 3, "field": "messages[0].role"}, "line 3, messages[0].role: it is cut off; end it"),
    ],
)
@pytest.mark.parametrize("kind", [DataError, OutputError])
def test_an_error_says_where(kind: type[WatchwordError], place: dict[str, object], text: str) -> None:
    error = kind("it is cut off; end it", **place)
    assert str(error) == text
    assert error.problem == "it is cut off; end it"
    assert (error.path, error.line, error.field) == tuple(place.get(key) for key in ("path", "line", "field"))


def test_an_error_says_the_same_after_it_came_from_another_process() -> None:
    error = RowTooLongError("the row is too long", path="a.jsonl", line=3, field="messages", param="max_length")
    again = pickle.loads(pickle.dumps(error))
    assert (str(again), again.line, again.field, again.path) == (str(error), 3, "messages", "a.jsonl")
    assert again.param == "max_length"


def test_a_data_error_keeps_all_but_its_place_on_another_line() -> None:
    moved = RowTooLongError("the row is too long", path="spool", line=3, field="messages", param="max_length").at(
        7, "a"
    )
    assert type(moved) is RowTooLongError
    assert (moved.path, moved.line, moved.field, moved.param) == ("a", 7, "messages", "max_length")


@pytest.mark.parametrize(
    ("fail", "param"),
    [
        (lambda: check_length(0), "max_length"),
        (lambda: TrainingConfig(epochs=0), "epochs"),
        (lambda: TrainingConfig(seed=-1), "seed"),
        (lambda: GenerationOptions(top_p=2.0), "top_p"),
        (lambda: resolve("smollm2-135"), "model"),
        (lambda: DEFENSES.get("backdor"), "defense"),
        (lambda: FORMATS.get("opnai"), "format"),
        (lambda: DEFENSES.create("safety_mix", safty=3), "safty"),
        (lambda: DEFENSES.create("safety_mix", safety="many"), "safety"),
        (lambda: Limits(bytes=3).check_bytes(4, None), "limits.bytes"),
    ],
)
def test_an_error_names_the_argument_that_is_wrong(fail: Callable[[], object], param: str) -> None:
    with pytest.raises(WatchwordError) as caught:
        fail()
    assert caught.value.param == param


def output_taken(folder: Path) -> None:
    check_writable(folder)


def output_unwritable(folder: Path) -> None:
    check_writable(folder / "none" / "out")


def output_in_use(folder: Path) -> None:
    with locked(folder / "out"), locked(folder / "out"):
        pass


def secret_there(folder: Path) -> None:
    secret = SecretPrompt("one two", kind="random", tokens=2, entropy_bits=2.0)
    write_secret_file(folder / "s.json", secret)
    write_secret_file(folder / "s.json", secret)


def secret_open_to_all(folder: Path) -> None:
    (folder / "s.json").write_text('{"schema": 1, "text": "a", "kind": "random", "tokens": 1, "entropy_bits": 1.0}')
    (folder / "s.json").chmod(0o644)
    read_secret_file(folder / "s.json")


def secret_missing(folder: Path) -> None:
    read_secret_file(folder / "s.json")


def no_model(folder: Path) -> None:
    facts_of(str(folder))


def damaged_model(folder: Path) -> None:
    (folder / "config.json").write_text("{}")
    (folder / "tokenizer.json").mkdir()
    facts_of(str(folder))


def no_release(folder: Path) -> None:
    read_manifest(folder)


def damaged_release(folder: Path) -> None:
    (folder / "manifest.json").write_text("{}")
    read_manifest(folder)


def unreadable_rows(folder: Path) -> None:
    list(read_conversations(folder / "rows.jsonl"))


def no_spec(folder: Path) -> None:
    Spec.from_file(folder / "spec.json")


FAILING = [
    output_taken,
    output_unwritable,
    output_in_use,
    secret_there,
    secret_open_to_all,
    secret_missing,
    no_model,
    damaged_model,
    no_release,
    damaged_release,
    unreadable_rows,
    no_spec,
]


@pytest.mark.parametrize("fail", FAILING)
def test_what_a_tenant_may_read_names_no_place_of_the_providers(
    fail: Callable[[Path], None], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(WatchwordError) as caught:
        fail(tmp_path)
    error = caught.value
    assert str(tmp_path) in str(error.path)
    assert str(tmp_path) not in error.problem
    assert str(error).startswith(f"{error.path}: ")
