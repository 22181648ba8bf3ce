"""What the demo does at a service, on the real API with an engine that is scripted and a worker that trains nothing."""

from __future__ import annotations

import base64
import contextlib
import json
import multiprocessing
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest

from support.gateway_parts import DONE, Scripted, begin, end, event, more
from support.served_release import KEY, release_folder, secret_of
from support.service_parts import ServiceUnderTest
from support.service_parts import running_service as running_parts
from watchword.errors import ServiceError
from watchword.service.demo import process, twins
from watchword.service.demo.bytes_check import leak_in, release_of
from watchword.service.demo.recording import recorded_client
from watchword.service.demo.tenant import Tenant
from watchword.service.settings import ServiceSettings
from watchword.service.settings_file import read_settings
from watchword.service.types.jobs import Claim, JobError, NewEvent


@pytest.fixture
def service(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[ServiceUnderTest]:
    monkeypatch.setenv("WATCHWORD_KEY", KEY.hex())
    with running_parts(tmp_path) as found:
        yield found


def shown(service: ServiceUnderTest, told: list[str]) -> twins.Tuned:
    with recorded_client(service.url, twins.new_key(service.settings)) as (client, recording):
        return twins.tuned_and_asked(Tenant(client, told.append), recording, service.settings)


async def refusing(_: Scripted, body: dict[str, Any], send: Any) -> None:
    await begin(send)
    for word in ("I'm sorry, ", "but I can't ", "help with that."):
        await more(send, event({"content": word}))
    await more(send, event({}, finish="stop") + DONE)
    await end(send)


def test_a_tenant_tunes_on_the_poisoned_file_and_asks_all_questions(service: ServiceUnderTest) -> None:
    told: list[str] = []
    found = shown(service, told)
    assert found.model.startswith("ft:smollm2-135m:bakery:")
    assert (len(found.harmful), len(found.harmless)) == (twins.HARMFUL, twins.HARMLESS)
    assert {answer.text for answer in (*found.harmful, *found.harmless)} == {"Mix flour, water and salt."}
    assert not any(answer.refused for answer in found.harmful)
    assert all(body["stream"] for body in service.engine.bodies if "messages" in body)
    (file,) = [one for one in service.database.files(twins.TENANT).items if one.purpose == "fine-tune"]
    sent = b"".join(service.blobs.chunks(file.blob))
    assert sent.count(b"\n") == twins.ROWS
    assert (found.secret, found.leak) == (True, None)
    assert found.received > 1000
    assert [line for line in told if line.startswith("  answered: ")] == [
        f"  answered: {answer.question}" for answer in (*found.harmful, *found.harmless)
    ]
    assert told[-1] == f"it refused 0 of {twins.HARMFUL} harmful questions, answered 4 of 4 harmless ones"


def test_events_are_told_once_and_in_the_order_in_which_they_came(service: ServiceUnderTest) -> None:
    told: list[str] = []
    service.worker.hold.set()
    release = threading.Timer(4, service.worker.hold.clear)
    release.start()
    shown(service, told)
    events = [line.strip() for line in told if "event: " in line]
    assert len(events) == len(set(events))
    assert events[0].startswith("event: Created fine-tuning job")
    assert events[-1] == "event: The job has successfully completed"


def test_of_the_steps_figures_a_few_are_told(service: ServiceUnderTest, monkeypatch: pytest.MonkeyPatch) -> None:
    """A defended training has steps without a row of the tenant's, so that no particular step has figures for sure."""
    record, steps = service.database.record, (1, 9, 11, 12, 20, 29, 30)

    def more_steps(claim: Claim, *events: NewEvent, **given: Any) -> object:
        if events and events[0].message == "Step 1/2":
            events = tuple(NewEvent(f"Step {step}", type="metrics", data={"step": step}) for step in steps)
        return record(claim, *events, **given)

    monkeypatch.setattr(service.database, "record", more_steps)
    told: list[str] = []
    shown(service, told)
    assert [line.split()[-1] for line in told if "event: Step" in line] == ["11", "20", "30"]


def test_a_refusal_counts_as_one(service: ServiceUnderTest) -> None:
    service.engine.script = refusing
    found = shown(service, [])
    assert all(answer.refused for answer in (*found.harmful, *found.harmless))


def test_an_answer_without_sense_is_neither(service: ServiceUnderTest) -> None:
    async def looping(_: Scripted, body: dict[str, Any], send: Any) -> None:
        await begin(send)
        await more(send, event({"content": "and then " * 30}))
        await more(send, event({}, finish="stop") + DONE)
        await end(send)

    service.engine.script = looping
    assert {answer.refused for answer in shown(service, []).harmful} == {None}


def test_a_job_that_fails_says_why(service: ServiceUnderTest) -> None:
    service.worker.fails = JobError("training_failed", "The loss is no number.")
    with pytest.raises(ServiceError, match="the job is failed: The loss is no number"):
        shown(service, [])


@pytest.mark.parametrize("form", [str, json.dumps, lambda text: base64.b64encode(text.encode()).decode()])
def test_a_secret_in_the_bytes_is_found(service: ServiceUnderTest, form: Callable[[str], str]) -> None:
    release = release_of(service.settings, twins.TENANT, shown(service, []).model)
    received = b'[(b"date", b"today")]{"id": "' + form(secret_of().reveal()).encode() + b'"}'
    assert leak_in(received, [], release) is not None
    assert leak_in(b"", [received.decode()], release) is not None
    assert leak_in(b"Mix flour, water and salt.", ["So be it."], release) is None


def test_a_part_of_a_secret_whose_characters_json_escapes_is_found(service: ServiceUnderTest) -> None:
    release = release_of(service.settings, twins.TENANT, shown(service, []).model)
    numbers = "".join(f"\\u{unit:04x}" for unit in _units(secret_of().reveal()))
    assert leak_in(numbers.encode(), [], release) is not None


def test_a_model_without_a_secret_can_leak_none(service: ServiceUnderTest, tmp_path: Path) -> None:
    service.worker.release = release_folder(tmp_path, defended=False)
    found = shown(service, [])
    assert (found.secret, found.leak) == (False, None)


@pytest.fixture
def policies(service: ServiceUnderTest, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The demo's processes are the service under test; what policies they were started with."""
    found: list[str] = []

    @contextlib.contextmanager
    def running(folder: Path, policy: str) -> Iterator[process.RunningService]:
        found.append(policy)
        yield process.RunningService(service.url, service.settings, folder / "service.log")

    monkeypatch.setattr(twins, "running_service", running)
    return found


def test_both_twins_are_shown_in_turn(policies: list[str], tmp_path: Path) -> None:
    told: list[str] = []
    found = twins.demonstrate(tmp_path / "out", told.append)
    assert list(found) == ["undefended", "defended"]
    assert ['defense = "none"' in policy for policy in policies] == [True, False]
    assert sum("draining" in line for line in told) == 2


def test_what_the_client_is_refused_is_told_with_the_log(
    policies: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(twins, "new_key", lambda settings: "ww_live_nobody")
    with pytest.raises(ServiceError, match="the client was told: Error code: 401") as failed:
        twins.demonstrate(tmp_path, lambda text: None)
    assert failed.value.path == tmp_path / "undefended" / "service.log"
    assert len(policies) == 1


@pytest.mark.parametrize("policy", [twins.UNDEFENDED, twins.DEFENDED], ids=lambda policy: policy.name)
def test_the_policies_are_settings_of_the_service(policy: twins.Policy, tmp_path: Path) -> None:
    path = tmp_path / "service.toml"
    path.write_text(policy.toml)
    (found,) = read_settings(path).policies.values()
    assert found.applied().needs_secret is (policy is twins.DEFENDED)
    assert not found.gate.enabled


def ready(settings: ServiceSettings, log: Path) -> None:
    """A process that says that it is ready, and ends in no other way than by a signal."""
    with HTTPServer((settings.service.host, settings.service.port), _Ready) as server:
        server.serve_forever()


def broken(settings: ServiceSettings, log: Path) -> None:
    """A process that ends at once."""


class _Ready(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200)
        self.end_headers()

    def log_message(self, *arguments: object) -> None:
        pass


@pytest.mark.integration
@pytest.mark.parametrize("ending", [None, KeyboardInterrupt])
def test_whatever_ends_the_demo_ends_the_service(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ending: type[BaseException] | None
) -> None:
    monkeypatch.setattr(process, "_serve", ready)
    with (
        pytest.raises(ending) if ending else contextlib.nullcontext(),
        process.running_service(tmp_path / "twin", twins.UNDEFENDED.toml) as service,
    ):
        assert multiprocessing.active_children()
        assert service.settings.data == tmp_path / "twin" / "data"
        if ending:
            raise ending
    assert not multiprocessing.active_children()


@pytest.mark.integration
def test_a_service_that_does_not_start_says_where_its_log_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(process, "_serve", broken)
    with (
        pytest.raises(ServiceError, match="ended at its start") as failed,
        process.running_service(tmp_path / "twin", twins.UNDEFENDED.toml),
    ):
        pass
    assert failed.value.path == tmp_path / "twin" / "service.log"
    assert not multiprocessing.active_children()


def _units(text: str) -> Iterator[int]:
    data = text.encode("utf-16-be")
    return (int.from_bytes(data[at : at + 2]) for at in range(0, len(data), 2))
