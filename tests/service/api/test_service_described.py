"""The API's description names the gateway's routes too, and nothing that is not served."""

from __future__ import annotations

import json

import pytest

from support.gateway_parts import call
from support.openai_description import NULLABLE, REQUIRED
from support.service_parts import BASE, ServiceUnderTest, rows
from watchword.service.api.app import described_app

CHATS = ("chat/completions", "completions", "responses", "messages", "messages/count_tokens", "embeddings")


def test_the_gateways_routes_are_described(shared: ServiceUnderTest) -> None:
    described = call(shared.port, path="/openapi.json", method="GET", key=None).json
    schemes = described["components"]["securitySchemes"]
    for name in CHATS:
        told = described["paths"][f"/v1/{name}"]["post"]
        assert told["summary"]
        assert {key for choice in told["security"] for key in choice} <= set(schemes)
        assert told["requestBody"]["content"]["application/json"]["schema"]["required"] == ["model"]
        # What is described is served, and for the holders of a key alone.
        body = {"model": "ft:none", "max_tokens": 1}
        assert call(shared.port, body, path=f"/v1/{name}", key=None).status == 401
        for choice in told["security"]:
            (scheme,) = choice
            header = schemes[scheme].get("name", "Authorization")
            key = shared.key if header == "x-api-key" else f"Bearer {shared.key}"
            answer = call(shared.port, body, path=f"/v1/{name}", key=None, headers={header: key})
            assert answer.status in (400, 404), answer.body
    both = described["paths"]["/v1/messages"]["post"]["security"]
    assert {schemes[key]["type"] for choice in both for key in choice} == {"http", "apiKey"}
    identifiers = [told["operationId"] for path in described["paths"].values() for told in path.values()]
    assert len(set(identifiers)) == len(identifiers)


@pytest.mark.parametrize("name", REQUIRED)
def test_replies_are_what_openais_description_says(name: str) -> None:
    found = described_app().openapi()["components"]["schemas"][name]
    assert set(REQUIRED[name].split()) <= set(found.get("required", ()))
    nullable = {
        field
        for field, schema in found["properties"].items()
        if {"type": "null"} in schema.get("anyOf", ()) or schema.get("type") == "null"
    }
    assert nullable <= set(NULLABLE.get(name, "").split())


def test_what_has_no_value_and_may_not_be_null_is_left_out(shared: ServiceUnderTest) -> None:
    client = shared.client()
    file = client.files.create(file=("a.jsonl", rows()), purpose="fine-tune")
    assert not {"expires_at", "status_details"} & set(json.loads(file.to_json(exclude_unset=True)))
    job = client.fine_tuning.jobs.create(model=BASE, training_file=file.id)
    events = client.fine_tuning.jobs.list_events(job.id).data
    assert all("data" not in json.loads(event.to_json(exclude_unset=True)) for event in events)
    kept = client.files.create(
        file=("b.jsonl", rows()), purpose="fine-tune", expires_after={"anchor": "created_at", "seconds": 3600}
    )
    assert kept.expires_at == kept.created_at + 3600
    client.fine_tuning.jobs.cancel(job.id)
