"""What an engine is given of a release: the very model that was tuned, the adapter under its own name, and no secret."""

from __future__ import annotations

import json
import re
import shutil
import tomllib
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch")

from support.releases import KEY  # noqa: E402
from watchword.cli.app import run  # noqa: E402
from watchword.errors import ModelUnavailableError, UnsealError  # noqa: E402
from watchword.models.facts import facts_of  # noqa: E402
from watchword.models.load import load  # noqa: E402
from watchword.release.artifact import read_manifest  # noqa: E402
from watchword.release.engine import engine_name, place_adapter  # noqa: E402
from watchword.release.opening import open_release  # noqa: E402
from watchword.release.preparing import prepare  # noqa: E402


def same(one: Any, other: Any) -> bool:
    ours, theirs = one.state_dict(), other.state_dict()
    return ours.keys() == theirs.keys() and all(torch.equal(ours[name], theirs[name]) for name in ours)


def tuned(folder: Path) -> Any:
    """The weights of a release, as ``open_release`` puts them together."""
    return load(read_manifest(folder).model, adapter=folder, device="cpu", dtype=torch.float32).model


def test_model_and_adapter_together_are_the_release(folder: Path, tmp_path: Path) -> None:
    made = prepare(folder, tmp_path / "engine", key=KEY)
    assert made.adapter is not None
    served = load(made.model, adapter=made.adapter, device="cpu", dtype=torch.float32).model
    assert same(served, tuned(folder))
    assert (made.name, made.adapter.parent.name) == (engine_name(read_manifest(folder)), "adapters")
    assert made.adapter.name == made.name
    # vLLM's resolver takes an adapter for this model only.
    config = json.loads((made.adapter / "adapter_config.json").read_bytes())
    assert config["base_model_name_or_path"] == str(made.model)
    assert made.model.is_absolute()


def test_a_whole_model_has_the_adapter_in_it(folder: Path, tmp_path: Path) -> None:
    made = prepare(folder, tmp_path / "engine", key=KEY, merged=True)
    assert made.adapter is None
    assert made.model.name == made.name
    whole = load(made.model, device="cpu", dtype=torch.float32).model
    assert same(whole, tuned(folder))


def test_nothing_that_an_engine_reads_holds_the_secret(folder: Path, tmp_path: Path) -> None:
    prepare(folder, tmp_path / "engine", key=KEY)
    prepare(folder, tmp_path / "engine", key=KEY, merged=True)
    names = {path.name for path in (tmp_path / "engine").rglob("*") if path.is_file()}
    assert not names & {"secret.sealed", "manifest.json"}
    secret = open_release(folder, key=KEY).release.secret
    assert secret is not None
    files = [path for path in (tmp_path / "engine").rglob("*") if path.is_file()]
    assert not [path for path in files if secret.reveal().encode() in path.read_bytes()]


def test_releases_on_one_model_share_it_and_what_is_there_stays(runs: dict[str, Path], tmp_path: Path) -> None:
    steps: list[str] = []
    made = [
        prepare(runs[name], tmp_path / "engine", key=KEY, step=lambda what, done, total: steps.append(what))
        for name in ("one", "two", "one")
    ]
    assert len({one.model for one in made}) == 1
    assert steps == ["writing the model"] * 2
    assert made[0] == made[2]
    assert made[0].adapter != made[1].adapter
    assert {path.name for path in (tmp_path / "engine" / "adapters").iterdir()} == {made[0].name, made[1].name}


def test_the_template_is_the_one_that_was_trained_with(folder: Path, tmp_path: Path) -> None:
    made = prepare(folder, tmp_path / "engine", key=KEY)
    assert facts_of(made.model).template.digest == read_manifest(folder).format_digest
    (made.model / "chat_template.jinja").write_text("{{ messages[0].content }}")
    with pytest.raises(UnsealError, match="chat template"):
        prepare(folder, tmp_path / "engine", key=KEY)


def test_a_changed_release_or_another_key_is_refused_before_anything_is_written(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(UnsealError):
        prepare(folder, tmp_path / "engine", key=bytes(32))
    with (folder / "adapter_model.safetensors").open("ab") as stream:
        stream.write(b" ")
    with pytest.raises(UnsealError):
        prepare(folder, tmp_path / "engine", key=KEY)
    assert not (tmp_path / "engine").exists()


def test_weights_that_change_while_they_are_copied_are_not_placed(folder: Path, tmp_path: Path) -> None:
    manifest = read_manifest(folder)
    (folder / "adapter_model.safetensors").write_bytes(b"others")
    with pytest.raises(UnsealError):
        place_adapter(folder, manifest, tmp_path / "adapters")
    assert not list((tmp_path / "adapters").iterdir())


def test_a_copy_that_differs_is_an_error_and_stays(folder: Path, tmp_path: Path) -> None:
    manifest = read_manifest(folder)
    target = place_adapter(folder, manifest, tmp_path)
    assert place_adapter(folder, manifest, tmp_path) == target
    with pytest.raises(ModelUnavailableError, match=r"adapter_config\.json"):
        place_adapter(folder, manifest, tmp_path, base="/srv/another")
    config = json.loads((target / "adapter_config.json").read_bytes())
    for changed in (config | {"lora_alpha": 1}, [], "x"):
        (target / "adapter_config.json").write_text(json.dumps(changed))
        with pytest.raises(ModelUnavailableError, match=r"adapter_config\.json"):
            place_adapter(folder, manifest, tmp_path)
    shutil.rmtree(target)
    target.write_text("a stray file")
    with pytest.raises(ModelUnavailableError):
        place_adapter(folder, manifest, tmp_path)


def test_what_was_prepared_is_taken_by_whoever_asks_for_no_base(folder: Path, tmp_path: Path) -> None:
    made = prepare(folder, tmp_path, key=KEY)
    assert place_adapter(folder, read_manifest(folder), tmp_path / "adapters") == made.adapter
    assert prepare(folder, tmp_path, key=KEY) == made


def test_the_command_says_what_to_configure(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WATCHWORD_KEY", KEY.hex())
    assert run(["gateway", "prepare", str(folder), "--out", str(tmp_path / "engine")]) == 0
    shown = capsys.readouterr().out
    found = re.search(r"The engine's model: (.*)\nThe adapter: (.*)\n", shown)
    assert found is not None
    assert all(Path(path).is_dir() for path in found.groups())
    entry = tomllib.loads(shown[shown.index("upstream_model") :])
    assert entry["upstream_model"] == engine_name(read_manifest(folder))
    assert entry["context"] == facts_of(found[1]).context
    assert run(["gateway", "prepare", str(folder), "--out", str(tmp_path / "engine"), "--merged"]) == 0
    assert 'upstream_model = "/' in capsys.readouterr().out
    assert run(["gateway", "prepare", str(tmp_path), "--out", str(tmp_path / "engine")]) != 0


def test_a_base_model_is_written_before_there_is_a_release_on_it(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    base = read_manifest(folder).model
    assert run(["gateway", "prepare", "--model", base, "--out", str(tmp_path / "engine")]) == 0
    written = Path(capsys.readouterr().out.strip().removeprefix("The engine's model: "))
    # It is the one that a release on it is served with.
    made = prepare(folder, tmp_path / "engine", key=KEY)
    assert made.model == written
    assert list((tmp_path / "engine" / "models").iterdir()) == [written]


@pytest.mark.parametrize(
    "arguments", [[], ["bakery", "--model", "smollm2-135m"], ["--model", "smollm2-135m", "--merged"]]
)
def test_a_release_or_a_base_model_is_named_and_not_both(
    arguments: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["gateway", "prepare", *arguments, "--out", str(tmp_path / "engine")]) == 2
    assert "give the folder of a release, or a base model by --model" in " ".join(capsys.readouterr().err.split())
    assert not (tmp_path / "engine").exists()
