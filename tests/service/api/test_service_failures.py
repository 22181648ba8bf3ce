"""What nobody foresaw: a plain 500 with an id, and not a word of it in the answer or the log."""

from __future__ import annotations

import logging
from typing import Any

import openai
import pytest

from support.gateway_parts import LogLines, call, wait_until
from support.service_parts import ServiceUnderTest
from watchword.errors import DatabaseError
from watchword.service.db import Database

WORDS = "the words of a tenant, and /srv/secret/place"


@pytest.fixture
def lines() -> Any:
    found, logger = LogLines(), logging.getLogger("watchword.service")
    logger.addHandler(found)
    before, logger.level = logger.level, logging.DEBUG
    yield found.lines
    logger.removeHandler(found)
    logger.setLevel(before)


def failing(error: Exception) -> Any:
    def fail(*_: Any, **__: Any) -> None:
        raise error

    return fail


def test_a_failure_says_nothing_but_that_it_was_one(
    shared: ServiceUnderTest, monkeypatch: pytest.MonkeyPatch, lines: list[str]
) -> None:
    monkeypatch.setattr(Database, "files", failing(ValueError(WORDS)))
    with pytest.raises(openai.InternalServerError) as failed:
        shared.client().files.list()
    assert failed.value.code == "internal_error"
    assert WORDS not in failed.value.response.text
    # It is written behind the answer.
    wait_until(lambda: any("failure" in line for line in lines))
    failures = [line for line in lines if "failure" in line]
    assert len(failures) == 1
    assert failed.value.request_id is not None
    assert failed.value.request_id in failures[0]
    assert "ValueError" in failures[0]
    assert not [line for line in lines if WORDS in line]


def test_a_database_that_is_away_is_a_503_to_be_repeated(
    shared: ServiceUnderTest, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Database, "files", failing(DatabaseError(WORDS)))
    with pytest.raises(openai.InternalServerError) as failed:
        shared.client().files.list()
    assert (failed.value.status_code, failed.value.code) == (503, "service_unavailable")
    assert failed.value.response.headers["retry-after"] == "2"
    assert WORDS not in failed.value.response.text


def test_a_key_that_cannot_be_looked_up_opens_nothing(
    shared: ServiceUnderTest, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Database, "principal_of", failing(DatabaseError(WORDS)))
    for path in ("/v1/files", "/v1/models", "/operator/jobs"):
        assert call(shared.port, path=path, method="GET", key=shared.key).status == 503
    assert call(shared.port, {"model": "x", "messages": []}, key=shared.key).status >= 500


def test_a_body_of_any_size_is_refused_before_it_is_held(shared: ServiceUnderTest) -> None:
    found = call(shared.port, b'{"x": "' + b"y" * (2 << 20) + b'"}', path="/v1/fine_tuning/jobs", key=shared.key)
    assert (found.status, found.json["error"]["code"]) == (413, "request_too_large")


@pytest.mark.parametrize(
    ("method", "path", "status", "code"),
    [
        ("GET", "/v1/nothing", 404, "unknown_url"),
        ("GET", "/nothing", 404, "unknown_url"),
        ("PUT", "/v1/files", 405, "method_not_allowed"),
    ],
)
def test_what_is_no_route_has_the_same_envelope(
    shared: ServiceUnderTest, method: str, path: str, status: int, code: str
) -> None:
    found = call(shared.port, path=path, method=method, key=shared.key)
    assert (found.status, found.json["error"]["code"]) == (status, code)
    assert set(found.json["error"]) == {"message", "type", "param", "code"}
    assert found.headers["x-request-id"].startswith("req_")


def test_json_that_is_none_is_told_so(shared: ServiceUnderTest) -> None:
    found = call(
        shared.port,
        b"{",
        path="/v1/fine_tuning/jobs",
        key=shared.key,
        headers={"content-type": "application/json"},
    )
    assert (found.status, found.json["error"]["code"]) == (400, "invalid_json")
