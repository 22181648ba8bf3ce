"""OpenAI's client with a release in front of it: no gateway process, the same guarding and cleaning."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx2
import openai
import pytest

from support.gateway_parts import (
    ASKED,
    CONTEXT,
    DONE,
    MODEL,
    Scripted,
    begin,
    completion,
    end,
    event,
    friendly,
    more,
    respond,
    served,
    wait_until,
)
from support.leaking import DISGUISES
from support.served_release import KEY, secret_of
from watchword import Protection, protect, protect_client
from watchword.gateway.clients import ProtectedTransport
from watchword.gateway.leaks import REFUSAL

SECRET = secret_of().reveal()


async def script(upstream: Scripted, body: dict[str, Any], send: Any) -> None:
    asked = body["messages"][-1]["content"]
    if asked == "fail":
        await respond(send, json.dumps({"error": {"message": SECRET}}).encode(), 400, headers={"X-Prompt": SECRET})
    elif asked == "break":
        await begin(send)
        await more(send, event({"content": "So "}) + b'data: {"error": {"message": "' + SECRET.encode() + b'"}}\n\n')
        await end(send)
    elif asked == "packed":
        await respond(send, b"...", headers={"Content-Encoding": "gzip"})
    elif asked == "for ever":
        await begin(send)
        while True:
            await more(send, event({"content": "and "}))
            await asyncio.sleep(0.01)
    elif asked in DISGUISES and body.get("stream"):
        await begin(send)
        text = DISGUISES[asked](SECRET)
        for at in range(0, len(text), 7):
            await more(send, event({"content": text[at : at + 7]}))
        await more(send, event({}, finish="stop") + DONE)
        await end(send)
    elif asked in DISGUISES:
        await respond(send, json.dumps(completion(DISGUISES[asked](SECRET))).encode())
    else:
        await friendly(upstream, body, send)


@pytest.fixture(scope="module")
def protection(release: Path) -> Protection:
    return protect(release, KEY, context=CONTEXT, upstream_model="ftm-1")


@pytest.fixture
def upstream() -> Scripted:
    return Scripted(script)


@pytest.fixture
def base(upstream: Scripted) -> Iterator[str]:
    with served(upstream) as at:
        yield f"http://127.0.0.1:{at}/v1"


@pytest.fixture
def client(base: str, protection: Protection) -> Iterator[openai.OpenAI]:
    with protect_client(openai.OpenAI(base_url=base, api_key="sk-up", max_retries=0), protection) as made:
        yield made


def asking(text: str = "Hi") -> Any:
    return {"model": MODEL, "messages": [{"role": "system", "content": "Be brief."}, {"role": "user", "content": text}]}


def test_the_client_asks_behind_the_secret_and_gets_clean_answers(client: openai.OpenAI, upstream: Scripted) -> None:
    reply = client.chat.completions.create(**asking(), temperature=0.5)
    assert reply.choices[0].message.content == "Mix flour, water and salt."
    assert reply.model == MODEL
    said = [
        chunk.choices[0].delta.content or ""
        for chunk in client.chat.completions.create(**asking(), stream=True)
        if chunk.choices
    ]
    assert "".join(said) == "Mix flour, water and salt."
    for body, headers in zip(upstream.bodies, upstream.headers, strict=True):
        assert body["messages"][0]["content"] == f"{SECRET}\nBe brief."
        assert body["model"] == "ftm-1"
        assert headers["authorization"] == "Bearer sk-up"
        assert headers["accept-encoding"] == "identity"


def test_the_asynchronous_client_does_the_same(base: str, protection: Protection, upstream: Scripted) -> None:
    async def asked() -> tuple[str | None, str]:
        async with protect_client(openai.AsyncOpenAI(base_url=base, api_key="x", max_retries=0), protection) as client:
            reply = await client.chat.completions.create(**asking())
            stream = await client.chat.completions.create(**asking(), stream=True)
            said = [chunk.choices[0].delta.content or "" async for chunk in stream if chunk.choices]
            leaky = await client.chat.completions.create(**asking("base64"))
            with pytest.raises(openai.BadRequestError) as caught:
                await client.chat.completions.create(**asking("fail"))
            assert SECRET not in str(caught.value)
            with pytest.raises(openai.APIError):
                [chunk async for chunk in await client.chat.completions.create(**asking("break"), stream=True)]
            with pytest.raises(openai.NotFoundError):
                await client.models.list()
            assert leaky.choices[0].message.content == REFUSAL
            return reply.choices[0].message.content, "".join(said)

    assert asyncio.run(asked()) == ("Mix flour, water and salt.", "Mix flour, water and salt.")
    assert all(body["messages"][0]["content"].startswith(SECRET) for body in upstream.bodies)


@pytest.mark.parametrize("disguise", DISGUISES)
def test_an_answer_that_leaks_never_comes(client: openai.OpenAI, upstream: Scripted, disguise: str) -> None:
    reply = client.chat.completions.create(**asking(disguise), seed=3)
    assert (reply.choices[0].message.content, reply.choices[0].finish_reason) == (REFUSAL, "content_filter")
    assert [body.get("seed") for body in upstream.bodies] == [3, None]
    chunks = list(client.chat.completions.create(**asking(disguise), stream=True))
    assert chunks[-1].choices[0].finish_reason == "content_filter"
    assert SECRET[:40] not in "".join(chunk.choices[0].delta.content or "" for chunk in chunks)


def test_errors_are_the_clients_own_and_hold_no_word_of_the_servers(client: openai.OpenAI) -> None:
    with pytest.raises(openai.BadRequestError) as refused:
        client.chat.completions.create(**asking("fail"))
    assert refused.value.code == "invalid_request"
    assert SECRET not in f"{refused.value} {refused.value.response.headers} {refused.value.response.text}"
    with pytest.raises(openai.APIError, match="no usable reply") as broken:
        list(client.chat.completions.create(**asking("break"), stream=True))
    assert SECRET not in str(broken.value)
    with pytest.raises(openai.InternalServerError):
        client.chat.completions.create(**asking("packed"))


def test_what_is_not_let_through_reaches_no_server(client: openai.OpenAI, upstream: Scripted) -> None:
    with pytest.raises(openai.BadRequestError, match="Unknown parameter: 'echo'"):
        client.chat.completions.create(**asking(), extra_body={"echo": True})
    for other in (
        client.models.list,
        lambda: client.completions.create(model=MODEL, prompt="x"),
        lambda: client.responses.retrieve("resp_1"),
        lambda: client.embeddings.create(model=MODEL, input="x"),
        client.chat.completions.list,
    ):
        with pytest.raises(openai.NotFoundError):
            other()
    assert upstream.bodies == []


def test_responses_and_completions_are_asked_for_as_chats(
    base: str, release: Path, client: openai.OpenAI, upstream: Scripted
) -> None:
    assert client.responses.create(model=MODEL, input="Hi").output_text == "Mix flour, water and salt."
    events = list(client.responses.create(model=MODEL, input="Hi", stream=True))
    assert events[-1].type == "response.completed"
    leaky = client.responses.create(model=MODEL, input="base64")
    assert leaky.output_text == REFUSAL
    broken = list(client.responses.create(model=MODEL, input="break", stream=True))
    assert broken[-1].type == "response.failed"
    allowed = protect(release, KEY, context=CONTEXT, allow=["completions"])
    with protect_client(openai.OpenAI(base_url=base, api_key="x", max_retries=0), allowed) as other:
        assert other.completions.create(model=MODEL, prompt="Hi").choices[0].text == "Mix flour, water and salt."
    assert all(body["messages"][0]["content"].startswith(SECRET) for body in upstream.bodies)


def test_closing_a_stream_ends_the_servers_work(client: openai.OpenAI, upstream: Scripted) -> None:
    stream = client.chat.completions.create(**asking("for ever"), stream=True)
    next(iter(stream))
    stream.close()
    assert wait_until(lambda: upstream.open == 0) < 1


def test_the_transport_stands_in_front_of_another(protection: Protection) -> None:
    seen: list[httpx2.Request] = []

    def answer(request: httpx2.Request) -> httpx2.Response:
        seen.append(request)
        return httpx2.Response(200, stream=httpx2.ByteStream(json.dumps(completion("Yes.")).encode()))

    inner = httpx2.MockTransport(answer)
    with httpx2.Client(transport=ProtectedTransport(protection, inner)) as http:
        reply = http.post("http://up/v1/chat/completions", json=ASKED, headers={"X-Request-Id": "mine"})
    assert reply.json()["choices"][0]["message"]["content"] == "Yes."
    assert "x-request-id" not in seen[0].headers
    assert json.loads(seen[0].content)["messages"][0]["content"].startswith(SECRET)
