"""Bad lines, full queues, clients that go away, and a server that is told to stop: clean ends only."""

from __future__ import annotations

import asyncio
import json
import signal
import socket
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from support.bad_lines import HEAD, Act, bad_line, chunk, dripping, sending, whole
from support.gateway_parts import (
    ASKED,
    DONE,
    MODEL,
    Response,
    Scripted,
    begin,
    call,
    completion,
    configuration,
    end,
    event,
    friendly,
    gateway,
    more,
    served,
    usage_event,
    wait_until,
)
from support.gateway_process import read_all, refuses, request, started
from support.served_release import release_folder

WORDS = [event({"content": word}) for word in ("Mix ", "flour, ", "water.")]
LAST = event({}, finish="stop") + usage_event() + DONE
STREAM = HEAD + b"".join(map(chunk, WORDS)) + chunk(LAST) + chunk(b"")
WHOLE = whole(json.dumps(completion("Mix flour.")).encode())
# (what the upstream does, what a whole reply's status is)
BROKEN: dict[str, Act] = {
    "closes at once": sending(),
    "resets at once": sending(then="reset"),
    "half an answer's head": sending(b"HTTP/1.1 200 OK\r\nContent-"),
    "no HTTP": sending(b"SSH-2.0-OpenSSH_9.2\r\n\r\n"),
    "half a body": sending(WHOLE[:-20]),
    "half a body, reset": sending(WHOLE[:-20], then="reset"),
    "half a body, half-closed": sending(WHOLE[:-20], then="half"),
    "a stream cut between events": sending(HEAD, chunk(WORDS[0])),
    "a stream cut in an event": sending(HEAD, chunk(WORDS[0]), chunk(WORDS[1][:30])),
    "a stream reset": sending(HEAD, chunk(WORDS[0]), then="reset"),
    "a stream half-closed": sending(HEAD, chunk(WORDS[0]), then="half"),
    "a stream that ends early": sending(HEAD, chunk(WORDS[0]), chunk(b"")),
    "no body": sending(HEAD, chunk(b"")),
    "silence": sending(then="silence"),
    "silence in the middle": sending(HEAD, chunk(WORDS[0]), then="silence"),
}


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("fault", BROKEN)
def test_every_broken_line_ends_in_a_clean_error(release: Path, fault: str, stream: bool) -> None:
    with bad_line(BROKEN[fault]) as behind, gateway(configuration(release, behind, read_seconds=0.5)) as at:
        response = call(at, {**ASKED, "stream": stream})
    if response.status == 200:
        assert stream
        assert response.events[-1]["error"]["code"] in ("upstream_error", "upstream_timeout")
        assert b"[DONE]" not in response.body
    else:
        assert response.json["error"]["code"] in ("upstream_error", "upstream_timeout")
        assert response.status in (502, 504)


@pytest.mark.parametrize("stream", [False, True])
def test_a_slow_drip_comes_whole(release: Path, stream: bool) -> None:
    with bad_line(dripping(STREAM if stream else WHOLE)) as behind, gateway(configuration(release, behind)) as at:
        response = call(at, {**ASKED, "stream": stream})
    said = response.said if stream else response.json["choices"][0]["message"]["content"]
    assert said == ("Mix flour, water." if stream else "Mix flour.")


def test_a_connection_that_the_upstream_had_closed_is_replaced(release: Path) -> None:
    with bad_line(sending(WHOLE, then="next"), sending(WHOLE)) as behind, gateway(configuration(release, behind)) as at:
        assert [call(at, ASKED).status for _ in range(2)] == [200, 200]


def test_connections_are_used_again_also_where_a_stream_ends_late(release: Path) -> None:
    ports: set[Any] = set()

    async def late(upstream: Scripted, body: dict[str, Any], send: Any) -> None:
        if not body.get("stream"):
            await friendly(upstream, body, send)
            return
        await begin(send)
        await more(send, WORDS[0] + LAST)
        await asyncio.sleep(0.005)
        await end(send)

    class Seen(Scripted):
        async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
            ports.add(scope["client"])
            await super().__call__(scope, receive, send)

    with served(Seen(late)) as behind, gateway(configuration(release, behind)) as at:
        for stream in (True, False, True, False, True):
            assert call(at, {**ASKED, "stream": stream}).status == 200
    assert len(ports) == 1


def test_an_upstream_that_never_ends_its_stream_holds_nobody_up(release: Path) -> None:
    async def hanging(_: Scripted, body: dict[str, Any], send: Any) -> None:
        await begin(send)
        await more(send, WORDS[0] + LAST)
        while True:
            await more(send, b": still here\n\n")
            await asyncio.sleep(0.01)

    upstream = Scripted(hanging)
    with served(upstream) as behind, gateway(configuration(release, behind)) as at:
        started_at = time.monotonic()
        assert call(at, {**ASKED, "stream": True}).body.endswith(DONE)
        assert time.monotonic() - started_at < 5
        assert wait_until(lambda: upstream.open == 0) < 1


def test_an_upstream_that_is_not_there_is_no_fault_of_the_tenants(release: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as closed:
        behind = closed.getsockname()[1]
    with gateway(configuration(release, behind)) as at:
        response = call(at, ASKED)
    assert (response.status, response.json["error"]["code"]) == (503, "model_unavailable")
    assert str(behind) not in response.everything


def test_a_storm_of_errors_passes(release: Path) -> None:
    async def storm(upstream: Scripted, body: dict[str, Any], send: Any) -> None:
        if len(upstream.bodies) <= 20:
            from support.gateway_parts import respond

            await respond(send, b"overloaded", 503)
        else:
            await friendly(upstream, body, send)

    with served(Scripted(storm)) as behind, gateway(configuration(release, behind)) as at:
        assert {call(at, ASKED).status for _ in range(20)} == {503}
        assert call(at, ASKED).status == 200


async def endless(_: Scripted, body: dict[str, Any], send: Any) -> None:
    if body["messages"][-1]["content"] == "talk":
        await begin(send)
        while True:
            await more(send, event({"content": "and "}))
            await asyncio.sleep(0.05)
    await asyncio.sleep(60)


@pytest.mark.parametrize(("stream", "text"), [(False, "wait"), (True, "wait"), (True, "talk")])
def test_a_client_that_goes_away_frees_the_upstream_within_a_second(release: Path, stream: bool, text: str) -> None:
    upstream = Scripted(endless)
    with served(upstream) as behind, gateway(configuration(release, behind, max_concurrent=1)) as at:
        for _ in range(2):
            asked = {"model": MODEL, "messages": [{"role": "user", "content": text}], "stream": stream}
            connection = request(at, asked)
            wait_until(lambda: upstream.open == 1)
            if text == "talk":
                connection.recv(10)
            connection.close()
            assert wait_until(lambda: upstream.open == 0) < 1.0
        # The place is free again as well.
        with request(at, asked):
            wait_until(lambda: upstream.open == 1)


def test_a_full_queue_says_come_back_and_the_others_are_answered(release: Path) -> None:
    free = threading.Event()

    async def held(upstream: Scripted, body: dict[str, Any], send: Any) -> None:
        while not free.is_set():
            await asyncio.sleep(0.01)
        await friendly(upstream, body, send)

    upstream, responses = Scripted(held), list[Response]()
    with served(upstream) as behind, gateway(configuration(release, behind, max_concurrent=1, max_queue=1)) as at:
        threads = [threading.Thread(target=lambda: responses.append(call(at, ASKED))) for _ in range(5)]
        for thread in threads:
            thread.start()
        wait_until(lambda: len(responses) == 3)
        assert {(response.status, response.headers["retry-after"]) for response in responses} == {(429, "1")}
        assert responses[0].json["error"]["code"] == "rate_limit_exceeded"
        free.set()
        for thread in threads:
            thread.join()
    assert sorted(response.status for response in responses) == [200, 200, 429, 429, 429]
    assert len(upstream.bodies) == 2


def test_nobody_waits_in_the_queue_for_ever(release: Path) -> None:
    upstream = Scripted(endless)
    asked = {"model": MODEL, "messages": [{"role": "user", "content": "wait"}]}
    limits = {"max_concurrent": 1, "queue_seconds": 0.2}
    with served(upstream) as behind, gateway(configuration(release, behind, **limits)) as at, request(at, asked):
        wait_until(lambda: upstream.open == 1)
        assert call(at, asked).status == 429


def test_sigterm_lets_open_requests_end_and_takes_no_new_ones(tmp_path: Path) -> None:
    release = release_folder(tmp_path)
    free = threading.Event()

    async def slow(_: Scripted, body: dict[str, Any], send: Any) -> None:
        await begin(send)
        await more(send, WORDS[0])
        while not free.is_set():
            await asyncio.sleep(0.01)
        await more(send, WORDS[1] + LAST)
        await end(send)

    upstream = Scripted(slow)
    with served(upstream) as behind:
        process, port = started(tmp_path, release, behind)
        with process:
            with request(port, {**ASKED, "stream": True}) as connection:
                wait_until(lambda: upstream.open == 1)
                process.send_signal(signal.SIGTERM)
                wait_until(lambda: refuses(port))
                free.set()
                body = read_all(connection)
            assert b"flour, " in body
            assert b"data: [DONE]" in body
            lines = process.communicate(timeout=20)[1].decode().splitlines()
            assert process.returncode == 128 + signal.SIGTERM
    calls = [json.loads(line) for line in lines if '"call"' in line]
    assert [(one["key"], one["model"], one["status"]) for one in calls] == [("bakery", MODEL, 200)]
