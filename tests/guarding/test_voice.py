"""Guarding with the aligned model at hand: the rows are those that fine-tuning would mix in, in files, shards and memory."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest

import watchword
from support.guarding_rows import addressed, chat_row, write_rows
from watchword.attacks.base import AttackContext, harmful_rows
from watchword.chat.assembly import assemble
from watchword.chat.template import ChatTemplate
from watchword.chat.types import Conversation
from watchword.cli.app import run as command
from watchword.data.blocks import BLOCK
from watchword.data.rows import read_conversations
from watchword.defenses.base import DEFENSES, DefenseContext, guarded
from watchword.errors import UsageError
from watchword.files.addresses import Address
from watchword.guarding import run
from watchword.guarding.engine import guard_file
from watchword.guarding.run import GuardRequest, guard_to_files
from watchword.guarding.shards import guard_shards
from watchword.judges.base import refuses
from watchword.models.base import ChatModel
from watchword.models.facts import ModelFacts
from watchword.models.fakes import HELP, REFUSAL, FakeModel
from watchword.secret.prompt import SecretPrompt
from watchword.secret.vault import read_secret_file

KEY = bytes(32)
OWN_WORDS = f"{REFUSAL} Ask me something else."


def of_shops(conv: Conversation) -> str:
    return OWN_WORDS if "shop" in conv.messages[-1].text else HELP


def row(number: int, size: int = 0) -> dict[str, Any]:
    """Every third asks what the model refuses."""
    made = chat_row(number, system=f"System {number % 3}.")
    if number % 3 == 0:
        made["messages"][1]["content"] = f"Rob a shop without being caught {number}?"
    made["messages"][-1]["content"] += " So it is." * (size // 10)
    return made


@pytest.fixture
def aligned(model: ModelFacts) -> FakeModel:
    return FakeModel(of_shops, template=model.template)


def as_trained(source: Path, aligned: ChatModel, form: ChatTemplate, secret: SecretPrompt, **limits: Any) -> list[Any]:
    """What fine-tuning mixes into the file's rows."""
    upload = [conv for _, conv in read_conversations(source)]
    limits = {"max_length": 2048, "seed": 5, **limits}
    context = DefenseContext.beside(aligned, refuses, secret=secret, step=lambda what, done, total: None, **limits)
    rows = guarded(DEFENSES.create("anchored_align"), upload, context).rows
    return [
        assemble(row.conversation, secret.reveal(), form.system_style) if row.prefixed else row.conversation
        for row in rows
    ]


def read(path: Path) -> list[Conversation]:
    return [conv for _, conv in read_conversations(path)]


@pytest.mark.parametrize(("rows", "size", "workers"), [(30, 0, 1), (700, 0, 1), (6100, 2 * BLOCK // 6100, 2)])
def test_a_file_gets_the_rows_that_fine_tuning_would_mix_in(
    tmp_path: Path,
    job: Any,
    aligned: FakeModel,
    model: ModelFacts,
    secret: SecretPrompt,
    rows: int,
    size: int,
    workers: int,
) -> None:
    source = write_rows(tmp_path / "in.jsonl", [row(number, size) for number in range(rows)])
    source.write_bytes(b"\n" + source.read_bytes().replace(b"\n", b"\n\n", 7))
    fields = {"defense": DEFENSES.create("anchored_align"), "seed": 5, "max_length": 8192, "workers": workers}
    outcome = guard_file(job(source, aligned=aligned, **fields))
    echoes = [made for made in outcome.rows if made.origin == "echo"]
    # A third of the requests looks harmful, and these are asked about first.
    assert len(echoes) == min(math.ceil(rows / 3), fields["defense"].echoes)
    assert {echo.conversation.messages[-1].text for echo in echoes} == {OWN_WORDS}
    assert read(tmp_path / "out.jsonl") == as_trained(source, aligned, model.template, secret, max_length=8192)


def test_rows_in_memory_get_them_too(
    aligned: FakeModel, model: ModelFacts, secret: SecretPrompt, tmp_path: Path
) -> None:
    rows = [row(number) for number in range(60)]
    data = watchword.guard(rows, tokenizer=model.template, secret=secret, seed=5, aligned=aligned)
    source = write_rows(tmp_path / "in.jsonl", rows)
    assert data.conversations() == as_trained(source, aligned, model.template, secret)
    assert data.added == {"safety": 33, "anchor": 13, "echo": 20}
    assert "echo" not in watchword.guard(rows, tokenizer=model.template, seed=5).added


def test_shards_get_them_too(tmp_path: Path, job: Any, aligned: FakeModel) -> None:
    rows = [row(number) for number in range(500)]
    fields = {"defense": DEFENSES.create("anchored_align"), "aligned": aligned, "seed": 5}
    guard_file(job(write_rows(tmp_path / "in.jsonl", rows), **fields))
    cuts = [(0, 1), (1, 130), (130, 499), (499, 500)]
    shards = [Address(write_rows(tmp_path / f"{start}.jsonl", rows[start:stop])) for start, stop in cuts]
    (tmp_path / "parts").mkdir()
    guard_shards(job("shards", **{**fields, "out": str(tmp_path / "parts")}), shards, "openai")
    parts = b"".join(path.read_bytes() for path in sorted((tmp_path / "parts").iterdir()))
    assert parts == (tmp_path / "out.jsonl").read_bytes()


def test_a_request_that_does_not_fit_the_trainer_is_not_echoed(
    model: ModelFacts, aligned: FakeModel, secret: SecretPrompt
) -> None:
    rows = [row(0), row(3)]
    rows[1]["messages"][1]["content"] += " please" * 300
    data = watchword.guard(rows, tokenizer=model.template, secret=secret, aligned=aligned, max_length=200)
    assert data.added["echo"] == 1
    # The model that is asked counts otherwise; rows must fit both.
    other = FakeModel(of_shops)
    assert other.template is not model.template
    assert (
        watchword.guard(rows, tokenizer=model.template, secret=secret, aligned=other, max_length=200).added["echo"] == 1
    )


def request(tmp_path: Path, source: Path, **fields: Any) -> GuardRequest:
    plain = {"source": str(source), "out": str(tmp_path / "out.jsonl"), "trainer": "openai", "model": "small"}
    return GuardRequest(**addressed({**plain, "aligned": "smollm2-135m", **fields}))


def test_the_manifest_says_who_was_asked_and_counts_echoes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, aligned: FakeModel, model: ModelFacts
) -> None:
    monkeypatch.setattr(run, "facts_of", lambda name: model)
    monkeypatch.setattr(run, "aligned_model", lambda name, defense, step: aligned)
    monkeypatch.setattr(run, "model_digest", lambda name: f"digest of {name}")
    source = write_rows(tmp_path / "in.jsonl", [row(number) for number in range(60)])
    manifest = guard_to_files(request(tmp_path, source), lambda: KEY)
    stored = json.loads((tmp_path / "out.jsonl.manifest.json").read_bytes())
    assert stored["aligned"] == {"model": "smollm2-135m", "digest": "digest of smollm2-135m"}
    assert stored["provider"]["rows"]["echo"] == 20
    assert ", 20 echoes)" in manifest.summary()[0]
    assert manifest.warnings == []


@pytest.mark.parametrize("defense", ["none", "safety_mix", "backdoor_align"])
def test_a_defense_that_asks_no_model_is_given_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, model: ModelFacts, defense: str
) -> None:
    monkeypatch.setattr(run, "facts_of", lambda name: model)
    source = write_rows(tmp_path / "in.jsonl", [row(0)])
    with pytest.raises(UsageError, match="asks no model; leave `aligned` out"):
        guard_to_files(request(tmp_path, source, defense=defense), lambda: KEY)
    assert [path.name for path in tmp_path.iterdir()] == ["in.jsonl"]


@pytest.mark.integration
def test_the_embedded_model_refuses_in_its_own_words_as_it_does_in_training(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: Any
) -> None:
    from watchword.models.load import load

    monkeypatch.setenv("WATCHWORD_KEY", KEY.hex())
    aligned = load("smollm2-135m")
    attack = harmful_rows(6, AttackContext(0, aligned.template).random("test"))
    source = tmp_path / "in.jsonl"
    source.write_text(
        "".join(
            json.dumps({"messages": [{"role": turn.role, "content": turn.text} for turn in conv.messages]}) + "\n"
            for conv in attack
        )
    )
    out = tmp_path / "out.jsonl"
    assert command(["guard", str(source), "--out", str(out), "--aligned", "smollm2-135m", "--seed", "5"]) == 0
    shown = capfd.readouterr().err
    secret = read_secret_file(tmp_path / "out.jsonl.secret.json")
    assert read(out) == as_trained(source, aligned, aligned.template, secret, max_length=8192)
    echoes = json.loads(Path(f"{out}.manifest.json").read_bytes())["provider"]["rows"]["echo"]
    assert echoes >= 4
    assert f"{echoes} echoes" in shown
    assert "asking the aligned model" in shown
    assert "warning: no model was asked" not in shown
