"""Bad lines on both sides of the gateway, with a whole server at either end: a clean error or a whole reply, nothing else."""

from __future__ import annotations

import asyncio
import contextlib
import http.client
import itertools
import json
import random
import socket
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from support.bad_lines import reset
from support.fault_proxy import FaultProxy, Line, fault_proxy
from support.gateway_parts import (
    ASKED,
    DONE,
    TENANT_KEY,
    Response,
    Scripted,
    begin,
    call,
    configuration,
    event,
    friendly,
    gateway,
    more,
    respond,
    served,
    wait_until,
)

SAID = "Mix flour, water and salt."
FAULTS = ("close", "reset", "half", "silence")
# From the first byte to behind the last one: in the head, in the body, between events.
PLACES = (0, 1, 20, 90, 150, 300, 500, 700, 900, 1200, 100_000)


@pytest.fixture(scope="module")
def upstream() -> Scripted:
    return Scripted(friendly)


@pytest.fixture(scope="module")
def behind(upstream: Scripted) -> Iterator[FaultProxy]:
    """The line between gateway and upstream."""
    with served(upstream) as port, fault_proxy(port) as proxy:
        yield proxy


@pytest.fixture(scope="module")
def port(release: Path, behind: FaultProxy) -> Iterator[int]:
    settings = configuration(release, behind.port, read_seconds=1.0, max_concurrent=64)
    with gateway(settings) as at:
        yield at


@pytest.fixture(autouse=True)
def good_again(behind: FaultProxy) -> Iterator[None]:
    yield
    behind.becomes()


def is_clean(response: Response, stream: bool) -> bool:
    """Whether a client knows what it has got: all of it, or an error. Raises where it is neither."""
    if response.status != 200:
        assert response.status in (502, 503, 504)
        assert response.json["error"]["code"] in ("upstream_error", "upstream_timeout", "model_unavailable")
        return False
    if not stream:
        assert response.json["choices"][0]["message"]["content"] == SAID
        return True
    if response.body.endswith(DONE):
        assert response.said == SAID
        return True
    assert response.events[-1]["error"]["code"] in ("upstream_error", "upstream_timeout")
    assert SAID.startswith(response.said)
    assert DONE not in response.body
    return False


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("fault", FAULTS)
def test_a_reply_that_breaks_anywhere_is_an_error_or_whole(
    port: int, behind: FaultProxy, upstream: Scripted, fault: Any, stream: bool
) -> None:
    whole = []
    for place in PLACES:
        behind.becomes(down=Line(place, fault))
        whole.append(is_clean(call(port, {**ASKED, "stream": stream}), stream))
    assert whole[-1]
    assert not whole[0]
    assert wait_until(lambda: upstream.open == 0) < 1


@pytest.mark.parametrize("fault", FAULTS)
def test_a_request_that_breaks_on_its_way_is_an_error(port: int, behind: FaultProxy, fault: Any) -> None:
    for place in (0, 30, 200, 400):
        behind.becomes(up=Line(place, fault))
        assert not is_clean(call(port, ASKED), stream=False)


@pytest.mark.parametrize("stream", [False, True])
def test_late_and_dripping_lines_give_the_whole_reply(port: int, behind: FaultProxy, stream: bool) -> None:
    for line in (Line(size=1), Line(size=7, late=0.001), Line(late=0.2)):
        behind.becomes(line, line)
        assert is_clean(call(port, {**ASKED, "stream": stream}), stream)


def test_many_callers_on_a_line_that_fails_at_random_all_get_an_end(
    port: int, behind: FaultProxy, upstream: Scripted
) -> None:
    drawn, ends = random.Random(5), list[bool]()

    def ask(number: int) -> None:
        stream = bool(number % 2)
        ends.append(is_clean(call(port, {**ASKED, "stream": stream}), stream))

    for _ in range(8):
        behind.becomes(down=Line(drawn.randrange(1500), drawn.choice(FAULTS)))
        threads = [threading.Thread(target=ask, args=(number,)) for number in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(30)
    assert len(ends) == 64
    assert wait_until(lambda: upstream.open == 0) < 1
    behind.becomes()
    assert is_clean(call(port, ASKED), stream=False)


def test_a_storm_of_errors_on_a_bad_line_passes(release: Path) -> None:
    statuses = itertools.chain(itertools.islice(itertools.cycle([500, 502, 503, 529]), 40), itertools.repeat(200))

    async def storm(upstream: Scripted, body: dict[str, Any], send: Any) -> None:
        status = next(statuses)
        if status == 200:
            await friendly(upstream, body, send)
        else:
            await respond(send, b"x" * 100_000, status)

    with (
        served(Scripted(storm)) as at,
        fault_proxy(at, down=Line(size=1000, late=0.001)) as proxy,
        gateway(configuration(release, proxy.port)) as entry,
    ):
        assert not any(is_clean(call(entry, {**ASKED, "stream": bool(n % 2)}), bool(n % 2)) for n in range(40))
        assert is_clean(call(entry, ASKED), stream=False)


async def endless(_: Scripted, body: dict[str, Any], send: Any) -> None:
    if body.get("stream"):
        await begin(send)
        while True:
            await more(send, event({"content": "and "}))
            await asyncio.sleep(0.02)
    await asyncio.sleep(60)


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("fault", ["close", "reset", "half"])
def test_a_client_on_a_bad_line_frees_the_upstream_within_a_second(release: Path, fault: str, stream: bool) -> None:
    upstream = Scripted(endless)
    with contextlib.ExitStack() as made:
        entry = made.enter_context(gateway(configuration(release, made.enter_context(served(upstream)))))
        line = made.enter_context(fault_proxy(entry))
        with asking(line.port, stream) as connection:
            wait_until(lambda: upstream.open == 1)
            if stream:
                connection.recv(100)
            if fault == "reset":
                reset(connection)
            elif fault == "half":
                connection.shutdown(socket.SHUT_WR)
            else:
                connection.close()
            assert wait_until(lambda: upstream.open == 0) < 1


@contextlib.contextmanager
def asking(port: int, stream: bool, part: float = 1.0) -> Iterator[socket.socket]:
    """A connection on which a part of a request has been sent."""
    data = json.dumps({**ASKED, "stream": stream}).encode()
    head = (
        f"POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {TENANT_KEY}\r\n"
        f"Content-Length: {len(data)}\r\n\r\n"
    ).encode()
    with socket.create_connection(("127.0.0.1", port), timeout=20) as connection:
        connection.sendall(head + data[: int(len(data) * part)])
        yield connection


@pytest.mark.parametrize("stream", [False, True])
def test_a_client_on_a_slow_line_gets_the_whole_reply(port: int, stream: bool) -> None:
    for line in (Line(size=1), Line(late=0.1)):
        with fault_proxy(port, up=line, down=line) as slow:
            assert is_clean(call(slow.port, {**ASKED, "stream": stream}), stream)


def test_half_a_request_reaches_no_upstream(port: int, upstream: Scripted) -> None:
    before = len(upstream.bodies)
    for end in (socket.socket.close, reset):
        with asking(port, stream=False, part=0.5) as connection:
            end(connection)
    assert is_clean(call(port, ASKED), stream=False)
    assert len(upstream.bodies) == before + 1


def test_a_request_that_never_comes_whole_is_not_waited_for_for_ever(release: Path, behind: FaultProxy) -> None:
    settings = configuration(release, behind.port)
    settings.limits.body_seconds = 0.3
    with gateway(settings) as entry, asking(entry, stream=False, part=0.5) as connection:
        response = http.client.HTTPResponse(connection)
        response.begin()
        assert (response.status, json.loads(response.read())["error"]["code"]) == (408, "request_timeout")


def test_a_client_that_reads_nothing_holds_up_nobody_else(release: Path) -> None:
    async def much(_: Scripted, body: dict[str, Any], send: Any) -> None:
        if not body.get("stream"):
            await friendly(_, body, send)
            return
        await begin(send)
        while True:
            await more(send, event({"content": "and more of it. " * 500}))
            await asyncio.sleep(0)

    upstream = Scripted(much)
    with served(upstream) as at, gateway(configuration(release, at)) as entry, asking(entry, stream=True) as connection:
        wait_until(lambda: upstream.open == 1)
        for _ in range(5):
            assert call(entry, ASKED).status == 200
        connection.close()
        assert wait_until(lambda: upstream.open == 0) < 2


def test_a_half_open_reply_does_not_look_whole_to_a_client(port: int) -> None:
    with fault_proxy(port, down=Line(400, "close")) as line, pytest.raises(http.client.IncompleteRead):
        call(line.port, {**ASKED, "stream": True})
