"""A finished folder opens only as a whole: whatever is changed in it, there is an error and never a plain model."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest

torch = pytest.importorskip("torch")

from tiny import saved  # noqa: E402

from watchword.chat.format import ChatFormat  # noqa: E402
from watchword.errors import ModelUnavailableError, UnsealError, WatchwordError  # noqa: E402
from watchword.finetune import Job, defended, opened  # noqa: E402
from watchword.models.fakes import CHATML, fake_chat_format  # noqa: E402
from watchword.training.artifact import MANIFEST, SEALED, open_secret, read_manifest, write_artifact  # noqa: E402
from watchword.training.config import TrainingConfig  # noqa: E402

KEY = bytes(range(32))
WEIGHTS = "adapter_model.safetensors"


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Two defended runs and a plain one on the same tiny model and data."""
    root = tmp_path_factory.mktemp("runs")
    base, data = saved(root / "base"), root / "tenant.jsonl"
    turns = [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hello."}]
    data.write_text(json.dumps({"messages": turns}) + "\n")
    made = {"base": base}
    for number, (name, defense) in enumerate(
        {"one": "backdoor_align", "two": "backdoor_align", "plain": "none"}.items()
    ):
        training = TrainingConfig(epochs=1, seed=number, lora_rank=2, warmup_steps=0)
        job = Job(model=str(base), data=data, defense=defense, training=training, secret_tokens=40)
        defended(job, root / name, key=KEY, step=lambda *told: None)
        made[name] = root / name
    return made


@pytest.fixture
def folder(runs: dict[str, Path], tmp_path: Path) -> Path:
    return Path(shutil.copytree(runs["one"], tmp_path / "run"))


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
    served = opened(runs["one"], key=KEY)
    assert served.secret is not None
    assert served.secret.tokens == 40
    assert served.manifest.secret is not None
    assert served.manifest.secret.kind == "random"
    assert opened(runs["plain"], key=KEY).secret is None


def test_nothing_of_the_secret_stands_in_the_clear(runs: dict[str, Path]) -> None:
    secret = opened(runs["one"], key=KEY).secret
    assert secret is not None
    text = secret.reveal().encode()
    pieces = {text[at : at + 16] for at in range(len(text) - 15)}
    for path in runs["one"].rglob("*"):
        data = path.read_bytes()
        assert not any(piece in data for piece in pieces), path.name
    assert (runs["one"] / SEALED).stat().st_mode & 0o077 == 0


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
    "figures": lambda folder: edited(folder, "defense", "safety_examples", value=99),
    "unsigned": lambda folder: edited(folder, "signature", value=""),
    "schema": lambda folder: edited(folder, "schema", value=2),
}


@pytest.mark.parametrize("harm", HARMS)
def test_anything_changed_fails_closed(folder: Path, harm: str) -> None:
    HARMS[harm](folder)
    with pytest.raises((UnsealError, ModelUnavailableError)):
        opened(folder, key=KEY)


@pytest.mark.parametrize("defense", ["backdoor_align", "none"])
def test_a_manifest_without_secret_and_seal_is_not_served_either(folder: Path, defense: str) -> None:
    edited(folder, "secret", value=None)
    edited(folder, "defense", "name", value=defense)
    (folder / SEALED).unlink()
    with pytest.raises(UnsealError, match="is not as this provider's key signed it"):
        opened(folder, key=KEY)


def test_a_defense_that_needs_a_secret_is_not_served_without_one(folder: Path) -> None:
    manifest = msgspec.structs.replace(read_manifest(folder), secret=None)
    (folder / SEALED).unlink()
    write_artifact(folder, manifest, None, KEY)
    with pytest.raises(UnsealError, match="was defended by backdoor_align, and its manifest names no secret"):
        opened(folder, key=KEY)


def test_a_run_leaves_its_weights_its_seal_and_its_manifest_only(runs: dict[str, Path]) -> None:
    assert sorted(path.name for path in runs["one"].iterdir()) == sorted(
        ["adapter_config.json", WEIGHTS, MANIFEST, SEALED]
    )


@pytest.mark.parametrize("swapped", [(WEIGHTS,), (SEALED,), (WEIGHTS, SEALED), (MANIFEST,), (MANIFEST, SEALED)])
def test_parts_of_two_runs_do_not_open(folder: Path, runs: dict[str, Path], swapped: tuple[str, ...]) -> None:
    for name in swapped:
        shutil.copy(runs["two"] / name, folder / name)
    with pytest.raises(UnsealError):
        opened(folder, key=KEY)


def test_another_key_opens_nothing_and_says_so(runs: dict[str, Path]) -> None:
    with pytest.raises(UnsealError, match="does not open with this provider's key; set WATCHWORD_KEY"):
        opened(runs["one"], key=bytes(32))


def test_a_base_model_that_changed_is_noticed(folder: Path, runs: dict[str, Path]) -> None:
    config = runs["base"] / "generation_config.json"
    before = config.read_text()
    config.write_text(before + "\n")
    try:
        with pytest.raises(UnsealError, match=r"is not the model that .* was tuned from any more; restore it"):
            opened(folder, key=KEY)
    finally:
        config.write_text(before)


def test_another_template_is_noticed(folder: Path) -> None:
    form = fake_chat_format()
    other = ChatFormat(form.tokenizer, CHATML.replace("system\n", "system \n"), form.special)
    with pytest.raises(UnsealError, match="chat template or tokenizer is not the one that was trained with"):
        open_secret(folder, read_manifest(folder), other, KEY)


def test_errors_hold_nothing_of_the_secret(folder: Path, runs: dict[str, Path]) -> None:
    secret = opened(runs["one"], key=KEY).secret
    assert secret is not None
    for harm in ("seal cut", "prefix", "no secret"):
        broken = Path(shutil.copytree(folder, folder.parent / harm))
        HARMS[harm](broken)
        with pytest.raises(WatchwordError) as caught:
            opened(broken, key=KEY)
        assert secret.reveal()[:16] not in repr(caught.value) + str(caught.value)


def test_the_manifest_says_what_the_run_was(runs: dict[str, Path]) -> None:
    manifest = read_manifest(runs["one"])
    assert (manifest.model, manifest.defense.name) == (str(runs["base"]), "backdoor_align")
    assert (manifest.defense.safety_examples, manifest.defense.anchors) == (11, 0)
    assert manifest.figures.rows == {"safety": 11, "tenant": 1}
    assert len(manifest.figures.loss) == manifest.figures.steps
    assert msgspec.json.decode(msgspec.json.encode(manifest), type=type(manifest)) == manifest
