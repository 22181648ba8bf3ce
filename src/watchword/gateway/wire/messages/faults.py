"""Errors as Anthropic's clients read them: ``{"type": "error", "error": {type, message}, "request_id"}``."""

from __future__ import annotations

from typing import Any

import msgspec

from watchword.errors import CallError

_BAD, _NOT_FOUND, _OVERLOADED = (400, "invalid_request_error"), (404, "not_found_error"), (529, "overloaded_error")
# What is no bad request, by our codes: the HTTP status and Anthropic's type of error.
_KINDS = {
    "permission_denied": (403, "permission_error"),
    "invalid_api_key": (401, "authentication_error"),
    "model_not_found": _NOT_FOUND,
    "unsupported_model": _NOT_FOUND,
    "unknown_url": _NOT_FOUND,
    "method_not_allowed": (405, "invalid_request_error"),
    "request_timeout": (408, "timeout_error"),
    "request_too_large": (413, "request_too_large"),
    "rate_limit_exceeded": (429, "rate_limit_error"),
    "internal_error": (500, "api_error"),
    "upstream_error": (500, "api_error"),
    "upstream_timeout": (504, "timeout_error"),
    "model_unavailable": _OVERLOADED,
}


class AnthropicFaults:
    """The form of errors on /v1/messages and below."""

    def status(self, error: CallError) -> int:
        """The HTTP status of an error."""
        return _KINDS.get(error.openai_code, _BAD)[0]

    def body(self, error: CallError, request_id: str, /) -> bytes:
        """The body of a response."""
        return msgspec.json.encode({**told(error), "request_id": request_id})


def told(error: CallError) -> dict[str, Any]:
    """The error as an object; its field stands in the message, as the form has no other place for it."""
    param = f"{error.param}: " if error.param and repr(error.param) not in str(error) else ""
    kind = _KINDS.get(error.openai_code, _BAD)[1]
    return {"type": "error", "error": {"type": kind, "message": f"{param}{error}"}}
