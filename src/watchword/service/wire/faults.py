"""Errors as OpenAI's clients read them: the gateway's table of codes, and what the service adds to it.

A tenant sees an error's problem, line and field, and never its path. What nobody foresaw is told as a plain 500.
State conflicts are 400: the client sends a 409 again, twice.
"""

from __future__ import annotations

from typing import Any

import msgspec
from pydantic_core import ErrorDetails

from watchword.errors import (
    AuditError,
    CallError,
    ConflictError,
    DatabaseError,
    DataError,
    NotFoundError,
    OutputError,
    QuotaError,
    RepeatedKeyError,
    UsageError,
    WatchwordError,
)
from watchword.gateway.wire.faults import fault_json as gateway_fault
from watchword.gateway.wire.faults import status_of as gateway_status

_BAD = "invalid_request_error"
_OWN = {
    "invalid_content_type": (415, _BAD),
    "invalid_state": (400, _BAD),
    "idempotency_key_reused": (400, _BAD),
    "insufficient_permissions": (403, _BAD),
    "insufficient_quota": (429, "insufficient_quota"),
    "webhook_unreachable": (400, _BAD),
    "not_found": (404, _BAD),
    "audit_broken": (500, "server_error"),
    "service_unavailable": (503, "server_error"),
}
# What a tenant is told of our own errors, the narrower class first. All others are nobody's business.
_CODES: dict[type[WatchwordError], str] = {
    NotFoundError: "not_found",
    RepeatedKeyError: "idempotency_key_reused",
    ConflictError: "invalid_state",
    QuotaError: "insufficient_quota",
    DataError: "invalid_request",
    UsageError: "invalid_value",
    AuditError: "audit_broken",
}
_UNSUPPORTED = "unsupported_"


def status_of(error: CallError) -> int:
    """The HTTP status of an error."""
    kind = _kind(error.openai_code)
    return gateway_status(error) if kind is None else kind[0]


def fault_json(error: CallError) -> bytes:
    """The error as a reply's body."""
    kind = _kind(error.openai_code)
    if kind is None:
        return gateway_fault(error)
    fault = {"message": str(error), "type": kind[1], "param": error.param, "code": error.openai_code}
    return msgspec.json.encode({"error": fault})


def _kind(code: str) -> tuple[int, str] | None:
    """Status and type of a code that is the service's own; None for the gateway's."""
    if code in _OWN:
        return _OWN[code]
    if code.startswith(_UNSUPPORTED) and code != "unsupported_parameter":
        return 400, _BAD
    return None


def unsupported(what: str, problem: str, *, param: str) -> CallError:
    """What OpenAI's API has and this service does not offer."""
    return CallError(problem, openai_code=f"{_UNSUPPORTED}{what}", param=param)


def invalid(problem: str, *, param: str | None) -> CallError:
    """A value that does not fit."""
    return CallError(problem, openai_code="invalid_value", param=param)


def fault_of(error: WatchwordError) -> CallError:
    """Any of our errors as one that a tenant may read: no path, and nothing of a secret, a model or the machine."""
    if isinstance(error, CallError):
        return error
    # A full disk is the provider's to mend, and worth another try as well.
    if isinstance(error, DatabaseError | OutputError):
        return CallError("Try again in a moment.", openai_code="service_unavailable", retry_after=2)
    code = next((code for kind, code in _CODES.items() if isinstance(error, kind)), None)
    if code is None:
        return internal()
    retry_after = error.retry_after if isinstance(error, QuotaError) else None
    if retry_after is not None:
        code = "rate_limit_exceeded"
    place = f"Line {error.line}: " if error.line is not None else ""
    return CallError(
        place + _sentence(error.problem), openai_code=code, param=error.param or error.field, retry_after=retry_after
    )


def internal() -> CallError:
    """What is told where something failed that is not the caller's fault."""
    return CallError("The request could not be answered; try again later.", openai_code="internal_error")


def fault_of_request(details: list[ErrorDetails] | list[Any]) -> CallError:
    """The first thing that is wrong with a request's parameters."""
    first, said = details[0], _said(details)
    place = [str(part) for part in first["loc"] if part not in ("body", "query", "path", "header")]
    if _is_choice(first):
        place.pop()
    param = ".".join(part for part in place if not part.startswith(("function-", "union["))) or None
    kind, wanted = first["type"], f"'{param}'" if param else "the JSON body"
    if kind == "json_invalid":
        return CallError("The body is no valid JSON.", openai_code="invalid_json")
    if kind == "extra_forbidden":
        return CallError(f"Unknown parameter: '{param}'.", openai_code="unknown_parameter", param=param)
    if kind == "missing":
        return CallError(
            f"Missing required parameter: {wanted}.", openai_code="missing_required_parameter", param=param
        )
    return invalid(f"Invalid value for {wanted}: {said}.", param=param)


def _is_choice(detail: Any) -> bool:
    """Whether this is what one kind of value says, of several that the field takes; its place then ends in that kind."""
    return bool(detail["type"] == "literal_error" and str(detail["loc"][-1]).startswith("literal["))


def _said(details: list[ErrorDetails] | list[Any]) -> str:
    """What a value should be; where it may be of several kinds, of each of them."""
    first = details[0]
    beside = [one for one in details if one["loc"][:-1] == first["loc"][:-1]] if _is_choice(first) else [first]
    texts = [one["msg"].removeprefix("Value error, ") for one in beside]
    return ", or ".join(f"{text[:1].lower()}{text[1:]}" for text in texts)


def _sentence(problem: str) -> str:
    return f"{problem[:1].upper()}{problem[1:]}."
