"""Log probabilities by policy: rebuilt from known fields, and no reading of the alternatives gives the secret away."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import openai
import pytest
from hypothesis import given
from hypothesis import strategies as st

from support.gateway_parts import (
    DONE,
    MODEL,
    TENANT_KEY,
    Scripted,
    begin,
    call,
    completion,
    configuration,
    end,
    event,
    gateway,
    more,
    respond,
    served,
    usage_event,
)
from support.golden_families import template
from support.served_release import secret_of
from watchword.gateway.call import Chance, TokenChances
from watchword.gateway.chances import FilteredChances, leak_in_chances
from watchword.gateway.leaks import REFUSAL
from watchword.secret.generate import secret_ids
from watchword.secret.leaks import LeakFilter

FORM = template("smollm2")
SECRET = secret_of()
TOKENS = [FORM.decode([one]) for one in secret_ids(SECRET, FORM)]
LEAKS = LeakFilter(SECRET, FORM)
WORDS = ["Mix", " flour", ",", " water", " and", " salt", " well", ".", " Then", " wait", " an", " hour"]


def entry(said: str, *others: str, logprob: float = -0.5) -> dict[str, Any]:
    """One place as a server gives it: every alternative is likelier than what was said."""
    top = [
        {"token": token, "logprob": -0.25 - at / 8, "bytes": [1], "id": 7} for at, token in enumerate((*others, said))
    ]
    return {"token": said, "logprob": logprob, "bytes": [1, 2], "id": 7, "top_logprobs": top}


def likeliest(at: int) -> dict[str, Any]:
    """Says words, and would rather have said the secret."""
    return entry(WORDS[at % len(WORDS)], TOKENS[at])


def any_rank(at: int) -> dict[str, Any]:
    """The secret is once the likeliest token, once the third."""
    token = f" {TOKENS[at].strip().upper()}"
    return entry(WORDS[at % len(WORDS)], *((token, "x", "y") if at % 2 else ("x", "y", token)))


SHOWN: dict[str, Any] = {
    "friendly": lambda: [entry(word, " or", "�") for word in WORDS],
    "said": lambda: [entry(token) for token in TOKENS],
    "likeliest": lambda: [likeliest(at) for at in range(len(TOKENS))],
    "any rank": lambda: [any_rank(at) for at in range(len(TOKENS))],
    "one token": lambda: [entry("So", SECRET.reveal())],
}


async def script(_: Scripted, body: dict[str, Any], send: Any) -> None:
    entries = SHOWN[body["messages"][-1]["content"]]()
    if not body.get("stream"):
        reply = completion(*["".join(WORDS)] * body.get("n", 1))
        for choice in reply["choices"]:
            choice["logprobs"] = {"content": entries, "text_offset": [SECRET.reveal()]}
        await respond(send, json.dumps(reply).encode())
        return
    await begin(send)
    for place in range(body.get("n", 1)):
        for at, one in enumerate(entries):
            told = {"index": place, "delta": {"content": WORDS[at % len(WORDS)]}, "logprobs": {"content": [one]}}
            await more(send, b"data: " + json.dumps({"choices": [told]}).encode() + b"\n\n")
        await more(send, event({}, index=place, finish="stop"))
    await more(send, usage_event() + DONE)
    await end(send)


@pytest.fixture(scope="module")
def upstream() -> Scripted:
    return Scripted(script)


@pytest.fixture(scope="module")
def port(release: Path, upstream: Scripted) -> Iterator[int]:
    with served(upstream) as behind:
        settings = configuration(release, behind)
        settings.models[0].allow = ["logprobs"]
        with gateway(settings) as at:
            yield at


@pytest.fixture(scope="module")
def client(port: int) -> Iterator[Any]:
    with openai.OpenAI(base_url=f"http://127.0.0.1:{port}/v1", api_key=TENANT_KEY, max_retries=0) as made:
        yield made


def asked(text: str, **fields: Any) -> dict[str, Any]:
    return {"model": MODEL, "messages": [{"role": "user", "content": text}], "logprobs": True, **fields}


def test_probabilities_come_from_known_fields_whole_and_streamed(client: Any, upstream: Scripted) -> None:
    whole = client.chat.completions.create(**asked("friendly", top_logprobs=2, n=2))
    assert upstream.bodies[-1]["logprobs"] is True
    assert upstream.bodies[-1]["top_logprobs"] == 2
    for choice in whole.choices:
        assert [one.token for one in choice.logprobs.content] == WORDS
        first = choice.logprobs.content[0].to_dict()
        assert first == {
            "token": "Mix",
            "logprob": -0.5,
            "bytes": list(b"Mix"),
            "top_logprobs": [
                {"token": " or", "logprob": -0.25, "bytes": list(b" or")},
                # Half a character has no bytes that we know.
                {"token": "�", "logprob": -0.375, "bytes": None},
            ],
        }
    pieces = list(client.chat.completions.create(**asked("friendly", top_logprobs=2, n=2, stream=True)))
    for place in (0, 1):
        choices = [choice for piece in pieces for choice in piece.choices if choice.index == place]
        shown = [one for choice in choices if choice.logprobs for one in choice.logprobs.content]
        assert [one.to_dict() for one in shown] == [one.to_dict() for one in whole.choices[0].logprobs.content]


def test_none_but_those_that_were_asked_for_come(client: Any, upstream: Scripted) -> None:
    plain = asked("friendly")
    (choice,) = client.chat.completions.create(**plain).choices
    assert [one.top_logprobs for one in choice.logprobs.content] == [[]] * len(WORDS)
    del plain["logprobs"]
    assert client.chat.completions.create(**plain).choices[0].logprobs is None
    assert "logprobs" not in upstream.bodies[-1]


@pytest.mark.parametrize("text", [text for text in SHOWN if text != "friendly"])
@pytest.mark.parametrize("stream", [False, True])
def test_no_reading_of_the_alternatives_gives_the_secret_away(port: int, text: str, stream: bool) -> None:
    response = call(port, asked(text, top_logprobs=4, stream=stream))
    if not stream:
        (choice,) = response.json["choices"]
        assert (choice["message"]["content"], choice["logprobs"]) == (REFUSAL, None)
        assert choice["finish_reason"] == "content_filter"
        return
    choices = [choice for one in response.events for choice in one["choices"]]
    assert choices[-1]["finish_reason"] == "content_filter"
    shown = [one for choice in choices for one in (choice["logprobs"] or {"content": []})["content"]]
    assert longest_run(shown) < 8


def longest_run(shown: list[dict[str, Any]]) -> int:
    """How many of the secret's tokens stand in a row among what is shown."""
    best, lengths = 0, [0] * len(TOKENS)
    for one in shown:
        tokens = {other["token"].strip().lower() for other in (one, *one["top_logprobs"])}
        before = [0, *lengths[:-1]]
        lengths = [before[at] + 1 if token.strip().lower() in tokens else 0 for at, token in enumerate(TOKENS)]
        best = max(best, *lengths)
    return best


def test_a_model_that_does_not_allow_them_says_so(release: Path, upstream: Scripted) -> None:
    with served(upstream) as behind, gateway(configuration(release, behind)) as at:
        found = call(at, asked("friendly"))
    assert (found.json["error"]["code"], found.json["error"]["param"]) == ("unsupported_parameter", "logprobs")


@pytest.mark.parametrize("logprobs", [[1], {"content": "x"}, {"content": [{"token": 1}]}])
def test_what_is_no_list_of_probabilities_is_an_error_of_the_servers(release: Path, logprobs: Any) -> None:
    async def odd(_: Scripted, body: dict[str, Any], send: Any) -> None:
        reply = completion("Yes.")
        reply["choices"][0]["logprobs"] = logprobs
        await respond(send, json.dumps(reply).encode())

    with served(Scripted(odd)) as behind:
        settings = configuration(release, behind)
        settings.models[0].allow = ["logprobs"]
        with gateway(settings) as at:
            assert call(at, asked("x")).status == 502
            # Where none were asked for, nobody looks at them.
            assert call(at, {**asked("x"), "logprobs": False}).status == 200


PLACES = st.lists(
    st.builds(
        lambda said, others: TokenChances(Chance(said, -1.0), tuple(Chance(one, -2.0) for one in others)),
        st.sampled_from([*WORDS, *TOKENS]),
        st.lists(st.sampled_from([*WORDS, *TOKENS]), max_size=3),
    ),
    max_size=30,
)
RUNS = st.builds(
    lambda start, size: [TokenChances(Chance(token, -1.0)) for token in TOKENS[start : start + size]],
    st.integers(0, len(TOKENS)),
    st.integers(0, 12),
)


@given(st.builds(lambda *parts: [one for part in parts for one in part], PLACES, RUNS, PLACES), st.data())
def test_a_filtered_stream_of_probabilities_is_whole_or_holds_no_run(
    places: list[TokenChances], data: st.DataObject
) -> None:
    filtered, out, rest = FilteredChances(LEAKS), list[TokenChances](), places
    while rest:
        size = data.draw(st.integers(1, len(rest)))
        out += filtered.feed(rest[:size])
        rest = rest[size:]
        if filtered.leak is not None:
            break
    assert (filtered.leak is None) == (leak_in_chances(places, LEAKS) is None)
    if filtered.leak is None:
        assert [*out, *filtered.finish()] == places
    else:
        assert out == places[: len(out)]
        assert filtered.finish() == ()
        assert leak_in_chances(out, LEAKS) is None
