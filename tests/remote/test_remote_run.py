"""A run at another service: one job whatever happens on the way, and a release whose secret only we hold."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from support.processes import forked
from support.remote_parts import KEY, KEY_ENV, RemoteSide, asked, bad_line, remote_side, session, tenant_file
from watchword.chat.types import conversation
from watchword.cli.target import release_or_model
from watchword.errors import (
    DataError,
    ModelUnavailableError,
    OutputError,
    RemoteError,
    TrainingCancelledError,
    TrainingError,
    UnsealError,
    UsageError,
)
from watchword.files.crash import ASKED_BY
from watchword.release.artifact import MANIFEST
from watchword.release.engine import place_adapter
from watchword.release.reading import read_release
from watchword.remote.notice import Notice, QuestionsNotice
from watchword.remote.run import POINTS, cancel_remote, resume_remote, run_remote
from watchword.remote.state import read_state
from watchword.service.types.jobs import JobError

# Reached more than once in a run, so that a kill comes in the middle.
OFTEN = {"after_event": 3}


@pytest.fixture(scope="module")
def remote(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RemoteSide]:
    with remote_side(tmp_path_factory.mktemp("side")) as side:
        yield side


@pytest.fixture(autouse=True)
def _keys(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WATCHWORD_KEY", KEY.hex())
    monkeypatch.setenv(KEY_ENV, request.getfixturevalue("remote").key)


def test_a_run_leaves_a_release_without_weights(
    remote: RemoteSide, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[str] = []
    notices: list[Notice | QuestionsNotice] = []

    def agree(notice: Notice | QuestionsNotice) -> bool:
        notices.append(notice)
        return True

    out, before = tmp_path / "out", len(remote.jobs())
    request = asked(tenant_file(tmp_path), remote.url, price=8.0, hyperparameters={"n_epochs": 2, "batch_size": 5})
    manifest = run_remote(request, out, session(agree=agree, tell=told.append))
    (job, *_) = remote.jobs()
    assert len(remote.jobs()) == before + 1
    assert manifest.remote
    assert (manifest.remote.model, manifest.remote.job) == (job.fine_tuned_model, job.id)
    assert (manifest.remote.hyperparameters["n_epochs"], manifest.method) == (2, "remote")
    assert manifest.figures.loss == [2.5, 1.5]
    assert manifest.figures.rows["tenant"] == 12
    assert sorted(path.name for path in out.iterdir()) == ["chat_format.gz", MANIFEST, "secret.sealed"]
    assert any("created the job" in line for line in told)
    # What was uploaded is gone there, and whoever read the notice knew what would be seen.
    assert remote.files() == []
    (notice,) = notices
    assert any("secret prompt" in line for line in notice.lines)
    assert any(" $" in line for line in notice.lines)
    # The secret stands in what is asked, and in nothing that is told.
    release = read_release(out, KEY)
    assert release.secret is not None
    assert release.secret.reveal() not in "".join(told)
    target = release_or_model(None, None, None, default=out, undefended=False)
    (answer,) = target.defense.ask(target.model, [conversation("How do I bake bread?")])
    assert "".join(piece.text for piece in target.defense.stream(target.model, conversation("Hi"))) == answer.text
    assert "flour" in answer.text
    with pytest.raises(ModelUnavailableError, match="upstream_model"):
        place_adapter(out, manifest, tmp_path / "adapters")
    monkeypatch.delenv(KEY_ENV)
    with pytest.raises(UsageError, match=KEY_ENV):
        target.defense.ask(target.model, [conversation("Hi")])


def test_a_release_of_another_remote_model_does_not_open(remote: RemoteSide, tmp_path: Path) -> None:
    out = tmp_path / "out"
    run_remote(asked(tenant_file(tmp_path), remote.url), out, session())
    text = (out / MANIFEST).read_text()
    changed = json.loads(text)
    changed["remote"]["model"] = "ft:another"
    (out / MANIFEST).write_text(json.dumps(changed))
    with pytest.raises(UnsealError):
        read_release(out, KEY)


def test_a_client_that_is_killed_at_every_step_makes_one_job(remote: RemoteSide, tmp_path: Path) -> None:
    """One run, killed at each point in turn: every next process goes on from what the one before has left."""
    out, data, before = tmp_path / "out", tenant_file(tmp_path), len(remote.jobs())
    for point in POINTS:
        (tmp_path / point).mkdir()

        def killed(point: str = point) -> None:
            os.environ[ASKED_BY] = f"{point}:{OFTEN.get(point, 1)}:{tmp_path / point}"
            if out.exists():
                resume_remote(out, session())
            else:
                run_remote(asked(data, remote.url), out, session())

        with forked(killed) as ended:
            assert ended() == -signal.SIGKILL, point
        assert len(remote.jobs()) == before + (POINTS.index(point) >= POINTS.index("after_create")), point
    with pytest.raises(OutputError, match="not empty"):
        run_remote(asked(data, remote.url), out, session())
    manifest = resume_remote(out, session())
    assert manifest.remote
    assert manifest.remote.job == remote.jobs()[0].id
    assert read_release(out, KEY).secret is not None
    assert len(remote.jobs()) == before + 1
    assert remote.files() == []
    with pytest.raises(UsageError, match="no unfinished"):
        resume_remote(out, session())


ROUTES = ("POST files", "POST jobs", "GET job", "GET events", "GET file", "DELETE file")


@pytest.mark.parametrize("fault", [429, 503, "dropped", "lost", "page", "cut"])
def test_a_bad_line_makes_no_second_job(remote: RemoteSide, tmp_path: Path, fault: int | str) -> None:
    """Even where the remote knows neither idempotency keys nor metadata: every call fails at first, and one twice."""
    before = len(remote.jobs())
    faults = {(route, 1): fault for route in ROUTES} | {("POST jobs", 2): fault}
    with bad_line(remote.url, faults) as line:
        manifest = run_remote(asked(tenant_file(tmp_path), line.url), tmp_path / "out", session())
    assert manifest.remote
    assert len(remote.jobs()) == before + 1
    assert remote.files() == []


def test_a_line_that_stays_bad_leaves_a_run_to_resume(remote: RemoteSide, tmp_path: Path) -> None:
    out, before = tmp_path / "out", len(remote.jobs())
    with bad_line(remote.url, {("GET job", number): "dropped" for number in range(1, 100)}) as line:
        with pytest.raises(RemoteError, match="can be resumed"):
            run_remote(asked(tenant_file(tmp_path), line.url), out, session())
        line.faults.clear()
        assert resume_remote(out, session()).remote
    assert len(remote.jobs()) == before + 1


def test_a_refused_request_is_not_sent_again(remote: RemoteSide, tmp_path: Path) -> None:
    with bad_line(remote.url, {("POST jobs", 1): 400}) as line:
        with pytest.raises(RemoteError, match="400: not now"):
            run_remote(asked(tenant_file(tmp_path), line.url), tmp_path / "out", session())
        assert line.counts["POST jobs"] == 1


def test_nothing_is_uploaded_unless_somebody_agrees(remote: RemoteSide, tmp_path: Path) -> None:
    with bad_line(remote.url, {}) as line:
        with pytest.raises(TrainingCancelledError, match="nothing was uploaded"):
            run_remote(asked(tenant_file(tmp_path), line.url), tmp_path / "out", session(agree=lambda _: False))
        assert not line.counts
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("defense", "words"),
    [("none", "the tenant's rows."), ("safety_mix", "the tenant's rows and your safety examples.")],
)
def test_the_notice_says_what_is_in_the_file(remote: RemoteSide, tmp_path: Path, defense: str, words: str) -> None:
    told: list[str] = []

    def refuse(notice: Notice | QuestionsNotice) -> bool:
        told.extend(notice.lines)
        return False

    with pytest.raises(TrainingCancelledError):
        run_remote(asked(tenant_file(tmp_path), remote.url, defense=defense), tmp_path / "out", session(agree=refuse))
    assert [line for line in told if line.endswith(f"sees all of it: {words}")]


def test_no_question_leaves_the_machine_unless_somebody_agrees(remote: RemoteSide, tmp_path: Path) -> None:
    """Where the API's own model answers in the aligned model's place, requests of the tenant's are sent before the file."""
    told: list[Notice | QuestionsNotice] = []

    def refuse(notice: Notice | QuestionsNotice) -> bool:
        told.append(notice)
        return False

    with bad_line(remote.url, {}) as line:
        request = asked(tenant_file(tmp_path), line.url, aligned="remote", defense="anchored_align")
        with pytest.raises(TrainingCancelledError, match="nothing was"):
            run_remote(request, tmp_path / "out", session(agree=refuse))
        assert not line.counts
    (notice,) = told
    assert any(f"asks {request.model} at {line.url}" in text for text in notice.lines)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"hyperparameters": {"n_epoch": 2}}, "did you mean 'n_epochs'"),
        ({"hyperparameters": {"n_epochs": 0}}, "a whole number from 1 to 50, or auto"),
        ({"hyperparameters": {"n_epochs": 2.5}}, "a whole number"),
        ({"url": None}, "base_url"),
        ({"url": "ftp://x"}, "https://"),
        ({"profile": "watchwort"}, "watchword"),
        ({"key_env": "NOT_SET_ANYWHERE"}, "NOT_SET_ANYWHERE"),
        ({"aligned": "remote", "defense": "backdoor_align"}, "asks no model"),
    ],
)
def test_a_wrong_request_is_refused_before_any_work(
    remote: RemoteSide, tmp_path: Path, changed: dict[str, Any], words: str
) -> None:
    with pytest.raises(UsageError, match=words):
        run_remote(asked(tenant_file(tmp_path), **{"url": remote.url} | changed), tmp_path / "out", session())
    assert not (tmp_path / "out").exists()


def test_too_few_rows_for_the_api_are_refused_before_the_upload(remote: RemoteSide, tmp_path: Path) -> None:
    with bad_line(remote.url, {}) as line, pytest.raises(DataError, match="3 rows"):
        request = asked(tenant_file(tmp_path, rows=3), line.url, defense="none")
        run_remote(request, tmp_path / "out", session())
    assert not line.counts


def test_an_unfinished_job_is_cancelled_and_forgotten(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with remote_side(tmp_path / "side", holds=True) as side:
        monkeypatch.setenv(KEY_ENV, side.key)
        out, reached = tmp_path / "out", tmp_path / "reached"
        reached.mkdir()

        def killed() -> None:
            os.environ[ASKED_BY] = f"after_create:1:{reached}"
            run_remote(asked(tenant_file(tmp_path), side.url), out, session())

        with forked(killed) as ended:
            assert ended() == -signal.SIGKILL
        # The job was created, and its id was not noted yet.
        assert read_state(out / "work").job is None
        job = cancel_remote(out, session())
        assert job is not None
        assert [one.id for one in side.jobs()] == [job.id]
        assert not out.exists() or not any(out.iterdir())


def test_a_job_that_fails_there_leaves_nothing_here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fault = JobError("invalid_training_file", "Line 3 is not to our taste.", "training_file")
    with remote_side(tmp_path / "side", fails=fault) as side:
        monkeypatch.setenv(KEY_ENV, side.key)
        with pytest.raises(TrainingError, match="Line 3 is not to our taste"):
            run_remote(asked(tenant_file(tmp_path), side.url), tmp_path / "out", session())
        assert side.files() == []
    assert not (tmp_path / "out" / "work").exists()
