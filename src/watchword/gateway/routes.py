"""Every URL that is served: what is done there, who reads the request, and in which form errors are written."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum, auto

from watchword.errors import CallError
from watchword.gateway.forms import ANTHROPIC_FAULTS, FORMS, OPENAI_FAULTS, Form
from watchword.gateway.wire.form import FaultForm
from watchword.gateway.wire.messages.reading import read_to_count

_MESSAGES, _KEY_HEADER = "/v1/messages", b"x-api-key"


class Work(Enum):
    """What is done at a URL."""

    ASK = auto()
    COUNT = auto()
    EMBED = auto()
    SHOW_MODELS = auto()
    SHOW_HEALTH = auto()
    REFUSE_STORED = auto()


@dataclass(frozen=True)
class Route:
    """One URL. ``form`` is for those that take a chat of some form.

    ``key_header`` may hold the tenant's key in place of Authorization. A route without ``method`` takes any.
    """

    work: Work
    method: str | None = "POST"
    form: Form = FORMS["chat"]
    key_header: bytes = b""


MODELS = "/v1/models"
# The operator's own, answered before all others.
METRICS = "/metrics"
ROUTES: Mapping[str, Route] = {
    "/v1/chat/completions": Route(Work.ASK),
    "/v1/completions": Route(Work.ASK, form=FORMS["completions"]),
    "/v1/responses": Route(Work.ASK, form=FORMS["responses"]),
    _MESSAGES: Route(Work.ASK, form=FORMS["messages"], key_header=_KEY_HEADER),
    f"{_MESSAGES}/count_tokens": Route(Work.COUNT, form=Form(read_to_count), key_header=_KEY_HEADER),
    "/v1/embeddings": Route(Work.EMBED),
    # Anthropic's client lists models here as well.
    MODELS: Route(Work.SHOW_MODELS, "GET", key_header=_KEY_HEADER),
    "/health": Route(Work.SHOW_HEALTH, "GET"),
}
# Those that end in a name.
_NAMED: Mapping[str, Route] = {
    f"{MODELS}/": ROUTES[MODELS],
    "/v1/responses/": Route(Work.REFUSE_STORED, None),
}


# What figures call a request's URL.
LABELS = frozenset({*ROUTES, *_NAMED, METRICS})


def label_of(path: str) -> str:
    """The URL as figures name it: those that end in a name are one."""
    return path if path in ROUTES else next((start for start in _NAMED if path.startswith(start)), path)


def faults_of(path: str) -> FaultForm:
    """How errors are written at a URL, whether it is served or not."""
    return ANTHROPIC_FAULTS if path == _MESSAGES or path.startswith(f"{_MESSAGES}/") else OPENAI_FAULTS


def route_of(path: str, method: str) -> Route:
    """The route of a request. Raises CallError where there is none, and for a method that it does not take."""
    route = ROUTES.get(path) or next((route for start, route in _NAMED.items() if path.startswith(start)), None)
    if route is None:
        raise CallError(
            "Unknown request URL. See the documentation for what is served here.", openai_code="unknown_url"
        )
    if route.method not in (None, method):
        raise CallError(f"This URL takes {route.method} only.", openai_code="method_not_allowed")
    return route


def not_stored() -> CallError:
    """What a tenant is told who asks for a response by its id."""
    return CallError(
        "Responses are not stored here: none can be fetched, listed, cancelled or deleted by its id. Keep what POST "
        "/v1/responses gives you.",
        openai_code="not_stored",
    )
