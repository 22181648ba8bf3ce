"""Calls over HTTP: who may call what, what an answer holds, and what the upstream gets."""

from __future__ import annotations

import json
import logging
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from support.gateway_parts import (
    ASKED,
    MODEL,
    OTHER_KEY,
    OTHER_MODEL,
    Scripted,
    call,
    completion,
    configuration,
    friendly,
    gateway,
    respond,
    served,
    wait_until,
)
from support.golden_families import template
from support.served_release import release_folder, secret_of
from watchword.chat.render import render_prompt
from watchword.chat.types import conversation

FAMILY = "smollm2"


@pytest.fixture(scope="module")
def upstream() -> Scripted:
    return Scripted(friendly)


@pytest.fixture(scope="module")
def port(upstream: Scripted, release: Path) -> Iterator[int]:
    with served(upstream) as behind, gateway(configuration(release, behind)) as at:
        yield at


def test_an_answer_comes_back_and_the_secret_goes_out(port: int, upstream: Scripted) -> None:
    response = call(port, {**ASKED, "temperature": 0.5, "user": "ann"})
    assert response.status == 200
    (choice,) = response.json["choices"]
    assert choice["message"] == {"role": "assistant", "content": "Mix flour, water and salt.", "refusal": None}
    assert choice["finish_reason"] == "stop"
    assert response.json["model"] == MODEL
    sent = upstream.bodies[-1]
    secret = secret_of(FAMILY).reveal()
    assert sent["messages"] == [
        {"role": "system", "content": f"{secret}\nBe brief."},
        {"role": "user", "content": "How do I bake bread?"},
    ]
    assert {name: value for name, value in sent.items() if name not in ("messages", "cache_salt")} == {
        "model": "ftm-1",
        "temperature": 0.5,
        # What is left for the answer of a request that does not say how long it may be.
        "max_tokens": 786_384,
    }


def test_a_stream_comes_in_pieces_with_usage_where_it_was_asked_for(port: int) -> None:
    plain = call(port, {**ASKED, "stream": True})
    assert plain.said == "Mix flour, water and salt."
    assert plain.body.endswith(b"data: [DONE]\n\n")
    assert not any("usage" in one for one in plain.events)
    counted = call(port, {**ASKED, "stream": True, "stream_options": {"include_usage": True}})
    assert counted.events[-1]["choices"] == []
    assert counted.events[-1]["usage"]["completion_tokens"] == 9


def test_usage_is_what_the_request_would_have_cost_without_the_secret(release: Path) -> None:
    form = template(FAMILY)
    asked = conversation("How do I bake bread?", system="Be brief.")

    async def counting(_: Scripted, body: dict[str, Any], send: Any) -> None:
        sent = conversation(body["messages"][1]["content"], system=body["messages"][0]["content"])
        await respond(send, msgspec.json.encode(completion("Yes.", prompt=len(render_prompt(sent, form)))))

    async def silent(_: Scripted, body: dict[str, Any], send: Any) -> None:
        await respond(send, msgspec.json.encode(completion("Yes.", usage=False)))

    async def lying(_: Scripted, body: dict[str, Any], send: Any) -> None:
        await respond(send, msgspec.json.encode(completion("Yes.", prompt=10**40)))

    for script in (counting, silent, lying):
        with served(Scripted(script)) as behind, gateway(configuration(release, behind)) as at:
            usage = call(at, ASKED).json["usage"]
        assert usage["prompt_tokens"] == len(render_prompt(asked, form)), script.__name__
        assert set(usage) == {"prompt_tokens", "completion_tokens", "total_tokens"}


def test_several_answers_each_have_their_place(port: int) -> None:
    assert [choice["index"] for choice in call(port, {**ASKED, "n": 3}).json["choices"]] == [0, 1, 2]
    streamed = call(port, {**ASKED, "n": 3, "stream": True})
    assert {choice["index"] for one in streamed.events for choice in one["choices"]} == {0, 1, 2}


def test_the_salt_of_the_cache_is_a_models_own_and_stays(port: int, upstream: Scripted) -> None:
    call(port, ASKED)
    call(port, ASKED)
    first, second = (body["cache_salt"] for body in upstream.bodies[-2:])
    call(port, {**ASKED, "model": OTHER_MODEL}, key=OTHER_KEY)
    assert first == second != upstream.bodies[-1]["cache_salt"]
    assert len(first) == 64


@pytest.mark.parametrize("key", [None, "", "wk-wrong", "wk-tenant x"])
def test_without_a_key_nothing_is_answered(port: int, key: str | None) -> None:
    for path, method in (("/v1/chat/completions", "POST"), ("/v1/models", "GET"), (f"/v1/models/{MODEL}", "GET")):
        response = call(port, ASKED if method == "POST" else None, path=path, method=method, key=key)
        assert (response.status, response.json["error"]["code"]) == (401, "invalid_api_key")


def test_anothers_model_is_answered_like_one_that_is_not_there(port: int, upstream: Scripted) -> None:
    before = len(upstream.bodies)
    theirs, nobodys = call(port, {**ASKED, "model": OTHER_MODEL}), call(port, {**ASKED, "model": "ft-of-somebody-elsf"})
    assert theirs.status == nobodys.status == 404
    assert theirs.body.replace(OTHER_MODEL.encode(), b"X") == nobodys.body.replace(b"ft-of-somebody-elsf", b"X")
    assert call(port, path=f"/v1/models/{OTHER_MODEL}", method="GET").status == 404
    assert len(upstream.bodies) == before


def test_the_list_of_models_shows_the_keys_own(port: int) -> None:
    assert [model["id"] for model in call(port, path="/v1/models", method="GET").json["data"]] == [MODEL]
    assert call(port, path=f"/v1/models/{MODEL}", method="GET").json["id"] == MODEL


@pytest.mark.parametrize(
    "path",
    ["/", "/v1/chat", "/v1/completionsx", "/v1/batches", "/tokenize", "/metrics", "/invocations", "/v1/modelsx"],
)
def test_every_other_path_is_unknown(port: int, path: str) -> None:
    response = call(port, ASKED, path=path)
    assert (response.status, response.json["error"]["code"]) == (404, "unknown_url")


def test_a_wrong_method_is_named(port: int) -> None:
    assert call(port, path="/v1/chat/completions", method="GET").json["error"]["code"] == "method_not_allowed"


def test_operators_see_whether_all_is_well_and_no_name(port: int) -> None:
    response = call(port, path="/health", method="GET", key=None)
    assert response.json == {"status": "ok", "models": 2, "unavailable": 0}


def test_a_body_beyond_the_limit_is_refused_whether_its_length_is_told_or_not(
    release: Path, upstream: Scripted
) -> None:
    with served(upstream) as behind:
        settings = configuration(release, behind)
        settings.limits.max_body_bytes = 1000
        with gateway(settings) as at:
            long = json.dumps({**ASKED, "user": "x" * 2000}).encode()
            assert call(at, long).json["error"]["code"] == "request_too_large"
            chunked = f"{len(long):x}\r\n".encode() + long + b"\r\n0\r\n\r\n"
            told = call(at, chunked, headers={"Transfer-Encoding": "chunked", "Content-Length": ""})
            assert told.status in (400, 413)


def test_a_release_that_changes_is_opened_again_and_one_that_does_not_open_is_not_served(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("watchword.gateway.served.LOOK_SECONDS", 0.0)
    monkeypatch.setattr("watchword.gateway.served.RETRY_SECONDS", 0.1)
    upstream = Scripted(friendly)
    folder = release_folder(tmp_path)
    with served(upstream) as behind, gateway(configuration(folder, behind)) as at:
        assert call(at, ASKED).status == 200
        assert upstream.bodies[-1]["messages"][0]["content"].startswith(secret_of(FAMILY).reveal())
        release_folder(tmp_path, seed=8)
        wait_until(
            lambda: call(at, ASKED).status == 200 and _front(upstream).startswith(secret_of(FAMILY, 8).reveal()), 15
        )
        asked = len(upstream.bodies)
        for name in ("secret.sealed", "manifest.json"):
            kept = tmp_path / "kept"
            shutil.move(folder / name, kept)
            wait_until(lambda: call(at, ASKED).status == 503)
            assert call(at, ASKED).json["error"]["code"] == "model_unavailable"
            shutil.move(kept, folder / name)
            wait_until(lambda: call(at, ASKED).status == 200, 15)
        assert all(
            body["messages"][0]["content"].startswith(secret_of(FAMILY, 8).reveal()) for body in upstream.bodies[asked:]
        )


def test_one_release_that_does_not_open_leaves_the_others_served(tmp_path: Path, release: Path) -> None:
    upstream = Scripted(friendly)
    with served(upstream) as behind:
        settings = configuration(release, behind)
        settings.models[1].release = str(tmp_path / "nothing")
        with gateway(settings) as at:
            assert call(at, ASKED).status == 200
            broken = call(at, {**ASKED, "model": OTHER_MODEL}, key=OTHER_KEY)
            assert broken.status == 503
            assert str(tmp_path) not in broken.everything
            assert call(at, path="/health", method="GET").json == {"status": "degraded", "models": 2, "unavailable": 1}


def test_a_release_without_a_secret_is_passed_as_it_is(tmp_path: Path) -> None:
    upstream = Scripted(friendly)
    with served(upstream) as behind, gateway(configuration(release_folder(tmp_path, defended=False), behind)) as at:
        assert call(at, ASKED).json["usage"]["prompt_tokens"] == 120
        assert call(at, {**ASKED, "stream": True}).said == "Mix flour, water and salt."
    assert upstream.bodies[0]["messages"] == ASKED["messages"]


def test_a_failure_that_nobody_foresaw_is_logged_by_its_place_alone(
    port: int, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise RuntimeError("the words of an error")

    monkeypatch.setattr("watchword.gateway.asking.upstream_body", fail)
    with caplog.at_level(logging.DEBUG):
        response = call(port, ASKED)
    assert (response.status, response.json["error"]["code"]) == (500, "internal_error")
    assert "the words of an error" not in response.everything + caplog.text
    assert any(isinstance(record.msg, dict) and record.msg.get("kind") == "RuntimeError" for record in caplog.records)


def test_the_gateway_loads_no_torch() -> None:
    code = "import sys, watchword.gateway.serving; sys.exit('torch' in sys.modules or 'transformers' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def _front(upstream: Scripted) -> str:
    return str(upstream.bodies[-1]["messages"][0]["content"])
