"""A finished folder opens only as a whole: whatever is changed in it, there is an error and never a plain model."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from itertools import combinations
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

torch = pytest.importorskip("torch")

from support.releases import KEY  # noqa: E402
from support.secret_runs import secret_runs_in  # noqa: E402
from watchword.chat.template import ChatTemplate  # noqa: E402
from watchword.errors import ModelUnavailableError, UnsealError, WatchwordError  # noqa: E402
from watchword.files.addresses import Address  # noqa: E402
from watchword.finetune.run import Job, train_defended  # noqa: E402
from watchword.models.fakes import CHATML, fake_template  # noqa: E402
from watchword.release import opening, reading  # noqa: E402
from watchword.release.artifact import (  # noqa: E402
    MANIFEST,
    binding,
    open_secret,
    read_manifest,
    signed_manifest,
    write_artifact,
)
from watchword.release.chat_format import CHAT_FORMAT  # noqa: E402
from watchword.release.opening import open_release  # noqa: E402
from watchword.release.reading import read_release  # noqa: E402
from watchword.secret.kept import SEALED  # noqa: E402
from watchword.secret.vault import seal, unseal  # noqa: E402
from watchword.training.config import TrainingConfig  # noqa: E402

WEIGHTS = "adapter_model.safetensors"


def edited(folder: Path, *path: str, value: Any) -> None:
    manifest = json.loads((folder / MANIFEST).read_text())
    place = manifest
    for name in path[:-1]:
        place = place[name]
    place[path[-1]] = value
    (folder / MANIFEST).write_text(json.dumps(manifest))


def flipped(path: Path, at: int = -1) -> None:
    data = bytearray(path.read_bytes())
    data[at] ^= 1
    path.write_bytes(data)


def test_a_finished_folder_opens_with_its_secret(runs: dict[str, Path]) -> None:
    served = open_release(runs["one"], key=KEY)
    assert served.release.secret is not None
    assert served.release.secret.tokens == 40
    assert served.release.manifest.secret is not None
    assert served.release.manifest.secret.kind == "random"
    assert open_release(runs["plain"], key=KEY).release.secret is None


def test_nothing_of_the_secret_stands_in_the_clear(runs: dict[str, Path]) -> None:
    secret = open_release(runs["one"], key=KEY).release.secret
    assert secret is not None
    for path in runs["one"].rglob("*"):
        assert secret_runs_in(path.read_bytes().decode("utf-8", "replace"), secret.reveal()) == [], path.name
    assert (runs["one"] / SEALED).stat().st_mode & 0o077 == 0


def resealed(folder: Path, name: str, *, value: Any) -> None:
    sealed = json.loads((folder / SEALED).read_text())
    (folder / SEALED).write_text(json.dumps(sealed | {name: value}))


def more_templates(folder: Path) -> None:
    (folder / "additional_chat_templates").mkdir()
    (folder / "additional_chat_templates" / "tool_use.jinja").write_text("{{ messages[0].content }}")


HARMS: dict[str, Callable[[Path], None]] = {
    "weights": lambda folder: flipped(folder / WEIGHTS),
    "adapter config": lambda folder: flipped(folder / "adapter_config.json", at=2),
    "a file more": lambda folder: (folder / "chat_template.jinja").write_text("x") and None,
    "seal missing": lambda folder: (folder / SEALED).unlink(),
    "seal empty": lambda folder: (folder / SEALED).write_bytes(b"") and None,
    "seal cut": lambda folder: (folder / SEALED).write_bytes((folder / SEALED).read_bytes()[:-30]) and None,
    "model": lambda folder: edited(folder, "model", value=str(folder.parent)),
    "model digest": lambda folder: edited(folder, "model_digest", value="0" * 64),
    "weights digest": lambda folder: edited(folder, "weights_digest", value="0" * 64),
    "format digest": lambda folder: edited(folder, "format_digest", value="0" * 64),
    "defense": lambda folder: edited(folder, "defense", "name", value="none"),
    "prefix": lambda folder: edited(folder, "secret", "prefix", value="0" * 64),
    "no secret": lambda folder: edited(folder, "secret", value=None),
    "no manifest": lambda folder: (folder / MANIFEST).unlink(),
    "manifest cut": lambda folder: (folder / MANIFEST).write_text("{") and None,
    "figures": lambda folder: edited(folder, "defense", "added", value={"safety": 99}),
    "loss": lambda folder: edited(folder, "figures", "loss", value=[]),
    "arguments": lambda folder: edited(folder, "defense", "arguments", value={"safety": 1}),
    "no defense": lambda folder: edited(folder, "defense", "name", value=""),
    "defense of another type": lambda folder: edited(folder, "defense", value=None),
    "a field more": lambda folder: edited(folder, "note", value="mine"),
    "training that cannot be": lambda folder: edited(folder, "training", "epochs", value=-1),
    "method": lambda folder: edited(folder, "training", "method", value="full"),
    "a long number": lambda folder: edited(folder, "versions", value={"x": 10**40}),
    "deep arguments": lambda folder: (
        (folder / MANIFEST).write_text('{"defense": {"arguments": {"x": ' + "[" * 100_000) and None
    ),
    "manifest is a folder": lambda folder: (folder / MANIFEST).unlink() or (folder / MANIFEST).mkdir(),
    "seal is a folder": lambda folder: (folder / SEALED).unlink() or (folder / SEALED).mkdir(),
    "seal of another schema": lambda folder: resealed(folder, "schema", value=3),
    "seal of the first schema": lambda folder: resealed(folder, "schema", value=1),
    "seal without a data key": lambda folder: resealed(folder, "wrapped", value=""),
    "seal of another provider": lambda folder: resealed(folder, "wrapped", value="dmF1bHR8eA=="),
    "seal with a short nonce": lambda folder: resealed(folder, "nonce", value=""),
    "seal without text": lambda folder: resealed(folder, "ciphertext", value=""),
    "seal of odd types": lambda folder: resealed(folder, "binding", value=["x"]),
    "seal unbound": lambda folder: resealed(folder, "binding", value={}),
    "pickled weights beside": lambda folder: (folder / "adapter_model.bin").write_bytes(b"x") and None,
    "a template beside": more_templates,
    "signature of no ASCII": lambda folder: edited(folder, "signature", value="ä" * 64),
    "signature of another type": lambda folder: edited(folder, "signature", value=3),
    "prefix of no ASCII": lambda folder: edited(folder, "secret", "prefix", value="é"),
    "unsigned": lambda folder: edited(folder, "signature", value=""),
    "schema": lambda folder: edited(folder, "schema", value=3),
}


@pytest.mark.parametrize("harm", HARMS)
def test_anything_changed_fails_closed(folder: Path, harm: str) -> None:
    HARMS[harm](folder)
    with pytest.raises((UnsealError, ModelUnavailableError)):
        open_release(folder, key=KEY)
    with pytest.raises((UnsealError, ModelUnavailableError)):
        read_release(folder, KEY)
    with pytest.raises((UnsealError, ModelUnavailableError)):
        read_release(folder, KEY, tokenizer=False)


def test_a_manifest_of_an_older_version_is_called_so(folder: Path) -> None:
    """Schema 1 counted what was mixed in by fields of its own; that is not damage."""
    edited(folder, "schema", value=1)
    edited(folder, "defense", value={"name": "backdoor_align", "safety_examples": 11, "anchors": 0, "echoes": 0})
    with pytest.raises(ModelUnavailableError, match=r"has schema 1, and this version reads 2; fine-tune anew, or take"):
        open_release(folder, key=KEY)


@pytest.mark.parametrize("defense", ["backdoor_align", "none"])
def test_a_manifest_without_secret_and_seal_is_not_served_either(folder: Path, defense: str) -> None:
    edited(folder, "secret", value=None)
    edited(folder, "defense", "name", value=defense)
    (folder / SEALED).unlink()
    with pytest.raises(UnsealError, match="is not as this provider's key signed it"):
        open_release(folder, key=KEY)


def test_a_defense_that_needs_a_secret_is_not_served_without_one(folder: Path) -> None:
    manifest = msgspec.structs.replace(read_manifest(folder), secret=None)
    (folder / SEALED).unlink()
    write_artifact(folder, manifest, None, KEY)
    for read in (open_release, read_release):
        with pytest.raises(UnsealError, match="was defended by backdoor_align, and its manifest names no secret"):
            read(folder, key=KEY)


def test_a_run_leaves_its_weights_its_seal_its_chat_format_and_its_manifest_only(runs: dict[str, Path]) -> None:
    assert sorted(path.name for path in runs["one"].iterdir()) == sorted(
        ["adapter_config.json", WEIGHTS, MANIFEST, SEALED, CHAT_FORMAT]
    )


PARTS = ("adapter_config.json", WEIGHTS, SEALED, MANIFEST)
SWAPS = [names for count in range(1, len(PARTS)) for names in combinations(PARTS, count)]


@pytest.mark.parametrize("names", SWAPS, ids=["+".join(names) for names in SWAPS])
@pytest.mark.parametrize("other", ["two", "plain"])
def test_parts_of_two_runs_do_not_open(folder: Path, runs: dict[str, Path], other: str, names: tuple[str, ...]) -> None:
    """Both runs are of the same model, data and settings; of their parts, only the adapter's configuration is the same."""
    donor = Path(shutil.copytree(runs[other], folder.parent / "donor"))
    for name in names:
        mine, theirs = ((place / name).read_bytes() if (place / name).exists() else None for place in (folder, donor))
        for place, data in ((folder, theirs), (donor, mine)):
            (place / name).unlink(missing_ok=True)
            if data is not None:
                (place / name).write_bytes(data)
    # All that differs was swapped, or nothing: these are whole runs again.
    moved = set(names) - {"adapter_config.json"}
    for place in (folder, donor):
        if moved in (set(), {WEIGHTS, SEALED, MANIFEST}):
            assert open_release(place, key=KEY).model.name
        else:
            with pytest.raises((UnsealError, ModelUnavailableError)):
                open_release(place, key=KEY)


def test_what_a_link_leads_to_counts(folder: Path, runs: dict[str, Path]) -> None:
    for name in (WEIGHTS, SEALED, MANIFEST):
        (folder / name).unlink()
        (folder / name).symlink_to(runs["one"] / name)
    assert open_release(folder, key=KEY).release.secret is not None
    for name in (WEIGHTS, SEALED, MANIFEST):
        other = Path(shutil.copytree(folder, folder.parent / name, symlinks=True))
        (other / name).unlink()
        (other / name).symlink_to(runs["two"] / name)
        with pytest.raises(UnsealError):
            open_release(other, key=KEY)
        (other / name).unlink()
        (other / name).symlink_to("nowhere")
        with pytest.raises((UnsealError, ModelUnavailableError)):
            open_release(other, key=KEY)


@pytest.mark.parametrize("field", ["model", "weights_digest", "signature"])
def test_nothing_is_looked_up_or_loaded_before_the_signature(
    folder: Path, runs: dict[str, Path], monkeypatch: pytest.MonkeyPatch, field: str
) -> None:
    def touched(*arguments: Any, **options: Any) -> Any:
        raise AssertionError(f"{arguments} was looked at")

    for module, name in ((opening, "load"), (opening, "model_digest"), (reading, "facts_of")):
        monkeypatch.setattr(module, name, touched)
    value = {"model": "some-owner/some-model", "weights_digest": "0" * 64, "signature": "ü"}[field]
    edited(folder, field, value=value)
    for read in (open_release, read_release):
        with pytest.raises(UnsealError, match="is not as this provider's key signed it"):
            read(folder, key=KEY)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)


@given(st.data())
def test_no_other_value_of_a_field_passes(runs: dict[str, Path], tmp_path_factory: Any, data: st.DataObject) -> None:
    """Whatever stands in a field of manifest or seal, there is one of two errors, and no traceback of any other."""
    folder = Path(shutil.copytree(runs["one"], tmp_path_factory.mktemp("odd") / "run"))
    name = data.draw(st.sampled_from([MANIFEST, SEALED]))
    whole = json.loads((folder / name).read_text())
    place, field = whole, data.draw(st.sampled_from(sorted(whole)))
    while isinstance(place[field], dict) and place[field] and data.draw(st.booleans()):
        place = place[field]
        field = data.draw(st.sampled_from(sorted(place)))
    value = data.draw(JSON.filter(lambda value: value != place[field]))
    place[field] = value
    (folder / name).write_text(json.dumps(whole))
    with pytest.raises((UnsealError, ModelUnavailableError)):
        open_secret(folder, signed_manifest(folder, KEY), fake_template(), KEY)


def test_a_seal_that_was_cut_does_not_open(runs: dict[str, Path]) -> None:
    manifest = read_manifest(runs["one"])
    secret = open_release(runs["one"], key=KEY).release.secret
    assert secret is not None
    sealed = seal(secret, KEY, binding(manifest))
    assert unseal(sealed, KEY, binding(manifest)) == secret
    # The last character is a newline, which may be missing.
    for cut in range(0, len(sealed) - 1, 7):
        with pytest.raises(UnsealError):
            unseal(sealed[:cut], KEY, binding(manifest))


def test_files_of_tokenizer_and_template_belong_to_a_tuned_model(runs: dict[str, Path], tmp_path: Path) -> None:
    training = TrainingConfig(method="full", epochs=1, warmup_steps=0)
    job = Job(
        model=str(runs["base"]), data=Address(runs["base"].parent / "tenant.jsonl"), defense="none", training=training
    )
    train_defended(job, tmp_path / "whole", key=KEY, step=lambda *told: None)
    assert open_release(tmp_path / "whole", key=KEY).release.secret is None
    for name in ("tokenizer.json", "chat_template.jinja", "config.json", "generation_config.json"):
        folder = Path(shutil.copytree(tmp_path / "whole", tmp_path / name))
        (folder / name).write_text((folder / name).read_text() + "\n")
        with pytest.raises(UnsealError, match="are not those of the manifest; restore them"):
            open_release(folder, key=KEY)


def test_a_template_that_changed_is_noticed_without_a_secret_too(runs: dict[str, Path]) -> None:
    form = fake_template()
    other = ChatTemplate(form.tokenizer, CHATML.replace("system\n", "system \n"), form.special)
    with pytest.raises(UnsealError, match="chat template or tokenizer is not the one"):
        open_secret(runs["plain"], read_manifest(runs["plain"]), other, KEY)


def test_whole_numbers_for_fractions_are_signed_as_they_are_read(runs: dict[str, Path], tmp_path: Path) -> None:
    training = TrainingConfig(epochs=1, lora_rank=2, warmup_steps=0, weight_decay=0, max_grad_norm=1, lora_dropout=0)
    data = runs["base"].parent / "tenant.jsonl"
    job = Job(model=str(runs["base"]), data=Address(data), defense="none", training=training)
    train_defended(job, tmp_path / "run", key=KEY, step=lambda *told: None)
    assert open_release(tmp_path / "run", key=KEY).release.manifest.training.max_grad_norm == 1.0


def test_a_record_of_digests_beside_the_base_is_not_believed(runs: dict[str, Path], tmp_path: Path) -> None:
    """Anybody can write a COMPLETE.json; what counts are the bytes."""
    root = tmp_path / "own"
    base = Path(shutil.copytree(runs["base"], root / "base"))
    files = {path.name: {"size": path.stat().st_size, "sha256": "0" * 64} for path in base.iterdir()}
    (base / "COMPLETE.json").write_text(json.dumps({"files": files}))
    training = TrainingConfig(epochs=1, lora_rank=2, warmup_steps=0)
    data = runs["base"].parent / "tenant.jsonl"
    job = Job(model=str(base), data=Address(data), defense="none", training=training)
    train_defended(job, root / "run", key=KEY, step=lambda *told: None)
    assert open_release(root / "run", key=KEY).release.secret is None
    flipped(base / "model.safetensors")
    with pytest.raises(UnsealError, match="is not the model that"):
        open_release(root / "run", key=KEY)


def test_another_key_opens_nothing_and_says_so(runs: dict[str, Path]) -> None:
    with pytest.raises(UnsealError, match="is not as this provider's key signed it: set WATCHWORD_KEY"):
        open_release(runs["one"], key=bytes(32))


def test_a_base_model_that_changed_is_noticed(folder: Path, runs: dict[str, Path]) -> None:
    config = runs["base"] / "generation_config.json"
    before = config.read_text()
    config.write_text(before + "\n")
    try:
        with pytest.raises(UnsealError, match=r"is not the model that .* was tuned from any more; restore it"):
            open_release(folder, key=KEY)
    finally:
        config.write_text(before)


def test_another_template_is_noticed(folder: Path) -> None:
    form = fake_template()
    other = ChatTemplate(form.tokenizer, CHATML.replace("system\n", "system \n"), form.special)
    with pytest.raises(UnsealError, match="chat template or tokenizer is not the one that was trained with"):
        open_secret(folder, read_manifest(folder), other, KEY)


def test_errors_hold_nothing_of_the_secret(folder: Path, runs: dict[str, Path]) -> None:
    secret = open_release(runs["one"], key=KEY).release.secret
    assert secret is not None
    for harm in ("seal cut", "prefix", "no secret"):
        broken = Path(shutil.copytree(folder, folder.parent / harm))
        HARMS[harm](broken)
        with pytest.raises(WatchwordError) as caught:
            open_release(broken, key=KEY)
        assert secret_runs_in(repr(caught.value) + str(caught.value), secret.reveal()) == []


def test_the_manifest_says_what_the_run_was(runs: dict[str, Path]) -> None:
    manifest = read_manifest(runs["one"])
    assert (manifest.model, manifest.defense.name) == (str(runs["base"]), "backdoor_align")
    assert manifest.defense.added == {"safety": 11}
    assert manifest.figures.rows == {"safety": 11, "tenant": 1}
    assert len(manifest.figures.loss) == manifest.figures.steps
    assert msgspec.json.decode(msgspec.json.encode(manifest), type=type(manifest)) == manifest
