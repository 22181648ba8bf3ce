"""Calls to somebody else's API by OpenAI's own client: the client itself, and what its errors become."""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from watchword.errors import RemoteError, UsageError
from watchword.secret.prompt import SecretPrompt
from watchword.secret.redact import MASK, redact

if TYPE_CHECKING:
    import httpx2
    from openai import APIError, OpenAI

# Characters of an API's own words that a message of ours repeats.
_MOST_WORDS = 500
# With this key, the organization, the project and the headers of the environment are OpenAI's as well.
_OPENAI_KEY = "OPENAI_API_KEY"


class RefusedCallError(RemoteError):
    """A call that the API has answered with an error. ``again`` tells whether the same call may go through later.

    ``retry_after`` is in seconds, where the API names them. ``status`` is None where no answer came.
    """

    def __init__(self, problem: str, *, status: int | None, again: bool, retry_after: float | None = None) -> None:
        super().__init__(problem)
        self.status, self.again, self.retry_after = status, again, retry_after


def api_key(variable: str) -> str:
    """The key in an environment variable, the only place that one is taken from.

    Raises UsageError where it is not set, or is no key. The value is in no message.
    """
    # What was read from a file mostly ends with a line break, which no header may hold.
    key = os.environ.get(variable, "").strip()
    if not key:
        raise UsageError(
            f"the environment variable {variable} is not set, and the API's key is taken from nowhere else; set it, or "
            "name another variable by `key_env`",
            param="key_env",
        )
    if not (key.isascii() and key.isprintable()):
        raise UsageError(
            f"the environment variable {variable} holds line breaks or letters that no key has; set it to the key alone",
            param="key_env",
        )
    return key


def client_of(url: str, variable: str, *, retries: int, headers: Mapping[str, str] | None = None) -> OpenAI:
    """OpenAI's client for the API at ``url``. Raises UsageError without the package, or without the key."""
    key = api_key(variable)
    try:
        import openai
    except ModuleNotFoundError:
        raise UsageError("openai is missing; install it with `pip install 'watchword[openai]'`") from None
    http = openai.DefaultHttpxClient(event_hooks={"response": [_refuse_page]})
    own = dict(headers or {})
    client = openai.OpenAI(base_url=url, api_key=key, max_retries=retries, default_headers=own, http_client=http)
    if variable != _OPENAI_KEY:
        # The client adds what the environment says for OpenAI; it has no option against that.
        client.organization = client.project = None
        client._custom_headers = own
    return client


@contextlib.contextmanager
def told(*secrets: SecretPrompt | None) -> Iterator[None]:
    """Inside, what the client raises becomes RefusedCallError, in words that hold none of the secrets and no key."""
    import openai

    try:
        yield
    except openai.APIStatusError as error:
        again = error.status_code in (408, 409, 425, 429) or error.status_code >= 500
        words = clean(_keyless(_words(error.body) or error.message, error), *secrets)
        raise RefusedCallError(
            f"{error.request.method} {error.request.url} was answered with {error.status_code}: {words}",
            status=error.status_code,
            again=again and error.response.headers.get("x-should-retry") != "false",
            retry_after=_seconds(error.response.headers.get("retry-after")),
        ) from None
    except openai.APIConnectionError as error:
        reason = clean(_keyless(str(error.__cause__ or error.message), error), *secrets)
        raise RefusedCallError(
            f"{error.request.method} {error.request.url} got no answer: {reason}", status=None, again=True
        ) from None
    except json.JSONDecodeError as error:
        raise RefusedCallError(f"the API's answer is broken JSON: {error}", status=None, again=True) from None
    except openai.OpenAIError as error:
        # An error in the middle of a stream.
        raise RefusedCallError(clean(str(error), *secrets), status=None, again=True) from None


def fields_of(answer: Any) -> dict[str, Any]:
    """An answer that must be a JSON object. Raises RefusedCallError for another one."""
    if not isinstance(answer, dict):
        raise RefusedCallError("the API's answer is no JSON object", status=None, again=True)
    return answer


def clean(words: str, *secrets: SecretPrompt | None) -> str:
    """An API's own words, short, and without anything of the secrets: it has read our file, and may quote from it."""
    for secret in secrets:
        if secret is not None:
            words = redact(words, secret)
    return words if len(words) <= _MOST_WORDS else f"{words[:_MOST_WORDS]}…"


def _refuse_page(response: httpx2.Response) -> None:
    """Raises what a lost connection raises for a page for browsers, which the client would take for an answer."""
    if response.is_success and "text/html" in response.headers.get("content-type", ""):
        import httpx2

        raise httpx2.RemoteProtocolError("a web page came in the place of JSON; look at the API's address")


def _keyless(words: str, error: APIError) -> str:
    """The words without the key that the request had: some servers repeat it where they refuse it."""
    key = error.request.headers.get("authorization", "").removeprefix("Bearer ").strip()
    return words.replace(key, MASK) if key else words


def _words(body: object) -> str:
    """The message in an error's body, in whichever of the usual places it stands."""
    fields: Any = body
    for name in ("error", "message"):
        if isinstance(fields, dict) and name in fields:
            fields = fields[name]
    return fields if isinstance(fields, str) else ""


def _seconds(header: str | None) -> float | None:
    """Seconds to wait; None for a date and for what is no number."""
    try:
        seconds = float(header or "")
    except ValueError:
        return None
    return seconds if 0 <= seconds < float("inf") else None
