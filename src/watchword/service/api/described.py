"""The description of what the gateway answers: it has no routes of FastAPI's, and stands in ``/openapi.json`` all the same."""

from __future__ import annotations

from typing import Any

from fastapi import FastAPI

from watchword.gateway.routes import ROUTES, Route, Work
from watchword.service.api.chat import gateway_route

_SUMMARIES = {
    "/v1/chat/completions": "Chat with a tuned model, whole or as a stream.",
    "/v1/completions": "Have a text written on, as a chat behind the secret; refused unless the provider allows it.",
    "/v1/responses": "Chat in the form of responses; none is stored.",
    "/v1/messages": "Chat in Anthropic's form.",
    "/v1/messages/count_tokens": "Count the tokens of such a chat.",
    "/v1/embeddings": "Vectors of texts, by models that make them; this service offers none now.",
}
_KEY_HEADER = "tenant_key_header"
_JSON: dict[str, Any] = {"application/json": {}}
_BODY = {
    "type": "object",
    "required": ["model"],
    "properties": {"model": {"type": "string", "description": "A tuned model's name."}},
    "additionalProperties": True,
}
_ERROR = {"description": "The error envelope of the client's own API.", "content": _JSON}


class DescribedAPI(FastAPI):
    """FastAPI, with the gateway's routes in its description."""

    def openapi(self) -> dict[str, Any]:
        """The description in OpenAPI's form."""
        found = super().openapi()
        found["paths"] |= {path: {"post": _operation(path, route)} for path, route in ROUTES.items() if _chats(path)}
        header = {"type": "apiKey", "in": "header", "name": "x-api-key", "description": "A tenant's key."}
        found["components"]["securitySchemes"][_KEY_HEADER] = header
        return found


def _chats(path: str) -> bool:
    return gateway_route(path) is not None


def _operation(path: str, route: Route) -> dict[str, Any]:
    replies: dict[str, Any] = _JSON | ({"text/event-stream": {}} if route.work is Work.ASK else {})
    keys: list[dict[str, list[str]]] = [{"tenant_key": []}]
    return {
        "tags": ["chats"],
        "summary": _SUMMARIES[path],
        "operationId": "gateway" + path.removeprefix("/v1").replace("/", "_"),
        "security": keys + ([{_KEY_HEADER: []}] if route.key_header else []),
        "requestBody": {"required": True, "content": {"application/json": {"schema": _BODY}}},
        "responses": {
            "200": {"description": "The answer.", "content": replies},
            "4XX": _ERROR,
            "5XX": _ERROR,
        },
    }
