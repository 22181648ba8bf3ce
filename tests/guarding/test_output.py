"""What guarding leaves on disk: nothing lost, nothing half done, nothing open to others, whatever happens on the way."""

from __future__ import annotations

import hashlib
import json
import os
import signal
import stat
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from support.guarding_rows import addressed, chat_row, write_rows
from watchword.cli.app import run as command
from watchword.errors import OutputError, SecretError, UsageError
from watchword.files.addresses import Address, target
from watchword.files.digest import sha256_file
from watchword.guarding import placing, run
from watchword.guarding.run import GuardRequest, guard_to_files
from watchword.models.facts import ModelFacts
from watchword.secret.vault import read_secret_file

KEY = bytes(32)
# What guarding leaves for the trainer "openai".
OWN = {"out.jsonl", "out.jsonl.manifest.json", "out.jsonl.secret.json", "out.openai.json"}


@pytest.fixture(autouse=True)
def _small_model(monkeypatch: pytest.MonkeyPatch, model: ModelFacts) -> None:
    monkeypatch.setattr(run, "facts_of", lambda name: model)


@pytest.fixture
def make(tmp_path: Path) -> Callable[..., GuardRequest]:
    source = write_rows(tmp_path / "in.jsonl", [chat_row(number) for number in range(40)])

    def request(**fields: Any) -> GuardRequest:
        plain = {"source": str(source), "out": str(tmp_path / "out.jsonl"), "trainer": "openai", "model": "small"}
        return GuardRequest(**addressed({**plain, "defense": "backdoor_align", **fields}))

    return request


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}


@pytest.mark.parametrize(
    "fields",
    [
        {"out": "so.jsonl", "secret_file": "so.jsonl"},
        {"secret_file": "sm.json", "manifest": "sm.json"},
        {"manifest": "in.jsonl"},
        {"manifest": "out.jsonl"},
        {"manifest": "file://{}/in.jsonl"},
        {"out": "file://{}/in.jsonl"},
        {"out": "local://{}/in.jsonl"},
        {"source": "file://{}/in.jsonl", "out": "in.jsonl"},
        {"out": "link.jsonl"},
        {"source": "g.openai.json", "out": "g.jsonl"},
        {"manifest": "own.jsonl", "safety": "own.jsonl"},
        {"manifest": "kept.json", "secret_ref": "kept.json"},
        {"manifest": "other.jsonl.secret.json"},
        {"manifest": "kept.json", "known": "kept.json"},
        {"out": "screening.json", "report": "."},
        {"source": "screening.html", "report": "."},
    ],
)
def test_no_file_is_lost_to_another(make: Any, tmp_path: Path, fields: dict[str, str]) -> None:
    """IN, OUT, manifest, secrets, settings and report: whatever is written must be none of the others."""
    guard_to_files(make(out=str(tmp_path / "other.jsonl")), lambda: KEY)
    (tmp_path / "kept.json").write_bytes((tmp_path / "other.jsonl.secret.json").read_bytes())
    (tmp_path / "kept.json").chmod(0o600)
    (tmp_path / "link.jsonl").symlink_to(tmp_path / "in.jsonl")
    write_rows(tmp_path / "own.jsonl", [chat_row(900, system=None)])
    for name in ("g.openai.json", "screening.html"):
        (tmp_path / name).write_bytes((tmp_path / "in.jsonl").read_bytes())
    before = contents(tmp_path)
    given: dict[str, Any] = {
        name: text.format(tmp_path) if "://" in text else str(tmp_path / text) for name, text in fields.items()
    }
    for name in ("secret_file", "secret_ref", "safety", "report"):
        if name in given:
            given[name] = Path(given[name])
    if "known" in given:
        given["known"] = (Path(given["known"]),)
    with pytest.raises(UsageError, match=r"would be written as .* and it is .* too"):
        guard_to_files(make(**given), lambda: KEY)
    assert contents(tmp_path) == before


@pytest.mark.parametrize("scheme", ["file", "local"])
def test_addresses_of_this_machine_are_as_private_as_paths(make: Any, tmp_path: Path, scheme: str) -> None:
    address = f"{scheme}://{tmp_path}"
    guard_to_files(make(out=f"{address}/a.jsonl", manifest=f"{address}/m.json", trainer="axolotl"), lambda: KEY)
    names = {"a.jsonl", "m.json", "a.axolotl.yaml", "a.jsonl.secret.json"}
    assert {path.name for path in tmp_path.iterdir()} == {*names, "in.jsonl"}
    assert {stat.S_IMODE((tmp_path / name).stat().st_mode) for name in names} == {0o600}


def test_an_address_of_this_machine_is_replaced_whole_or_not_at_all(make: Any, tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text("old")

    def stop(what: str, done: int, total: int) -> None:
        if what == "writing":
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        guard_to_files(make(out=f"file://{tmp_path}/a.jsonl"), lambda: KEY, step=stop)
    assert contents(tmp_path).keys() == {"a.jsonl", "in.jsonl"}
    assert (tmp_path / "a.jsonl").read_text() == "old"


def test_rows_with_the_secret_never_go_to_a_terminal(
    make: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True, raising=False)
    with pytest.raises(UsageError, match="would print rows with the secret on this terminal"):
        guard_to_files(make(out="-", secret_file=tmp_path / "s.json"), lambda: KEY)
    assert not (tmp_path / "s.json").exists()


def test_a_wrong_key_is_told_before_anything_is_written(make: Any, tmp_path: Path) -> None:
    def wrong() -> bytes:
        raise SecretError("no key")

    with pytest.raises(SecretError, match="no key"):
        guard_to_files(make(), wrong)
    assert contents(tmp_path).keys() == {"in.jsonl"}


@pytest.mark.parametrize("error", [KeyboardInterrupt(), OutputError("disk full")], ids=["Ctrl-C", "full disk"])
@pytest.mark.parametrize("broken", [".openai.json", ".manifest.json"])
@pytest.mark.parametrize("existing", [False, True])
def test_data_never_stays_without_its_settings_and_manifest(
    make: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: BaseException, broken: str, existing: bool
) -> None:
    if existing:
        guard_to_files(make(), lambda: KEY)
        (tmp_path / "out.jsonl.secret.json").rename(tmp_path / "kept.json")
    before = contents(tmp_path)
    writing = placing.target

    def failing(address: Address) -> Any:
        if address.name.endswith(broken) and not (tmp_path / "failed").exists():
            (tmp_path / "failed").touch()
            raise error
        return writing(address)

    monkeypatch.setattr(placing, "target", failing)
    with pytest.raises(type(error)):
        guard_to_files(make(seed=1), lambda: KEY)
    (tmp_path / "failed").unlink()
    assert contents(tmp_path) == before


@pytest.mark.parametrize("error", [KeyboardInterrupt(), OSError(28, "disk full")], ids=["Ctrl-C", "full disk"])
def test_data_that_cannot_be_taken_back_is_named_and_keeps_its_secret(
    make: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: BaseException
) -> None:
    sent: list[str] = []

    def broken_off(self: Any, local: str, path: str) -> None:
        sent.append(path)
        if path.endswith("/out.jsonl"):
            raise error

    monkeypatch.setattr("fsspec.implementations.memory.MemoryFileSystem.put_file", broken_off)
    spools = tmp_path / "spools"
    spools.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(spools))
    request = make(out="memory://far/out.jsonl", secret_file=tmp_path / "s.json")
    with pytest.raises(
        OutputError, match=r"(disk full|stopped).*; memory://far/out.jsonl may be guarded .* `secret_ref="
    ):
        guard_to_files(request, lambda: KEY)
    assert read_secret_file(tmp_path / "s.json")
    # Whoever sees new data finds its settings and manifest.
    assert sent == ["/far/out.openai.json", "/far/out.jsonl.manifest.json", "/far/out.jsonl"]
    assert not list(spools.iterdir())


def test_a_manifest_that_cannot_be_sent_takes_the_secret_back(
    make: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(address: str) -> Any:
        raise OutputError("no rights")

    monkeypatch.setattr(placing, "target", refused)
    with pytest.raises(OutputError, match=r"^no rights$"):
        guard_to_files(make(out="memory://far/out.jsonl", secret_file=tmp_path / "s.json"), lambda: KEY)
    assert contents(tmp_path).keys() == {"in.jsonl"}


def test_what_went_to_standard_output_keeps_its_secret(make: Any, tmp_path: Path, capfdbinary: Any) -> None:
    request = make(out="-", secret_file=tmp_path / "s.json", manifest="memory://")
    with pytest.raises(OutputError, match=r"; - may be guarded already, .* `secret_ref=.*s\.json"):
        guard_to_files(request, lambda: KEY)
    assert read_secret_file(tmp_path / "s.json").reveal() in "".join(
        json.loads(line)["messages"][0]["content"] for line in capfdbinary.readouterr().out.splitlines()
    )


def test_a_file_system_without_hard_links_is_good_enough(
    make: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_links(old: Any, new: Any, **options: Any) -> None:
        raise OSError(95, "Operation not supported")

    monkeypatch.setattr("os.link", no_links)
    guard_to_files(make(), lambda: KEY)
    assert contents(tmp_path).keys() == {"in.jsonl", *OWN}
    assert {stat.S_IMODE((tmp_path / name).stat().st_mode) for name in OWN} == {0o600}


@pytest.mark.parametrize("written", [{"out": "shard.parquet", "trainer": "trl"}, {"manifest": "state.json"}])
def test_no_file_of_a_folder_is_lost(make: Any, tmp_path: Path, written: dict[str, str]) -> None:
    folder = tmp_path / "data"
    folder.mkdir()
    (folder / "state.json").write_text('{"_data_files": [{"filename": "shard.parquet"}]}')
    (folder / "shard.parquet").write_bytes(b"PAR1")
    given = {name: text if name == "trainer" else str(folder / text) for name, text in written.items()}
    with pytest.raises(UsageError, match="the tenant's own file"):
        guard_to_files(make(source=str(folder), **given), lambda: KEY)


def test_a_report_that_cannot_be_written_is_told_before_the_work(make: Any, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for folder in (tmp_path / "file", tmp_path / "file" / "report"):
        with pytest.raises(OutputError, match=r"`report` cannot be made|cannot be written"):
            guard_to_files(make(report=folder), lambda: KEY)
    (tmp_path / "file").unlink()
    assert contents(tmp_path).keys() == {"in.jsonl"}


def test_a_folder_in_the_manifests_place_is_told_before_the_work(make: Any, tmp_path: Path) -> None:
    (tmp_path / "m").mkdir()
    with pytest.raises(OutputError, match="is a folder, and the manifest"):
        guard_to_files(make(manifest=str(tmp_path / "m")), lambda: KEY)
    assert contents(tmp_path).keys() == {"in.jsonl"}


def test_dataset_info_keeps_the_other_entries(make: Any, tmp_path: Path) -> None:
    info = tmp_path / "dataset_info.json"
    info.write_text(json.dumps({"mine": {"file_name": "mine.json"}, "out": {"file_name": "out.jsonl", "old": 1}}))
    guard_to_files(make(trainer="llama-factory"), lambda: KEY)
    stored = json.loads(info.read_bytes())
    assert stored["mine"] == {"file_name": "mine.json"}
    assert stored["out"]["formatting"] == "sharegpt"


@pytest.mark.parametrize(
    ("text", "message"),
    [("[]", "is no JSON object"), ("{", "is no JSON object"), ('{"out": {"file_name": "x"}}', "for another one")],
)
def test_dataset_info_that_would_be_lost_is_told_before_the_work(
    make: Any, tmp_path: Path, text: str, message: str
) -> None:
    (tmp_path / "dataset_info.json").write_text(text)
    with pytest.raises(OutputError, match=message):
        guard_to_files(make(trainer="llama-factory"), lambda: KEY)
    assert contents(tmp_path).keys() == {"in.jsonl", "dataset_info.json"}
    assert (tmp_path / "dataset_info.json").read_text() == text


@pytest.mark.parametrize(
    ("name", "trainer"),
    [("g.jsonl.gz", "openai"), ("g.zst", "trl"), ("x.parquet", "openai"), ("x.parquet", "axolotl"), ("x.arrow", "trl")],
)
def test_a_name_promises_only_what_is_written(make: Any, tmp_path: Path, name: str, trainer: str) -> None:
    with pytest.raises(UsageError, match="writes plain JSON lines"):
        guard_to_files(make(out=str(tmp_path / name), trainer=trainer), lambda: KEY)


def test_a_limit_beyond_the_models_context_is_refused(make: Any) -> None:
    with pytest.raises(UsageError, match="`max_length` is 4096, and the context of small is 2048 tokens"):
        guard_to_files(make(max_length=4096), lambda: KEY)


def test_a_file_that_is_no_secret_is_called_so(make: Any, tmp_path: Path) -> None:
    with pytest.raises(SecretError, match=r"in\.jsonl: this is no secret file"):
        guard_to_files(make(secret_ref=tmp_path / "in.jsonl"), lambda: KEY)
    with pytest.raises(OutputError, match=r"/none/s\.json: the output cannot be written"):
        guard_to_files(make(secret_file=tmp_path / "none" / "s.json"), lambda: KEY)


def test_the_manifest_records_all_of_the_defenses_parameters(make: Any) -> None:
    manifest = guard_to_files(make(arguments={"safety": 5}), lambda: KEY)
    assert manifest.parameters["safety"] == 5
    assert manifest.parameters["selection"]


@pytest.mark.parametrize(
    ("trainer", "words"),
    [
        ("openai", "its own limit"),
        ("axolotl", "excess_length_strategy: raise"),
        ("ms-swift", "strict: true"),
        ("trl", "TRL will cut them"),
        ("llama-factory", "cutoff_len"),
        ("together", "max_seq_length"),
        ("fireworks", "--max-context-length"),
    ],
)
def test_long_rows_are_warned_of_in_each_trainers_own_words(
    make: Any, tmp_path: Path, trainer: str, words: str
) -> None:
    source = write_rows(tmp_path / "long.jsonl", [chat_row(1), chat_row(2, system="long " * 500), chat_row(3)])
    request = make(source=str(source), defense="none", max_length=300, trainer=trainer)
    (text,) = [text for text in guard_to_files(request, lambda: KEY).warnings if "longer than 300" in text]
    assert "line 2" in text
    assert words in text


def test_services_get_a_name_and_never_a_path(make: Any, tmp_path: Path, monkeypatch: Any, model: ModelFacts) -> None:
    folder = tmp_path / "models" / "tuned"
    folder.mkdir(parents=True)
    for name, wanted in (
        ("smollm2-135m-base", "smollm2-135m-base"),
        (str(folder), "REPLACE-WITH-THE-SERVICE-NAME-OF-tuned"),
    ):
        of_name = ModelFacts(name, model.template, 2048, str(folder))
        monkeypatch.setattr(run, "facts_of", lambda _, found=of_name: found)
        for trainer, ending in (("openai", "openai.json"), ("together", "together.py"), ("fireworks", "fireworks.sh")):
            guard_to_files(make(trainer=trainer, defense="none"), lambda: KEY)
            text = (tmp_path / f"out.{ending}").read_text()
            assert wanted in text
            assert str(tmp_path) not in text


def test_validate_never_writes_over_its_file(make: Any, tmp_path: Path, capsys: Any) -> None:
    source = make().source.local
    (tmp_path / "screening.json").write_bytes(source.read_bytes())
    before = contents(tmp_path)
    for arguments in ((source, "--json", source), (tmp_path / "screening.json", "--report", tmp_path)):
        assert command(["validate", *map(str, arguments)]) == 2
        assert "the tenant's own file" in capsys.readouterr().err
    assert contents(tmp_path) == before


_PROCESS = """
import signal, sys
from support.guarding_rows import template
from watchword.guarding import placing, run
# Whoever runs the tests under nohup has it ignored, and that is inherited.
signal.signal(signal.SIGHUP, signal.SIG_DFL)
from watchword.models.facts import ModelFacts
run.facts_of = lambda name: ModelFacts("small", template("smollm2"), 2048, "small")
from watchword.cli import app
sys.exit(app.run(sys.argv[1:]))
"""


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGHUP, 129)])
def test_a_stopped_process_leaves_nothing(tmp_path: Path, number: int, code: int) -> None:
    process = subprocess.Popen(
        [
            sys.executable,
            "-c",
            _PROCESS,
            "guard",
            "-",
            "--out",
            str(tmp_path / "g.jsonl"),
            "--defense",
            "backdoor_align",
        ],
        stdin=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env={**os.environ, "WATCHWORD_KEY": KEY.hex(), "PYTHONPATH": str(Path(__file__).parents[1])},
    )
    assert process.stdin
    process.stdin.write(json.dumps(chat_row(1)).encode() + b"\n")
    process.stdin.flush()
    until = time.monotonic() + 120
    while not any(path.is_dir() for path in tmp_path.iterdir()) and process.poll() is None:
        assert time.monotonic() < until
        time.sleep(0.05)
    process.send_signal(number)
    _, shown = process.communicate(timeout=120)
    assert process.returncode == code, shown
    assert b"stopped" in shown
    assert not list(tmp_path.iterdir())


def test_a_large_file_that_leaves_the_page_cache_on_the_way_is_whole(tmp_path: Path) -> None:
    pieces = [bytes([number]) * (1 << 25) for number in range(7)]
    with target(Address(tmp_path / "out")) as stream:
        for piece in pieces:
            stream.write(piece[:100])
            stream.write(piece[100:])
    assert sha256_file(tmp_path / "out") == hashlib.sha256(b"".join(pieces)).hexdigest()
