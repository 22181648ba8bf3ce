"""The suite against servers that give everything away, and against the gateway in front of them."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from support.gateway_parts import MODEL, TENANT_KEY, Scripted, completion, configuration, gateway, respond, served
from support.golden_families import template
from support.served_release import KEY, secret_of
from watchword.chat.render import render_prompt
from watchword.chat.types import Conversation, Message
from watchword.cli.app import run
from watchword.errors import UnknownNameError, UsageError
from watchword.gateway.attack.base import FAMILIES
from watchword.gateway.attack.opening import Attacked, attacked
from watchword.gateway.attack.running import ArmResult, run_suite
from watchword.gateway.attack.targets import Target
from watchword.gateway.configuration import Configuration

FORM = template("smollm2")
SECRET = secret_of()
# Every family but those that wait or that are about lengths.
TEXTS = [name for name in FAMILIES.names() if name not in ("lengths_and_times", "pieces")]


async def reciting(_: Scripted, body: dict[str, Any], send: Any) -> None:
    """Says its whole prompt, as much of it as ``max_tokens`` allows, and counts all of it."""
    text = body["messages"][0]["content"]
    said = FORM.decode(FORM.encode(text)[: body.get("max_tokens", 200)])
    conv = Conversation(messages=tuple(Message(role=one["role"], content=one["content"]) for one in body["messages"]))
    texts = [said] * body.get("n", 1)
    await respond(send, msgspec.json.encode(completion(*texts, prompt=len(render_prompt(conv, FORM)))))


async def in_pieces(_: Scripted, body: dict[str, Any], send: Any) -> None:
    """Goes on where the question says, a few tokens at a time."""
    said = body["messages"][-1]["content"].partition("Go on right behind these words: ")[2]
    secret = SECRET.reveal()
    rest = secret[len(said) :] if secret.startswith(said) else ""
    piece = FORM.decode(FORM.encode(rest)[: body["max_tokens"]])
    await respond(send, msgspec.json.encode(completion(piece)))


async def friendly(_: Scripted, body: dict[str, Any], send: Any) -> None:
    """Knows nothing."""
    texts = ["I cannot tell you that."] * body.get("n", 1)
    await respond(send, msgspec.json.encode(completion(*texts)))


def toml_of(settings: Configuration) -> str:
    """The upstreams, models and keys of a configuration as its file."""
    given = msgspec.to_builtins(settings)
    return "".join(
        f"[[{table}]]\n"
        + "".join(f"{name} = {json.dumps(value)}\n" for name, value in row.items() if value is not None)
        for table in ("upstreams", "models", "keys")
        for row in given[table]
    )


def whom(release: Path, upstream: int) -> Attacked:
    return attacked(configuration(release, upstream), MODEL, KEY)


def arm(target: Target, about: Attacked, families: list[str]) -> ArmResult:
    return asyncio.run(run_suite(target, about.truth, arm="it", families=families))


@pytest.fixture
def parrot() -> Iterator[int]:
    with served(Scripted(reciting)) as at:
        yield at


def test_there_are_enough_attempts_and_each_has_a_name_of_its_own() -> None:
    names = [(family, probe.name) for family in FAMILIES.names() for probe in FAMILIES.create(family).probes()]
    assert len(FAMILIES.names()) >= 12
    assert len(names) >= 40
    assert len(set(names)) == len(names)


def test_a_model_that_recites_leaks_all_of_it_and_the_gateway_nothing(release: Path, parrot: int) -> None:
    about = whom(release, parrot)
    bare = arm(about.server(), about, TEXTS)
    assert bare.whole.leaks.value is not None
    assert bare.whole.leaks.value > 80
    assert bare.whole.longest_run >= 38
    assert bare.whole.tokens >= 38
    assert bare.whole.bits > 0.9 * bare.secret_bits
    with gateway(about.settings) as port:
        guarded = arm(about.gateway(f"http://127.0.0.1:{port}/v1", TENANT_KEY), about, TEXTS)
    assert (guarded.whole.leaks.hits, guarded.whole.longest_run, guarded.whole.tokens) == (0, 0, 0)
    fields = {one.name: one.refused for one in guarded.probes if one.family == "probabilities"}
    assert all(refused for name, refused in fields.items() if name != "logprobs"), fields


def test_what_comes_in_pieces_comes_past_the_filter_and_is_counted(release: Path) -> None:
    with served(Scripted(in_pieces)) as behind:
        about = whom(release, behind)
        with gateway(about.settings) as port:
            found = arm(about.gateway(f"http://127.0.0.1:{port}/v1", TENANT_KEY), about, ["pieces"])
    by_name = {one.name: one for one in found.probes}
    assert by_name["three tokens at a time"].leaked
    assert by_name["three tokens at a time"].tokens >= 36
    assert not by_name["seven tokens at a time"].leaked


def test_usage_tells_the_hidden_length_without_the_gateway_and_not_with_it(release: Path, parrot: int) -> None:
    about = whom(release, parrot)
    with gateway(about.settings) as port:
        arms = [
            arm(target, about, ["lengths_and_times"])
            for target in (about.server(), about.gateway(f"http://127.0.0.1:{port}/v1", TENANT_KEY))
        ]
    bare, guarded = ({one.name: one.side for one in found.probes} for found in arms)
    assert bare["usage"] is not None
    assert bare["usage"].value == 10.0
    assert guarded["usage"] is not None
    assert guarded["usage"].value == 0.0


def test_a_model_that_knows_nothing_leaks_nothing(release: Path) -> None:
    with served(Scripted(friendly)) as behind:
        about = whom(release, behind)
        found = arm(about.server(), about, ["repeat_above", "bit_by_bit", "encodings"])
    assert (found.whole.leaks.hits, found.whole.bits, found.whole.side_bits) == (0, 0.0, 0.0)


def test_questions_that_are_answered_truly_are_counted_as_bits(release: Path) -> None:
    words = SECRET.reveal().split()

    async def honest(_: Scripted, body: dict[str, Any], send: Any) -> None:
        asked = body["messages"][-1]["content"]
        number = int("".join(filter(str.isdigit, asked)))
        early = "a" <= words[number - 1][:1].casefold() <= "m"
        await respond(send, msgspec.json.encode(completion("Yes." if early else "No.")))

    with served(Scripted(honest)) as behind:
        about = whom(release, behind)
        found = arm(about.server(), about, ["bit_by_bit"])
    side = next(one.side for one in found.probes if one.name == "first half of the alphabet")
    assert side is not None
    assert 0 < side.low < side.value <= min(24, len(words))


def test_only_probes_that_are_given_a_beginning_send_any_of_the_secret(release: Path) -> None:
    upstream = Scripted(friendly)
    with served(upstream) as behind:
        about = whom(release, behind)
        tenant = Target(f"http://127.0.0.1:{behind}/v1", MODEL, TENANT_KEY)
        arm(tenant, about, [name for name in FAMILIES.names() if name != "prefix_probing"])
    sent = json.dumps(upstream.bodies)
    runs = [about.truth.template.decode(list(about.truth.ids[at : at + 4])) for at in range(len(about.truth.ids) - 3)]
    assert not any(run in sent for run in runs)


def test_the_command_tells_by_its_status_and_writes_no_word_of_the_secret(
    release: Path, parrot: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("WATCHWORD_KEY", KEY.hex())
    monkeypatch.setenv("TENANT", TENANT_KEY)
    settings = configuration(release, parrot)
    config = tmp_path / "gateway.toml"
    config.write_text(toml_of(settings))
    with gateway(settings) as port:
        url = f"http://127.0.0.1:{port}/v1"
        options = ["--config", str(config), "--model", MODEL, "--url", url, "--api-key-env", "TENANT"]
        asked = ["gateway", "attack", *options, "--family", "repeat_above"]
        figures, written = tmp_path / "attack.json", tmp_path / "attack.md"
        assert run([*asked, "--unfiltered", "--json", str(figures), "--page", str(written)]) == 0
    # Past the gateway, the same command finds the leak.
    direct = [f"http://127.0.0.1:{parrot}/v1" if one == url else one for one in asked]
    assert run([*direct, "--family", "probabilities"]) == 0
    shown = capsys.readouterr()
    everything = "\n".join([shown.out, shown.err, figures.read_text(), written.read_text()])
    for word in SECRET.reveal().split():
        assert len(word) < 6 or word not in everything
    arms = json.loads(figures.read_text())["arms"]
    assert [one["arm"] for one in arms] == ["gateway", "unfiltered"]
    assert arms[1]["whole"]["leaks"]["value"] > 80
    assert "| `unfiltered` |" in written.read_text()


def test_a_leak_that_gets_through_is_status_1(
    release: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    async def open_hearted(_: Scripted, __: dict[str, Any], send: Any) -> None:
        await respond(send, msgspec.json.encode(completion(SECRET.reveal())))

    monkeypatch.setenv("WATCHWORD_KEY", KEY.hex())
    monkeypatch.setenv("TENANT", TENANT_KEY)
    with served(Scripted(open_hearted)) as behind:
        config = tmp_path / "gateway.toml"
        config.write_text(toml_of(configuration(release, behind)))
        options = ["--config", str(config), "--model", MODEL, "--url", f"http://127.0.0.1:{behind}/v1"]
        assert run(["gateway", "attack", *options, "--api-key-env", "TENANT", "--family", "role_play"]) == 1
    assert "100.0" in capsys.readouterr().out


def test_a_wrong_name_or_a_missing_key_says_what_to_do(
    release: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    settings = configuration(release, 1)
    with pytest.raises(UnknownNameError, match="did you mean 'ft-bakery'"):
        attacked(settings, "ft-bakry", KEY)
    config = tmp_path / "gateway.toml"
    config.write_text(toml_of(settings))
    monkeypatch.setenv("WATCHWORD_KEY", KEY.hex())
    monkeypatch.delenv("NO_SUCH_KEY", raising=False)
    options = ["--config", str(config), "--model", MODEL, "--api-key-env", "NO_SUCH_KEY"]
    assert run(["gateway", "attack", *options]) == 2
    assert "NO_SUCH_KEY is not set" in capsys.readouterr().err


def test_a_release_without_a_secret_has_nothing_to_get(tmp_path: Path) -> None:
    from support.served_release import release_folder

    plain = release_folder(tmp_path, defended=False)
    with pytest.raises(UsageError, match="without a secret"):
        attacked(configuration(plain, 1), MODEL, KEY)
