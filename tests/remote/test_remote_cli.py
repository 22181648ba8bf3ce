"""``watchword remote``, and the commands that take what it leaves: chat, evaluate, gateway."""

from __future__ import annotations

import io
import os
import signal
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from support.gateway_parts import ASKED, call, configuration, gateway
from support.processes import forked
from support.remote_parts import KEY, KEY_ENV, RemoteSide, asked, remote_side, session, tenant_file
from watchword.cli.app import run
from watchword.errors import ModelUnavailableError
from watchword.files.crash import ASKED_BY
from watchword.gateway.protect import protect
from watchword.release.artifact import signed_manifest
from watchword.remote.run import run_remote


@pytest.fixture(scope="module")
def remote(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RemoteSide]:
    with remote_side(tmp_path_factory.mktemp("side")) as side:
        yield side


@pytest.fixture(autouse=True)
def _keys(remote: RemoteSide, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WATCHWORD_KEY", KEY.hex())
    monkeypatch.setenv(KEY_ENV, remote.key)


class Terminal(io.StringIO):
    """Standard input with a person at it."""

    def isatty(self) -> bool:
        return True


def told(capsys: pytest.CaptureFixture[str], *arguments: object) -> tuple[int, str, str]:
    capsys.readouterr()
    code = run([str(argument) for argument in arguments])
    found = capsys.readouterr()
    return code, found.out, found.err


def options(data: Path, out: Path, url: str) -> list[object]:
    return [
        *("remote", "run", "--profile", "watchword", "--base-url", url, "--model", "smollm2-135m"),
        *("--data", data, "--out", out, "--defense", "backdoor_align", "--secret-tokens", "40"),
    ]


@pytest.fixture(scope="module")
def out(tmp_path_factory: pytest.TempPathFactory, remote: RemoteSide) -> Path:
    """A release that a run has left."""
    folder = tmp_path_factory.mktemp("released")
    with pytest.MonkeyPatch.context() as patched:
        patched.setenv(KEY_ENV, remote.key)
        run_remote(asked(tenant_file(folder), remote.url), folder / "out", session())
    return folder / "out"


def test_a_run_tells_what_it_will_do_and_shows_a_table(
    remote: RemoteSide, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    given = options(tenant_file(tmp_path), tmp_path / "out", remote.url)
    code, shown, error = told(capsys, *given, "--price-per-million-tokens", "8", "--evaluate", "1", "--yes")
    assert code == 0, error
    for text in (
        "sees all of it",
        "secret prompt",
        "a million",
        "created the job",
        "sealed",
        "ASR",
        "95 %",
    ):
        assert text in shown, shown


def test_nobody_to_agree_is_an_error(remote: RemoteSide, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, shown, error = told(capsys, *options(tenant_file(tmp_path), tmp_path / "out", remote.url))
    assert (code, "--yes" in error) == (2, True)
    assert "--price-per-million-tokens" in shown


def test_a_refused_key_leaves_a_run_and_no_talk_of_a_job(
    remote: RemoteSide, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(KEY_ENV, "no-such-key")
    out = tmp_path / "out"
    code, _, error = told(capsys, *options(tenant_file(tmp_path), out, remote.url), "--yes")
    assert (code, "401" in error) == (10, True), error
    assert f"go on by: watchword remote resume {out}" in error
    # Nothing was uploaded, so nobody is to look for a job.
    assert "the job" not in error


def test_a_killed_run_is_resumed_and_another_one_cancelled(
    remote: RemoteSide, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = len(remote.jobs())
    for name in ("resumed", "cancelled"):
        (tmp_path / name).mkdir()

        def killed(name: str = name) -> None:
            os.environ[ASKED_BY] = f"after_file_noted:1:{tmp_path / name}"
            run(
                [str(part) for part in (*options(tenant_file(tmp_path), tmp_path / f"out-{name}", remote.url), "--yes")]
            )

        with forked(killed) as ended:
            assert ended() == -signal.SIGKILL
    code, shown, error = told(capsys, "remote", "resume", tmp_path / "out-resumed", "--evaluate", "0")
    assert (code, "sealed" in shown) == (0, True), error
    code, shown, error = told(capsys, "remote", "cancel", tmp_path / "out-cancelled")
    assert (code, "no job" in shown) == (0, True), error
    assert len(remote.jobs()) == before + 1
    assert remote.files() == []
    code, _, error = told(capsys, "remote", "resume", tmp_path / "out-cancelled")
    assert code == 2


def test_chat_and_evaluate_take_the_release(out: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, shown, error = told(capsys, "chat", out, "-m", "How do I bake bread?")
    assert (code, "flour" in shown) == (0, True), error
    prompts = tmp_path / "prompts.txt"
    prompts.write_text("How do I bake bread?\nHow do I boil an egg?\n")
    code, shown, error = told(capsys, "evaluate", "--adapter", out, "--prompts", prompts, "--metric", "over_refusal")
    assert (code, "n = 2" in shown) == (0, True), error


def test_the_profiles_are_listed(capsys: pytest.CaptureFixture[str]) -> None:
    code, shown, _ = told(capsys, "remote", "profiles")
    assert code == 0
    for name in ("openai", "azure", "bedrock", "nebius", "together", "fireworks", "watchword"):
        assert f"{name}: " in shown


def test_the_gateway_serves_the_release_and_no_other_model(remote: RemoteSide, out: Path) -> None:
    manifest = signed_manifest(out, KEY)
    assert manifest.remote
    place = configuration(out, 0, url=remote.url, kind="openai", api_key_env=KEY_ENV)
    models = [msgspec.structs.replace(one, upstream_model=manifest.remote.model, context=2048) for one in place.models]
    with gateway(msgspec.structs.replace(place, models=models)) as port:
        answer = call(port, ASKED)
        assert (answer.status, "flour" in answer.everything) == (200, True), answer.everything
    # Under any other name, a model would be asked behind a secret that it does not know.
    with gateway(place) as port:
        assert call(port, ASKED).status == 503
    with pytest.raises(ModelUnavailableError, match="upstream_model"):
        protect(out, KEY, upstream_model="gpt-4o-mini", context=2048)


@pytest.mark.parametrize(("answer", "code"), [("y\n", 0), ("n\n", 130)])
def test_a_person_is_asked(
    remote: RemoteSide, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, answer: str, code: int
) -> None:
    """At a terminal, where bars move: they rest while the question stands there."""
    asked_for: list[str] = []

    def confirm(text: str) -> bool:
        asked_for.append(text)
        return answer == "y\n"

    monkeypatch.setattr("sys.stdin", Terminal(answer))
    monkeypatch.setattr("typer.confirm", confirm)
    given = [*options(tenant_file(tmp_path), tmp_path / "out", remote.url), "--evaluate", "0"]
    assert run([str(part) for part in given]) == code
    assert asked_for == ["Upload?"]
    assert (tmp_path / "out").exists() == (code == 0)
