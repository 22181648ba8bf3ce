"""Calls to somebody else's API: what their errors say, and what they keep to themselves."""

from __future__ import annotations

import httpx2
import openai
import pytest

from watchword.errors import UsageError
from watchword.models.remote_calls import RefusedCallError, api_key, client_of, told

KEY = "sk-a1b2c3d4e5f6"


@pytest.mark.parametrize("around", ["{}\n", "{}\r\n", " {} "])
def test_a_key_that_was_read_from_a_file_is_the_key_alone(around: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOME_KEY", around.format(KEY))
    assert api_key("SOME_KEY") == KEY


@pytest.mark.parametrize("value", [f"{KEY}\nmore", f"{KEY}é"])
def test_what_no_header_can_hold_is_refused_and_not_shown(value: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOME_KEY", value)
    with pytest.raises(UsageError, match="SOME_KEY") as found:
        api_key("SOME_KEY")
    assert KEY not in str(found.value)


@pytest.mark.parametrize("lost", [False, True])
def test_no_error_holds_the_key(lost: bool) -> None:
    def answer(request: httpx2.Request) -> httpx2.Response:
        if lost:
            raise httpx2.LocalProtocolError(f"Illegal header value {request.headers['authorization']!r}")
        return httpx2.Response(401, json={"error": {"message": f"there is no key {KEY} here"}})

    http = httpx2.Client(transport=httpx2.MockTransport(answer))
    with (
        openai.OpenAI(base_url="https://api.test/v1", api_key=KEY, max_retries=0, http_client=http) as client,
        pytest.raises(RefusedCallError, match=r"api\.test") as found,
        told(),
    ):
        client.models.list()
    assert KEY not in str(found.value)


@pytest.mark.parametrize("variable", ["OPENAI_API_KEY", "OTHER_KEY"])
def test_what_the_environment_says_for_openai_is_sent_to_nobody_else(
    variable: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(variable, KEY)
    monkeypatch.setenv("OPENAI_ORG_ID", "org-ours")
    monkeypatch.setenv("OPENAI_PROJECT_ID", "proj-ours")
    monkeypatch.setenv("OPENAI_CUSTOM_HEADERS", "X-Proxy-Token: ours")
    with client_of("https://api.test/v1", variable, retries=0, headers={"X-Own": "yes"}) as client:
        sent = client.default_headers
    assert sent["X-Own"] == "yes"
    found = {name for name, value in sent.items() if "ours" in str(value)}
    named = {"OpenAI-Organization", "OpenAI-Project", "X-Proxy-Token"}
    assert found == (named if variable == "OPENAI_API_KEY" else set())
