"""/v1/embeddings passes to models that are declared for it, rebuilt from known fields; a release's model is refused."""

from __future__ import annotations

import base64
import json
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import openai
import pytest

from support.gateway_parts import (
    MODEL,
    TENANT_KEY,
    Scripted,
    call,
    configuration,
    gateway,
    respond,
    served,
)
from watchword.errors import DataError
from watchword.gateway.configuration import EmbeddingsSettings, KeySettings, read_configuration
from watchword.gateway.tenants import key_digest

VECTORS = "embed-small"
NUMBERS = [0.5, -0.25, 2.0]


def reply(count: int, embedding: Any = None, **fields: Any) -> dict[str, Any]:
    vector = NUMBERS if embedding is None else embedding
    data = [{"object": "embedding", "index": at, "embedding": vector, "x": "up"} for at in reversed(range(count))]
    return {"object": "list", "data": data, "model": "up", "usage": {"prompt_tokens": 7, "total_tokens": 7}, **fields}


async def script(upstream: Scripted, body: dict[str, Any], send: Any) -> None:
    given = body["input"]
    if given == "fail":
        await respond(send, b"CUDA out of memory at /srv", 500)
    elif isinstance(given, str) and given.startswith("{"):
        await respond(send, given.encode())
    else:
        one = isinstance(given, str) or isinstance(given[0], int)
        await respond(send, json.dumps(reply(1 if one else len(given))).encode())


@pytest.fixture(scope="module")
def upstream() -> Scripted:
    return Scripted(script)


@pytest.fixture(scope="module")
def port(release: Path, upstream: Scripted) -> Iterator[int]:
    with served(upstream) as behind:
        settings = configuration(release, behind)
        settings.embeddings = [EmbeddingsSettings(name=VECTORS, upstream="engine", upstream_model="e5")]
        settings.keys[0].models.append(VECTORS)
        settings.keys.append(KeySettings(id="third", sha256=key_digest("wk-third"), models=[MODEL]))
        with gateway(settings) as at:
            yield at


@pytest.fixture(scope="module")
def client(port: int) -> Iterator[Any]:
    with openai.OpenAI(base_url=f"http://127.0.0.1:{port}/v1", api_key=TENANT_KEY, max_retries=0) as made:
        yield made


def test_vectors_come_in_order_in_either_encoding(client: Any, upstream: Scripted) -> None:
    found = client.embeddings.create(model=VECTORS, input=["a", "b"], dimensions=3, user="ann")
    assert [(one.index, one.embedding) for one in found.data] == [(0, NUMBERS), (1, NUMBERS)]
    assert (found.model, found.usage.prompt_tokens, found.usage.total_tokens) == (VECTORS, 7, 7)
    assert upstream.bodies[-1] == {"model": "e5", "input": ["a", "b"], "encoding_format": "float", "dimensions": 3}
    assert client.embeddings.create(model=VECTORS, input="a", encoding_format="float").data[0].embedding == NUMBERS
    encoded = base64.b64encode(struct.pack("<3f", *NUMBERS)).decode()
    # A server may answer in base64 whatever it was asked for.
    for wanted, expected in (("float", NUMBERS), ("base64", encoded)):
        raw = ask_raw(client, reply(1, encoded), encoding_format=wanted)
        assert raw.data[0].embedding == expected


def ask_raw(client: Any, given: Any, **fields: Any) -> Any:
    return client.embeddings.create(model=VECTORS, input=json.dumps(given), **fields)


@pytest.mark.parametrize(("given", "count"), [([1, 2, 3], 1), ([[1, 2], [3]], 2)])
def test_token_ids_are_texts_too(client: Any, upstream: Scripted, given: Any, count: int) -> None:
    assert len(client.embeddings.create(model=VECTORS, input=given).data) == count
    assert upstream.bodies[-1]["input"] == given


def test_a_reply_holds_known_fields_only(port: int) -> None:
    found = call(port, {"model": VECTORS, "input": "a"}, path="/v1/embeddings").json
    assert set(found) == {"object", "data", "model", "usage"}
    assert set(found["data"][0]) == {"object", "index", "embedding"}


@pytest.mark.parametrize(
    "given",
    [
        {"data": []},
        reply(2),
        reply(1, []),
        reply(1, "no base64!"),
        reply(1, "AAA="),
        reply(1, [1e400]),
        reply(1, ["x"]),
        reply(1, None, usage={"prompt_tokens": -1}),
        {"error": {"message": "CUDA"}},
        {"data": [{"index": 3, "embedding": [1.0]}]},
    ],
)
def test_what_is_no_reply_is_an_error_of_the_servers(port: int, given: Any) -> None:
    text = json.dumps(given).replace("Infinity", "1e400")
    found = call(port, {"model": VECTORS, "input": text}, path="/v1/embeddings")
    assert (found.status, found.json["error"]["code"]) == (502, "upstream_error")


def test_a_model_is_asked_where_it_belongs(port: int, client: Any) -> None:
    release = call(port, {"model": MODEL, "input": "a"}, path="/v1/embeddings")
    assert (release.status, release.json["error"]["code"]) == (404, "unsupported_model")
    for path, body in (
        ("/v1/chat/completions", {"messages": [{"role": "user", "content": "Hi"}]}),
        ("/v1/responses", {"input": "Hi"}),
    ):
        found = call(port, {"model": VECTORS, **body}, path=path)
        assert (found.status, found.json["error"]["code"]) == (404, "unsupported_model")
    assert VECTORS in [model.id for model in client.models.list()]
    anothers = call(port, {"model": VECTORS, "input": "a"}, path="/v1/embeddings", key="wk-third")
    assert (anothers.status, anothers.json["error"]["code"]) == (404, "model_not_found")
    failed = call(port, {"model": VECTORS, "input": "fail"}, path="/v1/embeddings")
    assert failed.status == 502
    assert "CUDA" not in failed.everything


@pytest.mark.parametrize(
    ("fields", "code", "param"),
    [
        ({"input": []}, "invalid_value", "input"),
        ({"input": ["a", 1]}, "invalid_value", "input"),
        ({"input": ["a"] * 2049}, "invalid_value", "input"),
        ({"input": {"text": "a"}}, "invalid_value", "input"),
        ({"input": [-1]}, "invalid_value", "input[0]"),
        ({"encoding_format": "int8"}, "invalid_value", "encoding_format"),
        ({"dimensions": 0}, "invalid_value", "dimensions"),
        ({"truncate_prompt_tokens": 3}, "unknown_parameter", "truncate_prompt_tokens"),
    ],
)
def test_what_is_not_taken_is_named(port: int, fields: dict[str, Any], code: str, param: str) -> None:
    found = call(port, {"model": VECTORS, "input": "a", **fields}, path="/v1/embeddings")
    assert (found.status, found.json["error"]["code"]) == (400, code)
    assert found.json["error"]["param"].startswith(param)


def test_a_releases_model_cannot_be_declared_for_embeddings(tmp_path: Path) -> None:
    def written(upstream_model: str, name: str = "vectors", upstream: str = "gpu") -> Path:
        file = tmp_path / "gateway.toml"
        file.write_text(
            '[[upstreams]]\nname = "gpu"\nurl = "http://127.0.0.1:1/v1"\nkind = "vllm"\n'
            '[[models]]\nname = "ft"\nrelease = "r"\nupstream = "gpu"\nupstream_model = "ftm-1"\ncontext = 1\n'
            '[[upstreams]]\nname = "again"\nurl = "http://127.0.0.1:1/v1/"\nkind = "openai"\n'
            f'[[embeddings]]\nname = "{name}"\nupstream = "{upstream}"\nupstream_model = "{upstream_model}"\n'
        )
        return file

    assert read_configuration(written("e5")).embeddings[0].name == "vectors"
    for file, field in (
        (lambda: written("ftm-1"), "embeddings.upstream_model"),
        (lambda: written("ftm-1", upstream="again"), "embeddings.upstream_model"),
        (lambda: written("e5", name="ft"), "models.name"),
        (lambda: written("e5", upstream="cpu"), "embeddings.upstream"),
    ):
        with pytest.raises(DataError) as caught:
            read_configuration(file())
        assert caught.value.field == field
