"""A body's bytes → a strict type, or the error that names the field. All requests of all forms are read through here."""

from __future__ import annotations

import re
from typing import NoReturn, TypeVar

import msgspec

from watchword.chat.fault import shown
from watchword.errors import CallError

_PLACE = re.compile(r"(?P<problem>.*?)(?: - at `\$\.?(?P<place>[^`]*)`)?", re.DOTALL)
_UNKNOWN = re.compile(r"Object contains unknown field `(?P<field>.*)`", re.DOTALL)
_MISSING = re.compile(r"Object missing required field `(?P<field>.*)`", re.DOTALL)
_T = TypeVar("_T")


class Strict(msgspec.Struct, omit_defaults=True, forbid_unknown_fields=True):
    """What has exactly these fields."""


def decoded(decoder: msgspec.json.Decoder[_T], data: bytes | msgspec.Raw, at: str = "") -> _T:
    """What the decoder makes of a body, or of the part of it that stands ``at`` a place. Raises CallError."""
    try:
        return decoder.decode(data)
    except msgspec.ValidationError as error:
        _refuse(str(error), at)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise no_json() from None


def no_json() -> CallError:
    """What a tenant is told whose request cannot be read, or not be written again."""
    return CallError("The request's body is no JSON in UTF-8, or is nested too deeply.", openai_code="invalid_json")


def unsupported(param: str, why: str) -> CallError:
    """What a tenant is told of a known field that is not taken."""
    return CallError(f"Unsupported parameter: {param!r}: {why}.", openai_code="unsupported_parameter", param=param)


def invalid(problem: str, param: str) -> CallError:
    """What a tenant is told of a value that a field does not take."""
    return CallError(problem, openai_code="invalid_value", param=param)


def _refuse(said: str, at: str) -> NoReturn:
    """Raises CallError for what msgspec found."""
    match = _PLACE.fullmatch(said)
    problem, inner = (match["problem"], match["place"] or "") if match else (said, "")
    place = at + inner if inner.startswith("[") else ".".join(filter(None, [at, inner]))
    if unknown := _UNKNOWN.fullmatch(problem):
        param = ".".join(filter(None, [place, unknown["field"]]))[:200]
        raise CallError(f"Unknown parameter: {shown(param)}.", openai_code="unknown_parameter", param=param) from None
    if missing := _MISSING.fullmatch(problem):
        param = ".".join(filter(None, [place, missing["field"]]))
        raise CallError(
            f"Missing required parameter: {param!r}.", openai_code="missing_required_parameter", param=param
        ) from None
    where = f" for {place!r}" if place else ""
    raise CallError(
        f"Invalid value{where}: {problem[:200]}.", openai_code="invalid_value", param=place or None
    ) from None
