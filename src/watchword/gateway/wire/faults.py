"""Errors as OpenAI's clients read them: ``{"error": {message, type, param, code}}`` and a status for each code."""

from __future__ import annotations

import msgspec

from watchword.chat.fault import shown
from watchword.errors import CallError

_BAD, _SERVER = "invalid_request_error", "server_error"
# Each code with its HTTP status and OpenAI's type of error.
_KINDS = {
    "unknown_parameter": (400, _BAD),
    "unsupported_parameter": (400, _BAD),
    "missing_required_parameter": (400, _BAD),
    "invalid_value": (400, _BAD),
    "invalid_json": (400, _BAD),
    "invalid_request": (400, _BAD),
    "context_length_exceeded": (400, _BAD),
    "invalid_api_key": (401, _BAD),
    "permission_denied": (403, _BAD),
    "model_not_found": (404, _BAD),
    "unsupported_model": (404, _BAD),
    "not_stored": (404, _BAD),
    "unknown_url": (404, _BAD),
    "method_not_allowed": (405, _BAD),
    "request_timeout": (408, _BAD),
    "request_too_large": (413, _BAD),
    "rate_limit_exceeded": (429, "rate_limit_error"),
    "internal_error": (500, _SERVER),
    "upstream_error": (502, _SERVER),
    "model_unavailable": (503, _SERVER),
    "upstream_timeout": (504, _SERVER),
}


class _Fault(msgspec.Struct, frozen=True):
    message: str
    type: str
    param: str | None
    code: str


class _Envelope(msgspec.Struct, frozen=True):
    error: _Fault


def unsupported_model(why: str, model: str) -> CallError:
    """What a tenant is told who asks a model of its own at a URL that is not for it."""
    return CallError(f"The model {shown(model)} {why}", openai_code="unsupported_model", param="model")


def fault_event(error: CallError) -> bytes:
    """The error as the last event of a stream."""
    return b"data: " + fault_json(error) + b"\n\n"


class OpenAIFaults:
    """The form of errors on all of OpenAI's URLs, and on those that nobody knows."""

    def status(self, error: CallError) -> int:
        """The HTTP status of an error."""
        return status_of(error)

    def body(self, error: CallError, _: str, /) -> bytes:
        """The body of a response; OpenAI's clients read the request's id from a header."""
        return fault_json(error)


def status_of(error: CallError) -> int:
    """The HTTP status of an error."""
    return _KINDS[error.openai_code][0]


def fault_json(error: CallError) -> bytes:
    """The error as JSON."""
    return msgspec.json.encode(
        _Envelope(_Fault(str(error), _KINDS[error.openai_code][1], error.param, error.openai_code))
    )
