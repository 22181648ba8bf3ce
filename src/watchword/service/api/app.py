"""The API as one ASGI application: routes, errors in OpenAI's form, and what goes on beside the calls."""

from __future__ import annotations

from collections.abc import Callable
from importlib.metadata import version

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect

from watchword.errors import CallError, WatchwordError
from watchword.service.api import files, health, jobs, models, operator, unsupported, uploads, webhooks
from watchword.service.api.bodies import BoundedBodies
from watchword.service.api.context import Service
from watchword.service.api.described import DescribedAPI
from watchword.service.api.edge import CLIENT_GONE, App, Message, Receive, Send, error_headers, told
from watchword.service.api.receiving import takes_form
from watchword.service.api.telemetry import FASTAPI_OFF
from watchword.service.wire.faults import fault_json, fault_of_request, internal, status_of

_ROUTERS = (files, uploads, jobs, models, webhooks, unsupported, operator, health)
_JSON_BYTES = 1 << 20
_DESCRIPTION = (
    "Fine-tuning and chats in OpenAI's shape, defended by default; `/operator/` is for the provider's people."
)


def described_app() -> FastAPI:
    """The routes alone, for their description and for tests of it."""
    app = DescribedAPI(
        title="Watchword",
        version=version("watchword"),
        description=_DESCRIPTION,
        docs_url=None,
        redoc_url=None,
        # A redirect names the address as we are called: behind TLS of a proxy, that is plain HTTP.
        redirect_slashes=False,
        telemetry=FASTAPI_OFF,
        responses={"4XX": {"description": "OpenAI's error envelope.", "content": {"application/json": {}}}},
    )
    for module in _ROUTERS:
        app.include_router(module.router)
    app.add_exception_handler(WatchwordError, _answer_error)
    app.add_exception_handler(RequestValidationError, _answer_invalid)
    app.add_exception_handler(HTTPException, _answer_http)
    app.add_exception_handler(ClientDisconnect, _answer_nobody)
    app.add_exception_handler(Exception, _answer_failure)
    return app


def service_app(service: Service, gateway: App, route: Callable[[str], str | None]) -> App:
    """Calls of paths for which ``route`` gives a template go to the gateway, all others to the routes."""
    app = described_app()
    app.state.service = service
    return _Split(gateway, route, BoundedBodies(app, _JSON_BYTES, takes_form))


class _Split:
    """Two applications as one."""

    def __init__(self, gateway: App, route: Callable[[str], str | None], rest: App) -> None:
        self._gateway, self._route, self._rest = gateway, route, rest

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        """One connection, as ASGI has it."""
        if (template := self._route(scope["path"])) is not None:
            # For metrics and the log.
            scope["route"] = _Named(template)
            await self._gateway(scope, receive, send)
        else:
            await self._rest(scope, receive, send)


class _Named:
    def __init__(self, path: str) -> None:
        self.path = path


async def _answer_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, WatchwordError)
    return _answer(request, told(error, request.state.request_id))


async def _answer_invalid(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    return _answer(request, fault_of_request(list(error.errors())))


async def _answer_http(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    if error.status_code == 405:
        return _answer(request, CallError("This URL does not take that method.", openai_code="method_not_allowed"))
    if error.status_code == 404:
        return _answer(request, CallError("Unknown request URL.", openai_code="unknown_url"))
    return _answer(request, CallError("The request cannot be read.", openai_code="invalid_request"))


async def _answer_nobody(request: Request, error: Exception) -> Response:  # noqa: ARG001
    # Nobody reads it. The status is for the metrics and the log: a client that has left is no failure of ours.
    return Response(status_code=CLIENT_GONE)


async def _answer_failure(request: Request, error: Exception) -> Response:  # noqa: ARG001
    # Starlette raises it again behind this answer; the edge then notes it.
    return _answer(request, internal())


def _answer(request: Request, fault: CallError) -> Response:
    request.state.code = fault.openai_code
    headers = {name.decode(): value.decode() for name, value in error_headers(fault)}
    return Response(fault_json(fault), status_of(fault), headers, "application/json")
