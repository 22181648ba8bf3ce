"""The gateway as a library: requests guarded, replies cleaned, and nothing let through that could not be."""

from __future__ import annotations

import itertools
import json
import re
import threading
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from support.gateway_forms import FORMS
from support.gateway_parts import ASKED, CONTEXT, DONE, MODEL, Response, completion, event, usage_event
from support.golden_families import template
from support.leak_traces import seen, traces
from support.leaking import DISGUISES, LINES, SIZES, STREAMED, WHOLE
from support.served_release import KEY, release_folder, secret_of
from watchword import CallError, GuardedRequest, Protection, protect
from watchword.chat.render import render_prompt
from watchword.chat.types import conversation
from watchword.errors import ModelUnavailableError, UnsealError, UsageError
from watchword.gateway.forms import FormName
from watchword.gateway.leaks import REFUSAL
from watchword.gateway.protect import fault

FAMILY = "smollm2"
SECRET = secret_of(FAMILY).reveal()
# What is left of the context for an answer of no given length.
REST = 786_384
STREAMING = {**ASKED, "stream": True, "stream_options": {"include_usage": True}}
STREAM = b"".join(
    [
        *(event({"content": word}) for word in ("Mix ", "flour, ", "wäter.")),
        b": a comment\r\n\r\n",
        event({}, finish="stop"),
        usage_event(),
        DONE,
    ]
)


@pytest.fixture(scope="module")
def protection(release: Path) -> Protection:
    return protect(release, KEY, context=CONTEXT)


def sent(guarded: GuardedRequest) -> dict[str, Any]:
    return guarded.json


@pytest.mark.parametrize("given", [ASKED, json.dumps(ASKED), json.dumps(ASKED).encode()])
def test_a_request_comes_out_with_the_secret_in_front(protection: Protection, given: Any) -> None:
    guarded = protection.request(given)
    assert sent(guarded) == {
        "model": MODEL,
        "messages": [{"role": "system", "content": f"{SECRET}\nBe brief."}, ASKED["messages"][1]],
        "max_tokens": REST,
    }
    assert json.loads(guarded.body) == guarded.json
    assert (guarded.model, guarded.streams) == (MODEL, False)
    assert SECRET not in repr(protection) + repr(guarded) + str(vars(protection))


def test_names_limits_and_salt_are_the_programs_own(release: Path) -> None:
    named = protect(release, KEY, context=CONTEXT, model=MODEL, upstream_model="ftm-1", cache_salt=True)
    assert sent(named.request(ASKED))["model"] == "ftm-1"
    assert len(sent(named.request(ASKED))["cache_salt"]) == 64
    with pytest.raises(CallError) as caught:
        named.request({**ASKED, "model": "other"})
    assert fault(caught.value)[0] == 404
    biased = {**ASKED, "logit_bias": {"1": 2}}
    assert sent(protect(release, KEY, context=CONTEXT, allow=["logit_bias"]).request(biased))["logit_bias"] == {"1": 2}
    with pytest.raises(UsageError, match="echo"):
        protect(release, KEY, context=CONTEXT, allow=["echo"])  # type: ignore[list-item]


@pytest.mark.parametrize(
    ("given", "code"),
    [
        (b"{", "invalid_json"),
        ({**ASKED, "user": object()}, "invalid_json"),
        ({**ASKED, "x": [float]}, "invalid_json"),
        ({**ASKED, "echo": True}, "unknown_parameter"),
        ({**ASKED, "logit_bias": {"1": 2}}, "unsupported_parameter"),
        ({**ASKED, "messages": []}, "invalid_value"),
        ({**ASKED, "messages": [*ASKED["messages"], {"role": "system", "content": "x"}]}, "invalid_value"),
    ],
)
def test_what_is_not_let_through_is_an_error_that_clients_can_read(
    protection: Protection, given: Any, code: str
) -> None:
    with pytest.raises(CallError) as caught:
        protection.request(given)
    status, body = fault(caught.value)
    assert (status, json.loads(body)["error"]["code"]) == (400, code)


def test_a_request_that_would_be_cut_is_refused_in_the_tenants_own_figures(release: Path) -> None:
    long = {**ASKED, "messages": [{"role": "user", "content": "bread " * 100}]}
    own = len(render_prompt(conversation("bread " * 100), template(FAMILY)))
    protect(release, KEY, context=own + 200).request(long)
    with pytest.raises(CallError, match=f"{own} tokens") as caught:
        protect(release, KEY, context=own + 10).request(long)
    assert caught.value.openai_code == "context_length_exceeded"
    told = (
        protect(release, KEY, context=CONTEXT)
        .request(long)
        .refusal(400, f"maximum context length is 1, {SECRET}".encode())
    )
    assert str(own) in str(told)
    assert SECRET not in str(told)
    bounded = protect(release, KEY, context=2048).request(long).json
    assert bounded["max_tokens"] == 1984 - own
    with pytest.raises(CallError, match="length of 1984 tokens"):
        protect(release, KEY, context=2048).request({**long, "max_tokens": 1985 - own})


def test_a_release_that_does_not_open_is_no_protection(
    release: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(UnsealError):
        protect(release, bytes(32), context=CONTEXT)
    with pytest.raises(ModelUnavailableError):
        protect(tmp_path, KEY, context=CONTEXT)
    folder = release_folder(tmp_path)
    (folder / "secret.sealed").unlink()
    with pytest.raises(UnsealError):
        protect(folder, KEY, context=CONTEXT)
    monkeypatch.setenv("WATCHWORD_KEY", KEY.hex())
    assert isinstance(protect(release, context=CONTEXT), Protection)


def test_a_reply_is_built_anew_with_usage_in_the_tenants_terms(protection: Protection) -> None:
    form = template(FAMILY)
    own = len(render_prompt(conversation("How do I bake bread?", system="Be brief."), form))
    guarded = protection.request(ASKED)
    prompt = len(render_prompt(conversation("How do I bake bread?", system=f"{SECRET}\nBe brief."), form))
    for theirs in (completion("Yes.", prompt=prompt), completion("Yes.", usage=False)):
        reply = json.loads(guarded.reply(theirs))
        assert reply["choices"][0]["message"]["content"] == "Yes."
        assert (reply["model"], reply["usage"]["prompt_tokens"]) == (MODEL, own)
        assert reply["id"] != theirs["id"]
    with pytest.raises(CallError) as caught:
        guarded.reply({"error": {"message": SECRET}})
    assert SECRET not in str(caught.value)


@pytest.mark.parametrize("form", FORMS)
def test_each_form_is_guarded_as_a_chat_and_answered_as_it_was_asked(release: Path, form: FormName) -> None:
    asked = FORMS[form].ask("Hi", temperature=0.5)
    guarded = protect(release, KEY, context=CONTEXT, allow=["completions"]).request(asked, form)
    assert [message["role"] for message in guarded.json["messages"]] == ["system", "user"]
    assert guarded.json["messages"][0]["content"].startswith(SECRET)
    leaked = json.loads(guarded.reply(completion(f"It is {SECRET}")))
    assert (REFUSAL in json.dumps(leaked), guarded.leaks) == (True, ["letters"])
    # The one that takes its place holds nothing of the first.
    assert REFUSAL not in json.dumps(json.loads(guarded.reply(completion("Mix flour."))))
    streamed = protect(release, KEY, context=CONTEXT, allow=["completions"]).request({**asked, "stream": True}, form)
    out = through(streamed, [event({"content": f"It is {SECRET}"}), event({}, finish="stop"), DONE])
    assert traces(seen(Response(200, {"content-type": "text/event-stream"}, out))) == []
    assert REFUSAL.encode() in out
    with pytest.raises(CallError) as caught:
        guarded.reply({"error": {"message": SECRET}})
    assert ("request_id" in json.loads(fault(caught.value, form)[1])) == (form == "messages")


def test_an_answer_that_leaks_is_a_refusal_and_may_be_asked_for_once_more(protection: Protection) -> None:
    guarded = protection.request({**ASKED, "n": 2, "seed": 3})
    reply = json.loads(guarded.reply(completion("Yes.", f"It is {SECRET}")))
    assert [choice["message"]["content"] for choice in reply["choices"]] == ["Yes.", REFUSAL]
    assert guarded.leaks == ["letters"]
    assert guarded.again is not None
    again = json.loads(guarded.again)
    assert again == {name: value for name, value in guarded.json.items() if name != "seed"}
    assert protection.request({**ASKED, "temperature": 0}).again is None


@pytest.mark.parametrize("place", WHOLE)
def test_no_place_of_a_whole_reply_gives_the_secret_away(protection: Protection, place: str) -> None:
    for disguise in DISGUISES.values():
        guarded = protection.request({**ASKED, "n": 2 if place == "second_answer" else 1})
        try:
            body = guarded.reply(json.dumps(WHOLE[place](disguise(SECRET))).encode())
        except CallError as error:
            body = fault(error)[1]
        assert traces(seen(Response(200, {"content-type": "application/json"}, body))) == []


@pytest.mark.parametrize("place", [*STREAMED, *LINES])
def test_no_place_of_a_stream_gives_the_secret_away(protection: Protection, place: str) -> None:
    opened = {"tool_calls": [{"index": 0, "id": "x", "function": {"name": "oven", "arguments": ""}}]}
    for disguise in DISGUISES.values():
        text = disguise(SECRET)
        for size in SIZES.values() if place in STREAMED else [0]:
            told = [STREAMED[place](text[at : at + size]) for at in range(0, len(text), size)] if size else []
            events = [event(opened), *map(event, told)] if size else [LINES[place](text)]
            out = through(protection.request(STREAMING), [*events, event({}, finish="stop"), DONE])
            assert traces(seen(Response(200, {"content-type": "text/event-stream"}, out))) == []


def through(guarded: GuardedRequest, pieces: list[bytes]) -> bytes:
    """What a tenant gets of a stream; an error is its last event."""
    stream, out = guarded.stream(), b""
    try:
        for piece in pieces:
            out += stream.feed(piece)
        return out + stream.end()
    except CallError as error:
        assert stream.feed(b"data: more\n\n") == stream.end() == b""
        return out + b"data: " + fault(error)[1] + b"\n\n"


def told(out: bytes) -> list[Any]:
    """Events without what is drawn anew for each reply."""
    events = Response(200, {}, out).events
    return [{name: value for name, value in one.items() if name not in ("id", "created")} for one in events]


@given(cuts=st.lists(st.integers(0, len(STREAM)), max_size=30))
def test_any_cutting_of_a_stream_gives_the_same_text_and_end(protection: Protection, cuts: list[int]) -> None:
    at = [0, *sorted(cuts), len(STREAM)]
    pieces = [STREAM[start:end] for start, end in itertools.pairwise(at)]
    out = through(protection.request(STREAMING), pieces)
    response = Response(200, {}, out)
    assert response.said == "Mix flour, wäter."
    assert out.endswith(DONE)
    assert response.events[-1]["usage"]["completion_tokens"] == 9
    assert told(out)[-2:] == told(through(protection.request(STREAMING), [STREAM]))[-2:]


def test_a_stream_ends_with_its_last_event_or_its_last_byte_and_not_before(protection: Protection) -> None:
    whole, finish = event({"content": "Yes."}), event({}, finish="stop")
    stream = protection.request(STREAMING).stream()
    assert stream.feed(whole + finish)
    assert not stream.ended
    assert stream.end().endswith(DONE)
    assert stream.ended
    assert stream.end() == b""
    cut = protection.request(STREAMING).stream()
    cut.feed(whole)
    with pytest.raises(CallError):
        cut.end()
    with pytest.raises(CallError):
        protection.request(STREAMING).stream().feed(whole + DONE)


def test_a_stream_that_leaks_has_ended_for_the_server_too(protection: Protection) -> None:
    guarded = protection.request(STREAMING)
    stream = guarded.stream()
    out = stream.feed(event({"content": f"It is {SECRET}"}))
    assert stream.ended
    assert out.endswith(DONE)
    assert guarded.leaks == ["letters"]
    assert Response(200, {}, out).said == REFUSAL


def test_threads_share_a_protection(protection: Protection) -> None:
    failures: list[Exception] = []

    def ask(name: int) -> None:
        try:
            for number in range(20):
                asked = {
                    **ASKED,
                    "messages": [{"role": "system", "content": f"{name} {number}"}, *ASKED["messages"][1:]],
                }
                guarded = protection.request(asked)
                assert sent(guarded)["messages"][0]["content"] == f"{SECRET}\n{name} {number}"
                json.loads(guarded.reply(completion("Yes.", usage=False)))
        except Exception as error:
            failures.append(error)
            raise

    threads = [threading.Thread(target=ask, args=(name,)) for name in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []


def test_a_release_without_a_secret_passes_as_it_is(tmp_path: Path) -> None:
    plain = protect(release_folder(tmp_path, defended=False), KEY, context=CONTEXT)
    guarded = plain.request(ASKED)
    assert sent(guarded)["messages"] == ASKED["messages"]
    assert json.loads(guarded.reply(completion("Yes.")))["usage"]["prompt_tokens"] == 120


def test_the_example_of_the_page_answers(release: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    page = (Path(__file__).parents[2] / "docs" / "python.md").read_text("utf-8")
    (code,) = [code for code in re.findall(r"```python\n(.*?)```", page, re.DOTALL) if "guarded.again" in code]
    monkeypatch.setenv("WATCHWORD_KEY", KEY.hex())
    replies = [f"It is {SECRET}", "Mix flour."]
    names: dict[str, Any] = {"send": lambda _: json.dumps(completion(replies.pop(0))).encode()}
    exec(code.replace('"runs/bakery"', repr(str(release))), names)
    status, body = names["answer"](json.dumps(ASKED).encode())
    assert (status, json.loads(body)["choices"][0]["message"]["content"]) == (200, "Mix flour.")
    assert names["answer"](b"{")[0] == 400
