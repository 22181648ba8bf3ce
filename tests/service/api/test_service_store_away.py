"""A store that is away takes nothing else with it: chats go on, and calls that need it say that it is worth another try."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import openai
import pytest
from fsspec.implementations.memory import MemoryFileSystem

from support.gateway_parts import call
from support.service_parts import ServiceUnderTest, rows, running_service
from support.store_outages import Outage
from support.stores import memory_store
from watchword.files.addresses import Address
from watchword.service.settings import PlaceSettings
from watchword.service.stores import StoreLook


@pytest.fixture
def stored(tmp_path: Path, provider_key: None) -> Iterator[ServiceUnderTest]:
    """A service whose files are in an object store."""
    with memory_store() as store, running_service(tmp_path, service=PlaceSettings(storage=f"{store}/blobs")) as found:
        yield found


def test_chats_go_on_and_files_are_worth_another_try(stored: ServiceUnderTest, outage: Outage) -> None:
    client = stored.client()
    file = client.files.create(file=("rows.jsonl", rows()), purpose="fine-tune")
    client.files.wait_for_processing(file.id, poll_interval=0.1)
    job = client.fine_tuning.jobs.create(model="smollm2-135m", training_file=file.id)
    while job.finished_at is None:
        job = client.fine_tuning.jobs.retrieve(job.id, extra_headers={"Prefer": "wait=20"})
    outage.away = {"/blobs"}
    turns: Any = [{"role": "user", "content": "How do I bake bread?"}]
    assert job.fine_tuned_model is not None
    assert client.chat.completions.create(model=job.fine_tuned_model, messages=turns).choices
    for asked in (
        lambda: client.files.content(file.id),
        lambda: client.files.create(file=("rows.jsonl", rows(13)), purpose="fine-tune"),
    ):
        with pytest.raises(openai.InternalServerError) as refused:
            asked()
        assert refused.value.status_code == 503
        assert "store.example" not in refused.value.response.text
    ready = call(stored.port, path="/readyz", method="GET", key=None)
    assert (ready.status, ready.json["status"]) == (200, "degraded")
    assert ready.json["checks"] == {"database": True, "engine": True, "storage": False, "releases": True}
    outage.away = set()
    assert client.files.content(file.id).content == rows()
    assert call(stored.port, path="/readyz", method="GET", key=None).json["status"] == "ok"


def test_a_store_that_is_silent_takes_one_thread_and_no_more(monkeypatch: pytest.MonkeyPatch) -> None:
    answers, looks = threading.Event(), list[str]()

    def silent(system: MemoryFileSystem, path: str, **_: Any) -> Any:
        looks.append(path)
        assert answers.wait(60)
        raise FileNotFoundError(path)

    monkeypatch.setattr(MemoryFileSystem, "info", silent)

    async def asked() -> bool:
        look = StoreLook(Address.parse("memory://silent"))
        for _ in range(3):
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(look.answers(), 0.05)
        answers.set()
        return await look.answers()

    assert asyncio.run(asked())
    assert len(looks) == 1
