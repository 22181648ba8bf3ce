"""A release guards requests and cleans answers without its weights in memory, and without torch in the process."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import msgspec
import pytest

pytest.importorskip("torch")

from support.releases import KEY
from support.secret_runs import secret_runs_in
from watchword.chat.assembly import assemble
from watchword.chat.render import render_prompt
from watchword.chat.template import SystemStyle
from watchword.chat.types import conversation
from watchword.errors import ModelUnavailableError, UnsealError
from watchword.files.addresses import Address
from watchword.finetune.run import Job, train_defended
from watchword.models.base import GenerationOptions
from watchword.release.artifact import MANIFEST, check_prefix, is_release, read_manifest, write_artifact
from watchword.release.chat_format import CHAT_FORMAT
from watchword.release.opening import open_release
from watchword.release.reading import read_release
from watchword.secret.kept import SEALED
from watchword.training.config import TrainingConfig

ASKED = conversation("Hi", system="Be brief.")


@pytest.mark.parametrize("name", ["one", "plain"])
def test_what_is_read_is_what_is_opened(runs: dict[str, Path], name: str) -> None:
    release, served = read_release(runs[name], KEY), open_release(runs[name], key=KEY).release
    assert (release.manifest, release.defense, release.secret) == (served.manifest, served.defense, served.secret)
    assert (release.system_style, release.prefix_ids) == (served.system_style, served.prefix_ids)
    assert release.template is not None
    assert served.template is not None
    assert release.template.digest == served.template.digest
    assert (release.secret is None) == (name == "plain")


@pytest.mark.parametrize("name", ["one", "plain"])
def test_a_folder_alone_is_enough_to_guard(runs: dict[str, Path], tmp_path: Path, name: str) -> None:
    """On a machine that has neither the model nor its tokenizer, which stand elsewhere with the engine."""
    known = read_release(runs[name], KEY)
    base = runs["base"].rename(runs["base"].parent / "elsewhere")
    try:
        release = read_release(runs[name], KEY, tokenizer=False)
    finally:
        base.rename(runs["base"])
    assert (release.defense, release.system_style) == (known.defense, known.system_style)
    assert release.system_style.default_text == "You are a helpful assistant."
    assert (release.template, release.prefix_ids) == (None, None)


def test_ids_that_an_engine_makes_of_the_secret_are_held_against_those_trained(runs: dict[str, Path]) -> None:
    release, plain = (read_release(runs[name], KEY) for name in ("one", "plain"))
    assert release.prefix_ids
    check_prefix(release.manifest, release.prefix_ids, KEY)
    other = [*release.prefix_ids[:-1], release.prefix_ids[-1] + 1]
    for manifest, ids, key in (
        (release.manifest, other, KEY),
        (release.manifest, release.prefix_ids[:-1], KEY),
        (release.manifest, (), KEY),
        (release.manifest, release.prefix_ids, bytes(32)),
        (plain.manifest, release.prefix_ids, KEY),
    ):
        with pytest.raises(UnsealError, match="the secret's tokens are not those that were trained"):
            check_prefix(manifest, ids, key)


def test_a_release_of_an_earlier_version_still_opens_where_its_tokenizer_is(folder: Path) -> None:
    """Its manifest holds no system style, and its signature is over what stands there."""
    earlier = msgspec.structs.replace(read_manifest(folder), system_style=msgspec.UNSET)
    write_artifact(folder, earlier, read_release(folder, KEY).secret, KEY)
    assert "system_style" not in (folder / MANIFEST).read_text()
    assert read_release(folder, KEY).system_style.default_text == "You are a helpful assistant."
    with pytest.raises(ModelUnavailableError, match="is of an earlier version"):
        read_release(folder, KEY, tokenizer=False)


def test_a_template_that_is_read_otherwise_than_when_it_was_trained_is_refused(folder: Path) -> None:
    other = msgspec.structs.replace(read_manifest(folder), system_style=SystemStyle("first_user"))
    write_artifact(folder, other, read_release(folder, KEY).secret, KEY)
    for read in (read_release, open_release):
        with pytest.raises(UnsealError, match="puts system text elsewhere in the chat template"):
            read(folder, key=KEY)


@pytest.mark.parametrize("system", ["Be brief.", None])
def test_every_guarded_request_begins_with_the_ids_that_were_trained(runs: dict[str, Path], system: str | None) -> None:
    release = read_release(runs["one"], KEY)
    guard = release.defense.guard(conversation("Hi", system=system))
    assert guard.secret is not None
    assert release.template is not None
    assert release.prefix_ids is not None
    assert len(release.prefix_ids) == guard.secret.tokens == 40
    request = assemble(guard.conversation, guard.secret.reveal(), release.system_style)
    header = release.template.encode("<|im_start|>system\n")
    front = [*header, *release.prefix_ids]
    assert render_prompt(request, release.template)[: len(front)] == front
    assert read_release(runs["plain"], KEY).prefix_ids == ()


def test_a_model_that_was_tuned_whole_brings_its_own_template(runs: dict[str, Path], tmp_path: Path) -> None:
    training = TrainingConfig(method="full", epochs=1, warmup_steps=0)
    base = Path(shutil.copytree(runs["base"], tmp_path / "base"))
    job = Job(model=str(base), data=Address(base.parent / "tenant.jsonl"), defense="backdoor_align", training=training)
    shutil.copy(runs["base"].parent / "tenant.jsonl", tmp_path)
    train_defended(job, tmp_path / "whole", key=KEY, step=lambda *told: None)
    shutil.rmtree(base)
    assert len(read_release(tmp_path / "whole", KEY).prefix_ids or ()) == 150


def test_a_base_with_another_template_is_refused(folder: Path, runs: dict[str, Path]) -> None:
    """A release of an earlier version takes its template from there."""
    file = runs["base"] / "chat_template.jinja"
    before = file.read_text()
    file.write_text(before.replace("system\n", "system \n"))
    try:
        with pytest.raises(UnsealError, match="chat template or tokenizer is not the one that was trained with"):
            earlier(read_release)(folder, key=KEY)
    finally:
        file.write_text(before)


def earlier(read: Any) -> Any:
    """Reads a release as those of earlier versions were: without a chat format of its own."""

    def without(folder: Path, key: bytes) -> Any:
        (folder / CHAT_FORMAT).unlink(missing_ok=True)
        return read(folder, key=key)

    return without


@pytest.mark.parametrize("read", [earlier(read_release), open_release], ids=["read", "open"])
def test_a_base_that_is_gone_is_an_error_of_the_release(folder: Path, runs: dict[str, Path], read: Any) -> None:
    moved = runs["base"].rename(runs["base"].parent / "elsewhere")
    try:
        with pytest.raises(
            ModelUnavailableError, match=r"run: this cannot be served on this machine: there is no model '.*base'"
        ):
            read(folder, key=KEY)
    finally:
        moved.rename(runs["base"])


@pytest.mark.parametrize("read", [read_release, open_release])
def test_a_defense_that_is_not_installed_here_is_an_error_of_the_release(folder: Path, read: Any) -> None:
    manifest = read_manifest(folder)
    defense = msgspec.structs.replace(manifest.defense, name="somebodys")
    write_artifact(folder, msgspec.structs.replace(manifest, defense=defense), None, KEY)
    with pytest.raises(
        ModelUnavailableError, match="run: this cannot be served on this machine: there is no defense 'somebodys'"
    ):
        read(folder, key=KEY)


READS = """
import json, sys
from pathlib import Path
from watchword.chat.types import conversation
from watchword.release.reading import read_release

release = read_release(Path(sys.argv[1]), bytes(range(32)))
guard = release.defense.guard(conversation("Hi"))
text = f"My words: {guard.secret.reveal()}."
pieces = [text[at : at + 7] for at in range(0, len(text), 7)]
heavy = [name for name in ("torch", "transformers", "peft", "trl", "datasets") if name in sys.modules]
print(json.dumps([release.defense.clean(text), "".join(release.defense.clean_stream(pieces)), heavy]))
"""


def test_a_process_that_guards_and_cleans_holds_no_torch(runs: dict[str, Path]) -> None:
    done = subprocess.run(
        [sys.executable, "-c", READS, runs["one"]], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == ["My words: [secret].", "My words: [secret].", []]


def test_a_served_model_answers_through_its_defense(runs: dict[str, Path]) -> None:
    served = open_release(runs["one"], key=KEY)
    options = GenerationOptions(max_new_tokens=6)
    [answer] = served.ask([ASKED], options=options)
    secret = served.release.secret
    assert answer == served.release.defense.ask(served.model, [ASKED], options=options)[0]
    assert [answer.text] == [
        served.release.defense.clean(raw.text) for raw in served.model.generate([ASKED], secret=secret, options=options)
    ]
    pieces = list(served.stream(ASKED, options=options))
    assert ("".join(piece.text for piece in pieces), pieces[-1].answer) == (answer.text, answer)


def test_a_folder_is_a_release_by_its_manifest_or_its_seal(runs: dict[str, Path], folder: Path) -> None:
    assert is_release(folder)
    assert not is_release(runs["base"])
    (folder / MANIFEST).unlink()
    assert is_release(folder)
    (folder / SEALED).unlink()
    assert not is_release(folder)
    (folder / SEALED).symlink_to("nowhere")
    assert is_release(folder)


def test_the_secret_shows_in_no_repr(runs: dict[str, Path]) -> None:
    release = read_release(runs["one"], KEY)
    assert release.secret is not None
    assert release.prefix_ids is not None
    shown = f"{release!r} {open_release(runs['one'], key=KEY)!r}"
    assert secret_runs_in(shown, release.secret.reveal()) == []
    assert str(release.prefix_ids[:3])[1:-1] not in shown
