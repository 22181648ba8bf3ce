"""The forms in which a chat may be asked for: who reads the request, and how an error is written."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from watchword.errors import CallError
from watchword.gateway.back_doors import plain_path
from watchword.gateway.wire.chat.reading import read_chat
from watchword.gateway.wire.completions.reading import read_completions
from watchword.gateway.wire.faults import OpenAIFaults
from watchword.gateway.wire.form import FaultForm, Reader
from watchword.gateway.wire.messages.faults import AnthropicFaults
from watchword.gateway.wire.messages.reading import read_messages
from watchword.gateway.wire.responses.reading import read_responses

FormName = Literal["chat", "completions", "responses", "messages"]
CHAT_PATH = "/chat/completions"
OPENAI_FAULTS, ANTHROPIC_FAULTS = OpenAIFaults(), AnthropicFaults()


@dataclass(frozen=True)
class Form:
    """One form. ``fields`` says what the fields of a chat are called there, for errors that know a chat alone."""

    read: Reader
    faults: FaultForm = OPENAI_FAULTS
    fields: Mapping[str, str] = field(default_factory=dict)

    def rename(self, error: CallError) -> None:
        """Gives the error the form's own name of its field."""
        error.param = self.fields.get(error.param or "", error.param)


FORMS: Mapping[FormName, Form] = {
    "chat": Form(read_chat),
    "completions": Form(read_completions, fields={"messages": "prompt"}),
    "responses": Form(
        read_responses,
        fields={"messages": "input", "response_format": "text.format", "max_tokens": "max_output_tokens"},
    ),
    "messages": Form(
        read_messages, ANTHROPIC_FAULTS, {"response_format": "output_config.format", "stop": "stop_sequences"}
    ),
}
# By the end of a path; the longer ones first.
_ENDS: Mapping[str, FormName] = {
    CHAT_PATH: "chat",
    "/completions": "completions",
    "/responses": "responses",
    "/v1/messages": "messages",
}


def form_at(path: str) -> FormName | None:
    """The form of requests at a path, under whatever prefix; None for a path of another kind."""
    plain = plain_path(path)
    return next((form for end, form in _ENDS.items() if plain.endswith(end)), None)


def chat_path(path: str) -> str:
    """Where the same server takes chats: it is asked for nothing else."""
    return path if form_at(path) == "chat" else path.rstrip("/\\").rpartition("/")[0] + CHAT_PATH
