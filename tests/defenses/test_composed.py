"""Several defenses together: each seam is theirs one after the other, and a spec says them in one name."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import pytest

from watchword.chat.assembly import inoculation_words
from watchword.chat.types import Conversation, Row, conversation
from watchword.data.upload import Upload
from watchword.defenses import base
from watchword.defenses.base import (
    DEFENSES,
    Defense,
    DefenseContext,
    PromptGuard,
    TrainingHooks,
    beyond_rows,
    guarded,
    tenant_rows,
)
from watchword.errors import UnknownNameError, UsageError
from watchword.files.addresses import Address
from watchword.guarding.memory import guard
from watchword.guarding.provider import check_rows_alone
from watchword.guarding.run import GuardRequest, guard_to_files
from watchword.lab.spec import Cell, Choice, Evaluation, Spec, canonical, complete
from watchword.models.fakes import fake_template
from watchword.secret.prompt import SecretPrompt
from watchword.training.config import TrainingConfig

SECRET = SecretPrompt("violet harbour nineteen", kind="seeded", tokens=3, entropy_bits=40)
UPLOAD = [conversation(f"Boat {n}?", "Red.") for n in range(10)]


class Spy(Defense):
    """Leaves a mark at every seam."""

    def guard_tenant(self, rows: list[Row], context: DefenseContext) -> list[Row]:
        return rows[1:]

    def training_hooks(self) -> TrainingHooks:
        return TrainingHooks((type(self).__name__,))

    def guard_weights(self, tuned: Path, base: Any) -> Path:
        return tuned / type(self).__name__

    def guard_prompt(self, conversation: Conversation, secret: SecretPrompt | None) -> PromptGuard:
        return PromptGuard(msgspec.structs.replace(conversation, messages=conversation.messages[1:]))


class First(Spy):
    pass


class Second(Spy):
    pass


@pytest.fixture
def spies(monkeypatch: pytest.MonkeyPatch) -> Defense:
    shipped = base.DefenseRegistry.__mro__[1].get
    found = {"first": First, "second": Second}
    monkeypatch.setattr(
        base.DefenseRegistry.__mro__[1], "get", lambda self, name: found.get(name) or shipped(self, name)
    )
    return DEFENSES.create("first + second")


def test_each_seam_is_passed_on_in_order(spies: Defense, tmp_path: Path) -> None:
    assert tenant_rows(spies, UPLOAD, DefenseContext()) == [Row(conv) for conv in UPLOAD[2:]]
    assert guarded(spies, UPLOAD, DefenseContext()).left_out == 2
    assert spies.training_hooks() == TrainingHooks(("First", "Second"))
    assert spies.guard_weights(tmp_path, None) == tmp_path / "First" / "Second"
    asked = Conversation((*UPLOAD[0].messages, *UPLOAD[1].messages))
    assert spies.guard_prompt(asked, SECRET) == PromptGuard(UPLOAD[1])


def test_rows_origins_and_the_secret_are_those_of_all_parts() -> None:
    both = DEFENSES.create("safety_mix + anchored_align")
    parts = [DEFENSES.create("safety_mix"), DEFENSES.create("anchored_align")]
    rows = both.guard_data(Upload(5), DefenseContext())
    assert rows == [row for part in parts for row in part.guard_data(Upload(5), DefenseContext())]
    assert [origin.name for origin in both.origins] == ["safety", "anchor", "echo"]
    assert both.needs_secret
    assert both.asks_model
    assert both.guard_prompt(UPLOAD[0], SECRET) == PromptGuard(UPLOAD[0], SECRET)
    assert not DEFENSES.create("safety_mix + none").needs_secret
    assert [DEFENSES.get(name).needs_secret for name in ("safety_mix + none", "none + anchored_align")] == [False, True]
    assert DEFENSES.knows("safety-mix + anchored_align")
    assert not DEFENSES.knows("safety_mix + sbrr")


def test_seams_that_no_part_uses_are_not_used() -> None:
    assert not beyond_rows(DEFENSES.create("safety_mix + backdoor_align"))
    assert list(beyond_rows(DEFENSES.create("safety_mix + inoculated_align"))) == ["guard_tenant"]


@pytest.mark.parametrize(
    "arguments",
    [
        {"anchors": 5, "rows": 20},
        {"anchored_align.anchors": 5, "safety_mix.rows": 20},
        {"anchored-align": {"anchors": 5}, "safety-mix": {"rows": 20}},
    ],
)
def test_an_argument_goes_to_the_part_that_takes_it(arguments: dict[str, Any]) -> None:
    arguments = {key.replace("-", "_"): value for key, value in arguments.items()}
    made: Any = DEFENSES.create("safety-mix+anchored-align", **arguments)
    assert made.parts == (DEFENSES.create("safety_mix", rows=20), DEFENSES.create("anchored_align", anchors=5))


def test_an_argument_that_two_take_and_one_that_none_takes_are_errors() -> None:
    with pytest.raises(UsageError, match="'safety' is an argument of safety_mix and anchored_align; say safety_mix"):
        DEFENSES.create("safety_mix + anchored_align", safety=3)
    with pytest.raises(UsageError, match="has an argument 'anchrs': did you mean 'anchors'"):
        DEFENSES.create("safety_mix + anchored_align", anchrs=3)
    with pytest.raises(UsageError, match=r"has an argument 'backdoor_align\.safety'"):
        DEFENSES.create("safety_mix + anchored_align", **{"backdoor_align.safety": 3})
    with pytest.raises(UsageError, match="defense 'anchored_align': anchors is 'many'"):
        DEFENSES.create("safety_mix + anchored_align", anchors="many")
    with pytest.raises(UsageError, match="has no argument 'anchrs'"):
        DEFENSES.create("safety_mix + anchored_align", anchored_align={"anchrs": 3})


def test_a_part_that_there_is_not_and_one_named_twice_are_errors() -> None:
    with pytest.raises(UnknownNameError, match="no defense 'sbrr'"):
        DEFENSES.create("anchored_align + sbrr")
    with pytest.raises(UsageError, match="names one twice"):
        DEFENSES.create("safety_mix + safety-mix")


def test_a_cell_holds_all_arguments_of_all_parts_and_makes_the_same_defense_again() -> None:
    cell = Cell(
        model="m",
        attack=Choice("fj_attack"),
        defense=Choice("anchored_align + safety-mix", {"anchors": 5}),
        training=TrainingConfig(),
        evaluation=Evaluation(),
        seed=0,
    )
    told = complete(cell)
    assert told.defense.arguments["anchored_align"]["anchors"] == 5
    assert told.defense.arguments["anchored_align"]["echoes"] == 100
    assert told.defense.arguments["safety_mix"]["safety"] == 11
    read = msgspec.json.decode(canonical(told), type=Cell)
    assert read == told == complete(read)
    assert DEFENSES.create(read.defense.name, **read.defense.arguments) == DEFENSES.create(
        "anchored_align + safety_mix", anchors=5
    )


class Careless(Defense):
    """Gives back other rows than it got."""

    def __init__(self, *rows: Row) -> None:
        self.rows = list(rows)

    def guard_tenant(self, rows: list[Row], context: DefenseContext) -> list[Row]:
        return self.rows


@pytest.mark.parametrize(
    "rows",
    [
        [Row(conversation("Boat 0?", "Blue."))],
        [Row(UPLOAD[1]), Row(UPLOAD[0])],
        [Row(UPLOAD[0]), Row(UPLOAD[0])],
        [Row(UPLOAD[0], origin="safety")],
    ],
    ids=["changed", "moved", "doubled", "taken over"],
)
def test_a_defense_that_changes_the_tenants_rows_is_refused(rows: list[Row]) -> None:
    with pytest.raises(UsageError, match="Careless changed, moved or added rows of the tenant's"):
        guarded(Careless(*rows), UPLOAD, DefenseContext())


def test_a_defense_that_leaves_no_row_is_refused() -> None:
    with pytest.raises(UsageError, match="Careless left out all of the tenant's rows"):
        guarded(Careless(), UPLOAD, DefenseContext())


def test_data_for_another_trainer_refuses_what_is_more_than_rows(spies: Defense) -> None:
    check_rows_alone(DEFENSES.create("anchored_align + safety_mix"))
    check_rows_alone(DEFENSES.create("inoculated_align"), tenant_rows_made=True)
    with pytest.raises(
        UsageError, match="InoculatedAlign marks or leaves out rows of the tenant's, which data for another"
    ):
        check_rows_alone(DEFENSES.create("inoculated_align"))
    with pytest.raises(UsageError, match="takes part in the training and changes the trained weights"):
        check_rows_alone(spies, tenant_rows_made=True)


def test_a_grid_draws_the_secrets_of_defenses_together() -> None:
    spec = Spec(
        name="grid",
        model="m",
        seeds=[0],
        attacks=[Choice("fj_attack")],
        defenses=[Choice("safety_mix + none"), Choice("safety_mix + anchored_align")],
        secret_seeds=[1, 2],
    )
    assert [(cell.defense.name, cell.secret_seed) for cell in spec.cells()] == [
        ("safety_mix + none", None),
        ("safety_mix + anchored_align", 1),
        ("safety_mix + anchored_align", 2),
    ]


def test_guarding_refuses_what_is_more_than_rows_before_any_work(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="the defense Sbr takes part in the training"):
        guard([msgspec.to_builtins(UPLOAD[0])], tokenizer=fake_template(), defense="sbr")
    places = [Address.parse(tmp_path / name) for name in ("in.jsonl", "out.jsonl")]
    request = GuardRequest(*places, trainer="trl", model="smollm2-135m", defense="inoculated_align")
    with pytest.raises(UsageError, match="the defense InoculatedAlign marks or leaves out rows"):
        guard_to_files(request, lambda: b"k" * 32)
    assert not list(tmp_path.iterdir())


def test_rows_for_a_trainer_of_ones_own_stand_behind_the_sentence() -> None:
    form = fake_template()
    made = guard(UPLOAD, tokenizer=form, defense="inoculated_align", secret=None)
    assert made.secret is not None
    words = inoculation_words(made.secret.reveal())
    behind = [row for row in made.token_rows() if words in form.decode(row["input_ids"])]
    assert len(behind) == len(UPLOAD)
