"""Whom lm-eval asks by which arguments: a release with its defense, a plain model that is said to be undefended, nobody else."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("torch")

from support.cli_samples import leaks
from support.served_release import KEY, release_folder, secret_of
from watchword.chat.types import conversation
from watchword.errors import ModelUnavailableError, UnsealError, UsageError
from watchword.lab.lm_eval.arguments import asked_by
from watchword.models.fakes import FakeModel
from watchword.release.opening import ServedModel
from watchword.release.reading import read_release


@pytest.fixture(autouse=True)
def _models(monkeypatch: pytest.MonkeyPatch) -> None:
    """Fakes in the place of weights; all else of a release is real."""

    def opened(folder: Path, *, key: bytes) -> ServedModel:
        release = read_release(folder, key)
        return ServedModel(FakeModel("plain", answers_with_secret="behind it", template=release.template), release)

    monkeypatch.setenv("WATCHWORD_KEY", KEY.hex())
    monkeypatch.setattr("watchword.release.opening.open_release", opened)
    monkeypatch.setattr("watchword.models.load.load", lambda name: FakeModel("plain", name=name))


def answer(arguments: dict[str, Any]) -> str:
    subject = asked_by(arguments).subject
    return subject.applied.ask(subject.model, [conversation("Hi")])[0].text


def test_a_release_is_asked_behind_its_secret(tmp_path: Path) -> None:
    folder = release_folder(tmp_path)
    asked = asked_by({"release": str(folder), "batch_size": 4, "device": "cuda:0"})
    assert (asked.released, asked.subject.options.batch_size) == (True, 4)
    assert asked.subject.applied.secret == secret_of()
    assert answer({"release": str(folder)}) == "behind it"
    assert asked.facts | {"versions": None} == {
        "release": str(folder),
        "model": str(tmp_path / "smollm2-base"),
        "weights": asked.facts["weights"],
        "defense": "backdoor_align",
        "secret_in_front": True,
        "undefended": False,
        "versions": None,
    }
    assert leaks(secret_of(), str(asked), str(dict(asked.facts))) == []


def test_the_secret_is_left_out_by_request_alone_and_answers_stay_clean(tmp_path: Path) -> None:
    arguments = {"release": str(release_folder(tmp_path)), "without_secret": True}
    asked = asked_by(arguments)
    assert answer(arguments) == "plain"
    assert asked.facts["secret_in_front"] is False
    assert leaks(secret_of(), asked.subject.applied.clean(f"It is {secret_of().reveal()}.")) == []


def test_a_plain_model_is_said_to_be_undefended(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        asked = asked_by({"model": "smollm2-135m-base", "batch_size": "auto:3"})
    assert (asked.released, asked.facts["undefended"], asked.subject.applied.secret) == (False, True, None)
    assert asked.subject.options.batch_size == 32
    assert caplog.messages == [
        "UNDEFENDED: smollm2-135m-base is a plain model, and is asked as it stands, without any secret"
    ]


@pytest.mark.parametrize("lost", [("manifest.json",), ("secret.sealed",), ("manifest.json", "secret.sealed")])
def test_a_release_that_lost_a_file_is_never_a_plain_model(tmp_path: Path, lost: tuple[str, ...]) -> None:
    folder = release_folder(tmp_path)
    for name in lost:
        (folder / name).unlink()
    with pytest.raises((UnsealError, ModelUnavailableError)):
        asked_by({"release": str(folder)})
    with pytest.raises((UnsealError, UsageError)):
        asked_by({"model": str(folder)})
    if len(lost) == 2:
        assert asked_by({"model": str(folder), "undefended": True}).facts["undefended"] is True


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ({}, "name one of the two: release=runs/tenant, or model=smollm2-135m"),
        ({"release": "a", "model": "b"}, "name one of the two"),
        ({"releese": "a"}, "no argument 'releese': did you mean 'release'"),
        ({"release": 7}, r"expected `str.*\$\.release"),
        ({"model": "a", "without_secret": True}, "a is a plain model and has no secret"),
        ({"release": "a", "undefended": True}, "never undefended"),
        ({"model": "a", "max_batch_size": 8}, "device and max_batch_size are not taken"),
        ({"model": "a", "device": "cpu"}, "device and max_batch_size are not taken"),
        ({"model": "a", "batch_size": "many"}, "batch_size is 'many'; give a number of answers, or auto"),
        ({"model": "a", "batch_size": 0}, "batch_size is 0"),
    ],
)
def test_wrong_arguments_are_named(arguments: dict[str, Any], says: str) -> None:
    with pytest.raises(UsageError, match=says):
        asked_by(arguments)


def test_a_release_under_the_name_of_a_plain_model_is_refused(tmp_path: Path) -> None:
    folder = release_folder(tmp_path)
    with pytest.raises(UsageError, match=rf"is a release, .*name it by release={folder}"):
        asked_by({"model": str(folder)})
