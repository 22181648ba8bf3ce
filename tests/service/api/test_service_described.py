"""The API's description names the gateway's routes too, and nothing that is not served."""

from __future__ import annotations

from support.gateway_parts import call
from support.service_parts import ServiceUnderTest

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
