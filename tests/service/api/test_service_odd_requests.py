"""Requests that no client sends by itself: each is a plain 4xx, costs little, and is no failure of the service's."""

from __future__ import annotations

import asyncio
import json
import socket
from typing import Any

import pytest

from support.gateway_parts import call, wait_until
from support.service_parts import BASE, ServiceUnderTest, rows
from watchword.errors import CallError
from watchword.service.api.bodies import BoundedBodies
from watchword.service.api.receiving import takes_form

JOBS = "/v1/fine_tuning/jobs"
JSON = {"content-type": "application/json"}
FILE = 'name="file"; filename="a.jsonl"'


def form(*parts: tuple[str, bytes]) -> bytes:
    pieces = [
        b"--x\r\nContent-Disposition: form-data; " + named.encode() + b"\r\n\r\n" + data + b"\r\n"
        for named, data in parts
    ]
    return b"".join(pieces) + b"--x--\r\n"


def refused(service: ServiceUnderTest, body: bytes, path: str, headers: dict[str, str]) -> dict[str, Any]:
    """The error that a request gets."""
    found = call(service.port, body, path=path, key=service.key, headers=headers)
    assert found.status == 400, found.json
    error: dict[str, Any] = found.json["error"]
    return error


@pytest.mark.parametrize("digits", [8, 5000])
def test_a_life_of_any_number_of_digits_is_refused(shared: ServiceUnderTest, digits: int) -> None:
    body = form(
        ('name="purpose"', b"fine-tune"),
        ('name="expires_after[anchor]"', b"created_at"),
        ('name="expires_after[seconds]"', b"9" * digits),
        (FILE, rows()),
    )
    error = refused(shared, body, "/v1/files", {"content-type": "multipart/form-data; boundary=x"})
    assert (error["param"], error["message"]) == ("expires_after.seconds", "Give 3600 to 2592000 seconds.")


@pytest.mark.parametrize("boundary", ["x" * 257, "x" * 30_000])
def test_a_boundary_of_any_length_is_answered(shared: ServiceUnderTest, boundary: str) -> None:
    error = refused(shared, b"--x\r\n", "/v1/files", {"content-type": f"multipart/form-data; boundary={boundary}"})
    assert error["code"] == "invalid_request"


@pytest.mark.parametrize("after", [2**63, 10**30])
def test_an_entry_of_any_number_is_asked_for(shared: ServiceUnderTest, after: int) -> None:
    path = f"/operator/audit?after={after}"
    found = call(shared.port, path=path, method="GET", key=shared.operator_key)
    assert (found.status, found.json["error"]["param"]) == (400, "after")


@pytest.mark.parametrize(
    ("name", "value", "kinds"),
    [
        ("n_epochs", True, "a valid integer"),
        ("n_epochs", 1.5, "a valid integer"),
        ("n_epochs", 0, "greater than or equal to 1"),
        ("batch_size", "many", "a valid integer"),
        ("learning_rate_multiplier", float("nan"), "a finite number"),
        ("learning_rate_multiplier", -1, "greater than 0"),
    ],
)
def test_a_hyperparameter_is_refused_by_all_that_it_may_be(
    shared: ServiceUnderTest, name: str, value: Any, kinds: str
) -> None:
    body = {"model": BASE, "training_file": "file-1", "hyperparameters": {name: value}}
    error = refused(shared, json.dumps(body).encode(), JOBS, JSON)
    assert error["param"] == f"hyperparameters.{name}"
    assert error["message"].startswith(f"Invalid value for 'hyperparameters.{name}': input should be 'auto', or ")
    assert kinds in error["message"]


@pytest.mark.parametrize("body", [b"[]", b"null", b"7", b'"text"'])
def test_json_that_is_no_object_is_named(shared: ServiceUnderTest, body: bytes) -> None:
    error = refused(shared, body, JOBS, JSON)
    assert error["message"].startswith("Invalid value for the JSON body: ")
    assert error["param"] is None


def test_a_slash_too_many_is_an_unknown_address(shared: ServiceUnderTest) -> None:
    """No redirect: behind a proxy that speaks TLS it would name plain HTTP."""
    found = call(shared.port, path="/v1/files/", method="GET", key=shared.key)
    assert (found.status, found.json["error"]["code"]) == (404, "unknown_url")


@pytest.mark.parametrize("path", [JOBS, "/v1/uploads", "/v1/webhook_endpoints", "/operator/keys", "/nothing"])
@pytest.mark.parametrize("kind", [b"multipart/form-data; boundary=x", b"application/json", b"Multipart/Form-Data"])
def test_no_kind_of_body_is_held_beyond_its_bound(path: str, kind: bytes) -> None:
    """A JSON route reads its body whole, also one that calls itself a form."""
    asked = 0

    async def receive() -> dict[str, Any]:
        nonlocal asked
        asked += 1
        return {"type": "http.request", "body": b"z" * 100, "more_body": asked < 1000}

    async def reads_all(scope: Any, receive: Any, send: Any) -> None:
        while (await receive()).get("more_body"):
            pass

    async def send(message: Any) -> None:
        raise AssertionError(message)

    app = BoundedBodies(reads_all, 1000, takes_form)
    scope = {"type": "http", "path": path, "headers": [(b"content-type", kind)]}
    with pytest.raises(CallError) as error:
        asyncio.run(app(scope, receive, send))
    assert error.value.openai_code == "request_too_large"
    assert asked == 11


def test_a_client_that_leaves_in_its_upload_is_no_failure(shared: ServiceUnderTest, lines: list[str]) -> None:
    head = (
        f"POST /v1/files HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {shared.key}\r\nContent-Length: 100000\r\n"
        "Content-Type: multipart/form-data; boundary=x\r\n\r\n"
    )
    with socket.create_connection(("127.0.0.1", shared.port)) as client:
        client.sendall(head.encode() + form((FILE, rows()))[:200])
    wait_until(lambda: any("/v1/files" in line for line in lines))
    assert [line for line in lines if "'status': 499" in line]
    assert not [line for line in lines if "failure" in line or "'status': 500" in line]
