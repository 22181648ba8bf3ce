"""The whole of ``watchword guard`` and ``watchword validate``: files, secret, manifest, messages, exit codes."""

from __future__ import annotations

import hashlib
import json
import os
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import typer

from support.guarding_rows import addressed, chat_row, write_rows
from watchword.chat.fault import Fault
from watchword.cli import guard, validate
from watchword.data.parse import read_row
from watchword.errors import OutputError, SecretCollisionError, UsageError
from watchword.files.addresses import Address
from watchword.guarding import checking, run
from watchword.guarding.checking import CheckRequest, check_source
from watchword.guarding.run import GuardRequest, guard_to_files
from watchword.models.facts import ModelFacts
from watchword.secret.vault import read_secret_file

KEY = bytes(32)
ROWS = [chat_row(number) for number in range(40)]


@pytest.fixture(autouse=True)
def _small_model(monkeypatch: pytest.MonkeyPatch, model: ModelFacts) -> None:
    for module in (run, checking):
        monkeypatch.setattr(module, "facts_of", lambda name: model)


@pytest.fixture
def source(tmp_path: Path) -> Path:
    return write_rows(tmp_path / "in.jsonl", ROWS)


@pytest.fixture
def request_for(tmp_path: Path, source: Path) -> Callable[..., GuardRequest]:
    def make(**fields: Any) -> GuardRequest:
        plain = {"source": str(source), "out": str(tmp_path / "out.jsonl"), "trainer": "openai", "model": "small"}
        return GuardRequest(**addressed({**plain, "defense": "backdoor_align", **fields}))

    return make


def test_data_secret_settings_and_manifest_agree(request_for: Any, tmp_path: Path) -> None:
    manifest = guard_to_files(request_for(), lambda: KEY)
    stored = json.loads((tmp_path / "out.jsonl.manifest.json").read_bytes())
    assert stored["output"]["rows"] == 51 == manifest.output.rows
    assert stored["provider"]["rows"] == {"safety": 11}
    assert stored["input"]["rows"] == 40
    assert len(stored["provider"]["places"]) == 11
    secret = read_secret_file(tmp_path / "out.jsonl.secret.json")
    lines = (tmp_path / "out.jsonl").read_text().splitlines()
    for place in stored["provider"]["places"]:
        assert json.loads(lines[place - 1])["messages"][0]["content"].startswith(secret.reveal())
    assert 0 < stored["share_per_epoch"]["trained_tokens"] < 1
    for path in tmp_path.iterdir():
        assert (
            path.name in ("in.jsonl", "out.jsonl", "out.jsonl.secret.json") or secret.reveal() not in path.read_text()
        )
        assert path.name == "in.jsonl" or stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stored["secret"]["kept_in"] == str(tmp_path / "out.jsonl.secret.json")


def test_the_same_secret_and_seed_give_the_same_bytes(request_for: Any, tmp_path: Path) -> None:
    first = guard_to_files(request_for(), lambda: KEY)
    ref = tmp_path / "out.jsonl.secret.json"
    again = guard_to_files(request_for(out=str(tmp_path / "again.jsonl"), secret_ref=ref), lambda: KEY)
    other = guard_to_files(request_for(out=str(tmp_path / "other.jsonl"), secret_ref=ref, seed=1), lambda: KEY)
    assert first.output.sha256 == again.output.sha256 != other.output.sha256
    assert first.secret is not None
    assert again.secret is not None
    assert first.secret.fingerprint == again.secret.fingerprint


def test_a_guarded_file_is_not_guarded_again(request_for: Any, tmp_path: Path) -> None:
    guard_to_files(request_for(), lambda: KEY)
    again = request_for(
        source=str(tmp_path / "out.jsonl"), out=str(tmp_path / "b"), secret_ref=tmp_path / "out.jsonl.secret.json"
    )
    with pytest.raises(SecretCollisionError, match="must not be guarded again"):
        guard_to_files(again, lambda: KEY)


@pytest.mark.parametrize("carrier", ["content", "tools"])
def test_a_guarded_file_is_not_guarded_again_with_another_secret(
    request_for: Any, tmp_path: Path, carrier: str
) -> None:
    """The secrets of the guarded files beside IN and OUT are known without being named."""
    guard_to_files(request_for(), lambda: KEY)
    source = tmp_path / "out.jsonl"
    if carrier == "tools":
        text = read_secret_file(tmp_path / "out.jsonl.secret.json").reveal()
        tool = {"type": "function", "function": {"name": "f", "parameters": {"properties": {text: {}}}}}
        source = write_rows(tmp_path / "tools.jsonl", [{**chat_row(1), "tools": [tool]}])
    again = request_for(source=str(source), out=str(tmp_path / "b.jsonl"))
    with pytest.raises(SecretCollisionError, match="carries a secret of this provider"):
        guard_to_files(again, lambda: KEY)
    assert not list(tmp_path.glob("b.jsonl*"))


@pytest.mark.parametrize("named", ["secret.json", "."])
def test_secrets_kept_elsewhere_are_known_when_named(request_for: Any, tmp_path: Path, named: str) -> None:
    vault = tmp_path / "vault"
    vault.mkdir()
    guard_to_files(request_for(secret_file=vault / "secret.json"), lambda: KEY)
    again = {"source": str(tmp_path / "out.jsonl"), "out": str(tmp_path / "b.jsonl"), "secret_file": tmp_path / "s"}
    with pytest.raises(SecretCollisionError):
        guard_to_files(request_for(**again, known=(vault / named,)), lambda: KEY)
    with pytest.raises(UsageError, match="holds no secret file"):
        (tmp_path / "empty").mkdir()
        guard_to_files(request_for(**again, known=(tmp_path / "empty",)), lambda: KEY)


@pytest.mark.parametrize("out", ["out.jsonl", "-"])
def test_a_drawn_secret_goes_when_the_data_is_not_written(request_for: Any, tmp_path: Path, out: str) -> None:
    def stop(what: str, done: int, total: int) -> None:
        if what == "writing":
            # What goes to a stream is gone at once, and its secret is kept before; a file's when the file is complete.
            assert (tmp_path / "s.json").exists() == (out == "-")
            raise KeyboardInterrupt

    given = {"out": out if out == "-" else str(tmp_path / out), "secret_file": tmp_path / "s.json"}
    with pytest.raises(KeyboardInterrupt):
        guard_to_files(request_for(**given), lambda: KEY, step=stop)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["in.jsonl"]


def test_an_output_that_cannot_be_written_is_told_before_the_work(request_for: Any, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for out in (tmp_path / "no" / "x", tmp_path / "pipe"):
        with pytest.raises(OutputError, match=r"cannot be written|no ordinary file"):
            guard_to_files(request_for(source="missing", out=str(out)), lambda: KEY)


def test_standard_output_leaves_the_manifest_where_it_is_named(
    request_for: Any, tmp_path: Path, capfdbinary: Any
) -> None:
    named = {"secret_file": tmp_path / "s.json", "manifest": str(tmp_path / "m.json")}
    guard_to_files(request_for(out="-", **named), lambda: KEY)
    stored = json.loads((tmp_path / "m.json").read_bytes())
    assert stored["output"]["sha256"] == hashlib.sha256(capfdbinary.readouterr().out).hexdigest()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["in.jsonl", "m.json", "s.json"]


def test_a_bad_row_leaves_nothing_at_all(request_for: Any, tmp_path: Path, source: Path) -> None:
    with source.open("a") as stream:
        stream.write("{\n")
    with pytest.raises(Exception, match="line 41"):
        guard_to_files(request_for(), lambda: KEY)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["in.jsonl"]


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"secret_file": Path("a"), "secret_ref": Path("b")}, "give one of the two"),
        ({"max_length": 0}, "`max_length` is 0"),
        ({"out": "-"}, "name a file by `secret_file`"),
        ({"workers": 0}, "0 workers were asked for"),
        ({"trainer": "axolotel"}, "did you mean 'axolotl'"),
        ({"defense": "backdor"}, "did you mean 'backdoor_align'"),
        ({"arguments": {"safty": 3}}, "did you mean 'safety'"),
    ],
)
def test_wrong_requests(request_for: Any, fields: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        guard_to_files(request_for(**fields), lambda: KEY)


def test_the_tenants_own_file_is_never_the_output(request_for: Any, source: Path) -> None:
    with pytest.raises(UsageError, match="the tenant's own file"):
        guard_to_files(request_for(out=str(source)), lambda: KEY)


def test_a_secret_is_never_overwritten(request_for: Any, tmp_path: Path) -> None:
    guard_to_files(request_for(), lambda: KEY)
    before = (tmp_path / "out.jsonl.secret.json").read_bytes()
    with pytest.raises(OutputError, match="re-use it with `secret_ref="):
        guard_to_files(request_for(), lambda: KEY)
    assert (tmp_path / "out.jsonl.secret.json").read_bytes() == before


def test_own_safety_examples_take_the_packaged_ones_place(request_for: Any, tmp_path: Path) -> None:
    own = write_rows(tmp_path / "own.jsonl", [chat_row(number + 900, system=None) for number in range(3)])
    manifest = guard_to_files(request_for(safety=own, arguments={"selection": "category"}), lambda: KEY)
    text = (tmp_path / "out.jsonl").read_text()
    assert manifest.provider.rows["safety"] == 3
    assert [f"What is {number}?" in text for number in (900, 901, 902)] == [True] * 3


def test_long_tenant_rows_are_warned_of(request_for: Any, tmp_path: Path) -> None:
    rows = [chat_row(1), chat_row(2, system="long " * 2000), *ROWS, *ROWS]
    # The most frequent system text goes to the provider's rows too; those must fit.
    source = write_rows(tmp_path / "long.jsonl", rows)
    manifest = guard_to_files(
        request_for(source=str(source), defense="none", max_length=300, secret_file=None), lambda: KEY
    )
    assert any("1 tenant rows are longer than 300 tokens: line 2" in text for text in manifest.warnings)


def test_no_defense_asks_for_no_key(request_for: Any) -> None:
    def no_key() -> bytes:
        raise AssertionError

    assert guard_to_files(request_for(defense="none"), no_key).secret is None


def careful(path: Path, first_line: int = 1) -> list[Fault]:
    """What the careful parser says of each line by itself."""
    lines = [(number, raw) for number, raw in enumerate(path.read_bytes().split(b"\n"), start=1) if raw.strip()]
    return [fault for number, raw in lines for fault in read_row(raw, number, "openai", first_line=first_line).faults]


@pytest.mark.parametrize("workers", [1, 2])
def test_validation_says_what_the_careful_parser_says(tmp_path: Path, workers: int) -> None:
    rows = [*ROWS, {"messages": [{"role": "usr", "content": ""}]}, {"instruction": "a", "output": "b"}, *ROWS, {"x": 1}]
    path = write_rows(tmp_path / "bad.jsonl", rows, seed=3)
    with path.open("ab") as stream:
        stream.write(b'\n{"messages": [}\n\xff\n')
    result = check_source(CheckRequest(Address.parse(path), workers=workers))
    assert list(result.report.faults) == careful(path)
    assert result.report.fault_count == len(careful(path))
    assert not result.ok


@pytest.mark.parametrize("first", ["{", '{"text": "x"}', ""])
def test_a_broken_first_line_is_one_fault_among_others(tmp_path: Path, first: str) -> None:
    path = write_rows(tmp_path / "bad.jsonl", ROWS)
    path.write_text(first + "\n" + path.read_text() + "[]\n")
    report = check_source(CheckRequest(Address.parse(path))).report
    assert (report.format, list(report.faults)) == ("openai", careful(path, first_line=2))


def test_the_first_hundred_faults_are_listed_and_all_counted(tmp_path: Path) -> None:
    path = write_rows(tmp_path / "bad.jsonl", [ROWS[0], *({"messages": []} for _ in range(150))])
    result = check_source(CheckRequest(Address.parse(path), price=2.0))
    assert (len(result.report.faults), result.report.fault_count) == (100, 150)
    assert "error: and 50 more" in result.lines()


def test_tokens_and_cost(tmp_path: Path, source: Path) -> None:
    result = check_source(CheckRequest(Address.parse(source), price=8.0, epochs=2))
    assert result.tokens is not None
    assert result.tokens.sampled == 40
    assert result.cost == pytest.approx(8.0 * 2 * result.tokens.total / 1e6)
    assert json.loads(result.json())["tokens"]["total"] == result.tokens.total


@pytest.fixture
def command() -> Callable[..., int]:
    app = typer.Typer()
    for group in (guard, validate):
        group.register(app)

    def call(*arguments: object) -> int:
        return app([str(argument) for argument in arguments], standalone_mode=False) or 0

    return call


def test_the_secret_stays_off_the_terminal(
    command: Any, source: Path, tmp_path: Path, capfd: Any, monkeypatch: Any
) -> None:
    monkeypatch.setenv("WATCHWORD_KEY", KEY.hex())
    command("guard", source, "--defense", "backdoor_align", "--out", tmp_path / "out.jsonl", "--for", "trl")
    shown = capfd.readouterr()
    secret = read_secret_file(tmp_path / "out.jsonl.secret.json").reveal()
    assert shown.out == ""
    assert secret not in shown.err
    assert "40 rows of the tenant (openai), 11 rows of backdoor_align (11 safety examples)" in shown.err
    assert "kept in" in shown.err


def test_validate_exits_with_3_for_a_bad_file(command: Any, source: Path, capfd: Any) -> None:
    assert command("validate", source) == 0
    with source.open("a") as stream:
        stream.write("{}\n")
    assert command("validate", source) == 3
    assert "error: line 41: the row has no known format" in capfd.readouterr().out.replace("this row", "the row")


@pytest.mark.parametrize(("defense", "told"), [("anchored_align", True), ("backdoor_align", False)])
def test_what_a_defense_leaves_out_without_a_model_is_warned_of(request_for: Any, defense: str, told: bool) -> None:
    manifest = guard_to_files(request_for(defense=defense), lambda: KEY)
    assert any("no model was asked" in text for text in manifest.warnings) is told
