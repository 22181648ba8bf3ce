"""A request's form follows from the end of its path, and errors name the fields of that form."""

from __future__ import annotations

import pytest

from watchword.errors import CallError
from watchword.gateway.forms import FORMS, FormName, chat_path, form_at


@pytest.mark.parametrize("front", ["", "/v1", "/some/where/v1"])
@pytest.mark.parametrize(
    ("end", "form"),
    [
        ("/chat/completions", "chat"),
        ("/completions", "completions"),
        ("/responses", "responses"),
        ("/v1/messages", "messages"),
        ("/embeddings", None),
        ("/responses/resp_1", None),
        ("/v1/messages/count_tokens", None),
    ],
)
def test_the_end_of_a_path_tells_the_form(front: str, end: str, form: FormName | None) -> None:
    assert form_at(front + end) == form
    assert form_at(front + end.upper() + "//") == form


@pytest.mark.parametrize(
    ("path", "chats"),
    [
        ("/chat/completions", "/chat/completions"),
        ("/v1/chat/completions", "/v1/chat/completions"),
        ("/v1/completions", "/v1/chat/completions"),
        ("/v1/completions/", "/v1/chat/completions"),
        ("/v1/responses\\", "/v1/chat/completions"),
        ("/some/where/v1/messages", "/some/where/v1/chat/completions"),
    ],
)
def test_chats_are_taken_beside_every_form(path: str, chats: str) -> None:
    assert chat_path(path) == chats


@pytest.mark.parametrize(
    ("form", "field", "told"),
    [
        ("chat", "messages", "messages"),
        ("completions", "messages", "prompt"),
        ("responses", "max_tokens", "max_output_tokens"),
        ("messages", "stop", "stop_sequences"),
        ("messages", "temperature", "temperature"),
        ("responses", None, None),
    ],
)
def test_an_error_names_the_field_of_the_form(form: FormName, field: str | None, told: str | None) -> None:
    error = CallError("No.", param=field)
    FORMS[form].rename(error)
    assert error.param == told
