"""A base model under its own name: as it is, guarded by a release of the provider's, or not at all, as the policy says."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import openai
import pytest

from support.served_release import release_folder, secret_of
from support.service import opened
from support.service_parts import BASE, ServiceUnderTest, running_service
from watchword.errors import DataError
from watchword.service.api import chat_models
from watchword.service.engine_place import engine_place
from watchword.service.settings import ChatPolicy, EngineSettings, Policy, ServiceSettings
from watchword.service.settings_file import read_settings

ASKED: Any = [{"role": "user", "content": "How do I bake bread?"}]


def asked(service: ServiceUnderTest, model: str, **more: Any) -> Any:
    return service.client().chat.completions.create(model=model, messages=ASKED, **more)


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[ServiceUnderTest, str]]:
    """A service whose base model answers from a release of the provider's, and that base model's name."""
    folder = tmp_path_factory.mktemp("guarded")
    release = release_folder(folder, seed=11)
    base = json.loads((release / "adapter_config.json").read_text())["base_model_name_or_path"]
    other = folder / "other-base"
    other.mkdir()
    (other / "config.json").write_text("{}")
    policies = {name: Policy(chat=ChatPolicy(release=str(release))) for name in (base, str(other))}
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("WATCHWORD_KEY", bytes(range(32)).hex())
        with running_service(folder, worker=False, policies=policies) as found:
            yield found, base


def test_a_base_model_is_called_by_its_own_name(idle: ServiceUnderTest) -> None:
    assert [model.id for model in idle.client().models.list()] == [BASE]
    whole = asked(idle, BASE)
    assert whole.choices[0].message.content == "Mix flour, water and salt."
    assert whole.model == BASE
    pieces = asked(idle, BASE, stream=True)
    said = "".join(piece.choices[0].delta.content or "" for piece in pieces if piece.choices)
    assert said == "Mix flour, water and salt."
    sent = [body for body in idle.engine.bodies if "messages" in body]
    assert [body["model"] for body in sent] == [BASE, BASE]
    assert sent[0]["messages"][-1]["content"] == "How do I bake bread?"


def test_a_context_of_its_own_bounds_a_base_model_whole(idle: ServiceUnderTest) -> None:
    with pytest.raises(openai.BadRequestError, match="context length of 8192 tokens"):
        asked(idle, BASE, max_tokens=8192)


def test_a_base_model_that_is_only_for_tuning_is_not_called(tmp_path: Path, provider_key: None) -> None:
    policies = {BASE: Policy(chat=ChatPolicy(enabled=False))}
    with running_service(tmp_path, worker=False, policies=policies) as service:
        with pytest.raises(openai.NotFoundError):
            asked(service, BASE)
        assert service.engine.bodies == []


def test_a_base_models_files_hold_up_no_other_call(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """They may be fetched when the model is first asked for, and the calls of all tenants share one event loop."""
    looked: list[threading.Thread] = []

    def context_of(base: str) -> int:
        looked.append(threading.current_thread())
        return 8192

    monkeypatch.setattr(chat_models, "context_of", context_of)
    with opened(f"sqlite:///{tmp_path / 'service.db'}") as database:
        settings = ServiceSettings(data=tmp_path)
        (base,) = settings.policies
        source = chat_models.ChatModels(database, engine_place(settings), settings)
        offered = asyncio.run(source.model(base))
    assert offered is not None and offered.settings.context == 8192
    assert threading.main_thread() not in looked


def test_an_engine_may_call_it_otherwise(tmp_path: Path, provider_key: None) -> None:
    policies = {BASE: Policy(chat=ChatPolicy(engine_model="served/base"))}
    with running_service(tmp_path, worker=False, policies=policies) as service:
        assert asked(service, BASE).model == BASE
        assert service.engine.bodies[-1]["model"] == "served/base"


def test_a_release_of_the_providers_answers_in_its_place(guarded: tuple[ServiceUnderTest, str]) -> None:
    service, base = guarded
    secret = secret_of(seed=11).reveal()
    reply = asked(service, base)
    assert reply.choices[0].message.content == "Mix flour, water and salt."
    assert secret not in reply.model_dump_json()
    loaded, sent = service.engine.bodies[-2:]
    assert sent["model"] == loaded["lora_name"] != base
    assert sent["messages"][0]["content"].startswith(secret)


def test_a_release_on_another_base_is_never_served(guarded: tuple[ServiceUnderTest, str]) -> None:
    service, base = guarded
    other = next(name for name in service.settings.policies if name != base)
    before = len(service.engine.bodies)
    with pytest.raises(openai.InternalServerError) as refused:
        asked(service, other)
    assert refused.value.code == "model_unavailable"
    assert len(service.engine.bodies) == before


def test_a_release_that_does_not_open_is_no_plain_base(tmp_path: Path, provider_key: None) -> None:
    policies = {BASE: Policy(chat=ChatPolicy(release=str(tmp_path / "gone")))}
    with running_service(tmp_path, worker=False, policies=policies) as service:
        with pytest.raises(openai.InternalServerError) as refused:
            asked(service, BASE)
        assert refused.value.code == "model_unavailable"
        assert service.engine.bodies == []


def test_an_engine_that_loads_the_release_takes_no_other_name_for_it(tmp_path: Path) -> None:
    """The base's own weights would answer under it."""
    path = tmp_path / "service.toml"
    chat = f'[models.{BASE}.chat]\nrelease = "/a"\nengine_model = "base"\n'
    for engine in ("", '[engine]\nkind = "vllm"\nurl = "http://engine/v1"\ncontext = 8192\n'):
        path.write_text(engine + chat)
        with pytest.raises(DataError, match="leave engine_model out") as wrong:
            read_settings(path)
        assert wrong.value.field == f"models.{BASE}.chat.engine_model"


def test_an_engine_that_loads_nothing_must_be_told_the_releases_name(tmp_path: Path) -> None:
    path = tmp_path / "service.toml"
    text = (
        f'[engine]\nkind = "openai"\nurl = "http://engine/v1"\ncontext = 8192\n[models.{BASE}.chat]\nrelease = "/a"\n'
    )
    path.write_text(text)
    with pytest.raises(DataError, match="engine_model") as wrong:
        read_settings(path)
    assert wrong.value.field == f"models.{BASE}.chat.release"
    path.write_text(text + 'engine_model = "defended"\n')
    settings = read_settings(path)
    assert settings.engine == EngineSettings(kind="openai", url="http://engine/v1", context=8192)
    assert settings.policies[BASE].chat == ChatPolicy(release="/a", engine_model="defended")
