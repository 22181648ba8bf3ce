"""Webhooks: the client's own check of the signature, retries, and no call into the provider's network."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import openai
import pytest
from openai import OpenAI
from sqlalchemy import select

from support.gateway_parts import respond, served, wait_until
from support.openai_calls import ended_job, job_of
from support.served_release import KEY
from support.service_parts import ServiceUnderTest, running_service
from watchword.errors import CallError, KeyServiceError
from watchword.secret.wrapping import LocalKeys
from watchword.service.api import webhooks as api
from watchword.service.db import Database
from watchword.service.db.schema import outbox
from watchword.service.delivering import Sender, _is_public, _PublicResolver, check_url
from watchword.service.settings import WebhookSettings
from watchword.service.webhooks import Dispatcher

TYPES: Any = ["fine_tuning.job.succeeded", "fine_tuning.job.failed", "fine_tuning.job.cancelled"]


@dataclass
class Listener:
    """A tenant's server. ``statuses`` are answered in turn, the last one for ever."""

    statuses: list[int] = field(default_factory=lambda: [200])
    got: list[tuple[dict[str, str], bytes]] = field(default_factory=list)

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "http":
            return
        body = b""
        while True:
            message = await receive()
            body += message.get("body", b"")
            if not message.get("more_body"):
                break
        self.got.append(({name.decode(): value.decode() for name, value in scope["headers"]}, body))
        status = self.statuses.pop(0) if len(self.statuses) > 1 else self.statuses[0]
        await respond(send, b"", status, headers={"location": "http://127.0.0.1:1/"})


@contextlib.contextmanager
def listening(*statuses: int) -> Iterator[tuple[Listener, str]]:
    listener = Listener(list(statuses) or [200])
    with served(listener) as port:
        yield listener, f"http://127.0.0.1:{port}/hook"


def test_a_jobs_end_is_told_and_the_client_believes_it(service: ServiceUnderTest) -> None:
    with listening() as (listener, url):
        made = service.client().webhooks.create(event_types=TYPES, name="ours", url=url)
        assert made.signing_secret.startswith("whsec_")
        job = ended_job(service).id
        wait_until(lambda: len(listener.got) == 1)
    headers, body = listener.got[0]
    event = OpenAI(api_key="x", webhook_secret=made.signing_secret).webhooks.unwrap(body, headers)
    assert (event.type, event.data.id) == ("fine_tuning.job.succeeded", job)  # type: ignore[union-attr]
    assert headers["webhook-id"] == event.id
    stranger = OpenAI(api_key="x", webhook_secret="whsec_" + "A" * 44)
    with pytest.raises(openai.InvalidWebhookSignatureError):
        stranger.webhooks.unwrap(body, headers)


def test_endpoints_are_listed_changed_tested_and_deleted(service: ServiceUnderTest) -> None:
    client, other = service.client(), service.client(service.other_key)
    assert client.webhooks.event_types.list().data == TYPES
    with listening(204) as (listener, url):
        made = client.webhooks.create(event_types=TYPES[:1], name="ours", url=url)
        assert [found.id for found in client.webhooks.list()] == [made.id]
        assert list(other.webhooks.list()) == []
        found = client.webhooks.retrieve(made.id)
        assert "signing_secret" not in found.model_dump()
        assert found.signing_secret_hint is not None
        assert made.signing_secret.endswith(found.signing_secret_hint[-4:])
        changed = client.webhooks.update(made.id, name="theirs", event_types=TYPES)
        assert (changed.name, changed.event_types, changed.url) == ("theirs", TYPES, url)
        result = client.webhooks.test(made.id, event_type="fine_tuning.job.failed")
        assert (result.status_code, result.success) == (204, True)
        headers, body = listener.got[0]
        OpenAI(api_key="x", webhook_secret=made.signing_secret).webhooks.unwrap(body, headers)
        for attempt in (other.webhooks.retrieve, other.webhooks.delete, other.webhooks.rotate_secret):
            with pytest.raises(openai.NotFoundError):
                attempt(made.id)
        assert client.webhooks.delete(made.id).deleted
    with pytest.raises(openai.NotFoundError):
        client.webhooks.retrieve(made.id)


def test_an_old_secret_goes_on_only_where_it_was_asked_for(service: ServiceUnderTest) -> None:
    client = service.client()
    with listening() as (listener, url):
        made = client.webhooks.create(event_types=TYPES, name="ours", url=url)
        second = client.webhooks.rotate_secret(made.id, keep_old_secret_active_for_24_hours=True)
        client.webhooks.test(made.id, event_type=TYPES[0])
        third = client.webhooks.rotate_secret(made.id)
        client.webhooks.test(made.id, event_type=TYPES[0])

    def believes(secret: str, at: int) -> bool:
        headers, body = listener.got[at]
        try:
            OpenAI(api_key="x", webhook_secret=secret).webhooks.unwrap(body, headers)
        except openai.InvalidWebhookSignatureError:
            return False
        return True

    secrets = [made.signing_secret, second.signing_secret, third.signing_secret]
    assert [[believes(secret, at) for secret in secrets] for at in (0, 1)] == [
        [True, True, False],
        [False, False, True],
    ]


def test_a_change_does_not_undo_a_secret_that_is_rotated_meanwhile(
    service: ServiceUnderTest, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = service.client()
    with listening() as (listener, url):
        made = client.webhooks.create(event_types=TYPES, name="ours", url=url)
        inside, rotated = api._kept, list[str]()

        def rotating(*arguments: Any) -> Any:
            """What the update has read is outdated before it writes, unless nobody else may write meanwhile."""
            kept = inside(*arguments)
            if not rotated and kept.name == "ours":
                rotated.append("")
                thread = threading.Thread(target=rotate)
                thread.start()
                thread.join(0.5)
            return kept

        def rotate() -> None:
            rotated[0] = client.webhooks.rotate_secret(made.id).signing_secret

        monkeypatch.setattr(api, "_kept", rotating)
        client.webhooks.update(made.id, name="theirs")
        wait_until(lambda: bool(rotated[0]))
        client.webhooks.test(made.id, event_type=TYPES[0])
    headers, body = listener.got[0]
    OpenAI(api_key="x", webhook_secret=rotated[0]).webhooks.unwrap(body, headers)
    assert client.webhooks.retrieve(made.id).name == "theirs"


def noted(database: Database) -> bool:
    """Whether the first sending's failure stands in the database."""
    with database._reading() as connection:
        return connection.execute(select(outbox.c.last_error)).scalar() is not None


@pytest.mark.parametrize(
    ("statuses", "sendings"), [([500, 302, 200], 3), ([410], 1)], ids=["until it is taken", "never again"]
)
def test_what_is_not_taken_comes_again_later(
    tmp_path: Any, provider_key: None, statuses: list[int], sendings: int
) -> None:
    with running_service(tmp_path, worker=False) as service, listening(*statuses) as (listener, url):
        service.client().webhooks.create(event_types=TYPES, name="ours", url=url)
        service.client().fine_tuning.jobs.cancel(job_of(service).id)
        # What has not been noted yet would be sent again below.
        wait_until(lambda: noted(service.database))
        assert len(listener.got) == 1
        # The database's clock is put forward: each due time is passed by one look.
        for _ in range(5):
            service.database._now = lambda: 4e9
            sender = Sender(private=True)
            dispatcher = Dispatcher(service.database, LocalKeys(KEY), sender, lambda outcome: None)

            async def send(dispatcher: Dispatcher = dispatcher, sender: Sender = sender) -> int:
                try:
                    return await dispatcher.send_due()
                finally:
                    await sender.close()

            asyncio.run(send())
        assert len(listener.got) == sendings
        assert len({headers["webhook-id"] for headers, _ in listener.got}) == 1


class AwayAtFirst(LocalKeys):
    """Keys of a service that nobody reaches at the first try. What each try came in is noted."""

    tries = 0
    threads: tuple[str, ...] = ()

    def unwrap(self, wrapped: bytes, context: Any) -> bytes:
        self.tries += 1
        self.threads += (threading.current_thread().name,)
        if self.tries == 1:
            raise KeyServiceError("nobody answers")
        return super().unwrap(wrapped, context)


def test_a_key_service_that_is_away_loses_no_webhook_and_holds_up_no_loop(
    tmp_path: Any, provider_key: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The service's own would send it first.
    monkeypatch.setattr(Dispatcher, "run", lambda _: asyncio.Event().wait())
    with running_service(tmp_path, worker=False) as service, listening() as (listener, url):
        client = service.client()
        client.webhooks.create(event_types=TYPES, name="ours", url=url)
        keys, outcomes = AwayAtFirst(KEY), list[str]()

        async def send() -> None:
            sender = Sender(private=True)
            try:
                await Dispatcher(service.database, keys, sender, outcomes.append).send_due()
            finally:
                await sender.close()

        client.fine_tuning.jobs.cancel(job_of(service).id)
        asyncio.run(send())
        service.database._now = lambda: 4e9
        asyncio.run(send())
        assert outcomes == ["retried", "delivered"]
        assert len(listener.got) == 1
        assert threading.main_thread().name not in keys.threads


@pytest.mark.parametrize(
    "url",
    [
        "http://example.org/hook",
        "https://localhost/hook",
        "https://127.0.0.1/hook",
        "https://10.0.0.1/hook",
        "https://169.254.169.254/latest/meta-data",
        "https://[::1]/hook",
        "https://[::ffff:127.0.0.1]/hook",
        "https://127。0。0。1/hook",
        "https://\uff11\uff12\uff17.0.0.1/hook",
        "https://127.1/hook",
        "https://2130706433/hook",
        "https://127.0.0.1./hook",
        "https://[64:ff9b::7f00:1]/hook",
        "https://[2002:7f00:1::]/hook",
        "https://user:word@example.org/hook",
        "https://example.org:99999/hook",
        "https:///hook",
    ],
)
def test_only_public_addresses_are_called(url: str) -> None:
    with pytest.raises(CallError):
        check_url(url, private=False)


def test_a_tenant_is_told_which_address_is_refused(tmp_path: Any, provider_key: None) -> None:
    with running_service(tmp_path, worker=False, webhooks=WebhookSettings()) as service:
        with pytest.raises(openai.BadRequestError) as refused:
            service.client().webhooks.create(event_types=TYPES, name="x", url="https://192.168.0.1/hook")
        assert refused.value.param == "url"
        with pytest.raises(openai.BadRequestError) as unsupported:
            service.client().webhooks.create(event_types=["batch.completed"], name="x", url="https://example.org/")
        assert unsupported.value.code == "unsupported_event_type"


def test_a_name_that_leads_inside_is_not_called(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever the name said when the endpoint was made: what is called is what was looked at."""

    def inside(*_: Any, **__: Any) -> Any:
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("10.1.2.3", 443))]

    async def looked_up() -> None:
        resolver = _PublicResolver()
        with pytest.raises(OSError, match="no public address"):
            await resolver.resolve("example.org", 443)
        sender = Sender(private=False)
        assert await sender.post("https://example.org/hook", {}, "{}") is None
        await sender.close()

    monkeypatch.setattr(socket, "getaddrinfo", inside)
    asyncio.run(looked_up())


@pytest.mark.parametrize(
    ("address", "public"),
    [
        ("93.184.216.34", True),
        ("100.64.0.1", False),
        ("224.0.0.1", False),
        ("fd00::1", False),
        ("2606:4700::1", True),
        ("64:ff9b::a00:1", False),
        ("64:ff9b::5db8:d822", True),
        ("64:ff9b:1::5db8:d822", False),
        ("2002:a00:1::", False),
        ("2002:5db8:d822::", True),
        ("::7f00:1", False),
        ("::ffff:0:7f00:1", False),
        ("127.1", False),
    ],
)
def test_which_addresses_are_public(address: str, public: bool) -> None:
    assert _is_public(address) is public


def test_the_own_server_is_reached_where_the_provider_says_so() -> None:
    with listening() as (listener, url):

        async def sent() -> int | None:
            sender = Sender(private=True)
            try:
                return await sender.post(url, {"content-type": "application/json"}, "{}")
            finally:
                await sender.close()

        assert asyncio.run(sent()) == 200
    assert listener.got[0][1] == b"{}"
