"""Adapters at an upstream: put there under a name of their weights, loaded, loaded again, and never replaced by the base."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec
import pytest

from support.gateway_parts import (
    ASKED,
    CONTEXT,
    MODEL,
    TENANT_KEY,
    call,
    completion,
    event,
    gateway,
    respond,
    served,
    usage_event,
    wait_until,
)
from support.served_release import release_folder
from watchword.gateway.configuration import Configuration
from watchword.gateway.tenants import key_digest
from watchword.release.artifact import read_manifest, weights_digest
from watchword.release.engine import engine_name

BASE = "/srv/models/base"


@dataclass
class Engine:
    """A server with a base model and adapters, as vLLM and SGLang document it. ``loaded`` is its memory of adapters."""

    kind: str = "vllm"
    loaded: dict[str, str] = field(default_factory=dict)
    loads: list[dict[str, Any]] = field(default_factory=list)
    answered: list[str] = field(default_factory=list)
    refusing: bool = False

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        data = b""
        while (message := await receive())["type"] == "http.request":
            data += message["body"]
            if not message.get("more_body"):
                break
        body = json.loads(data)
        if scope["path"] == ("/v1/load_lora_adapter" if self.kind == "vllm" else "/load_lora_adapter"):
            await self._load(body, send)
        elif scope["path"] == "/v1/chat/completions":
            await self._answer(body, send)
        else:
            await respond(send, b"{}", 405)

    async def _load(self, body: dict[str, Any], send: Any) -> None:
        self.loads.append(body)
        name, folder = body["lora_name"], body["lora_path"]
        if self.refusing:
            reply = {"success": False, "error_message": "no memory"}
            await respond(send, json.dumps(reply).encode(), 500 if self.kind == "vllm" else 200)
        elif name in self.loaded:
            told = f"The lora adapter '{name}' has already been loaded."
            await respond(send, json.dumps({"error": {"message": told}}).encode(), 400)
        else:
            self.loaded[name] = folder
            said = f"Success: LoRA adapter '{name}' added successfully.".encode()
            await respond(send, said if self.kind == "vllm" else b'{"success": true, "loaded_adapters": {}}')

    async def _answer(self, body: dict[str, Any], send: Any) -> None:
        if self.kind == "vllm":
            asked, known = body["model"], body["model"] in self.loaded
            refusal = json.dumps({"error": {"message": f"The model `{asked}` does not exist."}}).encode(), 404
        else:
            asked = body.get("lora_path")
            known = asked is None or asked in self.loaded
            refusal = json.dumps({"message": f"Got LoRA adapter that has never been loaded: {asked}"}).encode(), 400
        if not known:
            await respond(send, *refusal)
            return
        self.answered.append(asked or "the base")
        if body.get("stream"):
            events = event({"content": "Flour."}) + event({}, finish="stop") + usage_event() + b"data: [DONE]\n\n"
            await respond(send, events, kind="text/event-stream")
        else:
            await respond(send, msgspec.json.encode(completion("Flour.")))


def settings_for(release: Path, port: int, adapters: Path, **upstream: Any) -> Configuration:
    engine = {"name": "engine", "url": f"http://127.0.0.1:{port}/v1", "kind": "vllm", "adapters": str(adapters)}
    return msgspec.convert(
        {
            "upstreams": [engine | {"load_adapters": True} | upstream],
            "models": [{"name": MODEL, "release": str(release), "upstream": "engine", "context": CONTEXT}],
            "keys": [{"id": "bakery", "sha256": key_digest(TENANT_KEY), "models": [MODEL]}],
        },
        Configuration,
    )


@pytest.fixture(params=["vllm", "sglang"])
def engine(request: pytest.FixtureRequest) -> Engine:
    return Engine(request.param)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return release_folder(tmp_path)


@pytest.fixture
def at(engine: Engine, folder: Path, tmp_path: Path) -> Iterator[int]:
    """The gateway's port."""
    with served(engine) as port, gateway(settings_for(folder, port, tmp_path / "adapters", kind=engine.kind)) as at:
        yield at


@pytest.mark.parametrize("stream", [False, True])
def test_an_adapter_is_loaded_once_before_the_first_request(
    engine: Engine, folder: Path, at: int, stream: bool
) -> None:
    name = engine_name(read_manifest(folder))
    for _ in range(3):
        reply = call(at, {**ASKED, "stream": stream})
        assert reply.status == 200
        assert "Flour." in reply.everything
    assert engine.answered == [name] * 3
    (load,) = engine.loads
    assert load == {"lora_name": name, "lora_path": str(folder.parent / "adapters" / name)}
    assert name == f"ftm-{weights_digest(folder)[:16]}"


def test_many_first_requests_load_it_once(engine: Engine, at: int) -> None:
    with ThreadPoolExecutor(8) as pool:
        assert {reply.status for reply in pool.map(lambda _: call(at, ASKED), range(16))} == {200}
    assert len(engine.loads) == 1


@pytest.mark.parametrize("stream", [False, True])
def test_an_engine_that_was_restarted_gets_it_again(engine: Engine, at: int, stream: bool) -> None:
    assert call(at, ASKED).status == 200
    engine.loaded.clear()
    reply = call(at, {**ASKED, "stream": stream})
    assert (reply.status, "Flour." in reply.everything) == (200, True)
    assert len(engine.loads) == 2
    assert "the base" not in engine.answered


def test_a_gateway_that_was_restarted_takes_what_is_loaded(engine: Engine, folder: Path, tmp_path: Path) -> None:
    with served(engine) as port:
        for _ in range(2):
            with gateway(settings_for(folder, port, tmp_path / "adapters", kind=engine.kind)) as at:
                assert call(at, ASKED).status == 200
    assert (len(engine.loads), len(engine.loaded)) == (2, 1)


def test_without_its_adapter_a_model_is_unavailable_and_nobody_answers(engine: Engine, at: int) -> None:
    engine.refusing = True
    for stream in (False, True):
        reply = call(at, {**ASKED, "stream": stream})
        assert (reply.status, reply.json["error"]["code"]) == (503, "model_unavailable")
        assert "memory" not in reply.everything
    assert engine.answered == []
    engine.refusing = False
    assert call(at, ASKED).status == 200


def test_an_engine_that_forgets_at_once_is_asked_once_more_and_no_oftener(engine: Engine, at: int) -> None:
    class Forgets(dict[str, str]):
        def __contains__(self, name: object) -> bool:
            return False

    engine.loaded = Forgets()
    reply = call(at, ASKED)
    assert reply.status in (400, 503)
    assert (len(engine.loads), engine.answered) == (2, [])


def test_a_release_that_has_changed_is_loaded_under_another_name(engine: Engine, folder: Path, at: int) -> None:
    assert call(at, ASKED).status == 200
    before = engine_name(read_manifest(folder))
    (folder.parent / "new").mkdir()
    for path in release_folder(folder.parent / "new", seed=8).iterdir():
        shutil.copyfile(path, folder / path.name)
    after = engine_name(read_manifest(folder))
    assert before != after
    wait_until(lambda: call(at, ASKED).status == 200 and engine.answered[-1] == after)
    assert list(engine.loaded) == [before, after]
    # Whoever still has the old one loaded finds its files.
    assert {path.name for path in (folder.parent / "adapters").iterdir()} == {before, after}


def test_the_copy_names_the_engines_model_and_holds_no_secret(folder: Path, tmp_path: Path) -> None:
    engine = Engine()
    with (
        served(engine) as port,
        gateway(
            settings_for(folder, port, tmp_path / "adapters", base_model=BASE, adapters_there="/mnt/adapters/")
        ) as at,
    ):
        assert call(at, ASKED).status == 200
    name = engine_name(read_manifest(folder))
    assert engine.loads == [{"lora_name": name, "lora_path": f"/mnt/adapters/{name}"}]
    copy = tmp_path / "adapters" / name
    assert {path.name for path in copy.iterdir()} == {"adapter_config.json", "adapter_model.safetensors"}
    config = json.loads((copy / "adapter_config.json").read_bytes())
    assert config == json.loads((folder / "adapter_config.json").read_bytes()) | {"base_model_name_or_path": BASE}
    weights = "adapter_model.safetensors"
    assert (copy / weights).read_bytes() == (folder / weights).read_bytes()


def test_an_engine_with_a_resolver_finds_the_folder_by_its_name(folder: Path, tmp_path: Path) -> None:
    engine = Engine()
    name = engine_name(read_manifest(folder))
    with (
        served(engine) as port,
        gateway(settings_for(folder, port, tmp_path / "adapters", base_model=BASE, load_adapters=False)) as at,
    ):
        assert call(at, ASKED).status == 503
        engine.loaded = {entry.name: str(entry) for entry in (tmp_path / "adapters").iterdir()}
        assert call(at, ASKED).status == 200
    assert (engine.loads, engine.answered) == ([], [name])


def test_a_copy_that_was_changed_is_never_served(folder: Path, tmp_path: Path) -> None:
    engine = Engine()
    name = engine_name(read_manifest(folder))
    (tmp_path / "adapters" / name).mkdir(parents=True)
    (tmp_path / "adapters" / name / "adapter_model.safetensors").write_bytes(b"of somebody else")
    with served(engine) as port, gateway(settings_for(folder, port, tmp_path / "adapters")) as at:
        assert call(at, ASKED).status == 503
    assert (engine.loads, engine.answered) == ([], [])
